"""What one step does to the world: called in worker threads, knows neither the ledger nor other steps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from engine import host_scripts
from engine.change import Entry
from engine.diff import differences, owed_tags, unlike
from engine.errors import (
    HalfMade,
    HostUnreachable,
    Interrupted,
    LabctlError,
    LostAnswer,
    StepFailed,
    Unreachable,
)
from engine.host_scripts import Answer
from engine.jobs import adopting, belongs, owner_of
from engine.on_host import OnHost
from engine.resource import Resource, Values
from engine.tags import FIELD as TAGS
from engine.world import World

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0


@dataclass(frozen=True)
class Task:
    """One step as its worker sees it: the wish, the thing there, and the world with the step's job."""

    kind: type[Resource]
    world: World
    key: bytes
    """For comparing fields that are not kept."""
    entry: Entry
    resource: Resource | None = None
    there: Values | None = None
    ignore: frozenset[str] = frozenset()
    patience: float = 60.0
    """Seconds that something done may take to show when read."""
    ahead: str | None = None
    """A look at what comes next on the same host, which may travel along."""

    def changed(self) -> frozenset[str]:
        """The fields in which what is there differs from the wish."""
        if self.resource is None or self.there is None:
            return frozenset()
        tags = self.world.job.tags
        found = differences(
            self.resource, self.there, self.entry, key=self.key, tags=tags, ignore=self.ignore
        )
        return frozenset(change.name for change in found)

    def owed_tags(self, there: Values) -> dict[str, str | None]:
        """By key, the tags to set on what reads `there`, and with None those to take away."""
        return owed_tags(self.kind, self.world.job.tags, there, self.entry, self.ignore)


@dataclass(frozen=True)
class Settled:
    """What is there before a create, where that had to be asked."""

    ids: tuple[str, ...] = ()
    values: Values | None = None
    adopted: bool = False


@dataclass(frozen=True)
class Did:
    """What a verb has done, failed or not; without an id it certainly made nothing."""

    id: str | None
    values: Values | None = None
    surplus: tuple[str, ...] = ()
    error: LabctlError | None = None
    ahead: Answer | None = None
    """What the look at what comes next on the same host has told."""


def must_settle(kind: type[Resource], entry: Entry | None) -> bool:
    """Whether a create has to ask first what is there.

    On hosts, after a lost create, for what may be adopted.
    """
    left_over = entry is not None and entry.id is None
    return issubclass(kind, OnHost) or adopting(kind) or left_over


def settle(task: Task) -> Settled:
    """What is there already of something about to be made."""
    resource = task.resource
    if isinstance(resource, OnHost):
        return _settled(task, resource, _looked(task, resource.natural_id(), resource))
    if task.entry.id is None and task.entry.token:
        # What a run cut short has just sent may take a moment to show.
        found = _found(task) if task.entry.young(time.time()) else task.kind.find(task.world)
        if found:
            return Settled(tuple(found), task.kind.read_many(task.world, found[:1]).get(found[0]))
    if resource is not None and adopting(task.kind):
        adopted = resource.adopts(task.world)
        if adopted is not None:
            return Settled((adopted,), task.kind.read_many(task.world, [adopted]).get(adopted), adopted=True)
    return Settled()


def look_ahead(task: Task) -> str | None:
    """The look that `settle` would take, to be taken sooner; None where that is not to be."""
    resource = task.resource
    if not isinstance(resource, OnHost) or task.world.job.quiet:
        return None
    return host_scripts.look_script(type(resource), task.world, resource.natural_id(), resource)


def settle_seen(task: Task, answer: Answer) -> Settled:
    """As `settle`, of something on a host that was looked at with the step before."""
    resource = task.resource
    assert isinstance(resource, OnHost)
    kind = type(resource)
    values = kind.parse(resource.natural_id(), *answer)
    return _settled(task, resource, values if belongs(kind, values, task.world.lab, new=True) else None)


def _settled(task: Task, resource: OnHost, values: Values | None) -> Settled:
    if values is None:
        return Settled()
    adopted = owner_of(type(resource), values) != task.world.lab
    return Settled((resource.natural_id(),), values, adopted)


def make(task: Task) -> Did:
    """Create the thing and read it again.

    Raises LostAnswer and Unreachable where it may have been made all the same; any other failure tells in the
    answer whether something was.
    """
    resource = task.resource
    assert resource is not None
    if isinstance(resource, OnHost):
        return _carry_out(task, resource, resource.natural_id(), None, frozenset(resource.wanted()))
    try:
        ids, whole = _create(task, resource)
    except HalfMade as failure:
        return Did(failure.id, _read_quietly(task, failure.id), error=failure)
    except (LostAnswer, Unreachable):
        raise
    except LabctlError as failure:
        certain = isinstance(failure, StepFailed) and failure.no_effect
        found = task.kind.find(task.world) if certain else _found(task)
        return Did(found[0] if found else None, surplus=tuple(found[1:]), error=failure)
    did = _confirmed(task, resource, ids[0]) if whole else _completed(task, resource, ids[0])
    return replace(did, surplus=tuple(ids[1:]))


