"""The playbook as written: entries with their keywords, blocks undone, nothing evaluated yet."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from engine.errors import Invalid, Problem, Where
from engine.language import reading
from engine.language.ansible import ENTRY_WORDS, KIND_WORDS, NOT_KINDS
from engine.language.builtins import RESERVED
from engine.language.document import Node, content, read
from engine.language.problems import Problems
from engine.language.secrets import find_written
from engine.language.variables import Variable, declare
from engine.language.words import NAME, did_you_mean, nearest, one_of, sort_of
from engine.refs import Template
from engine.resource import SECRET, Resource

_KEYS: Final = ("name", "description", "vars", "resources", "outputs", "checks")
_OVERRIDES: Final = ("host", "ssh", "protect", "retain", "timeout", "no_log")
"""Keywords of a block that an entry's own replace."""
_OWN: Final = ("ignore_changes",)
KEYWORDS: Final = ("name", *_OVERRIDES, *_OWN, "when", "loop", "depends_on", "tags")
SSH_KEYS: Final = ("user", "key", "port", "via", "forward_agent", "host")
_PLAYBOOK_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,38}[A-Za-z0-9])?\Z")
_MOST_BLOCKS = 10
_TOP_WORDS = {
    "hosts": "this is a playbook of Ansible: see `labctl init hw02` for one of labctl",
    "tasks": "write the entries under `resources`",
    "variables": "write `vars`",
    "include": "labctl cannot take in other playbooks yet: write the entries here",
    "target": "`target` belongs in the inventory",
    "students": "`students` belongs in the inventory",
    "tags": "`tags` of all resources belong in the inventory",
}

Kinds = Mapping[str, type[Resource]]


@dataclass(frozen=True)
class Written:
    """One entry with everything that it and the blocks around it say."""

    name: str
    where: Where
    kind: type[Resource]
    kind_where: Where
    fields: Node
    """A mapping, perhaps empty."""
    keywords: Mapping[str, Node] = field(default_factory=dict)
    """`host`, `ssh`, `protect`, `retain`, `timeout`, `no_log`, `ignore_changes`; the innermost."""
    whens: tuple[Node, ...] = ()
    loop: Node | None = None
    depends: tuple[Node, ...] = ()
    tags: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Playbook:
    """What a playbook file says."""

    path: Path
    name: str
    variables: Mapping[str, Variable]
    entries: tuple[Written, ...] = ()
    unread: frozenset[str] = frozenset()
    """Names of entries that could not be read; their problems are told, references to them are not."""
    outputs: Node | None = None
    checks: Node | None = None


def read_playbook(path: Path, kinds: Kinds, problems: Problems) -> Playbook:
    """The playbook at `path`, as far as it can be read; raises Invalid where it cannot be read at all."""
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
    reading.known_keys(root, _KEYS, "a playbook", problems, _TOP_WORDS)
    find_written(root, problems)
    reading.text(root.get("description"), "`description`", problems)
    variables = declare(root.get("vars"), problems)
    reader = _Entries(kinds, problems)
    entries = reader.of(root.get("resources"))
    _check_names(entries, variables, problems)
    return Playbook(
        path=path,
        name=_name(root, path, problems),
        variables=variables,
        entries=entries,
        unread=frozenset(reader.unread),
        outputs=root.get("outputs"),
        checks=root.get("checks"),
    )


def _name(root: Node, path: Path, problems: Problems) -> str:
    name = reading.text(root.get("name"), "`name`", problems) or path.stem
    if not _PLAYBOOK_NAME.match(name):
        node = root.get("name")
        where = node.where if node is not None else root.where
        remedy = "use up to 40 letters, digits, `.`, `_` and `-`"
        problems.add(where, f"`{name}` cannot name a playbook", remedy)
    return name


def _check_names(entries: Collection[Written], variables: Mapping[str, Variable], problems: Problems) -> None:
    seen: dict[str, Where] = {}
    for entry in entries:
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


