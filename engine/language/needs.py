"""What each resource needs: its host, what its fields use, what it comes after; and that there is no ring."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from engine.addresses import around, joined
from engine.errors import Where
from engine.lab import Declared, Lab, Need, NeedSort, UsedLab
from engine.language.expansion import Depends, Expansion
from engine.language.problems import Problems
from engine.language.words import did_you_mean, nearest
from engine.refs import Ref, Unknown
from engine.templating import Filling, Scope

Uses = Mapping[str, Collection[Ref]]
"""By address, the outputs that a resource's fields use."""


class Needs:
    """Finds the needs of every resource of one lab."""

    def __init__(
        self,
        expansion: Expansion,
        lab: Lab,
        problems: Problems,
        used: Mapping[str, UsedLab | Unknown] | None = None,
    ) -> None:
        """`used` are the labs that this one uses, by what it calls them."""
        self._used = used or {}
        self._expansion = expansion
        self._scope = Scope(lab, {})
        self._problems = problems
        self._declared = expansion.declared

    def with_needs(self, uses: Uses) -> dict[str, Declared]:
        """The resources, each with its needs."""
        logins = {
            address: self._login(each) for address, each in self._declared.items() if each.ssh is not None
        }
        return {
            address: replace(declared, needs=frozenset(self._of(declared, uses.get(address, ()), logins)))
            for address, declared in self._declared.items()
        }

    def _of(
        self, declared: Declared, uses: Collection[Ref], logins: Mapping[str, set[str]]
    ) -> Iterator[Need]:
        places = self._expansion.places[declared.address]
        found: dict[str, NeedSort] = {}
        for name in self._depends(declared):
            found[name] = "after"
        via = declared.ssh.via if declared.ssh is not None else None
        if via is not None and self._is_lent(via):
            self._check_lent(via, "via", declared, places["via"])
        elif via is not None and self._is_host(via, "via", declared, places["via"]):
            found[via] = "after"
        host = declared.host
        if host is not None and self._is_lent(host):
            self._check_lent(host, "host", declared, places["host"])
        elif host is not None and self._is_host(host, "host", declared, places["host"]):
            # What logging in to its host takes: an address of its own, say.
            for name in self._on_the_way(host, logins):
                found.setdefault(name, "after")
        for ref in uses:
            if ref.address == declared.address:
                words = f"`{declared.address}` refers to itself (`{ref}`)"
                self._problems.add(
                    declared.where, words, "a resource knows its own outputs only once it is made"
                )
            found[ref.address] = "uses"
        if host is not None and host in self._declared:
            found[host] = "lives_on"
        found.pop(declared.address, None)
        yield from (Need(address, sort) for address, sort in found.items())

    def _login(self, declared: Declared) -> set[str]:
        """The resources that logging in to a host refers to."""
        assert declared.ssh is not None
        filling = Filling(self._scope, declared)
        filling.of([declared.ssh.user, declared.ssh.key, declared.ssh.port, declared.ssh.host])
        self._problems.extend_elsewhere(filling.problems)
        return {ref.address for ref in filling.touched if ref.address != declared.address}

    def _on_the_way(self, host: str, logins: Mapping[str, set[str]]) -> Iterator[str]:
        seen: set[str] = set()
        step: str | None = host
        while step is not None and step not in seen and step in self._declared:
            seen.add(step)
            yield from logins.get(step, ())
            ssh = self._declared[step].ssh
            step = ssh.via if ssh is not None else None

    def _is_lent(self, name: str) -> bool:
        """Whether `name` means a host of another lab."""
        return name not in self._declared and any(name.startswith(f"{used}.") for used in self._used)

    def _check_lent(self, name: str, word: str, declared: Declared, where: Where) -> None:
        """A problem where a host of another lab cannot be what `word` says."""
        said = _local(name, declared.space)
        called = next(used for used in self._used if name.startswith(f"{used}."))
        lab, host = self._used[called], name[len(called) + 1 :]
        if word == "host":
            words = f"`host: {said}` is a host of another lab, and a lab works on its own hosts only"
            self._problems.add(where, words, f"a host of this lab can be reached through it: `via: {said}`")
        elif not isinstance(lab, Unknown) and host not in lab.hosts:
            remedy = did_you_mean(host, lab.hosts, "its hosts are" if lab.hosts else "a host of it")
            self._problems.add(where, f"`{word}: {said}`: `{lab.name}` has no host `{host}`", remedy)

    def _is_host(self, name: str, word: str, declared: Declared, where: Where) -> bool:
        """Whether `name` is a host to live on or to go through; a problem if not."""
        there = self._declared.get(name)
        said = _local(name, declared.space)
        written = f"`{word}: {said}`"
        if there is not None and name != declared.address:
            if there.kind.is_host and there.ssh is not None:
                return True
            remedy = "give it the keyword `ssh`" if there.kind.is_host else self._hosts_remedy(name, declared)
            words = (
                "says nothing about `ssh`"
                if there.kind.is_host
                else f"is no host, but of kind {there.kind.kind}"
            )
            self._problems.add(where, f"{written}: `{said}` {words}", remedy)
        elif name == declared.address:
            self._problems.add(where, f"{written}: a host cannot be reached through itself")
        elif self._expansion.members(name):
            members = [_local(each, declared.space) for each in self._expansion.members(name)]
            if name in self._expansion.spaces:
                words = f"{written}: `{said}` is an included playbook, not one host"
                self._problems.add(where, words, f"write `{said}.HOST`")
            else:
                words = f"{written}: `{said}` is a loop, not one host"
                self._problems.add(where, words, f"write `{members[0]}`, or loop over its members")
        elif not self._expansion.is_absent(name):
            self._problems.add(where, f"{written}: there is no `{said}`", self._hosts_remedy(name, declared))
        elif any(each in self._expansion.skipped for each in around(name)):
            here = _local(declared.address, declared.space)
            words = f"`{here}` is there, but its host `{said}` is skipped: its `when` is false"
            self._problems.add(where, words, "give both the same `when`")
        return False

    def _hosts_remedy(self, name: str, declared: Declared) -> str:
        hosts = [
            _local(each.address, declared.space)
            for each in self._declared.values()
            if each.kind.is_host and each.ssh is not None and _is_seen(each.address, declared.space)
        ]
        return did_you_mean(_local(name, declared.space), hosts, "hosts are" if hosts else "a host")

    def _depends(self, declared: Declared) -> Iterator[str]:
        for each in self._expansion.depends[declared.address]:
            members = self._expansion.members(each.name)
            if members:
                yield from (member for member in members if member != declared.address)
                if declared.address in members and each.name == declared.address:
                    here = _local(declared.address, declared.space)
                    self._problems.add(each.where, f"`{here}` depends on itself", "take it out")
            elif not self._expansion.is_absent(each.name):
                self._unknown(each, declared)

    def _unknown(self, each: Depends, declared: Declared) -> None:
        space = declared.space
        said = _local(each.name, space)
        known = {*self._declared, *self._expansion.skipped}
        names = {_local(name, space).partition("[")[0] for name in known if _is_seen(name, space)}
        if "." not in said:
            names = {name.partition(".")[0] for name in names}
        near = nearest(said, names)
        remedy = f"did you mean `{near}`?" if near else did_you_mean(said, names, "there are")
        self._problems.add(each.where, f"`depends_on`: there is no `{said}`", remedy)


