"""validate, show, output, history, check, graph and ssh: commands that change nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from engine.cli.options import (
    Asked,
    common_options,
    greet,
    heading,
    lab_by_option,
    lab_options,
    offline,
    resolve,
    tell_errors,
)
from engine.cli.terminal import Terminal
from engine.errors import Invalid, LabctlError, Problem

if TYPE_CHECKING:
    from engine.lab import Lab
    from engine.saved import Request
    from engine.session import Session, Site

_JSON = click.option("--json", "as_json", is_flag=True, help="A JSON document instead of text.")


def _remembered(asked: Asked, terminal: Terminal) -> list[Lab]:
    """The labs that are named, for commands that need no more than the ledger."""
    from engine.cli import memory

    return memory.labs_named(asked) if memory.names_a_lab(asked) else offline(asked, terminal)


@click.command()
@lab_options
@_JSON
def validate(terminal: Terminal, asked: Asked, *, as_json: bool) -> int:
    """Check everything about a playbook and its inventory that can be known without the target."""
    from engine.render.paint import counted

    try:
        labs = offline(asked, terminal)
    except Invalid as error:
        if not as_json:
            raise
        terminal.json({"valid": False, "problems": [_problem(problem) for problem in error.problems]})
        return error.exit_code
    if as_json:
        terminal.json({"valid": True, "labs": [lab.name for lab in labs], "problems": []})
        return 0
    for lab in labs:
        parts = [counted(len(lab.resources), "resource"), counted(len(lab.outputs), "output")]
        parts.append(counted(len(lab.checks), "check"))
        terminal.out(f"{lab.name} is valid: {', '.join(parts)}.")
    return 0


def _problem(problem: Problem) -> Mapping[str, Any]:
    where = problem.where
    return {
        "file": where.file if where else None,
        "line": where.line if where else None,
        "column": where.column if where else None,
        "what": problem.what,
        "remedy": problem.remedy or None,
    }


@click.command()
@partial(lab_options, what="[PLAYBOOK | LAB]", more="What was last read of each, too.")
@_JSON
def show(terminal: Terminal, asked: Asked, *, as_json: bool) -> int:
    """Print what the ledger remembers having made (-v: with what was last read of each).

    With --json {"lab", "resources"}; for a roster {"labs": [one such document for each student]}.
    """
    from engine.render.tables import Ties, show_data, show_text
    from engine.session import open_ledger

    labs = _remembered(asked, terminal)
    documents = []
    greet(terminal, labs)
    for lab in labs:
        ledger = open_ledger(lab.ledger)
        entries = ledger.entries(lab.name)
        ties = Ties(ledger.uses(lab.name), ledger.users(lab.name))
        if as_json:
            documents.append(show_data(lab.name, entries, ties))
            continue
        heading(terminal, lab, labs)
        terminal.out(show_text(lab.name, entries, ties, paint=terminal.paint, verbose=terminal.verbose))
    if as_json:
        terminal.json(documents[0] if len(documents) == 1 else {"labs": documents})
    return 0


@click.command()
@partial(lab_options, what="[PLAYBOOK | LAB]")
@_JSON
@click.option("--run", metavar="RUN", help="Only the lines of one run.")
def history(terminal: Terminal, asked: Asked, *, as_json: bool, run: str | None) -> int:
    """Print what was done to the lab, when, and how it ended.

    With --json a list of events; for a roster an object with such a list for each lab's name.
    """
    from engine.render.tables import history_data, history_text
    from engine.session import open_ledger

    labs = _remembered(asked, terminal)
    documents = {}
    greet(terminal, labs)
    for lab in labs:
        events = [e for e in open_ledger(lab.ledger).history(lab.name) if run in (None, e.run)]
        if as_json:
            documents[lab.name] = history_data(events)
            continue
        heading(terminal, lab, labs)
        terminal.out(history_text(events, paint=terminal.paint))
    if as_json:
        terminal.json(next(iter(documents.values())) if len(documents) == 1 else documents)
    return 0


@click.command()
@click.argument("words", nargs=-1, metavar="[NAME]")
@partial(lab_by_option, student="Only this student's lab of the roster.")
@click.option("--show-sensitive", is_flag=True, help="Do not mask sensitive outputs.")
@_JSON
@common_options
def output(
    terminal: Terminal, words: tuple[str, ...], *, asked: Asked, show_sensitive: bool, as_json: bool
) -> int:
    """Print the lab's outputs, or the one called NAME as it is.

    A sensitive output is told only by name, with --json or with --show-sensitive. NAME may also be a
    playbook's file, as with other commands. With --json an object of names and values, or the value called
    NAME; for a roster an object that holds the same for each lab's name. A lab of a roster that cannot be
    read is left out and told of; the exit code is then 1.
    """
    from engine.cli.options import named_lab
    from engine.commands import open_labs, outputs_of, side_by_side
    from engine.session import Session

    asked, name = named_lab(words, asked)
    request = resolve(asked, terminal)
    with Session(terminal.after_greeting, terminal.passphrase) as session:
        sites = open_labs(session, request)
        for site in sites:
            _has_output(site.lab, name)
        told = side_by_side(sites, lambda site: outputs_of(site, request, name))
    found: dict[str, Mapping[str, Any]] = {}
    for site, answer in zip(sites, told, strict=True):
        if not isinstance(answer, LabctlError):
            found[site.lab.name] = answer
    if as_json:
        chosen = {lab: values if name is None else values[name] for lab, values in found.items()}
        terminal.json(next(iter(chosen.values())) if len(sites) == 1 else chosen, secret=True)
    elif name is not None:
        for lab, values in found.items():
            _value(terminal, values[name], lab if len(sites) > 1 else "")
    else:
        _table(terminal, sites, found, show_sensitive)
    return tell_errors(terminal, sites, told)


def _has_output(lab: Lab, name: str | None) -> None:
    if name is not None and name not in lab.outputs:
        there = ", ".join(lab.outputs) or "none"
        raise Invalid([Problem(None, f"{lab.name} has no output {name}.", f"There are: {there}.")])


def _value(terminal: Terminal, value: Any, lab: str) -> None:
    from engine.refs import holds_unknown
    from engine.render.values import compact, to_json

    if holds_unknown(value) and not lab:
        raise LabctlError("This output is not known yet.", "Say labctl apply first.")
    text = value if isinstance(value, str) else compact(value) if lab else to_json(value)
    terminal.out(f"{lab}  {text}" if lab else text, secret=True)


def _table(
    terminal: Terminal, sites: list[Site], found: Mapping[str, Mapping[str, Any]], show_sensitive: bool
) -> None:
    from engine.render.report import outputs_text

    labs = [site.lab for site in sites]
    greet(terminal, labs)
    for lab in labs:
        if lab.name not in found:
            continue
        heading(terminal, lab, labs)
        masked = frozenset() if show_sensitive else lab.sensitive_outputs
        text = outputs_text(found[lab.name], masked, paint=terminal.paint)
        terminal.out(text or "The playbook has no outputs.", secret=show_sensitive)


@click.command()
@lab_options
@_JSON
def check(terminal: Terminal, asked: Asked, *, as_json: bool) -> int:
    """Carry out the playbook's checks; exits with 1 if one does not pass.

    With --json a list of {"name", "passed", "detail"}; for a roster an object with such a list for each lab.
    """
    from engine.commands import check_site, open_labs, side_by_side
    from engine.render.tables import checks_text
    from engine.session import Session

    request = resolve(asked, terminal)
    passed, documents = True, {}
    with Session(terminal.after_greeting, terminal.passphrase) as session:
        sites = open_labs(session, request)
        labs = [site.lab for site in sites]
        greet(terminal, labs)
        found = side_by_side(sites, lambda site: check_site(site, request))
    for site, results in zip(sites, found, strict=True):
        if not as_json:
            heading(terminal, site.lab, labs)
        if isinstance(results, LabctlError):
            passed = False
            terminal.error(results)
            continue
        rows = [{"name": item.name, "passed": item.passed, "detail": item.detail} for item in results]
        passed = passed and all(item.passed for item in results)
        documents[site.lab.name] = rows
        if not as_json:
            terminal.out(checks_text(rows, paint=terminal.paint, width=terminal.width))
    if as_json:
        terminal.json(next(iter(documents.values())) if len(sites) == 1 and documents else documents)
    return 0 if passed else 1


@click.command()
@lab_options
@click.option("--destroy", is_flag=True, help="Of destroying the lab.")
def graph(terminal: Terminal, asked: Asked, *, destroy: bool) -> int:
    """Print the plan's steps as a graph in Graphviz's language.

    \b
    labctl graph | dot -Tsvg > plan.svg
    """
    from engine.commands import open_labs, plan_site
    from engine.render.graph import graph_text
    from engine.schedule import schedule
    from engine.session import Session

    request = replace(resolve(asked, terminal), destroy=destroy)
    with Session(terminal.after_greeting, terminal.passphrase) as session:
        sites = open_labs(session, request)
        greet(terminal, [site.lab for site in sites])
        for site in sites:
            steps = schedule(plan_site(site, request).plan)
            if not steps:
                terminal.say("There is nothing to do, so the graph is empty.")
            terminal.out(graph_text(site.lab.name, list(steps.nodes), list(steps.edges)))
    return 0


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("host", required=False)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@lab_by_option
@click.option("--config", is_flag=True, help="Only write the ssh_config and print its path.")
@common_options
def ssh(terminal: Terminal, host: str | None, command: tuple[str, ...], *, asked: Asked, config: bool) -> int:
    """Log in to a HOST of the lab, through a bastion if that is the way, or run COMMAND there."""
    from engine.cli.options import shown
    from engine.session import Session

    request = resolve(asked, terminal)
    with Session(terminal.after_greeting, terminal.passphrase) as session:
        site, hosts = site_of(session, request)
        if config:
            from engine.target import lab_folder

            terminal.out(shown(lab_folder(site.lab) / "ssh_config"))
            return 0
        check_host(host, hosts, site.lab.name)
        from engine.hosts.interactive import ssh as log_in

        # As with ssh itself, `--` may stand before the command.
        words = list(command[1:] if command[:1] == ("--",) else command)
        return log_in(site.world.hosts, str(host), words)


def site_of(session: Session, request: Request) -> tuple[Site, list[str]]:
    """The only lab of a request, opened, and its hosts. Raises Invalid for a whole roster."""
    from engine.commands import hosts_of, open_labs

    sites = open_labs(session, request)
    if len(sites) != 1:
        raise Invalid([Problem(None, "This roster has several labs.", "Name one with --student.")])
    return sites[0], hosts_of(sites[0])


def check_host(host: str | None, hosts: list[str], lab: str, command: str = "ssh") -> None:
    """Raises Invalid, with the hosts there are, where `host` is none of them."""
    there = (
        f"Its hosts: {', '.join(hosts)}." if hosts else "Nothing of it is there yet: say labctl apply first."
    )
    if host is None:
        raise Invalid([Problem(None, f"{command} needs the name of a host.", there)])
    if host not in hosts:
        raise Invalid([Problem(None, f"{lab} has no host {host} to log in to.", there)])
