"""The engine's memory and intentions as data: entries, observations, changes, plans, steps and reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from engine.lab import Declared, Need
from engine.resource import Resource, Values

Action = Literal["create", "update", "replace", "delete", "keep"]
Verb = Literal["create", "update", "delete", "adopt", "forget", "look up"]
Outcome = Literal["done", "failed", "skipped", "interrupted"]

_SHOWS_WITHIN: Final = 30.0
"""Seconds after which what was made shows in every read: AWS is only eventually consistent."""


@dataclass(frozen=True)
class Entry:
    """What the ledger remembers of one thing: where to look for it, never the truth about it."""

    address: str
    kind: str
    id: str | None
    """None while a create is intended but not confirmed."""
    token: str = ""
    """The idempotency token of its create, new with each generation."""
    foreseen: str = ""
    """The id that its create gives, where its kind tells that beforehand."""
    host: str | None = None
    """The address of the host it lives on."""
    needs: frozenset[Need] = frozenset()
    adopted: bool = False
    """It was there before labctl: it may be changed where the playbook says so, and is never deleted."""
    retain: bool = False
    protect: bool = False
    surplus: bool = False
    """A second thing under the same address, or the old one of a create-first replacement: to be deleted."""
    set_fields: tuple[str, ...] = ()
    """The fields that the playbook set at the last apply."""
    tags: tuple[str, ...] = ()
    """The keys of the tags that labctl set at the last apply."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """Keyed hashes of Secret and Unread fields as last applied."""
    outputs: Values = field(default_factory=dict)
    """What was last read of it, without anything secret; for `show` and for contacting hosts."""
    ssh: Mapping[str, Any] | None = None
    """How to log in, for hosts that the playbook no longer has."""
    made: float = 0.0
    """When its create was sent, then when it was confirmed: seconds since the epoch; 0 where unknown."""

    def young(self, now: float) -> bool:
        """Whether it was made so lately that a read may not show it yet."""
        return 0.0 <= now - self.made < _SHOWS_WITHIN


@dataclass(frozen=True)
class Observation:
    """What is really there of one entry, read now."""

    entry: Entry
    values: Values | None
    """None: it is not there, or (with `unreadable`) not known."""
    unreadable: str | None = None
    """Why it could not be read: its host is stopped, not up yet, refuses."""
    new: bool = False
    """The ledger does not have it yet.

    The playbook adopts it, it was found on its host, or a create left it.
    """
    kind: type[Resource] | None = None
    """The kind that the entry names."""
    theirs: str | None = None
    """The other lab that it says it belongs to; on a host it then counts as not there."""

    @property
    def found(self) -> bool:
        """Whether labctl did not make it, as far as the ledger knows.

        It was found, and nothing says it was made.
        """
        return self.new and not self.entry.token


@dataclass(frozen=True)
class FieldChange:
    """One field that differs. None stands for absent; values may be Unknown."""

    name: str
    was: Any
    """As last applied or read before, where known."""
    is_: Any
    """As read now."""
    wanted: Any
    replaces: bool = False
    secret: bool = False
    alias: str = ""
    """The name in the playbook that `wanted` stands for (`ubuntu-22.04` for an image's id)."""


@dataclass(frozen=True)
class Change:
    """What is to become of one resource, with the cause in words."""

    address: str
    kind: str
    action: Action
    cause: str = ""
    fields: tuple[FieldChange, ...] = ()
    declared: Declared | None = None
    """What the playbook wants; None for a thing it no longer has."""
    there: Observation | None = None
    create_first: bool = False
    goes_with: str | None = None
    """The host that is deleted and takes this along: no verb is called, it is only forgotten."""
    adopts: bool = False
    """A thing that was there before is taken into the ledger."""
    forgets: bool = False
    """Only the ledger changes: the thing is gone already, or stays (adopted, retained)."""
    looks_up: bool = False
    """A lookup that has not been answered: it hangs on something that is not known before apply."""
    needs: frozenset[Need] = frozenset()
    wanted: Resource | None = None
    """What it is to be, filled in with what is known now."""
    hourly: float | None = 0.0
    """USD per hour that it costs once applied; None where unknown."""
    notes: tuple[str, ...] = ()
    """Remarks for the reader: `retained`, `host cannot be reached: …`, `2 found under this address`."""

    @property
    def is_lookup(self) -> bool:
        """Whether it makes nothing, whatever it is."""
        return self.declared is not None and self.declared.kind.lookup


@dataclass(frozen=True)
class Plan:
    """The difference between the lab as wanted and as it is; `keep` changes are included."""

    lab: str
    changes: tuple[Change, ...]
    notes: tuple[str, ...] = ()

    def count(self, action: Action) -> int:
        """How many changes of `action` there are; a replacement counts once, as replace."""
        return sum(change.action == action for change in self.changes)

    @property
    def pending(self) -> bool:
        """Whether applying it would do anything to the world."""
        return any(change.action != "keep" for change in self.changes)

    @property
    def idle(self) -> bool:
        """Whether applying it would do nothing at all: neither to the world nor to what the ledger holds."""
        return not self.pending and not any(
            change.adopts or change.forgets or change.looks_up for change in self.changes
        )


@dataclass(frozen=True)
class Step:
    """One verb on one resource: a node of the schedule. A replacement is a delete and a create."""

    verb: Verb
    address: str
    change: Change = field(compare=False, hash=False)
    surplus: bool = False
    """It acts on a second thing under the address."""
    id: str | None = None
    """The id it acts on; tells two surplus things of one address apart."""


@dataclass(frozen=True)
class StepResult:
    """How one step ended."""

    step: Step
    outcome: Outcome
    seconds: float = 0.0
    error: str = ""
    remedy: str = ""
    because_of: str | None = None
    """For skipped steps, the address whose failure is the reason."""
    note: str = ""
    """What the user should know of a step that is done: `2 found under this address`."""


@dataclass(frozen=True)
class StepEvent:
    """Something that happened to one step while an apply runs, for progress."""

    sort: Literal["started", "waiting", "ended"]
    address: str
    verb: Verb
    kind: str
    at: datetime
    text: str = ""
    """For `waiting`: what it waits for."""
    result: StepResult | None = None
    """For `ended`: how."""


@dataclass(frozen=True)
class Report:
    """How an apply or destroy ended."""

    lab: str
    results: tuple[StepResult, ...] = ()
    interrupted: bool = False
    outputs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every step was done."""
        return not self.interrupted and all(result.outcome == "done" for result in self.results)