def _local(address: str, space: str) -> str:
    """What the playbook at `space` calls the thing at `address`; other playbooks' things keep theirs."""
    return address.removeprefix(joined(space, ""))


def _is_seen(address: str, space: str) -> bool:
    """Whether the playbook at `space` has a name for what is at `address`."""
    return address.startswith(joined(space, ""))


def in_order(resources: Mapping[str, Declared], problems: Problems) -> list[str]:
    """The addresses, each after what it needs. A ring is a problem, and is left out."""
    graph = {
        address: {need.address for need in declared.needs if need.address in resources}
        for address, declared in resources.items()
    }
    while True:
        try:
            return list(TopologicalSorter(graph).static_order())
        except CycleError as error:
            ring: list[str] = error.args[1]
            _tell(ring, resources, problems)
            graph = {key: needs - set(ring) for key, needs in graph.items() if key not in ring}


def _tell(ring: list[str], resources: Mapping[str, Declared], problems: Problems) -> None:
    """The problem of a ring, beginning with the member that comes first in the file."""
    # CycleError gives what is needed first; people read `a → b` as “a needs b”.
    members = list(reversed(ring))[:-1]
    first = min(members, key=lambda address: resources[address].where)
    start = members.index(first)
    turned = [*members[start:], *members[:start], first]
    sorts = {(each.address, need.address): need.sort for each in resources.values() for need in each.needs}
    because = [f"`{a}` {_WHY[sorts[a, b]]} `{b}`" for a, b in pairwise(turned)]
    remedy = f"{', '.join(because)}: undo one of these"
    problems.add(resources[first].where, f"resources need each other in a ring: {' → '.join(turned)}", remedy)


_WHY: Mapping[NeedSort, str] = {"lives_on": "lives on", "uses": "uses", "after": "comes after"}
