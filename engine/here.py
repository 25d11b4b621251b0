"""What labctl remembers of a working directory: the inventory in use there and the lab last planned there."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.errors import Invalid, LabctlError, Problem

_SHIPPED = Path(__file__).resolve().parent / "shipped"
_CHECKOUT = Path(__file__).resolve().parent.parent


class Here:
    """The memory of one working directory, a small file in its `.labctl`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / ".labctl" / "here.json"

    def read(self) -> dict[str, Any]:
        """What is remembered; empty where nothing is, or where it cannot be read."""
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def remember(self, **values: Any) -> None:
        """Keep `values`; None forgets one. Raises LabctlError where the directory cannot be written."""
        kept = {name: value for name, value in {**self.read(), **values}.items() if value is not None}
        try:
            self._file.parent.mkdir(mode=0o700, exist_ok=True)
            fresh = self._file.with_suffix(".new")
            fresh.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
            fresh.replace(self._file)
        except OSError as error:
            raise LabctlError(
                f"{self._file.parent} cannot be written: {error.strerror}.",
                "labctl keeps its ledger there; make room or make it writable.",
            ) from error

    def inventory(self, given: str | None, environment: Mapping[str, str]) -> Path:
        """The inventory's file: as given, else LABCTL_INVENTORY, else the one in use here, else the sandbox.

        A bare name stands for `inventory/NAME.yml`. Raises Invalid where there is no such file.
        """
        name = given or environment.get("LABCTL_INVENTORY") or self.read().get("inventory") or "sandbox"
        found = self._find(str(name))
        if found is not None:
            return self._short(found)
        remedy = "Give the path of a file with -i, or the name of one in inventory/."
        files = (self.folder / "inventory").glob("*.yml")
        others = sorted(file.stem for file in files if not file.name.endswith(".lock.yml"))
        if others:
            remedy += f" There: {', '.join(others)}."
        what = f"There is no inventory {name}."
        if (self.folder / str(name)).is_dir():
            what = f"{name} is a folder, not an inventory."
        raise Invalid([Problem(None, f"{what}{self._who_says(given, environment)}", remedy)])

    def _who_says(self, given: str | None, environment: Mapping[str, str]) -> str:
        """Where the inventory's name comes from, when nobody gave it on the command line."""
        if given:
            return ""
        if environment.get("LABCTL_INVENTORY"):
            return " (LABCTL_INVENTORY names it.)"
        return " (labctl use chose it here.)" if self.read().get("inventory") else ""

    def _find(self, name: str) -> Path | None:
        path = Path(name).expanduser()
        tries = [self.folder / path]
        if path.suffix not in (".yml", ".yaml"):
            tries = [self.folder / "inventory" / f"{name}.yml", *tries, self.folder / f"{name}.yml"]
        if name == "sandbox":
            tries.append(shipped("inventory") / "sandbox.yml")
        return next((file for file in tries if file.is_file()), None)

    def _short(self, path: Path) -> Path:
        """As it is said from here: messages name it so."""
        return path.relative_to(self.folder) if path.is_relative_to(self.folder) else path

    def playbook(self, given: str) -> Path:
        """The playbook's file; a bare name stands for `playbooks/NAME.yml`. Raises Invalid without one."""
        path = Path(given).expanduser()
        tries = [self.folder / path]
        if path.suffix not in (".yml", ".yaml"):
            tries = [self.folder / "playbooks" / f"{given}.yml", self.folder / f"{given}.yml"]
        for file in tries:
            if file.is_file():
                return self._short(file)
        if (self.folder / path).is_dir():
            raise Invalid([Problem(None, f"{given} is a folder, not a playbook.", self._which(path))])
        raise Invalid([Problem(None, f"There is no playbook {given}.", self._which(path))])

    def playbooks(self) -> list[Path]:
        """The YAML files in `playbooks/`."""
        return sorted(self._short(path) for path in (self.folder / "playbooks").glob("*.yml"))

    def _which(self, path: Path) -> str:
        """What to write instead of a playbook's `path` that leads nowhere."""
        if (shipped("playbooks") / f"{path.stem}.yml").is_file():
            here = self._short(self.folder / "playbooks" / f"{path.stem}.yml")
            if not (self.folder / here).is_file():
                return f"labctl ships one of that name: labctl init {path.stem} copies it here."
        beside = map(self._short, self._beside(path))
        there = {file.name: file for file in [*self.playbooks(), *beside]}
        near = difflib.get_close_matches(path.name, there, 1)
        if near:
            return f"Did you mean {there[near[0]]}?"
        names = ", ".join(map(str, list(there.values())[:8]))
        return f"There are: {names}." if names else "Give the path of a YAML file."

    def _beside(self, path: Path) -> list[Path]:
        """The YAML files in the folder that `path` names, or is in."""
        place = self.folder / path
        return sorted((place if place.is_dir() else place.parent).glob("*.yml"))


def shipped(sort: str) -> Path:
    """The folder of shipped `playbooks`, `templates` or `inventory`: in the package, else the checkout."""
    installed = _SHIPPED / sort
    return installed if installed.is_dir() else _CHECKOUT / sort
