"""YAML as a tree of values that know their places. Nothing in a file can run code or make labctl explode."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.nodes import MappingNode, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from engine.errors import Invalid, Problem, Where
from engine.language.problems import Problems
from engine.refs import Template

_CORE = "tag:yaml.org,2002:"
_MOST_BYTES = 4_000_000
_MOST_VALUES = 200_000
_MOST_DEPTH = 100
_DEEP_LINE = re.compile(r"(?:[-?] ){50}")
_TEMPLATE = re.compile(r"\{[{%#]")


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a YAML file: text, number, truth, nothing, a list of nodes or a mapping of nodes."""

    where: Where
    value: Any
    keys: Mapping[str, Where] = field(default_factory=dict)
    """Of a mapping: where each key stands."""

    def items(self) -> Iterator[tuple[str, Where, Node]]:
        """Key, the key's place and value, for each entry of a mapping."""
        for key, node in self.value.items():
            yield key, self.keys[key], node

    def get(self, key: str) -> Node | None:
        """The value under `key` of a mapping."""
        found: Node | None = self.value.get(key)
        return found

    @property
    def is_mapping(self) -> bool:
        """Whether it is a mapping."""
        return isinstance(self.value, dict)

    @property
    def is_list(self) -> bool:
        """Whether it is a list."""
        return isinstance(self.value, list)


def content(node: Node) -> Any:
    """The plain value of a node; strings that hold `{{`, `{%` or `{#` become Templates."""
    match node.value:
        case dict():
            return {key: content(item) for key, item in node.value.items()}
        case list():
            return [content(item) for item in node.value]
        case str() if _TEMPLATE.search(node.value):
            return Template(node.value, node.where)
    return node.value


def places(node: Node) -> dict[tuple[str | int, ...], Where]:
    """Where everything below `node` stands, by path: mapping entries at their keys."""
    found: dict[tuple[str | int, ...], Where] = {}
    _note_places(node, (), found)
    return found


def _note_places(node: Node, path: tuple[str | int, ...], found: dict[tuple[str | int, ...], Where]) -> None:
    if node.is_mapping:
        for key, where, item in node.items():
            found[*path, key] = where
            _note_places(item, (*path, key), found)
    elif node.is_list:
        for number, item in enumerate(node.value):
            found[*path, number] = item.where
            _note_places(item, (*path, number), found)


def read(path: Path) -> Node | None:
    """The document in the file at `path`; None where it is empty. Raises Invalid."""
    return parse(decoded(path), str(path))


def decoded(path: Path) -> str:
    """The text of the UTF-8 file at `path`. Raises Invalid where it cannot be read."""
    name = str(path)
    try:
        size = path.stat().st_size
        raw = path.read_bytes() if size <= _MOST_BYTES else b""
    except OSError as error:
        raise Invalid([Problem(Where(name), f"cannot be read: {_reason(error)}")]) from None
    if size > _MOST_BYTES:
        words = f"is {size} bytes; labctl reads files of up to {_MOST_BYTES}"
        raise Invalid([Problem(Where(name), words)])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line_start = before.rfind(b"\n") + 1
        where = Where(name, before.count(b"\n") + 1, len(before[line_start:].decode("utf-8", "replace")) + 1)
        raise Invalid([Problem(where, "is not UTF-8 text", "save the file in UTF-8")]) from None


def _reason(error: OSError) -> str:
    return {
        FileNotFoundError: "there is no such file",
        IsADirectoryError: "it is a folder",
        PermissionError: "permission is denied",
    }.get(type(error), (error.strerror or str(error)).lower())


def parse(text: str, name: str) -> Node | None:
    """The document in `text`; `name` is what its places call the file. Raises Invalid."""
    try:
        root = _composed(text)
    except yaml.YAMLError as error:
        raise Invalid([_syntax_problem(error, text, name)]) from None
    except RecursionError:
        raise Invalid([Problem(Where(name), "is nested too deeply")]) from None
    if root is None:
        return None
    problems = Problems()
    node = _Conversion(name, problems).of(root)
    problems.check()
    return node


