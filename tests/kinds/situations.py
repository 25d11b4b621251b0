"""What is done to a host, step by step, to see whether two sorts of hosts tell the same of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import StepFailed
from engine.on_host import OnHost
from tests.kinds.host_contract import resource
from tests.kinds.local_host import DOCKER, Bench

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Want:
    """A resource that is made, or brought to its fields where it is there already."""

    kind: str
    fields: Fields


@dataclass(frozen=True)
class Sees:
    """A resource that is only looked at from now on."""

    kind: str
    fields: Fields


@dataclass(frozen=True)
class Gone:
    """A resource that is deleted."""

    kind: str
    fields: Fields


@dataclass(frozen=True)
class ByHand:
    """What somebody does on the host as root; what it prints and how it ends is told, too."""

    script: str


Step = Want | Sees | Gone | ByHand


@dataclass(frozen=True)
class Situation:
    """`steps` on a host that has Docker where `docker` is set; `after` cleans up what no step has."""

    name: str
    steps: Sequence[Step]
    files: Mapping[str, str] = field(default_factory=dict)
    docker: bool = False
    after: str = ":"


def told_of(situation: Situation, bench: Bench, book: Path) -> list[Any]:
    """What is told of all resources after each step: values, None, or a failure in words."""
    for name, text in situation.files.items():
        (book / name).parent.mkdir(parents=True, exist_ok=True)
        (book / name).write_text(text)
    if situation.docker:
        bench.have(resource("docker_engine", {"users": ["ubuntu"]}, book), DOCKER)
    seen: dict[str, Any] = {}
    told: list[Any] = []
    try:
        for step in situation.steps:
            ended = _done(step, bench, book, seen)
            there = {address: _attempt(bench.look, thing, address) for address, thing in sorted(seen.items())}
            told.append({"step": step, "ended": ended, "there": there})
    finally:
        for step in reversed(situation.steps):
            if isinstance(step, Want):
                _done(Gone(step.kind, step.fields), bench, book, seen)
        bench.host.run(situation.after)
    return told


def _done(step: Step, bench: Bench, book: Path, seen: dict[str, Any]) -> Any:
    if isinstance(step, ByHand):
        ran = bench.host.run(step.script)
        return ran.status, ran.stdout.decode(), ran.stderr.decode()
    thing = resource(step.kind, step.fields, book)
    # Commands have no name of their own.
    address = f"{step.kind} {step.fields.get('cmd', thing.natural_id())}"
    if isinstance(step, Gone):
        seen.pop(address, None)
        return _attempt(bench.delete, thing, address), _attempt(bench.look, thing, address)
    seen[address] = thing
    return None if isinstance(step, Sees) else _attempt(_bring_about, bench, thing, address)


def _bring_about(bench: Bench, thing: OnHost, address: str) -> None:
    differing = bench.differing(thing, address)
    if differing is None:
        thing.create(bench.world(address))
    elif differing:
        thing.update(bench.world(address), thing.natural_id(), frozenset(differing))


def _attempt(what: Callable[..., Any], *args: Any) -> Any:
    try:
        return what(*args)
    except StepFailed as failure:
        return f"FAILED {failure} | {failure.remedy}"
