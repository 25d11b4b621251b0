"""Wanted + there -> Plan. Pure: nothing is asked and nothing is done; the same input gives the same plan."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from engine.addresses import is_part
from engine.change import Observation, Plan
from engine.draft import Draft
from engine.errors import Invalid, Problem
from engine.graph import closure
from engine.lab import Lab
from engine.there import There, why_it_stays


def plan(
    lab: Lab,
    observations: Sequence[Observation],
    *,
    key: bytes,
    only: Collection[str] = (),
    skip: Collection[str] = (),
    replace: Collection[str] = (),
    destroy: bool = False,
) -> Plan:
    """What it takes to bring what is there to what `lab` wants; with `destroy`, to nothing.

    `key` is the ledger's, for the hashes of fields that are not kept. `only` keeps the plan to these
    addresses and what must come with them, `skip` leaves these as they are, `replace` makes these anew. A
    looped resource's name stands for all its addresses. Raises Invalid with every problem: addresses that do
    not exist, protected things that would go, values that do not fit.
    """
    there = There(lab, observations, destroy)
    asked = _Asked(there)
    chosen, left, anew = (
        asked.for_("--only", only),
        asked.for_("--skip", skip),
        asked.for_("--replace", replace),
    )
    if asked.problems:
        raise Invalid(asked.problems)
    frozen = dict.fromkeys(left, "left as it is: asked for with --skip")
    draft = _settled(there, key, frozen, anew)
    if chosen:
        there.chosen = frozenset(chosen)
        selected = _selected(draft, chosen)
        frozen |= {address: "" for address in there.addresses if address not in selected}
        draft = _settled(there, key, frozen, anew)
    problems = [*draft.problems, *_protected(draft)]
    if problems:
        raise Invalid(problems)
    return Plan(lab.name, tuple(draft.ordered()))


class _Asked:
    """The addresses that a command line names."""

    def __init__(self, there: There) -> None:
        self.there = there
        self.problems: list[Problem] = []

    def for_(self, option: str, names: Collection[str]) -> set[str]:
        known = self.there.addresses
        found: set[str] = set()
        for name in names:
            meant = {name} & known.keys() or {address for address in known if is_part(address, name)}
            if not meant:
                near = difflib.get_close_matches(name, list(known), 1)
                remedy = f"did you mean {near[0]}?" if near else "`labctl show` lists what there is"
                self.problems.append(
                    Problem(None, f"{option} {name}: the lab has no resource of this name", remedy)
                )
            found |= meant
        return found


def _settled(there: There, key: bytes, frozen: Mapping[str, str], anew: Collection[str]) -> Draft:
    """A draft in which what stands on a replaced thing is replaced too, and nothing goes under a user.

    Each round can only add to what is replaced or left alone, so this ends; one round is the rule.
    """
    frozen = dict(frozen)
    forced: dict[str, str] = {}
    while True:
        draft = Draft(there, key, frozen, anew, forced)
        draft.run()
        held = draft.held_in_place()
        more = draft.standing_on_replaced()
        if not held and not more:
            return draft
        frozen |= held
        forced |= more


def _selected(draft: Draft, chosen: Iterable[str]) -> set[str]:
    """What `--only` takes in: what the chosen need to be made, and what needs them gone."""
    there = draft.there

    def with_it(address: str) -> Iterator[str]:
        change = draft.changes.get(address)
        if change is None:
            return
        if address in there.wanted:
            yield from (need.address for need in change.needs)
        if change.action in ("delete", "replace") or change.forgets:
            for user in there.users.get(address, ()):
                other = draft.changes.get(user.address)
                if other is not None and (other.action != "keep" or other.forgets):
                    yield user.address

    return closure(chosen, with_it)


def _protected(draft: Draft) -> Iterator[Problem]:
    for change in draft.changes.values():
        if change.action not in ("delete", "replace") or change.there is None:
            continue
        declared, entry = change.declared, change.there.entry
        if not (entry.protect if declared is None else declared.protect):
            continue
        if change.goes_with is None and why_it_stays(change.there, declared is not None and declared.retain):
            continue
        verb = "deleted" if change.action == "delete" else "replaced"
        yield Problem(
            declared.where if declared else None,
            f"{change.address} is protected and would be {verb}: {change.cause}",
            f"take `protect: true` off it and apply that, or leave it alone with `--skip {change.address}`",
        )
