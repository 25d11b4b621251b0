"""A simulated machine to be tried in tests, with a network that can be switched off."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.sandbox.machines import Result, SimulatedMachine

DOCKER = "apt-get update -qq >/dev/null && apt-get install -qq -y docker.io >/dev/null"


@dataclass
class FakeNetwork:
    """A way out that is there or not, and no other machine."""

    up: bool = True

    def internet(self) -> bool:
        return self.up

    async def connect(self, host: str, port: int) -> None:
        return None


@dataclass
class Bench:
    """One machine; each run is a login of its own unless told otherwise."""

    folder: Path
    system: str = "ubuntu-22.04"
    user: str = "ubuntu"
    user_data: str = ""
    images: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.loop = asyncio.Runner()
        self.network = FakeNetwork()
        self.machine = self.again()
        self.loop.run(self.machine.boot())

    def close(self) -> None:
        self.loop.run(self.machine.shutdown())
        self.loop.close()

    def again(self) -> SimulatedMachine:
        return SimulatedMachine(
            hostname="ip-10-0-0-5", os=self.system, user=self.user, authorized_keys=["ssh-ed25519 AAAA me"],
            user_data=self.user_data, private_ip="10.0.0.5", network=self.network, folder=self.folder,
            images=self.images,
        )  # fmt: skip

    def run(self, command: str, stdin: bytes = b"", **more: Any) -> Result:
        return self.loop.run(self.machine.run(command, user=self.user, stdin=stdin, **more))

    def out(self, command: str, stdin: bytes = b"") -> str:
        result = self.run(command, stdin)
        assert result.status == 0, result
        return result.stdout.decode()

    def root(self, script: str) -> Result:
        return self.run("exec sudo -n -H sh -s", script.encode())

    def err(self, script: str) -> str:
        result = self.root(script)
        assert result.status != 0
        return result.stderr.decode().strip()
