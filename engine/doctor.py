"""Why a host cannot be worked with: each stage of its contact, the cause, and the command that mends it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from engine.hosts.examining import ON_THE_HOST, examine
from engine.resource import Finding
from engine.world import World


@dataclass(frozen=True)
class Examined:
    """One host on the way, and what its stages told."""

    host: str
    findings: tuple[Finding, ...]

    @property
    def cause(self) -> Finding | None:
        """The first stage that is not well; None where all are."""
        return next((finding for finding in self.findings if finding.well is False), None)


@dataclass(frozen=True)
class Diagnosis:
    """What was found on the whole way to a host."""

    host: str
    examined: tuple[Examined, ...]
    """The host itself, and before it those it is reached through, up to the first that is not well."""
    remedy: str = ""
    """The command that mends the cause; empty where all is well."""

    @property
    def cause(self) -> str | None:
        """In words, what keeps the host from being worked with."""
        last = self.examined[-1]
        return None if last.cause is None else f"{last.host}: {last.cause.what}"

    @property
    def well(self) -> bool:
        """Whether the host can be worked with."""
        return self.cause is None

    def data(self) -> Mapping[str, Any]:
        """As a JSON document."""
        marks = {True: "ok", False: "failed", None: "-"}
        return {
            "host": self.host,
            "well": self.well,
            "cause": self.cause,
            "remedy": self.remedy or None,
            "stages": [
                {"host": each.host, "stage": one.stage, "result": marks[one.well], "what": one.what}
                for each in self.examined
                for one in each.findings
            ],
        }


def diagnose(world: World, host: str, planned: Callable[[str], str | None]) -> Diagnosis:
    """Walk the way to `host`, from the first host on it.

    `planned` gives the command that puts the thing of an id right, where the lab's plan would do that.
    """
    examined: list[Examined] = []
    for name in _way(world, host):
        found = examine(world.hosts, name)
        examined.append(Examined(name, tuple(found if name == host else map(_on_the_way, found))))
        cause = examined[-1].cause
        if cause is not None:
            command = planned(cause.about) if cause.about else None
            return Diagnosis(host, tuple(examined), command or cause.remedy)
    return Diagnosis(host, tuple(examined))


def _on_the_way(finding: Finding) -> Finding:
    """What a host that is only passed through cannot do keeps nobody from getting through."""
    stops = finding.well is False and finding.stage not in ON_THE_HOST
    return finding if finding.well or stops else replace(finding, well=None)


def _way(world: World, host: str) -> list[str]:
    """The hosts on the way to `host`, itself the last. Raises HostUnreachable where one is not there yet."""
    way: list[str] = []
    step: str | None = host
    while step is not None and step not in way:
        way.insert(0, step)
        step = world.hosts.spec(step).via
    return way
