"""A lab's hosts as a dynamic inventory of Ansible: what its `--list` and `--host` must print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from engine.change import Entry
from engine.hosts import HostSpec
from engine.resource import Values


@dataclass(frozen=True)
class LabHosts:
    """The hosts of one lab, and the ssh_config that leads to them."""

    specs: Sequence[HostSpec]
    entries: Sequence[Entry]
    ssh_config: Path
    groups: Mapping[str, Sequence[str]]
    """Groups of the inventory, with names of hosts."""
    student: str | None = None


def inventory_data(labs: Sequence[LabHosts]) -> dict[str, Any]:
    """What `--list` prints: groups, and under `_meta` every host's variables, so `--host` need not be asked.

    Hosts are called as in the lab's ssh_config: `worker.0` for `worker[0]`; of several labs with the name of
    the student before it.
    """
    several = len(labs) > 1
    groups: dict[str, dict[str, list[str]]] = {}
    variables: dict[str, Values] = {}
    for lab in labs:
        names = {spec.name: _name(spec, lab, several) for spec in lab.specs}
        kinds = {entry.address: entry.kind for entry in lab.entries}
        outputs = {entry.address: entry.outputs for entry in lab.entries}
        for spec in lab.specs:
            variables[names[spec.name]] = _variables(spec, lab, outputs.get(spec.name, {}))
            of = [kinds.get(spec.name, "ssh_host"), *([_group(spec.name)] if "[" in spec.name else [])]
            of += [_group(lab.student)] if several and lab.student else []
            for group in of:
                groups.setdefault(group, {"hosts": []})["hosts"].append(names[spec.name])
        for group, members in lab.groups.items():
            if group != "all":
                found = groups.setdefault(_group(group), {"hosts": []})["hosts"]
                found += [names[one] for one in members if one in names and names[one] not in found]
    everything: dict[str, Any] = {"_meta": {"hostvars": variables}, "all": {"children": sorted(groups)}}
    return {**everything, **{name: groups[name] for name in sorted(groups)}}


def host_data(labs: Sequence[LabHosts], name: str) -> Values:
    """What `--host NAME` prints: the variables of one host, none for a host that is not there."""
    found: Values = inventory_data(labs)["_meta"]["hostvars"].get(name, {})
    return found


def _name(spec: HostSpec, lab: LabHosts, several: bool) -> str:
    return f"{lab.student}.{spec.alias}" if several and lab.student else spec.alias


def _group(name: str) -> str:
    """A name fit for a group of Ansible: letters, digits and _ only."""
    base = name.partition("[")[0]
    return "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in base)


def _variables(spec: HostSpec, lab: LabHosts, outputs: Values) -> Values:
    found: Values = {
        # The alias: the ssh_config knows the address, the way there and the host key by it.
        "ansible_host": spec.alias,
        "ansible_port": spec.port,
        "ansible_user": spec.user,
        "ansible_ssh_common_args": f"-F {quote(str(lab.ssh_config))}",
        "labctl_address": spec.name,
    }
    if spec.key is not None:
        found["ansible_ssh_private_key_file"] = str(Path(spec.key).expanduser().absolute())
    addresses = {name: outputs[name] for name in ("public_ip", "private_ip") if outputs.get(name)}
    return {**found, **addresses}
