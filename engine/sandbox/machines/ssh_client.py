"""ssh from one simulated machine to another, with the forwarded agent's keys."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from shlex import join

from engine.sandbox.machines.command import Call, Command, options


async def ssh(call: Call) -> int:
    """ssh [-A] [-p PORT] [-l USER] [-i FILE] [-o NAME=VALUE] [USER@]HOST COMMAND…."""
    given = options(
        call.args,
        values={"-p", "-l", "-i", "-o", "-F", "-J", "-W", "-L", "-R", "-D", "-e", "-E", "-c", "-m"},
        stop=True,
    )
    if "-V" in given:
        return call.complain("OpenSSH_8.9p1 Ubuntu-3ubuntu0.13, OpenSSL 3.0.2 15 Mar 2022", 0)
    if not given.rest:
        return call.complain(
            "usage: ssh [-46AaCfGgKkMNnqsTtVvXxYy] destination [command [argument ...]]", 255
        )
    user, _, host = given.rest[0].rpartition("@")
    port = int(given.last("-p", "22"))
    try:
        found = await call.place.network.connect(host, port)
    except ConnectionRefusedError:
        return call.complain(f"ssh: connect to host {host} port {port}: Connection refused", 255)
    except OSError:
        return call.complain(f"ssh: Could not resolve hostname {host}: Name or service not known", 255)
    if found is None:
        return call.complain(f"ssh: connect to host {host} port {port}: Connection timed out", 255)
    user = user or given.last("-l") or call.login.user
    return await _session(call, found, user, host, given.every("-i"), "-A" in given, given.rest[1:])


async def _session(
    call: Call,
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    user: str,
    host: str,
    identities: list[str],
    forward: bool,
    words: list[str],
) -> int:
    import asyncssh

    agent = call.env.get("SSH_AUTH_SOCK")
    keys = []
    for name in identities:
        with contextlib.suppress(FileNotFoundError, asyncssh.KeyImportError):
            keys.append(asyncssh.import_private_key(call.place.disk.read(call.path(name))))
    ours, theirs = socket.socketpair()
    pump = asyncio.ensure_future(_pump(theirs, *streams))
    try:
        async with asyncssh.connect(
            host,
            sock=ours,
            username=user,
            known_hosts=None,
            config=None,
            agent_path=agent or None,
            agent_forwarding=bool(forward and agent),
            client_keys=keys or ([] if not agent else ()),
        ) as connection:
            command = words[0] if len(words) == 1 else join(words) if words else "bash -s"
            done = await connection.run(
                " ".join(words) if words else command, input=await call.read(), encoding=None
            )
    except asyncssh.PermissionDenied:
        return call.complain(f"{user}@{host}: Permission denied (publickey).", 255)
    except (OSError, asyncssh.Error):
        return call.complain(f"Connection closed by {host} port 22", 255)
    finally:
        pump.cancel()
    call.out.extend(_bytes(done.stdout))
    call.err.extend(_bytes(done.stderr))
    return 255 if done.exit_status is None else done.exit_status


def _bytes(data: object) -> bytes:
    return bytes(data) if isinstance(data, bytes | bytearray) else str(data or "").encode()


async def _pump(ours: socket.socket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    back, forth = await asyncio.open_connection(sock=ours)

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        target.close()

    await asyncio.gather(copy(reader, forth), copy(back, writer))


COMMANDS: Mapping[str, Command] = {"ssh": ssh}
