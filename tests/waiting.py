"""Waiting for what comes to be: as long as it takes, and never for good."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")


def waited(look: Callable[[], Seen], seconds: float = 15) -> Seen:
    """Looks until it sees something, and gives that; fails the test where it does not."""
    return _looked(look, bool, seconds)


def until(look: Callable[[], object], wanted: object, seconds: float = 10) -> None:
    """Looks until it sees exactly this; fails the test where it does not."""
    _looked(look, lambda seen: seen == wanted, seconds)


def _looked(look: Callable[[], Seen], enough: Callable[[Seen], bool], seconds: float) -> Seen:
    deadline = time.monotonic() + seconds
    while not enough(seen := look()):
        assert time.monotonic() < deadline, f"it does not come to that: still {seen!r}"
        time.sleep(0.03)
    return seen
