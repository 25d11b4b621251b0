"""Connections: from the user and from machines to machines, where the network lets them through.

A connection is one end of a socket pair, at whose other end sits an SSH server or a published port, or it
leads to the router of a container.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from engine.sandbox import CALLER
from engine.sandbox.aws.tenants import interfaces_of, tenant_of
from engine.sandbox.network import (
    SOMEWHERE,
    WEB_PORTS,
    by_private,
    by_public,
    inside,
    interfaces,
    reachable,
    seen_as,
)

if TYPE_CHECKING:
    from engine.sandbox.aws.cloud import Cloud
    from engine.sandbox.fleet import Fleet

_PUBLIC_NAME = re.compile(r"ec2-(\d+)-(\d+)-(\d+)-(\d+)\.(?:compute-1|[a-z0-9-]+\.compute)\.amazonaws\.com")
_PRIVATE_NAME = re.compile(r"ip-(\d+)-(\d+)-(\d+)-(\d+)\.(?:ec2|[a-z0-9-]+\.compute)\.internal")
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
MIRROR = "checkip.amazonaws.com"
"""The one host on the internet that answers: it tells callers the address they come from."""


_log = logging.getLogger(__name__)


class NoSuchHost(Exception):
    """A name that nothing answers to."""


Service = Callable[[str, int, str], Awaitable[socket.socket | None]]
"""Connects to a host and port, for a client at an address of the internet: what answers to names of AWS's
that are no instance's (HTTP APIs, load balancers, websites).

Raises NoSuchHost where the name is not its own, and else does as `Wires.from_caller`.
"""


Tenants = Callable[[str, int, str], Awaitable[socket.socket | None]]
"""Connects to a port of what has an interface and is no instance, by its ARN, for a client at an address."""


async def _nobody(tenant: str, port: int, client: str) -> socket.socket | None:
    raise ConnectionRefusedError


class Wires:
    """Makes connections over the sandbox's network."""

    def __init__(self, cloud: Cloud, fleet: Fleet) -> None:
        self._cloud = cloud
        self._fleet = fleet
        self.services: list[Service] = []
        self.tenants: Tenants = _nobody

    def network(self, instance: str) -> GuestNetwork:
        """The network as the machine of `instance` sees it."""
        return GuestNetwork(self, instance)

    async def from_caller(self, host: str, port: int) -> socket.socket | None:
        """A connection from the user to `host`; None where packets are lost on the way.

        Raises NoSuchHost, and ConnectionRefusedError where nothing listens.
        """
        if host == MIRROR:
            return _mirror(port, CALLER)
        for service in self.services:
            with contextlib.suppress(NoSuchHost):
                return await service(host, port, CALLER)
        address = _resolve(host)
        with self._cloud.lock:
            found = by_public(self._cloud.backends().values(), address)
            if found is None or not reachable(*found, CALLER, port):
                return None
        return await self._arrive(found[1], port, CALLER)

    async def open(self, nic: Any, port: int, *, source: str) -> socket.socket | None:
        """A connection to `port` of the interface `nic` from one of those of the tenant `source`.

        None where the network lets nothing through; raises ConnectionRefusedError where nothing listens.
        """
        with self._cloud.lock:
            ways = [one for one in interfaces_of(nic.ec2_backend, source) if inside(one, nic, port)]
            instance = nic.instance
            if not ways or (instance is not None and instance._state.name != "running"):
                return None
        return await self._arrive(nic, port, str(ways[0].private_ip_address))

    async def _arrive(self, nic: Any, port: int, client: str) -> socket.socket | None:
        """A connection that the network has let through to the interface `nic`."""
        if nic.instance is not None:
            return await self._fleet.open(str(nic.instance.id), port)
        return await self.tenants(tenant_of(nic) or "", port, client)

    async def from_machine(self, instance: str, host: str, port: int) -> socket.socket | None:
        """A connection from the machine of `instance` to `host`; as `from_caller`."""
        if host in ("localhost", "127.0.0.1"):
            return await self._fleet.open(instance, port)
        with self._cloud.lock:
            place = self._place(instance)
            if place is None:
                return None
            backend, nic = place
            if host == MIRROR:
                outside = seen_as(backend, nic, self._fleet.forwards, SOMEWHERE, port)
                return _mirror(port, outside) if outside else None
            outside = seen_as(backend, nic, self._fleet.forwards, SOMEWHERE, port)
        for service in self.services if outside else ():
            with contextlib.suppress(NoSuchHost):
                return await service(host, port, outside or CALLER)
        with self._cloud.lock:
            target = self._target(
                backend, nic, _resolve(host), by_name=not _ADDRESS.fullmatch(host), port=port
            )
        return await self._arrive(target, port, str(nic.private_ip_address)) if target else None

    def _target(self, backend: Any, nic: Any, address: str, *, by_name: bool, port: int) -> Any | None:
        """The interface that packets from `nic` to `address` reach."""
        local = by_private(backend, nic.subnet.vpc_id, address)
        found = by_public(self._cloud.backends().values(), address)
        if local is None and by_name and found is not None and found[1].subnet.vpc_id == nic.subnet.vpc_id:
            local = found[1]  # inside the VPC a public name resolves to the private address
        if local is not None:
            return local if inside(nic, local, port) else None
        outside = seen_as(backend, nic, self._fleet.forwards, address, port)
        if found is None or outside is None or not reachable(*found, outside, port):
            return None
        return found[1]

    def internet(self, instance: str) -> bool:
        """Whether the machine of `instance` has a way out to the web."""
        with self._cloud.lock:
            place = self._place(instance)
            return place is not None and any(
                seen_as(*place, self._fleet.forwards, SOMEWHERE, port) for port in WEB_PORTS
            )

    def _place(self, instance: str) -> tuple[Any, Any] | None:
        for backend in self._cloud.backends().values():
            for nic in interfaces(backend):
                if nic.instance.id == instance and nic.device_index == 0:
                    return backend, nic
        return None


