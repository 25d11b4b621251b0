"""The Cloud Control API: requests that end later, what a type says of itself, and documents compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from engine.aws.errors import AwsError
from engine.errors import HalfMade, StepFailed
from engine.resources._documents import UNTOLD, holds, merged
from engine.resources.aws._aws import insist, seconds, unless_gone

if TYPE_CHECKING:
    from engine.world import World

_TAKES: Final = 3600.0
"""Seconds that a request may take: some types (databases, clusters) need the better part of an hour."""
_SETTLES: Final = 120.0
_BUSY: Final = frozenset({"ConcurrentOperationException", "ConcurrentModificationException"})

_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "AlreadyExists": (
        "one of this name is there already, and this lab did not make it",
        "choose another name, or delete that one if nobody needs it",
    ),
    "AccessDenied": (
        "these credentials are not allowed to do this",
        "ask the account's administrator for the permission named in the message",
    ),
    "InvalidRequest": ("AWS does not accept these properties", "see the type's page in AWS's reference"),
    "NotUpdatable": ("AWS cannot change this in place", "use `--replace ADDRESS` to have it made anew"),
    "ServiceLimitExceeded": (
        "a limit of the account is reached",
        "delete what is no longer needed, or ask for a higher limit in Service Quotas",
    ),
    "ResourceConflict": ("something else is changing it, or still uses it", "run the same command again"),
    "NotStabilized": ("it did not become ready in time", "run the same command again"),
    "Throttling": ("AWS was asked too often", "run the same command again"),
}
"""By HandlerErrorCode of a progress event: what it means, and what to do."""


@dataclass(frozen=True)
class TypeFacts:
    """What the schema of a type tells (CloudFormation's DescribeType)."""

    create_only: tuple[str, ...] = ()
    """JSON pointers of the properties whose change needs a new resource."""
    unread: tuple[str, ...] = ()
    """JSON pointers of the properties that are never given back."""
    tags_in: str | None = None
    """The property that holds the tags, None where the type has none that can be set."""
    tags_are_map: bool = False

    def tags(self, tags: Mapping[str, str]) -> Any:
        """`tags` in the form that the type takes."""
        if self.tags_are_map:
            return dict(tags)
        return [{"Key": key, "Value": value} for key, value in tags.items()]


def facts(world: World, type_name: str) -> TypeFacts:
    """What AWS says of a type, asked once. Raises StepFailed where there is no such type."""
    return world.aws.remember(("resource type", type_name), lambda: _asked(world, type_name))


def _asked(world: World, type_name: str) -> TypeFacts:
    try:
        answer = world.aws.call("cloudformation", "describe_type", Type="RESOURCE", TypeName=type_name)
    except AwsError as error:
        if not error.not_found:
            raise
        raise StepFailed(
            f"AWS knows no resource type {type_name} in {world.aws.region}",
            "see the list of types in AWS's reference of CloudFormation resources",
        ) from None
    return facts_in(json.loads(answer["Schema"]))


def facts_in(schema: Mapping[str, Any]) -> TypeFacts:
    """What a type's schema tells: https://docs.aws.amazon.com/cloudformation-cli/, resource type schema."""
    place, is_map = _tags(schema)
    return TypeFacts(
        create_only=tuple(schema.get("createOnlyProperties", ())),
        unread=tuple(schema.get("writeOnlyProperties", ())),
        tags_in=place,
        tags_are_map=is_map,
    )


def _tags(schema: Mapping[str, Any]) -> tuple[str | None, bool]:
    tagging = schema.get("tagging") or {"taggable": schema.get("taggable", True)}
    name = str(tagging.get("tagProperty", "/properties/Tags")).removeprefix("/properties/")
    found = _resolved(schema, schema.get("properties", {}).get(name))
    if not tagging.get("taggable", True) or not tagging.get("tagOnCreate", True) or found is None:
        return None, False
    if found.get("type") == "object":
        return name, True
    item = _resolved(schema, found.get("items")) or {}
    plain = {"Key", "Value"} <= item.get("properties", {}).keys() and {"Key", "Value"} >= set(
        item.get("required", ())
    )
    return (name, False) if plain else (None, False)


def _resolved(schema: Mapping[str, Any], part: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """A part of the schema, or what it refers to (`#/definitions/Tag`)."""
    while part is not None and "$ref" in part:
        part = schema.get("definitions", {}).get(str(part["$ref"]).rpartition("/")[2])
    return part


def ask(world: World, operation: str, **params: Any) -> dict[str, Any]:
    """A request; waits while another one on the same resource is under way."""
    return insist(
        world,
        lambda: world.aws.call("cloudcontrol", operation, **params),
        lambda error: error.code in _BUSY,
        what="AWS to finish what it does with it now",
        timeout=seconds(world, _SETTLES),
    )


def described(world: World, type_name: str, identifier: str) -> dict[str, Any] | None:
    """GetResource: the properties of one resource; None where there is none."""
    answer = unless_gone(lambda: ask(world, "get_resource", TypeName=type_name, Identifier=identifier))
    if answer is None:
        return None
    found: dict[str, Any] = json.loads(answer["ResourceDescription"]["Properties"])
    return found


def finished(world: World, event: Mapping[str, Any], id_of: Callable[[str], str]) -> Mapping[str, Any]:
    """The last progress event of a request that began with `event`.

    Raises StepFailed with AWS's words where it failed, HalfMade where a create left something behind.
    """
    last = event if _ended(event) else _waited_for(world, event)
    if last["OperationStatus"] == "SUCCESS":
        return last
    code = last.get("ErrorCode", last["OperationStatus"])
    words, remedy = _WORDS.get(code, ("", ""))
    said = last.get("StatusMessage", "")
    message = ": ".join(part for part in (words, f"{said} ({code})") if part)
    if event["Operation"] == "CREATE" and last.get("Identifier") and code != "AlreadyExists":
        made = described(world, event["TypeName"], last["Identifier"])
        if made is not None:
            raise HalfMade(id_of(last["Identifier"]), message, remedy)
    raise Refused(code, message, remedy)


class Refused(StepFailed):
    """A request that ended with a HandlerErrorCode, in `code`."""

    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(message, remedy)
        self.code = code


def _waited_for(world: World, event: Mapping[str, Any]) -> Mapping[str, Any]:
    def look() -> Mapping[str, Any] | None:
        answer = world.aws.call(
            "cloudcontrol", "get_resource_request_status", RequestToken=event["RequestToken"]
        )
        latest: Mapping[str, Any] = answer["ProgressEvent"]
        return latest if _ended(latest) else None

    what = f"AWS to {event['Operation'].lower()} the {event['TypeName']}"
    return world.aws.poll(look, what=what, timeout=seconds(world, _TAKES), say=world.job.say)


def _ended(event: Mapping[str, Any]) -> bool:
    return event["OperationStatus"] in {"SUCCESS", "FAILED", "CANCEL_COMPLETE"}


def with_untold(there: Mapping[str, Any], pointers: Sequence[str]) -> dict[str, Any]:
    """The properties read, with `UNTOLD` at the `pointers` of those that are never given back."""
    seen = dict(there)
    for pointer in pointers:
        name, *rest = pointer.removeprefix("/properties/").split("/")
        if not rest:
            seen.setdefault(name, UNTOLD)
        elif isinstance(seen.get(name, {}), Mapping):
            seen[name] = with_untold(seen.get(name, {}), ["/".join(rest)])
    return seen


def unlike(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """The properties that are not as wanted."""
    return (name for name, value in wanted.items() if not holds(there.get(name), value))


def patch(there: Mapping[str, Any], wanted: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """A JSON Patch (RFC 6902) that brings the properties `names` to what is wanted.

    `add` replaces a member that is there already (section 4.1), so that it serves for both.
    """
    operations: list[dict[str, Any]] = []
    for name in names:
        path = "/" + name.replace("~", "~0").replace("/", "~1")
        if wanted[name] is not None:
            operations.append({"op": "add", "path": path, "value": merged(there.get(name), wanted[name])})
        elif name in there:
            operations.append({"op": "remove", "path": path})
    return operations


def at(document: Any, pointer: str) -> Any:
    """The value at a schema's pointer (`/properties/Code/S3Bucket`), None where there is none.

    A `*` in it stands for every item of a list: the values of all of them then.
    """
    return _at(document, pointer.removeprefix("/properties/").split("/"))


def _at(document: Any, steps: Sequence[str]) -> Any:
    if not steps:
        return document
    if steps[0] == "*":
        return [_at(item, steps[1:]) for item in document] if isinstance(document, list) else None
    return _at(document.get(steps[0]), steps[1:]) if isinstance(document, Mapping) else None
