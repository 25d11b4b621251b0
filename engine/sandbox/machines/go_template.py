"""Go templates as `docker --format` takes them: fields, pipes, range, if, and the usual functions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


class TemplateError(ValueError):
    """The template cannot be read or does not fit the data."""


_ACTION = re.compile(r"\{\{(-)?(.*?)(-)?\}\}", re.DOTALL)
_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|`[^`]*`|\(|\)|\||:=|,|\$?[\w]*(?:\.[\w]+)+|\$\w*|[\w.-]+)')


@dataclass
class _Node:
    words: str
    text: str = ""
    body: list[_Node] = field(default_factory=list)
    other: list[_Node] = field(default_factory=list)


def render(template: str, data: Any) -> str:
    """`template` filled in with `data`. Raises TemplateError."""
    pieces = list(_pieces(template))
    nodes, _ = _parse(pieces, 0)
    return "".join(_run(nodes, data, {"$": data}))


def _pieces(template: str) -> Iterator[tuple[str, str]]:
    position, trim = 0, False
    for match in _ACTION.finditer(template):
        text = template[position : match.start()]
        text = text.lstrip() if trim else text
        yield "text", text.rstrip() if match[1] else text
        yield "action", match[2].strip()
        position, trim = match.end(), bool(match[3])
    rest = template[position:]
    if "{{" in rest:
        raise TemplateError("template parsing error: template: :1: unclosed action")
    yield "text", rest.lstrip() if trim else rest


def _parse(pieces: list[tuple[str, str]], position: int) -> tuple[list[_Node], int]:
    nodes: list[_Node] = []
    while position < len(pieces):
        sort, text = pieces[position]
        position += 1
        if sort == "text":
            nodes.append(_Node("", text))
        elif text == "end" or text.startswith("else"):
            return nodes, position - 1
        elif text.split(" ")[0] in ("range", "if", "with"):
            node = _Node(text)
            node.body, position = _parse(pieces, position)
            if position < len(pieces) and pieces[position][1].startswith("else"):
                node.other, position = _parse(pieces, position + 1)
            if position >= len(pieces):
                raise TemplateError("template parsing error: template: :1: unexpected EOF")
            nodes.append(node)
            position += 1
        elif not text.startswith("/*"):
            nodes.append(_Node(text))
    return nodes, position


def _run(nodes: list[_Node], dot: Any, names: dict[str, Any]) -> Iterator[str]:
    for node in nodes:
        if not node.words:
            yield node.text
            continue
        word, _, rest = node.words.partition(" ")
        if word == "range":
            yield from _range(node, rest, dot, names)
        elif word in ("if", "with"):
            value = _value(rest, dot, names)
            yield from _run(
                node.body if value else node.other, value if word == "with" and value else dot, names
            )
        else:
            value = _value(node.words, dot, names)
            yield "" if value is _NOTHING else _show(value)


_NOTHING = object()


def _range(node: _Node, rest: str, dot: Any, names: dict[str, Any]) -> Iterator[str]:
    variables: list[str] = []
    if ":=" in rest:
        left, _, rest = rest.partition(":=")
        variables = [name.strip() for name in left.split(",")]
    value = _value(rest, dot, names)
    pairs = list(sorted(value.items()) if isinstance(value, Mapping) else enumerate(value or ()))
    for key, item in pairs:
        given = dict(zip(variables, [key, item] if len(variables) > 1 else [item], strict=False))
        yield from _run(node.body, item, {**names, **given})
    if not pairs:
        yield from _run(node.other, dot, names)


def _value(words: str, dot: Any, names: dict[str, Any]) -> Any:
    tokens = [match[1] for match in _TOKEN.finditer(words)]
    if len(tokens) > 2 and tokens[1] == ":=":
        names[tokens[0]] = _pipe(tokens[2:], dot, names)
        return _NOTHING
    return _pipe(tokens, dot, names)


def _pipe(tokens: list[str], dot: Any, names: dict[str, Any]) -> Any:
    stages: list[list[str]] = [[]]
    depth = 0
    for token in tokens:
        depth += (token == "(") - (token == ")")
        if token == "|" and depth == 0:
            stages.append([])
        else:
            stages[-1].append(token)
    value: list[Any] = []
    for stage in stages:
        value = [_call(stage, dot, names, value)]
    return value[0]


def _call(tokens: list[str], dot: Any, names: dict[str, Any], piped: list[Any]) -> Any:
    args: list[Any] = []
    position = 0
    head = tokens[0] if tokens else ""
    if head in _FUNCTIONS:
        position = 1
    while position < len(tokens):
        if tokens[position] == "(":
            end = _closing(tokens, position)
            value = _pipe(tokens[position + 1 : end], dot, names)
            position = end + 1
            while position < len(tokens) and tokens[position].startswith(".") and tokens[position] != ".":
                # `(index .Ports 0).HostPort`: a field of what the parentheses gave.
                value = _atom(tokens[position], value, names)
                position += 1
            args.append(value)
        else:
            args.append(_atom(tokens[position], dot, names))
            position += 1
    if head in _FUNCTIONS:
        return _FUNCTIONS[head](*args, *piped)
    if head and not args:
        raise TemplateError(f'template parsing error: template: :1: function "{head}" not defined')
    return args[0] if args else None


def _closing(tokens: list[str], start: int) -> int:
    depth = 0
    for position in range(start, len(tokens)):
        depth += (tokens[position] == "(") - (tokens[position] == ")")
        if depth == 0:
            return position
    raise TemplateError("template parsing error: template: :1: unclosed left paren")


def _atom(token: str, dot: Any, names: dict[str, Any]) -> Any:
    if token[0] in '"`':
        return json.loads(token) if token[0] == '"' else token[1:-1]
    if re.fullmatch(r"-?\d+", token):
        return int(token)
    if token in ("true", "false", "nil"):
        return {"true": True, "false": False, "nil": None}[token]
    if token == ".":
        return dot
    name, _, path = token.partition(".")
    if name and not name.startswith("$"):
        raise TemplateError(f'template parsing error: template: :1: function "{name}" not defined')
    value = names.get(name) if name else dot
    for part in filter(None, path.split(".")):
        value = _field(value, part, token)
    return value


def _field(value: Any, part: str, token: str) -> Any:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise TemplateError(
            f'template: :1:2: executing "" at <{token}>: can\'t evaluate field {part} in type interface {{}}'
        )
    if part in value:
        return value[part]
    # Docker's own structs know their fields; free maps (labels, ports) give nothing for a missing key.
    if part[:1].isupper() and "Id" in value:
        raise TemplateError(f'template: :1:2: executing "" at <{token}>: map has no entry for key "{part}"')
    return None


def _show(value: Any) -> str:
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        # The values of ports and volumes are empty structs; an empty map would be shown as map[].
        shown = {key: "{}" if item == {} else _show(item) for key, item in value.items()}
        return f"map[{' '.join(f'{key}:{item}' for key, item in sorted(shown.items()))}]"
    if isinstance(value, list):
        return f"[{' '.join(_show(item) for item in value)}]"
    return str(value)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if value is None:
            return ""
        if isinstance(value, list):
            if not isinstance(key, int) or not 0 <= key < len(value):
                raise TemplateError(
                    f'template: :1:2: executing "" at <index>: error calling index: index out of range: {key}'
                )
            value = value[key]
        else:
            value = value.get(key, "")
    return value


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _printf(form: str, *args: Any) -> str:
    return re.sub(r"%[vq]", "%s", form) % tuple(
        _show(item) if not isinstance(item, int) else item for item in args
    )


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": _json,
    "index": _index,
    "join": lambda items, by: by.join(map(_show, items or ())),
    "split": lambda text, by: str(text).split(by),
    "lower": lambda text: str(text).lower(),
    "upper": lambda text: str(text).upper(),
    "title": lambda text: str(text).title(),
    "len": lambda items: len(items or ()),
    "println": lambda *items: " ".join(map(_show, items)) + "\n",
    "print": lambda *items: "".join(map(_show, items)),
    "printf": _printf,
    "eq": lambda left, *right: left in right,
    "ne": lambda left, right: left != right,
    "not": lambda value: not value,
    "and": lambda *values: next((value for value in values if not value), values[-1]),
    "or": lambda *values: next((value for value in values if value), values[-1]),
    "gt": lambda left, right: left > right,
    "lt": lambda left, right: left < right,
    "slice": lambda text, *ends: text[slice(*ends)],
    "truncate": lambda text, count: str(text)[:count],
}
