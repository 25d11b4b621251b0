"""Colour and layout of text for terminals; without colour every function here gives its text unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_CODES = {"green": "32", "yellow": "33", "red": "31", "magenta": "35", "cyan": "36", "bold": "1", "dim": "2"}


@dataclass(frozen=True)
class Paint:
    """Paints text with ANSI codes, or leaves it alone when `on` is false."""

    on: bool = False

    def __call__(self, text: str, colour: str) -> str:
        """`text` in one of green, yellow, red, magenta, cyan, bold, dim."""
        if not self.on or not text:
            return text
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"


PLAIN = Paint()


def shorten(text: str, width: int) -> str:
    """`text` cut to `width` characters, with an ellipsis where something is missing."""
    return text if len(text) <= width else text[: max(width - 1, 1)] + "…"


def columns(rows: Sequence[Sequence[str]], *, gap: int = 2, indent: int = 0) -> list[str]:
    """Rows of cells as aligned lines; the last column is not padded."""
    if not rows:
        return []
    widths = [max(len(row[at]) for row in rows if at < len(row)) for at in range(max(map(len, rows)))]
    lines = []
    for row in rows:
        cells = [cell.ljust(widths[at]) for at, cell in enumerate(row[:-1])] + [row[-1]]
        lines.append((" " * indent + (" " * gap).join(cells)).rstrip())
    return lines


def seconds(value: float) -> str:
    """A length of time as people say it: `0.4 s`, `12 s`, `3 min 5 s`."""
    if value < 10:
        return f"{value:.1f} s"
    if value < 60:
        return f"{value:.0f} s"
    return f"{int(value) // 60} min {int(value) % 60} s"


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 step`, `2 steps`."""
    return f"{number} {one if number == 1 else many or one + 's'}"
