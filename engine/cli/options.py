"""The options that commands share, and how they become a request."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.terminal import Terminal
from engine.errors import Invalid, LabctlError, Problem

if TYPE_CHECKING:
    from engine.lab import Lab
    from engine.ledger import Ledger
    from engine.saved import Request
    from engine.session import Site

Command = Callable[..., Any]

SEVERAL = "(may be given several times)"
"""What the help says of options that add up."""


@dataclass(frozen=True)
class Asked:
    """What the shared options of a command say."""

    playbook: str | None
    inventory: str | None
    variables: Mapping[str, str]
    student: str | None


def lab_options(command: Command, *, what: str = "[PLAYBOOK]", more: str = "Say more.") -> Command:
    """PLAYBOOK, -i, -e, --student and what all commands have; the command gets `asked` and `terminal`.

    `what` stands for the argument in the help, `more` says what -v does.
    """

    @click.argument("playbooks", nargs=-1, metavar=what)
    @click.option(
        "-i", "--inventory", metavar="FILE", help="Where and for whom; a file or a name in inventory/."
    )
    @variable_option
    @click.option("--student", metavar="NAME", help="Only this student's lab of the roster.")
    @partial(common_options, more=more)
    @wraps(command)
    def wrapped(
        *args: Any,
        playbooks: tuple[str, ...],
        inventory: str | None,
        variables: tuple[str, ...],
        student: str | None,
        **kwargs: Any,
    ) -> Any:
        asked = Asked(_one(playbooks), inventory, variables_of(variables), student)
        return command(*args, asked=asked, **kwargs)

    return wrapped


def lab_by_option(command: Command, *, student: str = "This student's lab of the roster.") -> Command:
    """-p, -i, -e and --student, for commands whose arguments are something else; the command gets `asked`.

    `student` is the help of --student.
    """

    @click.option(
        "-p", "--playbook", metavar="FILE", help="The playbook; without it, the lab last planned here."
    )
    @click.option("-i", "--inventory", metavar="FILE", help="Where and for whom.")
    @variable_option
    @click.option("--student", metavar="NAME", help=student)
    @wraps(command)
    def wrapped(
        *args: Any,
        playbook: str | None,
        inventory: str | None,
        variables: tuple[str, ...],
        student: str | None,
        **kwargs: Any,
    ) -> Any:
        asked = Asked(playbook, inventory, variables_of(variables), student)
        return command(*args, asked=asked, **kwargs)

    return wrapped


def variable_option(command: Command) -> Command:
    """-e; the command gets `variables`."""
    words = f"A variable's value {SEVERAL}."
    decorated: Command = click.option("-e", "variables", multiple=True, metavar="NAME=VALUE", help=words)(
        command
    )
    return decorated


def replace_option(command: Command) -> Command:
    """--replace; the command gets `anew`."""
    words = f"Make this anew {SEVERAL}."
    decorated: Command = click.option("--replace", "anew", multiple=True, metavar="ADDRESS", help=words)(
        command
    )
    return decorated


def common_options(command: Command, *, more: str = "Say more.") -> Command:
    """-v, of which `more` says what it does, and --no-color; the command gets `terminal`."""

    @click.option("-v", "--verbose", is_flag=True, help=more)
    @click.option("--no-color", is_flag=True, help="No colours (as with NO_COLOR set).")
    @click.pass_context
    @wraps(command)
    def wrapped(context: click.Context, /, *args: Any, verbose: bool, no_color: bool, **kwargs: Any) -> Any:
        terminal: Terminal = context.obj
        terminal.verbose, terminal.no_color = verbose, no_color
        return command(*args, terminal=terminal, **kwargs)

    return wrapped


def part_options(command: Command) -> Command:
    """--only, --skip and --parallel, for commands that change things."""
    for decorate in (
        click.option(
            "--only",
            multiple=True,
            metavar="ADDRESS",
            help=f"Only this and what must come with it {SEVERAL}.",
        ),
        click.option("--skip", multiple=True, metavar="ADDRESS", help=f"Leave this as it is {SEVERAL}."),
        click.option(
            "--parallel", type=click.IntRange(1, 256), default=16, help="Steps at a time (default 16)."
        ),
    ):
        command = decorate(command)
    return command


def _one(playbooks: tuple[str, ...]) -> str | None:
    if len(playbooks) > 1:
        raise click.UsageError(
            f"One playbook at a time, not {len(playbooks)}: {', '.join(playbooks)}."
            " Each playbook is a lab of its own."
        )
    return playbooks[0] if playbooks else None


def variables_of(given: tuple[str, ...]) -> dict[str, str]:
    """What `-e NAME=VALUE` options say. Raises click.UsageError for one of another form."""
    found = {}
    for item in given:
        name, equals, value = item.partition("=")
        if not equals or not name.strip():
            raise click.UsageError(f"-e takes NAME=VALUE, not {item!r}.")
        found[name.strip()] = value
    return found


def named_lab(words: tuple[str, ...], asked: Asked) -> tuple[Asked, str | None]:
    """For `output [PLAYBOOK] [NAME]`: which lab, and which output. A word with `.yml` is a playbook."""
    files = tuple(word for word in words if word.endswith((".yml", ".yaml")))
    names = [word for word in words if word not in files]
    if len(names) > 1:
        raise click.UsageError(f"One output at a time, not {', '.join(names)}.")
    playbook = _one((*files, *([asked.playbook] if asked.playbook else [])))
    return replace(asked, playbook=playbook), names[0] if names else None


def resolve(asked: Asked, terminal: Terminal) -> Request:
    """The request that the options make: of the playbook given, else of the lab last planned here.

    Raises Invalid where there is neither.
    """
    from engine.here import Here
    from engine.saved import Request

    here = Here(Path.cwd())
    if asked.playbook is not None:
        return Request(
            playbook=here.playbook(asked.playbook),
            inventory=here.inventory(asked.inventory, os.environ),
            variables=asked.variables,
            student=asked.student,
        )
    documents = last_planned()
    request = _again(documents, asked)
    if asked.inventory is not None:
        request = replace(request, inventory=here.inventory(asked.inventory, os.environ))
    terminal.after_greeting(f"This is the lab last planned here: {named(documents, request)}.")
    return request


def offline(asked: Asked, terminal: Terminal) -> list[Lab]:
    """The labs that the options name, with nobody asked. From here on, their secrets are masked."""
    from engine.outside import Offline

    labs = resolve(asked, terminal).labs(Offline())
    terminal.hide(secret for lab in labs for secret in lab.secrets)
    return labs


def _again(documents: list[Mapping[str, Any]], asked: Asked) -> Request:
    from engine.saved import request_of

    if not documents:
        words = "No playbook is given, and none was planned here yet."
        raise Invalid([Problem(None, words, which_playbook())])
    kept = request_of(documents[0], asked.variables)
    student = asked.student or (kept.student if len(documents) == 1 else None)
    kept = from_here(kept)
    return replace(kept, student=student, only=(), skip=(), replace=(), destroy=False, newer_images=False)


def from_here(request: Request) -> Request:
    """The request with its files named as they are said from here, for messages."""
    playbook = Path(shown(request.playbook)) if request.playbook else None
    return replace(request, playbook=playbook, inventory=Path(shown(request.inventory)))


def which_playbook() -> str:
    """What to say where no playbook was named: one that is here, or how to get one."""
    from engine.here import Here
    from engine.starting import names

    there = [str(path) for path in Here(Path.cwd()).playbooks()]
    if there:
        return "\n".join(["Name one:", *(f"  labctl plan {path}" for path in there[:5])])
    ships = names()[0]
    return (
        f"Name one: labctl plan FILE.yml\nOr start from one that ships: labctl init {ships},"
        f" then labctl plan playbooks/{ships}.yml"
    )


def greet(terminal: Terminal, labs: Sequence[Lab]) -> None:
    """The first line: which labs, and where this acts. From here on, their secrets are masked.

    Raises Invalid for an empty roster.
    """
    from engine.target import place

    terminal.hide(secret for lab in labs for secret in lab.secrets)
    if not labs:
        raise Invalid([Problem(None, "The roster has no students.", "Write a line for each in its CSV.")])
    names = labs[0].name
    if len(labs) > 1:
        names = f"{names.partition('/')[0]}, {len(labs)} labs"
    kinds = {declared.kind for lab in labs for declared in lab.resources.values()}
    terminal.greet(f"{names} · {place(labs[0].target, kinds)}")


def tell_errors(terminal: Terminal, sites: Sequence[Site], found: Sequence[object]) -> int:
    """Say of which labs there is an error in place of what was to be found, and which; the exit code."""
    failed = [
        (site.lab, item) for site, item in zip(sites, found, strict=True) if isinstance(item, LabctlError)
    ]
    for lab, error in failed:
        terminal.say(f"\n{lab.name}")
        terminal.error(error)
    return 1 if failed else 0


def heading(terminal: Terminal, lab: Lab, labs: Sequence[Lab]) -> None:
    """Above what is told of one lab of several: its name."""
    if len(labs) > 1:
        first = "" if lab is labs[0] else "\n"
        terminal.out(first + terminal.paint(lab.name, "bold"))


def named(documents: list[Mapping[str, Any]], request: Request) -> str:
    """The labs of saved plans in a few words, with the playbook they come from."""
    labs = [str(document["lab"]) for document in documents]
    some = ", ".join(labs[:3]) + (f" and {len(labs) - 3} more" if len(labs) > 3 else "")
    values = "".join(f", -e {name}={value}" for name, value in request.variables.items())
    return f"{some} ({shown(request.playbook)}{values})"


def shown(path: Path | None) -> str:
    """A path as short as it can be said from here."""
    if path is None:
        return ""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def last_planned() -> list[Mapping[str, Any]]:
    """The saved plans of the labs last planned in this directory; several for a roster."""
    from engine.here import Here

    memory = Here(Path.cwd()).read()
    place = memory.get("ledger")
    if place is None or not Path(place).is_file():
        return []
    ledger = _ledger(place)
    found = [ledger.last_plan(lab) for lab in memory.get("labs", [])]
    return [document for document in found if document is not None]


def _ledger(place: str) -> Ledger:
    from engine.session import open_ledger

    return open_ledger(place)
