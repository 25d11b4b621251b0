"""Kinds that live on a host: four pure functions (look, parse, commands, removal) from which the verbs follow."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from engine.resource import Resource, Values


@dataclass(frozen=True)
class Upload:
    """A file that travels to the host before the commands run, to be found there at `$labctl_upload_N`, N from 1."""

    source: Path | bytes


def prelude(lab: str, address: str, tags: Mapping[str, str]) -> str:
    """The lines that every script of a kind finds before it: who it acts for, as shell variables.

    `$labctl_lab`, `$labctl_address`; `$labctl_record`, a folder on the host for what labctl must remember there of
    this resource (made by who needs it); `$labctl_labels`, the tags as shell-quoted `--label key=value` options.
    """
    key = hashlib.sha256(f"{lab}\n{address}".encode()).hexdigest()[:24]
    labels = " ".join(f"--label {shlex.quote(f'{name}={value}')}" for name, value in sorted(tags.items()))
    return (
        f"labctl_lab={shlex.quote(lab)}\n"
        f"labctl_address={shlex.quote(address)}\n"
        f"labctl_record=/var/lib/labctl/{key}\n"
        f"labctl_labels={shlex.quote(labels)}\n"
    )


class OnHost(Resource):
    """A thing on a host, known there by a natural id (a path, a unit's or container's name)."""

    adoptable: ClassVar[bool] = True
    """A thing that is there without labctl having made it may be taken on as it is."""
    reconnects: ClassVar[bool] = False
    """After a change the login is made anew (groups of the user changed)."""

    def natural_id(self) -> str:
        """What it is called on its host; must not hang on anything unknown."""
        raise NotImplementedError(type(self).kind)

    def discoverable(self) -> bool:
        """Whether looking can tell that it is there although the ledger does not have it."""
        return True

    @classmethod
    def look(cls, id: str, wanted: Self | None) -> str:
        """A POSIX shell script, run as root, that prints what `parse` needs; it changes nothing, fast, always ends.

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

    def uploads(self) -> Sequence[Upload]:
        """Files that `commands` need on the host."""
        return ()

    @classmethod
    def explain_failure(cls, status: int, stderr: str) -> tuple[str, str] | None:
        """What a failed script's standard error means, and what to do about it; None for nothing better."""
        return None
