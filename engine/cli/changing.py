"""plan, apply and destroy."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.options import (
    Asked,
    from_here,
    greet,
    lab_options,
    last_planned,
    named,
    part_options,
    replace_option,
    resolve,
    shown,
    tell_errors,
    which_playbook,
)
from engine.cli.terminal import Terminal
from engine.errors import Invalid, LabctlError, Problem

if TYPE_CHECKING:
    from engine.cli.progress import Progress
    from engine.commands import Applied, Planned
    from engine.lab import Lab
    from engine.saved import Request
    from engine.session import Session, Site

    Find = Callable[[Session], list[Site]]

CHANGES_PENDING = 2


_SHOW_MORE = "Values uncut, and what is as wanted, too."


@click.command()
@partial(lab_options, more=_SHOW_MORE)
@part_options
@replace_option
@click.option("--destroy", is_flag=True, help="The plan of destroying the lab.")
@click.option("--refresh-only", is_flag=True, help="Only what was changed outside labctl.")
@click.option(
    "--newer-images", is_flag=True, help="Look up image names again instead of keeping the pinned ids."
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Keep the plan in a file.")
@click.option("--json", "as_json", is_flag=True, help="The plan as a JSON document.")
@click.option("--as-commands", is_flag=True, help="The shell commands that do the same by hand.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 if changes are pending.")
def plan(
    terminal: Terminal,
    asked: Asked,
    *,
    out: Path | None,
    as_json: bool,
    as_commands: bool,
    refresh_only: bool,
    detailed_exitcode: bool,
    parallel: int,
    **part: Any,
) -> int:
    """Read the world and print what it takes to bring it to what the playbook says."""
    from engine.commands import keep, open_labs, plan_change, side_by_side
    from engine.session import Session

    request = _with_part(resolve(asked, terminal), **part)
    with Session(terminal.after_greeting, terminal.passphrase) as session:
        sites = open_labs(session, request)
        greet(terminal, [site.lab for site in sites])
        found = side_by_side(sites, lambda site: plan_change(site, request))
        planned = [item for item in found if not isinstance(item, LabctlError)]
        if not refresh_only and planned:
            _keep_out(out, keep(planned, request))
            _remember(planned, request)
        how = "json" if as_json else "commands" if as_commands else "drift" if refresh_only else "text"
        _print_plans(terminal, planned, how, destroy=request.destroy)
        failed = tell_errors(terminal, sites, found)
    if failed:
        return failed
    if out is not None:
        terminal.say(f"Kept in {out}. To apply exactly this: labctl apply {out}")
    elif _worth_applying(planned) and not (as_json or as_commands or refresh_only):
        terminal.say("To apply exactly this: labctl apply")
    return CHANGES_PENDING if detailed_exitcode and any(item.plan.pending for item in planned) else 0


def _worth_applying(planned: Sequence[Planned]) -> bool:
    return any(not item.plan.idle for item in planned)


def _with_part(request: Request, **part: Any) -> Request:
    return replace(
        request,
        only=tuple(part.get("only", ())),
        skip=tuple(part.get("skip", ())),
        replace=tuple(part.get("anew", ())),
        destroy=bool(part.get("destroy", False)),
        newer_images=bool(part.get("newer_images", False)),
    )


def _keep_out(out: Path | None, documents: Sequence[Mapping[str, Any]]) -> None:
    from engine.saved import write_plan

    if out is None:
        return
    if len(documents) > 1:
        words = "--out keeps the plan of one lab, and this roster has several."
        raise Invalid([Problem(None, words, "Name one with --student.")])
    write_plan(out, documents[0])


def _remember(planned: Sequence[Planned], request: Request) -> None:
    from engine.here import Here

    Here(Path.cwd()).remember(
        ledger=planned[0].site.lab.ledger,
        labs=[item.plan.lab for item in planned],
    )


def _print_plans(terminal: Terminal, planned: Sequence[Planned], how: str = "text", *, destroy: bool) -> None:
    """As `json`, `commands`, `drift` or `text`."""
    from engine.render.plan import drift_text, plan_data, plan_text

    if how == "json":
        documents = [plan_data(item.plan) for item in planned]
        terminal.json(documents[0] if len(documents) == 1 else {"format": 1, "labs": documents})
        return
    for item in planned:
        if len(planned) > 1:
            terminal.out(terminal.paint(f"\n{item.plan.lab}", "bold"))
        if how == "commands":
            terminal.out(_by_hand(item))
        elif how == "drift":
            terminal.out(drift_text(item.plan, paint=terminal.paint))
        else:
            text = plan_text(
                item.plan,
                paint=terminal.paint,
                verbose=terminal.verbose,
                width=terminal.width,
                destroy=destroy,
            )
            terminal.out(text)


def _print_summaries(terminal: Terminal, planned: Sequence[Planned]) -> None:
    """No more than what it adds up to, where the whole plan was seen before."""
    from engine.render.plan import summary_line

    for item in planned:
        lab = f"{item.plan.lab}  " if len(planned) > 1 else ""
        terminal.out(lab + terminal.paint(summary_line(item.plan), "bold"))


def _by_hand(item: Planned) -> str:
    from engine.commands import steps_by_hand
    from engine.render.by_hand import commands_text
    from engine.target import lab_folder

    config = Path(shown(lab_folder(item.site.lab) / "ssh_config"))
    return commands_text(steps_by_hand(item, config), config)


def _applying(command: Any) -> Any:
    command = click.option("--yes", is_flag=True, help="Do not ask.")(command)
    return click.option(
        "--json", "as_json", is_flag=True, help="A JSON object a line; the last is the report."
    )(command)


@click.command()
@partial(lab_options, what="[PLAYBOOK | PLANFILE]", more=_SHOW_MORE)
@part_options
@replace_option
@click.option(
    "--newer-images", is_flag=True, help="Look up image names again instead of keeping the pinned ids."
)
@_applying
def apply(terminal: Terminal, asked: Asked, *, parallel: int, yes: bool, as_json: bool, **part: Any) -> int:
    """Bring the world to what the playbook says.

    With a playbook, plans, asks and applies. With a plan kept by plan --out, or with nothing: exactly
    that plan, or exactly the plan last printed here, unless the playbook or the world has changed since.
    """
    given = bool(part["only"] or part["skip"] or part["anew"] or part["newer_images"])
    documents = _documents(asked, given)
    if documents is None:
        request = _with_part(resolve(asked, terminal), **part)
        return _carry_out(terminal, request, parallel=parallel, yes=yes, as_json=as_json)
    request = _request_of(documents, asked, given)
    if asked.playbook is None:
        terminal.after_greeting(f"This is the plan last printed here: {named(documents, request)}.")
    expected = {str(document["lab"]): document for document in documents}
    return _carry_out(terminal, request, parallel=parallel, yes=yes, as_json=as_json, expected=expected)


def _documents(asked: Asked, given: bool) -> list[Mapping[str, Any]] | None:
    """The saved plans to apply; None where a playbook is to be planned."""
    from engine.saved import looks_like_plan, read_plan

    if asked.playbook is not None:
        path = Path(asked.playbook)
        return [read_plan(path)] if looks_like_plan(path) else None
    documents = last_planned()
    if asked.student is not None:
        documents = [item for item in documents if item["request"]["student"] == asked.student]
    if not documents:
        raise Invalid([Problem(None, "No plan was printed here yet.", which_playbook())])
    spent = next((item for item in documents if item.get("applied")), None)
    if spent is not None:
        playbook = shown(Path(spent["request"]["playbook"]))
        raise LabctlError(
            f"The plan last printed here has been applied already ({spent['applied']}).",
            f"labctl plan makes a new one; labctl apply {playbook} plans and applies in one go.",
        )
    return documents


def _request_of(documents: Sequence[Mapping[str, Any]], asked: Asked, given: bool) -> Request:
    from engine.saved import request_of

    request = from_here(request_of(documents[0], asked.variables))
    if given or asked.inventory is not None:
        words = (
            "A saved plan is applied as it is: -i, --only, --skip, --replace, --newer-images belong to plan."
        )
        raise Invalid([Problem(None, words, "Plan again with them, or name the playbook.")])
    return request.of(None) if len(documents) > 1 else request


@click.command()
@partial(lab_options, what="[PLAYBOOK | LAB]", more=_SHOW_MORE)
@part_options
@_applying
def destroy(terminal: Terminal, asked: Asked, *, parallel: int, yes: bool, as_json: bool, **part: Any) -> int:
    """Delete everything the lab made, and prove that nothing is left.

    LAB is the lab's name, as hw02@sandbox: with it the playbook is not needed, and the ledger alone says
    what is deleted. So it does where the playbook is gone or has problems.
    """
    from engine.cli import memory

    if memory.names_a_lab(asked):
        labs = memory.labs_named(asked)
        request = memory.request_without_playbook(asked, labs)
        find: Find = partial(_opened, labs)
    else:
        request = memory.missing_playbook(asked) or resolve(asked, terminal)
        find = partial(_found, request, asked, terminal)
    request = replace(_with_part(request, **part), destroy=True)
    return _carry_out(terminal, request, parallel=parallel, yes=yes, as_json=as_json, find=find)


def _opened(labs: Sequence[Lab], session: Session) -> list[Site]:
    return [session.open(lab) for lab in labs]


def _found(request: Request, asked: Asked, terminal: Terminal, session: Session) -> list[Site]:
    """The labs to destroy: as the playbook has them, else as the ledger remembers them."""
    from engine.cli import memory
    from engine.commands import open_labs

    try:
        if request.playbook is not None and not request.playbook.exists():
            raise memory.gone(request)
        return open_labs(session, request)
    except Invalid as error:
        return _opened(memory.labs_in_spite_of(error, request, asked, terminal), session)


def _carry_out(
    terminal: Terminal,
    request: Request,
    *,
    parallel: int,
    yes: bool,
    as_json: bool,
    expected: Mapping[str, Mapping[str, Any]] | None = None,
    find: Find | None = None,
) -> int:
    from engine.cli.progress import progress
    from engine.commands import Run, open_labs
    from engine.commands import apply as apply_labs
    from engine.session import Session

    stop = threading.Event()
    word = "destroy" if request.destroy else "apply"
    with Session(terminal.after_greeting, terminal.passphrase) as session, ExitStack() as shown_progress:
        sites = find(session) if find else open_labs(session, request)
        if expected is not None:
            sites = [site for site in sites if site.lab.name in expected]
        greet(terminal, [site.lab for site in sites])
        _log_to(sites[0])
        hears: list[Progress] = []

        def approve(planned: Sequence[Planned]) -> bool:
            if expected is not None and yes and not as_json:
                _print_summaries(terminal, planned)
            elif not as_json:
                _print_plans(terminal, planned, destroy=request.destroy)
            if not _approved(terminal, planned, request, yes):
                return False
            _remember(planned, request)
            # Live progress starts only now: a question and a redrawn line do not go together.
            how = progress(terminal, json=as_json, several=len(sites) > 1, stop=stop)
            hears.append(shown_progress.enter_context(how))
            return True

        results = apply_labs(
            sites,
            request,
            Run(word, parallel, stop),
            approve=approve,
            tell=lambda lab, event: hears[0].tell(lab, event),
            expected=expected,
        )
        shown_progress.close()
        if results is None:
            terminal.say("Nothing was changed.")
            return 1
        return _conclude(terminal, results, request, as_json)


def _approved(terminal: Terminal, planned: Sequence[Planned], request: Request, yes: bool) -> bool:
    if yes or not any(item.plan.pending for item in planned):
        return True
    labs = [item.plan.lab for item in planned]
    if not request.destroy:
        whom = labs[0] if len(labs) == 1 else f"these {len(labs)} labs"
        return terminal.ask(f"\nApply this to {whom}? Type yes to go ahead:", "yes")
    name = labs[0] if len(labs) == 1 else labs[0].partition("/")[0]
    what = "this" if len(labs) == 1 else f"these {len(labs)} labs"
    return terminal.ask(f"\nDestroy {what}? Type {name} to go ahead:", name)


def _log_to(site: Site) -> None:
    """What the engine logs (details of failures in kinds, say) goes to a file beside the ledger."""
    from engine.target import ledger_folder

    folder = ledger_folder(site.lab.ledger)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handler = logging.FileHandler(folder / "labctl.log", delay=True, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
    log = logging.getLogger("engine")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def _conclude(
    terminal: Terminal, results: Mapping[str, Applied | LabctlError], request: Request, as_json: bool
) -> int:
    from engine.cli.conclusion import conclude, conclude_json

    _spend(results)
    if as_json:
        conclude_json(terminal, results, request)
    else:
        conclude(terminal, results, request)
    reports = [item.report for item in results.values() if not isinstance(item, LabctlError)]
    if any(report.interrupted for report in reports):
        return 130
    clean = len(reports) == len(results) and all(report.ok for report in reports)
    left = any(item.left for item in results.values() if not isinstance(item, LabctlError))
    return 0 if clean and not left else 1


def _spend(results: Mapping[str, Applied | LabctlError]) -> None:
    """The plans are no longer the ones to apply next."""
    from datetime import datetime

    for lab, item in results.items():
        if isinstance(item, LabctlError):
            continue
        ledger = item.planned.site.ledger
        document = ledger.last_plan(lab)
        if document is not None:
            ledger.keep_plan(lab, {**document, "applied": f"{datetime.now():%Y-%m-%d %H:%M}"})
