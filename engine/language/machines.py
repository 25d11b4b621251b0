"""Machines that are already there, as an inventory lists them: `hosts`, or an inventory of Ansible."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from engine.errors import Where
from engine.language import reading
from engine.language.ansible_inventory import AnsibleHost, read_ansible
from engine.language.builtins import RESERVED
from engine.language.document import Node, content
from engine.language.entries import Kinds, Written
from engine.language.playbook import Playbook
from engine.language.problems import Problems
from engine.language.words import sort_of
from engine.on_host import OnHost

_KEYS: Final = ("hostname", "port", "user", "key", "via", "forward_agent", "groups")
_LOGIN: Final = ("user", "key", "via", "forward_agent")
_WORDS = {
    "ansible_host": "write `hostname`",
    "ansible_user": "write `user`",
    "ansible_port": "write `port`",
    "ansible_ssh_private_key_file": "write `key`",
    "address": "write `hostname`",
    "host": "write `hostname`",
    "ip": "write `hostname`",
    "password": "labctl logs in with keys",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\Z")
_JUMP = re.compile(r"(?:(?P<user>[^@\s]+)@)?(?P<host>\[[^\]]+\]|[^@:\s]+)(?::(?P<port>\d+))?\Z")


@dataclass(frozen=True)
class Machine:
    """One machine of an inventory: its name, the fields of an ssh_host, and what its `ssh:` says."""

    name: str
    where: Where
    fields: Node
    login: Node
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Machines:
    """All machines of an inventory."""

    listed: tuple[Machine, ...] = ()

    @property
    def groups(self) -> dict[str, list[str]]:
        """The names of the machines in each group; `all` has every one."""
        found: dict[str, list[str]] = {"all": [each.name for each in self.listed]}
        for each in self.listed:
            for group in each.groups:
                found.setdefault(group, []).append(each.name)
        return found


def read_machines(root: Node, path: Path, problems: Problems) -> Machines:
    """What `hosts` and `hosts_from` of the inventory at `path` say."""
    own = list(_own(reading.mapping(root.get("hosts"), "`hosts`", problems), path, problems))
    listed = [*own, *_of_ansible(root.get("hosts_from"), path, problems)]
    seen: dict[str, Machine] = {}
    for each in listed:
        first = seen.setdefault(each.name, each)
        if first is not each:
            problems.add(each.where, f"`{each.name}` is listed twice; the first is at {first.where}")
    return Machines(tuple(seen.values()))


def on_own_machines(book: Playbook, machines: Machines, kinds: Kinds, problems: Problems) -> Playbook:
    """The playbook with the inventory's machines among its resources; problems for what needs a cloud."""
    named = {each.name: each for each in machines.listed}
    for entry in (entry for each in book.books() for entry in each.entries):
        if not entry.kind.already_there and not issubclass(entry.kind, OnHost):
            words = f"`{entry.kind.kind}` needs a cloud, and the inventory says `target: ssh`"
            problems.add(entry.kind_where, words, "use an inventory with `target: sandbox` or `target: aws`")
    for part in book.parts:
        if part.name in named:
            words = f"`{part.name}` is a host of the inventory too, at {named[part.name].where}"
            problems.add(part.where, words, "rename one of the two")
    for name, each in named.items():
        if name in RESERVED or name in book.variables or name in book.uses:
            problems.add(each.where, f"`{name}` has another meaning in templates", "choose another name")
    kind = kinds["ssh_host"]
    entries = [
        Written(each.name, each.where, kind, each.where, each.fields, keywords={"ssh": each.login})
        for each in machines.listed
    ]
    return replace(book, parts=(*entries, *book.parts))


# -- `hosts` -------------------------------------------------------------------------------------------------


