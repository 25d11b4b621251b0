"""From what is known of a host to how to log in to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.change import Entry
from engine.errors import HostUnreachable
from engine.hosts import HostSpec
from engine.lab import Lab
from engine.refs import holds_unknown
from engine.resource import Machine, Resource, Values
from engine.templating import fill, scope_of
from engine.world import Job, World


def host_spec(
    lab: Lab,
    address: str,
    values: Values,
    entry: Entry | None,
    world: World,
    *,
    kinds: Mapping[str, type[Resource]] | None = None,
    known: Mapping[str, Values] | None = None,
) -> HostSpec:
    """How to log in to the host at `address`, of which `values` were read.

    `known` fills the `ssh:` templates.
    `kinds` is needed for hosts that the playbook no longer has. Raises HostUnreachable where it is not told
    how.
    """
    login = login_of(lab, address, known or {address: values}) or (entry.ssh if entry else None)
    declared = lab.resources.get(address)
    kind = declared.kind if declared else None
    if entry is not None and kinds is not None:
        kind = kinds.get(entry.kind, kind)
    if login is None or kind is None or not kind.is_host:
        raise HostUnreachable(
            f"{address} is no host that can be logged in to",
            "say how in the playbook: `ssh: {user: …, key: …}`",
        )
    machine = kind.machine(world.on(Job(address=address)), (entry.id if entry else None) or "", values)
    if login.get("host"):
        machine = _at(machine, str(login["host"]))
    return HostSpec(
        name=address,
        machine=machine,
        user=str(login["user"] or ""),
        key=_key_file(login.get("key"), lab),
        port=int(login.get("port") or machine.port),
        via=login.get("via"),
        forward_agent=bool(login.get("forward_agent")),
    )


def login_of(lab: Lab, address: str, known: Mapping[str, Values]) -> dict[str, Any] | None:
    """The `ssh:` keyword of `address` filled in with what is `known`, as plain data.

    None while it cannot be.
    """
    declared = lab.resources.get(address)
    if declared is None or declared.ssh is None:
        return None
    ssh = declared.ssh
    login = {
        "user": ssh.user,
        "key": ssh.key,
        "port": ssh.port,
        "via": ssh.via,
        "forward_agent": ssh.forward_agent,
        "host": ssh.host,
    }
    filled: dict[str, Any] = fill(login, scope_of(lab, known), declared)
    return None if holds_unknown(filled) else filled


def know_hosts(
    lab: Lab, entries: Iterable[Entry], world: World, kinds: Mapping[str, type[Resource]]
) -> list[str]:
    """Tell `world.hosts` of every host that the ledger remembers, as last read; their addresses."""
    remembered = [entry for entry in entries if entry.id is not None and not entry.surplus]
    known = {entry.address: entry.outputs for entry in remembered}
    hosts = [entry for entry in remembered if entry.kind in kinds and kinds[entry.kind].is_host]
    told: list[str] = []
    for entry in hosts:
        if entry.ssh is None and login_of(lab, entry.address, known) is None:
            continue
        spec = host_spec(lab, entry.address, entry.outputs, entry, world, kinds=kinds, known=known)
        world.hosts.know(spec)
        told.append(entry.address)
    return told


def _at(machine: Machine, address: str) -> Machine:
    return replace(machine, public_address=address, private_address=address)


def _key_file(key: Any, lab: Lab) -> str | None:
    if key is None:
        return None
    path = Path(str(key)).expanduser()
    # A key beside the playbook is named from there, wherever labctl is called.
    return str(path if path.is_absolute() or lab.playbook is None else lab.playbook.resolve().parent / path)