@dataclass(frozen=True)
class _Shared:
    """What the blocks around an entry say."""

    keywords: Mapping[str, Node] = field(default_factory=dict)
    whens: tuple[Node, ...] = ()
    loop: Node | None = None
    depends: tuple[Node, ...] = ()
    tags: tuple[Node, ...] = ()

    def with_keywords_of(self, node: Node, problems: Problems) -> _Shared:
        """The same with the keywords of `node`, an entry or block within, added."""
        loop = node.get("loop")
        if loop is not None and self.loop is not None:
            problems.add(
                node.keys["loop"], "a `loop` within a `loop`", "loop once, over a list of all combinations"
            )
        whens, depends, tags = (_present(node, key) for key in ("when", "depends_on", "tags"))
        own = {key: node.value[key] for key in (*_OVERRIDES, *_OWN) if node.get(key) is not None}
        return _Shared(
            keywords={**self.keywords, **own},
            whens=self.whens + whens,
            loop=loop or self.loop,
            depends=self.depends + depends,
            tags=self.tags + tags,
        )


def _present(node: Node, key: str) -> tuple[Node, ...]:
    found = node.get(key)
    return () if found is None or found.value is None else (found,)


class _Entries:
    def __init__(self, kinds: Kinds, problems: Problems) -> None:
        self._kinds = kinds
        self._problems = problems
        self.unread: set[str] = set()

    def of(self, node: Node | None) -> tuple[Written, ...]:
        return tuple(self._list(node, "`resources`", _Shared(), 0))

    def _list(self, node: Node | None, what: str, shared: _Shared, depth: int) -> Iterator[Written]:
        if node is None or node.value is None:
            return
        if not node.is_list:
            remedy = "write one entry for each, beginning with `- name:`"
            self._problems.add(node.where, f"{what} must be a list, not {sort_of(content(node))}", remedy)
            return
        if depth > _MOST_BLOCKS:
            self._problems.add(node.where, f"blocks are nested more than {_MOST_BLOCKS} deep")
            return
        for item in node.value:
            yield from self._entry(item, shared, depth)

    def _entry(self, node: Node, shared: _Shared, depth: int) -> Iterator[Written]:
        if not node.is_mapping:
            words = f"an entry must be a mapping, not {sort_of(content(node))}"
            self._problems.add(node.where, words, "write `- name: …` and a kind")
        elif "include" in node.value or "import_playbook" in node.value:
            key = next(key for key in ("include", "import_playbook") if key in node.value)
            self._problems.add(
                node.keys[key], "labctl cannot take in other playbooks yet", "write the entries here"
            )
        elif "block" in node.value:
            yield from self._block(node, shared, depth)
        else:
            written = self._resource(node, shared)
            if written is not None:
                yield written

    def _block(self, node: Node, shared: _Shared, depth: int) -> Iterator[Written]:
        allowed = ("block", *(word for word in KEYWORDS if word not in _OWN))
        for key, where, _ in node.items():
            if key in self._kinds:
                remedy = "write it as an entry of the block"
                self._problems.add(where, f"the kind `{key}` stands beside a `block`", remedy)
            elif key == "ignore_changes":
                self._problems.add(
                    where, "a block has no `ignore_changes`", "write it in the entries that it is about"
                )
            elif key not in allowed:
                remedy = ENTRY_WORDS.get(key) or did_you_mean(key, allowed, "it may have")
                self._problems.add(where, f"a block has no `{key}`", remedy)
        inner = shared.with_keywords_of(node, self._problems)
        yield from self._list(node.get("block"), "`block`", inner, depth + 1)

    def _resource(self, node: Node, shared: _Shared) -> Written | None:
        name = self._name(node)
        kind_key = self._kind(node)
        fields = self._fields(node.value[kind_key], self._kinds[kind_key]) if kind_key is not None else None
        if name is None or kind_key is None or fields is None:
            self.unread.update([name] if name is not None else [])
            return None
        kind = self._kinds[kind_key]
        own = shared.with_keywords_of(node, self._problems)
        written = Written(
            name=name,
            where=node.where,
            kind=kind,
            kind_where=node.keys[kind_key],
            fields=fields,
            keywords=own.keywords,
            whens=own.whens,
            loop=own.loop,
            depends=own.depends,
            tags=own.tags,
        )
        _find_secret_fields(written, self._problems)
        return written

    def _name(self, node: Node) -> str | None:
        given = node.get("name")
        if given is None:
            remedy = "write `name: …`; references and plans use it"
            self._problems.add(node.where, "the resource has no `name`", remedy)
            return None
        name = reading.text(given, "`name`", self._problems)
        if name is None:
            return None
        if not NAME.match(name) or len(name) > 64:
            suggestion = re.sub(r"\W+", "_", name).strip("_").casefold()
            remedy = f"such as `{suggestion}`" if NAME.match(suggestion) and len(suggestion) <= 64 else ""
            what = f"`{name}` cannot name a resource: letters, digits and _ only, a letter first"
            self._problems.add(given.where, what, remedy)
            return None
        if name in RESERVED:
            self._problems.add(
                given.where, f"`{name}` has a meaning of its own in templates", "choose another name"
            )
            return None
        return name

    def _kind(self, node: Node) -> str | None:
        """The key of the entry's kind; problems for everything else that is neither kind nor keyword."""
        found = [key for key in node.value if key in self._kinds]
        strange = [key for key in node.value if key not in self._kinds and key not in KEYWORDS]
        for key in strange:
            self._problems.add(node.keys[key], *self._strange(key, bool(found)))
        if len(found) > 1:
            self._problems.add(
                node.keys[found[1]], f"one entry has the kinds {one_of(found, 'and')}", "write two entries"
            )
            return None
        if not found and not strange:
            words = "the entry has no kind"
            self._problems.add(node.where, words, f"such as {one_of(list(self._kinds)[:3])}")
        return found[0] if found else None

    def _strange(self, key: str, has_kind: bool) -> tuple[str, str]:
        """What is wrong with `key` on an entry, and what to write."""
        if key in ENTRY_WORDS:
            return f"`{key}` means nothing here", ENTRY_WORDS[key]
        plain = key.rsplit(".", 1)[-1]
        if plain in NOT_KINDS and plain not in self._kinds:
            return f"`{plain}` is not a kind", NOT_KINDS[plain]
        wanted = plain if plain in self._kinds else KIND_WORDS.get(plain, "")
        if wanted in self._kinds:
            return f"`{key}` is not a kind", f"write `{wanted}`"
        near = nearest(plain, [*KEYWORDS, "block"] if has_kind else [*self._kinds, *KEYWORDS, "block"])
        if has_kind:
            words = f"`{key}` is no keyword"
            return (
                words,
                f"did you mean `{near}`?"
                if near
                else f"fields go under the kind; keywords: {one_of(KEYWORDS)}",
            )
        return (
            f"there is no kind `{key}`",
            f"did you mean `{near}`?" if near else "`labctl schema` lists the kinds",
        )

    def _fields(self, node: Node, kind: type[Resource]) -> Node | None:
        if node.is_mapping or node.value is None:
            return node if node.is_mapping else Node(node.where, {}, {})
        first = next(iter(kind.model_fields), "field")
        words = f"`{kind.kind}` must be a mapping of fields, not {sort_of(content(node))}"
        self._problems.add(node.where, words, f"such as `{kind.kind}: {{{first}: …}}`")
        return None


def _find_secret_fields(written: Written, problems: Problems) -> None:
    for name, info in written.kind.model_fields.items():
        node = written.fields.get(name) if SECRET in info.metadata else None
        value: Any = content(node) if node is not None else None
        if node is not None and isinstance(value, str) and value and not isinstance(value, Template):
            remedy = f'declare a variable of `type: secret` and write `{name}: "{{{{ … }}}}"`'
            problems.add(
                node.where,
                f"`{name}` of {written.kind.kind} is a secret: it does not belong in a playbook",
                remedy,
            )
