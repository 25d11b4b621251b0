"""An example of each kind of EKS."""

from __future__ import annotations

from typing import Any

from engine.resource import Resource
from engine.resources.ec2.network import Ec2VpcSubnet
from engine.resources.eks.clusters import EksCluster
from engine.resources.eks.manifests import K8s
from engine.resources.eks.nodes import EksFargateProfile, EksNodegroup
from tests.kinds.aws_examples import Example
from tests.kinds.aws_examples.ec2 import a_vpc
from tests.kinds.aws_examples.iam import a_role
from tests.kinds.aws_stage import Stage


def role_arn(stage: Stage, name: str, service: str) -> str:
    role = a_role(stage, name, service)
    return str(stage.aws.call("iam", "get_role", RoleName=role)["Role"]["Arn"])


def two_subnets(stage: Stage) -> list[str]:
    vpc = a_vpc(stage)
    return [
        str(stage.make(Ec2VpcSubnet(vpc_id=vpc, cidr=cidr, az=zone), zone)["id"])
        for cidr, zone in (("10.9.0.0/24", "us-east-1a"), ("10.9.1.0/24", "us-east-1b"))
    ]


def a_cluster(stage: Stage, **fields: Any) -> EksCluster:
    given = {
        "name": f"{stage.lab}-cluster",
        "role_arn": role_arn(stage, "cluster", "eks"),
        "subnets": two_subnets(stage),
    }
    return EksCluster.model_validate({**given, **fields})


def cluster(stage: Stage) -> tuple[Resource, Resource | None]:
    first = a_cluster(stage, endpoint_private_access=True, enabled_logs=["api"])
    second = {
        "endpoint_private_access": False,
        "enabled_logs": ["audit"],
        "public_access_cidrs": ["192.0.2.0/24"],
    }
    return first, first.model_copy(update=second)


def nodegroup(stage: Stage) -> tuple[Resource, Resource | None]:
    wanted = a_cluster(stage)
    stage.make(wanted, "cluster")
    fields = {
        "name": "workers",
        "cluster_name": wanted.name,
        "node_role": role_arn(stage, "nodes", "ec2"),
        "subnets": wanted.subnets,
        "scaling_config": {"min_size": 1, "max_size": 3, "desired_size": 2},
        "labels": {"sort": "worker", "old": "yes"},
    }
    size = {"min_size": 1, "max_size": 4, "desired_size": 3}
    taint = {"key": "gpu", "effect": "NO_SCHEDULE"}
    changed = {"scaling_config": size, "labels": {"sort": "gpu"}, "taints": [taint]}
    return EksNodegroup.model_validate(fields), EksNodegroup.model_validate({**fields, **changed})


def fargate_profile(stage: Stage) -> tuple[Resource, Resource | None]:
    return a_profile(stage, {"namespace": "default", "labels": {"on": "fargate"}}), None


def a_profile(stage: Stage, selector: dict[str, Any]) -> EksFargateProfile:
    """In a cluster that is there."""
    wanted = a_cluster(stage)
    stage.make(wanted, "cluster")
    return EksFargateProfile.model_validate(
        {
            "name": "pods",
            "cluster_name": wanted.name,
            "role_arn": role_arn(stage, "pods", "eks-fargate-pods"),
            "subnets": wanted.subnets,
            "selectors": [selector],
        }
    )


def a_cluster_with_nodes(stage: Stage) -> str:
    wanted = a_cluster(stage)
    stage.make(wanted, "cluster")
    nodes = EksNodegroup(
        name="workers",
        cluster_name=wanted.name,
        node_role=role_arn(stage, "nodes", "ec2"),
        subnets=wanted.subnets,
    )
    stage.make(nodes, "nodes")
    return wanted.name


def web(replicas: int, text: str) -> list[dict[str, Any]]:
    labels = {"app": "web"}
    container = {"name": "web", "image": "httpd:2.4", "ports": [{"containerPort": 80}]}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "words"}, "data": {"text": text}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web"},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {
                "type": "LoadBalancer",
                "selector": labels,
                "ports": [{"port": 80, "targetPort": 80}],
            },
        },
    ]


def k8s(stage: Stage) -> tuple[Resource, Resource | None]:
    name = a_cluster_with_nodes(stage)
    first = K8s(cluster_name=name, definition=web(1, "hello"))
    return first, K8s(cluster_name=name, definition=web(2, "hi")[1:])


EXAMPLES: dict[str, Example] = {
    "eks_cluster": cluster,
    "eks_nodegroup": nodegroup,
    "eks_fargate_profile": fargate_profile,
    "k8s": k8s,
}
