"""What the pods of EKS's clusters run on: nodes, and Fargate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from engine.by_hand import json_word
from engine.resource import Fields, Fixed, Id, Output, Values, plain
from engine.resources.aws import _prices
from engine.resources.aws._aws import iam_actions, set_ones
from engine.resources.aws._tagging import kebab
from engine.resources.eks._eks import OfCluster, actions

if TYPE_CHECKING:
    from engine.world import World


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


class EksNodegroup(OfCluster):
    """Nodes of a cluster: EC2 instances that EKS makes, joins and replaces."""

    kind: ClassVar[str] = "eks_nodegroup"
    noun: ClassVar[str] = "nodegroup"
    answer: ClassVar[str] = "nodegroup"
    called: ClassVar[str] = "nodegroupName"
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("CLUSTER/NAME"),
        "arn": Output("its ARN"),
        "autoscaling_group": Output("the Auto Scaling group that its instances belong to"),
        "version": Output("the nodes' version of Kubernetes"),
    }
    actions: ClassVar[Sequence[str]] = actions(
        "Nodegroup", "DescribeUpdate UpdateNodegroupConfig"
    ) + iam_actions("ec2", "DescribeSubnets DescribeLaunchTemplateVersions RunInstances")

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

    def create(self, world: World) -> str:
        """CreateNodegroup, until its nodes have joined."""
        return self.made(world, self.whole_name(), **self._asked())

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
        return set_ones(asked)

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
        self.updated(world, id, "update_nodegroup_config", **self.named(id), **self._config(there, changed))

    def _config(self, there: Values, changed: frozenset[str]) -> dict[str, Any]:
        asked: dict[str, Any] = {"scalingConfig": self._scaling()}
        if "labels" in changed:
            gone = [key for key in there.get("labels", ()) if key not in self.labels]
            asked["labels"] = {"addOrUpdateLabels": plain(self.labels), "removeLabels": gone}
        if "taints" in changed:
            old = [taint for taint in there.get("taints", ()) if taint not in plain(self.taints)]
            asked["taints"] = {"addOrUpdateTaints": plain(self.taints), "removeTaints": old}
        return asked

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteNodegroup, until its instances are gone."""
        cls.removed(world, id)

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws eks create-nodegroup`, `update-nodegroup-config`, `delete-nodegroup`, and `wait`."""
        if action != "update":
            return self.by_hand(action, id, self._asked)
        names = self.names_by_hand(id)
        asked = self._config(self._beside.there, changed)
        config = " ".join(f"--{kebab(name)} {json_word(value)}" for name, value in asked.items())
        return [
            f"aws eks update-nodegroup-config {names} {config}",
            f"aws eks wait nodegroup-active {names}",
        ]

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


class EksFargateProfile(OfCluster):
    """Which pods of a cluster run on Fargate, without nodes."""

    kind: ClassVar[str] = "eks_fargate_profile"
    noun: ClassVar[str] = "fargate_profile"
    answer: ClassVar[str] = "fargateProfile"
    called: ClassVar[str] = "fargateProfileName"
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("CLUSTER/NAME"),
        "arn": Output("its ARN"),
    }
    actions: ClassVar[Sequence[str]] = actions("FargateProfile") + iam_actions("ec2", "DescribeSubnets")

    role_arn: Fixed[Id]
    """The role that pods are started with, with AmazonEKSFargatePodExecutionRolePolicy."""
    subnets: Fixed[list[Id]] = Field(min_length=1)
    """Private subnets: without a route to an internet gateway."""
    selectors: Fixed[list[Selector]] = Field(min_length=1, max_length=5)
    """Which pods."""

    def create(self, world: World) -> str:
        """CreateFargateProfile, until it is active; EKS makes one at a time in a cluster."""
        return self.made(world, self.whole_name(), **self._asked())

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
        return self.by_hand(action, id, self._asked)

    def price(self) -> float | None:
        """Nothing by itself: its pods cost by vCPU and GB."""
        return 0.0
