"""Hears of hosts whose system has rebooted or powered off by itself: Docker tells how containers end."""

from __future__ import annotations

import asyncio
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable

_REBOOTED = 129
"""How a container ends whose first process calls reboot(2) to restart: by SIGHUP (pid_namespaces(7))."""


_SPELL = 300
"""Seconds that one `docker events` lasts: so long it outlives a sandbox that is killed."""


class Watch:
    """One `docker events` for all hosts of a sandbox, from the first that is expected until `close`."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._told: dict[str, Callable[[str], None]] = {}
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def expect(self, container: str, told: Callable[[str], None]) -> None:
        """From now on `told` hears of each end of `container`: `reboot` or `poweroff`."""
        self._told[container] = told
        if self._task is None or self._task.done():
            now = int(time.time())
            # Started before this returns, so that what happens next is heard for sure.
            process = await self._start(now)
            self._task = asyncio.get_running_loop().create_task(self._listen(process, now))

    def forget(self, container: str) -> None:
        """Nobody asks for `container` any more."""
        self._told.pop(container, None)

    def close(self) -> None:
        """Nobody listens any more."""
        self._closed = True
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()

    async def _start(self, since: int) -> Process:
        form = "{{.Actor.Attributes.name}} {{.Actor.Attributes.exitCode}}"
        spell = ("--since", str(since), "--until", str(since + _SPELL))
        filters = ("--filter", f"label={self._label}", "--filter", "event=die")
        self._process = await asyncio.create_subprocess_exec(
            "docker", "events", *filters, *spell, "--format", form, stdout=PIPE, stderr=DEVNULL
        )
        return self._process

    async def _listen(self, process: Process, since: int) -> None:
        while True:
            assert process.stdout is not None
            while line := (await process.stdout.readline()).decode().split():
                told = self._told.get(line[0])
                if told is not None:
                    told("reboot" if line[-1] == str(_REBOOTED) else "poweroff")
            status = await process.wait()
            if self._closed or status != 0 or not self._told:
                return
            since += _SPELL
            process = await self._start(since)
