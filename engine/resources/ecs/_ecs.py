"""What the kinds of ECS share: their tags, waiting for roles, and where tasks can be reached."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from pydantic import BeforeValidator, Field

from engine.aws.errors import AwsError
from engine.aws.tags import narrow, tags_for
from engine.by_hand import word
from engine.resource import Fields, Id, Values
from engine.resources.aws._aws import insist, set_ones, shaped
from engine.resources.aws._tagging import Tagged, Tagging
from engine.resources.ec2._ec2 import described

if TYPE_CHECKING:
    from engine.world import World

_ROLES_SETTLE: Final = 60.0
"""Seconds that IAM is given to show ECS a role made a moment ago."""
_LATE: Final = (
    "unable to assume",
    "role is not valid",
    "service linked role",
    "does not exist or is not valid",
)
_A_TOKEN: Final = 36
"""The longest client token that CreateService takes."""


def _texts(value: Any) -> Any:
    """Numbers and truths as the text that the container sees."""
    if not isinstance(value, Mapping):
        return value
    return {key: _text(item) for key, item in value.items()}


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


Name = Annotated[str, shaped(r"[A-Za-z0-9_-]{1,255}", "1 to 255 letters, digits, _ and -")]
"""The name of something in ECS."""
Texts = Annotated[
    dict[str, str],
    BeforeValidator(_texts, json_schema_input_type=dict[str, str | int | float | bool]),
]
"""Variables and their values; numbers and truths as the text that a container sees."""


class InEcs(Tagged):
    """What all kinds of ECS have in common: an ARN as their id, and tags that change in place."""

    tagging: ClassVar[Tagging] = Tagging(
        "ecs", "tag_resource", "untag_resource", "resourceArn", "tags", "tagKeys", form="small list"
    )


class NetworkConfiguration(Fields):
    """Where the network interface of a task stands; for tasks with network_mode awsvpc."""

    subnets: list[Id] = Field(min_length=1, max_length=16)
    """Subnets of one VPC, one to 16 of them."""
    security_groups: list[Id] | None = Field(default=None, max_length=5)
    """At most five; the VPC's default group where left out."""
    assign_public_ip: bool = False
    """A public address of its own; without one a task needs a NAT gateway to fetch its image."""


class CapacityProviderStrategyItem(Fields):
    """One capacity provider and its share of the tasks."""

    capacity_provider: str
    """FARGATE, FARGATE_SPOT, or the name of one of the account's."""
    weight: int = Field(default=1, ge=0, le=1000)
    """Its share, relative to the others'."""
    base: int = Field(default=0, ge=0, le=100000)
    """How many tasks run on it at least."""


def ask(world: World, operation: str, /, **params: Any) -> dict[str, Any]:
    """An ECS request that may be sent twice without harm: reads, deletes, settings; None leaves one out."""
    return world.aws.call("ecs", operation, retry=True, **set_ones(params))


