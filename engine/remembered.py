"""Labs from memory alone, for destroying what a playbook made that is gone or no longer loads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.errors import LabctlError
from engine.lab import Lab, Target
from engine.language.builtins import slug_of
from engine.ledger import Ledger
from engine.saved import Request


def lab_remembered(document: Mapping[str, Any]) -> Lab:
    """The lab of a saved plan, without resources: what it made is in its ledger, how to get there here.

    It acts where its inventory says now; where that is gone or says nothing sound, where it acted last.
    """
    name = str(document["lab"])
    inventory = Path(document["request"]["inventory"])
    return Lab(
        name=name,
        slug=slug_of(name),
        target=_target(inventory, document.get("target") or {}),
        resources={},
        tags={"labctl:lab": name},
        inventory=inventory,
        student=document["request"]["student"],
        used_hosts={called: (lab, host) for called, (lab, host) in document.get("used_hosts", {}).items()},
        ledger=str(document["ledger"]),
    )


def _target(inventory: Path, saved: Mapping[str, Any]) -> Target:
    from engine.language.inventory import read_inventory
    from engine.language.problems import Problems

    problems = Problems()
    try:
        given = read_inventory(inventory, problems)
        problems.check()
    except LabctlError:
        if not saved:
            raise
        return Target(**saved)
    return given.target


def made_from(ledger: Ledger, request: Request) -> list[Mapping[str, Any]]:
    """The saved plans of the labs that the request's playbook and inventory made, as far as any are there."""
    return [document for document in _plans(ledger) if _is_of(document, request)]


def called(ledger: Ledger, name: str) -> list[Mapping[str, Any]]:
    """The saved plans of the lab `name`, or of every student's lab where it names a whole roster."""
    plans = _plans(ledger)
    return [plan for plan in plans if plan["lab"] == name or plan["lab"].startswith(f"{name}/")]


def _plans(ledger: Ledger) -> Iterator[Mapping[str, Any]]:
    for lab in ledger.labs():
        document = ledger.last_plan(lab)
        if document is not None:
            yield document


def _is_of(document: Mapping[str, Any], request: Request) -> bool:
    asked = document["request"]
    playbook, inventory = asked["playbook"], asked["inventory"]
    if request.playbook is None or playbook is None or inventory is None:
        return False
    same = Path(playbook) == request.playbook.resolve() and Path(inventory) == request.inventory.resolve()
    return same and request.student in (None, asked["student"])
