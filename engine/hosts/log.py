"""The run's log: every script sent to a host, with its exit status and output."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from engine.hosts.spec import Ran

_LONGEST = 100_000


class RunLog:
    """A file, readable by its owner alone, that grows by one paragraph a script.

    `mask` takes secrets out of every text before it is written.
    """

    def __init__(self, path: Path, mask: Callable[[str], str] = str) -> None:
        self.path = path
        self._mask = mask
        self._lock = threading.Lock()

    def ran(self, host: str, script: str, ran: Ran, seconds: float) -> None:
        """Append what `script` gave on `host`."""
        self._append(
            f"== {_now()} {host}: exit {ran.status} after {seconds:.3f} s\n"
            f"{self._block('$', script)}{self._block('>', _text(ran.stdout))}"
            f"{self._block('!', _text(ran.stderr))}"
        )

    def failed(self, host: str, script: str, why: str) -> None:
        """Append that `script` gave no result on `host`."""
        self._append(f"== {_now()} {host}: {why}\n{self._block('$', script)}")

    def say(self, host: str, text: str) -> None:
        """Append a remark about `host`."""
        self._append(f"== {_now()} {host}: {text}\n")

    def _block(self, mark: str, text: str) -> str:
        # Masked as a whole: a secret of several lines would no longer be found between the marks.
        return "".join(f"{mark} {line}\n" for line in self._mask(text).splitlines())

    def _append(self, text: str) -> None:
        data = self._mask(text).encode("utf-8", "replace")
        # A full disk must not fail the step that is only being told of.
        with self._lock, suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(file, data)
            finally:
                os.close(file)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _text(data: bytes) -> str:
    shown = data[:_LONGEST].decode("utf-8", "replace")
    return shown if len(data) <= _LONGEST else f"{shown}\n[{len(data) - _LONGEST} bytes more]"
