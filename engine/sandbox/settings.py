"""What an inventory's `sandbox:` block may set; defaults are as fast as a demonstration likes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from engine.errors import Invalid, Problem


@dataclass(frozen=True)
class Settings:
    """How the sandbox behaves; times in seconds."""

    hosts: str = "simulated"
    """What new instances are: `simulated`, or `docker` for containers with a real system in them."""
    boot_seconds: float = 1.0
    """From the request to `running`."""
    ssh_seconds: float = 1.0
    """From `running` to an SSH server that answers and status checks that pass."""
    workloads: str = "processes"
    """How tasks and functions run: `processes` of this machine, or `none` of them."""
    no_capacity: tuple[str, ...] = field(default=())
    """What there is no free machine of: `[spot:]TYPE[@ZONE]`, `*` for any."""
    images: tuple[dict[str, Any], ...] = field(default=())
    """Docker images that simulated hosts can pull besides the well-known ones."""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Settings:
        """The settings of a `sandbox:` block; raises Invalid with every problem in it."""
        problems = [
            Problem(None, f"sandbox: there is no setting `{name}`", f"Known: {', '.join(_NAMES)}.")
            for name in sorted(set(given) - set(_NAMES))
        ]
        problems += [problem for name in _NAMES if name in given for problem in _problems(name, given[name])]
        if problems:
            raise Invalid(problems)
        values = dict(given)
        for name in ("boot_seconds", "ssh_seconds"):
            if name in values:
                values[name] = float(values[name])
        values["no_capacity"] = tuple(values.get("no_capacity") or ())
        values["images"] = tuple(dict(image) for image in values.get("images") or ())
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        """The settings as plain data for JSON."""
        listed = {"no_capacity": list(self.no_capacity), "images": [dict(image) for image in self.images]}
        return {**asdict(self), **listed}


_LACK = re.compile(r"((spot|on-demand):)?[a-z0-9.*-]+(@[a-z0-9*-]+)?")
_NAMES = tuple(one.name for one in fields(Settings))


def _problems(name: str, value: Any) -> list[Problem]:
    if name == "hosts" and value not in ("simulated", "docker"):
        words = f"sandbox: hosts: there are no hosts {value!r}"
        return [Problem(None, words, "Write `simulated` or `docker`.")]
    if name == "workloads" and value not in ("processes", "none"):
        words = f"sandbox: workloads: tasks and functions cannot run as {value!r}"
        return [Problem(None, words, "Write `processes` or `none`.")]
    if name.endswith("_seconds") and (
        isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 3600
    ):
        return [Problem(None, f"sandbox: {name}: {value!r} is not a time", "Write seconds, 0 to 3600.")]
    if name == "no_capacity" and not (
        isinstance(value, list | tuple)
        and all(isinstance(one, str) and _LACK.fullmatch(one) for one in value)
    ):
        words = "sandbox: no_capacity: is a list of instance types, each with a zone if need be"
        return [Problem(None, words, 'Write `no_capacity: ["spot:t3.large", "g4dn.*@us-east-1a"]`.')]
    if name == "images" and not (
        isinstance(value, list | tuple) and all(isinstance(one, Mapping) and "name" in one for one in value)
    ):
        return [Problem(None, "sandbox: images: each needs a name", "Write `images: [{name: me/app:1}]`.")]
    return []
