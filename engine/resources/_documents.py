"""Documents of an API against those a playbook wants: what they must hold, and laid over each other."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

UNTOLD: Final = "(not told by AWS)"
"""Stands for a property that is never given back; it is taken to be as wanted."""


def alike(there: Any, wanted: Any) -> bool:
    """Whether two values are the same; numbers and booleans are as good as the texts that stand for them."""
    return bool(there == wanted) or _text(there) == _text(wanted)


def holds(there: Any, wanted: Any, same: Callable[[Any, Any], bool] = alike) -> bool:
    """Whether a document has what is `wanted` of it, and perhaps more; None is wanted not to be there.

    `same` compares what is neither a mapping nor a list. An empty one is as good as none.
    """
    if there == UNTOLD:
        return True
    if there is None and wanted in ({}, []):
        return True
    if isinstance(wanted, Mapping):
        return isinstance(there, Mapping) and all(
            holds(there.get(key), value, same) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(there, list)
            and len(there) == len(wanted)
            and all(holds(one, other, same) for one, other in zip(there, wanted, strict=True))
        )
    if there is None or wanted is None:
        return there is wanted
    return same(there, wanted)


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


def merged(there: Any, wanted: Any) -> Any:
    """What is there with what is `wanted` laid over it; keys wanted to be None are taken out."""
    if not isinstance(wanted, Mapping) or not isinstance(there, Mapping):
        return without_none(wanted)
    both = {**there, **{key: merged(there.get(key), value) for key, value in wanted.items()}}
    return {key: value for key, value in both.items() if key not in wanted or wanted[key] is not None}


def without_none(value: Any) -> Any:
    """`value` without the keys whose value is None, at any depth."""
    if isinstance(value, Mapping):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_none(item) for item in value]
    return value


def narrowed(there: Any, wanted: Any) -> Any:
    """Of what is there, only what has a counterpart in `wanted`, at any depth."""
    if isinstance(there, Mapping) and isinstance(wanted, Mapping):
        return {key: narrowed(there[key], value) for key, value in wanted.items() if key in there}
    if isinstance(there, list) and isinstance(wanted, list) and len(there) == len(wanted):
        return [narrowed(one, other) for one, other in zip(there, wanted, strict=True)]
    return there
