"""Restarting a host: asked to go down, then waited for until it has booted anew and works again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from engine.errors import HostUnreachable, StepFailed
from engine.hosts.waiting import Clock, Patience

if TYPE_CHECKING:
    from engine.hosts.spec import Ran

_ASKING: Final = 60.0
"""Seconds that the command may take to send the host down."""
_ANSWERING: Final = 30.0
"""Seconds that a small question may take."""
_PAUSE: Final = 0.5
"""Seconds between two looks whether it has booted."""
_BOOT_ID: Final = "cat /proc/sys/kernel/random/boot_id"
"""Another at each boot of a Linux machine (random(4))."""
_SIGNALS: Final = 128
"""Exit statuses from here on: the command was killed, as it is when the host goes down."""


@dataclass(frozen=True)
class Restart:
    """How a host is restarted, in seconds and in shell."""

    command: str
    """A script, run as root, that sends it down and has it come up again."""
    timeout: float
    """How long it may take until it works again."""
    delay: float = 0.0
    """How long the command itself waits first."""
    test: str = "true"
    """A line for sh that succeeds once it works again."""
    rest: float = 0.0
    """How long to wait after that."""


class Restarted(Protocol):
    """What is asked of a host that is restarted."""

    def run(self, script: str, *, timeout: float | None = None, user: str | None = "root") -> Ran:
        """What a script gives there; raises HostUnreachable."""

    def hang_up(self) -> None:
        """End the connections to it."""


class Around(Protocol):
    """What is asked of the hosts of the lab."""

    def host(self, name: str, *, say: Callable[[str], None] = ..., timeout: float | None = None) -> Restarted:
        """The host `name` once it can be worked with; raises HostUnreachable."""

    def alone(self, name: str) -> AbstractContextManager[None]:
        """While this lasts nothing else runs on the host, nor on those behind it."""


def restart(
    hosts: Around, name: str, how: Restart, *, say: Callable[[str], None], clock: Clock | None = None
) -> None:
    """Restart the host `name`; returns once it has another boot id, passes the test and has rested.

    Raises StepFailed where it does not go down or does not pass the test in time, HostUnreachable where it
    does not come up again.
    """
    host = hosts.host(name, say=say, timeout=how.timeout)
    patience = Patience(how.timeout + how.delay, clock=clock or Clock())
    with hosts.alone(name):
        before = _boot_id(host, name)
        say("rebooting")
        _ask(host, name, how)
        _await_boot(hosts, host, name, before, patience, say)
        _await_work(host, name, how.test, patience, say)
        if how.rest:
            say(f"up again; giving it {how.rest:g} s more")
            patience.clock.sleep(how.rest)


def _boot_id(host: Restarted, name: str) -> bytes:
    ran = host.run(_BOOT_ID, user=None, timeout=_ANSWERING)
    if ran.status != 0 or not ran.stdout.strip():
        raise StepFailed(f"{name} does not tell when it was booted: {_BOOT_ID} gives nothing")
    return ran.stdout.strip()


def _ask(host: Restarted, name: str, how: Restart) -> None:
    try:
        ran = host.run(how.command, timeout=how.delay + _ASKING)
    except HostUnreachable:
        return  # gone before it could answer
    if 0 < ran.status < _SIGNALS:
        said = (ran.stderr.decode("utf-8", "replace").strip().splitlines() or ["it says nothing"])[-1]
        raise StepFailed(
            f"{name} does not reboot: {said}",
            "see what the command says there, or give another as `reboot_command`",
        )


def _await_boot(
    hosts: Around, host: Restarted, name: str, before: bytes, patience: Patience, say: Callable[[str], None]
) -> None:
    waited = False
    while True:
        host.hang_up()
        try:
            found = hosts.host(name, say=say, timeout=max(patience.left, 1.0))
            if _boot_id(found, name) != before:
                return
        except HostUnreachable as error:
            # One that goes down, or is not quite up, refuses logins or breaks off.
            if patience.ends_within(_PAUSE) or _hopeless(error):
                raise _not_up(name, patience, error) from error
        else:
            if patience.ends_within(_PAUSE):
                raise StepFailed(
                    f"{name} was asked to reboot, and has not gone down",
                    f"see what keeps it: labctl ssh {name} systemctl list-jobs",
                )
            if not waited:
                say(f"waiting for {name}: it is going down")
                waited = True
        patience.sleep(_PAUSE, name)


def _hopeless(error: HostUnreachable) -> bool:
    return bool(getattr(error.__cause__, "final", False))


def _not_up(name: str, patience: Patience, error: HostUnreachable) -> HostUnreachable:
    if _hopeless(error):
        return error
    return HostUnreachable(
        f"{name} has not come up again since it was rebooted: {error.message}",
        f"see its console (aws ec2 get-console-output), or: labctl doctor {name}",
    )


def _await_work(
    host: Restarted, name: str, test: str, patience: Patience, say: Callable[[str], None]
) -> None:
    said = ""
    while True:
        ran = host.run(test, timeout=max(patience.left, 1.0))
        if ran.status == 0:
            return
        last = (ran.stderr + b"\n" + ran.stdout).decode("utf-8", "replace").strip().splitlines()
        reason = f"{test!r} ends with exit status {ran.status}" + (f": {last[-1]}" if last else "")
        if patience.ends_within(_PAUSE):
            raise StepFailed(
                f"{name} is up again, but does not pass its test: {reason}",
                "put right `test_command`, or allow it more time with `reboot_timeout`",
            )
        if reason != said:
            said = reason
            say(f"waiting for {name}: {reason}")
        patience.sleep(_PAUSE, name)
