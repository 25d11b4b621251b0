"""The playbook as written: variables, entries, outputs and checks, nothing evaluated yet."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from engine.errors import Invalid, Problem, Where
from engine.language import reading
from engine.language.builtins import RESERVED
from engine.language.document import Node, content, read
from engine.language.entries import Entries, Included, Kinds, Written
from engine.language.problems import Problems
from engine.language.secrets import find_written
from engine.language.variables import Variable, declare
from engine.language.words import NAME, sort_of
from engine.local_files import PlaybookFiles, shown

_KEYS: Final = ("name", "description", "vars", "uses", "resources", "outputs", "checks")
_PLAYBOOK_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,38}[A-Za-z0-9])?\Z")
_MOST_INCLUDES = 10
_TOP_WORDS = {
    "hosts": "this is a playbook of Ansible: see `labctl init hw02` for one of labctl",
    "tasks": "write the entries under `resources`",
    "variables": "write `vars`",
    "include": "write it as an entry under `resources`: `- {name: net, include: FILE}`",
    "use": "write `uses`",
    "target": "`target` belongs in the inventory",
    "students": "`students` belongs in the inventory",
    "tags": "`tags` of all resources belong in the inventory",
}


@dataclass(frozen=True)
class Playbook:
    """What a playbook file says."""

    path: Path
    name: str
    variables: Mapping[str, Variable]
    parts: tuple[Written | Included, ...] = ()
    """Resources and includes, in the file's order."""
    unread: frozenset[str] = frozenset()
    """Names of entries that could not be read; their problems are told, references to them are not."""
    uses: Mapping[str, Node] = field(default_factory=dict)
    """The names of the labs that it uses, by the names that it gives them."""
    uses_places: Mapping[str, Where] = field(default_factory=dict)
    outputs: Node | None = None
    checks: Node | None = None
    files: PlaybookFiles = field(default_factory=lambda: PlaybookFiles(()))
    """What it may read: what lies beside it, and in `templates/`."""

    @property
    def entries(self) -> tuple[Written, ...]:
        """Its resources."""
        return tuple(part for part in self.parts if isinstance(part, Written))

    @property
    def includes(self) -> tuple[Included, ...]:
        """The playbooks that it includes."""
        return tuple(part for part in self.parts if isinstance(part, Included))

    def books(self) -> Iterator[Playbook]:
        """This playbook and all that it includes, each once."""
        seen: dict[int, Playbook] = {}
        waiting = [self]
        while waiting:
            book = waiting.pop()
            if id(book) not in seen:
                seen[id(book)] = book
                waiting += [each.book for each in book.includes if each.book is not None]
        yield from seen.values()


def read_playbook(path: Path, kinds: Kinds, problems: Problems) -> Playbook:
    """The playbook at `path` with those that it includes, as far as they can be read.

    Raises Invalid where it cannot be read at all.
    """
    return _Library(kinds, problems).playbook(path, _files(path))


def _files(playbook: Path) -> PlaybookFiles:
    folder = playbook.absolute().parent
    places = dict.fromkeys([folder, folder.parent / "templates", Path("templates").absolute()])
    return PlaybookFiles(tuple(places))


class _Library:
    """The playbooks of one load, each read once."""

    def __init__(self, kinds: Kinds, problems: Problems) -> None:
        self._kinds = kinds
        self._problems = problems
        self._read: dict[Path, Playbook | None] = {}
        self._open: list[Path] = []
        """Those being read, the outermost first."""

    def playbook(self, path: Path, files: PlaybookFiles) -> Playbook:
        """The playbook at `path`, which may read `files`. Raises Invalid."""
        problems = self._problems
        root = _root(path)
        self._open.append(path.resolve())
        try:
            reading.known_keys(root, _KEYS, "a playbook", problems, _TOP_WORDS)
            find_written(root, problems)
            reading.text(root.get("description"), "`description`", problems)
            variables = declare(root.get("vars"), problems)
            uses = _uses(root.get("uses"), problems)
            reader = Entries(self._kinds, lambda node: self._included(node, files), problems)
            parts = reader.of(root.get("resources"))
            _check_names(parts, variables, uses, problems)
            return Playbook(
                path=path,
                name=_name(root, path, problems),
                variables=variables,
                parts=parts,
                unread=frozenset(reader.unread),
                uses={name: node for name, (_, node) in uses.items()},
                uses_places={name: where for name, (where, _) in uses.items()},
                outputs=root.get("outputs"),
                checks=root.get("checks"),
                files=files,
            )
        finally:
            self._open.pop()

    def _included(self, node: Node, files: PlaybookFiles) -> Playbook | None:
        """The playbook that an `include` names; None, and a problem, where it cannot be had."""
        path = self._place(node, files)
        if path is None:
            return None
        if path in self._open:
            ring = [*self._open[self._open.index(path) :], path]
            words = f"playbooks include each other in a ring: {' → '.join(shown(each) for each in ring)}"
            self._problems.add(node.where, words, "take one of these includes out")
            return None
        if len(self._open) > _MOST_INCLUDES:
            self._problems.add(node.where, f"includes are nested more than {_MOST_INCLUDES} deep")
            return None
        if path not in self._read:
            self._read[path] = None
            with self._problems.catching():
                self._read[path] = self.playbook(Path(shown(path)), _inner_files(path, files))
        return self._read[path]

    def _place(self, node: Node, files: PlaybookFiles) -> Path | None:
        if not isinstance(content(node), str):
            words = f"`include` must name a file as it is, not {sort_of(content(node))}"
            templated = isinstance(node.value, str)
            remedy = "choose among several by `when`" if templated else "write `include: FILE.yml`"
            self._problems.add(node.where, words, remedy)
            return None
        try:
            return files.find(str(node.value))
        except ValueError as error:
            self._problems.add(node.where, str(error))
            return None


