"""EKS: clusters of Kubernetes, and what their pods run on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from engine.by_hand import json_word, told, word
from engine.refs import Unknown
from engine.resource import Fields, Fixed, Id, Output, Values, plain
from engine.resources import _prices
from engine.resources._aws import iam_actions
from engine.resources._eks import InEks, actions, checked_name

if TYPE_CHECKING:
    from engine.world import World

_CLUSTER_PRICE: Final = 0.10
"""USD per hour of a control plane, https://aws.amazon.com/eks/pricing/; its version in standard support."""
_LOGS: Final = ("api", "audit", "authenticator", "controllerManager", "scheduler")
LogType = Literal["api", "audit", "authenticator", "controllerManager", "scheduler"]
_TOLD: Final = {
    "id": "cluster.name",
    "arn": "cluster.arn",
    "endpoint": "cluster.endpoint",
    "certificate_authority": "cluster.certificateAuthority.data",
    "cluster_security_group_id": "cluster.resourcesVpcConfig.clusterSecurityGroupId",
    "oidc_issuer": "cluster.identity.oidc.issuer",
    "platform_version": "cluster.platformVersion",
}
"""Where DescribeCluster has the outputs, as JMESPath."""
_VERSION: Final = re.compile(r"1\.\d\d")


class EksCluster(InEks):
    """A cluster of Kubernetes whose control plane AWS runs."""

    kind: ClassVar[str] = "eks_cluster"
    noun: ClassVar[str] = "cluster"
    answer: ClassVar[str] = "cluster"
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("its name"),
        "arn": Output("its ARN"),
        "endpoint": Output("where its API answers"),
        "certificate_authority": Output("the certificate that its API is known by, base64"),
        "cluster_security_group_id": Output("the group that EKS made for control plane and nodes"),
        "oidc_issuer": Output("who its service accounts are vouched for by"),
        "platform_version": Output("EKS's own version, eks.5"),
    }
    actions: ClassVar[Sequence[str]] = actions(
        "Cluster", "DescribeUpdate UpdateClusterConfig UpdateClusterVersion"
    ) + iam_actions("ec2", "DescribeSubnets DescribeSecurityGroups DescribeVpcs")

    name: Fixed[str]
    """One of its kind in the account and region."""
    role_arn: Fixed[Id]
    """The role that the control plane acts with, with AmazonEKSClusterPolicy."""
    subnets: list[Id] = Field(min_length=2)
    """Subnets of at least two availability zones."""
    security_groups: list[Id] = Field(default_factory=list, max_length=5)
    """Groups for the control plane besides the one that EKS makes."""
    version: str | None = None
    """Of Kubernetes, `1.33`; the newest where left out. It can only go up, one at a time."""
    endpoint_public_access: bool = True
    """Whether the API answers on the internet."""
    endpoint_private_access: bool = False
    """Whether the API answers inside the VPC."""
    public_access_cidrs: list[str] = Field(default_factory=lambda: ["0.0.0.0/0"], max_length=40)
    """Who may reach the public API."""
    enabled_logs: list[LogType] = Field(default_factory=list)
    """What the control plane writes to CloudWatch."""
    authentication_mode: Fixed[Literal["API", "API_AND_CONFIG_MAP", "CONFIG_MAP"]] = "API_AND_CONFIG_MAP"
    """Where it is written who may use the cluster. Who makes it may do everything in it."""

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        return str(checked_name(value, 100)) if isinstance(value, str) else value

    @field_validator("version", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        if isinstance(value, float):
            raise ValueError(f'put the version in quotes: "{value}" (1.30 would read as 1.3)')
        if isinstance(value, str) and not _VERSION.fullmatch(value):
            raise ValueError(f"`{value}` is not a version of Kubernetes such as 1.33")
        return value

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.endpoint_public_access is False and self.endpoint_private_access is False:
            raise ValueError("with neither public nor private access nobody could reach the API")
        return self

    @classmethod
    def named(cls, id: str) -> dict[str, str]:
        """By its name."""
        return {"name": id}

    def foreseen(self) -> str | None:
        """Its name."""
        return None if isinstance(self.name, Unknown) else self.name

    def create(self, world: World) -> str:
        """CreateCluster, until it is ACTIVE: about ten minutes."""
        return self.made(world, self.name, **self._asked())

    def _asked(self) -> dict[str, Any]:
        asked = {
            "roleArn": plain(self.role_arn),
            "resourcesVpcConfig": self._network(),
            "logging": self._logging(),
            "accessConfig": {
                "authenticationMode": self.authentication_mode,
                "bootstrapClusterCreatorAdminPermissions": True,
            },
        }
        return {**asked, **({"version": self.version} if self.version else {})}

    def _network(self) -> dict[str, Any]:
        return {
            "subnetIds": plain(self.subnets),
            "securityGroupIds": plain(self.security_groups),
            **self._access(),
        }

    def _access(self) -> dict[str, Any]:
        cidrs = {"publicAccessCidrs": plain(self.public_access_cidrs)} if self.endpoint_public_access else {}
        return {
            "endpointPublicAccess": self.endpoint_public_access,
            "endpointPrivateAccess": self.endpoint_private_access,
            **cidrs,
        }

    def _logging(self) -> dict[str, Any]:
        on = [sort for sort in _LOGS if sort in self.enabled_logs]
        off = [sort for sort in _LOGS if sort not in self.enabled_logs]
        both = ({"types": on, "enabled": True}, {"types": off, "enabled": False})
        return {"clusterLogging": [each for each in both if each["types"]]}

    @classmethod
    def seen(cls, described: Mapping[str, Any]) -> Values:
        """DescribeCluster."""
        network = described.get("resourcesVpcConfig", {})
        logs = (described.get("logging") or {}).get("clusterLogging") or []
        on = {sort for each in logs if each.get("enabled") for sort in each.get("types", ())}
        return {
            "name": described["name"],
            "role_arn": described["roleArn"],
            "subnets": list(network.get("subnetIds", ())),
            "security_groups": list(network.get("securityGroupIds", ())),
            "version": described.get("version"),
            "endpoint_public_access": network.get("endpointPublicAccess", True),
            "endpoint_private_access": network.get("endpointPrivateAccess", False),
            "public_access_cidrs": list(network.get("publicAccessCidrs") or ["0.0.0.0/0"]),
            "enabled_logs": sorted(on),
            "authentication_mode": (described.get("accessConfig") or {}).get(
                "authenticationMode", "CONFIG_MAP"
            ),
            "endpoint": described.get("endpoint"),
            "certificate_authority": (described.get("certificateAuthority") or {}).get("data"),
            "cluster_security_group_id": network.get("clusterSecurityGroupId"),
            "oidc_issuer": (described.get("identity") or {}).get("oidc", {}).get("issuer"),
            "platform_version": described.get("platformVersion"),
        }

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """The order of subnets, groups, addresses and logs means nothing."""
        if isinstance(wanted, list) and isinstance(there, list):
            return sorted(map(str, wanted)) != sorted(map(str, there))
        return bool(wanted != there)

    @classmethod
    def unsettles(cls, changed: frozenset[str]) -> frozenset[str]:
        """A new version of Kubernetes brings a new one of EKS's own."""
        return frozenset({"platform_version"}) if "version" in changed else frozenset()

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """UpdateClusterConfig for one thing at a time, UpdateClusterVersion."""
        access = {"endpoint_public_access", "endpoint_private_access", "public_access_cidrs"}
        if changed & access:
            self.updated(world, id, "update_cluster_config", name=id, resourcesVpcConfig=self._access())
        if changed & {"subnets", "security_groups"}:
            network = {"subnetIds": plain(self.subnets), "securityGroupIds": plain(self.security_groups)}
            self.updated(world, id, "update_cluster_config", name=id, resourcesVpcConfig=network)
        if "enabled_logs" in changed:
            self.updated(world, id, "update_cluster_config", name=id, logging=self._logging())
        if "version" in changed:
            self.updated(world, id, "update_cluster_version", name=id, version=self.version)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteCluster, until it is gone; refused by EKS while it has node groups or Fargate profiles."""
        cls.removed(world, id)

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws eks create-cluster`, `update-cluster-config`, `delete-cluster`, and `wait`."""
        name = f"--name {word(id or self.name)}"
        if action == "create":
            asked = json_word({"name": plain(self.name), **self._asked()})
            kubeconfig = f"aws eks update-kubeconfig {name}"
            return [
                f"aws eks create-cluster --cli-input-json {asked}",
                f"aws eks wait cluster-active {name}",
                kubeconfig,
                *told(self, f"aws eks describe-cluster {name}", _TOLD),
            ]
        if action == "delete":
            return [f"aws eks delete-cluster {name}", f"aws eks wait cluster-deleted {name}"]
        lines = []
        if "version" in changed:
            lines.append(f"aws eks update-cluster-version {name} --kubernetes-version {word(self.version)}")
        if changed - {"version"}:
            config = json_word(self._access())
            lines.append(f"aws eks update-cluster-config {name} --resources-vpc-config {config}")
        return [line for each in lines for line in (each, f"aws eks wait cluster-active {name}")]

    def price(self) -> float | None:
        """USD per hour of the control plane."""
        return _CLUSTER_PRICE


class Scaling(Fields):
    """How many nodes."""

    min_size: int = Field(default=1, ge=0)
    """At least."""
    max_size: int = Field(default=2, ge=1)
    """At most."""
    desired_size: int = Field(default=1, ge=0)
    """For now."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.min_size <= self.desired_size <= self.max_size:
            raise ValueError("desired_size must lie between min_size and max_size")
        return self


class Taint(Fields):
    """What keeps pods off a node that do not tolerate it."""

    key: str = Field(min_length=1, max_length=63)
    """Its name."""
    value: str = Field(default="", max_length=63)
    """Its value."""
    effect: Literal["NO_SCHEDULE", "NO_EXECUTE", "PREFER_NO_SCHEDULE"]
    """What it does."""


class EksNodegroup(InEks):
    """Nodes of a cluster: EC2 instances that EKS makes, joins and replaces."""

    kind: ClassVar[str] = "eks_nodegroup"
    noun: ClassVar[str] = "nodegroup"
    answer: ClassVar[str] = "nodegroup"
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("CLUSTER/NAME"),
        "arn": Output("its ARN"),
        "autoscaling_group": Output("the Auto Scaling group that its instances belong to"),
        "version": Output("the nodes' version of Kubernetes"),
    }
    actions: ClassVar[Sequence[str]] = actions(
        "Nodegroup", "DescribeUpdate UpdateNodegroupConfig"
    ) + iam_actions("ec2", "DescribeSubnets DescribeLaunchTemplateVersions RunInstances")

    name: Fixed[str]
    """One of its kind in the cluster."""
    cluster_name: Fixed[Id]
    """The cluster that the nodes join."""
    node_role: Fixed[Id]
    """The role of the nodes, with AmazonEKSWorkerNodePolicy, AmazonEKS_CNI_Policy and read access to ECR."""
    subnets: Fixed[list[Id]] = Field(min_length=1)
    """The subnets that the nodes stand in."""
    instance_types: Fixed[list[str]] = Field(
        default_factory=lambda: ["t3.medium"], min_length=1, max_length=20
    )
    """Their types; several for spot."""
    capacity_type: Fixed[Literal["ON_DEMAND", "SPOT"]] = "ON_DEMAND"
    """How they are paid."""
    ami_type: Fixed[str | None] = Field(default=None, pattern=r"^[A-Z][A-Za-z0-9_]+$")
    """Their system, AL2023_x86_64_STANDARD; EKS's default where left out."""
    disk_size: Fixed[int] = Field(default=20, ge=1, le=16384)
    """GB of each one's disk."""
    scaling_config: Scaling = Scaling()
    """How many."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels of the nodes in Kubernetes."""
    taints: list[Taint] = Field(default_factory=list, max_length=50)
    """Taints of the nodes in Kubernetes."""
    ec2_ssh_key: Fixed[str | None] = None
    """A key pair, to log in to the nodes."""

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        return str(checked_name(value, 63)) if isinstance(value, str) else value

    @classmethod
    def named(cls, id: str) -> dict[str, str]:
        """By cluster and name."""
        cluster, _, name = id.partition("/")
        return {"clusterName": cluster, "nodegroupName": name}

    def foreseen(self) -> str | None:
        """Cluster and name."""
        if isinstance(self.name, Unknown) or isinstance(self.cluster_name, Unknown):
            return None
        return f"{self.cluster_name}/{self.name}"

    def create(self, world: World) -> str:
        """CreateNodegroup, until its nodes have joined."""
        return self.made(world, f"{self.cluster_name}/{self.name}", **self._asked())

    def _asked(self) -> dict[str, Any]:
        asked = {
            "nodeRole": plain(self.node_role),
            "subnets": plain(self.subnets),
            "instanceTypes": plain(self.instance_types),
            "capacityType": self.capacity_type,
            "diskSize": self.disk_size,
            "scalingConfig": self._scaling(),
            "labels": plain(self.labels),
            "taints": plain(self.taints),
            "amiType": self.ami_type,
            "remoteAccess": {"ec2SshKey": self.ec2_ssh_key} if self.ec2_ssh_key else None,
        }
        return {key: value for key, value in asked.items() if value is not None}

    def _scaling(self) -> dict[str, int]:
        size = self.scaling_config
        return {"minSize": size.min_size, "maxSize": size.max_size, "desiredSize": size.desired_size}

    @classmethod
    def seen(cls, described: Mapping[str, Any]) -> Values:
        """DescribeNodegroup."""
        size = described.get("scalingConfig", {})
        groups = (described.get("resources") or {}).get("autoScalingGroups") or [{}]
        return {
            "name": described["nodegroupName"],
            "cluster_name": described["clusterName"],
            "node_role": described["nodeRole"],
            "subnets": list(described.get("subnets", ())),
            "instance_types": list(described.get("instanceTypes") or ["t3.medium"]),
            "capacity_type": described.get("capacityType", "ON_DEMAND"),
            "ami_type": described.get("amiType"),
            "disk_size": described.get("diskSize", 20),
            "scaling_config": {
                "min_size": size.get("minSize"),
                "max_size": size.get("maxSize"),
                "desired_size": size.get("desiredSize"),
            },
            "labels": dict(described.get("labels") or {}),
            "taints": [{"value": "", **taint} for taint in described.get("taints") or ()],
            "ec2_ssh_key": (described.get("remoteAccess") or {}).get("ec2SshKey"),
            "autoscaling_group": groups[0].get("name"),
            "version": described.get("version"),
        }

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """UpdateNodegroupConfig with what differs in size, labels and taints."""
        there = self.seen(self.described(world, id) or {})
        old = [taint for taint in there["taints"] if taint not in plain(self.taints)]
        asked: dict[str, Any] = {"scalingConfig": self._scaling()}
        if "labels" in changed:
            gone = [key for key in there["labels"] if key not in self.labels]
            asked["labels"] = {"addOrUpdateLabels": plain(self.labels), "removeLabels": gone}
        if "taints" in changed:
            asked["taints"] = {"addOrUpdateTaints": plain(self.taints), "removeTaints": old}
        self.updated(world, id, "update_nodegroup_config", **self.named(id), **asked)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteNodegroup, until its instances are gone."""
        cls.removed(world, id)

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws eks create-nodegroup`, `update-nodegroup-config`, `delete-nodegroup`, and `wait`."""
        named = self.named(id) if id else {"clusterName": "…", "nodegroupName": ""}
        cluster = word(named["clusterName"] if id else self.cluster_name)
        names = (
            f"--cluster-name {cluster} --nodegroup-name {word(named['nodegroupName'] if id else self.name)}"
        )
        if action == "delete":
            return [f"aws eks delete-nodegroup {names}", f"aws eks wait nodegroup-deleted {names}"]
        active = f"aws eks wait nodegroup-active {names}"
        if action == "update":
            size = json_word(self._scaling())
            return [f"aws eks update-nodegroup-config {names} --scaling-config {size}", active]
        asked = {"clusterName": plain(self.cluster_name), "nodegroupName": plain(self.name), **self._asked()}
        return [f"aws eks create-nodegroup --cli-input-json {json_word(asked)}", active]

    def price(self) -> float | None:
        """USD per hour of the nodes there are for now, at the price on demand."""
        each = _prices.instance(self.instance_types[0]) if isinstance(self.instance_types, list) else None
        size = self.scaling_config.desired_size if isinstance(self.scaling_config, Scaling) else None
        return each * size if each is not None and isinstance(size, int) else None


class Selector(Fields):
    """Which pods run on Fargate."""

    namespace: str = Field(min_length=1, max_length=63)
    """Those of this namespace; `*` and `?` stand for any characters."""
    labels: dict[str, str] = Field(default_factory=dict, max_length=5)
    """With these labels."""


class EksFargateProfile(InEks):
    """Which pods of a cluster run on Fargate, without nodes."""

    kind: ClassVar[str] = "eks_fargate_profile"
    noun: ClassVar[str] = "fargate_profile"
    answer: ClassVar[str] = "fargateProfile"
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("CLUSTER/NAME"),
        "arn": Output("its ARN"),
    }
    actions: ClassVar[Sequence[str]] = actions("FargateProfile") + iam_actions("ec2", "DescribeSubnets")

    name: Fixed[str]
    """One of its kind in the cluster."""
    cluster_name: Fixed[Id]
    """The cluster."""
    role_arn: Fixed[Id]
    """The role that pods are started with, with AmazonEKSFargatePodExecutionRolePolicy."""
    subnets: Fixed[list[Id]] = Field(min_length=1)
    """Private subnets: without a route to an internet gateway."""
    selectors: Fixed[list[Selector]] = Field(min_length=1, max_length=5)
    """Which pods."""

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        return str(checked_name(value, 63)) if isinstance(value, str) else value

    @classmethod
    def named(cls, id: str) -> dict[str, str]:
        """By cluster and name."""
        cluster, _, name = id.partition("/")
        return {"clusterName": cluster, "fargateProfileName": name}

    def foreseen(self) -> str | None:
        """Cluster and name."""
        if isinstance(self.name, Unknown) or isinstance(self.cluster_name, Unknown):
            return None
        return f"{self.cluster_name}/{self.name}"

    def create(self, world: World) -> str:
        """CreateFargateProfile, until it is active; EKS makes one at a time in a cluster."""
        return self.made(world, f"{self.cluster_name}/{self.name}", **self._asked())

    def _asked(self) -> dict[str, Any]:
        return {
            "podExecutionRoleArn": plain(self.role_arn),
            "subnets": plain(self.subnets),
            "selectors": [
                {
                    "namespace": selector.namespace,
                    **({"labels": plain(selector.labels)} if selector.labels else {}),
                }
                for selector in self.selectors
            ],
        }

    @classmethod
    def seen(cls, described: Mapping[str, Any]) -> Values:
        """DescribeFargateProfile."""
        return {
            "name": described["fargateProfileName"],
            "cluster_name": described["clusterName"],
            "role_arn": described["podExecutionRoleArn"],
            "subnets": list(described.get("subnets", ())),
            "selectors": [
                {"namespace": selector["namespace"], "labels": dict(selector.get("labels") or {})}
                for selector in described.get("selectors", ())
            ],
        }

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteFargateProfile, until its pods are gone."""
        cls.removed(world, id)

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws eks create-fargate-profile`, `delete-fargate-profile`, and `wait`."""
        if action == "delete":
            named = self.named(id or "")
            names = (
                f"--cluster-name {word(named['clusterName'])} "
                f"--fargate-profile-name {word(named['fargateProfileName'])}"
            )
            return [
                f"aws eks delete-fargate-profile {names}",
                f"aws eks wait fargate-profile-deleted {names}",
            ]
        names = f"--cluster-name {word(self.cluster_name)} --fargate-profile-name {word(self.name)}"
        asked = {
            "clusterName": plain(self.cluster_name),
            "fargateProfileName": plain(self.name),
            **self._asked(),
        }
        return [
            f"aws eks create-fargate-profile --cli-input-json {json_word(asked)}",
            f"aws eks wait fargate-profile-active {names}",
        ]

    def price(self) -> float | None:
        """Nothing by itself: its pods cost by vCPU and GB."""
        return 0.0
