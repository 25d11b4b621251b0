"""What is there, by address: the observation that counts, those too many, and who stands on whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Final

from engine.change import Entry, Observation
from engine.lab import Declared, Lab, Need
from engine.resource import Resource, Values

STANDS: Final = ("lives_on", "uses")
"""The sorts of needs without which a thing cannot stay."""


class There:
    """What is there, by address; of several things under one address the one that counts and the surplus."""

    def __init__(self, lab: Lab, observations: Sequence[Observation], destroy: bool) -> None:
        self.lab = lab
        self.destroy = destroy
        self.wanted: Mapping[str, Declared] = {} if destroy else lab.resources
        self.primary: dict[str, Observation] = {}
        self.surplus: list[Observation] = []
        self.answers: dict[str, Observation] = {}
        """What lookups were told, by address."""
        self.renamed: dict[str, str] = {}
        """New address by old, for things that only changed their name in the playbook."""
        self.former: dict[str, str] = {}
        self.chosen: frozenset[str] = frozenset()
        """What `--only` names; empty for everything."""
        for observation in observations:
            self._take(observation)
        if not destroy:
            self._follow_renames()
        self.users = self._users()

    @cached_property
    def addresses(self) -> dict[str, None]:
        """Every address that is wanted or remembered, the playbook's first."""
        return dict.fromkeys([*self.lab.resources, *self.primary])

    @property
    def orphans(self) -> list[str]:
        """What is remembered and not wanted, the last made first."""
        return [address for address in reversed(self.primary) if address not in self.wanted]

    def kind_of(self, address: str) -> type[Resource] | None:
        """The kind of what is, or would be, at `address`."""
        observation = self.primary.get(address)
        if observation is not None and observation.kind is not None:
            return observation.kind
        declared = self.lab.resources.get(address)
        return declared.kind if declared else None

    def stood_on(self, address: str) -> Iterator[Need]:
        """What the thing at `address` lives on and uses by the ledger's memory."""
        observation = self.primary.get(address)
        if observation is not None and exists(observation):
            yield from (need for need in needs_of(observation.entry) if need.sort in STANDS)

    def _take(self, observation: Observation) -> None:
        """The last one made counts, unless it is known to be one too many or was perhaps never made."""
        address = observation.entry.address
        if observation.kind is not None and observation.kind.lookup:
            self.answers[address] = observation
            return
        if observation.entry.surplus:
            self.surplus.append(observation)
            return
        other = self.primary.get(address)
        if other is None:
            self.primary[address] = observation
            return
        older, newer = (other, observation) if observation.entry.id is not None else (observation, other)
        self.primary[address] = newer
        self.surplus.append(replace(older, entry=replace(older.entry, surplus=True)))

    def _follow_renames(self) -> None:
        """A thing on a host that a new name stands for is the old name's: it moves instead of going."""
        lost: dict[tuple[str, str | None, str | None], str] = {
            (entry.kind, entry.host, entry.id): address
            for address in self.orphans
            if (entry := self.primary[address].entry).host is not None and entry.id is not None
        }
        for address, observation in list(self.primary.items()):
            entry = observation.entry
            old = lost.get((entry.kind, entry.host, entry.id)) if observation.new else None
            if old is None or address not in self.wanted:
                continue
            moved = replace(self.primary.pop(old).entry, address=address)
            self.primary[address] = replace(observation, entry=moved, new=False)
            self.renamed[old] = address
            self.former[address] = old

    def _users(self) -> dict[str, list[Need]]:
        """By address, what needs it by the ledger's memory, as far as it exists.

        `Need.address` is the user.
        """
        users: dict[str, list[Need]] = {}
        for observation in [*self.primary.values(), *self.surplus]:
            address = observation.entry.address
            if exists(observation):
                for need in needs_of(observation.entry):
                    needed = self.renamed.get(need.address, need.address)
                    users.setdefault(needed, []).append(Need(address, need.sort))
        return users


def exists(observation: Observation) -> bool:
    """Whether the thing is there, as far as is known."""
    return observation.values is not None or (observation.unreadable is not None and not observation.found)


def needs_of(entry: Entry) -> Iterator[Need]:
    """What the ledger says the entry's thing needs, its host included."""
    yield from sorted(entry.needs)
    if entry.host is not None:
        yield Need(entry.host, "lives_on")


def last_values(observation: Observation) -> Values:
    """What it was like when it was last seen: now, or as the ledger has it."""
    return observation.entry.outputs if observation.values is None else observation.values


def why_it_stays(observation: Observation, retain: bool) -> tuple[str, ...]:
    """Why labctl does not delete the thing, and only forgets it."""
    if observation.theirs is not None:
        return (f"belongs to {observation.theirs} now: forgotten, not deleted",)
    if observation.entry.adopted:
        return ("was there before labctl: forgotten, not deleted",)
    return ("retained: forgotten, not deleted",) if retain else ()


def lost_with(observation: Observation) -> Sequence[str]:
    """What goes along when the thing is deleted."""
    if observation.kind is None or observation.values is None:
        return ()
    return observation.kind.lost_with(observation.values)


def gone_already(observation: Observation) -> tuple[str, ...]:
    """Why there is nothing to delete any more."""
    if exists(observation) or observation.entry.id is None:
        return ()
    return ("was deleted outside labctl: only forgotten",)
