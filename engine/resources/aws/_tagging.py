"""Tags that change in place: done alike everywhere, asked for by each service in words of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from engine.aws.tags import narrow, tag_list
from engine.by_hand import json_word, word
from engine.resource import Resource, Values
from engine.resources.aws._aws import insist, sorted_out

if TYPE_CHECKING:
    from engine.world import World


@dataclass(frozen=True)
class Tagging:
    """How a service is told the tags of what it has."""

    service: str
    add: str
    """Its operation that sets tags: `tag_resource`."""
    remove: str
    """Its operation that takes some away: `untag_resource`."""
    whose: str
    """The parameter that names the thing: `ResourceArn`."""
    tags: str = "Tags"
    """The parameter that has the tags to set."""
    keys: str = "TagKeys"
    """The parameter that has the keys of those to take away."""
    form: Literal["list", "small list", "map"] = "list"
    """How it has tags: Key and Value, the same in small letters, or a mapping."""
    several: bool = False
    """`whose` takes a list of things."""
    whole: bool = False
    """What is removed is named by whole tags instead of keys."""
    any_letter: bool = False
    """It takes every character in tags, so that they need not be narrowed."""
    settles: float = 0.0
    """Seconds that it is given to see what was made a moment ago."""

    def added(self, tags: Mapping[str, str]) -> dict[str, Any]:
        """The parameters that set `tags`."""
        sent = self.narrowed(tags)
        if self.form == "map":
            return {self.tags: sent}
        if self.form == "small list":
            return {self.tags: [{"key": key, "value": text} for key, text in sent.items()]}
        return {self.tags: tag_list(sent)}

    def removed(self, keys: Sequence[str]) -> dict[str, Any]:
        """The parameters that take away the tags of `keys`."""
        sent = list(self.narrowed(dict.fromkeys(keys, "")))
        return {self.keys: [{"Key": key} for key in sent] if self.whole else sent}

    def narrowed(self, tags: Mapping[str, str]) -> dict[str, str]:
        """Tags in the letters that the service takes."""
        return dict(tags) if self.any_letter else narrow(tags)

    def retag(self, world: World, target: Sequence[str], tags: Mapping[str, str | None]) -> None:
        """One request for the tags that are missing or other, one for those no longer wanted (None)."""
        wanted, gone = sorted_out(tags)
        whose = {self.whose: list(target) if self.several else target[0]}
        if wanted:
            self._send(world, self.add, {**whose, **self.added(wanted)})
        if gone:
            self._send(world, self.remove, {**whose, **self.removed(gone)})

    def _send(self, world: World, operation: str, params: Mapping[str, Any]) -> None:
        insist(
            world,
            lambda: world.aws.call(self.service, operation, retry=True, **params),
            lambda error: self.settles > 0 and error.not_found,
            what="AWS to see what was just made",
            timeout=self.settles,
        )

    def by_hand(self, target: Sequence[str], tags: Mapping[str, str | None]) -> list[str]:
        """The same with the `aws` command."""
        wanted, gone = sorted_out(tags)
        whose = f"--{kebab(self.whose)} {' '.join(map(word, target))}"
        command = f"aws {self.service.replace('_', '-')}"
        lines = []
        if wanted:
            [(name, value)] = self.added(wanted).items()
            lines.append(f"{command} {_dashed(self.add)} {whose} --{kebab(name)} {json_word(value)}")
        if gone:
            [(name, value)] = self.removed(gone).items()
            keys = json_word(value) if self.whole else " ".join(map(word, value))
            lines.append(f"{command} {_dashed(self.remove)} {whose} --{kebab(name)} {keys}")
        return lines


class Tagged(Resource):
    """A kind whose tags change in place, by two operations of its service."""

    tagged: ClassVar[bool] = True
    tagging: ClassVar[Tagging]

    @classmethod
    def tag_target(cls, id: str, there: Values) -> str | Sequence[str]:
        """What the service knows the thing by when it is tagged, and whatever bears the same tags."""
        return id

    @classmethod
    def retag(cls, world: World, id: str, there: Values, tags: Mapping[str, str | None]) -> None:
        """The operations of `tagging`: one for what is missing or other, one for what is no longer wanted."""
        cls.tagging.retag(world, _several(cls.tag_target(id, there)), tags)

    @classmethod
    def retag_by_hand(cls, id: str, there: Values, tags: Mapping[str, str | None]) -> list[str]:
        """The same with the `aws` command."""
        return cls.tagging.by_hand(_several(cls.tag_target(id, there)), tags)


class TaggedByArn(Tagged):
    """A kind that its service knows by its ARN, which is an output, when it is tagged."""

    @classmethod
    def tag_target(cls, id: str, there: Values) -> str:
        """Its ARN."""
        return str(there["arn"])


def kebab(name: str) -> str:
    """A parameter's name as an option of the `aws` command: `TagKeys` → `tag-keys`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


def _dashed(operation: str) -> str:
    return operation.replace("_", "-")


def _several(target: str | Sequence[str]) -> Sequence[str]:
    return [target] if isinstance(target, str) else target
