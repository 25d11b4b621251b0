"""A mistake in a kind becomes a message that says whose it is."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import TracebackType

from engine.errors import LabctlError


class Blame:
    """While open, what a kind should never raise is raised as a LabctlError with the kind's name in it.

    `address` is the resource at hand, where there is one. LabctlErrors pass as they are.
    """

    def __init__(self, kind: str, address: str = "") -> None:
        self._kind = kind
        self._address = address

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, sort: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, Exception) or isinstance(error, LabctlError):
            return
        whose = f"{self._address}: " if self._address else ""
        remedy = "please report it"
        if self._address:
            remedy += f"; until it is mended, `--skip {self._address}` leaves this resource as it is"
        raise LabctlError(f"{whose}a bug in labctl's kind {self._kind}: {_words(error)}", remedy) from error


def _words(error: Exception) -> str:
    """What went wrong, and the line of code where it did."""
    frames = traceback.extract_tb(error.__traceback__)
    at = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return said + at