def once_settled(world: World, act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `act` gives, tried again while ECS cannot take on a role that was made a moment ago."""
    return insist(world, act, _late_role, what="ECS to be able to take on its role", timeout=_ROLES_SETTLE)


def _late_role(error: AwsError) -> bool:
    said = error.said.lower()
    return error.code in {"ClientException", "InvalidParameterException"} and any(
        words in said for words in _LATE
    )


def token(world: World) -> str | None:
    """The client token of the step at hand, as short as CreateService wants it."""
    return world.job.token[-_A_TOKEN:] or None


def new_tags(world: World) -> list[dict[str, str]]:
    """The tags of a thing made now, in the form of ECS's requests."""
    return [{"key": key, "value": text} for key, text in narrow(tags_for(world)).items()]


def in_chunks(ids: Iterable[str], size: int) -> list[list[str]]:
    """`ids` without repetition, in lists of at most `size`."""
    distinct = sorted(set(ids))
    return [distinct[start : start + size] for start in range(0, len(distinct), size)]


def clusters(world: World) -> list[str]:
    """The ARNs of all clusters (ListClusters)."""
    return [str(arn) for arn in world.aws.pages("ecs", "list_clusters", "clusterArns")]


def listed(world: World, cluster: str, operation: str, key: str, **params: Any) -> list[str]:
    """The ARNs that a list call gives of a cluster; none where the cluster is gone meanwhile."""
    try:
        return [str(arn) for arn in world.aws.pages("ecs", operation, key, cluster=cluster, **params)]
    except AwsError as error:
        if not error.not_found:
            raise
        return []


def cluster_of(arn: str) -> str:
    """The name of the cluster in the ARN of a service or task, `…:service/CLUSTER/NAME`."""
    return arn.rpartition(":")[2].split("/")[1]


def in_cluster(arn: str) -> str:
    """The option (` --cluster NAME`) that names the cluster of the ARN of a service or task."""
    parts = arn.rpartition(":")[2].split("/")
    return f" --cluster {word(parts[1])}" if len(parts) == 3 else ""


def by_cluster(arns: Iterable[str]) -> dict[str, list[str]]:
    """ARNs of services or tasks by the names of their clusters."""
    found: dict[str, list[str]] = {}
    for arn in sorted(set(arns)):
        found.setdefault(cluster_of(arn), []).append(arn)
    return found


def short(name: str | None) -> str | None:
    """The name at the end of an ARN; names as they are."""
    return name.rpartition("/")[2] if isinstance(name, str) else name


def definition_differs(wanted: str, there: str) -> bool:
    """Whether a definition is not the one asked for: `family:3`, or `family` for any of its revisions."""
    given, found = str(short(wanted)), str(short(there))
    return given != (found if ":" in given else found.partition(":")[0])


def network_request(given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A networkConfiguration for ECS, from plain values in the playbook's words."""
    if given is None:
        return None
    inner = {
        "subnets": given["subnets"],
        "securityGroups": given.get("security_groups"),
        "assignPublicIp": "ENABLED" if given.get("assign_public_ip") is True else "DISABLED",
    }
    return {"awsvpcConfiguration": set_ones(inner)}


def network_words(given: Mapping[str, Any] | None) -> Values | None:
    """A networkConfiguration of ECS in the playbook's words."""
    inner = (given or {}).get("awsvpcConfiguration")
    if not inner:
        return None
    return {
        "subnets": sorted(inner.get("subnets") or ()),
        "security_groups": sorted(inner.get("securityGroups") or ()),
        "assign_public_ip": inner.get("assignPublicIp") == "ENABLED",
    }


def network_differs(wanted: Mapping[str, Any], there: Mapping[str, Any] | None) -> bool:
    """Whether two networks in the playbook's words are not the same; lists in any order."""
    if there is None:
        return True
    groups = wanted.get("security_groups")
    return bool(
        {str(one) for one in wanted["subnets"]} != set(there["subnets"])
        or (groups is not None and {str(one) for one in groups} != set(there["security_groups"]))
        or (wanted.get("assign_public_ip") or False) != there["assign_public_ip"]
    )


def strategy_request(given: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]] | None:
    """A capacityProviderStrategy for ECS, from plain values in the playbook's words."""
    if given is None:
        return None
    return [
        {
            "capacityProvider": item["capacity_provider"],
            "weight": item.get("weight", 1),
            "base": item.get("base", 0),
        }
        for item in given
    ]


def strategy_words(given: Sequence[Mapping[str, Any]] | None) -> list[Values]:
    """A capacityProviderStrategy of ECS in the playbook's words."""
    return [
        {
            "capacity_provider": item["capacityProvider"],
            "weight": item.get("weight", 1 if "base" not in item else 0),
            "base": item.get("base", 0),
        }
        for item in given or ()
    ]


def interface_of(task: Mapping[str, Any]) -> str | None:
    """The network interface of a task as DescribeTasks gives it."""
    return _detail(task, "networkInterfaceId")


def private_address_of(task: Mapping[str, Any]) -> str | None:
    """The private address of a task as DescribeTasks gives it."""
    return _detail(task, "privateIPv4Address")


def _detail(task: Mapping[str, Any], name: str) -> str | None:
    for attachment in task.get("attachments") or ():
        for detail in attachment.get("details") or ():
            if attachment.get("type") == "ElasticNetworkInterface" and detail.get("name") == name:
                return str(detail["value"])
    return None


def public_addresses(world: World, tasks: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """By ARN of the task, the public address of its network interface (EC2 DescribeNetworkInterfaces)."""
    interfaces = {interface_of(task): str(task["taskArn"]) for task in tasks if interface_of(task)}
    if not interfaces:
        return {}
    found = described(
        world,
        "describe_network_interfaces",
        "NetworkInterfaces",
        "network-interface-id",
        [one for one in interfaces if one],
    )
    return {
        interfaces[one["NetworkInterfaceId"]]: str(one["Association"]["PublicIp"])
        for one in found
        if (one.get("Association") or {}).get("PublicIp")
    }


def why_stopped(task: Mapping[str, Any]) -> str:
    """Why a task has stopped, in ECS's words: the task's reason, then what its containers ended with."""
    reasons = [str(task["stoppedReason"])] if task.get("stoppedReason") else []
    for container in task.get("containers") or ():
        told = []
        if container.get("exitCode") not in (None, 0):
            told.append(f"exit code {container['exitCode']}")
        if container.get("reason"):
            told.append(str(container["reason"]))
        if told:
            reasons.append(f"container {container.get('name')}: {', '.join(told)}")
    return "; ".join(reasons) or "ECS gives no reason"
