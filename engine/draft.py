"""One pass of planning: what becomes of each resource, given what is replaced and what is left alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from engine.addresses import around
from engine.blame import Blame
from engine.change import Action, Change, Entry, FieldChange, Observation
from engine.diff import (
    WHOLE,
    differences,
    digests,
    hashes_of_secrets,
    is_hashed,
    is_secret,
    usable_values,
    wanted_values,
    words_for,
)
from engine.errors import Invalid, Problem
from engine.graph import closure, in_order
from engine.lab import Declared, Need
from engine.masking import Masker
from engine.resource import Resource, Values
from engine.tags import wanted_tags
from engine.templating import Scope, construct, scope_of
from engine.there import (
    STANDS,
    There,
    exists,
    gone_already,
    last_values,
    lost_with,
    needs_of,
    why_it_stays,
)


@dataclass
class Draft:
    """One pass over the lab, each resource after what it needs."""

    there: There
    key: bytes
    frozen: Mapping[str, str]
    anew: Collection[str]
    forced: Mapping[str, str]
    changes: dict[str, Change] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """What is not made, for the reason given, so that nothing can be made that needs it."""
    left: dict[str, str] = field(default_factory=dict)
    """What is there and cannot be changed, because it needs something that is not made."""
    replaced: set[str] = field(default_factory=set)
    gone_first: set[str] = field(default_factory=set)
    """The replaced whose old one goes before the new one is made."""
    known: dict[str, Values] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.masker = Masker(self.there.lab.secrets)

    def run(self) -> None:
        """Decide on everything that is wanted, then on what is not."""
        wanted = self.there.wanted
        needs = {address: sorted(need.address for need in d.needs) for address, d in wanted.items()}
        scope = scope_of(self.there.lab, self.known)
        for address in in_order(needs):
            declared = wanted[address]
            reason = self._held_back(declared)
            if reason is not None:
                self._leave(declared, reason)
                continue
            with Blame(declared.kind.kind, address):
                self._want(declared, scope)
        for address in self.there.orphans:
            self._part_with(address)

    def _want(self, declared: Declared, scope: Scope) -> None:
        try:
            resource = construct(declared, scope)
        except Invalid as error:
            self.problems += error.problems
            self.missing[declared.address] = declared.address
            return
        decide = self._look_up if declared.kind.lookup else self._decide
        self.changes[declared.address] = decide(declared, resource)

    def _look_up(self, declared: Declared, resource: Resource) -> Change:
        """What a lookup was told, if that was the answer to what is asked now; it is always kept."""
        made = self.there.primary.get(declared.address)
        if made is not None:
            what = f"`{declared.address}` is a lookup now, and a {made.entry.kind} was made under this name"
            self.problems.append(Problem(declared.where, what, "give the lookup another name"))
        answer = self.there.answers.get(declared.address)
        if answer is not None and answer.entry.outputs != resource.wanted():
            answer = None
        self.known[declared.address] = usable_values(resource, answer.values if answer else None)
        change = self._change(declared, resource, "keep", "", (), answer)
        return replace(change, looks_up=answer is None, notes=())

    def ordered(self) -> Iterator[Change]:
        """The changes as the plan lists them: the playbook's order, then what goes."""
        for address in self.there.wanted:
            if address in self.changes:
                yield self.changes[address]
        yield from (self.changes[address] for address in self.there.orphans if address in self.changes)
        counts: dict[str, int] = {}
        for observation in self.there.surplus:
            counts[observation.entry.address] = counts.get(observation.entry.address, 1) + 1
        for observation in self.there.surplus:
            if observation.entry.address not in self.frozen:
                yield _surplus(observation, counts[observation.entry.address])

    # -- what is wanted --------------------------------------------------------------------------------------

    def _held_back(self, declared: Declared) -> str | None:
        if declared.address in self.frozen:
            return self.frozen[declared.address]
        for need in sorted(declared.needs):
            if need.address in self.missing:
                return f"left as it is: needs {need.address}, which is not made"
        return None

    def _leave(self, declared: Declared, note: str) -> None:
        """Whatever is there stays as it is."""
        address = declared.address
        observation = self.there.primary.get(address)
        if observation is None or not exists(observation):
            self.missing[address] = note
            return
        if address not in self.frozen:
            self.left[address] = note
        self.known[address] = dict(last_values(observation))
        self.changes[address] = Change(
            address,
            observation.entry.kind,
            "keep",
            declared=declared,
            there=observation,
            needs=observation.entry.needs,
            notes=(note,) if note else (),
        )

    def _decide(self, declared: Declared, resource: Resource) -> Change:
        observation = self.there.primary.get(declared.address)
        if observation is not None and self._is_in_the_way(declared, observation):
            self.problems.append(_in_the_way(declared, observation))
        if observation is None or not exists(observation):
            return self._make(declared, resource, observation)
        fields = self._fields(declared, resource, observation)
        cause = self._must_go(declared, observation.entry)
        if cause is None and not observation.found and any(change.replaces for change in fields):
            cause = words_for(resource, [f for f in fields if f.replaces], last_values(observation))
        if cause is not None:
            return self._replace(declared, resource, observation, cause, fields)
        return self._bring_round(declared, resource, observation, fields)

    def _is_in_the_way(self, declared: Declared, observation: Observation) -> bool:
        """Whether what is there on the host is another lab's, and the host stays what it is."""
        host = declared.host
        theirs = observation.theirs is not None and observation.values is None
        return theirs and host == observation.entry.host and host not in self.replaced

    def _make(self, declared: Declared, resource: Resource, observation: Observation | None) -> Change:
        self.known[declared.address] = usable_values(resource)
        cause = self._why_make(declared, observation)
        fields = _all_fields(declared, resource, self.masker)
        return self._change(declared, resource, "create", cause, fields, observation)

    def _why_make(self, declared: Declared, observation: Observation | None) -> str:
        if observation is None or observation.found:
            return "not there yet"
        if observation.entry.id is None:
            return "its creation was never confirmed"
        host = self.there.primary.get(declared.host or "")
        if host is not None and not exists(host):
            return f"lived on {declared.host}, which was deleted outside labctl"
        if observation.entry.host is not None and not observation.entry.outputs:
            return "its creation failed"  # what was made on a host was read at once
        return "was deleted outside labctl"

    def _fields(
        self, declared: Declared, resource: Resource, observation: Observation
    ) -> tuple[FieldChange, ...]:
        entry = observation.entry
        if observation.values is None and self._wants_the_same(resource, entry):
            return ()
        if entry.kind != declared.kind.kind:
            return _all_fields(declared, resource, self.masker)
        return differences(
            resource,
            last_values(observation),
            entry,
            key=self.key,
            tags=wanted_tags(self.there.lab, declared.address),
            ignore=declared.ignore_changes,
            hide=declared.no_log,
            masker=self.masker,
        )

    def _wants_the_same(self, resource: Resource, entry: Entry) -> bool:
        return entry.digests.get(WHOLE) == digests(resource, self.key).get(WHOLE, "")

    def _must_go(self, declared: Declared, entry: Entry) -> str | None:
        """Why the thing must be made anew whatever its fields say."""
        if entry.kind != declared.kind.kind:
            return f"is now of kind {declared.kind.kind}, was {entry.kind}"
        if entry.host != declared.host:
            return f"moves from {entry.host} to {declared.host}"
        if entry.host is not None and entry.host in self.replaced:
            return f"lives on {entry.host}, which is replaced"
        for need in needs_of(entry):
            if need.sort in STANDS and need.address in self.gone_first:
                return _stands(need)
        if declared.address in self.forced:
            return self.forced[declared.address]
        return "asked for with --replace" if declared.address in self.anew else None

    def _replace(
        self,
        declared: Declared,
        resource: Resource,
        observation: Observation,
        cause: str,
        fields: tuple[FieldChange, ...],
    ) -> Change:
        address, entry = declared.address, observation.entry
        stands = any(need.address in self.gone_first for need in self.there.stood_on(address))
        # A host's name can mean only one machine at a time, so hosts always go first.
        first = declared.kind.create_first and not declared.kind.is_host
        first = first and not stands and address not in self.forced
        first = first and entry.kind == declared.kind.kind and entry.host == declared.host
        self.replaced.add(address)
        if not first:
            self.gone_first.add(address)
        self.known[address] = usable_values(resource, without=_settling(resource))
        change = self._change(declared, resource, "replace", cause, fields, observation)
        goes_with = self._goes_with(entry)
        lasts = () if goes_with else why_it_stays(observation, declared.retain)
        notes = (*change.notes, *(lasts or lost_with(observation)))
        return replace(change, create_first=first and goes_with is None, goes_with=goes_with, notes=notes)

    def _bring_round(
        self,
        declared: Declared,
        resource: Resource,
        observation: Observation,
        fields: tuple[FieldChange, ...],
    ) -> Change:
        values = last_values(observation)
        changed = frozenset(change.name for change in fields)
        self.known[declared.address] = usable_values(
            resource,
            values,
            without=declared.kind.unsettles(changed) if changed else (),
            ignore=declared.ignore_changes,
        )
        unread = observation.values is None
        cause = words_for(resource, fields, values)
        if unread and not fields and not self._wants_the_same(resource, observation.entry):
            cause = "may differ, but cannot be read now"
        change = self._change(declared, resource, "update" if cause else "keep", cause, fields, observation)
        return replace(change, adopts=observation.new or declared.address in self.there.former)

    def _change(
        self,
        declared: Declared,
        resource: Resource,
        action: Action,
        cause: str,
        fields: tuple[FieldChange, ...],
        observation: Observation | None,
    ) -> Change:
        return Change(
            declared.address,
            declared.kind.kind,
            action,
            cause,
            tuple(replace(one, alias=declared.aliases.get(one.name, "")) for one in fields),
            declared,
            observation,
            needs=declared.needs,
            wanted=resource,
            hourly=resource.price(),
            notes=tuple(self._notes(declared.address, observation)),
        )

    def _notes(self, address: str, observation: Observation | None) -> Iterator[str]:
        if address in self.there.former:
            yield f"was called {self.there.former[address]}"
        if observation is None:
            return
        if observation.unreadable:
            yield f"cannot be read: {observation.unreadable}"
        if observation.new and observation.values is not None:
            yield (
                "was there before labctl"
                if observation.entry.adopted
                else "made by an earlier run that was cut short"
            )

    # -- what is not wanted ----------------------------------------------------------------------------------

    def _part_with(self, address: str) -> None:
        observation = self.there.primary[address]
        if address in self.frozen:
            self._keep_remembering(address, observation)
            return
        entry = observation.entry
        if observation.found:
            return
        declared = self.there.lab.resources.get(address)
        goes_with = self._goes_with(entry)
        retain = entry.retain if declared is None else declared.retain
        remarks = () if goes_with else why_it_stays(observation, retain) or gone_already(observation)
        gone_along = () if remarks else lost_with(observation)
        self.changes[address] = Change(
            address,
            entry.kind,
            "keep" if remarks else "delete",
            self._why_part(address),
            declared=declared,
            there=observation,
            goes_with=goes_with,
            forgets=bool(remarks),
            needs=entry.needs,
            notes=(*remarks, *self._notes(address, observation), *gone_along),
        )

    def _keep_remembering(self, address: str, observation: Observation) -> None:
        if exists(observation) and not observation.found:
            note = self.frozen[address]
            self.changes[address] = Change(
                address,
                observation.entry.kind,
                "keep",
                declared=self.there.lab.resources.get(address),
                there=observation,
                needs=observation.entry.needs,
                notes=(note,) if note else (),
            )

    def _why_part(self, address: str) -> str:
        if self.there.destroy and self.there.chosen:
            named = address in self.there.chosen
            return "asked for with --only" if named else "needs what --only names"
        if self.there.destroy:
            return "the lab is destroyed"
        skipped = self.there.lab.skipped
        is_off = any(name in skipped for name in around(address))
        return "its `when` is false now" if is_off else "no longer in the playbook"

    def _goes_with(self, entry: Entry) -> str | None:
        """The host that takes the thing along when it goes."""
        host = entry.host
        kind = self.there.kind_of(host) if host else None
        if host is None or kind is None or not kind.takes_along:
            return None
        return host if self._really_goes(host) else None

    def _really_goes(self, address: str) -> bool:
        observation = self.there.primary.get(address)
        if observation is None or observation.values is None or address in self.frozen:
            return False
        declared = self.there.lab.resources.get(address)
        if why_it_stays(observation, observation.entry.retain if declared is None else declared.retain):
            return False
        return address in self.replaced or address not in self.there.wanted

    # -- what one change makes of others ---------------------------------------------------------------------

    def standing_on_replaced(self) -> dict[str, str]:
        """What stands on something that goes first and is not replaced yet, with the cause in words."""
        found: dict[str, str] = {}

        def users(address: str) -> Iterator[str]:
            for user in self.there.users.get(address, ()):
                if user.sort not in STANDS:
                    continue
                settled = user.address in self.gone_first or user.address in self.frozen
                if user.address in self.there.wanted and not settled:
                    found.setdefault(user.address, _stands(Need(address, user.sort)))
                yield user.address

        closure(self.gone_first, users)
        return {address: cause for address, cause in found.items() if address in self.changes}

    def held_in_place(self) -> dict[str, str]:
        """What would go although something that is left alone stands on it."""
        if not self.frozen:
            return dict(self.left)
        reasons: dict[str, str] = {}

        def under(address: str) -> Iterator[str]:
            for need in self.there.stood_on(address):
                needed = self.there.renamed.get(need.address, need.address)
                reasons.setdefault(needed, f"left as it is: {address} stands on it")
                yield needed

        held = closure([a for a in self.frozen if a in self.there.primary], under)
        going = sorted(address for address in held - self.frozen.keys() if self._goes(address))
        return {**{address: reasons[address] for address in going}, **self.left}

    def _goes(self, address: str) -> bool:
        change = self.changes.get(address)
        if change is None:
            return False
        stays = change.there is not None and exists(change.there)
        return change.action == "delete" or (change.forgets and stays) or address in self.gone_first


