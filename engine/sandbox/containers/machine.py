"""One host as a container: made, started, stopped and removed as its instance is."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine.sandbox.containers.engine import HOST_IMAGE, DockerError, run_soon
from engine.sandbox.containers.fabric import Fabric
from engine.sandbox.images import full_name

_STOP_SECONDS = "10"
_CAPABILITIES = ("SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "SYS_BOOT")
"""What Docker's own set lacks for systemd and a Docker Engine inside: mounts, networks, processes, boots."""


def _nobody(how: str) -> None:
    """Nobody follows."""


class ContainerMachine:
    """A container with systemd, OpenSSH and room for a Docker Engine; its disk is the container's."""

    def __init__(
        self,
        *,
        instance: str,
        fabric: Fabric,
        hostname: str,
        user: str,
        authorized_keys: list[str],
        user_data: str,
        host_keys: Mapping[str, bytes],
        folder: Path,
    ) -> None:
        self.instance = instance
        self.hostname = hostname
        self.folder = folder
        self._fabric = fabric
        self._user = user
        self._authorized_keys = authorized_keys
        self._user_data = user_data
        self._host_keys = host_keys
        self.container = f"{fabric.name}-{instance}"
        self.power: Callable[[str], None] = _nobody
        """Who is told that its system has done a `reboot` or `poweroff`; heard of where it runs."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "container").write_text(self.container)

    @property
    def forwards(self) -> bool:
        """Never, as far as the sandbox decides: what a container forwards its packets show."""
        return False

    def listening(self) -> Mapping[int, Any]:
        """Nothing in this process; `open` leads to what listens in the container."""
        return {}

    def save(self) -> None:
        """Docker keeps it."""

    async def boot(self) -> None:
        """Starts the container, made first where this is the first boot, and gives it its network."""
        if not await run_soon("ps", "-aq", "--filter", f"name=^{self.container}$"):
            await self._create()
        await self._watch()
        await run_soon("start", self.container)
        await self._fabric.plug(self.container, self.instance)

    async def resume(self) -> None:
        """Goes on after the sandbox was down; boots where the container does not run."""
        found = await run_soon("ps", "-a", "--filter", f"name=^{self.container}$", "--format", "{{.State}}")
        if found == "paused":
            await run_soon("unpause", self.container)
        if found in ("paused", "running"):
            await self._watch()
            await self._fabric.adopt(self.instance)
        else:
            await self.boot()

    async def pause(self) -> None:
        """Rests while the sandbox is down."""
        await run_soon("pause", self.container)

    async def shutdown(self) -> None:
        """Stops the container as a machine is powered off; its disk stays."""
        await run_soon("stop", "-t", _STOP_SECONDS, self.container)
        await self._fabric.unplug(self.instance)

    async def remove(self) -> None:
        """Deletes the container with its disk and its Docker's volume."""
        self._fabric.watch.forget(self.container)
        await self._fabric.unplug(self.instance)
        await run_soon("rm", "-f", "-v", self.container)

    async def _watch(self) -> None:
        await self._fabric.watch.expect(self.container, lambda how: self.power(how))

    async def open(self, port: int) -> socket.socket | None:
        """A connection to `port`, let through by the network; as `Fabric.open`."""
        return await self._fabric.open(self.instance, port)

    async def run(self, command: str, *, user: str) -> subprocess.CompletedProcess[bytes]:
        """Runs a command in the container as `user`."""
        argv = ["docker", "exec", "-u", user, self.container, "sh", "-c", command]
        return await asyncio.to_thread(subprocess.run, argv, capture_output=True)

    async def _create(self) -> None:
        options = ["--name", self.container, "--hostname", self.hostname, "--label", self._fabric.label]
        options += ["--network", "none", "--dns", self._fabric.resolver(self.instance)]
        for capability in _CAPABILITIES:
            options += ["--cap-add", capability]
        for freed in ("seccomp", "apparmor", "systempaths"):
            options += ["--security-opt", f"{freed}=unconfined"]
        options += ["--cgroupns", "private", "--sysctl", "net.ipv4.ip_forward=0", "-e", "container=docker"]
        options += ["--tmpfs", "/run:exec", "--tmpfs", "/run/lock"]
        volume = f"type=volume,dst=/var/lib/labctl-storage,volume-label={self._fabric.label}"
        options += ["--mount", volume]
        await run_soon("create", *options, HOST_IMAGE)
        try:
            await run_soon("cp", "-", f"{self.container}:/", stdin=self._first_files())
        except DockerError:
            await run_soon("rm", "-f", "-v", self.container)
            raise

    def _first_files(self) -> bytes:
        """What a cloud gives a new instance: its keys, and what cloud-init is to do at its first boot."""
        user = {
            "name": self._user,
            "gecos": full_name(self._user),
            "groups": ["adm", "sudo"],
            "lock_passwd": True,
            "shell": "/bin/bash",
            "sudo": ["ALL=(ALL) NOPASSWD:ALL"],
        }
        meta = {
            "instance-id": self.instance,
            "local-hostname": self.hostname,
            "public-keys": self._authorized_keys,
        }
        seed = "var/lib/cloud/seed/nocloud"
        files = {
            "etc/cloud/cloud.cfg.d/90_labctl.cfg": json.dumps(
                {"system_info": {"default_user": user}}
            ).encode(),
            f"{seed}/meta-data": json.dumps(meta).encode(),
            f"{seed}/user-data": self._user_data.encode(),
            **{f"etc/ssh/{name}": key for name, key in self._host_keys.items()},
        }
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, data in files.items():
                one = tarfile.TarInfo(name)
                one.size, one.mode = len(data), 0o644 if name.endswith(".pub") else 0o600
                archive.addfile(one, io.BytesIO(data))
        return buffer.getvalue()
