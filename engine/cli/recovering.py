"""recover: a ledger that was lost, written anew from the tags on what is there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from engine.cli.options import Asked, greet, heading, lab_options, resolve
from engine.cli.terminal import Terminal

if TYPE_CHECKING:
    from engine.change import Report, StepEvent
    from engine.recovering import Recovery


@click.command()
@partial(lab_options, more="What is not there, too.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="What was found as a JSON document; needs --yes.")
def recover(terminal: Terminal, asked: Asked, *, yes: bool, as_json: bool) -> int:
    """Find again what a lost ledger forgot, by the tags on it, and write it down.

    Nothing in the cloud or on hosts is changed. What is on hosts is found by its name there; what nothing
    tells to be labctl's is taken on as found, and destroy leaves it there.
    """
    from engine.commands import Run, open_labs, typed
    from engine.recovering import recover_labs
    from engine.session import Session

    if as_json and not yes:
        raise click.UsageError("--json asks nobody: say --yes, too.")
    request = resolve(asked, terminal)
    with Session(terminal.after_greeting, terminal.passphrase) as session:
        sites = open_labs(session, request)
        greet(terminal, [site.lab for site in sites])

        def approve(recoveries: Sequence[Recovery]) -> bool:
            return _approved(terminal, recoveries, yes=yes, as_json=as_json)

        reports = recover_labs(sites, Run("recover"), approve=approve, tell=_nothing)
    if reports is None:
        terminal.say("Nothing was written.")
        return 1
    if as_json:
        return 0 if all(report.ok for report in reports.values()) else 1
    return _conclude(terminal, reports, [typed("plan", site.lab, request) for site in sites])


def _nothing(event: StepEvent) -> None:
    return None


def _approved(terminal: Terminal, recoveries: Sequence[Recovery], *, yes: bool, as_json: bool) -> bool:
    from engine.render.recovery import recovery_data, recovery_text

    labs = [item.site.lab for item in recoveries]
    if as_json:
        documents = [recovery_data(item) for item in recoveries]
        terminal.json(documents[0] if len(documents) == 1 else {"labs": documents})
        return True
    for item in recoveries:
        heading(terminal, item.site.lab, labs)
        terminal.out(recovery_text(item, paint=terminal.paint, verbose=terminal.verbose))
    if yes or all(item.empty for item in recoveries):
        return True
    where = "its ledger" if len(labs) == 1 else "their ledger"
    return terminal.ask(f"\nWrite this into {where}? Type yes to go ahead:", "yes")


def _conclude(terminal: Terminal, reports: dict[str, Report], following: Sequence[str]) -> int:
    failed = [lab for lab, report in reports.items() if not report.ok]
    for lab in failed:
        terminal.say(f"{lab}: not everything could be written; labctl history {lab} tells what.")
    if not failed and any(report.results for report in reports.values()):
        terminal.say(
            "\nWhat cannot be read (user data, secrets) is taken to be as the playbook says."
            f"\n{following[0] if len(following) == 1 else 'labctl plan'} tells what differs otherwise."
        )
    return 1 if failed else 0
