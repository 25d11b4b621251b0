"""Collecting everything that is wrong, so that the user hears of it all at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from engine.errors import Invalid, Problem, Where

_NOWHERE = Where("", 0, 0)
_SHORTEST = 4
"""Shorter secrets would blot out ordinary words."""


class Problems:
    """What has been found wrong so far; each thing once."""

    def __init__(self) -> None:
        self._found: dict[Problem, None] = {}
        self._hidden: set[str] = set()

    def __len__(self) -> int:
        return len(self._found)

    def add(self, where: Where | None, what: str, remedy: str = "") -> None:
        """Remember one problem."""
        self._found.setdefault(Problem(where, what, remedy))

    def extend(self, problems: Iterable[Problem]) -> None:
        """Remember several problems."""
        for problem in problems:
            self._found.setdefault(problem)

    def extend_elsewhere(self, problems: Iterable[Problem]) -> None:
        """Remember those at places where nothing is wrong yet: the others only follow from it."""
        told = {problem.where for problem in self._found} - {None}
        self.extend(problem for problem in problems if problem.where not in told)

    @contextmanager
    def catching(self) -> Iterator[None]:
        """Within it an Invalid ends the block, not the program: its problems are remembered."""
        try:
            yield
        except Invalid as invalid:
            self.extend_elsewhere(invalid.problems)

    def hide(self, secrets: Iterable[str]) -> None:
        """From now on no message shows any of these values."""
        self._hidden |= {secret for secret in secrets if len(secret) >= _SHORTEST}

    def sorted(self) -> tuple[Problem, ...]:
        """All of them by place, those without a place first; secrets masked."""
        told = {self._masked(problem) for problem in self._found}
        return tuple(sorted(told, key=_by_place))

    def _masked(self, problem: Problem) -> Problem:
        what, remedy = problem.what, problem.remedy
        for secret in sorted(self._hidden, key=len, reverse=True):
            what, remedy = what.replace(secret, "(secret)"), remedy.replace(secret, "(secret)")
        return Problem(problem.where, what, remedy)

    def check(self) -> None:
        """Raise Invalid with all that was found, if anything was."""
        if self._found:
            raise Invalid(self.sorted())


def _by_place(problem: Problem) -> tuple[Where, str, str]:
    return problem.where or _NOWHERE, problem.what, problem.remedy
