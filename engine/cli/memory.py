"""Labs that are named, or found, in the ledger alone: their playbook is gone or no longer loads."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli.options import Asked, shown
from engine.cli.terminal import Terminal, source_line
from engine.errors import Invalid, LabctlError, Problem
from engine.render.problems import problems_text

if TYPE_CHECKING:
    from engine.lab import Lab
    from engine.ledger import Ledger
    from engine.saved import Request


def names_a_lab(asked: Asked) -> bool:
    """Whether what stands where a PLAYBOOK may stand is a lab's name, as `hw02@sandbox`."""
    given = asked.playbook
    return given is not None and "@" in given and not Path(given).is_file()


def labs_named(asked: Asked) -> list[Lab]:
    """The labs of the name given, from the ledgers known here. Raises Invalid where there are none."""
    from engine.remembered import called, lab_remembered

    name = f"{asked.playbook}/{asked.student}" if asked.student else str(asked.playbook)
    ledgers = _ledgers(asked)
    found = [document for ledger in ledgers for document in called(ledger, name)]
    if not found:
        there = ", ".join(lab for ledger in ledgers for lab in ledger.labs() if called(ledger, lab))
        remedy = f"It has: {there}." if there else "Nothing was made from this folder yet."
        raise Invalid([Problem(None, f"The ledger has no lab {name}.", remedy)])
    return [lab_remembered(document) for document in found]


def request_without_playbook(asked: Asked, labs: Sequence[Lab]) -> Request:
    """What a command line asks for that names labs of the ledger."""
    from engine.saved import Request

    return Request(playbook=None, inventory=labs[0].inventory or Path(), student=asked.student)


def labs_in_spite_of(error: Invalid, request: Request, asked: Asked, terminal: Terminal) -> list[Lab]:
    """The labs that the request's playbook made, and a word on why it is not used; `error` without any."""
    from engine.remembered import lab_remembered, made_from

    found = _some_made_from(request, asked, made_from)
    if not found:
        raise error
    paint = terminal.message_paint
    terminal.after_greeting(problems_text(error.problems, source_line, paint=paint, closing=False))
    terminal.after_greeting("\nAs the playbook cannot be used, this is from the ledger alone.\n")
    return [lab_remembered(document) for document in found]


def _some_made_from(request: Request, asked: Asked, made_from: Any) -> list[Mapping[str, Any]]:
    try:
        return [document for ledger in _ledgers(asked) for document in made_from(ledger, request)]
    except LabctlError:
        # The ledger's own trouble must not hide what is wrong with the playbook.
        return []


def missing_playbook(asked: Asked) -> Request | None:
    """The request of a command line whose playbook is gone; None where it is there, or none was named."""
    from engine.here import Here
    from engine.saved import Request

    if asked.playbook is None or Path(asked.playbook).exists():
        return None
    path = Path(asked.playbook)
    if path.suffix not in (".yml", ".yaml"):
        return None
    inventory = Here(Path.cwd()).inventory(asked.inventory, os.environ)
    return Request(playbook=path, inventory=inventory, variables=asked.variables, student=asked.student)


def _ledgers(asked: Asked) -> list[Ledger]:
    """Every ledger that is known here: the one last used, that of the inventory, and the usual place."""
    from engine.here import Here
    from engine.session import open_ledger

    here = Here(Path.cwd())
    places = [here.read().get("ledger"), _ledger_of(here.folder, asked), ".labctl/labctl.db"]
    paths = dict.fromkeys(Path(place).resolve() for place in places if place)
    return [open_ledger(str(path)) for path in paths if path.is_file()]


def _ledger_of(folder: Path, asked: Asked) -> str | None:
    from engine.here import Here
    from engine.language.inventory import read_inventory
    from engine.language.problems import Problems

    try:
        return read_inventory(Here(folder).inventory(asked.inventory, os.environ), Problems()).ledger
    except LabctlError:
        return None


def gone(request: Request) -> Invalid:
    """The problem of a playbook that is not there."""
    return Invalid([Problem(None, f"There is no playbook {shown(request.playbook)}.")])
