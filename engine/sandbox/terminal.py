"""A terminal's line editing over raw bytes: echo, backspace, ^C, ^D, ^U; just what a shell needs."""

from __future__ import annotations

from typing import Protocol

_BACKSPACE, _INTERRUPT, _END, _CLEAR, _ESCAPE = (0x08, 0x7F), 0x03, 0x04, 0x15, 0x1B


class Source(Protocol):
    """Where bytes come from."""

    async def read(self, n: int = -1) -> bytes:
        """Some bytes; none at the end."""


class Sink(Protocol):
    """Where bytes go."""

    def write(self, data: bytes) -> None:
        """Sends `data`."""


class Terminal:
    """Reads lines typed at the other end of a connection, and shows them as they are typed."""

    def __init__(self, source: Source, sink: Sink) -> None:
        self._source = source
        self._sink = sink
        self._waiting = bytearray()
        self._escaped = 0

    def show(self, output: bytes) -> None:
        """Writes `output` with the line ends that terminals want."""
        self._sink.write(output.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))

    async def line(self, prompt: str) -> str | None:
        """A line typed after `prompt`; None at the end of input (^D on an empty line)."""
        self._sink.write(prompt.encode())
        typed = bytearray()
        while True:
            byte = await self._byte()
            if byte is None or (byte == _END and not typed):
                return None
            if byte in (0x0D, 0x0A):
                self._sink.write(b"\r\n")
                return typed.decode(errors="replace")
            if byte == _INTERRUPT:
                self._sink.write(b"^C\r\n")
                return ""
            self._edit(typed, byte)

    def _edit(self, typed: bytearray, byte: int) -> None:
        if self._escaped or byte == _ESCAPE:  # cursor keys: three bytes that are not text
            self._escaped = 2 if byte == _ESCAPE else self._escaped - 1
        elif byte in _BACKSPACE:
            if typed:
                del typed[-1]
                self._sink.write(b"\b \b")
        elif byte == _CLEAR:
            self._sink.write(b"\b \b" * len(typed))
            typed.clear()
        elif byte >= 0x20 or byte == 0x09:
            typed.append(byte)
            self._sink.write(bytes([byte]))

    async def _byte(self) -> int | None:
        if not self._waiting:
            self._waiting += await self._source.read(4096)
        return self._waiting.pop(0) if self._waiting else None
