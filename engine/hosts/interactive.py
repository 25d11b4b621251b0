"""`labctl ssh HOST [COMMAND]`: OpenSSH's ssh where it is installed, else a session over paramiko."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from engine.hosts.agent import Forwarding, connect_to_agent, listening, own_agent

if TYPE_CHECKING:
    from paramiko.channel import Channel

    from engine.hosts.hosts import Hosts


def ssh(hosts: Hosts, name: str, command: Sequence[str] = (), *, openssh: str | None = None) -> int:
    """Log in to the host `name`, or run `command` there, with this process's streams; the exit status.

    `openssh` is the ssh program to use: by default the one in PATH, "" for none. Raises HostUnreachable.
    """
    program = shutil.which("ssh") if openssh is None else openssh
    return _with_openssh(program, hosts, name, command) if program else _with_paramiko(hosts, name, command)


def _with_openssh(program: str, hosts: Hosts, name: str, command: Sequence[str]) -> int:
    spec = hosts.spec(name)
    config = hosts.write_ssh_config()
    arguments = [program, "-F", str(config), spec.alias, *(["--", *command] if command else [])]
    with _agent_for(spec.key if spec.forward_agent else None) as environment, _interrupts_left_to_child():
        return subprocess.run(arguments, env=environment, check=False).returncode


@contextmanager
def _agent_for(key: str | None) -> Iterator[Mapping[str, str]]:
    """The environment for ssh: with an agent that holds `key`, where one is to be forwarded and none runs."""
    running = connect_to_agent() if key is not None else None
    if running is not None:
        running.close()
    if key is None or running is not None:
        yield dict(os.environ)
        return
    with listening(own_agent(key)) as path:
        yield {**os.environ, "SSH_AUTH_SOCK": str(path)}


@contextmanager
def _interrupts_left_to_child() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _with_paramiko(hosts: Hosts, name: str, command: Sequence[str]) -> int:
    spec = hosts.spec(name)
    channel = hosts.glance(name, timeout=20).transport().open_session(timeout=30)
    if spec.forward_agent:
        channel.request_forward_agent(Forwarding(spec.key).accept)
    with channel:
        if command:
            channel.exec_command(" ".join(command))
            _carry(channel)
        else:
            _shell(channel)
        status = channel.recv_exit_status()
    return status if status >= 0 else 255


def _shell(channel: Channel) -> None:
    if not os.isatty(0):
        channel.invoke_shell()
        _carry(channel)
        return
    size = os.get_terminal_size(0)
    channel.get_pty(os.environ.get("TERM", "vt100"), size.columns, size.lines)
    channel.invoke_shell()
    with _raw_terminal(), _resizing(channel):
        _carry(channel)


def _carry(channel: Channel) -> None:
    """This process's standard streams to and from the channel, until the other side ends."""
    threading.Thread(target=_send_input, args=(channel,), daemon=True).start()
    errors = threading.Thread(target=_copy, args=(channel.recv_stderr, 2), daemon=True)
    errors.start()
    _copy(channel.recv, 1)
    errors.join()


def _send_input(channel: Channel) -> None:
    with suppress(OSError, EOFError):
        while data := os.read(0, 1 << 14):
            channel.sendall(data)
        channel.shutdown_write()


def _copy(receive: Callable[[int], bytes], to: int) -> None:
    with suppress(OSError):
        while data := receive(1 << 15):
            view = memoryview(data)
            while view:
                view = view[os.write(to, view) :]


@contextmanager
def _raw_terminal() -> Iterator[None]:
    """The terminal passes every key on as it is, and is put back at the end; without termios it stays."""
    try:
        import termios
        import tty
    except ImportError:
        yield
        return
    before = termios.tcgetattr(0)
    try:
        # What was typed ahead is for the host: it is not thrown away.
        tty.setraw(0, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextmanager
def _resizing(channel: Channel) -> Iterator[None]:
    """The host is told of each new size of the terminal's window."""
    change = getattr(signal, "SIGWINCH", None)
    if change is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def tell(number: int, frame: object) -> None:
        size = os.get_terminal_size(0)
        channel.resize_pty(size.columns, size.lines)

    before = signal.signal(change, tell)
    try:
        yield
    finally:
        signal.signal(change, before)
