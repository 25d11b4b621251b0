"""Waiting for a host to come up, with reasons, and explaining in stages why it did not."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from engine.errors import HostUnreachable
from engine.hosts.connect import STAGES, Setback

if TYPE_CHECKING:
    from engine.hosts.spec import HostSpec

T = TypeVar("T")

_QUICKEST: Final = 0.2
_SLOWEST: Final = 3.0
_SETTING_UP: Final = 60.0
"""Seconds that a fresh machine may refuse the login: its SSH server starts before its keys are set up."""


@dataclass(frozen=True)
class Clock:
    """Time as waiting sees it, in seconds."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Patience:
    """How long to try: `timeout` seconds in all; `fresh` where the machine may be setting up its keys."""

    timeout: float
    fresh: bool = False
    clock: Clock = Clock()


def until_there(
    spec: HostSpec, attempt: Callable[[], T], patience: Patience, say: Callable[[str], None]
) -> T:
    """What `attempt` gives once it succeeds, trying again from every 0.2 to every 3 seconds, and saying why.

    Raises HostUnreachable, explained in stages, when patience ends or trying again cannot help.
    """
    clock = patience.clock
    ends = clock.now() + patience.timeout
    refused_since: float | None = None
    pause, said, ready = _QUICKEST, "", False
    while True:
        try:
            ready = ready or _look(spec)
            return attempt()
        except Setback as setback:
            now = clock.now()
            if setback.stage == "login":
                refused_since = now if refused_since is None else refused_since
            hopeless = refused_since is not None and now - refused_since >= (
                _SETTING_UP if patience.fresh else 0.0
            )
            if setback.final or hopeless or now + pause > ends:
                raise explain(spec, setback) from setback
            if setback.what != said:
                said = setback.what
                say(f"waiting for {spec.name}: {said}")
        clock.sleep(pause)
        pause = min(pause * 1.4, _SLOWEST)


def once(spec: HostSpec, attempt: Callable[[], T]) -> T:
    """What `attempt` gives, tried once; whether the machine is ready is asked only where it fails.

    Raises HostUnreachable in one line.
    """
    try:
        return attempt()
    except Setback as setback:
        told = setback
    if told.stage in ("address", "port", "SSH"):
        try:
            _look(spec)
        except Setback as not_ready:
            told = not_ready
    causes = _causes(spec, told)
    raise HostUnreachable(_cannot(spec, told), causes[0] if causes else told.remedy) from told


def explain(spec: HostSpec, setback: Setback) -> HostUnreachable:
    """The failure of a contact in words: stages with their marks, what the network has to say, a remedy."""
    reached = STAGES.index(setback.stage)
    lines = [_cannot(spec, setback)]
    for number, stage in enumerate(STAGES):
        mark = "ok" if number < reached else "failed" if number == reached else "-"
        lines.append(f"  {mark:<6}  {_stage(stage, spec)}")
    causes = _causes(spec, setback)
    lines += [f"  why?    {cause}" for cause in causes]
    return HostUnreachable("\n".join(lines), causes[0] if causes else setback.remedy)


def _cannot(spec: HostSpec, setback: Setback) -> str:
    return f"{spec.name} cannot be reached: {setback.what}"


def _causes(spec: HostSpec, setback: Setback) -> list[str]:
    # What stands between the caller and the machine says nothing of a way through another host.
    return spec.machine.explain() if setback.stage == "port" and spec.via is None else []


def _look(spec: HostSpec) -> bool:
    reason = spec.machine.not_ready()
    if reason is not None:
        raise Setback("instance", reason, "wait and run again, or start it if it was stopped")
    return True


def _stage(stage: str, spec: HostSpec) -> str:
    through = f", through {spec.via}" if spec.via else ""
    return {
        "instance": "instance: running and ready",
        "address": f"address: {spec.hostname or 'none'}{through}",
        "port": f"port {spec.port} open",
        "SSH": "SSH server answers",
        "host key": "host key is the known one",
        "login": f"login as {spec.user} with {spec.key or 'your own keys'}",
    }[stage]
