"""One shell on a host, started and waiting for its one script: a channel over a connection, with limits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from shlex import quote
from typing import TYPE_CHECKING, Final

from engine.errors import HostUnreachable, StepFailed
from engine.hosts import wire
from engine.hosts.spec import Ran

if TYPE_CHECKING:
    from paramiko.channel import Channel
    from paramiko.transport import Transport

    from engine.hosts.agent import Forwarding

_OPENING: Final = 30.0
"""Seconds that a channel may take to open on a connection that is there, and as long its command to start."""
_QUIET: Final = 30.0
"""Seconds without a word from the host after which the connection is probed."""
_LEFTOVER: Final = 1.5
"""Seconds to wait for the end of output once the script has ended: what it left running may hold on to it."""
_KILLED: Final = 137
"""The exit status told for a shell that was killed."""


class ConnectionLost(Exception):
    """The connection broke; `sent` tells whether the host may have got the whole script."""

    def __init__(self, sent: bool) -> None:
        super().__init__("connection lost")
        self.sent = sent


def alive(transport: Transport, timeout: float) -> bool:
    """Whether the other side of a connection answers within `timeout` seconds."""
    from paramiko import ChannelException, SSHException

    try:
        transport.open_session(timeout=timeout).close()
    except ChannelException:
        # A refusal is an answer.
        return True
    except (SSHException, OSError, EOFError):
        return False
    return True


def hasten(transport: Transport) -> None:
    """Have the other side of a connection that only leads on to other hosts send small packets at once.

    OpenSSH's server sets TCP_NODELAY on a connection with its first session. Without one, each answer that
    comes through may wait for the caller's delayed acknowledgement, 40 ms and more, on every round trip. The
    session is asked for on the side and does nothing; a host that gives none is slower, and that is all.
    """

    def ask() -> None:
        from paramiko import SSHException

        with suppress(SSHException, OSError, EOFError):
            channel = transport.open_session(timeout=_OPENING)
            start(channel, "exit")
            channel.status_event.wait(_OPENING)
            channel.close()

    threading.Thread(target=ask, daemon=True).start()


def start(channel: Channel, command: str, within: float = _OPENING) -> None:
    """Start `command` on a channel; one that has not started after `within` seconds is closed.

    By itself paramiko waits for ever for a host that has stopped without a word. Raises SSHException.
    """
    giving_up = threading.Timer(within, end, (channel,))
    giving_up.daemon = True
    giving_up.start()
    try:
        channel.exec_command(command)
    finally:
        giving_up.cancel()


def end(channel: Channel) -> None:
    """Close a channel. A connection that breaks at this moment has nothing left to be told about."""
    from paramiko import SSHException

    with suppress(SSHException, OSError, EOFError):
        channel.close()


class Shell:
    """A shell on a host that waits for a script.

    Raises ConnectionLost where the connection is gone, HostUnreachable where the host opens no more shells.
    """

    def __init__(
        self, name: str, transport: Transport, command: str, login: str, forwarding: Forwarding | None = None
    ) -> None:
        from paramiko import ChannelException, SSHException

        self.command = command
        self.transport = transport
        self._name = name
        self._login = login
        self._sent = False
        try:
            self._channel = transport.open_session(timeout=_OPENING)
            if forwarding is not None:
                self._channel.request_forward_agent(forwarding.accept)
            start(self._channel, command)
        except ChannelException as error:
            raise HostUnreachable(
                f"{name} opens no more shells on this connection",
                "its sshd may have a low MaxSessions; run again, or raise it",
            ) from error
        except (SSHException, OSError, EOFError) as error:
            raise ConnectionLost(sent=False) from error

    @property
    def alive(self) -> bool:
        """Whether it still waits for its script."""
        channel = self._channel
        return self.transport.is_active() and not (channel.closed or channel.exit_status_ready())

    def close(self) -> None:
        """End it without a script, or give up on what it runs."""
        end(self._channel)

    def run(
        self,
        request: wire.Request,
        timeout: float | None,
        sent: Callable[[int], None] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> Ran:
        """Send the script and wait for its end, at most `timeout` seconds (None: for ever).

        `sent` hears how many bytes are on their way, piece by piece; `say` what the script tells meanwhile.

        Raises StepFailed when time is up (what it runs is ended there), ConnectionLost, and HostUnreachable
        where the host starts no shell (sudo, a wrong user).
        """
        ends = None if timeout is None else time.monotonic() + timeout
        collector = _Collector(self._channel, say)
        try:
            self._send(request, collector, sent)
            if not self._await(collector, ends):
                self._kill(collector)
                told = f"; the last it said: {collector.told}" if collector.told else ""
                raise StepFailed(
                    f"{self._name}: not done after {timeout:g} s, ended there{told}",
                    "allow it more with `timeout:`, or find out on the host what it waits for",
                )
        finally:
            self.close()
        return self._result(collector)

    def _send(self, request: wire.Request, collector: _Collector, sent: Callable[[int], None] | None) -> None:
        count = 0
        self._channel.settimeout(_QUIET)
        try:
            for chunk in request.chunks():
                self._channel.sendall(chunk)
                count += len(chunk)
                if sent is not None:
                    sent(count)
            self._sent = True
            self._channel.shutdown_write()
        except (OSError, EOFError) as error:
            if not self.transport.is_active():
                raise ConnectionLost(self._sent) from error
            # The other side takes no more: it ended early. What it wrote tells why.
            if isinstance(error, TimeoutError) or not collector.gave_up():
                raise

    def _await(self, collector: _Collector, ends: float | None) -> bool:
        heard = time.monotonic()
        while not collector.complete():
            now = time.monotonic()
            if ends is not None and now >= ends:
                return False
            if collector.collect(min(1.0, _QUIET if ends is None else ends - now)):
                heard = time.monotonic()
            elif time.monotonic() - heard > _QUIET:
                self._probe()
                heard = time.monotonic()
        return True

    def _probe(self) -> None:
        if not alive(self.transport, _QUIET / 2):
            self.transport.close()
            raise ConnectionLost(self._sent)

    def _kill(self, collector: _Collector) -> None:
        from paramiko import SSHException

        started = wire.hello(bytes(collector.stdout))
        if started is None:
            return
        boot = wire.kill(started[0])
        prefix = self.command.partition("sh -c ")[0]
        try:
            killer = self.transport.open_session(timeout=_OPENING)
            start(killer, f"{prefix}sh -c {quote(boot)}")
            killer.status_event.wait(5)
            killer.close()
        except (SSHException, OSError, EOFError):
            return

    def _result(self, collector: _Collector) -> Ran:
        status = self._channel.recv_exit_status()
        stdout, stderr = bytes(collector.stdout), bytes(collector.stderr)
        started = wire.hello(stdout)
        if status < 0 and self._breaks():
            raise ConnectionLost(self._sent)
        if started is None:
            what, remedy = no_shell(self._name, self._login, stdout, stderr)
            raise HostUnreachable(what, remedy)
        return Ran(status if status >= 0 else _KILLED, started[1], stderr)

    def _breaks(self) -> bool:
        # A connection that ends closes its channels first: what looks like a killed shell may be just that.
        ends = time.monotonic() + 0.5
        while self.transport.is_active() and time.monotonic() < ends:
            time.sleep(0.01)
        return not self.transport.is_active()


class _Bell(threading.Event):
    """An event for two buffers, which each would clear what the other has set."""

    def clear(self) -> None:
        return

    def hush(self) -> None:
        super().clear()


class _Collector:
    """What a channel brings, as it comes."""

    def __init__(self, channel: Channel, say: Callable[[str], None] | None = None) -> None:
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.told = ""
        """The last words for the user."""
        self._say = say
        self._heard = 0
        self._channel = channel
        self._bell = _Bell()
        self._last = time.monotonic()
        self._over: float | None = None
        channel.in_buffer.set_event(self._bell)
        channel.in_stderr_buffer.set_event(self._bell)

    def collect(self, wait: float) -> bool:
        """Take in what there is, waiting for it up to `wait` seconds; whether anything came."""
        self._bell.wait(max(wait, 0.0))
        self._bell.hush()
        before = len(self.stdout) + len(self.stderr)
        while self._channel.recv_ready():
            self.stdout += self._channel.recv(1 << 20)
        while self._channel.recv_stderr_ready():
            self.stderr += self._channel.recv_stderr(1 << 20)
        if len(self.stdout) + len(self.stderr) == before:
            # At the end of the data the bell stays rung; the exit status may still be on its way.
            if self._ended:
                self._channel.status_event.wait(max(wait, 0.0))
            return False
        self._last = time.monotonic()
        self._listen()
        return True

    def _listen(self) -> None:
        """Pass on the words for the user in lines of standard error that are complete now."""
        end = self.stderr.rfind(b"\n") + 1
        for line in self.stderr[self._heard : end].decode("utf-8", "replace").splitlines():
            if line.startswith(wire.SAY):
                self.told = line.removeprefix(wire.SAY)
                if self._say is not None:
                    self._say(self.told)
        self._heard = max(end, self._heard)

    def complete(self) -> bool:
        """Whether nothing more is to be expected."""
        if self._waiting:
            return False
        if self._sent_away:
            return True
        if not self._channel.exit_status_ready():
            return False
        if self._ended:
            return True
        # The exit status may overtake the last output: only quiet since then counts.
        self._over = self._over or time.monotonic()
        return time.monotonic() - max(self._over, self._last) > _LEFTOVER

    def gave_up(self) -> bool:
        """Whether the other side has closed the channel."""
        return self._ended or self._channel.exit_status_ready()

    @property
    def _waiting(self) -> bool:
        return self._channel.recv_ready() or self._channel.recv_stderr_ready()

    @property
    def _ended(self) -> bool:
        return bool(self._channel.eof_received or self._channel.closed)

    @property
    def _sent_away(self) -> bool:
        # Cloud images answer for root with this text and then hold the line for ten seconds.
        return b"Please login as the user" in self.stdout[:1000] and wire.hello(bytes(self.stdout)) is None


def no_shell(name: str, login: str, stdout: bytes, stderr: bytes) -> tuple[str, str]:
    """Why a host that let `login` in starts no shell for scripts: what is wrong, and the remedy."""
    told = (stdout + b"\n" + stderr).decode("utf-8", "replace").strip()
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    if "Please login as the user" in told:
        said = next(line for line in lines if "Please login as the user" in line).rstrip(".")
        words = said.split('"')
        user = words[1] if len(words) > 1 else ""
        return (
            f"{name} does not work for the user {login}: it says “{said}”",
            f"write ssh: {{user: {user}}} in the playbook" if user else "log in as another user",
        )
    if "sudo" in told and ("password" in told or "terminal" in told or "askpass" in told):
        return (
            f"{login} on {name} may become root only with a password",
            f"on {name}: echo '{login} ALL=(ALL) NOPASSWD:ALL' | sudo tee /etc/sudoers.d/90-labctl",
        )
    if "sudoers" in told or "not allowed to execute" in told:
        return (
            f"{login} on {name} may not become root",
            "log in as a user who may (on cloud images ubuntu, admin or ec2-user)",
        )
    if "sudo" in told and "not found" in told:
        return f"{name} has no sudo, and {login} is not root", "log in as root, or install sudo"
    last = lines[-1][:300] if lines else "it says nothing"
    return f"{name} starts no shell for {login}: {last}", f"see what `ssh {login}@{name} true` says"
