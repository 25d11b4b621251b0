"""From entries to resources for one lab: `when`, `loop`, hosts and other keywords, all known beforehand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from engine.errors import Problem, Where
from engine.lab import Declared, Lab, Ssh
from engine.language import reading
from engine.language.builtins import LOOP
from engine.language.document import Node, content, places
from engine.language.inventory import check_number, check_tags
from engine.language.jinja import Wrong, compiled
from engine.language.playbook import SSH_KEYS, Playbook, Written
from engine.language.problems import Problems
from engine.language.static import when_template
from engine.language.words import sort_of
from engine.on_host import OnHost
from engine.refs import Template, Unknown, holds_unknown
from engine.templating import MEMBER, Filling, Scope

_MOST_TURNS: Final = 10_000
_KEY = re.compile(r"[A-Za-z0-9._:/+@=-]{1,64}\Z")

T = TypeVar("T")


@dataclass(frozen=True)
class Depends:
    """One name in a `depends_on`."""

    name: str
    where: Where


@dataclass
class Expansion:
    """The resources of one lab, with what is still to be looked up among them."""

    declared: dict[str, Declared] = field(default_factory=dict)
    depends: dict[str, list[Depends]] = field(default_factory=dict)
    """By address, what its `depends_on` names."""
    places: dict[str, Mapping[str, Where]] = field(default_factory=dict)
    """By address, where `host` and `via` are written."""
    skipped: set[str] = field(default_factory=set)
    empty: set[str] = field(default_factory=set)
    """Looped names without a single member."""
    broken: set[str] = field(default_factory=set)
    """Names of entries with problems."""

    def members(self, name: str) -> list[str]:
        """The addresses that `name` stands for: itself, or those of its loop."""
        if name in self.declared:
            return [name]
        return [address for address in self.declared if address.startswith(f"{name}[")]

    def is_absent(self, name: str) -> bool:
        """Whether `name` is declared in the playbook, but not there in this lab."""
        member = MEMBER.match(name)
        base = member["name"] if member is not None else name
        return bool({name, base} & self.skipped) or base in self.empty or base in self.broken


class _Untold(Exception):
    """Whether or how often an entry is there cannot be told; the problem is."""


class Expander:
    """Makes the Expansion of a playbook with one lab's names."""

    def __init__(self, playbook: Playbook, lab: Lab, problems: Problems) -> None:
        self._playbook = playbook
        self._lab = lab
        self._scope = Scope(lab, {})
        self._problems = problems
        self._result = Expansion(broken=set(playbook.unread))
        self._failed = False
        self._places: dict[str, dict[tuple[str | int, ...], Where]] = {}

    def expand(self) -> Expansion:
        """The resources that this lab has."""
        for entry in self._playbook.entries:
            try:
                made = {each.address: each for each in self._entry(entry)}
            except _Untold:
                self._result.broken.add(entry.name)
                continue
            self._result.declared |= made
            if entry.loop is not None and not made and entry.name not in self._result.skipped:
                self._result.empty.add(entry.name)
        return self._result

    def _entry(self, entry: Written) -> Iterator[Declared]:
        outer = [when for when in entry.whens if not _uses_loop(when)]
        if not all(self._when(when, {}) for when in outer):
            self._result.skipped.add(entry.name)
            return
        if entry.loop is None:
            yield from self._one(entry, entry.name, {})
            return
        inner = [when for when in entry.whens if _uses_loop(when)]
        for key, item in self._turns(entry.loop):
            names = {"item": item, "loop_index": key}
            address = f"{entry.name}[{key}]"
            if all(self._when(when, names) for when in inner):
                yield from self._one(entry, address, names)
            else:
                self._result.skipped.add(address)

    # -- when and loop -------------------------------------------------------------------------------------

    def _value(self, value: Any, names: Mapping[str, Any]) -> Any:
        """`value` filled in, or None and problems."""
        filling = Filling(self._scope, names=names)
        filled = filling.of(value)
        self._problems.extend_elsewhere(filling.problems)
        self._failed = bool(filling.problems)
        return None if filling.problems else filled

    def _when(self, node: Node, names: Mapping[str, Any]) -> bool:
        value = node.value
        if isinstance(value, str) and value.strip().casefold() not in ("true", "false"):
            value = self._value(when_template(node), names)
            if self._failed:
                raise _Untold
        if holds_unknown(value):
            words = "`when` hangs on something that is not known now"
            self._problems.extend_elsewhere([Problem(node.where, words, "use other variables")])
            raise _Untold
        try:
            return reading.truth(value)
        except ValueError as error:
            remedy = "compare it, such as `\"{{ name == 'text' }}\"`"
            self._problems.add(node.where, f"`when` {error}", remedy)
            raise _Untold from None

    def _turns(self, node: Node) -> list[tuple[int | str, Any]]:
        """Key and item of each turn of a loop."""
        value = self._value(content(node), {})
        if self._failed:
            raise _Untold
        if isinstance(value, Unknown):
            words = "`loop` hangs on something that is not known now"
            self._problems.extend_elsewhere([Problem(node.where, words, "use other variables")])
            raise _Untold
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            value = list(range(min(value, _MOST_TURNS + 1)))
        if not isinstance(value, list | dict):
            words = f"`loop` must be a list, a mapping or a number, not {sort_of(value)}"
            remedy = 'a variable is written `loop: "{{ name }}"`' if isinstance(value, str) else ""
            self._problems.add(node.where, words, remedy)
            raise _Untold
        if len(value) > _MOST_TURNS:
            self._problems.add(node.where, f"`loop` has more than {_MOST_TURNS} turns")
            raise _Untold
        if isinstance(value, list):
            return list(enumerate(value))
        return [(key, item) for key, item in value.items() if self._fit_key(key, node)]

    def _fit_key(self, key: str, node: Node) -> bool:
        if _KEY.match(key) and not key.isdecimal():
            return True
        remedy = "use letters, digits and . _ : / + @ = -, and not digits alone"
        where = node.keys.get(key, node.where)
        self._problems.add(where, f"the key `{key}` of this loop cannot be part of an address", remedy)
        return False

    # -- one resource --------------------------------------------------------------------------------------

    def _one(self, entry: Written, address: str, names: Mapping[str, Any]) -> Iterator[Declared]:
        host = self._text_keyword(entry, "host", names)
        ssh = self._ssh(entry, names)
        depends = self._depends(entry, names)
        declared = Declared(
            address=address,
            kind=entry.kind,
            fields=content(entry.fields),
            where=entry.where,
            host=host,
            ssh=ssh,
            protect=self._keyword(entry, "protect", names, reading.truth, False),
            retain=self._keyword(entry, "retain", names, reading.truth, False),
            ignore_changes=self._ignored(entry),
            tags=self._tags(entry, names),
            timeout=self._keyword(entry, "timeout", names, reading.seconds, None),
            no_log=self._keyword(entry, "no_log", names, reading.truth, False),
            names=dict(names),
            positions=self._positions(entry),
        )
        self._check_place(declared, entry)
        self._result.depends[address] = depends
        self._result.places[address] = _keyword_places(entry)
        yield declared

    def _positions(self, entry: Written) -> Mapping[tuple[str | int, ...], Where]:
        if entry.name not in self._places:
            self._places[entry.name] = {(): entry.kind_where, **places(entry.fields)}
        return self._places[entry.name]

    def _keyword(
        self, entry: Written, word: str, names: Mapping[str, Any], read: Callable[[Any], T], default: T
    ) -> T:
        node = entry.keywords.get(word)
        if node is None or node.value is None:
            return default
        value = self._value(content(node), names)
        if value is None:
            return default
        try:
            return read(value)
        except ValueError as error:
            self._problems.add(node.where, f"`{word}` {error}")
            return default

    def _text_keyword(self, entry: Written, word: str, names: Mapping[str, Any]) -> str | None:
        return self._keyword(entry, word, names, _text, None)

    def _ignored(self, entry: Written) -> frozenset[str]:
        node = entry.keywords.get("ignore_changes")
        return (
            frozenset(item.value for item in node.value) if node is not None and node.is_list else frozenset()
        )

    def _depends(self, entry: Written, names: Mapping[str, Any]) -> list[Depends]:
        found: list[Depends] = []
        for node in entry.depends:
            value = self._value(content(node), names)
            for name in [value] if isinstance(value, str) else value if isinstance(value, list) else []:
                if isinstance(name, str):
                    found.append(Depends(name, node.where))
            if value is not None and not _is_names(value):
                remedy = "write `depends_on: [NAME]`"
                self._problems.add(
                    node.where, f"`depends_on` must be a list of names, not {sort_of(value)}", remedy
                )
        return found

    def _tags(self, entry: Written, names: Mapping[str, Any]) -> dict[str, str]:
        tags: dict[str, str] = {}
        for node in entry.tags:
            if reading.mapping(node, "`tags`", self._problems) is not None:
                values = self._value(content(node), names)
                tags |= check_tags(values, node, self._problems) if values is not None else {}
        if entry.tags:
            shared = {key for key in self._lab.tags if not key.startswith("labctl:")}
            check_number({*shared, *tags}, entry.tags[-1], self._problems)
        return tags

    def _ssh(self, entry: Written, names: Mapping[str, Any]) -> Ssh | None:
        node = entry.keywords.get("ssh")
        if node is None or reading.mapping(node, "`ssh`", self._problems) is None:
            return Ssh(None) if entry.kind.already_there else None
        reading.known_keys(node, SSH_KEYS, "`ssh`", self._problems)
        user = _scalar(node, "user", self._problems)
        if user is None and not entry.kind.already_there:
            self._problems.add(node.where, "`ssh` needs `user`", "who to log in as, such as `ubuntu`")
        inner = replace(entry, keywords=node.value)
        return Ssh(
            user=user or (None if entry.kind.already_there else ""),
            key=_scalar(node, "key", self._problems),
            port=self._port(node),
            via=self._text_keyword(inner, "via", names),
            forward_agent=self._keyword(inner, "forward_agent", names, reading.truth, False),
            host=_scalar(node, "host", self._problems),
        )

    def _port(self, node: Node) -> int | Template | None:
        port = node.get("port")
        value = content(port) if port is not None else None
        if port is None or value is None or isinstance(value, Template):
            return value if isinstance(value, Template) else None
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536:
            return value
        self._problems.add(port.where, f"`port` must be a port from 1 to 65535, not {sort_of(value)}")
        return None

    def _check_place(self, declared: Declared, entry: Written) -> None:
        kind = declared.kind
        if issubclass(kind, OnHost) and "host" not in entry.keywords:
            remedy = "write `host: NAME` in the entry, or around a `block`"
            self._problems.add(
                entry.where, f"`{kind.kind}` lives on a host, and `{entry.name}` names none", remedy
            )
        if not issubclass(kind, OnHost) and "host" in entry.keywords:
            where = entry.keywords["host"].where
            self._problems.add(
                where, f"`{entry.name}` ({kind.kind}) does not live on a host", "take it out of the `host`"
            )
        if not kind.is_host and "ssh" in entry.keywords:
            where = entry.keywords["ssh"].where
            self._problems.add(
                where, f"`{entry.name}` ({kind.kind}) is no machine to log in to", "take the `ssh` out"
            )


def _keyword_places(entry: Written) -> dict[str, Where]:
    found = {word: entry.keywords[word].where for word in ("host", "ssh") if word in entry.keywords}
    ssh = entry.keywords.get("ssh")
    via = ssh.get("via") if ssh is not None and ssh.is_mapping else None
    return found if via is None else {**found, "via": via.where}


def _uses_loop(node: Node) -> bool:
    if not isinstance(node.value, str):
        return False
    try:
        return any(use.name in LOOP for use in compiled(when_template(node).text).uses)
    except Wrong:
        # Its evaluation tells the problem.
        return False


def _text(value: Any) -> str | None:
    if isinstance(value, str) and value:
        return value
    raise ValueError(f"must be a name, not {sort_of(value)}")


def _is_names(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and all(isinstance(each, str) for each in value)
    )


def _scalar(node: Node, key: str, problems: Problems) -> str | Template | None:
    item = node.get(key)
    value = content(item) if item is not None else None
    if item is None or value is None or isinstance(value, Template):
        return value if isinstance(value, Template) else None
    return reading.text(item, f"`{key}`", problems)