def _inner_files(path: Path, files: PlaybookFiles) -> PlaybookFiles:
    """What an included playbook may read: what lies beside it first, and all that the outer one may."""
    near = [path.parent, path.parent.parent / "templates"]
    roots = [each.resolve() for each in files.folders]
    own = [each for each in near if any(each.is_relative_to(root) for root in roots)]
    return PlaybookFiles(tuple(dict.fromkeys([*own, *files.folders])))


def _root(path: Path) -> Node:
    root = read(path)
    if root is None:
        raise Invalid(
            [Problem(Where(str(path)), "the playbook is empty", "it begins with `name:` and `resources:`")]
        )
    if not root.is_mapping:
        remedy = (
            "this is a playbook of Ansible: see `labctl init hw02` for one of labctl" if root.is_list else ""
        )
        words = f"a playbook must be a mapping, not {sort_of(content(root))}"
        raise Invalid([Problem(root.where, words, remedy or "it begins with `name:` and `resources:`")])
    return root


def _name(root: Node, path: Path, problems: Problems) -> str:
    name = reading.text(root.get("name"), "`name`", problems) or path.stem
    if not _PLAYBOOK_NAME.match(name):
        node = root.get("name")
        where = node.where if node is not None else root.where
        remedy = "use up to 40 letters, digits, `.`, `_` and `-`"
        problems.add(where, f"`{name}` cannot name a playbook", remedy)
    return name


def _uses(node: Node | None, problems: Problems) -> dict[str, tuple[Where, Node]]:
    """The labs of `uses`, by the names that templates have for them, each with its place."""
    if node is None or node.value is None:
        return {}
    if node.is_mapping:
        given = [(name, where, item) for name, where, item in node.items()]
    else:
        items = node.value if node.is_list else [node]
        given = [(str(item.value).partition("@")[0], item.where, item) for item in items]
    found: dict[str, tuple[Where, Node]] = {}
    for name, where, item in given:
        if not isinstance(item.value, str) or not item.value:
            words = f"`uses` must name a lab, not {sort_of(content(item))}"
            problems.add(item.where, words, "such as `uses: base@fall2026`, or `uses: {base: base@fall2026}`")
        elif not NAME.match(name):
            words = f"`{name}` cannot stand in templates: letters, digits and _ only, a letter first"
            problems.add(where, words, f'give it a name: `uses: {{base: "{item.value}"}}`')
        elif name in RESERVED:
            problems.add(where, f"`{name}` has a meaning of its own in templates", "choose another name")
        elif name in found:
            problems.add(
                where, f"two labs are called `{name}` here", f'write `uses: {{NAME: "{item.value}"}}`'
            )
        else:
            found[name] = (where, item)
    return found


def _check_names(
    parts: Collection[Written | Included],
    variables: Mapping[str, Variable],
    uses: Mapping[str, tuple[Where, Node]],
    problems: Problems,
) -> None:
    for name, (where, _) in uses.items():
        if name in variables:
            line = variables[name].where.line
            words = f"`{name}` is a variable too, on line {line}"
            problems.add(where, words, "rename one of the two: `uses: {NAME: LAB}`")
    seen: dict[str, Where] = {name: where for name, (where, _) in uses.items()}
    for entry in parts:
        if entry.name in variables:
            line = variables[entry.name].where.line
            problems.add(
                entry.where, f"`{entry.name}` is a variable too, on line {line}", "rename one of the two"
            )
        elif entry.name in seen:
            line = seen[entry.name].line
            problems.add(
                entry.where,
                f"`{entry.name}` is here twice; the first is on line {line}",
                "rename one of the two",
            )
        seen.setdefault(entry.name, entry.where)
