"""Runs scripts of a place in a virtual bash, with the place's own commands beside bash's."""

from __future__ import annotations

import itertools
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from shlex import quote

from bashkit import Bash, CommandContext, ExecutionProfile

from engine.sandbox.machines.command import Call, Command, Failed, Login, Result
from engine.sandbox.machines.place import Place

_GUESS = re.compile(rb"(: command not found)\. [^\n]*")
_UNKNOWN = re.compile(rb"^sh: line (\d+): ([^\n]*): command not found", re.MULTILINE)
_FIRST = 1 << 16
_LIMIT = 100_000_000
_NUMBER = itertools.count(1)

SHELLS = frozenset(
    {"sh", "bash", "dash", "/bin/sh", "/bin/bash", "/usr/bin/sh", "/usr/bin/bash", "/bin/dash"}
)


@dataclass
class Input:
    """Standard input of a shell, shared by its commands: what one has read, the next does not see.

    The virtual bash hands each command of a group the whole input again. Python's commands know it by its
    content: what they are handed is the end of the whole, as far as the shell's own `read` has come.
    """

    data: bytes
    taken: int = 0

    @property
    def first(self) -> bytes:
        """As much as the virtual bash itself gets to see; its files are limited to some megabytes."""
        return self.data if len(self.data) < 8_000_000 else self.data[:_FIRST]

    def take(self, piece: bytes, limit: int | None) -> bytes:
        """What a command that was handed `piece` reads of it, at most `limit` bytes."""
        if not piece or self.taken >= len(self.data) or not self.first.endswith(piece):
            return piece if limit is None else piece[:limit]
        start = max(self.taken, len(self.first) - len(piece))
        end = len(self.data) if limit is None else min(len(self.data), start + limit)
        self.taken = end
        return self.data[start:end]


@dataclass
class Run:
    """One script to run: who, where, with what."""

    place: Place
    login: Login
    script: str
    stdin: bytes = b""
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "/"
    args: Sequence[str] = ()


class ShellCall(Call):
    """A call made by a virtual bash: it can read a part of its input."""

    context: CommandContext
    input: Input
    _piece: bytes | None = None

    async def some(self, limit: int | None) -> bytes:
        """At most `limit` bytes of standard input; the rest stays for others."""
        if self._piece is None:
            self._piece = await _drain(self.context)
        return self.input.take(self._piece, limit)


async def _drain(context: CommandContext) -> bytes:
    chunks = []
    while (chunk := await context.stdin.read_chunk()) is not None:
        chunks.append(chunk)
    return b"".join(chunks)


async def execute(run: Run) -> Result:
    """Run the script to its end; exact status, output and errors."""
    place, login, given = run.place, run.login, Input(run.stdin)
    env = {**place.env(login), "UID": str(login.uid), "EUID": str(login.uid), **run.env}
    cwd = run.cwd if place.disk.is_dir(run.cwd) else "/"
    bash = Bash(
        username=login.user,
        hostname=place.hostname,
        cwd=cwd,
        env=env,
        max_commands=_LIMIT,
        max_loop_iterations=_LIMIT,
        timeout_seconds=86_400,
        profile=ExecutionProfile.Interactive,
    )
    bash.mount("/", place.disk.fs)
    for name, command in _commands(place, bool(run.stdin)).items():
        bash.add_command(name, _adapter(place, login, given, name, command))
    out, err = bytearray(), bytearray()

    async def to_out(data: bytes) -> None:
        out.extend(data)

    async def to_err(data: bytes) -> None:
        err.extend(data)

    script, file = run.script, ""
    if run.args:
        script = f"set -- {' '.join(quote(word) for word in run.args)}; {script}"
    if run.stdin:
        file = f"/run/stdin.{next(_NUMBER)}"
        place.disk.write(file, given.first)
        script = f"{{ {script}\n}} < {file}"
    result = await bash.execute(script, stdout=to_out, stderr=to_err)
    if file:
        place.disk.remove(file)
    place.disk.sweep(login.user, login.group)
    status = result.exit_code
    if result.error:
        status = _report(str(result.error), err)
    errors = _GUESS.sub(rb"\1", bytes(err))
    if place.system.has_apt:  # there sh is dash, which says it in other words than bash
        errors = _UNKNOWN.sub(rb"sh: \1: \2: not found", errors)
    return Result(status, bytes(out), errors)


