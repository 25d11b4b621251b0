"""Names of images become ids once, and stay what they are until somebody asks for newer ones."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from engine.errors import Invalid, LabctlError, Problem, Where
from engine.lab import Declared, Lab
from engine.templating import fill, scope_of
from engine.world import Job, World

_HEAD = (
    "# Written by labctl: what the names of images stood for when they were first used here.\n"
    "# They stay so until somebody asks for newer ones, or takes a line out.\n"
)


def pin(lab: Lab, world: World, *, newer: bool = False) -> Lab:
    """`lab` with the names in its kinds' `pinned` fields replaced by ids.

    What a name stands for is asked once and kept in `lab.lock_file`, per region; with `newer` it is asked
    again. Raises StepFailed where nothing answers to a name, LabctlError where the lock file cannot be used.
    """
    found = list(_names(lab))
    if not found:
        return lab
    pinned = {} if lab.lock_file is None else _read(lab.lock_file)
    here: dict[str, str] = dict(pinned.get(lab.target.region) or {})
    asked: dict[str, str] = {}
    ids: dict[_Name, str] = {}
    for one in found:
        id = asked.get(one.name) or (None if newer else here.get(one.name))
        if id is None:
            job = Job(address=one.declared.address)
            id = one.declared.kind.resolve(world.on(job), one.field, one.name)
            asked[one.name] = id
        ids[one] = id
    fresh = {name: id for name, id in asked.items() if name != id}
    if fresh and lab.lock_file is not None:
        _add(lab.lock_file, lab.target.region, fresh, newer=newer)
    return _with(lab, ids)


@dataclass(frozen=True, eq=False)
class _Name:
    declared: Declared
    field: str
    name: str


def _names(lab: Lab) -> Iterator[_Name]:
    scope = scope_of(lab, {})
    for declared in lab.resources.values():
        for field in sorted(declared.kind.pinned & declared.fields.keys()):
            value = fill(declared.fields[field], scope, declared)
            if isinstance(value, str):
                yield _Name(declared, field, value)


def _with(lab: Lab, ids: dict[_Name, str]) -> Lab:
    resources = dict(lab.resources)
    for one, id in ids.items():
        declared = resources[one.declared.address]
        aliases = dict(declared.aliases) if one.name == id else {**declared.aliases, one.field: one.name}
        fields = {**declared.fields, one.field: id}
        resources[declared.address] = replace(declared, fields=fields, aliases=aliases)
    return replace(lab, resources=resources)


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise LabctlError(f"{path} cannot be read: {error}", "check the file") from error
    try:
        content = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = Where(str(path), mark.line + 1 if mark else 1, mark.column + 1 if mark else 1)
        raise Invalid([Problem(where, "the lock file is not YAML", _REMEDY)]) from error
    regions = content.values() if isinstance(content, dict) else [None]
    if not all(isinstance(region, dict) for region in regions):
        raise Invalid(
            [Problem(Where(str(path)), "the lock file holds something else than images by region", _REMEDY)]
        )
    return dict(content)


_REMEDY = "mend it, or delete it to have every name looked up anew"


def _add(path: Path, region: str, fresh: dict[str, str], *, newer: bool) -> None:
    """Put `fresh` into the file, keeping what others have put there meanwhile.

    Replaced whole, never half written.
    """
    content = _read(path)
    here = content.get(region) or {}
    content[region] = dict(sorted(({**here, **fresh} if newer else {**fresh, **here}).items()))
    text = _HEAD + yaml.safe_dump(content, sort_keys=True)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise LabctlError(f"{path} cannot be written: {error.strerror}", "check its folder") from error
