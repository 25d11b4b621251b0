"""The world as the stages and kinds see it: AWS clients made once, hosts by name, and the step at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.aws import Aws
    from engine.docker import Docker
    from engine.hosts import Hosts


def silent(text: str) -> None:
    """Nobody hears what is said."""


def never() -> bool:
    """Nobody wants to stop."""
    return False


@dataclass(frozen=True)
class Job:
    """What a verb is told about the step it carries out."""

    address: str = ""
    token: str = ""
    """Idempotency token for the create at hand: at most 64 ASCII characters."""
    foreseen: str = ""
    """The id that the create at hand gives, where its kind tells that beforehand."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """All tags for a thing made now: the lab's, the resource's own, `labctl:address`."""
    timeout: float | None = None
    """Seconds that the playbook allows the step; None for the kind's own deadline."""
    host: str | None = None
    """The address of the host the resource lives on."""
    say: Callable[[str], None] = silent
    """Tells the user what a long step is waiting for."""
    quiet: bool = False
    """`no_log`: scripts and what they print stay out of logs and messages."""
    stopped: Callable[[], bool] = never
    """Whether the user wants to stop: what only waits, with nothing sent yet, then raises Interrupted."""


def _nobody() -> str | None:
    return None


@dataclass(frozen=True)
class World:
    """Everything outside the process that a stage or kind may touch."""

    lab: str
    aws: Aws
    hosts: Hosts
    job: Job = Job()
    docker: Docker | None = None
    """The Docker Engine that builds and pushes images; None for the usual one."""
    caller: Callable[[], str | None] = _nobody
    """The caller's own public address (`203.0.113.7`) where it can be told; used to explain failures."""

    def on(self, job: Job) -> World:
        """The same world, seen by the step `job`."""
        return replace(self, job=job)
