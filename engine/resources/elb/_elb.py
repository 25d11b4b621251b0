"""What the kinds of Elastic Load Balancing have in common: their tags, and names that are taken."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, NamedTuple

from pydantic import AfterValidator

from engine.aws.errors import AwsError
from engine.aws.tags import is_made_by, narrow, tag_list, tags_for, tags_of, widened
from engine.errors import StepFailed
from engine.refs import Unknown
from engine.resources.aws._aws import insist, set_ones
from engine.resources.aws._tagging import Tagged, Tagging

if TYPE_CHECKING:
    from engine.resource import Resource
    from engine.world import World

_SETTLES: Final = 15.0
"""Seconds that ELB is given to see subnets, groups and VPCs that were made a moment ago."""
_TAGS_A_REQUEST: Final = 20
"""The most things that DescribeTags takes."""
_NAME: Final = re.compile(r"(?!internal-)[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?")


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(
            f"{value!r} is no name for it: at most 32 letters, digits and hyphens, no hyphen at either end, "
            "and not internal- in front"
        )
    return value


Name = Annotated[str, AfterValidator(_name)]
"""The name of a load balancer or target group."""


class Described(NamedTuple):
    """How ELB tells of one sort of things."""

    operation: str
    key: str
    """Under which the answer lists them."""
    arn: str
    """Under which each of them has its ARN."""
    what: str
    """What a user calls one."""


class InElb(Tagged):
    """What all kinds of load balancing have in common: an ARN as their id, and tags that change in place."""

    tagging: ClassVar[Tagging] = Tagging("elbv2", "add_tags", "remove_tags", "ResourceArns", several=True)
    described: ClassVar[Described]

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By the tags that the create was sent with."""
        arns = [arn for arn, _ in _all(world, cls.described)]
        return [arn for arn, tags in tags_by_arn(world, arns).items() if is_made_by(world, tags)]


def new_tags(world: World) -> list[dict[str, str]]:
    """The tags of a thing made now, in the form of ELB's requests."""
    return tag_list(narrow(tags_for(world)))


def ask(world: World, operation: str, **params: Any) -> dict[str, Any]:
    """A request that may be sent twice without harm: names make all creates of ELB idempotent.

    A parameter that is None is left out.
    """
    return world.aws.call("elbv2", operation, retry=True, **set_ones(params))


def make(world: World, operation: str, late: Callable[[AwsError], bool], **params: Any) -> dict[str, Any]:
    """A create with all tags, sent again while it is refused as `late`: not yet seen is what it refers to."""
    return insist(
        world,
        lambda: ask(world, operation, Tags=new_tags(world), **params),
        late,
        what="AWS to see what was just made",
        timeout=_SETTLES,
    )


def attributes_request(resource: Resource, keys: Mapping[str, str], names: Set[str]) -> list[dict[str, Any]]:
    """The Attributes of ELB's requests for the fields `names` that are set; `keys` has ELB's name of each."""
    given = set_ones({key: getattr(resource, name) for name, key in keys.items() if name in names})
    return [
        {"Key": key, "Value": value if isinstance(value, Unknown) else str(value).lower()}
        for key, value in given.items()
    ]


def tags_by_arn(world: World, arns: Sequence[str]) -> dict[str, dict[str, str]]:
    """The tags of things by their ARNs (DescribeTags, 20 at a time)."""
    found: dict[str, dict[str, str]] = {}
    for start in range(0, len(arns), _TAGS_A_REQUEST):
        chunk = list(arns[start : start + _TAGS_A_REQUEST])
        for told in ask(world, "describe_tags", ResourceArns=chunk)["TagDescriptions"]:
            found[str(told["ResourceArn"])] = widened(tags_of(told))
    return found


def refuse_another(world: World, described: Described, name: str) -> None:
    """Raises StepFailed where something of this name is there that `world.job` did not make.

    ELB's creates give back what is there under the name, whoever made it.
    """
    try:
        things = ask(world, described.operation, Names=[name])[described.key]
    except AwsError as error:
        if not error.not_found:
            raise
        return
    for tags in tags_by_arn(world, [str(thing[described.arn]) for thing in things]).values():
        if not is_made_by(world, tags):
            raise StepFailed(
                f"a {described.what} called {name} is there already, and this resource did not make it",
                f"choose another name, or delete that {described.what} if nobody needs it",
            )


def of_ours(
    world: World, described: Described, ids: Sequence[str]
) -> list[tuple[dict[str, Any], dict[str, str]]]:
    """What is there of `ids`, each with its tags.

    All pages are asked: asking for an ARN that is gone makes the direct form fail as a whole.
    """
    things = {arn: thing for arn, thing in _all(world, described) if arn in ids}
    tags = tags_by_arn(world, list(things))
    return [(thing, tags.get(arn, {})) for arn, thing in things.items()]


def _all(world: World, described: Described) -> Iterator[tuple[str, dict[str, Any]]]:
    """Everything of a sort, whosever it is, by its ARN."""
    for thing in world.aws.pages("elbv2", described.operation, described.key):
        yield str(thing[described.arn]), thing
