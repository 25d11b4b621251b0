"""The SSH server of simulated machines, met by clients that are in a hurry."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncssh
import pytest

from engine.sandbox.aws.lifecycle import TimedState
from engine.sandbox.fleet import Fleet
from engine.sandbox.hostkeys import HostKeys
from engine.sandbox.machines import SimulatedMachine
from engine.sandbox.settings import Settings
from engine.sandbox.ssh import SshServer
from engine.sandbox.wires import pair
from tests.unit.machine_bench import FakeNetwork


async def hurried(folder: Path) -> str:
    """What a command prints on a connection where an earlier one was not waited for."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    machine = SimulatedMachine(
        hostname="here",
        os="ubuntu-22.04",
        user="ubuntu",
        authorized_keys=[key.export_public_key("openssh").decode().strip()],
        user_data="",
        private_ip="10.0.0.5",
        network=FakeNetwork(),
        folder=folder / "machine",
        images={},
    )
    await machine.boot()
    here, there = pair()
    serving = asyncio.create_task(
        SshServer(machine, HostKeys.at(folder), "ubuntu").serve(there, FakeNetwork())
    )
    async with asyncssh.connect(
        "here", sock=here, username="ubuntu", client_keys=[key], known_hosts=None, config=None
    ) as client:
        for _ in range(20):
            (await client.create_process("exit")).close()
        said = await client.run("echo still here")
    await serving
    await machine.shutdown()
    return str(said.stdout)


def test_a_command_that_is_not_waited_for_leaves_the_connection_alone(tmp_path: Path) -> None:
    assert asyncio.run(hurried(tmp_path)) == "still here\n"


class OneInstance:
    """A cloud with one instance that runs."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.instance = SimpleNamespace(
            id="i-1",
            _state=TimedState("running"),
            image_id="ami-1",
            private_ip="10.0.0.5",
            user_data=None,
            launch_system=None,
            launch_key="",
        )

    def instances(self) -> list[Any]:
        return [self.instance]

    def backends(self) -> dict[str, Any]:
        return {}


async def at_the_door(folder: Path, command: str) -> bytes:
    """The first that port 22 of a host says once root has run `command` there."""
    made: list[SimulatedMachine] = []

    def make(**fields: Any) -> SimulatedMachine:
        made.append(SimulatedMachine(**{**fields, "network": FakeNetwork()}))
        return made[0]

    cloud: Any = OneInstance()
    fleet = Fleet(cloud, folder, Settings(boot_seconds=0, ssh_seconds=0), make=make)
    fleet.network = lambda instance: FakeNetwork()
    fleet.sync()
    try:
        async with asyncio.timeout(30):
            while await fleet.open("i-1", 8003) is None:
                await asyncio.sleep(0.01)
    except ConnectionRefusedError:  # it is up, and nothing listens there
        pass
    assert (await made[0].run(f"sudo {command}", user="ec2-user")).status == 0
    try:
        end = await fleet.open("i-1", 22)
        reader, writer = await asyncio.open_connection(sock=end)
        said = await reader.readline()
        writer.close()
        return said
    finally:
        await fleet.stop()


def test_port_22_answers_as_long_as_sshd_runs(tmp_path: Path) -> None:
    (tmp_path / "on").mkdir()
    assert asyncio.run(at_the_door(tmp_path / "on", "systemctl restart ssh")).startswith(b"SSH-2.0-OpenSSH")
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(at_the_door(tmp_path / "off", "systemctl stop ssh"))
