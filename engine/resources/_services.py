"""What kinds of the smaller services share: asking, being quiet about what is gone, tags in each form."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from engine.aws.errors import AwsError
from engine.aws.tags import narrow, readable, tag_list, tags_in, widened
from engine.by_hand import json_word, word
from engine.resource import Resource, Values
from engine.resources._aws import insist, sorted_out

if TYPE_CHECKING:
    from engine.world import World


@dataclass(frozen=True)
class Tagging:
    """How a service is told the tags of what it has."""

    service: str
    add: str
    remove: str
    whose: str
    """The parameter that names the thing: `ResourceArn`."""
    tags: str = "Tags"
    keys: str = "TagKeys"
    form: Literal["list", "map"] = "list"
    whole: bool = False
    """What is removed is named by whole tags instead of keys."""

    def added(self, tags: Mapping[str, str]) -> dict[str, Any]:
        """The parameters that set `tags`."""
        narrowed = narrow(tags)
        return {self.tags: narrowed if self.form == "map" else tag_list(narrowed)}

    def removed(self, keys: Sequence[str]) -> dict[str, Any]:
        """The parameters that take away the tags of `keys`."""
        narrowed = list(narrow(dict.fromkeys(keys, "")))
        return {self.keys: [{"Key": key} for key in narrowed] if self.whole else narrowed}


class InService(Resource):
    """A kind whose service takes tags of few letters, in a form of its own."""

    tagged: ClassVar[bool] = True
    tagging: ClassVar[Tagging]
    own_tags: ClassVar[frozenset[str]] = frozenset()
    """Keys of tags in which the kind remembers things of its own."""

    @classmethod
    def tag_target(cls, id: str, there: Values) -> str:
        """What the service knows the thing by when it is tagged."""
        return id

    @classmethod
    def shown_tags(cls, given: Any) -> dict[str, str]:
        """The tags that the kind reads, of those that the service gives in whatever form."""
        tags = readable(widened(tags_in(given)))
        return {key: text for key, text in tags.items() if key not in cls.own_tags}

    @classmethod
    def retag(cls, world: World, id: str, there: Values, tags: Mapping[str, str | None]) -> None:
        """One request for the tags that are missing or other, one for those no longer wanted."""
        how = cls.tagging
        wanted, gone = sorted_out(tags)
        whose = {how.whose: cls.tag_target(id, there)}
        if wanted:
            ask(world, how.service, how.add, **whose, **how.added(wanted))
        if gone:
            ask(world, how.service, how.remove, **whose, **how.removed(gone))

    @classmethod
    def retag_by_hand(cls, id: str, there: Values, tags: Mapping[str, str | None]) -> list[str]:
        """The same with the `aws` command."""
        how = cls.tagging
        wanted, gone = sorted_out(tags)
        whose = f"--{kebab(how.whose)} {word(cls.tag_target(id, there))}"
        lines = []
        for operation, given in ((how.add, how.added(wanted)), (how.remove, how.removed(gone))):
            for name, value in given.items():
                if value:
                    command = f"aws {how.service} {operation.replace('_', '-')} {whose}"
                    lines.append(f"{command} --{kebab(name)} {json_word(value)}")
        return lines


def kebab(name: str) -> str:
    """A parameter's name as an option of the `aws` command: `TagKeys` → `tag-keys`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


def ask(world: World, service: str, operation: str, **params: Any) -> dict[str, Any]:
    """A request that may be sent twice without harm: reads, deletes, settings."""
    return world.aws.call(service, operation, retry=True, **params)


def quietly(world: World, service: str, operation: str, *codes: str, **params: Any) -> dict[str, Any] | None:
    """A request about what may be gone; None where it is, or where the refusal is one of `codes`."""
    try:
        return ask(world, service, operation, **params)
    except AwsError as error:
        if not error.not_found and error.code not in codes:
            raise
        return None


def settled(
    world: World, service: str, operation: str, *codes: str, timeout: float = 30.0, **params: Any
) -> dict[str, Any]:
    """A harmless request, sent again while the service has not seen what was just made, or by `codes`."""
    return insist(
        world,
        lambda: ask(world, service, operation, **params),
        lambda error: error.not_found or error.code in codes,
        what="AWS to see what was just made",
        timeout=timeout,
    )


def given(**params: Any) -> dict[str, Any]:
    """The parameters that are not None."""
    return {name: value for name, value in params.items() if value is not None}
