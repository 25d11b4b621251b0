"""From entries to resources for one lab: `when`, `loop`, hosts and other keywords, all known beforehand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from engine.addresses import around, is_part, joined
from engine.errors import Problem, Where
from engine.lab import Declared, Handed, Lab, Space, Ssh
from engine.language import reading
from engine.language.builtins import LOOP
from engine.language.document import Node, content, places
from engine.language.entries import SSH_KEYS, Included, Written
from engine.language.evaluation import Wrong
from engine.language.inventory import check_number, check_tags
from engine.language.jinja import compiled
from engine.language.outputs import written_outputs
from engine.language.playbook import Playbook
from engine.language.problems import Problems
from engine.language.static import when_template
from engine.language.variables import Filled, Given, Names, handed
from engine.language.words import sort_of
from engine.on_host import OnHost
from engine.refs import UNKNOWN, Template, Unknown, holds_unknown
from engine.templating import Filling, Scope, templates

_MOST_TURNS: Final = 10_000
_KEY = re.compile(r"[A-Za-z0-9._:/+@=-]{1,64}\Z")

T = TypeVar("T")


@dataclass(frozen=True)
class Depends:
    """One name in a `depends_on`, as an address."""

    name: str
    where: Where


@dataclass(frozen=True)
class Inherited:
    """What the includes around a playbook say of all that is in it, in the outer playbook's words."""

    host: str | None = None
    host_where: Where | None = None
    protect: bool = False
    retain: bool = False
    timeout: float | None = None
    no_log: bool = False
    depends: tuple[Depends, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


Resolve = Callable[[str, Included, Mapping[str, Given]], Names]
"""From the path of an included playbook and what it is given to the names of its templates."""


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
    spaces: dict[str, Space] = field(default_factory=dict)
    """The included playbooks, by path."""
    books: dict[str, Playbook] = field(default_factory=dict)
    """By path, what was included; the lab's own under the empty one."""
    handed: list[tuple[str, str, Handed]] = field(default_factory=list)
    """Path, name and value of each variable that hangs on the including playbook's resources."""

    def members(self, name: str) -> list[str]:
        """The addresses that `name` stands for: itself, those of its loop, or all that it includes."""
        if name in self.declared:
            return [name]
        return [address for address in self.declared if is_part(address, name)]

    def is_absent(self, name: str) -> bool:
        """Whether `name` is declared in the playbook, but not there in this lab."""
        absent = (self.skipped, self.empty, self.broken)
        return any(each in names for each in around(name) for names in absent)

    def names_of(self, path: str, names: Mapping[str, Any]) -> Mapping[str, Any]:
        """The names of the playbook at `path`, with what can be said of entries that made nothing."""
        # What refers to something broken is not wrong for that: it cannot be told yet.
        told = {**dict.fromkeys(self.broken, UNKNOWN), **{name: [] for name in self.empty}}
        start = joined(path, "")
        own = {name[len(start) :]: value for name, value in told.items() if name.startswith(start)}
        extra = {name: value for name, value in own.items() if "." not in name}
        return names.extended(extra) if isinstance(names, Names) and extra else names


class _Untold(Exception):
    """Whether or how often an entry is there cannot be told; the problem is."""


class Expander:
    """Makes the Expansion of a playbook with one lab's names, and of all that it includes.

    `lab` has the names of this playbook; `path` is empty for the lab's own.
    """

    def __init__(
        self,
        playbook: Playbook,
        lab: Lab,
        resolve: Resolve,
        problems: Problems,
        *,
        result: Expansion | None = None,
        path: str = "",
        inherited: Inherited | None = None,
    ) -> None:
        self._playbook = playbook
        self._lab = lab
        self._scope = Scope(lab, {})
        self._resolve = resolve
        self._problems = problems
        self._path = path
        self._inherited = inherited or Inherited()
        self._result = Expansion() if result is None else result
        self._result.books[path] = playbook
        self._result.broken |= {joined(path, name) for name in playbook.unread}
        self._failed = False
        self._places: dict[str, dict[tuple[str | int, ...], Where]] = {}

    def expand(self) -> Expansion:
        """The resources that this lab has."""
        for entry in self._playbook.parts:
            name = joined(self._path, entry.name)
            try:
                made = list(self._entry(entry))
            except _Untold:
                self._result.broken.add(name)
                continue
            if entry.loop is not None and not made and name not in self._result.skipped:
                self._result.empty.add(name)
        return self._result

    def _entry(self, entry: Written | Included) -> Iterator[str]:
        """The addresses, or paths, that are made of it."""
        name = joined(self._path, entry.name)
        outer = [when for when in entry.whens if not _uses_loop(when)]
        if not all(self._when(when, {}) for when in outer):
            self._result.skipped.add(name)
            return
        if entry.loop is None:
            yield self._one(entry, name, {})
            return
        inner = [when for when in entry.whens if _uses_loop(when)]
        for key, item in self._turns(entry.loop):
            names = {"item": item, "loop_index": key}
            address = f"{name}[{key}]"
            if all(self._when(when, names) for when in inner):
                yield self._one(entry, address, names)
            else:
                self._result.skipped.add(address)

    def _one(self, entry: Written | Included, address: str, names: Mapping[str, Any]) -> str:
        if isinstance(entry, Included):
            self._include(entry, address, names)
        else:
            self._declare(entry, address, names)
        return address

    # -- included playbooks ----------------------------------------------------------------------------------

    def _include(self, entry: Included, path: str, names: Mapping[str, Any]) -> None:
        if entry.book is None:
            self._result.broken.add(path)
            return
        given = {
            name: self._given(entry, name, node, names)
            for name, node in entry.given.value.items()
            if name in entry.book.variables
        }
        own = self._resolve(path, entry, given)
        late = {name: value for name, value in own.items() if isinstance(value, Handed)}
        self._result.handed += [(path, name, value) for name, value in late.items()]
        outputs, sensitive = written_outputs(entry.book.outputs, self._problems)
        self._result.spaces[path] = Space(own, outputs, sensitive, entry.book.files)
        Expander(
            entry.book,
            # Before anything is made, what hangs on resources is not known.
            replace(self._lab, names=own.extended(dict.fromkeys(late, UNKNOWN))),
            self._resolve,
            self._problems,
            result=self._result,
            path=path,
            inherited=self._inherited_by(entry, names),
        ).expand()

    def _given(self, entry: Included, name: str, node: Node, names: Mapping[str, Any]) -> Given:
        assert entry.book is not None
        variable = entry.book.variables[name]
        origin = f"given to `{joined(self._path, entry.name)}`"
        value = content(node)
        if self._is_late(value, names):
            return Given(handed(variable, value, self._path, node.where, names), node.where, origin)
        filled = self._value(value, names)
        literal = not any(templates(value))
        return Given(Filled(UNKNOWN if self._failed else filled, literal), node.where, origin)

    def _is_late(self, value: Any, names: Mapping[str, Any]) -> bool:
        """Whether a value hangs on what this playbook makes, or on what it was handed itself."""
        made = {part.name for part in self._playbook.parts}
        late = {name for path, name, _ in self._result.handed if path == self._path}
        for template in templates(value):
            try:
                used = {use.name for use in compiled(template.text).uses} - names.keys()
            except Wrong:
                return False  # its evaluation tells the problem
            if used & (made | late):
                return True
        return False

    def _inherited_by(self, entry: Included, names: Mapping[str, Any]) -> Inherited:
        """What this include, and those around it, say of all that it includes."""
        around, host = self._inherited, entry.keywords.get("host")
        own = self._text_keyword(entry, "host", names)
        return Inherited(
            host=around.host if own is None else joined(self._path, own),
            host_where=around.host_where if host is None else host.where,
            protect=self._keyword(entry, "protect", names, reading.truth, around.protect),
            retain=self._keyword(entry, "retain", names, reading.truth, around.retain),
            timeout=self._keyword(entry, "timeout", names, reading.seconds, around.timeout),
            no_log=self._keyword(entry, "no_log", names, reading.truth, around.no_log),
            depends=tuple(self._depends(entry, names)),
            tags=self._tags(entry, names),
        )

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

    def _declare(self, entry: Written, address: str, names: Mapping[str, Any]) -> None:
        around = self._inherited
        host = self._text_keyword(entry, "host", names)
        places = self._keyword_places(entry)
        if host is not None:
            host = joined(self._path, host)
        elif around.host is not None and issubclass(entry.kind, OnHost):
            host = around.host
            places = {**places, "host": around.host_where or entry.where}
        declared = Declared(
            address=address,
            kind=entry.kind,
            fields=content(entry.fields),
            where=entry.where,
            host=host,
            ssh=self._ssh(entry, names),
            protect=self._keyword(entry, "protect", names, reading.truth, around.protect),
            retain=self._keyword(entry, "retain", names, reading.truth, around.retain),
            ignore_changes=self._ignored(entry),
            tags=self._tags(entry, names),
            timeout=self._keyword(entry, "timeout", names, reading.seconds, around.timeout),
            no_log=self._keyword(entry, "no_log", names, reading.truth, around.no_log),
            names=dict(names),
            positions=self._positions(entry),
            space=self._path,
        )
        self._check_place(declared, entry)
        self._result.depends[address] = self._depends(entry, names)
        self._result.places[address] = places
        self._result.declared[address] = declared

    @staticmethod
    def _keyword_places(entry: Written) -> dict[str, Where]:
        found = {word: entry.keywords[word].where for word in ("host", "ssh") if word in entry.keywords}
        ssh = entry.keywords.get("ssh")
        via = ssh.get("via") if ssh is not None and ssh.is_mapping else None
        return found if via is None else {**found, "via": via.where}

    def _positions(self, entry: Written) -> Mapping[tuple[str | int, ...], Where]:
        if entry.name not in self._places:
            self._places[entry.name] = {(): entry.kind_where, **places(entry.fields)}
        return self._places[entry.name]

    def _keyword(
        self,
        entry: Written | Included,
        word: str,
        names: Mapping[str, Any],
        read: Callable[[Any], T],
        default: T,
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

    def _text_keyword(self, entry: Written | Included, word: str, names: Mapping[str, Any]) -> str | None:
        return self._keyword(entry, word, names, _text, None)

    def _ignored(self, entry: Written) -> frozenset[str]:
        node = entry.keywords.get("ignore_changes")
        return (
            frozenset(item.value for item in node.value) if node is not None and node.is_list else frozenset()
        )

    def _depends(self, entry: Written | Included, names: Mapping[str, Any]) -> list[Depends]:
        found = list(self._inherited.depends)
        for node in entry.depends:
            value = self._value(content(node), names)
            for name in [value] if isinstance(value, str) else value if isinstance(value, list) else []:
                if isinstance(name, str):
                    found.append(Depends(joined(self._path, name), node.where))
            if value is not None and not _is_names(value):
                remedy = "write `depends_on: [NAME]`"
                self._problems.add(
                    node.where, f"`depends_on` must be a list of names, not {sort_of(value)}", remedy
                )
        return found

    def _tags(self, entry: Written | Included, names: Mapping[str, Any]) -> dict[str, str]:
        tags = dict(self._inherited.tags)
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
        via = self._text_keyword(inner, "via", names)
        return Ssh(
            user=user or (None if entry.kind.already_there else ""),
            key=_scalar(node, "key", self._problems),
            port=self._port(node),
            via=None if via is None else joined(self._path, via),
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
        if issubclass(kind, OnHost) and declared.host is None and "host" not in entry.keywords:
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
