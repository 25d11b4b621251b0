"""A TCP relay that stands for distance: what passes through it arrives half a round trip later.

    python benchmarks/relay.py HOST:PORT SECONDS    prints the port of 127.0.0.1 that it listens on

Opening a connection costs what it does at that distance, too. How much passes at once is not limited.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """Pass on what `reader` brings, each piece `seconds` after it came."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due, data = await pieces.get()
            if (left := due - loop.time()) > 0:
                await asyncio.sleep(left)
            if not data:
                return
            writer.write(data)
            await writer.drain()

    delivery = asyncio.create_task(deliver())
    try:
        while data := await reader.read(1 << 16):
            pieces.put_nowait((loop.time() + seconds, data))
    except OSError:
        pass
    pieces.put_nowait((loop.time() + seconds, b""))
    try:
        await delivery
        writer.write_eof()
    except OSError:
        writer.close()


async def serve(host: str, port: int, round_trip: float) -> None:
    """Relay to `host`:`port` for ever."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # SYN, SYN-ACK and ACK have to travel before the other side sees the connection.
        await asyncio.sleep(1.5 * round_trip)
        try:
            back, forth = await asyncio.open_connection(host, port)
        except OSError:
            writer.close()
            return
        for side in (writer, forth):
            side.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        half = round_trip / 2
        await asyncio.gather(pump(reader, forth, half), pump(back, writer, half))
        writer.close()
        forth.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, backlog=200)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    where, _, number = sys.argv[1].rpartition(":")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(where, int(number), float(sys.argv[2])))
