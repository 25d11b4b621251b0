"""What labctl remembers of a working directory: the inventory in use there and the lab last planned there."""

from __future__ import annotations

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
        others = sorted(path.stem for path in (self.folder / "inventory").glob("*.yml"))
        if others:
            remedy += f" There: {', '.join(others)}."
        raise Invalid([Problem(None, f"There is no inventory {name}.", remedy)])

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
        remedy = "Give the path of a YAML file."
        if (shipped("playbooks") / f"{path.stem}.yml").is_file():
            remedy = f"labctl ships one of that name: labctl init {path.stem} copies it here."
        raise Invalid([Problem(None, f"There is no playbook {given}.", remedy)])


def shipped(sort: str) -> Path:
    """The folder of shipped `playbooks`, `templates` or `inventory`: in the package, else the checkout."""
    installed = _SHIPPED / sort
    return installed if installed.is_dir() else _CHECKOUT / sort
