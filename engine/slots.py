"""How many steps may run at a time, over all labs that run side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Slots:
    """A number of slots to take and give back, safe among threads; who finds none is woken for the next."""

    def __init__(self, number: int) -> None:
        self._free = number
        self._lock = threading.Lock()
        self._waiting: list[Callable[[], None]] = []

    def take(self, wake: Callable[[], None]) -> bool:
        """Take a slot if one is free; else `wake` is called once one may be, to try again."""
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return True
            self._waiting.append(wake)
            return False

    def give(self) -> None:
        """Give one back. All who wait are woken, as some of them may have nothing to do any more."""
        with self._lock:
            self._free += 1
            waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()
