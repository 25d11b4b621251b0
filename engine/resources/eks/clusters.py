"""EKS: clusters of Kubernetes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from engine.by_hand import json_word, told, word
from engine.refs import Unknown
from engine.resource import Fixed, Id, Output, Values, plain
from engine.resources.aws._aws import iam_actions
from engine.resources.aws._tagging import kebab
from engine.resources.eks._eks import InEks, actions, checked_name

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
        return checked_name(value, 100)

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
            "resourcesVpcConfig": {**self._network(), **self._access()},
            "logging": self._logging(),
            "accessConfig": {
                "authenticationMode": self.authentication_mode,
                "bootstrapClusterCreatorAdminPermissions": True,
            },
        }
        return {**asked, **({"version": self.version} if self.version else {})}

    def _network(self) -> dict[str, Any]:
        return {"subnetIds": plain(self.subnets), "securityGroupIds": plain(self.security_groups)}

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

    def _configs(self, changed: frozenset[str]) -> list[tuple[str, dict[str, Any]]]:
        """What UpdateClusterConfig takes, one thing at a time: the parameter and its value."""
        access = {"endpoint_public_access", "endpoint_private_access", "public_access_cidrs"}
        asked = []
        if changed & access:
            asked.append(("resourcesVpcConfig", self._access()))
        if changed & {"subnets", "security_groups"}:
            asked.append(("resourcesVpcConfig", self._network()))
        if "enabled_logs" in changed:
            asked.append(("logging", self._logging()))
        return asked

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """UpdateClusterConfig for one thing at a time, UpdateClusterVersion."""
        for parameter, value in self._configs(changed):
            self.updated(world, id, "update_cluster_config", name=id, **{parameter: value})
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
        for parameter, value in self._configs(changed):
            lines.append(f"aws eks update-cluster-config {name} --{kebab(parameter)} {json_word(value)}")
        return [line for each in lines for line in (each, f"aws eks wait cluster-active {name}")]

    def price(self) -> float | None:
        """USD per hour of the control plane."""
        return _CLUSTER_PRICE
