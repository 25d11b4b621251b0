"""What evaluating an expression meets: values not known yet, views, what is not there; and how it fails."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from jinja2 import StrictUndefined

from engine.refs import Ref


class NotKnown(Exception):
    """An expression needs to look into a value that is not known yet."""


class Wrong(Exception):
    """A template is wrong, in words for the user; `line` counts within the template."""

    def __init__(self, what: str, remedy: str = "", line: int | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.line = line


class Failed(Wrong):
    """An expression could not be evaluated, given the values it met."""


class Later:
    """Stands in an expression for a value not known yet: it can be passed on, but not looked into."""

    __slots__ = ("refs", "text")

    def __init__(self, refs: frozenset[Ref], text: str | None = None) -> None:
        self.refs = refs
        self.text = text
        """The template that it comes from, where that is not the one at hand."""

    def _stop(self, *_: Any, **__: Any) -> Any:
        raise NotKnown

    __str__ = __repr__ = __len__ = __iter__ = __bool__ = __hash__ = __call__ = __contains__ = __int__ = (
        __float__
    ) = _stop
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __neg__ = __pos__ = __abs__ = __index__ = _stop
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _stop
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = __format__ = __round__ = _stop


class View:
    """Something that templates see through `name.output`: reading an attribute asks `read`."""

    __slots__ = ()

    @abstractmethod
    def read(self, name: str) -> Any:
        """The value of attribute `name`."""

    @abstractmethod
    def whole(self) -> Wrong:
        """What is wrong with using it as a value."""

    def __str__(self) -> str:
        raise self.whole()

    __repr__ = __str__


class Absent(StrictUndefined):
    """Something that is not there; words of its own."""


class Skipped(StrictUndefined):
    """A resource whose `when` is false: not defined, and so is all that it would have."""