def _own(hosts: Node | None, path: Path, problems: Problems) -> Iterator[Machine]:
    for name, where, given in hosts.items() if hosts is not None else ():
        if not _NAME.match(name):
            problems.add(where, f"`{name}` cannot name a host", "use letters, digits, `_`, `-` and `.`")
            continue
        node = given
        if given.value is None or isinstance(given.value, str):
            # `web: 203.0.113.5`, or `web:` alone where ~/.ssh/config knows the name.
            node = Node(given.where, {"hostname": given} if given.value else {}, {"hostname": given.where})
        elif not given.is_mapping:
            problems.add(given.where, f"`{name}` must say how to reach it, not {sort_of(content(given))}")
            continue
        reading.known_keys(node, _KEYS, "a host", problems, _WORDS)
        yield _machine(name, where, dict(node.value), path, _groups(node.get("groups"), problems))


def _groups(node: Node | None, problems: Problems) -> tuple[str, ...]:
    if node is None or node.value is None:
        return ()
    names = [str(item.value) for item in node.value if isinstance(item.value, str)] if node.is_list else []
    if len(names) != len(node.value if node.is_list else [None]):
        problems.add(node.where, "`groups` must be a list of names", "such as `groups: [web]`")
        return ()
    return tuple(names)


def _machine(
    name: str, where: Where, given: Mapping[str, Node], path: Path, groups: Sequence[str]
) -> Machine:
    fields = {
        key: given[key] for key in ("hostname", "port") if key in given and given[key].value is not None
    }
    fields.setdefault("hostname", Node(where, name))
    login = {key: given[key] for key in _LOGIN if key in given and given[key].value is not None}
    if "key" in login:
        login["key"] = _beside(login["key"], path)
    return Machine(name, where, _mapping(where, fields), _mapping(where, login), tuple(groups))


def _mapping(where: Where, nodes: Mapping[str, Node]) -> Node:
    return Node(where, dict(nodes), {key: node.where for key, node in nodes.items()})


def _beside(key: Node, path: Path) -> Node:
    """A key's path, taken from the inventory's folder where it is relative; templates stay as they are."""
    text = key.value
    if not isinstance(text, str) or text.startswith(("~", "/")) or "{{" in text:
        return key
    return replace(key, value=str(path.parent.absolute() / text))


# -- `hosts_from` --------------------------------------------------------------------------------------------


def _of_ansible(node: Node | None, path: Path, problems: Problems) -> Iterator[Machine]:
    text = reading.text(node, "`hosts_from`", problems)
    if text is None or node is None:
        return
    file = path.parent / Path(text).expanduser()
    if not file.is_file():
        words = f"there is no inventory `{file}`"
        problems.add(node.where, words, "`hosts_from` is the path of a file, relative to this inventory")
        return
    hosts: list[AnsibleHost] = []
    with problems.catching():
        hosts = read_ansible(file, problems)
    hosts = [
        host for host in hosts if _text(host, "ansible_connection") in (None, "ssh", "smart", "paramiko")
    ]
    jumps: dict[str, Machine] = {}
    for host in hosts:
        if _NAME.match(host.name):
            yield _from_ansible(host, hosts, file, jumps, problems)
        else:
            problems.add(
                host.where, f"`{host.name}` cannot name a host here", "give it a name and ansible_host"
            )
    yield from jumps.values()


def _text(host: AnsibleHost, *names: str) -> str | None:
    found = next((host.variables[name].value for name in names if name in host.variables), None)
    return None if found is None else str(found)


_SAME: Final = {
    "hostname": ("ansible_host", "ansible_ssh_host"),
    "port": ("ansible_port", "ansible_ssh_port"),
    "user": ("ansible_user", "ansible_ssh_user"),
    "key": ("ansible_ssh_private_key_file", "ansible_private_key_file"),
}
"""The variables that say the same in Ansible's words."""


