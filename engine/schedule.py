"""Plan -> the order of its steps: made after what they need, deleted after what needed them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Final

import networkx as nx

from engine.change import Change, Plan, Step, Verb
from engine.graph import in_order
from engine.lab import Need
from engine.there import exists, needs_of

# Edges that give way, the first ones first, where together they would make a ring: the order among things
# that merely come after one another, then the order of deletions, then letting go before deletion.
_AFTER: Final = "after"
_DELETION: Final = "deletion"
_LETTING_GO: Final = "letting go"
_FIRM: Final = "firm"
_GIVE_WAY: Final = (_AFTER, _DELETION, _LETTING_GO, _FIRM)


def schedule(plan: Plan) -> nx.DiGraph[Step]:
    """The steps of `plan` as a graph without rings: an edge leads from a step to one that must wait for it.

    Nodes stand in the plan's order.
    """
    graph = _Steps(plan).graph()
    for sort in _GIVE_WAY[:-1]:
        if nx.is_directed_acyclic_graph(graph):
            break
        _cut(graph, sort)
    return graph


def _cut(graph: nx.DiGraph[Step], sort: str) -> None:
    """Take out the edges of `sort` that lie on a ring: those within one strongly connected part."""
    part = {step: at for at, steps in enumerate(nx.strongly_connected_components(graph)) for step in steps}
    within = [
        (before, after)
        for before, after, said in graph.edges(data=True)
        if said["order"] == sort and part[before] == part[after]
    ]
    graph.remove_edges_from(within)


class _Steps:
    """The steps of each change, and what each has to wait for."""

    def __init__(self, plan: Plan) -> None:
        self.changes = {change.address: change for change in plan.changes if not _is_surplus(change)}
        self.surplus = [change for change in plan.changes if _is_surplus(change)]
        self.makes: dict[str, Step] = {}
        self.unmakes: dict[str, Step] = {}
        self.steps: list[Step] = []
        for change in plan.changes:
            self._add_steps(change)
        self.effective = self._effective()

    def graph(self) -> nx.DiGraph[Step]:
        graph: nx.DiGraph[Step] = nx.DiGraph()
        graph.add_nodes_from(self.steps)
        for before, after, order in self._edges():
            # Of several reasons for the same order the strongest counts.
            known = graph.get_edge_data(before, after)
            if before != after and (
                known is None or _GIVE_WAY.index(known["order"]) < _GIVE_WAY.index(order)
            ):
                graph.add_edge(before, after, order=order)
        return graph

    def _add_steps(self, change: Change) -> None:
        if change.action in ("delete", "replace") or change.forgets:
            step = _unmake(change)
            self.steps.append(step)
            if not step.surplus:
                self.unmakes[change.address] = step
        make: Verb | None = _MAKES.get(change.action)
        if make is None and change.adopts:
            make = "adopt"
        if change.looks_up:
            make = "look up"
        if make is not None:
            self.makes[change.address] = Step(make, change.address, change)
            self.steps.append(self.makes[change.address])

    def _effective(self) -> dict[str, frozenset[Step]]:
        """By address, the steps after which it is as wanted.

        Its own, or those of what it needs if it is kept.
        """
        needs = {a: sorted(need.address for need in change.needs) for a, change in self.changes.items()}
        found: dict[str, frozenset[Step]] = {}
        for address in in_order(needs):
            if address in self.makes:
                found[address] = frozenset([self.makes[address]])
            else:
                below = {found[need] for need in needs[address] if found.get(need)}
                found[address] = next(iter(below)) if len(below) == 1 else frozenset().union(*below)
        return found

    def _edges(self) -> Iterator[tuple[Step, Step, str]]:
        for address, make in self.makes.items():
            yield from self._edges_of_making(address, make)
        for address, unmake in self.unmakes.items():
            yield from self._edges_of_deleting(address, unmake)
        for change in self.changes.values():
            yield from self._edges_of_letting_go(change)
        for change in self.surplus:
            yield from self._edges_of_surplus(change)

    def _edges_of_making(self, address: str, make: Step) -> Iterator[tuple[Step, Step, str]]:
        change = make.change
        for need in change.needs:
            for step in self.effective.get(need.address, ()):
                yield step, make, _FIRM
        unmake = self.unmakes.get(address)
        if unmake is None:
            return
        if change.create_first:
            yield make, unmake, _FIRM
        else:
            # What dies with its old host stands in nobody's way elsewhere.
            yield unmake, make, _FIRM if change.goes_with is None else _AFTER

    def _edges_of_deleting(self, address: str, unmake: Step) -> Iterator[tuple[Step, Step, str]]:
        """What was made after its needs goes before them.

        What goes with its host is forgotten after it went.
        """
        change = unmake.change
        if change.goes_with is not None and change.goes_with in self.unmakes:
            yield self.unmakes[change.goes_with], unmake, _FIRM
        for need in _remembered(change):
            going = self.unmakes.get(need.address)
            if going is not None and change.goes_with != need.address:
                # What dies with its host waits for it, and must not keep others from going before that host.
                weak = need.sort == "after" or change.goes_with is not None
                order = _AFTER if weak else _DELETION
                yield unmake, going, order
                yield from self._before_host(unmake, going, order)
            elif need.sort == "lives_on" and going is None and need.address in self.makes:
                # The host is changed: its own turn first, it may be off now.
                yield self.makes[need.address], unmake, _AFTER

    def _before_host(self, step: Step, going: Step, order: str) -> Iterator[tuple[Step, Step, str]]:
        """What must wait for `step` although it goes with its host: then the host waits."""
        host = going.change.goes_with
        if host is not None and host in self.unmakes and step.change.goes_with != host:
            yield step, self.unmakes[host], order

    def _edges_of_letting_go(self, change: Change) -> Iterator[tuple[Step, Step, str]]:
        """What stays and used something that goes lets go of it first.

        New ones of create-first kinds are there.
        """
        make = self.makes.get(change.address)
        if make is None or change.action in ("create", "replace"):
            return
        for need in _remembered(change):
            going = self.unmakes.get(need.address)
            if going is not None and need.sort != "after":
                yield make, going, _LETTING_GO
                yield from self._before_host(make, going, _LETTING_GO)

    def _edges_of_surplus(self, change: Change) -> Iterator[tuple[Step, Step, str]]:
        """A second thing goes once its users have turned to the first, before what it needs itself."""
        step = _unmake(change)
        make, unmake = self.makes.get(change.address), self.unmakes.get(change.address)
        if make is not None and (unmake is None or make.change.create_first):
            yield make, step, _LETTING_GO
        if unmake is not None:
            yield step, unmake, _AFTER
        for need in _remembered(change):
            if need.address in self.unmakes:
                yield step, self.unmakes[need.address], _AFTER if need.sort == "after" else _DELETION
        for user in self.users_of.get(change.address, ()):
            let_go = self.unmakes.get(user) or self.makes.get(user)
            if let_go is not None:
                yield let_go, step, _LETTING_GO

    @cached_property
    def users_of(self) -> dict[str, list[str]]:
        """By address, who needed it by the ledger's memory."""
        users: dict[str, list[str]] = {}
        for change in self.changes.values():
            for need in _remembered(change):
                users.setdefault(need.address, []).append(change.address)
        return users


_MAKES: Final[dict[str, Verb]] = {"create": "create", "replace": "create", "update": "update"}


def _is_surplus(change: Change) -> bool:
    return change.there is not None and change.there.entry.surplus


def _remembered(change: Change) -> Iterator[Need]:
    """What the thing that is there needs, by the ledger's memory."""
    if change.there is not None and not change.there.found:
        yield from needs_of(change.there.entry)


def _unmake(change: Change) -> Step:
    there = change.there
    verb: Verb = "delete"
    if there is not None:
        entry = there.entry
        retained = entry.retain if change.declared is None else change.declared.retain
        gone = entry.id is not None and not exists(there)
        stays = entry.adopted or retained or there.theirs is not None
        if change.goes_with is not None or change.forgets or stays or gone:
            verb = "forget"
        if entry.surplus:
            return Step(verb, change.address, change, surplus=True, id=entry.id or entry.token)
    return Step(verb, change.address, change)
