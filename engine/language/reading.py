"""Reading the written form: mappings with known keys, values of the expected sort, else problems in words."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from engine.language.document import Node, content
from engine.language.problems import Problems
from engine.language.words import did_you_mean, sort_of

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


def mapping(node: Node | None, what: str, problems: Problems) -> Node | None:
    """`node` if it is a mapping; None, and a problem, if it is something else; None if it is empty."""
    if node is None or node.value is None:
        return None
    if not node.is_mapping:
        problems.add(node.where, f"{what} must be a mapping, not {sort_of(content(node))}")
        return None
    return node


def known_keys(
    node: Node, known: Collection[str], what: str, problems: Problems, words: Mapping[str, str] | None = None
) -> None:
    """A problem for each key of the mapping `node` that is not one of `known`; `words` has remedies."""
    for key, where, _ in node.items():
        if key not in known:
            remedy = (words or {}).get(key) or did_you_mean(key, known, "it may have")
            problems.add(where, f"{what} has no `{key}`", remedy)


def text(node: Node | None, what: str, problems: Problems) -> str | None:
    """The text of a scalar that holds no template."""
    if node is None or node.value is None:
        return None
    if not isinstance(node.value, str):
        remedy = f'put it in quotes: "{node.value}"' if isinstance(node.value, int | float) else ""
        problems.add(node.where, f"{what} must be text, not {sort_of(content(node))}", remedy)
        return None
    if not node.value.strip():
        problems.add(node.where, f"{what} is empty")
        return None
    return node.value


def truth(value: Any) -> bool:
    """`true` or `false`, also as the texts people write. Raises ValueError in words."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().casefold() in _TRUTHS:
        return _TRUTHS[value.strip().casefold()]
    raise ValueError(f"must be true or false, not {sort_of(value)}")


_TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def seconds(value: Any) -> float:
    """A time span: a number of seconds, or text such as `90s`, `10m`, `1h`. Raises ValueError in words."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", str(value).strip())
    if isinstance(value, bool) or found is None or float(found[1]) <= 0:
        raise ValueError(f"must be a time such as `90s` or `10m`, not {sort_of(value)}")
    return float(found[1]) * _SECONDS[found[2]]