def _from_ansible(
    host: AnsibleHost, hosts: Sequence[AnsibleHost], file: Path, jumps: dict[str, Machine], problems: Problems
) -> Machine:
    given: dict[str, Node] = {}
    for key, names in _SAME.items():
        node = next((host.variables[name] for name in names if name in host.variables), None)
        if node is not None:
            given[key] = node if key == "port" else replace(node, value=str(node.value))
    if "port" in given and isinstance(given["port"].value, str) and given["port"].value.isdecimal():
        given["port"] = replace(given["port"], value=int(given["port"].value))
    if "user" in given and "{{" in given["user"].value:
        problems.add(given["user"].where, f"`{host.name}`: a template for ansible_user is not read here")
        del given["user"]
    arguments = " ".join(
        _text(host, name) or "" for name in ("ansible_ssh_common_args", "ansible_ssh_extra_args")
    )
    options = _options(arguments)
    if options.get("forwardagent", "no").casefold() == "yes":
        given["forward_agent"] = Node(host.where, True)
    jump = options.get("proxyjump")
    if jump:
        via = _jumps(host, jump, hosts, jumps, problems)
        given |= {"via": Node(host.where, via)} if via else {}
    elif "proxycommand" in options:
        words = (
            f"`{host.name}` is reached by a ProxyCommand that labctl does not read: {options['proxycommand']}"
        )
        problems.add(host.where, words, "write -o ProxyJump=USER@BASTION in ansible_ssh_common_args")
    return _machine(host.name, host.where, given, file, host.groups)


def _options(arguments: str) -> dict[str, str]:
    """The options in arguments of ssh, by name in small letters; a plain `ssh -W %h:%p` is a ProxyJump."""
    try:
        words = shlex.split(arguments)
    except ValueError:
        return {}
    options: dict[str, str] = {}
    for at, word in enumerate(words):
        after = words[at + 1] if at + 1 < len(words) else ""
        text = after if word == "-o" else word[2:] if word.startswith("-o") else ""
        if word == "-A":
            options["forwardagent"] = "yes"
        elif word.startswith("-J"):
            options.setdefault("proxyjump", word[2:] or after)
        elif text:
            name, _, value = text.partition("=") if "=" in text else text.partition(" ")
            options.setdefault(name.strip().casefold(), value.strip())
    plain = _plain_jump(options.get("proxycommand", ""))
    if plain and "proxyjump" not in options:
        options["proxyjump"] = plain
    return options


def _plain_jump(command: str) -> str | None:
    """The USER@HOST:PORT of a ProxyCommand that is nothing but an ssh to there."""
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    if words[:1] != ["ssh"] or "%h:%p" not in command:
        return None
    user = port = host = None
    rest = iter(words[1:])
    for word in rest:
        if word == "-p":
            port = next(rest, None)
        elif word == "-l":
            user = next(rest, None)
        elif word == "-W":
            next(rest, None)
        elif word.startswith("-") and word not in ("-q", "-W%h:%p"):
            return None
        elif not word.startswith("-"):
            host = word if host is None else ""
    if not host:
        return None
    return f"{user + '@' if user else ''}{host}{':' + port if port else ''}"


def _jumps(
    host: AnsibleHost, jump: str, hosts: Sequence[AnsibleHost], jumps: dict[str, Machine], problems: Problems
) -> str | None:
    """The name of the last host on a ProxyJump; those not in the inventory are added to `jumps`."""
    before: str | None = None
    for step in jump.split(","):
        found = _JUMP.match(step.strip().removeprefix("ssh://"))
        if found is None:
            problems.add(host.where, f"`{host.name}`: `{step}` is no host to jump through", "USER@HOST:PORT")
            return None
        at = found["host"].strip("[]")
        known = next((h.name for h in hosts if at in (h.name, _text(h, "ansible_host"))), None)
        if known == host.name:
            return None
        before = known or _jump(at, found["user"], found["port"], host, before, jumps)
    return before


def _jump(
    at: str,
    user: str | None,
    port: str | None,
    host: AnsibleHost,
    before: str | None,
    jumps: dict[str, Machine],
) -> str:
    name = re.sub(r"[^A-Za-z0-9_.-]+", ".", f"{user}.{at}" if user and at in jumps else at).strip(".-")
    given = {"hostname": Node(host.where, at)}
    if user:
        given["user"] = Node(host.where, user)
    if port:
        given["port"] = Node(host.where, int(port))
    if before:
        given["via"] = Node(host.where, before)
    key = next((host.variables[word] for word in _SAME["key"] if word in host.variables), None)
    if key is not None:
        given["key"] = key
    jumps.setdefault(name, _machine(name, host.where, given, Path(host.where.file), ()))
    return name
