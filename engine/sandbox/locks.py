"""A lock file that one process holds at a time, let go by the system when its holder ends."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt

    def _try(file: IO[bytes]) -> bool:
        file.seek(0)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@contextmanager
def held(path: Path, *, timeout: float) -> Iterator[bool]:
    """Holds the lock at `path` within; yields False where it was not free within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    with path.open("ab") as file:
        while not (free := _try(file)) and time.monotonic() < deadline:
            time.sleep(0.02)
        yield free
