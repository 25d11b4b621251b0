"""The SSH server of one machine: real protocol, real keys, commands run in the machine's virtual bash.

Who may log in is what the machine's own files say (`~/.ssh/authorized_keys`), as with sshd. Jumps
(direct-tcpip) leave from the machine, so its routes and groups decide. Agents are forwarded.
"""

from __future__ import annotations

import asyncio
import logging
import re
import shlex
import socket
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import asyncssh
from asyncssh.stream import SSHTCPStreamSession

from engine.sandbox.hostkeys import HostKeys
from engine.sandbox.streams import join
from engine.sandbox.terminal import Terminal

BANNER = "OpenSSH_9.6p1 Ubuntu-3ubuntu13.14"
PATIENCE_SECONDS = 0.4
"""How long a command that seems not to read its input is kept waiting for input that never comes."""
READERS_PATIENCE_SECONDS = 3.0
"""The same for one that seems to read: somebody at a terminal who sends nothing has nothing to send."""
CONNECT_SECONDS = 10.0
_READERS = re.compile(r"\b(cat|dd|read|tee|head|sort|xargs|docker|apt-key|gpg|base64|psql)\b")
_SHELLS = re.compile(r"\b(sh|bash|dash|su|tar)\b")
"""A program at the other end may keep these open for long before it says what to do."""
_KEPT = re.compile(r"(export\s+)?[A-Za-z_][A-Za-z0-9_]*=\S*|export\s.*|alias\s.*|set\s.*|umask\s.*")
_MARK = b"\x1e"

asyncssh.set_log_level(logging.ERROR)


class Disk(Protocol):
    """The files of a machine."""

    def text(self, path: str) -> str:
        """The text at `path`; empty where there is none."""


class Shells(Protocol):
    """What a machine must offer for people to log in."""

    hostname: str
    disk: Disk

    def login(self, user: str, agent: str | None = None) -> Any:
        """The account of `user`, a dataclass with `home` and `agent`; KeyError where there is none."""

    async def run(
        self,
        command: str,
        *,
        user: str,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        agent: str | None = None,
        login: Any = None,
    ) -> Any:
        """Runs a command; a result with `status`, `stdout`, `stderr`."""


