"""Programs of systemd's units that really run: those in Python, as processes of this machine.

What they need is looked up among the host's packages, so that one that is forgotten is missed here, too. They
get a copy of their working directory; what they write does not come back to the host's disk.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from engine.sandbox.machines.command import Handler
from engine.sandbox.machines.packages import installed
from engine.sandbox.streams import join

if TYPE_CHECKING:
    import socket

    from engine.sandbox.machines.place import Place
    from engine.sandbox.machines.services import Unit

PROGRAMS: Final = {
    "/usr/bin/python3": "python3",
    "/usr/bin/flask": "python3-flask",
    "/usr/bin/gunicorn": "gunicorn",
}
"""Programs that can be run, and the packages that bring them."""
_MODULES: Final = {"flask": "python3-flask", "numpy": "python3-numpy"}
_IMPORTS: Final = re.compile(r"^\s*(?:from|import)\s+(\w+)", re.MULTILINE)
_AGAIN: Final = ("always", "on-failure", "on-abnormal")
_MOST_STARTS: Final = 5
"""So often systemd starts a unit whose program ends, then it gives up (StartLimitBurst)."""


class Line(Protocol):
    """Something that a program has printed."""

    @property
    def text(self) -> str:
        """Without its end."""

    @property
    def time(self) -> int:
        """When, in milliseconds since the epoch."""


class Program(Protocol):
    """A program that runs; engine.sandbox.workloads has the one that is used."""

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""

    def ports(self) -> Mapping[int, int]:
        """The ports that it listens on."""

    async def open(self, port: int) -> socket.socket:
        """A connection to one of them."""

    def lines(self, since: int = 0) -> Sequence[Line]:
        """What it has printed from a time on."""

    def remove(self) -> None:
        """Ends it."""


Starter = Callable[[Sequence[str], Mapping[str, str], Mapping[str, bytes], str], Program | None]
"""Starts a command with an environment, files by their paths, a working directory; None where it may not."""


def nothing(
    argv: Sequence[str], environment: Mapping[str, str], files: Mapping[str, bytes], workdir: str
) -> Program | None:
    """Starts none."""
    return None


@dataclass
class _Running:
    program: Program
    starts: int = 1
    told: int = 0
    """Up to when (ms) what it has printed is in the journal."""


class Programs:
    """The programs of one machine's units."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._running: dict[str, _Running] = {}
        self.starter: Starter = nothing

    def fits(self, unit: Unit) -> bool:
        """Whether the unit's program is one that can be run."""
        return _argv(unit)[:1] != [] and _argv(unit)[0] in PROGRAMS

    async def start(self, unit: Unit, log: Callable[[str, str], None]) -> bool:
        """Starts the unit's program; False, with a line in the journal, where it ends at once."""
        if missing := self._missing(unit):
            log(unit.name, missing)
            return False
        # Its files are copied on this machine's disk: others need not wait for that.
        program = await asyncio.to_thread(self.starter, *self._asked(unit))
        return self._started(unit, log, program, 1)

    def _asked(self, unit: Unit) -> tuple[list[str], dict[str, str], dict[str, bytes], str]:
        return _argv(unit), self.environment(unit), self._files(unit), unit.workdir

    def _started(
        self, unit: Unit, log: Callable[[str, str], None], program: Program | None, starts: int
    ) -> bool:
        if program is None:
            log(unit.name, "the sandbox runs no programs: its inventory says `workloads: none`")
            return True
        self._running[unit.name] = _Running(program, starts)
        if program.exit_code is not None:
            self._note(unit.name, log)
            return False
        return True

    def stop(self, name: str) -> None:
        """Ends the unit's program; quiet where there is none."""
        running = self._running.pop(name, None)
        if running is not None:
            running.program.remove()

    def look(self, unit: Unit, log: Callable[[str, str], None]) -> bool:
        """Whether the unit's program still runs, or runs again; what it has printed goes into the journal."""
        running = self._running.get(unit.name)
        if running is None:
            return True
        self._note(unit.name, log)
        code = running.program.exit_code
        if code is None:
            return True
        log(unit.name, f"{unit.name}: Main process exited, code=exited, status={code}/FAILURE")
        self.stop(unit.name)
        if unit.last("Restart") not in _AGAIN or running.starts >= _MOST_STARTS:
            return False
        return self._started(unit, log, self.starter(*self._asked(unit)), running.starts + 1)

    def served(self) -> dict[int, Handler]:
        """The ports on which programs answer."""
        return {
            port: _through(running.program, port)
            for running in self._running.values()
            for port in running.program.ports()
        }

    def _note(self, name: str, log: Callable[[str, str], None]) -> None:
        running = self._running[name]
        for line in running.program.lines(running.told):
            log(name, line.text)
            running.told = line.time + 1

    def _missing(self, unit: Unit) -> str:
        """What the program would say of a package that is not there."""
        there = installed(self._place)
        program = _argv(unit)[0]
        if PROGRAMS[program] not in there:
            return f"Failed to locate executable {program}: No such file or directory"
        for name, content in self._files(unit).items():
            for module in _IMPORTS.findall(content.decode(errors="replace")) if name.endswith(".py") else ():
                if module in _MODULES and _MODULES[module] not in there:
                    return f"ModuleNotFoundError: No module named '{module}'"
        return ""

    def _files(self, unit: Unit) -> dict[str, bytes]:
        """Its working directory, where that is not the whole disk, and files that its command line names."""
        disk, workdir = self._place.disk, unit.workdir
        found: dict[str, bytes] = {}
        if workdir != "/":
            found = {f"{workdir.rstrip('/')}/{name}": data for name, data in disk.copy_of(workdir).items()}
        for word in _argv(unit)[1:]:
            if word.startswith("/") and disk.is_file(word):
                found[word] = disk.read(word)
        return found

    def environment(self, unit: Unit) -> dict[str, str]:
        """What the unit says of its programs' environment, by itself and in files."""
        lines = [word for text in unit.options.get("Environment", []) for word in _words(text)]
        for path in unit.options.get("EnvironmentFile", []):
            text = self._place.disk.text(path.lstrip("-"))
            lines += [line for line in text.splitlines() if "=" in line and not line.lstrip().startswith("#")]
        return {
            name.strip(): value.strip("'\"") for name, _, value in (line.partition("=") for line in lines)
        }


def _argv(unit: Unit) -> list[str]:
    return _words(unit.last("ExecStart").lstrip("-@+!:"))


def _words(text: str) -> list[str]:
    """The words of a line; none where a quote does not end, as systemd leaves such a line out."""
    try:
        return shlex.split(text)
    except ValueError:
        return []


def _through(program: Program, port: int) -> Handler:
    """What passes a connection on to the program."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await join((reader, writer), await asyncio.open_connection(sock=await program.open(port)))

    return handler