class GuestNetwork:
    """The network as one machine sees it; what engine.sandbox.machines asks for as `Network`."""

    def __init__(self, wires: Wires, instance: str) -> None:
        self._wires = wires
        self._instance = instance

    def internet(self) -> bool:
        """Whether there is a way out to the web right now."""
        return self._wires.internet(self._instance)

    async def connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to `host`; None: no answer comes. ConnectionRefusedError: nothing listens."""
        try:
            end = await self._wires.from_machine(self._instance, host, port)
        except NoSuchHost:
            return None
        return await asyncio.open_connection(sock=end) if end is not None else None


def _resolve(host: str) -> str:
    if _ADDRESS.fullmatch(host):
        return host
    found = _PUBLIC_NAME.fullmatch(host) or _PRIVATE_NAME.fullmatch(host)
    if not found:
        raise NoSuchHost(host)
    return ".".join(found.groups())


def pair() -> tuple[socket.socket, socket.socket]:
    """The two ends of a connection."""
    here, there = socket.socketpair()
    here.setblocking(False)
    there.setblocking(False)
    return here, there


def _mirror(port: int, address: str) -> socket.socket:
    if port != 80:
        raise ConnectionRefusedError
    here, there = pair()
    body = f"{address}\n"
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close"

    async def serve() -> None:
        reader, writer = await asyncio.open_connection(sock=there)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"{head}\r\n\r\n{body}".encode())
        writer.close()

    keep(serve())
    return here


_running: set[asyncio.Task[None]] = set()


def keep(work: Any) -> asyncio.Task[None]:
    """Runs the coroutine `work` to its end; the loop itself keeps tasks only by weak references."""
    task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
    _running.add(task)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[None]) -> None:
    _running.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("in the background: %r", error, exc_info=error)
