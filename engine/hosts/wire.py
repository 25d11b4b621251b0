"""How a script, its input and its files travel over one exec channel: composed and read back; pure.

The command of the channel is one of two constants, so that a shell can be started before its script is known.
It writes `labctl PID` first (the proof that a shell runs, and what to kill when time is up), then takes its
whole script from standard input and refuses one that was cut off, so that half a script never runs.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from engine.on_host import Upload

TEXT_LIMIT: Final = 1 << 20
"""Bytes of uploads and input up to which they travel as text within the script."""

CHUNK: Final = 1 << 15

_CHATTER: Final = 1 << 16

_WHOLE: Final = "# labctl: whole"
_EVAL: Final = f'case $labctl_script in *"{_WHOLE}") eval "$labctl_script";; *) exit 255;; esac'

TEXT_BOOT: Final = f'echo "labctl $$"; labctl_script=$(cat); {_EVAL}'
RAW_BOOT: Final = (
    'echo "labctl $$"; IFS= read -r labctl_size; '
    f'labctl_script=$(dd bs="$labctl_size" count=1 iflag=fullblock 2>/dev/null); {_EVAL}'
)

SAY: Final = "labctl-say: "
"""A line of a script's standard error that begins so is for the user, at once: what it is waiting for."""

_HELLO = re.compile(rb"^labctl ([0-9]+)\n", re.MULTILINE)


@dataclass(frozen=True)
class Request:
    """One script packed for the way: the program of the channel's shell, and what to send to it."""

    boot: str
    text: bytes
    raw: tuple[Path | bytes, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all that is sent."""
        raw = (len(source) if isinstance(source, bytes) else source.stat().st_size for source in self.raw)
        return len(self.text) + sum(raw)

    def chunks(self) -> Iterator[bytes]:
        """Everything to send, in pieces; big files are read as they go.

        Raises OSError where a file cannot be read, ValueError where it changed its size meanwhile.
        """
        yield from _pieces(self.text)
        for source in self.raw:
            yield from _pieces(source) if isinstance(source, bytes) else _read(source)


def pack(script: str, stdin: bytes = b"", files: Sequence[Upload] = ()) -> Request:
    """`script` with its input and files, ready to send.

    Raises OSError where a file cannot be read.
    """
    if not stdin and not files:
        return Request(TEXT_BOOT, _whole(script))
    sources: list[Path | bytes] = [upload.source for upload in files]
    if stdin:
        sources.append(stdin)
    sizes = [len(source) if isinstance(source, bytes) else source.stat().st_size for source in sources]
    raw = sum(sizes) > TEXT_LIMIT
    lines = [
        "labctl_dir=$(mktemp -d) || exit 1",
        "trap 'rm -rf \"$labctl_dir\"' EXIT",
        "trap 'exit 129' HUP",
        "trap 'exit 143' INT TERM",
        "labctl_umask=$(umask)",
        "umask 077",
    ]
    for number, (source, size) in enumerate(zip(sources, sizes, strict=True), 1):
        place = f'"$labctl_dir/{number}"'
        lines.append(_from_stream(place, size) if raw else _from_text(place, source))
    lines += [f'export labctl_upload_{number}="$labctl_dir/{number}"' for number in range(1, len(files) + 1)]
    lines.append('umask "$labctl_umask"')
    given = f'"$labctl_dir/{len(sources)}"' if stdin else "/dev/null"
    lines.append(f"( eval {quote(script)} ) <{given}")
    lines.append("exit $?")
    text = _whole("\n".join(lines))
    if raw:
        return Request(RAW_BOOT, b"%d\n" % len(text) + text, tuple(sources))
    return Request(TEXT_BOOT, text)


def as_user(boot: str, user: str | None, login: str) -> str:
    """The command of a channel that runs `boot` as `user` (None: as who logged in, `login`)."""
    shell = f"sh -c {quote(boot)}"
    if user is None or user == login:
        return f"exec {shell}"
    if login == "root":
        return f"exec runuser -u {quote(user)} -- {shell}"
    return f"exec sudo -n -H {'' if user == 'root' else f'-u {quote(user)} '}{shell}"


def hello(output: bytes) -> tuple[int, bytes] | None:
    """The shell's process id and what its script wrote, from a channel's output; None without a shell."""
    # Before it may stand what the user's shell says at every start.
    found = _HELLO.search(output, 0, _CHATTER)
    return (int(found.group(1)), output[found.end() :]) if found else None


def kill(pid: int) -> str:
    """A script that ends the process group of `pid`: asks first, insists after two seconds."""
    return (
        f"g=$(cut -d' ' -f5 /proc/{pid}/stat 2>/dev/null) || exit 0\n"
        'kill -s TERM -- "-$g" 2>/dev/null; n=0\n'
        'while kill -s 0 -- "-$g" 2>/dev/null && [ $n -lt 20 ]; do sleep 0.1; n=$((n+1)); done\n'
        'kill -s KILL -- "-$g" 2>/dev/null\nexit 0'
    )


def _whole(script: str) -> bytes:
    return f"{script}\n{_WHOLE}".encode()


def _from_text(place: str, source: Path | bytes) -> str:
    data = source if isinstance(source, bytes) else source.read_bytes()
    return f"base64 -d >{place} <<'LABCTL_END' || exit 1\n{base64.encodebytes(data).decode()}LABCTL_END"


def _from_stream(place: str, size: int) -> str:
    return (
        f"dd bs=65536 count={size} iflag=fullblock,count_bytes of={place} 2>/dev/null || exit 1\n"
        f'[ "$(wc -c <{place})" -eq {size} ] || exit 1'
    )


def _pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), CHUNK):
        yield data[start : start + CHUNK]


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        left = os.fstat(file.fileno()).st_size
        while left:
            data = file.read(min(CHUNK, left))
            if not data:
                raise ValueError(f"{path} became shorter while it was sent")
            left -= len(data)
            yield data
