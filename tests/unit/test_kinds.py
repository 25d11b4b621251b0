from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Iterator

import engine.resources
from engine.kinds import kinds
from engine.resource import Resource


def classes() -> Iterator[type[Resource]]:
    for module in pkgutil.walk_packages(engine.resources.__path__, "engine.resources."):
        for _, thing in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(thing, Resource) and thing.kind and thing.__module__ == module.name:
                yield thing


def test_what_is_read_from_the_text_of_families_is_what_they_have() -> None:
    there = list(classes())
    assert dict(kinds()) == {kind.kind: kind for kind in there}
    assert len(kinds()) == len(there)
    assert list(kinds()) == sorted(kinds())


def loaded(program: str) -> set[str]:
    """The modules that a fresh Python has loaded after `program`."""
    script = f"import sys\n{program}\nprint(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


def test_a_family_is_loaded_when_one_of_its_kinds_is_asked_for() -> None:
    modules = loaded("from engine.kinds import kinds\nkinds()['copy']")
    families = {name for name in modules if name.startswith("engine.resources.") and "._" not in name}
    assert families == {"engine.resources.hosts", "engine.resources.hosts.files"}


def test_what_only_a_schedule_needs_is_not_loaded_before_there_is_one() -> None:
    modules = loaded("import engine.commands")
    assert not modules & {"networkx", "boto3", "paramiko", "moto"}
