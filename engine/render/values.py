"""Values of fields and outputs as one-line text and as JSON data."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from datetime import date
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel

from engine.masking import MASK
from engine.refs import Template, Unknown

SENSITIVE = MASK

_BARE = re.compile(r"[^\s\[\]{},#\"'](?:[^\n\r\t,\[\]{}\"]*[^\s\[\]{},\"])?")

_HASH = re.compile(r"sha256:[0-9a-f]{64}")
"""What stands for contents: nobody reads all of it."""


def compact(value: Any, *, top: bool = True) -> str:
    """`value` on one line, in YAML's flow style; unknown values as `(known after apply)`."""
    if isinstance(value, Unknown):
        return str(value)
    if value is None:
        return "(not set)" if top else "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value, top)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {compact(item, top=False)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple | set | frozenset):
        return "[" + ", ".join(compact(item, top=False) for item in _ordered(value)) + "]"
    data = as_data(value)
    return str(data) if data is value else compact(data, top=top)


def _text(value: str, top: bool) -> str:
    if _HASH.fullmatch(value):
        return f"(contents {value[7:15]})"
    if top and value and value == value.strip() and value.isprintable():
        return value
    if not top and _BARE.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _ordered(value: Any) -> list[Any]:
    return sorted(value, key=str) if isinstance(value, set | frozenset) else list(value)


def as_data(value: Any) -> Any:
    """`value` as JSON data; unknown values become `{"unknown": true}`."""
    if isinstance(value, Unknown | Template):
        return {"unknown": True}
    if isinstance(value, Mapping):
        return {str(key): as_data(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_data(item) for item in _ordered(value)]
    if isinstance(value, BaseModel):
        return as_data({name: getattr(value, name) for name in type(value).model_fields})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: as_data(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, PurePath | date):
        return str(value)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value


def is_url(value: Any) -> bool:
    """Whether `value` is the URL of a page."""
    return isinstance(value, str) and value.startswith(("http://", "https://"))


def lines_of(value: Any) -> list[str] | None:
    """The lines of a text of several lines; None for anything else."""
    return value.splitlines() if isinstance(value, str) and "\n" in value.strip("\n") else None


def to_json(document: Any, *, indent: int | None = 2) -> str:
    """A JSON document; with `indent=None` on one line."""
    return json.dumps(as_data(document), indent=indent, ensure_ascii=False)
