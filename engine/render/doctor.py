"""What the doctor found, as text: a line a stage, and one line for the cause and what mends it."""

from __future__ import annotations

from engine.doctor import Diagnosis
from engine.render.paint import PLAIN, Paint, columns

_MARKS = {True: ("ok", "green"), False: ("failed", "red"), None: ("-", "dim")}


def diagnosis_text(found: Diagnosis, *, paint: Paint = PLAIN) -> str:
    """The stages of every host on the way, then the last line."""
    lines = []
    for each in found.examined:
        lines.append(paint(each.host, "bold"))
        rows = [(_MARKS[one.well][0], one.stage, one.what) for one in each.findings]
        for one, line in zip(each.findings, columns(rows, indent=2), strict=True):
            mark, colour = _MARKS[one.well]
            lines.append(line.replace(mark, paint(mark, colour), 1))
    if found.cause is None:
        return "\n".join([*lines, "", paint(f"All is well with {found.host}.", "green")])
    mended = f" To mend it: {found.remedy}" if found.remedy else ""
    return "\n".join([*lines, "", paint(f"{found.cause}.{mended}", "red")])
