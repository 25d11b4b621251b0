"""A sandbox whose machines are stand-ins: commands run in the real shell. Run as a program by the tests."""

import asyncio
import json
import subprocess
import sys
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path

from engine.sandbox.daemon import main
from engine.sandbox.settings import Settings

Result = namedtuple("Result", "status stdout stderr")


@dataclass(frozen=True)
class Login:
    user: str
    home: str
    agent: str | None = None


class StandIn:
    def __init__(self, *, hostname, user, authorized_keys, network, folder, **rest):
        self.hostname, self.user, self.keys, self.network, self.folder = (
            hostname,
            user,
            authorized_keys,
            network,
            folder,
        )
        self.disk = self
        self.boots = 0
        folder.mkdir(exist_ok=True)

    def text(self, path):
        return "\n".join(self.keys) if path == f"/home/{self.user}/.ssh/authorized_keys" else ""

    def login(self, user, agent=None):
        if user != self.user:
            raise KeyError(user)
        return Login(user, f"/home/{user}", agent)

    async def run(self, command, *, user, stdin=b"", env=None, agent=None, login=None):
        words = command.split()
        if words[0] == "internet":
            return Result(0 if self.network.internet() else 1, b"", b"")
        if words[0] == "connect":
            try:
                found = await self.network.connect(words[1], int(words[2]))
            except ConnectionRefusedError:
                return Result(0, b"refused\n", b"")
            if found is None:
                return Result(0, b"silence\n", b"")
            text = await found[0].read(9)
            found[1].close()
            return Result(0, text, b"")
        env = {"PATH": "/usr/bin:/bin", **(env or {}), **({"SSH_AUTH_SOCK": agent} if agent else {})}
        shell = await asyncio.to_thread(
            subprocess.run, ["sh", "-c", command], input=stdin, capture_output=True, env=env, check=False
        )
        return Result(shell.returncode, shell.stdout, shell.stderr)

    def listening(self):
        async def serve(reader, writer):
            writer.write(b"hello\n")
            writer.close()

        return {22: serve, 8003: serve}

    @property
    def forwards(self):
        return (self.folder / "forwards").exists()

    async def boot(self):
        self.boots += 1
        (self.folder / "boots").write_text(str(self.boots))

    async def resume(self):
        (self.folder / "resumed").touch()

    async def shutdown(self):
        pass

    def save(self):
        (self.folder / "saved").touch()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Settings.of(json.loads(sys.argv[2])), StandIn)
