"""Finding again, by the tags on it, what a lost ledger has forgotten; asks, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from typing import Any, Final

from engine.blame import Blame
from engine.change import Change, Entry, Observation, Plan
from engine.diff import usable_values
from engine.errors import Invalid, LabctlError, StepFailed
from engine.jobs import job_of
from engine.lab import Declared, Lab
from engine.ledger import Ledger
from engine.on_host import OnHost
from engine.resource import Resource, Values
from engine.tags import ADDRESS, LAB
from engine.templating import construct, scope_of
from engine.world import World

_SIDE_BY_SIDE: Final = 8


@dataclass(frozen=True)
class Found:
    """What bears a lab's tags and is not in its ledger."""

    entries: tuple[Entry, ...] = ()
    """One for each address."""
    surplus: tuple[Entry, ...] = ()
    """Further things under the same addresses."""
    strangers: tuple[tuple[str, str], ...] = ()
    """Address and ARN of what bears the lab's tag, but is no address of the playbook."""


def recover(lab: Lab, entries: Sequence[Entry], world: World) -> Found:
    """Everything in the cloud that bears the tags of `lab` and that `entries` do not have.

    Asks once for each address, as only a kind knows how its things are found, things that others name first;
    then one GetResources of the tagging API tells of what the playbook no longer has. What lives on hosts is
    found by `refresh`, by its natural ids.
    """
    return _Recovery(lab, entries, world).run()


@dataclass
class _Recovery:
    lab: Lab
    entries: Sequence[Entry]
    world: World
    known: dict[str, Values] = field(default_factory=dict)

    def run(self) -> Found:
        remembered = [entry for entry in self.entries if not entry.surplus]
        self.known = {entry.address: dict(entry.outputs) for entry in remembered}
        first: list[Entry] = []
        surplus: list[Entry] = []
        with ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="recover") as pool:
            for layer in self._layers():
                found = list(zip(layer, pool.map(self._ids, layer), strict=True))
                for declared, ids in found:
                    made = [
                        Entry(declared.address, declared.kind.kind, id, needs=declared.needs) for id in ids
                    ]
                    first += made[:1]
                    surplus += [replace(entry, surplus=True) for entry in made[1:]]
                list(pool.map(self._learn, _by_kind(found).items()))
        # Logging in to hosts may take what others are known by, such as the file of a key.
        first = [replace(entry, outputs=self.known.get(entry.address, {})) for entry in first]
        return Found(tuple(first), tuple(surplus), tuple(self._strangers()))

    def _layers(self) -> Iterator[list[Declared]]:
        """The resources of the cloud that are to be looked for, those first that others may need by name."""
        wanted = {
            address: declared
            for address, declared in self.lab.resources.items()
            if address not in self.known and _can_be_found(declared.kind)
        }
        order = TopologicalSorter(
            {
                address: sorted(need.address for need in declared.needs if need.address in wanted)
                for address, declared in wanted.items()
            }
        )
        order.prepare()
        while order.is_active():
            ready = order.get_ready()
            yield [wanted[address] for address in ready]
            order.done(*ready)

    def _ids(self, declared: Declared) -> list[str]:
        resource = self._wish(declared)
        foreseen = resource.foreseen() if resource is not None else None
        job = job_of(self.lab, declared.address, foreseen=foreseen if isinstance(foreseen, str) else "")
        with Blame(declared.kind.kind, declared.address):
            return declared.kind.find(self.world.on(job))

    def _wish(self, declared: Declared) -> Resource | None:
        try:
            return construct(declared, scope_of(self.lab, self.known))
        except Invalid:
            # The plan tells what is wrong with it.
            return None

    def _learn(self, found: tuple[type[Resource], Mapping[str, Declared]]) -> None:
        """Read what was found of one kind, for those that need it."""
        kind, declared = found
        with Blame(kind.kind):
            read = kind.read_many(self.world, list(declared))
        for id, values in read.items():
            if id in declared:
                resource = self._wish(declared[id])
                usable = dict(values) if resource is None else usable_values(resource, values)
                self.known[declared[id].address] = usable

    def _strangers(self) -> Iterator[tuple[str, str]]:
        mine = {*self.lab.resources, *(entry.address for entry in self.entries)}
        for address, arn in _tagged(self.lab, self.world):
            if address not in mine:
                yield address, arn


