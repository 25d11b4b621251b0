"""Loads playbooks written in a test, with the small kinds of language_kinds."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from engine.errors import Invalid
from engine.lab import Lab, UsedLab
from engine.load import load
from engine.refs import Unknown
from tests.unit.language_kinds import KINDS


class World:
    """What loading may ask, and what it did ask."""

    def __init__(self, environment: Mapping[str, str] | None = None, *, online: bool = True) -> None:
        self.asked: list[str] = []
        self._environment = environment or {}
        self._online = online
        self.labs: dict[str, UsedLab] = {}

    def my_ip(self) -> str | Unknown:
        self.asked.append("my_ip")
        return "203.0.113.7/32" if self._online else Unknown(text="my_ip")

    def environment(self) -> Mapping[str, str]:
        return self._environment

    def secret(self, source: Mapping[str, str]) -> str | Unknown:
        [(sort, name)] = source.items()
        self.asked.append(f"{sort}:{name}")
        return f"value of {name}" if self._online else Unknown()

    def used_lab(self, ledger: str, name: str) -> UsedLab | Unknown | None:
        return self.labs.get(name) if self._online else self.labs.get(name, Unknown())


class Desk:
    """A working directory with a playbook and an inventory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("inventory/sandbox.yml", "target: sandbox\n")

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), "utf-8")
        return path

    def labs(self, playbook: str, world: World | None = None, **given: Any) -> list[Lab]:
        self.write("playbooks/lab.yml", playbook)
        return load(
            Path("playbooks/lab.yml"),
            Path("inventory") / given.pop("inventory", "sandbox.yml"),
            variables=given.pop("variables", {}),
            student=given.pop("student", None),
            outside=world or World(),
            kinds=KINDS,
        )

    def lab(self, playbook: str, world: World | None = None, **given: Any) -> Lab:
        [lab] = self.labs(playbook, world, **given)
        return lab

    def wrong(self, playbook: str, world: World | None = None, **given: Any) -> list[str]:
        with pytest.raises(Invalid) as caught:
            self.labs(playbook, world, **given)
        return [f"{problem.what} | {problem.remedy}" for problem in caught.value.problems]
