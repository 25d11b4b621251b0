"""Every wrong playbook and inventory in tests/wrong, each with the whole message that it gets.

After a change of words: `LABCTL_WRITE_EXPECTED=1 pytest tests/unit/test_load_wrong.py`, then read the diff.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from engine.errors import Invalid
from engine.lab import UsedLab
from engine.load import load
from engine.refs import Unknown
from tests.unit.language_kinds import KINDS

WRONG = Path(__file__).parent.parent / "wrong"
CASES = sorted(path.relative_to(WRONG) for path in WRONG.glob("*/*.yml"))


BASE = UsedLab("base@inventory", {"ip": "203.0.113.9"}, hosts=frozenset({"bastion"}))


class Outside:
    def used_lab(self, ledger: str, name: str) -> UsedLab | None:
        return BASE if name == BASE.name else None

    def my_ip(self) -> str | Unknown:
        return "203.0.113.7/32"

    def environment(self) -> Mapping[str, str]:
        return {"PASSWORD": "correct horse"}

    def secret(self, source: Mapping[str, str]) -> str | Unknown:
        return Unknown()


def message(playbook: Path, inventory: Path) -> str:
    with pytest.raises(Invalid) as caught:
        load(playbook, inventory, variables={}, student=None, outside=Outside(), kinds=KINDS)
    lines = []
    for problem in caught.value.problems:
        lines.append(f"{problem.where}: {problem.what}")
        lines += [f"    {line}" for line in problem.remedy.splitlines()]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_whole_message(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(WRONG)
    inventories = case.parent.name == "inventories"
    said = message(Path("playbook.yml"), case) if inventories else message(case, Path("inventory.yml"))
    expected = case.with_suffix(".expected")
    if os.environ.get("LABCTL_WRITE_EXPECTED"):
        expected.write_text(said, "utf-8")
    assert said == expected.read_text("utf-8")


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 40
