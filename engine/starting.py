"""Starting from what ships: a playbook, its templates and inventories, copied into the user's folder."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from engine.errors import Invalid, LabctlError, Problem
from engine.here import shipped
from engine.kinds import kinds
from engine.language.playbook import read_playbook
from engine.language.problems import Problems

_INCLUDE = re.compile(r"^[ -]*include:[ ]*([\w./-]+)", re.MULTILINE)
_USES = re.compile(r"^uses:[ {]*(\w+)", re.MULTILINE)
_FIELD = re.compile(r"\b(?:src|path|file|dockerfile):\s*[\"']?([\w./-]+)")


def names() -> list[str]:
    """The names of the playbooks that ship."""
    return sorted(path.stem for path in shipped("playbooks").glob("*.yml"))


def start(name: str, folder: Path) -> tuple[list[Path], list[Path]]:
    """Copy the playbook `name`, its templates and the inventories: what was copied, what was there already.

    Nothing is ever overwritten. Raises Invalid for an unknown name, LabctlError where writing fails.
    """
    playbook = shipped("playbooks") / f"{name}.yml"
    if not playbook.is_file():
        raise Invalid(
            [Problem(None, f"labctl ships no playbook {name}.", f"There are: {', '.join(names())}.")]
        )
    copied: list[Path] = []
    kept: list[Path] = []
    for source, target in _files(playbook):
        place = folder / target
        if place.exists():
            kept.append(target)
            continue
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)
        except OSError as error:
            raise LabctlError(f"{place} cannot be written: {error.strerror}.") from error
        copied.append(target)
    return copied, kept


def unanswered(playbook: Path) -> list[str]:
    """The variables of a playbook that have no value until one is given."""
    variables = read_playbook(playbook, kinds(), Problems()).variables
    return [name for name, each in variables.items() if each.default is None and each.type != "secret"]


def _files(playbook: Path) -> Iterator[tuple[Path, Path]]:
    playbooks = shipped("playbooks")
    together = sorted(_with(playbook))
    for book in together:
        yield book, Path("playbooks") / book.relative_to(playbooks)
    inventories = shipped("inventory")
    for source in sorted(inventories.iterdir()):
        if source.suffix in (".yml", ".csv") and not source.name.endswith(".lock.yml"):
            yield source, Path("inventory") / source.name
    templates = shipped("templates")
    for first in sorted({used for book in together for used in _used(book, templates)}):
        for source in [first] if first.is_file() else sorted(first.rglob("*")):
            if source.is_file() and "__pycache__" not in source.parts:
                yield source, Path("templates") / source.relative_to(templates)


def _with(playbook: Path) -> set[Path]:
    """A playbook, with those that it includes and those of the labs that it uses."""
    found: set[Path] = set()
    waiting = [playbook]
    while waiting:
        book = waiting.pop()
        if book.is_file() and book not in found:
            found.add(book)
            text = book.read_text(encoding="utf-8")
            waiting += [book.parent / name for name in _INCLUDE.findall(text)]
            waiting += [shipped("playbooks") / f"{name}.yml" for name in _USES.findall(text)]
    return found


def _used(playbook: Path, templates: Path) -> set[Path]:
    """The files and folders below `templates` that the playbook names."""
    named = _FIELD.findall(playbook.read_text(encoding="utf-8"))
    return {templates / name for name in named if not name.startswith("/") and (templates / name).exists()}