def _stands(need: Need) -> str:
    return (
        f"lives on {need.address}, which is replaced"
        if need.sort == "lives_on"
        else f"stands on {need.address}"
    )


def _settling(resource: Resource) -> frozenset[str]:
    """What making it tells anew, although it bears the name of a field."""
    return type(resource).unsettles(frozenset(type(resource).model_fields))


def _all_fields(declared: Declared, resource: Resource, masker: Masker) -> tuple[FieldChange, ...]:
    kind, behind = type(resource), hashes_of_secrets(resource, masker)
    return tuple(
        FieldChange(name, None, None, None if secret else value, secret=secret)
        for name, value in wanted_values(resource).items()
        for secret in [declared.no_log or is_secret(kind, name) or name in behind]
        if name in resource.model_fields_set or not is_hashed(kind, name)
    )


def _in_the_way(declared: Declared, observation: Observation) -> Problem:
    id, host = observation.entry.id, observation.entry.host
    return Problem(
        declared.where,
        f"{declared.address}: {id} on {host} belongs to {observation.theirs}",
        "call it otherwise, or have that lab destroy it first",
    )


def _surplus(observation: Observation, count: int) -> Change:
    entry = observation.entry
    gone = (
        gone_already(observation) if observation.theirs is None else why_it_stays(observation, retain=False)
    )
    return Change(
        entry.address,
        entry.kind,
        "keep" if gone else "delete",
        "one too many under this address",
        there=observation,
        forgets=bool(gone),
        needs=entry.needs,
        notes=gone or (f"{count} found under this address",),
    )
