"""Playbooks with random mistakes: whatever is wrong is told as problems, never as a traceback."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from engine.errors import Invalid
from engine.lab import UsedLab
from engine.load import load
from tests.unit.language_stage import World

ROOT = Path(__file__).parent.parent.parent
JUNK = [
    "{{",
    "}}",
    "{%",
    "%}",
    "[",
    "]",
    "{",
    "}",
    ":",
    "-",
    "null",
    "1",
    "true",
    "''",
    '"',
    "&a",
    "*a",
    "!!x",
    "0",
    "-1",
    "[1]",
    "{a:1}",
    "item",
    "\t",
    "\x00",
    "é",
    "~",
    "{{bastion}}",
    "{{my_ip}}",
    "{{bastion.public_ip}}",
    "{{vpc.id}}",
    "{{[1]}}",
    "{{none}}",
    "{{private_sg}}",
    "loop:2",
    "when:x",
    "host:nat",
    "name:x",
]


def mistaken(chance: random.Random, lines: list[str], junk: list[str] = JUNK) -> str:
    lines = list(lines)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(lines))
        line, word = lines[at], chance.choice(junk)
        match chance.randrange(4):
            case 0:
                del lines[at]
            case 1:
                lines.insert(chance.randrange(len(lines)), line)
            case 2:
                cut = chance.randrange(len(line) + 1)
                lines[at] = line[:cut] + word + line[cut + chance.randint(0, 3) :]
            case _ if ": " in line:
                lines[at] = f"{line.split(': ')[0]}: {word}\n"
    return "".join(lines)


PARTS = ("base.yml", "parts/network.yml", "uses_base.yml")
COMPOSED = [
    "{{net}}",
    "{{net.vpc}}",
    "{{base}}",
    "{{base.x}}",
    "include: parts/network.yml",
    "uses: base",
    "net.vpc",
]
BASE = UsedLab(
    "base@sandbox",
    {"bastion_ip": "203.0.113.9", "bastion_group": "sg-1", "vpc_id": "vpc-1", "private_subnet": "subnet-1"},
    hosts=frozenset({"bastion"}),
)


@pytest.mark.parametrize("seed", range(4))
def test_mistakes_in_parts_are_problems(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = {name: (ROOT / "playbooks" / name).read_text("utf-8").splitlines(keepends=True) for name in PARTS}
    shutil.copytree(ROOT / "inventory", tmp_path / "inventory")
    (tmp_path / "playbooks/parts").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for turn in range(25):
        chance = random.Random(seed * 1000 + turn)
        for name in PARTS:
            changed = mistaken(chance, lines[name], JUNK + COMPOSED) if chance.random() < 0.6 else None
            Path("playbooks", name).write_text(changed or "".join(lines[name]), "utf-8")
        world = World()
        world.labs = {BASE.name: BASE}
        told = ["nothing"]
        for name in ("base.yml", "uses_base.yml"):
            try:
                load(
                    Path("playbooks", name),
                    Path("inventory/sandbox.yml"),
                    variables={},
                    student=None,
                    outside=world,
                )
            except Invalid as invalid:
                told = [problem.what for problem in invalid.problems]
            assert all(told)


@pytest.mark.parametrize("seed", range(8))
def test_mistakes_are_problems(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (ROOT / "playbooks/hw02.yml").read_text("utf-8").splitlines(keepends=True)
    shutil.copytree(ROOT / "templates", tmp_path / "templates")
    shutil.copytree(ROOT / "inventory", tmp_path / "inventory")
    (tmp_path / "playbooks").mkdir()
    monkeypatch.chdir(tmp_path)
    playbook = Path("playbooks/hw02.yml")
    for turn in range(25):
        chance = random.Random(seed * 1000 + turn)
        playbook.write_text(mistaken(chance, lines), "utf-8")
        told = ["nothing"]
        try:
            load(playbook, Path("inventory/sandbox.yml"), variables={}, student=None, outside=World())
        except Invalid as invalid:
            told = [problem.what for problem in invalid.problems]
        assert all(told)
