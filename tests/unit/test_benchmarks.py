from __future__ import annotations

import re
from pathlib import Path

import yaml

from engine.load import load
from engine.outside import Offline

TASKS = Path(__file__).parents[2] / "benchmarks" / "tasks"


def sorts(names: list[str]) -> list[str]:
    """What the tasks are, in labctl's words."""
    same = {
        "apt.packages": "apt",
        "files.directory": "file",
        "files.put": "copy",
        "files.template": "template",
        "server.user": "user",
        "systemd.service": "systemd_service",
        "server.shell": "command",
        "shell": "command",
        "docker.container": "docker_container",
    }
    return [same.get(name, name) for name in names]


def test_the_tools_do_the_same_twenty_tasks(tmp_path: Path) -> None:
    inventory = tmp_path / "fleet.yml"
    inventory.write_text(
        "target: ssh\nhosts:\n  gate: {hostname: 127.0.0.1}\n"
        "  h1: {hostname: 10.0.0.1, via: gate, groups: [web]}\n"
        "  h2: {hostname: 10.0.0.2, via: gate, groups: [web]}\n"
    )
    [lab] = load(TASKS / "labctl.yml", inventory, variables={}, student=None, outside=Offline())
    ours = [one.kind.kind for one in lab.resources.values() if one.host == "h1"]
    assert len(ours) == 20
    assert ours == [one.kind.kind for one in lab.resources.values() if one.host == "h2"]

    [play] = yaml.safe_load((TASKS / "ansible.yml").read_text())
    modules = [name.rpartition(".")[2] for task in play["tasks"] for name in task if name != "vars"]
    assert sorts(modules) == ours

    pyinfra = re.findall(
        r"^\s*(\w+\.(?:packages|directory|put|template|user|service|shell|container))\(",
        (TASKS / "pyinfra_tasks.py").read_text(),
        re.MULTILINE,
    )
    counts = {"apt.packages": 5, "systemd.service": 3, "server.shell": 2}
    assert sorts([name for name in pyinfra for _ in range(counts.get(name, 1))]) == ours
