"""Plain words for messages: near misses, lists, and what a value is called."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from engine.refs import Template, Unknown

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
"""What a resource, variable or output may be called."""

BUILTIN: Final = frozenset({"lab", "env", "my_ip"})
"""Names that templates have without declaring them."""

_SHOWN = 12


def one_of(words: Iterable[object], last: str = "or") -> str:
    """`a, b or c`."""
    quoted = [f"`{word}`" for word in words]
    if len(quoted) < 2:
        return "".join(quoted)
    return f"{', '.join(quoted[:-1])} {last} {quoted[-1]}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was probably meant to be."""
    choices = sorted(set(known))
    by_case = {choice.casefold(): choice for choice in choices}
    if word.casefold() in by_case:
        return by_case[word.casefold()]
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    if near:
        return near[0]
    # `sg_public` for `public_sg`: the same parts in another order.
    parts = sorted(re.split(r"[_.-]", word))
    return next((choice for choice in choices if sorted(re.split(r"[_.-]", choice)) == parts), None)


def did_you_mean(word: str, known: Iterable[str], what: str = "known here") -> str:
    """A remedy for an unknown word: the nearest known one, else the list of them."""
    choices = sorted(set(known))
    near = nearest(word, choices)
    if near is not None:
        return f"did you mean `{near}`?"
    if not choices:
        return f"nothing is {what}"
    shown = ", ".join(f"`{choice}`" for choice in choices[:_SHOWN])
    more = f" and {len(choices) - _SHOWN} more" if len(choices) > _SHOWN else ""
    return f"{what}: {shown}{more}"


def sort_of(value: Any) -> str:
    """What a value is called in messages: `the text "abc"`, `the number 3`, `a list`."""
    match value:
        case Template() | Unknown():
            return "a template"
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"the number {value}"
        case str():
            return f'the text "{shortened(value)}"'
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
    return "something else"


def shortened(text: str, length: int = 40) -> str:
    """The first line of `text`, cut where it is long."""
    first = text.split("\n", 1)[0]
    return text if text == first and len(text) <= length else first[: length - 1] + "…"
