"""An inventory of Ansible, INI or YAML, as far as it says which machines there are and how to log in."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Final

from engine.errors import Where
from engine.language.document import Node, decoded, parse
from engine.language.problems import Problems

_RANGE = re.compile(r"\[([0-9]+|[A-Za-z]):([0-9]+|[A-Za-z])(?::([0-9]+))?\]")
_SECTION = re.compile(r"\[([^\]:]+)(?::(children|vars|hosts))?\]\s*(?:[#;].*)?\Z")
_MOST_HOSTS: Final = 10_000
_MOST_DEPTH: Final = 50
_UNGROUPED: Final = "ungrouped"


@dataclass(frozen=True)
class AnsibleHost:
    """One host: its name, where it stands first, its variables as set nearest to it, its groups."""

    name: str
    where: Where
    variables: Mapping[str, Node]
    groups: tuple[str, ...]


@dataclass
class _Group:
    hosts: dict[str, Where] = field(default_factory=dict)
    children: dict[str, Where] = field(default_factory=dict)
    variables: dict[str, Node] = field(default_factory=dict)


@dataclass
class _Read:
    """What the file says, group by group."""

    groups: dict[str, _Group] = field(default_factory=dict)
    host_variables: dict[str, dict[str, Node]] = field(default_factory=dict)

    def group(self, name: str) -> _Group:
        return self.groups.setdefault(name, _Group())


def read_ansible(path: Path, problems: Problems) -> list[AnsibleHost]:
    """The hosts of the Ansible inventory at `path`, in its order; `group_vars`, `host_vars` beside it count.

    Raises Invalid where it cannot be read at all.
    """
    text = decoded(path)
    found = _Read()
    if path.suffix in (".yml", ".yaml", ".json"):
        _read_yaml(parse(text, str(path)), found, problems)
    else:
        _read_ini(text, str(path), found, problems)
    _check_children(found, problems)
    for name in ["all", *found.groups]:
        found.group(name).variables |= _beside(path, "group_vars", name, problems)
    return _hosts(path, found, problems)


# -- from groups to hosts ----------------------------------------------------------------------------------


def _hosts(path: Path, found: _Read, problems: Problems) -> list[AnsibleHost]:
    places: dict[str, Where] = {}
    for group in found.groups.values():
        for host, where in group.hosts.items():
            if host not in places or where < places[host]:
                places[host] = where
    parents = _parents(found)
    hosts = []
    for name in sorted(places, key=lambda name: places[name]):
        direct = [group for group, each in found.groups.items() if name in each.hosts]
        groups = _with_parents(direct, parents)
        variables: dict[str, Node] = {}
        for each in groups:
            variables |= found.group(each).variables
        variables |= found.host_variables.get(name, {}) | _beside(path, "host_vars", name, problems)
        named = tuple(sorted(group for group in groups if group not in ("all", _UNGROUPED)))
        hosts.append(AnsibleHost(name, places[name], variables, named))
    return hosts


def _parents(found: _Read) -> dict[str, list[str]]:
    parents: dict[str, list[str]] = {}
    for name, group in found.groups.items():
        for child in group.children:
            parents.setdefault(child, []).append(name)
    return parents


def _with_parents(direct: list[str], parents: Mapping[str, list[str]]) -> list[str]:
    """The groups of a host, those farther away first, `all` before everything."""
    depth = dict.fromkeys(direct, 0)
    todo = list(direct)
    while todo:
        name = todo.pop()
        for parent in parents.get(name, ()):
            if depth.get(parent, -1) < depth[name] + 1 <= _MOST_DEPTH:
                depth[parent] = depth[name] + 1
                todo.append(parent)
    depth.pop("all", None)
    return ["all", *sorted(depth, key=lambda name: (-depth[name], name))]


def _check_children(found: _Read, problems: Problems) -> None:
    for name, group in list(found.groups.items()):
        for child, where in group.children.items():
            if child not in found.groups:
                problems.add(
                    where, f"there is no group `{child}`", f"write [{child}], or take it out of `{name}`"
                )


def _beside(path: Path, folder: str, name: str, problems: Problems) -> dict[str, Node]:
    """The variables in `group_vars/NAME.yml` and the like beside an inventory; not those encrypted."""
    place = path.parent / folder
    files = [place / f"{name}{ending}" for ending in ("", ".yml", ".yaml")]
    files += sorted((place / name).glob("*.y*ml")) if (place / name).is_dir() else []
    variables: dict[str, Node] = {}
    for file in files:
        if not file.is_file() or file.read_bytes().startswith(b"$ANSIBLE_VAULT"):
            continue
        with problems.catching():
            root = parse(decoded(file), str(file))
            if root is not None and root.is_mapping:
                variables |= root.value
    return variables


# -- INI -----------------------------------------------------------------------------------------------------


def _read_ini(text: str, file: str, found: _Read, problems: Problems) -> None:
    group, sort = _UNGROUPED, "hosts"
    for number, line in enumerate(text.splitlines(), 1):
        where = Where(file, number)
        bare = line.strip()
        if not bare or bare[0] in "#;":
            continue
        section = _SECTION.match(bare)
        if section is not None:
            group, sort = section[1].strip(), section[2] or "hosts"
            found.group(group)
        elif bare.startswith("[") and not _RANGE.match(bare):
            problems.add(where, f"`{bare}` is no section", "such as [web], [web:children] or [web:vars]")
        elif sort == "children":
            found.group(group).children[_uncommented(bare)] = where
        elif sort == "vars":
            key, _, value = bare.partition("=")
            found.group(group).variables[key.strip()] = _scalar(value.strip(), where)
        else:
            _ini_host(bare, where, group, found, problems)


def _ini_host(line: str, where: Where, group: str, found: _Read, problems: Problems) -> None:
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        problems.add(where, "a quotation mark is missing on this line")
        return
    pairs = [word.partition("=") for word in words[1:]]
    strange = next((key for key, equals, _ in pairs if not equals), None)
    if strange is not None:
        problems.add(where, f"`{strange}` is no variable", "write NAME=VALUE")
    variables = {key: _scalar(value, where) for key, _, value in pairs}
    pattern, port = _port_of(words[0])
    if port is not None:
        variables.setdefault("ansible_port", Node(where, port))
    for name in _ranged(pattern, where, problems):
        found.group(group).hosts.setdefault(name, where)
        found.host_variables.setdefault(name, {}).update(variables)


def _port_of(word: str) -> tuple[str, int | None]:
    """`host:2222` as host and port; the colons of a range or of an IPv6 address are none."""
    host, colon, port = word.rpartition(":")
    if colon and port.isdecimal() and ":" not in _RANGE.sub("", host):
        return host, int(port)
    return word, None


def _uncommented(text: str) -> str:
    return re.split(r"\s[#;]", text, maxsplit=1)[0].strip()


def _scalar(text: str, where: Where) -> Node:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return Node(where, text[1:-1])
    return Node(where, int(text) if re.fullmatch(r"\d{1,9}", text) else text)


# -- YAML ----------------------------------------------------------------------------------------------------


def _read_yaml(root: Node | None, found: _Read, problems: Problems) -> None:
    if root is None or not root.is_mapping:
        where = root.where if root is not None else None
        problems.add(where, "an inventory of Ansible in YAML is a mapping of groups", "it begins with `all:`")
        return
    for name, _, node in root.items():
        _yaml_group(name, node, found, problems, 0)


def _yaml_group(name: str, node: Node, found: _Read, problems: Problems, depth: int) -> None:
    group = found.group(name)
    if node.value is None:
        return
    if not node.is_mapping or depth > _MOST_DEPTH:
        problems.add(node.where, f"the group `{name}` must be a mapping with `hosts`, `children` or `vars`")
        return
    for key, where, part in node.items():
        if key not in ("hosts", "children", "vars"):
            problems.add(where, f"a group has no `{key}`", "it has `hosts`, `children` and `vars`")
        elif part.value is not None and not part.is_mapping:
            problems.add(part.where, f"`{key}` of the group `{name}` must be a mapping")
        elif part.value is not None and key == "vars":
            group.variables |= part.value
        elif part.value is not None and key == "children":
            for child, place, inner in part.items():
                group.children[child] = place
                _yaml_group(child, inner, found, problems, depth + 1)
        elif part.value is not None:
            _yaml_hosts(part, group, found, problems)


def _yaml_hosts(part: Node, group: _Group, found: _Read, problems: Problems) -> None:
    for pattern, where, node in part.items():
        variables = node.value if node.is_mapping else {}
        for name in _ranged(pattern, where, problems):
            group.hosts.setdefault(name, where)
            found.host_variables.setdefault(name, {}).update(variables)


# -- ranges --------------------------------------------------------------------------------------------------


def _ranged(pattern: str, where: Where, problems: Problems) -> Iterator[str]:
    """The names that `web[01:03].example.com` stands for."""
    parts = _RANGE.split(pattern)
    texts, ranges = parts[0::4], list(zip(parts[1::4], parts[2::4], parts[3::4], strict=True))
    try:
        series = [_series(first, last, int(step or 1)) for first, last, step in ranges]
    except ValueError:
        problems.add(where, f"`{pattern}` holds a range that goes nowhere", "such as web[1:3] or web[a:c]")
        return
    count = 1
    for each in series:
        count *= len(each)
    if count > _MOST_HOSTS:
        problems.add(where, f"`{pattern}` stands for more than {_MOST_HOSTS} hosts")
        return
    for turn in product(*series):
        yield "".join(text + inner for text, inner in zip(texts, (*turn, ""), strict=True))


def _series(first: str, last: str, step: int) -> list[str]:
    if first.isdecimal() != last.isdecimal() or step < 1:
        raise ValueError
    if not first.isdecimal():
        found = [chr(code) for code in range(ord(first), ord(last) + 1, step)]
    elif int(last) - int(first) > _MOST_HOSTS * step:
        raise ValueError
    else:
        width = len(first) if first.startswith("0") else 0
        found = [str(number).zfill(width) for number in range(int(first), int(last) + 1, step)]
    if not found:
        raise ValueError
    return found
