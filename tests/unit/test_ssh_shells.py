"""Shells on a host that hangs: waiting for one has a limit, and the end of a command waits for none."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import asyncssh
import paramiko
import pytest

from engine.hosts.host import Host
from engine.hosts.shell import start

QUICK = 5.0
"""Seconds that are few beside those that a shell may take to start (30), and many for a busy machine."""


class Stubborn(asyncssh.SSHServer):
    """Runs the first `healthy` commands; whoever wants another gets no answer."""

    def __init__(self, healthy: int) -> None:
        self.asked = 0
        self.hung = threading.Semaphore(0)
        self._healthy = healthy

    def begin_auth(self, username: str) -> bool:
        return False

    def session_requested(self) -> Any:
        self.asked += 1
        return _run_here if self.asked <= self._healthy else self._no_answer()

    async def _no_answer(self) -> Any:
        self.hung.release()
        await asyncio.Event().wait()


async def _run_here(
    stdin: asyncssh.SSHReader[bytes], stdout: asyncssh.SSHWriter[bytes], stderr: asyncssh.SSHWriter[bytes]
) -> None:
    process = await asyncio.create_subprocess_shell(
        stdout.channel.get_command() or "exit",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await process.communicate(await stdin.read())
    stdout.write(told)
    stdout.channel.exit(process.returncode or 0)


@contextmanager
def served(server: Stubborn) -> Iterator[Callable[[], paramiko.Transport]]:
    """A way to log in to `server`, once."""
    here, there = socket.socketpair()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def carried_out(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(QUICK)

    async def serve() -> asyncssh.SSHServerConnection:
        key = asyncssh.generate_private_key("ssh-ed25519")
        return await asyncssh.run_server(
            there, server_factory=lambda: server, server_host_keys=[key], encoding=None
        )

    async def end(connection: asyncssh.SSHServerConnection) -> None:
        connection.abort()
        await connection.wait_closed()
        unanswered = asyncio.all_tasks() - {asyncio.current_task()}
        for task in unanswered:
            task.cancel()
        await asyncio.gather(*unanswered, return_exceptions=True)

    serving = asyncio.run_coroutine_threadsafe(serve(), loop)

    def dial() -> paramiko.Transport:
        transport = paramiko.Transport(here)
        transport.start_client(timeout=QUICK)
        transport.auth_none("root")
        return transport

    try:
        yield dial
        carried_out(end(serving.result(QUICK)))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(QUICK)
        loop.close()


def test_the_end_waits_for_no_shell_that_is_being_started() -> None:
    server = Stubborn(healthy=2)
    with served(server) as dial:
        host = Host("web", "root", dial)
        assert [host.run("echo here").stdout for _ in range(2)] == [b"here\n"] * 2
        assert server.hung.acquire(timeout=QUICK), "no shell is being started for the next script"
        began = time.monotonic()
        host.close()
        assert time.monotonic() - began < QUICK


class _Deaf(paramiko.ServerInterface):
    def __init__(self) -> None:
        self.over = threading.Event()

    def get_allowed_auths(self, username: str) -> str:
        return "none"

    def check_auth_none(self, username: str) -> int:
        return paramiko.common.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self.over.wait()
        return False


def test_a_command_that_a_host_never_starts_is_given_up() -> None:
    here, there = socket.socketpair()
    server = _Deaf()
    far = paramiko.Transport(there)
    far.add_server_key(paramiko.ECDSAKey.generate())
    far.start_server(event=threading.Event(), server=server)
    near = paramiko.Transport(here)
    try:
        near.start_client(timeout=QUICK)
        near.auth_none("root")
        channel = near.open_session(timeout=QUICK)
        with pytest.raises(paramiko.SSHException):
            start(channel, "true", within=0.1)
    finally:
        server.over.set()
        near.close()
        far.close()
