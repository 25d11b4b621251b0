"""Problems of what the user wrote, each with its place, its line of source and what to write instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.errors import LabctlError, Problem, Where
from engine.render.paint import PLAIN, Paint, counted

SourceLine = Callable[[Where], str | None]
"""The line of source at a place; None where it cannot be read."""


def problems_text(
    problems: Sequence[Problem], source: SourceLine, *, paint: Paint = PLAIN, closing: bool = True
) -> str:
    """Every problem as a block, in the order given, and how many there are.

    A single one of the command line says enough by itself; without `closing` so do all.
    """
    blocks = ["\n".join(_problem(problem, source, paint)) for problem in problems]
    if closing and (len(problems) > 1 or any(problem.where for problem in problems)):
        blocks.append(f"{counted(len(problems), 'problem')}. Nothing was touched.")
    return "\n\n".join(blocks)


def _problem(problem: Problem, source: SourceLine, paint: Paint) -> list[str]:
    if problem.where is None:
        lines = [paint(f"Error: {problem.what}", "red")]
    else:
        lines = [f"{paint(str(problem.where), 'bold')}: {paint(problem.what, 'red')}"]
        lines += _caret(problem.where, source(problem.where), paint)
    if problem.remedy:
        lines += [f"  {line}" for line in problem.remedy.splitlines()]
    return lines


def _caret(where: Where, text: str | None, paint: Paint) -> list[str]:
    if text is None or not text.strip():
        return []
    number = str(where.line).rjust(5)
    text = text.rstrip()
    # Columns count characters, and a tab is one: the caret's line repeats the tabs.
    lead = "".join("\t" if character == "\t" else " " for character in text[: where.column - 1])
    return [paint(f"{number} | ", "dim") + text, paint(" " * 5 + " | ", "dim") + lead + paint("^", "red")]


def error_text(error: LabctlError, *, paint: Paint = PLAIN) -> str:
    """A failure with its remedy below it."""
    lines = [paint(f"Error: {error.message}", "red")]
    lines += [f"  {line}" for line in error.remedy.splitlines()]
    return "\n".join(lines)
