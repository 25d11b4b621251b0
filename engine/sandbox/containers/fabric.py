"""The network between containers: a router for each VPC, a wire from it to each host, and the way out.

Routers stand on one Docker network of the sandbox, which is the internet to them.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import LabctlError
from engine.sandbox import CALLER
from engine.sandbox.containers.engine import (
    DOOR,
    HOST_IMAGE,
    INSIDE,
    INTERNET_IMAGE,
    LABEL,
    NAMES_LABEL,
    DockerError,
    name_of,
    run_soon,
)
from engine.sandbox.containers.rules import STAND_IN_ADDRESS, script, wire
from engine.sandbox.containers.view import Nic, View, view_of
from engine.sandbox.containers.watch import Watch
from engine.sandbox.private import secret

if TYPE_CHECKING:
    from engine.sandbox.aws.cloud import Cloud

_DOOR = 7000
_WAIT_SECONDS = 20.0
_ROUTER = INSIDE / "router.py"
_log = logging.getLogger(__name__)


class Fabric:
    """The routers of one sandbox. All methods are to be called on its event loop."""

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        self._cloud = cloud
        self.name = name_of(folder)
        self._folder = folder
        self._plugged: dict[str, str] = {}
        """The VPC of each host whose wire is there."""
        self._doors: dict[str, int] = {}
        self._told: dict[str, str] = {}
        self._lock = asyncio.Lock()
        self._again = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.watch = Watch(self.label)
        """Hears of hosts that go down by themselves."""

    async def sweep(self, living: frozenset[str]) -> None:
        """Removes the containers of instances that were terminated while nobody could follow."""
        if not (self._folder / DOOR).exists():
            return
        listed = await run_soon("ps", "-a", "--filter", f"label={self.label}", "--format", "{{.Names}}")
        for container in listed.split():
            instance = container.removeprefix(f"{self.name}-")
            if instance.startswith("i-") and instance not in living:
                await run_soon("rm", "-f", "-v", container)

    @property
    def label(self) -> str:
        """What marks everything of this sandbox in Docker."""
        return f"{LABEL}={self.name}"

    def sync(self) -> None:
        """Something changed at the API: the routers follow."""
        if not self._plugged:
            return
        self._again.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._follow())

    async def _follow(self) -> None:
        while self._again.is_set():
            self._again.clear()
            async with self._lock:
                for vpc in sorted(set(self._plugged.values())):
                    try:
                        await self._tell(vpc)
                    except LabctlError as error:
                        _log.error("the router of %s: %s", vpc, error)

    async def plug(self, container: str, instance: str) -> None:
        """Gives the running `container` the network of `instance`: a wire to its VPC's router, an address."""
        async with self._lock:
            vpc, nic = self._nic(instance)
            router = await self._router(vpc)
            await run_soon("exec", router, "sh", "-c", f"ip link del {wire(nic)} 2>/dev/null || :")
            process = await run_soon("inspect", "-f", "{{.State.Pid}}", container)
            # Only a container that sees this machine's processes can put a wire into another one.
            helper = ("--rm", "--pid=host", f"--network=container:{router}", "--label", self.label)
            caps = ("--cap-add", "NET_ADMIN", "--cap-add", "SYS_PTRACE", "--cap-add", "SYS_ADMIN")
            command = (
                "ip",
                "link",
                "add",
                wire(nic),
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                process,
            )
            await run_soon("run", *helper, *caps, *_UNCONFINED, HOST_IMAGE, *command)
            self._plugged[instance] = vpc
            await self._tell(vpc)
            bits = nic.subnet.rpartition("/")[2]
            setup = (
                f"ip address add {nic.address}/{bits} dev eth0 && ip link set eth0 up && "
                f"ip route add default via {nic.gateway}"
            )
            await run_soon("exec", container, "sh", "-c", setup)

    async def adopt(self, instance: str) -> None:
        """Goes on with a host whose wire is there since before the sandbox was started anew."""
        async with self._lock:
            vpc, _ = self._nic(instance)
            await self._router(vpc)
            self._plugged[instance] = vpc
            await self._tell(vpc)

    async def unplug(self, instance: str) -> None:
        """The host is down; a router without hosts goes, and with the last one the way out."""
        async with self._lock:
            vpc = self._plugged.pop(instance, None)
            if vpc is None:
                return
            if vpc in self._plugged.values():
                await self._tell(vpc)
                return
            self._told.pop(vpc, None)
            self._doors.pop(vpc, None)
            await run_soon("rm", "-f", "-v", f"{self.name}-{vpc}")
            if not self._plugged:
                await run_soon("rm", "-f", "-v", f"{self.name}-internet")
                await run_soon("network", "rm", self.name)

    async def open(self, instance: str, port: int) -> socket.socket | None:
        """A connection from the user to `port` of a host, which the sandbox's network has let through.

        None where no answer comes; raises ConnectionRefusedError where nothing listens.
        """
        vpc, nic = self._nic(instance)
        door = self._doors.get(vpc)
        if door is None:
            return None
        loop = asyncio.get_running_loop()
        end = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        end.setblocking(False)
        try:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(end, ("127.0.0.1", door))
            await loop.sock_sendall(end, f"{secret_of(self._folder)} {nic.address} {port}\n".encode())
            told = await asyncio.wait_for(loop.sock_recv(end, 1), _WAIT_SECONDS)
        except (OSError, TimeoutError):
            end.close()
            return None
        if told == b"+":
            return end
        end.close()
        if told == b"!":
            raise ConnectionRefusedError
        return None

    def resolver(self, instance: str) -> str:
        """The address of the name server that `instance` asks."""
        with self._cloud.lock:
            backend, nic = self._found(instance)
            return view_of(backend, nic.subnet.vpc_id, frozenset()).resolver

    def _found(self, instance: str) -> tuple[Any, Any]:
        for backend in self._cloud.backends().values():
            for nic in backend.enis.values():
                if nic.instance is not None and nic.instance.id == instance and nic.device_index == 0:
                    return backend, nic
        raise DockerError(f"the instance {instance} has no network interface")

    def _nic(self, instance: str) -> tuple[str, Nic]:
        with self._cloud.lock:
            backend, nic = self._found(instance)
            vpc = str(nic.subnet.vpc_id)
            for one in view_of(backend, vpc, frozenset({instance})).nics:
                return vpc, one
        raise DockerError(f"the instance {instance} does not run")

    def _view(self, vpc: str) -> View | None:
        plugged = frozenset(self._plugged)
        with self._cloud.lock:
            for backend in self._cloud.backends().values():
                if vpc in backend.vpcs:
                    return view_of(backend, vpc, plugged)
        return None

    async def _tell(self, vpc: str) -> None:
        view = self._view(vpc)
        if view is None:
            return
        text = script(view, frozenset(self._plugged))
        if self._told.get(vpc) != text:
            await run_soon("exec", "-i", f"{self.name}-{vpc}", "sh", "-s", stdin=(_OUTSIDE + text).encode())
            self._told[vpc] = text

    async def _router(self, vpc: str) -> str:
        """The container of the router of `vpc`, started where it does not run."""
        router = f"{self.name}-{vpc}"
        if vpc in self._doors:
            return router
        state = await run_soon("ps", "-q", "--filter", f"name=^{router}$")
        if not state:
            await self._start_router(router, vpc)
        published = await run_soon("port", router, f"{_DOOR}/tcp")
        self._doors[vpc] = int(published.splitlines()[0].rpartition(":")[2])
        return router

    async def _start_router(self, router: str, vpc: str) -> None:
        internet, names = await self._internet()
        view = self._view(vpc)
        await run_soon("rm", "-f", "-v", router)
        options = ["--name", router, "--hostname", "router", "--label", self.label, "--network", self.name]
        options += ["--cap-add", "NET_ADMIN", *_UNCONFINED, "-p", f"127.0.0.1::{_DOOR}"]
        for name in ("ip_forward=1", "conf.all.rp_filter=0", "conf.default.rp_filter=0"):
            options += ["--sysctl", f"net.ipv4.{name}"]
        told = {
            "CALLER": CALLER,
            "SECRET": secret_of(self._folder),
            "STAND_INS": names,
            "STAND_IN_ADDRESS": STAND_IN_ADDRESS,
            "RESOLVER": view.resolver if view else "",
        }
        for name, value in told.items():
            options += ["-e", f"LABCTL_{name}={value}"]
        await run_soon("run", "-d", *options, HOST_IMAGE, "python3", "-c", _ROUTER.read_text())
        setup = (
            f"ip address replace {CALLER}/32 dev lo; ip route replace {STAND_IN_ADDRESS} via {internet}; "
            "iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE"
        )
        await run_soon("exec", router, "sh", "-ec", setup)

    async def _internet(self) -> tuple[str, str]:
        """The address of the container that stands in for the internet, and the names it answers to."""
        container = f"{self.name}-internet"
        await self._network()
        if not await run_soon("ps", "-q", "--filter", f"name=^{container}$"):
            await run_soon("rm", "-f", "-v", container)
            options = ("--name", container, "--label", self.label, "--network", self.name)
            await run_soon("run", "-d", *options, "--cap-add", "NET_ADMIN", INTERNET_IMAGE)
            await run_soon(
                "exec", container, "ip", "address", "replace", f"{STAND_IN_ADDRESS}/32", "dev", "lo"
            )
        form = f'{{{{(index .NetworkSettings.Networks "{self.name}").IPAddress}}}}'
        address = await run_soon("inspect", "-f", form, container)
        names = await run_soon(
            "image", "inspect", "-f", f'{{{{index .Config.Labels "{NAMES_LABEL}"}}}}', INTERNET_IMAGE
        )
        return address, names

    async def _network(self) -> None:
        if await run_soon("network", "ls", "-q", "--filter", f"name=^{self.name}$"):
            return
        # Out of 100.64.0.0/10, so that no VPC has the same addresses; the first that no other sandbox has.
        first = int(hashlib.sha256(self.name.encode()).hexdigest()[:4], 16)
        for number in range(first, first + 20):
            block = f"100.{64 + number // 256 % 64}.{number % 256}.0/24"
            try:
                await run_soon("network", "create", "--subnet", block, "--label", self.label, self.name)
            except DockerError as error:
                if "overlap" not in str(error):
                    raise
            else:
                return
        raise DockerError("no addresses are free for the sandbox's Docker network")


_UNCONFINED = tuple(
    word
    for freed in ("seccomp", "apparmor", "systempaths")
    for word in ("--security-opt", f"{freed}=unconfined")
)
_OUTSIDE = "OUTSIDE=$(ip route show default | awk '{print $3; exit}')\n"


def secret_of(folder: Path) -> str:
    """What the doors of this sandbox's routers ask for; made with the first router."""
    return secret(folder / DOOR)
