"""The SSH server of simulated machines, met by clients that are in a hurry."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncssh

from engine.sandbox.hostkeys import HostKeys
from engine.sandbox.machines import SimulatedMachine
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
