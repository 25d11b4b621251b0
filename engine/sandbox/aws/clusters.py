"""EKS: updates and tags that moto lacks, and where a cluster's API answers in the sandbox."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import moto.backends
from moto.core.responses import ActionResult
from moto.eks import urls
from moto.eks.exceptions import ResourceNotFoundException
from moto.eks.models import EKSBackend
from moto.eks.responses import EKSResponse

from engine.sandbox.aws.mending import add, replace

_UPDATES = "{0}/clusters/(?P<name>[^/]+)/updates"


def mend(endpoint: Callable[[str, str], str], gone: Callable[[str, str], None]) -> None:
    """Puts moto's EKS right.

    `endpoint` tells where the API of a cluster (region, name) answers, `gone` is told once it is deleted.
    """
    describe, create = EKSBackend.describe_cluster, EKSBackend.create_cluster
    delete = EKSBackend.delete_cluster

    def create_cluster(backend: EKSBackend, **params: Any) -> Any:
        cluster = create(backend, **params)
        _complete(backend, cluster)
        cluster.endpoint = endpoint(backend.region_name, cluster.name)
        return cluster

    def describe_cluster(backend: EKSBackend, name: str) -> Any:
        cluster = describe(backend, name)
        # The sandbox may listen elsewhere since it was started again.
        cluster.endpoint = endpoint(backend.region_name, name)
        return cluster

    def delete_cluster(backend: EKSBackend, name: str) -> Any:
        cluster = delete(backend, name)
        _forget_group(backend, cluster)
        gone(backend.region_name, name)
        return cluster

    replace(EKSBackend, create_cluster=create_cluster, describe_cluster=describe_cluster)
    replace(EKSBackend, delete_cluster=delete_cluster)
    replace(EKSBackend, tag_resource=_tag, untag_resource=_untag, list_tags_for_resource=_tags)
    replace(EKSResponse, update_cluster_config=_update_config)
    add(EKSResponse, describe_update=_describe_update, update_cluster_version=_update_version)
    for path in (f"{_UPDATES}$", f"{_UPDATES}/(?P<updateId>[^/]+)$"):
        urls.url_paths.setdefault(path, urls.response.dispatch)


def _complete(backend: EKSBackend, cluster: Any) -> None:
    """What EKS adds to the network of a new cluster: its VPC, and a security group for all of it."""
    network = dict(cluster.resources_vpc_config or {})
    ec2 = moto.backends.get_backend("ec2")[backend.account_id][backend.region_name]
    subnet = ec2.get_subnet(network["subnetIds"][0])
    group = ec2.create_security_group(
        name=f"eks-cluster-sg-{cluster.name}-{uuid.uuid4().hex[:9]}",
        description="EKS created security group applied to ENI that is attached to EKS control plane nodes",
        vpc_id=subnet.vpc_id,
        tags={f"kubernetes.io/cluster/{cluster.name}": "owned"},
    )
    defaults = {
        "vpcId": subnet.vpc_id,
        "clusterSecurityGroupId": group.id,
        "endpointPublicAccess": True,
        "endpointPrivateAccess": False,
        "publicAccessCidrs": ["0.0.0.0/0"],
    }
    cluster.resources_vpc_config = {**defaults, **network}
    cluster.access_config = {"authenticationMode": "API_AND_CONFIG_MAP"}


def _forget_group(backend: EKSBackend, cluster: Any) -> None:
    """Deletes the security group that came with a cluster."""
    ec2 = moto.backends.get_backend("ec2")[backend.account_id][backend.region_name]
    group = (cluster.resources_vpc_config or {}).get("clusterSecurityGroupId")
    if group and ec2.get_security_group_from_id(group) is not None:
        ec2.delete_security_group(group_id=group)


def _update_config(request: EKSResponse) -> ActionResult:
    """UpdateClusterConfig: what is not named stays as it is."""
    backend = request.eks_backend
    cluster = backend.describe_cluster(name=request._get_param("name"))
    network = request._get_param("resourcesVpcConfig")
    if network:
        cluster.resources_vpc_config = {**cluster.resources_vpc_config, **network}
    if request._get_param("logging"):
        cluster.logging = request._get_param("logging")
    return _updated("VpcConfigUpdate" if network else "LoggingUpdate")


def _update_version(request: EKSResponse) -> ActionResult:
    """UpdateClusterVersion."""
    cluster = request.eks_backend.describe_cluster(name=request._get_param("name"))
    cluster.version = request._get_param("version")
    return _updated("VersionUpdate")


def _updated(sort: str) -> ActionResult:
    return ActionResult(
        {"update": {"id": str(uuid.uuid4()), "status": "InProgress", "type": sort, "errors": []}}
    )


def _describe_update(request: EKSResponse) -> ActionResult:
    """DescribeUpdate: all that was begun is done."""
    return ActionResult(
        {"update": {"id": request._get_param("updateId"), "status": "Successful", "errors": []}}
    )


def _tagged(backend: EKSBackend, arn: str) -> Any:
    for cluster in backend.clusters.values():
        if cluster.arn == arn:
            return cluster
        for group in cluster.nodegroups.values():
            if group.arn == arn:
                return group
        for profile in cluster.fargate_profiles.values():
            if profile.fargate_profile_arn == arn:
                return profile
    raise ResourceNotFoundException(
        clusterName=None,
        nodegroupName=None,
        fargateProfileName=None,
        addonName=None,
        message="Resource was not found",
    )


def _tag(backend: EKSBackend, resource_arn: str, tags: dict[str, str]) -> None:
    thing = _tagged(backend, resource_arn)
    thing.tags = {**(thing.tags or {}), **tags}


def _untag(backend: EKSBackend, resource_arn: str, tag_keys: list[str] | str) -> None:
    thing = _tagged(backend, resource_arn)
    gone = [tag_keys] if isinstance(tag_keys, str) else tag_keys
    thing.tags = {key: text for key, text in (thing.tags or {}).items() if key not in gone}


def _tags(backend: EKSBackend, resource_arn: str) -> dict[str, str]:
    return dict(_tagged(backend, resource_arn).tags or {})
