"""A simulated machine: a virtual bash with a system around it that keeps what was done to it."""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine.sandbox.images import full_name
from engine.sandbox.machines import (
    cloud_init,
    docker,
    everywhere,
    network,
    packages,
    power,
    ssh_add,
    ssh_client,
    systemctl,
    users,
)
from engine.sandbox.machines.base import add_programs, base_files
from engine.sandbox.machines.command import Command, Handler, Login, Network, Options, Result
from engine.sandbox.machines.disk import Disk
from engine.sandbox.machines.engine import DockerEngine
from engine.sandbox.machines.place import Place
from engine.sandbox.machines.programs import Starter, nothing
from engine.sandbox.machines.services import Services
from engine.sandbox.machines.shell import Run, execute
from engine.sandbox.machines.systems import system_of

AgentPath = str
"""The path of a socket on which a forwarded SSH agent answers."""


def _nobody(how: str) -> None:
    """Nobody turns it off or on."""


_COMMANDS: Mapping[str, Command] = {
    **everywhere.COMMANDS,
    **systemctl.COMMANDS,
    **cloud_init.COMMANDS,
    **power.COMMANDS,
    **ssh_add.COMMANDS,
    **ssh_client.COMMANDS,
}

_PACKAGED: Mapping[str, Command] = {**docker.COMMANDS, **packages.PACKAGED}