class _Resolver(BaseResolver):
    """YAML 1.2's idea of plain scalars: `yes`, `on`, `0644`, `22:22` and dates are text."""


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+|0o[0-7]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+",
        "-+.0123456789",
    ),
    ("merge", r"<<", "<"),
):
    _Resolver.add_implicit_resolver(_CORE + _tag, re.compile(f"(?:{_pattern})\\Z"), list(_first))


class _PureLoader(Reader, Scanner, Parser, Composer, _Resolver):
    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        _Resolver.__init__(self)


def _composed(text: str) -> Any:
    """The root node of `text`, by libyaml where it is there and safe, else in Python."""
    if not hasattr(yaml, "CSafeLoader") or _suspicious(text):
        return _PureLoader(text).get_single_node()
    try:
        return _fast_loader()(text).get_single_node()
    except yaml.YAMLError:
        # The messages of the two differ: only those of the Python one reach the user.
        return _PureLoader(text).get_single_node()


@functools.cache
def _fast_loader() -> Any:
    from yaml._yaml import CParser

    class FastLoader(CParser, _Resolver):
        def __init__(self, text: str) -> None:
            CParser.__init__(self, text)
            _Resolver.__init__(self)

    return FastLoader


def _suspicious(text: str) -> bool:
    """Whether nesting may be deep enough to exhaust the C stack; rough, in doubt yes."""
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth += 1 if bracket in "[{" else -1
        if depth > _MOST_DEPTH:
            return True
    return _DEEP_LINE.search(text) is not None


class _Conversion:
    """From PyYAML's nodes to ours, counting, so that aliases cannot blow up."""

    def __init__(self, name: str, problems: Problems) -> None:
        self._name = name
        self._problems = problems
        self._count = 0
        self._inside: set[int] = set()

    def of(self, raw: Any) -> Node:
        where = self._where(raw)
        self._count += 1
        if self._count > _MOST_VALUES:
            raise Invalid(
                [Problem(where, f"holds more than {_MOST_VALUES} values once aliases are expanded")]
            )
        if id(raw) in self._inside:
            raise Invalid([Problem(where, "an alias stands inside the value that it names")])
        if len(self._inside) > _MOST_DEPTH:
            raise Invalid([Problem(where, "is nested too deeply")])
        if isinstance(raw, ScalarNode):
            return Node(where, self._scalar(raw, where))
        self._inside.add(id(raw))
        node = self._sequence(raw, where) if isinstance(raw, SequenceNode) else self._mapping(raw, where)
        self._inside.discard(id(raw))
        return node

    def _where(self, raw: Any) -> Where:
        return Where(self._name, raw.start_mark.line + 1, raw.start_mark.column + 1)

    def _scalar(self, raw: ScalarNode, where: Where) -> Any:
        text: str = raw.value
        match raw.tag.removeprefix(_CORE):
            case "str" | "merge":
                return text
            case "null":
                return None
            case "bool":
                return text.casefold() == "true"
            case "int" | "float" as sort:
                return self._number(sort, text, where)
        self._refuse_tag(raw, where)
        return None

    def _number(self, sort: str, text: str, where: Where) -> Any:
        try:
            return float(text) if sort == "float" else int(text, 10 if text[:1] in "+-" or text == "0" else 0)
        except ValueError:
            # `!!int abc`, or more digits than Python turns into a number.
            self._problems.add(where, f"`{text[:40]}` is not a number labctl can read")
            return None

    def _sequence(self, raw: SequenceNode, where: Where) -> Node:
        if raw.tag != _CORE + "seq":
            self._refuse_tag(raw, where)
        return Node(where, [self.of(item) for item in raw.value])

    def _mapping(self, raw: MappingNode, where: Where) -> Node:
        if raw.tag != _CORE + "map":
            self._refuse_tag(raw, where)
        own: dict[str, Node] = {}
        keys: dict[str, Where] = {}
        merged: list[Node] = []
        for raw_key, raw_value in raw.value:
            key_place = self._where(raw_key)
            if not isinstance(raw_key, ScalarNode):
                self._refuse_key(raw_key, key_place)
            elif raw_key.tag == _CORE + "merge":
                merged += self._merges(raw_value)
            elif raw_key.value in own:
                first = keys[raw_key.value]
                self._problems.add(
                    key_place,
                    f"`{raw_key.value}` is here twice; the first is on line {first.line}",
                    "keep one of the two",
                )
            else:
                keys[raw_key.value] = key_place
                own[raw_key.value] = self.of(raw_value)
        for source in merged:
            for key, place, item in source.items():
                if key not in own:
                    own[key], keys[key] = item, place
        return Node(where, own, keys)

    def _merges(self, raw: Any) -> list[Node]:
        node = self.of(raw)
        sources = node.value if node.is_list else [node]
        if all(source.is_mapping for source in sources):
            return list(sources)
        self._problems.add(node.where, "`<<` takes a mapping or a list of mappings")
        return []

    def _refuse_tag(self, raw: Any, where: Where) -> None:
        tag = raw.tag.replace(_CORE, "!!")
        self._problems.add(
            where, f"the tag `{tag}` means nothing here", "a playbook is plain data: leave the tag out"
        )

    def _refuse_key(self, raw: Any, where: Where) -> None:
        if isinstance(raw, MappingNode):
            remedy = 'a value that begins with {{ goes in quotes: "{{ name }}"'
            self._problems.add(where, "a template without quotes", remedy)
        else:
            self._problems.add(where, "a key must be plain text")