def _commands(place: Place, has_input: bool) -> dict[str, Command]:
    found = dict(place.commands)
    if not has_input:
        # Without shared input bash's own are right, and faster.
        for name in ("cat", "head", "dd"):
            found.pop(name, None)
    for name, command in place.packaged.items():
        found[f"@{name}"] = command
        if place.disk.exists(f"/usr/bin/{name}"):
            # Faster than by its file in the path, which is for what is installed within the same script.
            found[name] = command
    return found


def _report(error: str, err: bytearray) -> int:
    found = re.match(r"parse error at line (\d+), column \d+: (?:syntax error: )?(.*)", error)
    if found:
        err.extend(f"bash: -c: line {found[1]}: syntax error: {found[2]}\n".encode())
        return 2
    err.extend(f"bash: {error}\n".encode())
    return 124 if "time" in error else 137


def _adapter(
    place: Place, login: Login, given: Input, name: str, command: Command
) -> Callable[[CommandContext], Awaitable[int]]:
    plain = name.removeprefix("@")

    async def live(context: CommandContext) -> int:
        async def everything() -> bytes:
            return await call.some(None)

        call = ShellCall(plain, context.argv, context.env, context.cwd, login, place, everything)
        call.context, call.input = context, given
        try:
            status = await command(call)
        except Failed as failure:
            call.complain(failure.message)
            status = failure.status
        if call.out:
            await context.stdout.write(bytes(call.out))
        if call.err:
            await context.stderr.write(bytes(call.err))
        return status

    return live


@dataclass(frozen=True)
class ShellWords:
    """What the words of `sh …` ask for."""

    script: str | None
    """None: the script comes on standard input."""
    args: tuple[str, ...]
    settings: str
    login: bool


def shell_words(words: Sequence[str], place: Place) -> ShellWords:
    """Read the words after `sh`; a script file is read here. Raises Failed where it is not there."""
    left = list(words)
    letters = ""
    while left and left[0].startswith(("-", "+")) and left[0] not in ("-", "--"):
        word = left.pop(0)
        if word.startswith("--"):
            letters += "l" if word == "--login" else ""
        else:
            letters += word[1:]
        if word.endswith("o") and left:
            left.pop(0)
    if left and left[0] in ("-", "--"):
        left.pop(0)
    settings = "".join(letter for letter in "euxf" if letter in letters)
    if "c" in letters:
        if not left:
            raise Failed("bash: -c: option requires an argument", 2)
        return ShellWords(left[0], tuple(left[2:]), settings, "l" in letters)
    if "s" in letters or not left:
        return ShellWords(None, tuple(left), settings, "l" in letters)
    path = left[0] if left[0].startswith("/") else f"/{left[0]}"
    if not place.disk.is_file(path):
        raise Failed(f"bash: {left[0]}: No such file or directory", 127)
    return ShellWords(place.disk.text(path), tuple(left[1:]), settings, "l" in letters)


async def run_words(call: Call, words: Sequence[str], login: Login, env: Mapping[str, str], cwd: str) -> int:
    """Run a command of separate words as `login`, within `call`: for sudo, su and their like."""
    call.place.disk.sweep(call.login.user, call.login.group)
    stdin = await call.read()
    if words[0] in SHELLS:
        asked = shell_words(words[1:], call.place)
        script = asked.script
        if script is None:
            script, stdin = stdin.decode(errors="surrogateescape"), b""
        if asked.settings:
            script = f"set -{asked.settings}; {script}"
        run = Run(call.place, login, script, stdin, env, cwd, asked.args)
    else:
        run = Run(call.place, login, " ".join(quote(word) for word in words), stdin, env, cwd)
    result = await execute(run)
    call.out.extend(result.stdout)
    call.err.extend(result.stderr)
    return result.status
