"""What a run knows of each resource while it goes, and what of that the ledger is told."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from engine.change import Change, Entry
from engine.contact import host_spec, login_of
from engine.diff import digests, hashes_of_secrets, is_hashed, is_secret, usable_values
from engine.errors import HostUnreachable, Invalid, LabctlError, StepFailed
from engine.lab import Declared, Lab
from engine.ledger import Event, Ledger
from engine.masking import Masker
from engine.refs import UNKNOWN, holds_unknown
from engine.resource import Resource, Values
from engine.tags import FIELD as TAGS
from engine.tags import wanted_tags
from engine.templating import construct, fill, scope_of
from engine.world import World


@dataclass
class Books:
    """The books of one run on one lab; for one thread alone.

    A ledger that cannot be written is not told of at once: `broken` is why, and nothing new may be started.
    """

    lab: Lab
    world: World
    ledger: Ledger
    kinds: Mapping[str, type[Resource]]
    run: str
    broken: LabctlError | None = None
    _known: dict[str, Values] = field(default_factory=dict)
    """By address, what templates may use."""
    _entries: dict[str, Entry] = field(default_factory=dict)
    """By address, what the ledger holds of it now."""
    _read: dict[str, Values] = field(default_factory=dict)
    """By address, what was read of it last."""
    _told_of: set[str] = field(default_factory=set)
    """Hosts that `world.hosts` was told of in this run."""

    def __post_init__(self) -> None:
        self.masker = Masker(self.lab.secrets)
        self._scope = scope_of(self.lab, self._known)

    # -- what is known ---------------------------------------------------------------------------------------

    def open(self, changes: Iterable[Change]) -> None:
        """Take in what the plan has read; what stays as it is, is remembered as the playbook has it now."""
        for change in changes:
            there = change.there
            if there is None or there.entry.surplus:
                continue
            if change.is_lookup:
                self.learn(change, change.wanted, there.values or {})
                continue
            self._entries[change.address] = there.entry
            if there.values is not None:
                self._read[change.address] = there.values
            if change.action in ("keep", "update") and not change.forgets:
                values = there.entry.outputs if there.values is None else there.values
                self.learn(change, change.wanted, values)
            if change.action == "keep" and not change.adopts and not change.forgets:
                self._remember_kept(change)

    def _remember_kept(self, change: Change) -> None:
        """What the playbook says of a thing that stays as it is: its needs, and the like."""
        there = change.there
        if there is None or change.wanted is None or change.declared is None:
            return
        entry = self.entry(change.declared, change.wanted, there.entry, there.values)
        if entry != there.entry:
            self.record(entry)

    def learn(self, change: Change, resource: Resource | None, values: Values) -> None:
        """Others may use from now on what `resource` says, and what was read of it."""
        usable = dict(values)
        if resource is not None:
            ignore = change.declared.ignore_changes if change.declared else frozenset()
            usable = usable_values(resource, values, ignore=ignore)
            usable = {name: value for name, value in usable.items() if not holds_unknown(value)}
        self._known[change.address] = usable

    def saw(self, address: str, values: Values) -> None:
        """The thing at `address` was made or changed, and read `values`: a host may be elsewhere now."""
        self._read[address] = values
        self._told_of.discard(address)

    def wish(self, declared: Declared) -> Resource:
        """The resource filled in with what is known now, which by its turn is everything.

        Raises StepFailed where it is not, Invalid where what is known does not fit.
        """
        resource = construct(declared, self._scope)
        missing = [name for name in type(resource).model_fields if holds_unknown(getattr(resource, name))]
        if missing:
            raise StepFailed(f"{', '.join(missing)} hangs on something that is not known yet")
        return resource

    def outputs(self) -> dict[str, Any]:
        """The lab's outputs, as far as they are known."""
        found: dict[str, Any] = {}
        for name, value in self.lab.outputs.items():
            try:
                found[name] = fill(value, self._scope)
            except Invalid:
                found[name] = UNKNOWN
        return found

    def know_host(self, address: str) -> None:
        """Tell `world.hosts` how to log in to the host, and to those on the way to it.

        Raises HostUnreachable where one is not there.
        """
        while address and address not in self._told_of and address not in self.lab.used_hosts:
            entry = self._entries.get(address)
            if entry is None:
                raise HostUnreachable(f"{address} is not there")
            values = self._read.get(address, entry.outputs)
            known = {other: e.outputs for other, e in self._entries.items()} | {address: values} | self._known
            spec = host_spec(self.lab, address, values, entry, self.world, kinds=self.kinds, known=known)
            self.world.hosts.know(spec)
            self._told_of.add(address)
            address = spec.via or ""

    # -- entries ---------------------------------------------------------------------------------------------

    def entry(self, declared: Declared, resource: Resource, before: Entry, values: Values | None) -> Entry:
        """What is remembered of `resource` now that it reads `values`."""
        wish = digests(resource, self.ledger.key)
        kept = {name: digest for name, digest in before.digests.items() if name in declared.ignore_changes}
        fresh = {name: digest for name, digest in wish.items() if name not in declared.ignore_changes}
        return replace(
            before,
            host=declared.host,
            needs=declared.needs,
            retain=declared.retain,
            protect=declared.protect,
            surplus=False,
            set_fields=tuple(sorted(resource.model_fields_set)),
            tags=before.tags if before.adopted or TAGS in declared.ignore_changes else self.tags(declared),
            digests={**kept, **fresh},
            outputs=before.outputs if values is None else self._showable(declared, resource, values),
            ssh=self.login(declared.address, values or {}) or before.ssh,
        )

    def tags(self, declared: Declared) -> tuple[str, ...]:
        """The keys of the tags that labctl sets on it; later it may take these away."""
        return tuple(sorted(wanted_tags(self.lab, declared.address))) if declared.kind.tagged else ()

    def login(self, address: str, values: Values | None = None) -> dict[str, Any] | None:
        """How to log in to the host at `address`, of which `values` were read; None while that is open."""
        known = self._known if values is None else {**self._known, address: values}
        return login_of(self.lab, address, known)

    def _showable(self, declared: Declared, resource: Resource, values: Values) -> Values:
        """`values` without anything secret.

        Left out is what a mask would change, and the hash of such a thing. What is there of a field whose
        wish holds a secret may be a secret of before, which no mask knows any more.
        """
        kind = type(resource)
        wanted = resource.wanted()
        secret = {name for name, value in wanted.items() if self.masker.value(value) != value}
        secret |= hashes_of_secrets(resource, self.masker)
        return {
            name: value
            for name, value in values.items()
            if not is_secret(kind, name)
            and not (declared.no_log and name in kind.outputs)
            and not (is_hashed(kind, name) and value is None)
            and name not in secret
            and self.masker.value(value) == value
        }

    # -- the ledger ------------------------------------------------------------------------------------------

    def intend(self, entry: Entry) -> None:
        """A create is about to be sent. Raises StepFailed where that cannot be written down."""
        if not self._written(partial(self.ledger.intend, self.lab.name, entry)):
            raise StepFailed("not started: the ledger cannot be written")

    def record(self, entry: Entry) -> None:
        """Remember what a verb did."""
        self._entries[entry.address] = entry if not entry.surplus else self._entries.get(entry.address, entry)
        self._written(partial(self.ledger.record, self.lab.name, entry))

    def record_surplus(self, entry: Entry, ids: Iterable[str]) -> None:
        """Remember things beside that of `entry`, which are too many."""
        for id in ids:
            self.record(replace(entry, id=id, token=new_token(), surplus=True, adopted=False))

    def forget(self, entry: Entry) -> None:
        """Drop an entry: the thing is gone, or was never made."""
        self._written(partial(self.ledger.forget, self.lab.name, entry))

    def let_go(self, address: str, entry: Entry, *, surplus: bool) -> None:
        """What was at `address` is gone, or labctl's no more; of a `surplus` thing nothing else is known."""
        self.forget(entry)
        if surplus:
            return
        if self.kinds[entry.kind].is_host:
            self.world.hosts.forget(address)
            self._told_of.discard(address)
        if self._entries.get(address) == entry:
            del self._entries[address]

    def note(self, address: str | None, verb: str, outcome: str, detail: str = "") -> None:
        """A line of the lab's history."""
        event = Event(datetime.now(UTC), self.run, address, verb, outcome, self.masker.text(detail))
        self._written(partial(self.ledger.note, self.lab.name, event))

    def _written(self, write: Callable[[], None]) -> bool:
        """Whether the ledger took it."""
        try:
            write()
        except LabctlError as error:
            self.broken = self.broken or error
            return False
        return True


def new_token() -> str:
    """An idempotency token for one create."""
    return f"labctl-{uuid.uuid4().hex}"
