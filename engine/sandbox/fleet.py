"""The machines behind the instances: each follows what the cloud says of its instance.

Everything here runs in the event loop; the cloud's objects are looked at under its lock.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from engine.errors import LabctlError
from engine.sandbox.aws.addresses import private_name
from engine.sandbox.hostkeys import HostKeys
from engine.sandbox.settings import Settings
from engine.sandbox.ssh import SshServer
from engine.sandbox.wires import keep, pair

if TYPE_CHECKING:
    from engine.sandbox.aws.cloud import Cloud
    from engine.sandbox.containers import ContainerMachine, Fabric
    from engine.sandbox.machines.programs import Program

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SSH_PORT = 22
_FAREWELL_SECONDS = 0.2
"""From a machine's own `reboot` until it goes down: its answer is on its way."""
_log = logging.getLogger(__name__)


class Machine(Protocol):
    """What the fleet asks of a machine; engine.sandbox.machines has the one that is used."""

    hostname: str
    power: Callable[[str], None]
    """Told that the system on it wants a `reboot` or `poweroff`."""

    @property
    def forwards(self) -> bool:
        """Whether it passes on and masquerades what others send through it."""

    async def boot(self) -> None:
        """Starts it."""

    async def resume(self) -> None:
        """Goes on after the sandbox itself was down."""

    async def shutdown(self) -> None:
        """Stops it; what is on it stays."""

    async def run(self, command: str, *, user: str) -> Any:
        """Runs a command there."""

    def listening(self) -> Mapping[int, Handler]:
        """The ports that answer; on 22, where it is among them, the fleet's SSH server does."""

    def save(self) -> None:
        """Keeps it on disk."""


_SETUP = """
echo {hostname} > /etc/hostname
install -d -m 700 -o {user} -g {user} /home/{user}/.ssh
echo '{key}' >> /home/{user}/.ssh/authorized_keys
"""
MakeMachine = Callable[..., Machine]


@dataclass(frozen=True)
class Wanted:
    """What the cloud says of one instance now."""

    aim: str
    since: float
    reboots: int

    @property
    def boot(self) -> str:
        """Names the boot: another start or reboot has another name."""
        return f"{self.since}/{self.reboots}"


def simulated(**fields: Any) -> Machine:
    """A machine in this process; imported when the first one is needed."""
    from engine.sandbox.machines import SimulatedMachine

    machine: Machine = SimulatedMachine(**fields)
    return machine


class Guest:
    """One instance's machine with its SSH server."""

    def __init__(
        self,
        machine: Machine,
        keys: HostKeys,
        user: str,
        folder: Path,
        container: ContainerMachine | None = None,
    ) -> None:
        self.machine = machine
        self.container = container
        """The machine, where it is a container, whose own sshd answers."""
        self.keys = keys
        self.folder = folder
        self.ssh = SshServer(machine, keys, user)
        self.changed = asyncio.Event()
        self.up = False
        self.ssh_at = 0.0
        self.trouble = ""
        """Why it could not be started, for its console."""
        self.setup = ""
        """What cloud-init does at the first boot of a copy."""

    def booted(self) -> str:
        """The name of the last boot that was done."""
        path = self.folder / "boot.json"
        return str(json.loads(path.read_text())["boot"]) if path.exists() else ""

    def note(self, boot: str) -> None:
        """Keeps the name of the boot that is done."""
        (self.folder / "boot.json").write_text(json.dumps({"boot": boot}))


