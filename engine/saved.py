"""Saved plans: what it takes to make the same plan again, and to tell whether it still is the same."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.change import Change, Plan
from engine.errors import Invalid, LabctlError, Problem
from engine.lab import Lab
from engine.masking import Masker
from engine.render.plan import plan_data
from engine.render.values import as_data

if TYPE_CHECKING:
    from engine.language.secrets import Outside

FORMAT = 1


@dataclass(frozen=True)
class Request:
    """What a command line asks for: which lab, with which values, and which part of it."""

    playbook: Path | None
    inventory: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    student: str | None = None
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    replace: tuple[str, ...] = ()
    destroy: bool = False
    newer_images: bool = False

    def of(self, student: str | None) -> Request:
        """The same for one student of the roster."""
        return replace(self, student=student)

    def labs(self, outside: Outside) -> list[Lab]:
        """The labs that it is about: one, or one per student. Raises Invalid with every problem."""
        from engine.load import load

        return load(
            self.playbook,
            self.inventory,
            variables=self.variables,
            student=self.student,
            outside=outside,
        )


def to_save(plan: Plan, lab: Lab, request: Request, key: bytes, together: list[str]) -> dict[str, Any]:
    """The plan as a document for a file or the ledger, without anything secret.

    `key` is the ledger's, for the keyed hashes by which changes are compared; `together` names the labs that
    were planned in one go.
    """
    masker = Masker(lab.secrets)
    withheld = sorted(name for name, value in request.variables.items() if masker.text(value) != value)
    return {
        "labctl_plan": FORMAT,
        "lab": plan.lab,
        "together": together,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "ledger": lab.ledger,
        "target": asdict(lab.target),
        "used_hosts": {called: list(host) for called, host in lab.used_hosts.items()},
        "request": {
            "playbook": str(request.playbook.resolve()) if request.playbook else None,
            "inventory": str(request.inventory.resolve()),
            "variables": {name: value for name, value in request.variables.items() if name not in withheld},
            "withheld": withheld,
            "student": lab.student,
            "only": list(request.only),
            "skip": list(request.skip),
            "replace": list(request.replace),
            "destroy": request.destroy,
            "newer_images": request.newer_images,
        },
        "fingerprint": dict(_fingerprint(plan, key)),
        "actions": {change.address: change.action for change in plan.changes},
        "plan": masker.value(plan_data(plan)),
    }


def request_of(document: Mapping[str, Any], variables: Mapping[str, str]) -> Request:
    """The request that the saved plan came from, with `variables` added. Raises Invalid where one lacks."""
    asked = document["request"]
    missing = [name for name in asked["withheld"] if name not in variables]
    if missing:
        words = f"A secret is not kept with a saved plan: {', '.join(missing)}."
        raise Invalid([Problem(None, words, "Give it again: " + " ".join(f"-e {n}=…" for n in missing))])
    return Request(
        playbook=Path(asked["playbook"]) if asked["playbook"] else None,
        inventory=Path(asked["inventory"]),
        variables={**asked["variables"], **variables},
        student=asked["student"],
        only=tuple(asked["only"]),
        skip=tuple(asked["skip"]),
        replace=tuple(asked["replace"]),
        destroy=bool(asked["destroy"]),
        newer_images=bool(asked["newer_images"]),
    )


def read_plan(path: Path) -> dict[str, Any]:
    """A plan saved with `plan --out`. Raises Invalid where the file is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Invalid([Problem(None, f"{path} cannot be read as a saved plan: {error}.")]) from error
    if not isinstance(document, dict) or document.get("labctl_plan") != FORMAT:
        raise Invalid([Problem(None, f"{path} is not a plan saved by labctl plan --out.")])
    return document


def write_plan(path: Path, document: Mapping[str, Any]) -> None:
    """Keep a plan in a file that only its owner reads. Raises LabctlError where it cannot be written."""
    try:
        path.touch(mode=0o600)
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise LabctlError(f"{path} cannot be written: {error.strerror}.") from error


def looks_like_plan(path: Path) -> bool:
    """Whether a file is a saved plan rather than a playbook."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(200).lstrip().startswith("{")
    except (OSError, UnicodeDecodeError):
        return False


def since_saved(document: Mapping[str, Any], plan: Plan, key: bytes) -> list[str]:
    """What differs between the saved plan and the one made now, a line a resource; empty where none does."""
    was, now = dict(document["fingerprint"]), dict(_fingerprint(plan, key))
    actions = {change.address: change for change in plan.changes}
    lines = []
    for address in [*was, *(address for address in now if address not in was)]:
        if was.get(address) == now.get(address):
            continue
        before = document["actions"].get(address, "nothing to do")
        change = actions.get(address)
        after = change.action if change else "nothing to do"
        cause = f" ({change.cause})" if change and change.cause else ""
        if before == after:
            lines.append(f"{address}: still to {_verb(after)}, but otherwise{cause}")
        else:
            lines.append(f"{address}: was to {_verb(before)}, now is to {_verb(after)}{cause}")
    return lines


def _verb(action: str) -> str:
    return "stay as it is" if action in ("keep", "nothing to do") else action


def _fingerprint(plan: Plan, key: bytes) -> Iterator[tuple[str, str]]:
    """By address, a keyed hash of all that applying its change hangs on."""
    merged: dict[str, list[Any]] = {}
    for change in plan.changes:
        if change.action != "keep" or change.adopts or change.forgets:
            merged.setdefault(change.address, []).append(_essence(change))
    for address, essence in merged.items():
        text = json.dumps(as_data(essence), sort_keys=True, default=str)
        yield address, hmac.digest(key, text.encode(), "sha256").hex()


def _essence(change: Change) -> list[Any]:
    return [
        change.kind,
        change.action,
        change.there.entry.id if change.there else None,
        change.adopts,
        change.forgets,
        change.create_first,
        change.goes_with,
        [[item.name, item.is_, item.wanted, item.replaces] for item in change.fields],
    ]
