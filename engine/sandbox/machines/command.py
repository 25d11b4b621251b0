"""What a command of a simulated machine is: an async function of its `Call` that returns the exit status."""

from __future__ import annotations

import posixpath
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

    from engine.sandbox.machines.place import Place


class Network(Protocol):
    """What a machine may ask of the network it stands in."""

    def internet(self) -> bool:
        """Whether the machine has a way out to the internet right now."""

    async def connect(self, host: str, port: int) -> tuple[StreamReader, StreamWriter] | None:
        """A connection as the machine's routes and groups allow; None where no answer comes.

        Raises ConnectionRefusedError where nothing listens.
        """


Handler = Callable[["StreamReader", "StreamWriter"], Awaitable[None]]
"""Serves one TCP connection and closes it."""


@dataclass(frozen=True)
class Result:
    """What a run left: exit status, standard output, standard error."""

    status: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True)
class Login:
    """Who runs a command: the groups are those of the moment of login, as the kernel keeps them."""

    user: str
    uid: int
    gid: int
    group: str
    groups: tuple[str, ...]
    home: str
    shell: str = "/bin/bash"
    agent: str | None = None
    """Path of the forwarded SSH agent's socket."""

    @property
    def is_root(self) -> bool:
        """Whether nothing is forbidden."""
        return self.uid == 0


class Failed(Exception):
    """Ends a command with a message on standard error."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


@dataclass
class Call:
    """One invocation of a command: its words, its surroundings, and where its output goes."""

    name: str
    args: list[str]
    env: Mapping[str, str]
    cwd: str
    login: Login
    place: Place
    read: Callable[[], Awaitable[bytes]]
    out: bytearray = field(default_factory=bytearray)
    err: bytearray = field(default_factory=bytearray)

    def say(self, text: str, end: str = "\n") -> None:
        """A line on standard output."""
        self.out.extend((text + end).encode())

    def complain(self, text: str, status: int = 1) -> int:
        """A line on standard error; `status`, to be returned."""
        self.err.extend((text + "\n").encode())
        return status

    def path(self, name: str) -> str:
        """`name` as an absolute path without `.` and `..`."""
        return posixpath.normpath(posixpath.join(self.cwd, name)) if name != "/" else "/"


Command = Callable[[Call], Awaitable[int]]


@dataclass
class Options:
    """Parsed words of a command line: options by their canonical name in order, and the rest."""

    given: dict[str, list[str]]
    rest: list[str]

    def __contains__(self, name: str) -> bool:
        return name in self.given

    def last(self, name: str, default: str = "") -> str:
        """The last value given for `name`."""
        return self.given.get(name, [default])[-1]

    def every(self, name: str) -> list[str]:
        """Every value given for `name`, in order."""
        return self.given.get(name, [])

    def on(self, name: str) -> bool:
        """Whether a switch is set (`--x`, `--x=true`)."""
        return self.last(name, "false") not in ("false", "0", "False")


def options(
    args: Sequence[str],
    *,
    values: Collection[str] = (),
    switches: Collection[str] | None = None,
    same: Mapping[str, str] | None = None,
    stop: bool = False,
    unknown: Callable[[str], Exception] | None = None,
) -> Options:
    """Split a command line as getopt does.

    `values` are options that take one, `switches` those that take none (None: any other is one), `same` maps
    short names to canonical ones, `stop` ends the options at the first plain word. `unknown` makes the
    exception for an option that is neither.
    """
    reader = _Reader(list(args), values, switches, same or {}, unknown)
    while reader.left:
        word = reader.left.pop(0)
        if word == "--":
            reader.found.rest.extend(reader.left)
            break
        if word == "-" or not word.startswith("-"):
            reader.found.rest.append(word)
            if stop:
                reader.found.rest.extend(reader.left)
                break
        elif word.startswith("--"):
            reader.long(word)
        else:
            reader.short(word)
    return reader.found


@dataclass
class _Reader:
    left: list[str]
    values: Collection[str]
    switches: Collection[str] | None
    same: Mapping[str, str]
    unknown: Callable[[str], Exception] | None
    found: Options = field(default_factory=lambda: Options({}, []))

    def long(self, word: str) -> None:
        name, equals, value = word.partition("=")
        canonical = self.same.get(name, name)
        if canonical in self.values:
            self._put(canonical, value if equals else self._next(name))
        else:
            self._known(name, canonical)
            self._put(canonical, value if equals else "true")

    def short(self, word: str) -> None:
        letters = word[1:]
        while letters:
            name, letters = "-" + letters[0], letters[1:]
            canonical = self.same.get(name, name)
            if canonical in self.values:
                self._put(canonical, letters.removeprefix("=") if letters else self._next(name))
                return
            self._known(name, canonical)
            self._put(canonical, "true")

    def _known(self, name: str, canonical: str) -> None:
        if self.switches is not None and canonical not in self.switches and self.unknown is not None:
            raise self.unknown(name)

    def _next(self, name: str) -> str:
        if not self.left:
            raise (
                self.unknown(name) if self.unknown else Failed(f"option requires an argument -- '{name}'", 2)
            )
        return self.left.pop(0)

    def _put(self, name: str, value: str) -> None:
        self.found.given.setdefault(name, []).append(value)


State = dict[str, Any]
"""Plain data that a machine keeps on disk as JSON."""
