"""Connections to what listens on this machine, and bytes carried between connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket

_CHUNK = 1 << 16

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def unconnected() -> socket.socket:
    """A TCP socket for the event loop."""
    line = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    line.setblocking(False)
    return line


async def connected(line: socket.socket, address: tuple[str, int]) -> socket.socket:
    """`line`, connected to an address. Raises OSError where nothing answers, with `line` closed."""
    try:
        await asyncio.get_running_loop().sock_connect(line, address)
    except OSError:
        line.close()
        raise
    return line


async def join(one: Streams, other: Streams) -> None:
    """Carries bytes both ways between two connections until both directions have ended."""
    try:
        await asyncio.gather(_carry(one[0], other[1]), _carry(other[0], one[1]))
    finally:
        other[1].close()
    await shut(other[1])


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # the other side may be gone at any moment
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        return
    writer.close()


async def shut(writer: asyncio.StreamWriter) -> None:
    """Closes `writer` and waits until what was written is on its way."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
