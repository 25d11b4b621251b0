"""Waiting for a host to come up, with reasons, and explaining in stages why it did not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from engine.errors import HostUnreachable, Interrupted
from engine.hosts.connect import STAGES, Setback
from engine.world import never

if TYPE_CHECKING:
    from engine.hosts.spec import HostSpec

T = TypeVar("T")

_QUICKEST: Final = 0.2
_SLOWEST: Final = 3.0
_SETTING_UP: Final = 60.0
"""Seconds that a fresh machine may refuse the login: its SSH server starts before its keys are set up."""
_DEFAULT: Final = 300.0
_SHUT_OUT: Final = 60.0
"""Seconds to go on although the network keeps the caller out: rules may still be on their way."""
_ASK_NETWORK_EVERY: Final = 15.0
_GLANCE_AT_STOP: Final = 0.1


@dataclass(frozen=True)
class Clock:
    """Time as waiting sees it, in seconds."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Patience:
    """How long to try: `timeout` seconds in all, if the caller says so, else as long as makes sense."""

    timeout: float | None = None
    clock: Clock = Clock()
    stopped: Callable[[], bool] = never
    """Whether the user wants to stop; waiting ends with Interrupted then."""
    ends: float = field(init=False)

    def __post_init__(self) -> None:
        seconds = _DEFAULT if self.timeout is None else self.timeout
        object.__setattr__(self, "ends", self.clock.now() + seconds)

    @property
    def left(self) -> float:
        """Seconds until it ends."""
        return max(self.ends - self.clock.now(), 0.0)

    def ends_within(self, seconds: float) -> bool:
        """Whether it ends before `seconds` are over."""
        return self.clock.now() + seconds > self.ends

    def sleep(self, seconds: float, name: str) -> None:
        """Let `seconds` go by. Raises Interrupted as soon as the user wants to stop."""
        if self.stopped is never:
            self.clock.sleep(seconds)
            return
        until = self.clock.now() + seconds
        while (left := until - self.clock.now()) > 0:
            self.check(name)
            self.clock.sleep(min(left, _GLANCE_AT_STOP))

    def check(self, name: str) -> None:
        """Raises Interrupted where the user wants to stop; `name` is the host that is waited for."""
        if self.stopped():
            raise Interrupted(f"gave up waiting for {name}: nothing had been sent to it yet")

    def meanwhile(self, work: Callable[[], T], name: str, undo: Callable[[T], object] = id) -> T:
        """What `work` gives, or Interrupted as soon as the user wants to stop: `work` then ends unheard.

        `undo` is called with what it gives all the same.
        """
        if self.stopped is never:
            return work()
        self.check(name)
        done = aside(work)
        while True:
            try:
                return done.result(_GLANCE_AT_STOP)
            except TimeoutError:
                if done.done():  # just now, or it is the work that ran out of time
                    return done.result()
            try:
                self.check(name)
            except Interrupted:
                unheard(done, undo)
                raise


def aside(work: Callable[[], T]) -> Future[T]:
    """What `work` will give, carried out on a thread of its own; the process may end without it."""
    done: Future[T] = Future()
    threading.Thread(target=_carry_out, args=(work, done), daemon=True).start()
    return done


def unheard(done: Future[T], undo: Callable[[T], object]) -> None:
    """Nobody waits for `done` any more: `undo` is called with what it gives all the same, if anything."""
    done.add_done_callback(lambda late: None if late.exception() else undo(late.result()))


def _carry_out(work: Callable[[], T], done: Future[T]) -> None:
    with ExitStack() as stack:
        stack.push(partial(_failed, done))
        done.set_result(work())


def _failed(done: Future[T], sort: object, error: BaseException | None, trace: object) -> bool:
    """Whatever `work` raises is for who waits for it."""
    if error is not None:
        done.set_exception(error)
    return True


def until_there(
    spec: HostSpec,
    attempt: Callable[[], T],
    patience: Patience,
    say: Callable[[str], None],
    *,
    fresh: bool = False,
    undo: Callable[[T], object] = id,
) -> T:
    """What `attempt` gives once it succeeds, trying again from every 0.2 to every 3 seconds, and saying why.

    A `fresh` machine may refuse the login for a while. An attempt that is given up for the user's sake is
    undone with `undo` should it still succeed. Raises HostUnreachable, explained in stages, when patience
    ends or trying again cannot help; Interrupted.
    """
    network = _Network(spec, patience)
    refused_since: float | None = None
    pause, said, ready = _QUICKEST, "", False
    while True:
        try:
            ready = ready or _look(spec)
            return patience.meanwhile(attempt, spec.name, undo)
        except Setback as setback:
            now = patience.clock.now()
            if setback.stage == "login":
                refused_since = now if refused_since is None else refused_since
            hopeless = refused_since is not None and now - refused_since >= (_SETTING_UP if fresh else 0.0)
            reason = network.reason(setback)
            if setback.final or hopeless or network.hopeless or patience.ends_within(pause):
                raise explain(spec, setback) from setback
            if reason != said:
                said = reason
                say(f"waiting for {spec.name}: {said}")
        patience.sleep(pause, spec.name)
        pause = min(pause * 1.4, _SLOWEST)


class _Network:
    """What the platform says of the way to a host, asked now and then while nothing comes through."""

    def __init__(self, spec: HostSpec, patience: Patience) -> None:
        self._spec = spec
        self._patience = patience
        self._asked: float | None = None
        self._cause: str | None = None
        self._since: float | None = None

    def reason(self, setback: Setback) -> str:
        """Why the host cannot be contacted yet, with the network's part in it."""
        # What stands between the caller and the machine says nothing of a way through another host.
        if setback.stage != "port" or not setback.silent or self._spec.via is not None:
            self._cause = self._since = None
            return setback.what
        now = self._patience.clock.now()
        if self._asked is None or now - self._asked >= _ASK_NETWORK_EVERY:
            self._asked = now
            self._cause = self._spec.machine.shut_out()
            if self._cause is None:
                self._since = None
            elif self._since is None:
                self._since = now
        return setback.what if self._cause is None else f"{setback.what}; {self._cause}"

    @property
    def hopeless(self) -> bool:
        """Whether the network has kept the caller out for long, and nobody said how long to wait."""
        if self._since is None or self._patience.timeout is not None:
            return False
        return self._patience.clock.now() - self._since >= _SHUT_OUT


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
    lines = [_cannot(spec, setback)]
    lines += [f"  {mark:<6}  {words}" for _, mark, words in stages(spec, setback)]
    causes = _causes(spec, setback)
    lines += [f"  why?    {cause}" for cause in causes]
    return HostUnreachable("\n".join(lines), _MEND if causes else setback.remedy)


def stages(spec: HostSpec, setback: Setback) -> list[tuple[str, str, str]]:
    """The stages of a contact that failed: each with its mark (`ok`, `failed`, `-`) and its words."""
    reached = STAGES.index(setback.stage)
    return [
        (stage, "ok" if at < reached else "failed" if at == reached else "-", _stage(stage, spec))
        for at, stage in enumerate(STAGES)
    ]


_MEND: Final = "put right what stands after `why?`, then run the same command again"


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
