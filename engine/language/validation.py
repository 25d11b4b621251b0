"""What pydantic finds wrong with a resource's fields, in the playbook's words and at its places."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from engine.errors import Problem, Where
from engine.lab import Declared
from engine.language.ansible import FIELD_WORDS
from engine.language.documentation import documentation
from engine.language.words import did_you_mean, nearest, one_of, shortened, sort_of
from engine.resource import SECRET

Path = tuple[str | int, ...]


def problems_of(error: ValidationError, declared: Declared, values: Mapping[str, Any]) -> list[Problem]:
    """One problem for each place that is wrong; alternatives (`int or list`) are told together."""
    found: dict[tuple[Path, str], list[ErrorDetails]] = {}
    for detail in error.errors():
        path = _below(detail["loc"], values)
        asks = _ASKS.get(detail["type"])
        # All alternatives of a union end at one place: they are one problem.
        key = (
            (path, "type")
            if asks
            else (path, f"{detail['type']}{detail['loc'] if path != detail['loc'] else ''}")
        )
        found.setdefault(key, []).append(detail)
    return [_problem(path, details, declared, values) for (path, _), details in found.items()]


_TAGS = frozenset({"int", "str", "bool", "float", "list", "dict", "none"})
_GONE = object()


def _below(location: Path, values: Any) -> Path:
    """The part of pydantic's location that the playbook has; what pydantic adds for unions is left out."""
    path: list[str | int] = []
    for step in location:
        inner = _step(values, step)
        if inner is not _GONE:
            path.append(step)
            values = inner
    last = location[-1] if location else 0
    # A missing field is named, though it is not there.
    if isinstance(last, str) and path[-1:] != [last] and isinstance(values, Mapping) and _is_name(last):
        path.append(last)
    return tuple(path)


def _is_name(step: str) -> bool:
    return step not in _TAGS and re.fullmatch(r"[a-z_][a-z0-9_]*", step) is not None


def _step(values: Any, step: str | int) -> Any:
    if isinstance(values, Mapping):
        return values.get(step, _GONE)
    if isinstance(values, list) and isinstance(step, int) and step < len(values):
        return values[step]
    return _GONE


def _problem(
    path: Path, details: list[ErrorDetails], declared: Declared, values: Mapping[str, Any]
) -> Problem:
    kind = declared.kind
    first = details[0]
    place = _place(path, declared.positions) or declared.where
    secret = bool(path) and _is_secret(kind, str(path[0]))
    if first["type"] == "missing":
        return Problem(
            place, f"{_in(path[:-1], declared)} needs `{path[-1] if path else '?'}`", _help(kind, path)
        )
    if first["type"] == "extra_forbidden":
        return Problem(
            place, f"{_in(path[:-1], declared)} has no `{path[-1]}`", _remedy_for_extra(path, declared)
        )
    if first["type"] in ("value_error", "assertion_error"):
        words = first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        colon = "" if re.match(r"(must|cannot|is|needs|has|names) ", words) else ":"
        return Problem(place, f"{_in(path, declared)}{colon} {words}")
    asked = list(dict.fromkeys(_asked(detail) for detail in details))
    got = "" if secret else f", not {sort_of(first['input'])}"
    words = " or ".join([", ".join(asked[:-1]), asked[-1]] if len(asked) > 1 else asked)
    return Problem(place, f"{_in(path, declared)} must be {words}{got}", _hint(first))


def _is_secret(kind: type[BaseModel], name: str) -> bool:
    field = kind.model_fields.get(name)
    return field is not None and SECRET in field.metadata


def _place(path: Path, positions: Mapping[Path, Where]) -> Where | None:
    while path and path not in positions:
        path = path[:-1]
    return positions.get(path)


def _in(path: Path, declared: Declared) -> str:
    """`rules[0].ports of ec2_security_group`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return f"`{text}` of {declared.kind.kind}" if text else declared.kind.kind


def _model_at(kind: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """The model that describes what stands at `path`."""
    model: type[BaseModel] | None = kind
    for step in path:
        if isinstance(step, int):
            continue
        field = model.model_fields.get(step) if model is not None else None
        model = _model_in(field.annotation) if field is not None else None
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for each in get_args(annotation) if (model := _model_in(each))), None)


def _help(kind: type[BaseModel], path: Path) -> str:
    """What the missing field at `path` is for."""
    model = _model_at(kind, path[:-1])
    name = str(path[-1]) if path else ""
    if model is None or name not in model.model_fields:
        return ""
    words = model.model_fields[name].description or documentation(model).get(name, "")
    return words.split("\n")[0].rstrip(".")


def _remedy_for_extra(path: Path, declared: Declared) -> str:
    name = str(path[-1])
    model = _model_at(declared.kind, path[:-1])
    known = sorted(model.model_fields) if model is not None else []
    if name in FIELD_WORDS and nearest(name, known) is None:
        return FIELD_WORDS[name]
    return did_you_mean(name, known, "its fields")


def _asked(detail: ErrorDetails) -> str:
    asks = _ASKS.get(detail["type"])
    if asks is None:
        return re.sub(r"^Input should (?:be )?", "", detail["msg"])
    return asks(detail.get("ctx", {})) if callable(asks) else asks


def _hint(first: ErrorDetails) -> str:
    if first["type"] == "string_type" and isinstance(first["input"], int | float):
        text = str(first["input"])
        return f'put it in quotes: "{text.lower() if isinstance(first["input"], bool) else text}"'
    if first["type"] in ("literal_error", "enum") and isinstance(first["input"], str):
        choices = re.findall(r"'([^']*)'", str(first.get("ctx", {}).get("expected", "")))
        near = nearest(first["input"], choices)
        return f"did you mean `{near}`?" if near else ""
    return ""


def _choice(context: Mapping[str, Any]) -> str:
    choices = re.findall(r"'([^']*)'|(\d+)", str(context.get("expected", "")))
    return one_of(text or number for text, number in choices) or "something else"


_ASKS: Mapping[str, str | Callable[[Mapping[str, Any]], str]] = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "none_required": "nothing",
    "literal_error": _choice,
    "enum": _choice,
    "greater_than": lambda context: f"more than {context['gt']}",
    "greater_than_equal": lambda context: f"at least {context['ge']}",
    "less_than": lambda context: f"less than {context['lt']}",
    "less_than_equal": lambda context: f"at most {context['le']}",
    "multiple_of": lambda context: f"a multiple of {context['multiple_of']}",
    "string_too_short": lambda context: f"text of at least {context['min_length']} characters",
    "string_too_long": lambda context: f"text of at most {context['max_length']} characters",
    "string_pattern_mismatch": lambda context: f"text of the form {shortened(context['pattern'], 80)}",
    "too_short": lambda context: f"at least {context['min_length']} entries",
    "too_long": lambda context: f"at most {context['max_length']} entries",
}
