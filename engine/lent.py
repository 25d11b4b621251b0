"""Hosts that other labs lend: a lab reaches its own hosts through them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from engine.change import Entry
from engine.contact import host_spec
from engine.errors import HostUnreachable, LabctlError
from engine.hosts import HostSpec
from engine.kinds import kinds
from engine.lab import Lab, Target
from engine.language.builtins import slug_of
from engine.ledger import Ledger
from engine.remembered import lab_remembered
from engine.target import Access
from engine.world import World


def know_lent_hosts(lab: Lab, world: World, ledger: Ledger, access: Callable[[Target], Access]) -> None:
    """Tell `world.hosts` of the hosts of other labs that `lab` goes through, as they were last read."""
    for called, (name, address) in lab.used_hosts.items():
        prefix = called.removesuffix(address)
        for spec in _way(_other(lab, ledger, name), address, world, ledger, access):
            via = prefix + spec.via if spec.via else None
            world.hosts.know(replace(spec, name=prefix + spec.name, via=via))


def _other(lab: Lab, ledger: Ledger, name: str) -> Lab:
    """The lab `name` as its ledger remembers it; where that tells no target, it is where `lab` is."""
    document = ledger.last_plan(name)
    if document is None:
        return Lab(name=name, slug=slug_of(name), target=lab.target, resources={})
    playbook = document["request"]["playbook"]
    try:
        other = lab_remembered(document)
    except LabctlError:
        other = Lab(name=name, slug=slug_of(name), target=lab.target, resources={})
    return replace(other, playbook=Path(playbook) if playbook else None)


def _way(
    other: Lab, address: str, world: World, ledger: Ledger, access: Callable[[Target], Access]
) -> Iterator[HostSpec]:
    """How to log in to the host at `address` of `other`, and to those on the way to it."""
    entries = {entry.address: entry for entry in ledger.entries(other.name) if not entry.surplus}
    there = World(other.name, access(other.target).aws, world.hosts, caller=world.caller)
    seen: set[str] = set()
    while address in entries and address not in seen:
        seen.add(address)
        try:
            spec = _spec(other, entries[address], there)
        except HostUnreachable:
            return  # who goes through it is told that it is not there
        yield spec
        address = spec.via or ""


def _spec(other: Lab, entry: Entry, world: World) -> HostSpec:
    return host_spec(other, entry.address, entry.outputs, entry, world, kinds=kinds())
