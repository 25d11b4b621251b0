"""The story of `labctl recover`: look for what a lost ledger forgot, have it approved, write it down."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from engine import uses
from engine.change import Plan, Report, StepEvent
from engine.commands import Run
from engine.execute import execute
from engine.kinds import kinds
from engine.lab import Lab
from engine.ledger import Event
from engine.pin import pin
from engine.plan import plan
from engine.recover import Found, as_found, recover, to_take_on
from engine.refresh import refresh
from engine.schedule import schedule
from engine.session import Site


@dataclass(frozen=True)
class Recovery:
    """What of one lab was found that its ledger does not have."""

    site: Site
    plan: Plan
    """Nothing but what is taken into the ledger, and what is there and stays."""
    found: Found
    missing: tuple[str, ...]
    """Addresses of the playbook of which nothing is there."""

    @property
    def empty(self) -> bool:
        """Whether nothing was found that labctl made; what it merely takes on, any plan finds anew."""
        made = (c.there.entry for c in self.plan.changes if c.adopts and c.there is not None)
        return all(entry.adopted for entry in made) and not self.found.surplus


def recover_labs(
    sites: Sequence[Site],
    run: Run,
    *,
    approve: Callable[[Sequence[Recovery]], bool],
    tell: Callable[[StepEvent], None],
) -> dict[str, Report] | None:
    """Look for what the ledgers of the labs forgot and, once approved, write it there; None if it was not.

    Nothing in the world is changed.
    """
    with ExitStack() as locks:
        for site in sites:
            locks.enter_context(site.ledger.lock(site.lab.name, run.command))
        recoveries = [_look(site) for site in sites]
        if not approve(recoveries):
            return None
        for item in recoveries:
            if item.empty:
                _note_nothing(item, run)
        return {item.site.lab.name: _write(item, run, tell) for item in recoveries if not item.empty}


def _look(site: Site) -> Recovery:
    lab = pin(site.lab, site.world)
    entries = site.ledger.entries(lab.name)
    found = recover(lab, entries, site.world)
    seen = refresh(lab, [*entries, *found.entries], site.world, kinds())
    made = plan(_unprotected(lab), as_found(seen, found), key=site.ledger.key)
    taken = to_take_on(lab, made)
    there = {change.address for change in taken.changes}
    missing = tuple(address for address in lab.resources if address not in there)
    return Recovery(replace(site, lab=lab), taken, found, missing)


def _note_nothing(item: Recovery, run: Run) -> None:
    """A ledger whose lab was looked for is no longer taken for a new one."""
    lab = item.site.lab.name
    event = Event(datetime.now(UTC), _name(run), None, "end", "done", "nothing was found")
    item.site.ledger.note(lab, event)


def _name(run: Run) -> str:
    return f"{run.command}-{secrets.token_hex(4)}"


def _unprotected(lab: Lab) -> Lab:
    """The lab without `protect`: what it would refuse is not done here anyway."""
    return replace(
        lab, resources={name: replace(each, protect=False) for name, each in lab.resources.items()}
    )


def _write(item: Recovery, run: Run, tell: Callable[[StepEvent], None]) -> Report:
    lab, ledger = item.site.lab, item.site.ledger
    for entry in item.found.surplus:
        ledger.record(lab.name, replace(entry, token=f"recovered-{secrets.token_hex(8)}"))
    report = execute(
        schedule(item.plan).adj,
        item.plan,
        lab,
        item.site.world,
        ledger,
        kinds(),
        parallel=run.parallel,
        tell=tell,
        stop=run.stop,
        run=_name(run),
        story="labctl recover",
    )
    if report.ok:
        uses.begin(ledger, lab)
        ledger.keep_outputs(lab.name, uses.to_keep(lab, report.outputs))
        item.site.world.hosts.write_ssh_config()
    return report