def refuse_where_forgotten(lab: Lab, ledger: Ledger, world: World, *, command: str) -> None:
    """See to it that nothing is made a second time beside what another folder made, or a lost ledger.

    Raises LabctlError where things bear the lab's tags and its ledger is new, with the `command` that
    recovers it. Asks only for new ledgers: GetResources of the tagging API, once.
    """
    if ledger.entries(lab.name) or ledger.history(lab.name):
        return
    made = _tagged(lab, world)
    if not made:
        return
    first, *others = sorted({address for address, _ in made})
    more = f" and {len(others)} more" if others else ""
    raise LabctlError(
        f"{lab.name} is there already ({first}{more}), but its ledger here is new: it was made from another "
        "folder, or the ledger was lost.",
        f"Work in that folder; or write what is there into the ledger here: {command}",
    )


def _tagged(lab: Lab, world: World) -> list[tuple[str, str]]:
    """Address and ARN of what bears the lab's tag, as far as this may be asked (GetResources)."""
    if lab.target.sort == "ssh":
        return []
    try:
        tagged = world.aws.pages(
            "resourcegroupstaggingapi",
            "get_resources",
            "ResourceTagMappingList",
            TagFilters=[{"Key": LAB, "Values": [lab.name]}],
        )
    except StepFailed:
        return []  # who may not ask this hears of the rest all the same
    told = ((_tags(thing).get(ADDRESS, ""), str(thing["ResourceARN"])) for thing in tagged)
    return [(address, arn) for address, arn in told if address]


def _tags(thing: Mapping[str, Any]) -> dict[str, str]:
    return {str(tag["Key"]): str(tag["Value"]) for tag in thing.get("Tags", ())}


def _can_be_found(kind: type[Resource]) -> bool:
    told = getattr(kind.find, "__func__", None) is not getattr(Resource.find, "__func__", None)
    return told and not issubclass(kind, OnHost)


def _by_kind(found: Sequence[tuple[Declared, list[str]]]) -> dict[type[Resource], dict[str, Declared]]:
    """By kind, the resource of each id that was found first for it."""
    result: dict[type[Resource], dict[str, Declared]] = {}
    for declared, ids in found:
        if ids:
            result.setdefault(declared.kind, {})[ids[0]] = declared
    return result


def _key(observation: Observation) -> tuple[str, str | None]:
    return observation.entry.address, observation.entry.id


def as_found(observations: Sequence[Observation], found: Found) -> list[Observation]:
    """The observations, of which those of `found` are new to the ledger."""
    new = {(entry.address, entry.id) for entry in found.entries}
    return [
        replace(one, new=one.new or (one.values is not None and _key(one) in new)) for one in observations
    ]


def to_take_on(lab: Lab, plan: Plan) -> Plan:
    """Of `plan`, what takes things into the ledger and leaves the world as it is."""
    return replace(plan, changes=tuple(_taken_on(lab, plan)), notes=())


def _taken_on(lab: Lab, plan: Plan) -> Iterator[Change]:
    for change in plan.changes:
        there = change.there
        if there is None or there.values is None or there.entry.surplus:
            continue
        declared = lab.resources.get(change.address)
        if there.new and declared is not None and change.wanted is not None:
            yield Change(
                change.address,
                change.kind,
                "keep",
                declared=declared,
                there=there,
                adopts=True,
                needs=declared.needs,
                wanted=change.wanted,
            )
        elif change.action == "keep" and not change.forgets:
            yield change
