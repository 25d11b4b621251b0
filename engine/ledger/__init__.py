"""The ledger: what labctl remembers having made, and who is changing which lab."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from engine.change import Entry
from engine.lab import Use


@dataclass(frozen=True)
class Event:
    """One line of a lab's history."""

    at: datetime
    run: str
    """What the line belongs to: one id per apply or destroy."""
    address: str | None
    verb: str
    """`run`, `create`, `update`, `delete`, `adopt`, `forget`, `end`."""
    outcome: str
    detail: str = ""


@dataclass(frozen=True)
class Holder:
    """Who holds a lab's lock."""

    who: str
    """`user@machine`."""
    pid: int
    machine: str
    command: str
    since: datetime


@dataclass(frozen=True)
class KeptOutputs:
    """What a lab put out when it was last applied."""

    values: Mapping[str, Any]
    unknown: frozenset[str] = frozenset()
    """The names of those that its last apply did not come to tell."""
    sensitive: frozenset[str] = frozenset()
    """The names of those whose values are not kept."""


class Ledger(Protocol):
    """What every ledger does. Each writing method is durable when it returns; labs share nothing."""

    key: bytes
    """For the keyed hashes of fields that are not kept; made once with the ledger."""

    def labs(self) -> list[str]:
        """The names of the labs that have entries or history."""
        ...

    def entries(self, lab: str) -> list[Entry]:
        """All entries of `lab`, surplus ones included, in the order they were made."""
        ...

    def intend(self, lab: str, entry: Entry) -> None:
        """Remember that a create is about to be sent.

        `entry.id` is None unless the kind's ids are natural.
        """
        ...

    def record(self, lab: str, entry: Entry) -> None:
        """Remember what a verb did.

        Replaces the intent with the same token, else the entry with the same id.
        """
        ...

    def forget(self, lab: str, entry: Entry) -> None:
        """Drop an entry: the thing is gone, or was never made."""
        ...

    def lock(self, lab: str, command: str) -> AbstractContextManager[None]:
        """Hold the lab for this process; a dead holder's lock is taken over.

        Raises Locked with who and since when.
        """
        ...

    def unlock(self, lab: str) -> Holder | None:
        """Break the lab's lock; whose it was."""
        ...

    def note(self, lab: str, event: Event) -> None:
        """Append to the lab's history."""
        ...

    def history(self, lab: str) -> Sequence[Event]:
        """The lab's history, oldest first."""
        ...

    def holder(self, lab: str) -> Holder | None:
        """Who is changing the lab now."""
        ...

    def keep_outputs(self, lab: str, outputs: KeptOutputs | None) -> None:
        """Remember what the lab puts out, for labs that use it; None forgets it."""
        ...

    def outputs(self, lab: str) -> KeptOutputs | None:
        """What the lab put out when it was last applied; None where that is not remembered."""
        ...

    def use(self, lab: str, uses: Collection[Use]) -> None:
        """Remember what `lab` uses of other labs, in place of what it used before."""
        ...

    def uses(self, lab: str) -> list[Use]:
        """What `lab` uses of other labs."""
        ...

    def users(self, lab: str) -> dict[str, Use]:
        """By name, the labs that use `lab`, and what of it."""
        ...

    def keep_plan(self, lab: str, plan: Mapping[str, Any]) -> None:
        """Remember the plan last printed for `lab`, and that it is the lab last planned here."""
        ...

    def last_plan(self, lab: str | None = None) -> Mapping[str, Any] | None:
        """The plan last printed, of `lab` or of any lab."""
        ...
