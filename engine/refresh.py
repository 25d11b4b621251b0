"""Ledger + World -> observations: asks once per kind and once per host, and changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Final

from engine.blame import Blame
from engine.change import Entry, Observation
from engine.contact import host_spec
from engine.errors import HostUnreachable, Invalid, LabctlError, StepFailed
from engine.host_scripts import look_at, prelude
from engine.hosts import HostSpec
from engine.jobs import adopting, belongs, job_of, owner_of
from engine.lab import Declared, Lab
from engine.on_host import OnHost
from engine.refs import holds_unknown
from engine.resource import Resource, Values
from engine.tags import FIELD as TAGS
from engine.tags import LAB
from engine.templating import Scope, construct, scope_of
from engine.world import World

_SIDE_BY_SIDE: Final = 16
_ONCE_MORE: Final = 1.5
"""Seconds after which what was made lately and does not show is asked once more."""


def refresh(
    lab: Lab,
    entries: Sequence[Entry],
    world: World,
    kinds: Mapping[str, type[Resource]],
    *,
    pause: float = _ONCE_MORE,
) -> tuple[Observation, ...]:
    """What is there of all that the ledger remembers of `lab`, and of what its playbook may take on as found.

    One `read_many` per kind and one script per host, side by side; what was made only now and does not show
    is asked once more after `pause` seconds. A host that cannot be reached makes what
    lives on it unreadable, with the reason. Raises Unreachable where the target itself does not answer.
    """
    return _Refresh(lab, entries, world, kinds, pause).run()


@dataclass
class _Refresh:
    lab: Lab
    entries: Sequence[Entry]
    world: World
    kinds: Mapping[str, type[Resource]]
    pause: float
    known: dict[str, Values] = field(default_factory=dict)
    """By address, what templates may use: as last read, and as read now."""
    seen: dict[str, Observation] = field(default_factory=dict)
    """The hosts, as read now."""
    no_way: dict[str, str] = field(default_factory=dict)
    """Hosts that nobody has said how to log in to, with the reason."""

    def run(self) -> tuple[Observation, ...]:
        self._check_kinds()
        self.known = {e.address: dict(e.outputs) for e in self.entries if e.id is not None and not e.surplus}
        with ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="refresh") as pool:
            hosts = [pool.submit(self._blamed, kind) for kind in self._kinds(hosts=True)]
            others = [pool.submit(self._blamed, kind) for kind in self._kinds(hosts=False)]
            found = [observation for read in hosts for observation in read.result()]
            # What lives on hosts waits only for the hosts' own kinds, not for all of the cloud.
            self._take_hosts(found)
            on_hosts: list[Future[list[Observation]]] = [
                pool.submit(self._read_host, host) for host in self._hosts_in_use()
            ]
            found += [observation for read in [*others, *on_hosts] for observation in read.result()]
        return tuple(self._in_order(found))

    def _check_kinds(self) -> None:
        unknown = sorted({entry.kind for entry in self.entries} - self.kinds.keys())
        if unknown:
            raise LabctlError(
                f"the ledger names kinds that this labctl does not know: {', '.join(unknown)}",
                "use the version of labctl that made them, or a newer one",
            )

    def _in_order(self, found: Iterable[Observation]) -> Iterator[Observation]:
        """As the ledger has them, then what is new."""
        place = {(e.address, e.token, e.id): at for at, e in enumerate(self.entries)}
        last = len(place)

        def key(observation: Observation) -> int:
            entry = observation.entry
            at = place.get((entry.address, entry.token, entry.id))
            return last if at is None else at

        return iter(sorted(found, key=key))

    # -- kinds that an API tells about -----------------------------------------------------------------------

    def _kinds(self, *, hosts: bool) -> list[type[Resource]]:
        names = {entry.kind for entry in self.entries}
        used = {self.kinds[name] for name in names}
        used |= {d.kind for d in self._unremembered() if adopting(d.kind)}
        chosen = [kind for kind in used if not issubclass(kind, OnHost) and kind.is_host == hosts]
        return sorted(chosen, key=lambda kind: kind.kind)

    def _unremembered(self) -> Iterator[Declared]:
        remembered = {entry.address for entry in self.entries if not entry.surplus}
        return (d for address, d in self.lab.resources.items() if address not in remembered)

    def _blamed(self, kind: type[Resource]) -> list[Observation]:
        with Blame(kind.kind):
            return self._read_kind(kind)

    def _read_kind(self, kind: type[Resource]) -> list[Observation]:
        """Everything of one kind: what was intended is looked for first, so that one read tells all."""
        entries = [entry for entry in self.entries if entry.kind == kind.kind]
        found = [Observation(entry, None, kind=kind) for entry in entries if entry.id is not None]
        for entry in entries:
            if entry.id is None:
                found += self._settle(kind, entry)
        found += self._adopted(kind)
        ids = list(dict.fromkeys(o.entry.id for o in found if o.entry.id is not None))
        values = kind.read_many(self.world, ids) if ids else {}
        now = time.time()
        missing = [
            o.entry.id for o in found if o.entry.id and o.entry.id not in values and o.entry.young(now)
        ]
        if missing:
            time.sleep(self.pause)
            values = {**values, **kind.read_many(self.world, missing)}
        return [self._with(observation, values.get(observation.entry.id or "")) for observation in found]

    def _with(self, observation: Observation, values: Values | None) -> Observation:
        if values is None:
            return observation if not observation.new else replace(observation, new=False)
        owner = values[TAGS].get(LAB) if observation.kind is not None and observation.kind.tagged else None
        theirs = owner if owner != self.lab.name and not observation.entry.adopted else None
        return replace(observation, values=values, theirs=theirs)

    def _settle(self, kind: type[Resource], entry: Entry) -> Iterator[Observation]:
        """What a create that was never confirmed has made: one is taken on, others are one too many."""
        job = job_of(self.lab, entry.address, token=entry.token, foreseen=entry.foreseen)
        ids = kind.find(self.world.on(job))
        if not ids:
            yield Observation(entry, None, kind=kind)
        for at, id in enumerate(ids):
            made = replace(entry, id=id) if at == 0 else replace(entry, id=id, token="", surplus=True)
            yield Observation(made, None, new=at == 0, kind=kind)

    def _adopted(self, kind: type[Resource]) -> Iterator[Observation]:
        if not adopting(kind):
            return
        scope = scope_of(self.lab, self.known)
        for declared in self._unremembered():
            if declared.kind is not kind:
                continue
            resource = self._constructed(declared, scope)
            id = resource.adopts(self.world) if resource and not holds_unknown(resource) else None
            if id is not None:
                entry = Entry(declared.address, kind.kind, id, needs=declared.needs, adopted=True)
                yield Observation(entry, None, new=True, kind=kind)

    def _constructed(self, declared: Declared, scope: Scope) -> Resource | None:
        try:
            with Blame(declared.kind.kind, declared.address):
                return construct(declared, scope)
        except Invalid:
            # The plan says so, with everything else that is wrong.
            return None

    # -- hosts and what lives on them ------------------------------------------------------------------------

    def _take_hosts(self, found: Iterable[Observation]) -> None:
        for observation in found:
            if not observation.entry.surplus and observation.values is not None:
                self.seen[observation.entry.address] = observation
                self.known[observation.entry.address] = dict(observation.values)
        for address, observation in self.seen.items():
            try:
                with Blame(observation.entry.kind, address):
                    spec = self._spec(address, observation)
                self.world.hosts.know(spec)
            except HostUnreachable as error:
                self.no_way[address] = error.message

    def _spec(self, address: str, observation: Observation) -> HostSpec:
        values = observation.values or {}
        entry = observation.entry
        return host_spec(self.lab, address, values, entry, self.world, kinds=self.kinds, known=self.known)

    def _hosts_in_use(self) -> list[str]:
        remembered = [entry.host for entry in self.entries if entry.host is not None]
        declared = [d.host for d in self.lab.resources.values() if d.host is not None]
        return list(dict.fromkeys([*declared, *remembered]))

    def _read_host(self, host: str) -> list[Observation]:
        """Everything on one host, in one round trip."""
        looks = [*self._looks_of_ledger(host), *self._looks_of_playbook(host)]
        if host not in self.seen:
            return [Observation(look.entry, None, kind=look.kind) for look in looks if not look.new]
        if not looks:
            return []
        if host in self.no_way:
            return [look.unreadable(self.no_way[host]) for look in looks]
        quiet = any(look.quiet for look in looks)
        try:
            scripts = [look.script(self.world) for look in looks]
            answers = look_at(self.world.hosts.glance(host), scripts, quiet=quiet)
        except (HostUnreachable, StepFailed) as error:
            return [look.unreadable(error.message) for look in looks]
        observed = [
            look.observed(*answer, self.lab.name) for look, answer in zip(looks, answers, strict=True)
        ]
        return [observation for observation in observed if observation is not None]

    def _looks_of_ledger(self, host: str) -> Iterator[_Look]:
        scope = scope_of(self.lab, self.known)
        for entry in self.entries:
            if entry.host != host:
                continue
            kind = self.kinds[entry.kind]
            if not issubclass(kind, OnHost):
                continue
            declared = self.lab.resources.get(entry.address)
            same = declared is not None and declared.kind is kind and declared.host == host
            wanted = self._constructed(declared, scope) if declared is not None and same else None
            job = job_of(self.lab, entry.address)
            yield _Look(entry, kind, wanted if isinstance(wanted, OnHost) else None, job.tags, job.quiet)

    def _looks_of_playbook(self, host: str) -> Iterator[_Look]:
        scope = scope_of(self.lab, self.known)
        for declared in self._unremembered():
            if declared.host != host or not issubclass(declared.kind, OnHost):
                continue
            wanted = self._constructed(declared, scope)
            if (
                not isinstance(wanted, OnHost)
                or not wanted.discoverable()
                or holds_unknown(wanted.natural_id())
            ):
                continue
            id = wanted.natural_id()
            entry = Entry(declared.address, declared.kind.kind, id, host=host, needs=declared.needs)
            job = job_of(self.lab, declared.address)
            yield _Look(entry, declared.kind, wanted, job.tags, job.quiet, new=True)


@dataclass(frozen=True)
class _Look:
    """One thing to look at on a host."""

    entry: Entry
    kind: type[OnHost]
    wanted: OnHost | None
    tags: Mapping[str, str]
    quiet: bool
    new: bool = False

    def script(self, world: World) -> str:
        head = prelude(world.lab, self.entry.address, self.tags)
        with Blame(self.kind.kind, self.entry.address):
            return head + self.kind.look(self.entry.id or "", self.wanted)

    def unreadable(self, reason: str) -> Observation:
        return Observation(self.entry, None, unreadable=reason, new=self.new, kind=self.kind)

    def observed(self, status: int, output: bytes, lab: str) -> Observation | None:
        """What the look tells; None for a new thing that is not there, or not ours to take on."""
        try:
            with Blame(self.kind.kind, self.entry.address):
                values = self.kind.parse(self.entry.id or "", status, output)
        except StepFailed as error:
            return self.unreadable(error.message)
        owner = owner_of(self.kind, values) if values is not None else None
        if owner not in (None, lab):
            return Observation(self.entry, None, new=self.new, kind=self.kind, theirs=owner)
        if not belongs(self.kind, values, lab, new=self.new):
            values = None
        if not self.new:
            return Observation(self.entry, values, kind=self.kind)
        if values is None:
            return None
        entry = replace(self.entry, adopted=owner != lab)
        return Observation(entry, values, new=True, kind=self.kind)