class Jumps(Protocol):
    """The network as the machine sees it."""

    async def connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection; None where no answer comes, ConnectionRefusedError where nothing listens."""


class SshServer:
    """Serves the connections to port 22 of one machine."""

    def __init__(self, machine: Any, keys: HostKeys, user: str) -> None:
        self._machine: Shells = machine
        self._keys = keys
        self._user = user
        self._connections: set[asyncssh.SSHServerConnection] = set()

    async def serve(self, end: socket.socket, network: Jumps) -> None:
        """Speaks SSH on a connection until it ends."""
        door = _Door(self._machine, self._user, network)
        try:
            connection = await asyncssh.run_server(
                end,
                server_factory=lambda: door,
                server_host_keys=list(self._keys.keys),
                server_version=BANNER,
                process_factory=door.session,
                encoding=None,
                line_editor=False,
                agent_forwarding=True,
                password_auth=False,
                kbdint_auth=False,
                login_timeout=60,
            )
        except (OSError, asyncssh.Error):
            end.close()
            return
        self._connections.add(connection)
        try:
            await connection.wait_closed()
        finally:
            self._connections.discard(connection)

    def cut(self) -> None:
        """Ends all connections at once, as when the machine goes down."""
        for connection in list(self._connections):
            connection.abort()


class _Door(asyncssh.SSHServer):
    """One connection: who may come in, where jumps lead, what sessions do."""

    def __init__(self, machine: Shells, user: str, network: Jumps) -> None:
        self._machine = machine
        self._default = user
        self._network = network
        self._connection: asyncssh.SSHServerConnection | None = None
        self._login: Any = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Someone is at the door."""
        self._connection = conn

    def auth_completed(self) -> None:
        """They are in: their groups are those of this moment."""
        user = self._connection.get_extra_info("username") if self._connection else ""
        if user != "root":
            self._login = self._machine.login(user)

    def begin_auth(self, username: str) -> bool:
        """Everyone must show a key."""
        return True

    def public_key_auth_supported(self) -> bool:
        """Keys are the only way in."""
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Whether the account's authorized keys hold `key`; root's are the login user's, to be told so."""
        account = self._default if username == "root" else username
        try:
            login = self._machine.login(account)
        except KeyError:
            return False
        text = self._machine.disk.text(f"{login.home}/.ssh/authorized_keys")
        shown = key.export_public_key("openssh").split()[:2]
        return any(shown == line.encode().split()[:2] for line in text.splitlines())

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> Any:
        """A jump to another host, as seen from this machine."""
        return self._jump(dest_host, dest_port)

    async def _jump(self, host: str, port: int) -> Any:
        try:
            there = await self._network.connect(host, port)
        except ConnectionRefusedError as error:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "Connection refused") from error
        if there is None:
            await asyncio.sleep(CONNECT_SECONDS)
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "Connection timed out")

        async def carry(reader: Any, writer: Any) -> None:
            await join((reader, writer), there)

        return SSHTCPStreamSession(carry)

    async def session(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """One channel: a command, a script on its input, or a shell at a terminal."""
        try:
            await self._session(process)
        except (asyncssh.Error, OSError, asyncio.IncompleteReadError):
            process.close()

    async def _session(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        user = process.get_extra_info("username")
        if user == "root":
            text = f'Please login as the user "{self._default}" rather than the user "root".\n\n'
            process.stdout.write(text.encode())
            process.exit(142)
            return
        if process.subsystem:
            process.stderr.write(b"subsystem request failed\n")
            process.exit(1)
            return
        if process.command is None and process.term_type:
            await self._shell(process, user)
            return
        stdin = await _input(process)
        command = process.command if process.command is not None else stdin.decode(errors="replace")
        result = await self._run(process, user, command, stdin if process.command is not None else b"")
        process.stdout.write(result.stdout)
        process.stderr.write(result.stderr)
        process.exit(result.status)

    async def _run(
        self, process: asyncssh.SSHServerProcess[bytes], user: str, command: str, stdin: bytes
    ) -> Any:
        # Who closes the channel at once, without waiting for an answer, has its command run all the same.
        agent = None if process.is_closing() else process.channel.get_agent_path()
        login = replace(self._login, agent=agent)  # the groups stay those of the moment of login
        return await self._machine.run(
            command, user=user, stdin=stdin, env=dict(process.env), agent=agent, login=login
        )

    async def _shell(self, process: asyncssh.SSHServerProcess[bytes], user: str) -> None:
        """Lines typed at a terminal, each run on its own; directory and settings carried along."""
        terminal = Terminal(process.stdin, process.stdout)
        home = str(self._login.home)
        folder, kept, status = home, [], 0
        terminal.show(f"Welcome to {self._machine.hostname}, a machine of labctl's sandbox.\n\n".encode())
        while True:
            shown = folder.replace(home, "~", 1) if folder.startswith(home) else folder
            line = await terminal.line(f"{user}@{self._machine.hostname}:{shown}$ ")
            words = ["exit"] if line is None else line.split()
            if line is None or words[:1] in (["exit"], ["logout"]):
                status = int(words[1]) & 255 if len(words) > 1 and words[1].isdecimal() else status
                break
            if not line.strip():
                continue
            if _KEPT.fullmatch(line.strip()):
                kept.append(line)
            script = "\n".join([f"cd {shlex.quote(folder)}", *kept, line])
            ending = '\nlabctl_status=$?; printf "\\036%s\\036" "$PWD"; exit $labctl_status\n'
            result = await self._run(process, user, script + ending, b"")
            output, mark, rest = result.stdout.partition(_MARK)
            folder = rest.removesuffix(_MARK).decode() if mark else folder
            terminal.show(output + result.stderr)
            status = result.status
        terminal.show(b"logout\n")
        process.exit(status)


async def _input(process: asyncssh.SSHServerProcess[bytes]) -> bytes:
    """All of a command's input.

    Commands that seem to read it get it whole, once it has begun. No command waits for people at a terminal,
    whose ssh sends no end of input.
    """
    if process.term_type:
        return b""
    if process.command is None or _SHELLS.search(process.command):
        return await process.stdin.read()
    parts = []
    reads = bool(_READERS.search(process.command))
    patience: float | None = READERS_PATIENCE_SECONDS if reads else PATIENCE_SECONDS
    try:
        while part := await asyncio.wait_for(process.stdin.read(1 << 16), patience):
            parts.append(part)
            patience = None if reads else PATIENCE_SECONDS
    except TimeoutError:
        pass
    return b"".join(parts)