class SimulatedMachine(Place):
    """One machine with its disk, accounts, packages, services and Docker Engine; all of it kept in `folder`.

    All methods are to be called on one event loop.
    """

    services: Services
    docker: DockerEngine

    def __init__(
        self,
        *,
        hostname: str,
        os: str,
        user: str,
        authorized_keys: list[str],
        user_data: str,
        private_ip: str,
        network: Network,
        folder: Path,
        images: Mapping[str, Any],
        starter: Starter = nothing,
    ) -> None:
        super().__init__(hostname=hostname, system=system_of(os), disk=Disk(), network=network, state={})
        self.user = user
        self.authorized_keys = authorized_keys
        self.user_data = user_data
        self.addresses = [private_ip, "127.0.0.1"]
        self.folder = folder
        self.commands = _COMMANDS
        self.packaged = _PACKAGED
        self.services = Services(self)
        self.services.programs.starter = starter
        self.docker = DockerEngine(self, images)
        self.running = False
        self.power: Callable[[str], None] = _nobody
        """Who is told that a command wants a `reboot` or `poweroff`."""
        self._saving = asyncio.Lock()
        self.load()

    @property
    def private_ip(self) -> str:
        """Its address in its subnet."""
        return self.addresses[0]

    @property
    def forwards(self) -> bool:
        """Whether it passes on and masquerades what others send through it."""
        on = self.disk.text("/proc/sys/net/ipv4/ip_forward").strip() == "1"
        rules = self.state.get("iptables", {}).get("nat", {}).get("POSTROUTING", [])
        return self.running and on and any("MASQUERADE" in rule or "SNAT" in rule for rule in rules)

    async def run(
        self,
        command: str,
        *,
        user: str,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        agent: AgentPath | None = None,
        login: Login | None = None,
    ) -> Result:
        """Run a command string as an SSH server does for an exec request.

        `login` (from `Place.login`, taken when the connection was made) carries the groups of that moment.
        """
        if login is None:
            login = self.login(user, agent)
        result = await execute(Run(self, login, command, stdin, {**(env or {})}, login.home))
        self.save()
        return result

    def listening(self) -> Mapping[int, Handler]:
        """The TCP ports that answer, with what serves them."""
        if not self.running:
            return {}
        return {**self.services.programs.served(), **network.served(self), **self.docker.published()}

    def save(self) -> None:
        """Keep the machine as it is now; it survives a restart of the sandbox."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.disk.save(self.folder / "disk.tar")
        self.docker.save(self.folder)
        text = json.dumps(self.state, sort_keys=True)
        file = self.folder / "machine.json"
        if not file.exists() or file.read_text() != text:
            temporary = file.with_suffix(".new")
            temporary.write_text(text)
            os.replace(temporary, file)

    def load(self) -> None:
        """Bring back what `save` kept; nothing where nothing was."""
        file = self.folder / "machine.json"
        add_programs(self.disk, self.commands)
        if file.exists():
            self.state.update(json.loads(file.read_text()))
            self.disk.load(self.folder / "disk.tar")
            self.docker.load(self.folder)
            if "boot_id" in self.state:
                self._kernel_files()
            self.disk.sweep("root", "root")

    async def boot(self) -> None:
        """Start the machine: at first boot cloud-init and user data, then services and containers."""
        self.state["boot_id"] = str(uuid.uuid4())
        self.state["iptables"] = {}
        first = not self.state.get("seen")
        if first:
            self._first_files()
        self._pass_away()
        self._kernel_files()
        self.running = True
        self.state["seen"] = True
        await self.services.start_all()
        await self.docker.boot()
        if first:
            await self._cloud_init()
        self.disk.sweep("root", "root")
        self.save()

    def turn(self, how: str) -> None:
        """A command wants a `reboot` or `poweroff`."""
        self.power(how)

    async def resume(self) -> None:
        """Go on as a machine that was running when the sandbox ended; nothing boots."""
        self.running = True
        await self.services.resume()

    async def shutdown(self) -> None:
        """Stop services and containers; the disk stays."""
        await self.services.stop_all()
        await self.docker.halt()
        self.running = False
        self.save()

    async def reboot(self) -> None:
        """Shut down and boot; a new boot id."""
        await self.shutdown()
        await self.boot()

    def _first_files(self) -> None:
        for path, text in base_files(self.system, self.hostname, self.addresses[0]).items():
            self.disk.write(path, text, 0o640 if path.endswith("shadow") else 0o644)
        for folder, mode in (
            ("/tmp", 0o1777),
            ("/var/tmp", 0o1777),
            ("/root", 0o700),
            ("/srv", 0o755),
            ("/opt", 0o755),
            ("/mnt", 0o755),
            ("/home", 0o755),
            ("/var/log", 0o755),
            ("/etc/apt/keyrings", 0o755),
            ("/etc/systemd/system", 0o755),
            ("/etc/apt/sources.list.d", 0o755),
            ("/etc/sysctl.d", 0o755),
            ("/etc/default", 0o755),
            ("/etc/cron.d", 0o755),
            ("/var/www/html", 0o755),
            ("/etc/profile.d", 0o755),
            ("/var/lib/apt/lists", 0o755),
            ("/var/cache/apt", 0o755),
            ("/etc/docker", 0o755),
            ("/var/lib", 0o755),
            ("/usr/local/bin", 0o755),
        ):
            self.disk.mkdir(folder, mode)
        packages.install_base(self)
        for unit in packages.BASE_UNITS:
            self.services.enable(unit)
        users.add_group(self, "netdev", system=True)
        name = full_name(self.user)
        wanted = {"--create-home": ["true"], "--shell": ["/bin/bash"], "--comment": [name]}
        users.add_user(self, self.user, Options(wanted, []))
        users.join_groups(self, self.user, ["adm", "sudo"], keep=True)
        self.disk.write("/etc/sudoers.d/90-cloud-init-users", f"{self.user} ALL=(ALL) NOPASSWD:ALL\n", 0o440)
        home, owner = f"/home/{self.user}", (self.user, self.user)
        self.disk.mkdir(f"{home}/.ssh", 0o700, owner)
        self.disk.write(
            f"{home}/.ssh/authorized_keys", "".join(f"{key}\n" for key in self.authorized_keys), 0o600, owner
        )

    def _pass_away(self) -> None:
        """What does not outlive a boot: /run is in memory, and systemd clears /tmp (tmpfiles.d/tmp.conf)."""
        for folder in ("/run", "/tmp"):
            for name in self.disk.entries(folder):
                if name != "cloud-init":  # writes its result anew at each boot
                    self.disk.remove(f"{folder}/{name}")

    def _kernel_files(self) -> None:
        self.disk.write("/proc/sys/kernel/random/boot_id", f"{self.state['boot_id']}\n", 0o444)
        forward = self.state.get("sysctl", {}).get("net.ipv4.ip_forward", "0")
        self.disk.write("/proc/sys/net/ipv4/ip_forward", f"{forward}\n", 0o644)
        self.disk.write("/proc/sys/kernel/hostname", f"{self.hostname}\n", 0o644)
        self.disk.write("/proc/mounts", "/dev/root / ext4 rw,relatime 0 0\n", 0o444)
        self.disk.write("/proc/meminfo", "MemTotal:        8038404 kB\nMemFree:         6124120 kB\n", 0o444)
        self.disk.write(
            "/proc/version", f"Linux version {self.system.kernel} (buildd@lcy02-amd64-045)\n", 0o444
        )

    async def _cloud_init(self) -> None:
        log = "Cloud-init v. 25.2 running 'modules:final'\n"
        status, text = 0, self.user_data
        if text.startswith("#!"):
            result = await execute(Run(self, self.login("root"), text, cwd="/"))
            status, log = result.status, log + (result.stdout + result.stderr).decode(errors="replace")
        elif text.startswith("#cloud-config"):
            status, more = await cloud_init.cloud_config(self, text)
            log += more
        self.state["cloud_init"] = "error" if status else "done"
        if status:
            log += "Failed to run module scripts-user (scripts in /var/lib/cloud/instance/scripts)\n"
        self.disk.write("/var/log/cloud-init-output.log", log + "Cloud-init v. 25.2 finished\n", 0o640)
        self.disk.write("/var/lib/cloud/instance/boot-finished", "done\n")
        self.disk.write(
            "/run/cloud-init/result.json", json.dumps({"v1": {"errors": [] if not status else ["user data"]}})
        )
