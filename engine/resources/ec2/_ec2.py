"""What the EC2 kinds share: describing by id, creating, deleting what others may still hold on to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from engine.aws.errors import AwsError
from engine.aws.tags import made_by, values_filter
from engine.errors import StepFailed
from engine.resource import Values
from engine.resources.aws._aws import insist, seconds, set_ones
from engine.resources.aws._tagging import Tagged, Tagging

if TYPE_CHECKING:
    from engine.world import World

_VALUES_A_FILTER: Final = 200
"""The most values that EC2 takes in one filter."""
_SETTLES: Final = 15.0
"""Seconds that EC2 is given to show what was just made to its other interfaces."""
_PROFILE_SETTLES: Final = 60.0
"""Seconds that IAM is given to show EC2 an instance profile made a moment ago."""
_LETS_GO: Final = 240.0
"""Seconds that things which are going (interfaces of terminated instances, say) are given to let go."""
_IN_USE: Final = frozenset(
    {
        "DependencyViolation",
        "InvalidGroup.InUse",
        "InvalidIPAddress.InUse",
        "VolumeInUse",
        "InvalidNetworkInterface.InUse",
        "InvalidSnapshot.InUse",
    }
)


class InEc2(Tagged):
    """What all kinds of EC2 have in common: their tags change in place."""

    tagging: ClassVar[Tagging] = Tagging(
        "ec2",
        "create_tags",
        "delete_tags",
        "Resources",
        keys="Tags",
        several=True,
        whole=True,
        any_letter=True,
        settles=_SETTLES,
    )

    @classmethod
    def parts(cls, there: Values) -> list[str]:
        """The ids of what was made along with it and bears the same tags."""
        return []

    @classmethod
    def tag_target(cls, id: str, there: Values) -> Sequence[str]:
        """It, and what was made along with it."""
        return [id, *cls.parts(there)]


def ask(world: World, operation: str, **params: Any) -> dict[str, Any]:
    """An EC2 request that may be sent twice without harm: reads, deletes, settings; None leaves one out."""
    return world.aws.call("ec2", operation, retry=True, **set_ones(params))


def make(world: World, operation: str, **params: Any) -> dict[str, Any]:
    """An EC2 create; a parameter that is None is left out.

    What it refers to may have been made a moment ago and not be visible everywhere yet.
    """

    def send() -> dict[str, Any]:
        return insist(
            world,
            lambda: world.aws.call("ec2", operation, **set_ones(params)),
            _late,
            what="AWS to see what was just made",
            timeout=_SETTLES,
        )

    return insist(
        world, send, _late_profile, what="IAM to show EC2 the instance profile", timeout=_PROFILE_SETTLES
    )


def once_seen(world: World, operation: str, **params: Any) -> dict[str, Any]:
    """A harmless request about things made a moment ago, which not all of EC2 may have seen yet."""
    return insist(
        world,
        lambda: ask(world, operation, **params),
        lambda error: error.not_found,
        what="AWS to see what was just made",
        timeout=_SETTLES,
    )


def _late(error: AwsError) -> bool:
    """Whether a refusal may pass by itself a few seconds after a create."""
    return error.not_found and not error.code.startswith("InvalidAMIID")


def _late_profile(error: AwsError) -> bool:
    """Whether EC2 does not know the instance profile, perhaps not yet."""
    return error.code == "InvalidParameterValue" and "iamInstanceProfile" in error.said


def described(
    world: World, operation: str, key: str, by: str, ids: Sequence[str], **params: Any
) -> list[dict[str, Any]]:
    """What is there of `ids`, as a describe call gives it under `key`.

    Asked with the filter `by`, because asking for an id that is gone makes the direct form fail as a whole.
    """
    things: list[dict[str, Any]] = []
    ids = sorted(set(ids))
    for start in range(0, len(ids), _VALUES_A_FILTER):
        chunk = ids[start : start + _VALUES_A_FILTER]
        things += world.aws.pages("ec2", operation, key, Filters=values_filter(by, chunk), **params)
    return things


def instances(world: World, ids: Sequence[str]) -> list[dict[str, Any]]:
    """What DescribeInstances tells of `ids`."""
    return _in(described(world, "describe_instances", "Reservations", "instance-id", ids))


def instances_where(world: World, *filters: dict[str, Any]) -> list[dict[str, Any]]:
    """The instances that all `filters` let through (DescribeInstances)."""
    return _in(world.aws.pages("ec2", "describe_instances", "Reservations", Filters=list(filters)))


def _in(reservations: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [instance for reservation in reservations for instance in reservation["Instances"]]


def found(world: World, operation: str, key: str, id_key: str, *filters: dict[str, Any]) -> list[str]:
    """The ids of what a create for `world.job` may have made, by its tags."""
    things = world.aws.pages("ec2", operation, key, Filters=[*made_by(world), *filters])
    return [str(thing[id_key]) for thing in things]


def remove(
    world: World, operation: str, *, holders: Callable[[], list[str]] | None = None, **params: Any
) -> bool:
    """A delete: False when the thing is gone already; waits while something that is going still holds it.

    `holders` tells, for the message when that takes too long, what holds it.
    """

    try:
        insist(
            world,
            lambda: ask(world, operation, **params),
            lambda error: error.code in _IN_USE,
            what="others to let go of it",
            timeout=seconds(world, _LETS_GO),
        )
    except AwsError as error:
        if error.not_found:
            return False
        if error.code not in _IN_USE:
            raise
        held = holders() if holders else []
        by = f"; still in use by {', '.join(held)}" if held else ""
        raise StepFailed(
            f"it cannot be deleted: {error.message}{by}",
            "delete what uses it (it may have been made outside labctl), then run the same command again",
        ) from None
    return True


def quietly(world: World, operation: str, *codes: str, **params: Any) -> None:
    """A request whose refusal with NotFound or one of `codes` means that there is nothing left to do."""
    try:
        ask(world, operation, **params)
    except AwsError as error:
        if not error.not_found and error.code not in codes:
            raise


def interfaces(world: World, by: str, value: str) -> list[str]:
    """The network interfaces in a subnet, VPC or group, in words, for messages about what holds a thing."""
    things = world.aws.pages(
        "ec2", "describe_network_interfaces", "NetworkInterfaces", Filters=values_filter(by, [value])
    )
    words = []
    for thing in things:
        owner = thing.get("Attachment", {}).get("InstanceId") or thing.get("Description") or "nothing"
        words.append(f"{thing['NetworkInterfaceId']} ({owner})")
    return words
