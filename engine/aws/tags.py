"""Tags: proof of what labctl made, in the create call itself, and the way to find it again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from engine import tags

if TYPE_CHECKING:
    from engine.world import World

LAB: Final = tags.LAB
ADDRESS: Final = tags.ADDRESS
TOKEN: Final = "labctl:token"
"""The token of the create: tells the thing that a lost answer was about from older ones."""


def tags_for(world: World, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """All tags of a thing made now by `world.job`; the lab's own may change its Name."""
    name = tags.default_name(world.lab, world.job.address)
    return {tags.NAME: name, **_of_create(world), **world.job.tags, **(more or {})}


def _of_create(world: World) -> dict[str, str]:
    """The tags that tell what a create for `world.job` made: lab, address, and token if there is one."""
    own = {LAB: world.lab, ADDRESS: world.job.address}
    return {**own, TOKEN: world.job.token} if world.job.token else own


def narrow(some: Mapping[str, str]) -> dict[str, str]:
    """Tags for services that take only letters, digits, spaces and `_.:/=+-@` in them (S3, IAM, ECS, …).

    Any other character, in an address the brackets of `worker[0]`, becomes `=5B`; `widened` gives it back.
    """
    return {_narrow(key): _narrow(value) for key, value in some.items()}


def widened(some: Mapping[str, str]) -> dict[str, str]:
    """What `narrow` was given."""
    return {_widened(key): _widened(value) for key, value in some.items()}


def _narrow(text: str) -> str:
    return _NOT_NARROW.sub(lambda found: "".join(f"={byte:02X}" for byte in found[0].encode()), text)


def _widened(text: str) -> str:
    def given_back(found: re.Match[str]) -> str:
        return bytes.fromhex(found[0].replace("=", "")).decode(errors="replace")

    return _NARROWED.sub(given_back, text)


_NOT_NARROW: Final = re.compile(r"[^\w\s.:/=+\-@]|=(?=[0-9A-F]{2})")
_NARROWED: Final = re.compile(r"(?:=[0-9A-F]{2})+")


def tag_list(some: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags in the form of AWS's requests."""
    return [{"Key": key, "Value": value} for key, value in some.items()]


def tag_specifications(
    world: World, *types: str, more: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """TagSpecifications of a create call for each resource type (`instance`, `volume`) that it makes."""
    given = tag_list(tags_for(world, more))
    return [{"ResourceType": sort, "Tags": given} for sort in types]


def tags_of(thing: Mapping[str, Any]) -> dict[str, str]:
    """The tags that a describe call gave for a thing."""
    return tags_in(thing.get("Tags"))


def seen_tags(thing: Mapping[str, Any]) -> dict[str, str]:
    """The tags that a kind reads of a thing: without AWS's own and the token of its create."""
    return readable(tags_of(thing))


def tags_in(given: Iterable[Mapping[str, str]] | Mapping[str, str] | None) -> dict[str, str]:
    """Tags as a plain mapping, in whichever of AWS's forms a service gives them.

    That is a list of Key and Value (EC2, IAM), the same in small letters (ECS), or a mapping (Lambda, EKS).
    """
    if isinstance(given, Mapping):
        return dict(given)
    return {tag.get("Key", tag.get("key", "")): tag.get("Value", tag.get("value", "")) for tag in given or ()}


def told_tags(given: Iterable[Mapping[str, str]] | Mapping[str, str] | None) -> dict[str, str]:
    """The tags that a service tells of a thing, as they were before they were narrowed."""
    return widened(tags_in(given))


def readable(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that a kind reads of a thing: without AWS's own and the token of its create."""
    return {key: value for key, value in tags.items() if key != TOKEN and not key.startswith("aws:")}


def is_made_by(world: World, tags: Mapping[str, str]) -> bool:
    """Whether a thing with these tags may be what a create for `world.job` made: lab, address, token."""
    return _of_create(world).items() <= tags.items()


def made_by(world: World) -> list[dict[str, Any]]:
    """Filters for what a create for `world.job` may have made: lab, address, and token if there is one."""
    return [{"Name": f"tag:{key}", "Values": [_literal(value)]} for key, value in _of_create(world).items()]


def _literal(value: str) -> str:
    """A filter value that matches nothing but itself: `*` and `?` are wildcards, a backslash escapes."""
    return "".join(f"\\{letter}" if letter in "*?\\" else letter for letter in value)


def values_filter(name: str, values: Iterable[str]) -> list[dict[str, Any]]:
    """One filter of a describe call."""
    return [{"Name": name, "Values": list(values)}]
