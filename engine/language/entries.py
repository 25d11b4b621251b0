"""The entries of a playbook as written: resources and includes with their keywords, blocks undone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from engine.errors import Where
from engine.language import reading
from engine.language.ansible import ENTRY_WORDS, KIND_WORDS, NOT_KINDS
from engine.language.builtins import RESERVED
from engine.language.document import Node, content
from engine.language.problems import Problems
from engine.language.words import NAME, did_you_mean, nearest, one_of, sort_of
from engine.refs import Template
from engine.resource import SECRET, Resource

if TYPE_CHECKING:
    from engine.language.playbook import Playbook

_OVERRIDES: Final = ("host", "ssh", "protect", "retain", "timeout", "no_log")
"""Keywords of a block that an entry's own replace."""
_OWN: Final = ("ignore_changes",)
KEYWORDS: Final = ("name", *_OVERRIDES, *_OWN, "when", "loop", "depends_on", "tags")
SSH_KEYS: Final = ("user", "key", "port", "via", "forward_agent", "host")
INCLUDE_KEYS: Final = ("include", "vars", *(word for word in KEYWORDS if word not in ("ssh", *_OWN)))
_MOST_BLOCKS = 10

Kinds = Mapping[str, type[Resource]]


@dataclass(frozen=True, kw_only=True)
class Said:
    """What an entry says beside its fields, and the blocks around it."""

    keywords: Mapping[str, Node] = field(default_factory=dict)
    """`host`, `ssh`, `protect`, `retain`, `timeout`, `no_log`, `ignore_changes`; the innermost."""
    whens: tuple[Node, ...] = ()
    loop: Node | None = None
    depends: tuple[Node, ...] = ()
    tags: tuple[Node, ...] = ()

    def and_within(self, node: Node, problems: Problems) -> Said:
        """The same, and what `node` says: an entry, or a block, within."""
        loop = node.get("loop")
        if loop is not None and self.loop is not None:
            problems.add(
                node.keys["loop"], "a `loop` within a `loop`", "loop once, over a list of all combinations"
            )
        whens, depends, tags = (_present(node, key) for key in ("when", "depends_on", "tags"))
        own = {key: node.value[key] for key in (*_OVERRIDES, *_OWN) if node.get(key) is not None}
        return Said(
            keywords={**self.keywords, **own},
            whens=self.whens + whens,
            loop=loop or self.loop,
            depends=self.depends + depends,
            tags=self.tags + tags,
        )


@dataclass(frozen=True)
class Written(Said):
    """One entry with everything that it and the blocks around it say."""

    name: str
    where: Where
    kind: type[Resource]
    kind_where: Where
    fields: Node
    """A mapping, perhaps empty."""


@dataclass(frozen=True)
class Included(Said):
    """One `include`: a playbook whose resources become part of this one, addressed by its name."""

    name: str
    where: Where
    book: Playbook | None
    """None where it cannot be read; the problem is told."""
    given: Node
    """Its `vars`, a mapping, perhaps empty."""


Part = Written | Included

Find = Callable[[Node], "Playbook | None"]
"""From the value of an `include` to the playbook that it names; None, and a problem, where there is none."""


def _present(node: Node, key: str) -> tuple[Node, ...]:
    found = node.get(key)
    return () if found is None or found.value is None else (found,)


class Entries:
    """Reads the `resources` of one playbook."""

    def __init__(self, kinds: Kinds, find: Find, problems: Problems) -> None:
        self._kinds = kinds
        self._find = find
        self._problems = problems
        self.unread: set[str] = set()
        """Names of entries that could not be read."""

    def of(self, node: Node | None) -> tuple[Part, ...]:
        """Everything in `node`, as far as it can be read."""
        return tuple(self._list(node, "`resources`", Said(), 0))

    def _list(self, node: Node | None, what: str, around: Said, depth: int) -> Iterator[Part]:
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
            yield from self._entry(item, around, depth)

    def _entry(self, node: Node, around: Said, depth: int) -> Iterator[Part]:
        if not node.is_mapping:
            words = f"an entry must be a mapping, not {sort_of(content(node))}"
            self._problems.add(node.where, words, "write `- name: …` and a kind")
        elif "block" in node.value:
            yield from self._block(node, around, depth)
        else:
            made = self._include(node, around) if "include" in node.value else self._resource(node, around)
            if made is not None:
                yield made

    def _include(self, node: Node, around: Said) -> Included | None:
        for key, where, _ in node.items():
            if key in self._kinds:
                remedy = "write it as an entry of its own"
                self._problems.add(where, f"the kind `{key}` stands beside an `include`", remedy)
            elif key not in INCLUDE_KEYS:
                remedy = "" if key == "vars" else ENTRY_WORDS.get(key, "")
                remedy = remedy or did_you_mean(key, INCLUDE_KEYS, "it may have")
                self._problems.add(where, f"an include has no `{key}`", remedy)
        name = self._name(node, "include")
        book = self._find(node.value["include"])
        given = reading.mapping(node.get("vars"), "`vars`", self._problems)
        if name is None:
            return None
        own = around.and_within(node, self._problems)
        if "ssh" in own.keywords and "ssh" not in node.value:
            words = "`ssh` is for one host, and an include is many resources"
            self._problems.add(own.keywords["ssh"].where, words, "write it in the included playbook")
        return Included(
            name=name,
            where=node.where,
            book=book,
            given=given or Node(node.where, {}, {}),
            **vars(own),
        )

    def _block(self, node: Node, around: Said, depth: int) -> Iterator[Part]:
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
        inner = around.and_within(node, self._problems)
        yield from self._list(node.get("block"), "`block`", inner, depth + 1)

    def _resource(self, node: Node, around: Said) -> Written | None:
        name = self._name(node, "resource")
        kind_key = self._kind(node)
        fields = self._fields(node.value[kind_key], self._kinds[kind_key]) if kind_key is not None else None
        if name is None or kind_key is None or fields is None:
            self.unread.update([name] if name is not None else [])
            return None
        kind = self._kinds[kind_key]
        own = around.and_within(node, self._problems)
        written = Written(
            name=name,
            where=node.where,
            kind=kind,
            kind_where=node.keys[kind_key],
            fields=fields,
            **vars(own),
        )
        _find_secret_fields(written, self._problems)
        return written

    def _name(self, node: Node, what: str) -> str | None:
        given = node.get("name")
        if given is None:
            remedy = "write `name: …`; references and plans use it"
            self._problems.add(node.where, f"the {what} has no `name`", remedy)
            return None
        name = reading.text(given, "`name`", self._problems)
        if name is None:
            return None
        if not NAME.match(name) or len(name) > 64:
            suggestion = re.sub(r"\W+", "_", name).strip("_").casefold()
            remedy = f"such as `{suggestion}`" if NAME.match(suggestion) and len(suggestion) <= 64 else ""
            words = f"`{name}` cannot name a resource: letters, digits and _ only, a letter first"
            self._problems.add(given.where, words, remedy)
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
        words = [*KEYWORDS, "block", "include"]
        near = nearest(plain, words if has_kind else [*self._kinds, *words])
        if has_kind:
            return (
                f"`{key}` is no keyword",
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
