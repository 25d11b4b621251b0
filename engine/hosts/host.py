"""A host of the lab that can run scripts: one connection, one round trip a script, one at a time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from engine.errors import HostUnreachable, LabctlError, StepFailed
from engine.hosts import wire
from engine.hosts.shell import ConnectionLost, Shell, alive, hasten
from engine.hosts.spec import Ran
from engine.hosts.waiting import aside, unheard

if TYPE_CHECKING:
    from paramiko.transport import Transport

    from engine.hosts.agent import Forwarding
    from engine.hosts.log import RunLog
    from engine.on_host import Upload

_STARTING: Final = 30.0
"""Seconds to wait for a shell that is being started."""
_SPARES: Final = 2
"""How many shells wait for scripts: starting one takes two round trips, a short script one."""
_IDLE: Final = 20.0
"""Seconds unused after which a connection is asked whether it still stands."""

_BIG: Final = 20_000_000
"""Bytes that certainly take a while to send."""
_TELL_EVERY: Final = 1.0
"""Seconds between two words on how far the sending of big files is."""

_RUN_AGAIN: Final = "run the same command again: labctl looks at what is there and goes on"


class Host:
    """A host by name. Safe among threads: what several want to run at once runs in turn.

    `dial` makes a logged-in connection, or raises HostUnreachable.
    """

    def __init__(
        self,
        name: str,
        login: str,
        dial: Callable[[], Transport],
        *,
        forwarding: Forwarding | None = None,
        log: RunLog | None = None,
    ) -> None:
        self.name = name
        self.login = login
        """Who logs in."""
        self.round_trips = 0
        """How many scripts were sent: each costs one."""
        self._dial = dial
        self._forwarding = forwarding
        self._log = log
        self._running = threading.RLock()
        self._dialing = threading.RLock()
        self._transport: Transport | None = None
        self._bridge: Transport | None = None
        self._spares: deque[_Spare] = deque()
        self._used = time.monotonic()

    def run(
        self,
        script: str,
        *,
        stdin: bytes = b"",
        files: Sequence[Upload] = (),
        timeout: float | None = None,
        user: str | None = "root",
        quiet: bool = False,
        say: Callable[[str], None] | None = None,
    ) -> Ran:
        """Run a POSIX shell script there as `user` (None: as who logs in); what it gave, failed or not.

        `files` are found at `$labctl_upload_1`, `$labctl_upload_2`, … while it runs. `timeout` is in
        seconds; `quiet` keeps script and output out of the run's log; `say` hears how much of big files is
        sent, and what the script tells the user while it runs (`wire.SAY`). Raises StepFailed when time is
        up or a file cannot be read, HostUnreachable where there is no connection or it is lost meanwhile.
        """
        with self._running:
            began = time.monotonic()
            shown = "(kept out of the log)" if quiet else script
            try:
                ran = self._run(self._pack(script, stdin, files), timeout, user, say)
            except LabctlError as error:
                if self._log is not None:
                    self._log.failed(self.name, shown, error.message)
                raise
            if self._log is not None:
                told = Ran(ran.status, b"", b"") if quiet else ran
                self._log.ran(self.name, shown, told, time.monotonic() - began)
            return ran

    def reconnect(self) -> None:
        """Log in anew for what runs from now on (groups changed); hosts behind it are not disturbed."""
        with self._running, self._dialing:
            self._drop_spares()
            if self._transport is not None and self._transport is not self._bridge:
                self._transport.close()
            self._transport = None
            self.transport()

    def contact(self, dial: Callable[[], Transport]) -> None:
        """Be connected, by `dial` where it is not: its patience and words are those of the moment."""
        with self._dialing:
            if self._transport is None or not self._answers(self._transport):
                self._transport = dial()
                self._used = time.monotonic()

    def transport(self) -> Transport:
        """The connection for running scripts, made (anew) where there is none.

        Raises HostUnreachable.
        """
        with self._dialing:
            self.contact(self._dial)
            assert self._transport is not None
            return self._transport

    def bridge(self) -> Transport:
        """The connection that leads on to the hosts behind this one; it outlives `reconnect`.

        Raises HostUnreachable.
        """
        with self._dialing:
            if self._bridge is None or not self._answers(self._bridge):
                self._bridge = self.transport()
                hasten(self._bridge)
            return self._bridge

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While this lasts, no other thread runs anything there."""
        with self._running:
            yield

    def hang_up(self) -> None:
        """End its connections, which lead nowhere any more; the next script dials anew."""
        with self._dialing:
            self.close()

    def close(self) -> None:
        """End its connections; what runs there is lost."""
        self._drop_spares()
        for transport in (self._transport, self._bridge):
            if transport is not None:
                transport.close()
        self._transport = self._bridge = None

    def _answers(self, transport: Transport) -> bool:
        """Whether the connection still stands; one long unused is asked: hosts may stop without a word."""
        if not transport.is_active():
            return False
        if time.monotonic() - self._used < _IDLE or alive(transport, _IDLE / 2):
            return True
        transport.close()
        return False

    def _pack(self, script: str, stdin: bytes, files: Sequence[Upload]) -> wire.Request:
        try:
            return wire.pack(script, stdin, files)
        except OSError as error:
            raise StepFailed(f"cannot read {error.filename}: {error.strerror}") from error

    def _run(
        self,
        request: wire.Request,
        timeout: float | None,
        user: str | None,
        say: Callable[[str], None] | None,
    ) -> Ran:
        sent = _Progress(say, request.size) if say is not None and request.raw else None
        command = wire.as_user(request.boot, user, self.login)
        spare = self._take_spare(command)
        try:
            ran = self._send(spare, request, timeout, sent, say) if spare is not None else None
            if ran is None:
                ran = self._send(self._start(command), request, timeout, sent, say)
        except ConnectionLost as error:
            raise self._lost(error.sent) from error
        if ran is None:
            raise self._lost(sent=False)
        self._used = time.monotonic()
        return ran

    def _send(
        self,
        shell: Shell,
        request: wire.Request,
        timeout: float | None,
        sent: _Progress | None,
        say: Callable[[str], None] | None,
    ) -> Ran | None:
        """What the script gave; None where the connection was lost before the host can have run it."""
        self.round_trips += 1
        if self.round_trips > 1:
            # Who runs two will run more: have shells ready, so that the next costs one round trip only.
            while len(self._spares) < _SPARES:
                self._spares.append(
                    _Spare(shell.command, partial(self._shell, shell.command, shell.transport))
                )
        try:
            return shell.run(request, timeout, sent, say)
        except ConnectionLost as error:
            if error.sent:
                raise
            self.round_trips -= 1
            return None
        except (OSError, ValueError) as error:
            raise StepFailed(f"{self.name}: the script and its files could not be sent: {error}") from error

    def _start(self, command: str) -> Shell:
        try:
            return self._shell(command, self.transport())
        except ConnectionLost:
            # The connection had died unnoticed; nothing was sent over it yet.
            return self._shell(command, self.transport())

    def _shell(self, command: str, transport: Transport) -> Shell:
        return Shell(self.name, transport, command, self.login, self._forwarding)

    def _lost(self, sent: bool) -> HostUnreachable:
        when = "while a script ran there" if sent else "before the script was sent"
        return HostUnreachable(f"the connection to {self.name} was lost {when}", _RUN_AGAIN)

    def _take_spare(self, command: str) -> Shell | None:
        fresh = time.monotonic() - self._used < _IDLE
        while self._spares:
            spare = self._spares.popleft()
            if spare.command != command or not fresh:
                spare.drop()
                continue
            shell = spare.take()
            if shell is not None and shell.alive:
                return shell
            if shell is not None:
                shell.close()
        return None

    def _drop_spares(self) -> None:
        while self._spares:
            self._spares.popleft().drop()


class _Progress:
    """Tells now and then how much of something big is sent."""

    def __init__(self, say: Callable[[str], None], size: int) -> None:
        self._say = say
        self._size = size
        # Of something big the user hears at once.
        self._told = 0.0 if size >= _BIG else time.monotonic()

    def __call__(self, sent: int) -> None:
        now = time.monotonic()
        if now - self._told < _TELL_EVERY:
            return
        self._told = now
        megabytes = f"{sent / 1e6:.0f} of {self._size / 1e6:.0f} MB"
        self._say(f"sending: {megabytes}, {100 * sent // self._size} %")


class _Spare:
    """A shell that is being started on the side, for the next script."""

    def __init__(self, command: str, start: Callable[[], Shell]) -> None:
        self.command = command
        self._shell = aside(start)

    def take(self) -> Shell | None:
        """The shell once it is up; None where it does not come up."""
        try:
            return self._shell.result(_STARTING)
        except (ConnectionLost, HostUnreachable, TimeoutError):
            self.drop()
            return None

    def drop(self) -> None:
        """Nobody wants it: it is closed, if it is not up yet as soon as it is. Nothing is waited for."""
        unheard(self._shell, Shell.close)
