"""Lookups: what kinds that make nothing tell, asked once the plan knows with what to ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from engine.blame import Blame
from engine.change import Change, Entry, Observation, Plan
from engine.errors import Invalid, Problem, StepFailed
from engine.jobs import job_of
from engine.lab import Lab
from engine.refs import holds_unknown
from engine.world import World

_SIDE_BY_SIDE: Final = 8


def answered(
    make: Callable[[Sequence[Observation]], Plan], found: Sequence[Observation], lab: Lab, world: World
) -> Plan:
    """What `make` plans from what was `found` and from what the lookups then tell.

    One may ask what another told, so it plans again until nothing is left to ask before apply.
    """
    while True:
        plan = make(found)
        told = look_up(plan, lab, world)
        if not told:
            return plan
        found = [*found, *told]


def look_up(plan: Plan, lab: Lab, world: World) -> tuple[Observation, ...]:
    """The answers to the lookups of `plan` that are not answered yet and hang on nothing unknown.

    Raises Invalid with every lookup that finds nothing; Unreachable where the target does not answer.
    """
    due = [change for change in plan.changes if change.looks_up and not holds_unknown(change.wanted)]
    if not due:
        return ()
    with ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="lookup") as pool:
        told = list(pool.map(lambda change: _answer(change, lab, world), due))
    problems = [one for one in told if isinstance(one, Problem)]
    if problems:
        raise Invalid(problems)
    return tuple(one for one in told if isinstance(one, Observation))


def _answer(change: Change, lab: Lab, world: World) -> Observation | Problem:
    resource, declared = change.wanted, change.declared
    assert resource is not None
    try:
        with Blame(change.kind, change.address):
            values = resource.look_up(world.on(job_of(lab, change.address)))
    except StepFailed as error:
        where = declared.where if declared else None
        return Problem(where, f"{change.address}: {error.message}", error.remedy)
    # What was asked goes along: the plan takes no answer to another question.
    entry = Entry(change.address, change.kind, None, outputs=resource.wanted())
    return Observation(entry, values, new=True, kind=type(resource))