class Fleet:
    """All machines, kept in step with the instances by `sync`."""

    def __init__(
        self,
        cloud: Cloud,
        folder: Path,
        settings: Settings,
        *,
        fabric: Fabric | None = None,
        make: MakeMachine = simulated,
    ) -> None:
        self._cloud = cloud
        self._folder = folder
        self._images = folder / "images"
        self._settings = settings
        self._make = make
        self._fabric = fabric
        self._guests: dict[str, Guest] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.network: Callable[[str], Any] = lambda instance: None
        """The network as the machine of an instance sees it."""

    def settle(self, settings: Settings) -> None:
        """Takes on new settings, for machines made and started from now on."""
        self._settings = settings

    def sync(self) -> None:
        """Looks what has changed: a machine for each new instance, word to those that changed."""
        with self._cloud.lock:
            for instance in self._cloud.instances():
                identity = instance.id
                if identity in self._guests:
                    self._guests[identity].changed.set()
                elif identity not in self._tasks and instance._state.aim != "terminated":
                    self._tasks[identity] = keep(self._live(instance))
                elif instance._state.aim == "terminated":
                    shutil.rmtree(self._folder / identity, ignore_errors=True)
            images = {image for backend in self._cloud.backends().values() for image in backend.amis}
        if self._images.exists():
            for kept in self._images.iterdir():
                if kept.name not in images:
                    shutil.rmtree(kept, ignore_errors=True)
        if self._fabric is not None:
            self._fabric.sync()

    def living(self) -> frozenset[str]:
        """The instances that are not terminated."""
        with self._cloud.lock:
            instances = self._cloud.instances()
            return frozenset(str(one.id) for one in instances if one._state.aim != "terminated")

    async def stop(self) -> None:
        """Keeps every machine and cuts its connections."""
        for task in list(self._tasks.values()):
            task.cancel()
        for guest in self._guests.values():
            guest.ssh.cut()
            guest.machine.save()
        await asyncio.gather(*(_pause(guest) for guest in self._guests.values()))

    def image(self, instance: str, image: str) -> None:
        """Keeps what is on the disk of `instance` for machines launched from `image`."""
        guest = self._guests.get(instance)
        if guest is not None:
            guest.machine.save()
            shutil.copytree(guest.folder / "machine", self._images / image, dirs_exist_ok=True)

    def turned(self, instance: str, how: str) -> None:
        """The system on a machine has asked for a `reboot`, or for `poweroff`."""
        guest = self._guests.get(instance)
        if guest is not None and guest.up:
            asyncio.get_running_loop().call_later(_FAREWELL_SECONDS, self._turn, guest, instance, how)

    def _turn(self, guest: Guest, instance: str, how: str) -> None:
        if not guest.up:
            return  # on its way down already: the API has asked for it
        self._cloud.turn(instance, how)
        guest.changed.set()

    def forwards(self, instance: str) -> bool:
        """Whether the machine of `instance` is up and forwards others' packets."""
        guest = self._guests.get(instance)
        return guest is not None and guest.up and guest.machine.forwards

    def console(self, instance: str) -> str:
        """The console output of `instance`; empty until a moment after its boot."""
        guest = self._guests.get(instance)
        if guest is not None and guest.trouble and not guest.up:
            return f"labctl's sandbox could not start this host: {guest.trouble}\n"
        if guest is None or not guest.up or time.time() < guest.ssh_at:
            return ""
        name = guest.machine.hostname
        return f"[    0.000000] Linux version\n{guest.keys.console(name)}\n{name} login: "

    async def open(self, instance: str, port: int) -> socket.socket | None:
        """One end of a connection to `port` of a machine that the network has let through.

        None where the machine is not up; raises ConnectionRefusedError where nothing listens.
        """
        guest = self._guests.get(instance)
        if guest is None or not guest.up:
            return None
        if guest.container is not None:
            return await guest.container.open(port)
        handler = guest.machine.listening().get(port)
        if handler is None or (port == SSH_PORT and time.time() < guest.ssh_at):
            raise ConnectionRefusedError
        here, there = pair()
        keep(guest.ssh.serve(there, self.network(instance)) if port == SSH_PORT else _serve(handler, there))
        return here

    async def _live(self, instance: Any) -> None:
        """Follows one instance from its launch to its end."""
        identity = instance.id
        guest = self._guest(instance)
        self._guests[identity] = guest
        try:
            while (wanted := self._wanted(instance)).aim != "terminated":
                try:
                    await self._follow(guest, wanted)
                except LabctlError as error:
                    guest.trouble = str(error)
                    _log.error("%s: %s", identity, error)
                await guest.changed.wait()
                guest.changed.clear()
            await self._down(guest)
            if guest.container is not None:
                await guest.container.remove()
        finally:
            self._guests.pop(identity, None)
            self._tasks.pop(identity, None)
        shutil.rmtree(guest.folder, ignore_errors=True)

    def _wanted(self, instance: Any) -> Wanted:
        with self._cloud.lock:
            state = instance._state
            return Wanted(state.aim, state.since, state.reboots)

    async def _follow(self, guest: Guest, wanted: Wanted) -> None:
        if wanted.aim != "running":
            await self._down(guest)
            return
        if guest.up and guest.booted() == wanted.boot:
            return
        rebooted = wanted.reboots and guest.booted().startswith(f"{wanted.since}/")
        await self._down(guest)
        if guest.booted() == wanted.boot:
            await guest.machine.resume()
            guest.ssh_at = time.time()
        else:
            start = time.time() if rebooted else wanted.since + self._settings.boot_seconds
            await asyncio.sleep(max(0.0, start - time.time()))
            await guest.machine.boot()
            if guest.setup:
                await guest.machine.run(guest.setup, user="root")
                guest.setup = ""
            guest.note(wanted.boot)
            guest.ssh_at = max(time.time(), start + self._settings.ssh_seconds)
        guest.up = True

    async def _down(self, guest: Guest) -> None:
        if guest.up:
            guest.up = False
            guest.ssh.cut()
            await guest.machine.shutdown()

    def _guest(self, instance: Any) -> Guest:
        with self._cloud.lock:
            system = getattr(instance, "launch_system", None)
            key = getattr(instance, "launch_key", "")
            private_ip = str(instance.private_ip)
            user_data = instance.user_data.decode() if instance.user_data else ""
        folder = self._folder / str(instance.id)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        user = system.user if system else "ec2-user"
        hostname = private_name(private_ip, "").split(".")[0]
        keys = HostKeys.at(folder)
        if self._fabric is not None and self._is_container(folder / "machine"):
            from engine.sandbox.containers import ContainerMachine

            container = ContainerMachine(
                instance=str(instance.id),
                fabric=self._fabric,
                hostname=hostname,
                user=user,
                authorized_keys=[key] if key else [],
                user_data=user_data,
                host_keys=keys.files(),
                folder=folder / "machine",
            )
            container.power = lambda how: self.turned(str(instance.id), how)
            return Guest(container, keys, user, folder, container)
        copied = self._copy_disk(instance.image_id, folder)
        machine = self._make(
            hostname=hostname,
            os=system.os if system else "amazon-linux-2023",
            user=user,
            authorized_keys=[key] if key else [],
            user_data=user_data,
            private_ip=private_ip,
            network=self.network(instance.id),
            folder=folder / "machine",
            images={image["name"]: image for image in self._settings.images},
            starter=self._start_program,
        )
        guest = Guest(machine, keys, user, folder)
        machine.power = lambda how: self.turned(str(instance.id), how)
        guest.setup = _SETUP.format(hostname=hostname, user=user, key=key) if copied else ""
        return guest

    def _start_program(
        self, argv: Sequence[str], environment: Mapping[str, str], files: Mapping[str, bytes], workdir: str
    ) -> Program | None:
        """Runs a program of a simulated host as a workload; None where none may run."""
        workloads = self._cloud.workloads
        if workloads is None or not workloads.enabled:
            return None
        return workloads.start(
            workloads.images.nothing(),
            name=f"host/{argv[0]}",
            entrypoint=[Path(argv[0]).name, *argv[1:]],
            command=[],
            environment=environment,
            files=files,
            workdir=workdir,
        )

    def _is_container(self, folder: Path) -> bool:
        """A machine stays of the sort it was made; a new one is of the sort now set."""
        return (folder / "container").exists() or (self._settings.hosts == "docker" and not folder.exists())

    def _copy_disk(self, image: str, folder: Path) -> bool:
        """Puts the disk of an image that was made here under a machine that is new."""
        disk = self._images / image
        if not disk.exists() or (folder / "machine").exists():
            return False
        shutil.copytree(disk, folder / "machine")
        return True


async def _pause(guest: Guest) -> None:
    if guest.container is not None and guest.up:
        try:
            await guest.container.pause()
        except LabctlError as error:
            _log.error("%s: %s", guest.container.container, error)


async def _serve(handler: Handler, end: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=end)
    try:
        await handler(reader, writer)
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()
