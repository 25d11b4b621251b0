"""The SOCKS5 proxy (RFC 1928) that is the only way into the sandbox's network: CONNECT, no login."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket

from engine.sandbox.streams import join, shut
from engine.sandbox.wires import NoSuchHost, Wires

SILENCE_SECONDS = 10.0
"""How long a connection that gets no answer is left hanging before it is given up."""

_GRANTED, _HOST_UNREACHABLE, _REFUSED, _NO_COMMAND, _NO_ADDRESS = 0, 4, 5, 7, 8


class Socks:
    """Listens on the loopback interface and wires callers to machines."""

    def __init__(self, wires: Wires) -> None:
        self._wires = wires
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self, listener: socket.socket) -> None:
        """Begins to answer on `listener`."""
        self._server = await asyncio.start_server(self._serve, sock=listener)

    async def stop(self) -> None:
        """Listens no longer, and cuts the connections there are."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            await self._talk(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            await shut(writer)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        version, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        if version != 5 or 0 not in methods:
            writer.write(b"\x05\xff")
            return
        writer.write(b"\x05\x00")
        _, command, _, sort = await reader.readexactly(4)
        host = await _host(reader, sort)
        port = int.from_bytes(await reader.readexactly(2), "big")
        if host is None or command != 1:
            writer.write(_reply(_NO_ADDRESS if host is None else _NO_COMMAND))
            return
        await self._connect(reader, writer, host, port)

    async def _connect(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int
    ) -> None:
        try:
            end = await self._wires.from_caller(host, port)
        except NoSuchHost:
            writer.write(_reply(_HOST_UNREACHABLE))
            return
        except ConnectionRefusedError:
            writer.write(_reply(_REFUSED))
            return
        if end is None:
            with contextlib.suppress(TimeoutError):  # a caller that gives up sooner closes: no need to wait
                await asyncio.wait_for(reader.read(1), SILENCE_SECONDS)
            writer.write(_reply(_HOST_UNREACHABLE))
            return
        there = await asyncio.open_connection(sock=end)
        writer.write(_reply(_GRANTED))
        await join((reader, writer), there)


def _reply(code: int) -> bytes:
    return bytes([5, code, 0, 1, 0, 0, 0, 0, 0, 0])


async def _host(reader: asyncio.StreamReader, sort: int) -> str | None:
    if sort == 1:
        return str(ipaddress.IPv4Address(await reader.readexactly(4)))
    if sort == 4:
        return str(ipaddress.IPv6Address(await reader.readexactly(16)))
    if sort == 3:
        (size,) = await reader.readexactly(1)
        return (await reader.readexactly(size)).decode("ascii", "replace").lower().rstrip(".")
    return None
