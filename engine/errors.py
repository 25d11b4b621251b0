"""What can go wrong, in words a user can act on; data and exceptions only, nothing is printed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Where:
    """A place in a file of the user's: line and column count from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        """`file:line:column`, the form that editors and terminals make clickable."""
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Problem:
    """One thing wrong with what the user wrote: where, what is wrong, and what to write instead."""

    where: Where | None
    what: str
    remedy: str = ""


class LabctlError(Exception):
    """A failure with a message for the user and, where there is one, what to do about it.

    `exit_code` is what the command line exits with when this ends a command (design §5).
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class Invalid(LabctlError):
    """The command line, a playbook or an inventory is wrong; nothing was touched."""

    exit_code = 3

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(problem.what for problem in problems))
        self.problems = tuple(problems)


class Locked(LabctlError):
    """Somebody else is changing this lab now."""

    exit_code = 4


class Unreachable(LabctlError):
    """The target cannot be reached, or refuses the credentials."""

    exit_code = 5


class StepFailed(LabctlError):
    """A step on one resource failed for a reason that can be told in words."""

    no_effect = False
    """Whether it is an answer that leaves no doubt: what was asked has changed nothing."""


class HostUnreachable(LabctlError):
    """A host of the lab cannot be reached; other hosts may well be."""


class Interrupted(LabctlError):
    """The user wants to stop, and what was given up was only waiting: nothing had been sent yet."""

    exit_code = 130


class LostAnswer(LabctlError):
    """A request was sent and its answer never came: it may or may not have taken effect."""


class HalfMade(StepFailed):
    """A create made the thing `id` and then failed to finish it: it is there and must be remembered."""

    def __init__(self, id: str, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.id = id
