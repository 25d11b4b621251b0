"""A simulated host of the sandbox, as kinds see it: scripts travel to it as they do over SSH."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Sequence
from pathlib import Path

from engine.hosts import Ran
from engine.hosts.wire import as_user, hello, pack
from engine.on_host import Upload
from engine.sandbox.machines import SimulatedMachine


class Internet:
    """A network with a way out, or without."""

    def __init__(self, *, out: bool = True) -> None:
        self.out = out

    def internet(self) -> bool:
        return self.out

    async def connect(self, host: str, port: int) -> tuple[StreamReader, StreamWriter] | None:
        return None


class SimulatedHost:
    """What kinds use of a host, done by a simulated machine."""

    def __init__(self, folder: Path, *, os: str = "ubuntu-22.04", out: bool = True) -> None:
        self.name, self.login, self.reconnected = "here", "ubuntu", 0
        self._loop = asyncio.new_event_loop()
        self.network = Internet(out=out)
        self.machine = SimulatedMachine(
            hostname="here",
            os=os,
            user="ubuntu",
            authorized_keys=[],
            user_data="",
            private_ip="10.0.0.5",
            network=self.network,
            folder=folder,
            images={},
        )
        self._turned: list[str] = []
        self.machine.power = self._turned.append
        self._loop.run_until_complete(self.machine.boot())

    def run(
        self,
        script: str,
        *,
        stdin: bytes = b"",
        files: Sequence[Upload] = (),
        timeout: float | None = None,
        user: str | None = "root",
        quiet: bool = False,
        say: Callable[[str], None] | None = None,
    ) -> Ran:
        request = pack(script, stdin, files)
        sent = b"".join(request.chunks())
        command = as_user(request.boot, user, "ubuntu")
        result = self._loop.run_until_complete(self.machine.run(command, user="ubuntu", stdin=sent))
        found = hello(result.stdout)
        assert found is not None, result
        return Ran(result.status, found[1], result.stderr)

    def reconnect(self) -> None:
        self.reconnected += 1

    def hang_up(self) -> None:
        if self._turned == ["reboot"]:
            self._loop.run_until_complete(self.machine.reboot())
        self._turned.clear()

    def close(self) -> None:
        self._loop.run_until_complete(self.machine.shutdown())
        self._loop.close()
