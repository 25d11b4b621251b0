"""Kinds on a host: four pure functions (look, parse, commands, removal) from which the verbs follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import ValidationInfo, field_validator

from engine import host_scripts
from engine.host_scripts import prelude
from engine.resource import Resource, Values, plain

if TYPE_CHECKING:
    from engine.hosts import Restart
    from engine.world import World

__all__ = ["OnHost", "Upload", "prelude"]


@dataclass(frozen=True)
class Upload:
    """A file that travels to the host before the commands run; there it is `$labctl_upload_N`, N from 1."""

    source: Path | bytes


class OnHost(Resource):
    """A thing on a host, known there by a natural id (a path, a unit's or container's name)."""

    adoptable: ClassVar[bool] = True
    """A thing that is there without labctl having made it may be taken on as it is."""
    shown_in_plans: ClassVar[tuple[str, ...]] = ()
    """Fields that a plan shows whenever something is done to it, also where they are not compared."""
    any_text: ClassVar[frozenset[str]] = frozenset()
    """Fields that travel as files and may hold NUL characters; shells drop these from scripts unasked."""

    @field_validator("*")
    @classmethod
    def _no_nul(cls, value: Any, info: ValidationInfo) -> Any:
        if info.field_name not in cls.any_text and _holds_nul(plain(value)):
            raise ValueError("holds a NUL character (\\0), which cannot travel in a script: leave it out")
        return value

    def natural_id(self) -> str:
        """What it is called on its host; must not hang on anything unknown."""
        raise NotImplementedError(type(self).kind)

    def discoverable(self) -> bool:
        """Whether looking can tell that it is there although the ledger does not have it."""
        return True

    @classmethod
    def look(cls, id: str, wanted: Self | None) -> str:
        """A POSIX shell script, run as root, that prints what `parse` needs; changes nothing, always ends.

        `wanted` is what the playbook asks for (perhaps partly unknown), None where it no longer has it.
        """
        raise NotImplementedError(cls.kind)

    @classmethod
    def parse(cls, id: str, status: int, output: bytes) -> Values | None:
        """The values that a look's exit status and standard output tell; None where the thing is not there.

        Raises StepFailed with words where that cannot be known now.
        """
        raise NotImplementedError(cls.kind)

    def commands(self, there: Values | None, changed: frozenset[str]) -> str:
        """A shell script, run as root under `set -eu`, that brings what is there to what this says."""
        raise NotImplementedError(type(self).kind)

    @classmethod
    def removal(cls, id: str, there: Values | None) -> str:
        """A shell script, run as root under `set -eu`, that removes the thing; quiet if gone already."""
        raise NotImplementedError(cls.kind)

    @classmethod
    def regroups(cls, id: str, login: str) -> bool:
        """Whether a change of the thing `id` may change the groups that `login` is in.

        Where labctl itself logs in as that user, it does so anew: groups count from the next login on.
        """
        return False

    def uploads(self) -> Sequence[Upload]:
        """Files that `commands` need on the host."""
        return ()

    def restart(self) -> Restart | None:
        """How its host is restarted after `commands`, before it is read again; None where it is not."""
        return None

    @classmethod
    def explain_failure(cls, status: int, stderr: str) -> tuple[str, str] | None:
        """What a failed script's standard error means, and what to do about it; None for nothing better."""
        return told(stderr)

    def create(self, world: World) -> str:
        """Bring it about on the host of `world.job`; its natural id."""
        host_scripts.change(self, world, self.natural_id(), None, frozenset(self.wanted()))
        return self.natural_id()

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """What is there of `ids` on the host of `world.job`, in one round trip."""
        return host_scripts.look(cls, world, ids)

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """Look at the thing, and bring its fields `changed` to what this says."""
        there = host_scripts.look(type(self), world, [id], self).get(id)
        host_scripts.change(self, world, id, there, changed)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """Look at the thing, and remove it; quiet if gone already."""
        there = host_scripts.look(cls, world, [id]).get(id)
        host_scripts.remove(cls, world, id, there)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """Nothing: what lives on a host is known by its natural id before it is made."""
        return []


def _holds_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_holds_nul(item) for pair in value.items() for item in pair)
    if isinstance(value, list):
        return any(_holds_nul(item) for item in value)
    return isinstance(value, str) and "\0" in value


def told(stderr: str) -> tuple[str, str] | None:
    """The message and remedy that a script itself gave as `labctl: …` and `labctl-remedy: …`, if it did."""
    said, remedies = _after(stderr, "labctl: "), _after(stderr, "labctl-remedy: ")
    return (said[-1], remedies[-1] if remedies else "") if said else None


def _after(text: str, prefix: str) -> list[str]:
    return [line.removeprefix(prefix) for line in text.splitlines() if line.startswith(prefix)]