_SYNTAX = (
    (r"'\\t' that cannot start", "a tab where only spaces may stand", "indent with spaces"),
    (r"character '(.)' that cannot start", "text cannot begin with `{0}` here", "put the text in quotes"),
    (r"mapping values are not allowed", "a `:` that YAML does not expect here",
     "check the indentation, and put text that holds `: ` in quotes"),
    (r"could not find expected ':'", "this line lacks a `:` after its key", "write `key: value`"),
    (r"while scanning a quoted scalar", "a quote that is never closed", "close the quote"),
    (r"undefined alias '(.*)'", "the alias `*{0}` names nothing", "define `&{0}` before it is used"),
    (r"duplicate anchor '(.*)'", "the anchor `&{0}` is defined twice", "give each anchor its own name"),
    (r"expected a single document", "a second document begins here", "remove the `---`: a file holds one"),
    (r"expected ',' or '[\]}]'", "a list or mapping in brackets is not closed",
     "close the bracket, or check its commas"),
    (r"expected the node content", "a bracket or a value is missing here", "close what was opened before"),
    (r"expected <block end>", "this line does not fit what stands above it", "check indentation and quotes"),
    (r"undefined tag handle|suffix", "a tag that means nothing here",
     "a playbook is plain data: leave the tag out"),
    (r"unknown escape character '(.)'", "`\\{0}` means nothing between double quotes",
     "use single quotes, or write `\\\\{0}`"),
)  # fmt: skip


def _syntax_problem(error: yaml.YAMLError, text: str, name: str) -> Problem:
    if isinstance(error, ReaderError):
        before = text[: error.position]
        where = Where(name, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        return Problem(where, "a control character that YAML does not allow", "remove the character")
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = Where(name) if mark is None else Where(name, mark.line + 1, mark.column + 1)
    lines = text.splitlines()
    line = lines[mark.line] if mark is not None and mark.line < len(lines) else ""
    if re.search(r"[:-]\s+\{\{", line):
        return Problem(
            where, "a template without quotes", 'a value that begins with {{ goes in quotes: "{{ name }}"'
        )
    said = f"{getattr(error, 'context', '') or ''}: {getattr(error, 'problem', '') or error}"
    for pattern, what, remedy in _SYNTAX:
        found = re.search(pattern, said)
        if found:
            return Problem(where, what.format(*found.groups()), remedy.format(*found.groups()))
    return Problem(where, f"is not YAML: {said.strip(': ')}")
