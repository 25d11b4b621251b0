"""Hears of hosts whose system has rebooted or powered off by itself: Docker tells how containers end."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable

_REBOOTED = 129
"""How a container ends whose first process calls reboot(2) to restart: by SIGHUP (pid_namespaces(7))."""


class Watch:
    """One `docker events` for all hosts of a sandbox, from the first that is expected until `close`."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._told: dict[str, Callable[[str], None]] = {}
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None

    async def expect(self, container: str, told: Callable[[str], None]) -> None:
        """From now on `told` hears of each end of `container`: `reboot` or `poweroff`."""
        self._told[container] = told
        if self._task is not None and not self._task.done():
            return
        form = "{{.Actor.Attributes.name}} {{.Actor.Attributes.exitCode}}"
        command = ("events", "--filter", f"label={self._label}", "--filter", "event=die", "--format", form)
        self._process = await asyncio.create_subprocess_exec("docker", *command, stdout=PIPE, stderr=DEVNULL)
        self._task = asyncio.get_running_loop().create_task(self._listen(self._process))

    def forget(self, container: str) -> None:
        """Nobody asks for `container` any more."""
        self._told.pop(container, None)

    def close(self) -> None:
        """Nobody listens any more."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()

    async def _listen(self, process: Process) -> None:
        assert process.stdout is not None
        while line := (await process.stdout.readline()).decode().split():
            told = self._told.get(line[0])
            if told is not None:
                told("reboot" if line[-1] == str(_REBOOTED) else "poweroff")
        await process.wait()
