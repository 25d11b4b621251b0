"""Runs in a VPC's router: its name server, and the door for connections that the sandbox lets in.

Not imported by labctl: the text of this file is handed to Python inside the container.
"""

import asyncio
import contextlib
import hmac
import json
import os
import re
import socket
import struct
from pathlib import Path
from typing import Any

CALLER = os.environ["LABCTL_CALLER"]
SECRET = os.environ["LABCTL_SECRET"]
STAND_INS = os.environ.get("LABCTL_STAND_INS", "").split()
STAND_IN_ADDRESS = os.environ["LABCTL_STAND_IN_ADDRESS"]
NAMES = Path("/run/names.json")
_PUBLIC = re.compile(r"ec2-(\d+)-(\d+)-(\d+)-(\d+)\.(?:compute-1|[a-z0-9-]+\.compute)\.amazonaws\.com")
_PRIVATE = re.compile(r"ip-(\d+)-(\d+)-(\d+)-(\d+)(?:\.(?:ec2|[a-z0-9-]+\.compute)\.internal)?")
_A = 1
_FREEBIND = 15


def _address(name: str) -> str | None:
    """The address that `name` has in this VPC; None where the internet's name servers are to be asked."""
    if name in STAND_INS:
        return STAND_IN_ADDRESS
    if found := _PRIVATE.fullmatch(name):
        return ".".join(found.groups())
    if found := _PUBLIC.fullmatch(name):
        public = ".".join(found.groups())
        inside: dict[str, str] = json.loads(NAMES.read_text()) if NAMES.exists() else {}
        return inside.get(public, public)
    return None


def _question(query: bytes) -> tuple[str, int, int]:
    labels: list[str] = []
    at = 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii", "replace").lower())
        at += 1 + query[at]
    return ".".join(labels), struct.unpack("!H", query[at + 1 : at + 3])[0], at + 5


def _answer(query: bytes, address: str, sort: int, end: int) -> bytes:
    count = 1 if sort == _A else 0
    head = query[:2] + struct.pack("!HHHHH", 0x8580, 1, count, 0, 0) + query[12:end]
    record = b"\xc0\x0c" + struct.pack("!HHIH", _A, 1, 30, 4) + socket.inet_aton(address)
    return head + (record if count else b"")


class Names(asyncio.DatagramProtocol):
    """The name server: the VPC's own names from here, all others from `upstream`."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.running: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: Any) -> None:
        """The socket is open."""
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """A question."""
        task = asyncio.get_running_loop().create_task(self.reply(data, addr))
        self.running.add(task)
        task.add_done_callback(self.running.discard)

    async def reply(self, query: bytes, caller: Any) -> None:
        """Answers a question; silent about what nobody answers."""
        with contextlib.suppress(OSError, IndexError, struct.error, TimeoutError):
            name, sort, end = _question(query)
            own = _address(name)
            told = _answer(query, own, sort, end) if own else await self.ask(query)
            self.transport.sendto(told, caller)

    async def ask(self, query: bytes) -> bytes:
        """What the internet's name servers answer."""
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.setblocking(False)
            await loop.sock_connect(out, (self.upstream, 53))
            await loop.sock_sendall(out, query)
            return await asyncio.wait_for(loop.sock_recv(out, 4096), 5)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(1 << 16):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
        return
    writer.close()


async def _door(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        secret, host, port = (await asyncio.wait_for(reader.readline(), 10)).decode().split()
        if not hmac.compare_digest(secret, SECRET):
            return
        try:
            there = await asyncio.wait_for(
                asyncio.open_connection(host, int(port), local_addr=(CALLER, 0)), 10
            )
        except ConnectionRefusedError:
            writer.write(b"!")
            return
        except (OSError, TimeoutError):
            writer.write(b"?")
            return
        writer.write(b"+")
        await asyncio.gather(_carry(reader, there[1]), _carry(there[0], writer))
        there[1].close()
    except (OSError, ValueError, TimeoutError):
        return
    finally:
        writer.close()


async def main() -> None:
    """Serves until the container is stopped."""
    text = Path("/etc/resolv.conf").read_text()
    upstream = re.search(r"^nameserver\s+(\S+)", text, re.MULTILINE)
    loop = asyncio.get_running_loop()
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # Answers must come from the address that was asked, which the router is given after its start.
    listener.setsockopt(socket.SOL_IP, _FREEBIND, 1)
    listener.bind((os.environ["LABCTL_RESOLVER"], 53))
    await loop.create_datagram_endpoint(
        lambda: Names(upstream[1] if upstream else "127.0.0.11"), sock=listener
    )
    server = await asyncio.start_server(_door, "0.0.0.0", 7000)
    await server.serve_forever()


asyncio.run(main())