def alter(task: Task, id: str) -> Did:
    """Bring the thing `id` to the wish and read it again."""
    resource = task.resource
    assert resource is not None
    changed = task.changed()
    if isinstance(resource, OnHost):
        changed = changed if task.there is not None else frozenset(resource.wanted())
        return _carry_out(task, resource, id, task.there, changed)
    try:
        if TAGS in changed and task.there is not None:
            task.kind.retag(task.world, id, task.there, task.owed_tags(task.there))
        if changed != {TAGS}:
            resource.update(task.world, id, changed - {TAGS})
    except LabctlError as failure:
        return Did(id, _read_quietly(task, id), error=failure)
    return _confirmed(task, resource, id)


def look(task: Task) -> Values | None:
    """What is there now of a thing on a host that the plan could not read."""
    wanted = task.resource if isinstance(task.resource, OnHost) else None
    return _looked(task, task.entry.id or "", wanted)


def remove(task: Task) -> None:
    """Delete the thing; what a lost create may have made is looked for first."""
    kind, entry = task.kind, task.entry
    if issubclass(kind, OnHost):
        there = look(task) if task.there is None else task.there
        if there is not None:
            host_scripts.remove(kind, task.world, entry.id or "", there)
        return
    for id in kind.find(task.world) if entry.id is None else [entry.id]:
        kind.delete(task.world, id)


def _create(task: Task, resource: Resource) -> tuple[list[str], bool]:
    """What was made, and whether the create went through to its end."""
    try:
        return [resource.create(task.world)], True
    except LostAnswer:
        found = _found(task)
        if found:
            return found, False
    # Nothing shows although it had time to: sent once more, with the same token.
    return [resource.create(task.world)], True


def _found(task: Task) -> list[str]:
    """What the create has made after all; it may take a moment to show."""
    deadline = time.monotonic() + task.patience / 15
    pauses = _pauses()
    while True:
        found = task.kind.find(task.world)
        if found or time.monotonic() >= deadline:
            return found
        task.world.job.say("looking whether it was made after all")
        time.sleep(next(pauses))


def _completed(task: Task, resource: Resource, id: str) -> Did:
    """The thing whose create was cut short after its first request: what still differs is an update."""
    did = _confirmed(task, resource, id, task.patience / 15)
    if did.error is None or did.values is None:
        return did if did.error is None else _confirmed(task, resource, id)
    there = replace(task, there=did.values)
    if all(resource.replaces(name, did.values) for name in there.changed()):
        return _confirmed(task, resource, id)
    return alter(there, id)


def _confirmed(task: Task, resource: Resource, id: str, patience: float | None = None) -> Did:
    """The thing as it reads, once it reads as wanted or `patience` (by default the task's) is over."""
    deadline = time.monotonic() + (task.patience if patience is None else patience)
    pauses = _pauses()
    while True:
        try:
            values = task.kind.read_many(task.world, [id]).get(id)
        except LabctlError as failure:
            return Did(id, error=failure)
        error = _not_as_wanted(task, resource, values)
        if error is None or time.monotonic() >= deadline:
            return Did(id, values, error=error)
        task.world.job.say("waiting until it reads as wanted")
        time.sleep(next(pauses))


def _not_as_wanted(task: Task, resource: Resource, values: Values | None) -> StepFailed | None:
    if values is None:
        return StepFailed("it was made, and is not there when read again")
    quiet = set(resource.wanted()) if task.world.job.quiet else set(resource.in_full())
    wrong = [
        f"{name} does not read as wanted"
        if name in quiet
        else f"{name} reads {there!r} instead of {wanted!r}"
        for name, there, wanted in unlike(resource, values, ignore=task.ignore)
    ]
    wrong += [f"tag {key} does not read as wanted" for key in task.owed_tags(values)]
    return StepFailed("it was changed, but " + ", ".join(wrong)) if wrong else None


def _carry_out(task: Task, resource: OnHost, id: str, there: Values | None, changed: frozenset[str]) -> Did:
    # Where time is limited, it is that of the step alone.
    ahead = task.ahead if task.world.job.timeout is None and not task.world.job.quiet else None
    try:
        values, answer = host_scripts.change(resource, task.world, id, there, changed, ahead)
    except Interrupted:
        raise
    except LabctlError as failure:
        return Did(id, error=failure)
    return Did(id, values, error=_not_as_wanted(task, resource, values), ahead=answer)


def _looked(task: Task, id: str, wanted: OnHost | None) -> Values | None:
    kind = task.kind
    assert issubclass(kind, OnHost)
    values = host_scripts.look(kind, task.world, [id], wanted).get(id)
    return values if belongs(kind, values, task.world.lab, new=wanted is not None) else None


def _read_quietly(task: Task, id: str) -> Values | None:
    """What can be read of a thing whose verb failed; its failure is what counts."""
    try:
        return task.kind.read_many(task.world, [id]).get(id)
    except (StepFailed, Unreachable, HostUnreachable, LostAnswer):
        return None


def _pauses() -> Iterator[float]:
    """Seconds to wait, each time more."""
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * 1.6, _LONGEST_PAUSE)
