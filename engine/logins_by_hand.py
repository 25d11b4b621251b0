"""Logging in to hosts that are made by hand: an ssh_config that grows as they come up."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.by_hand import variable
from engine.change import Change, Plan
from engine.contact import login_of
from engine.diff import usable_values
from engine.hosts.ssh_config import proxy_command
from engine.lab import Lab


def logins(lab: Lab, plan: Plan) -> dict[str, dict[str, Any]]:
    """By address, the `ssh:` of each host whose addresses are other ones after the plan."""
    known = {change.address: _known(change) for change in plan.changes}
    found: dict[str, dict[str, Any]] = {}
    for change in plan.changes:
        if change.wanted is not None and change.wanted.is_host and _moves(change):
            login = login_of(lab, change.address, known)
            if login is not None and _is_told(change, output(login)):
                found[change.address] = login
    return found


def output(login: Mapping[str, Any]) -> str:
    """The output that tells where a host is contacted: behind another host at its private address."""
    return "private_ip" if login.get("via") else "public_ip"


def way_in(
    address: str, login: Mapping[str, Any], config: Path, proxy: str | None, *, id: str | None
) -> list[str]:
    """The commands that put a host into the ssh_config, before older ones of its name, and wait for it.

    `id` is its id where that is known already.
    """
    options = {
        "HostName": f"${variable(address, output(login))}",
        # The machine's own name: a host made anew is another one to ssh.
        "HostKeyAlias": id or f"${variable(address)}",
        "Port": login.get("port"),
        "User": login["user"],
        # ssh takes ~ for the home in the list of users, the shell for $HOME.
        "IdentityFile": re.sub("^~/", "$HOME/", str(login["key"])) if login.get("key") else None,
        "IdentitiesOnly": "yes" if login.get("key") else None,
        "StrictHostKeyChecking": "accept-new",
        "UserKnownHostsFile": config.with_name("known_hosts_by_hand"),
        "ForwardAgent": "yes" if login.get("forward_agent") else None,
        "ProxyJump": login.get("via"),
        "ProxyCommand": proxy_command(proxy) if proxy and not login.get("via") else None,
    }
    block = "".join(f"    {name} {value}\n" for name, value in options.items() if value is not None)
    file, folder = shlex.quote(str(config)), shlex.quote(str(config.parent))
    new = shlex.quote(f"{config}.new")
    ssh = f"ssh -F {file} -n {shlex.quote(address)}"
    return [
        f"mkdir -p {folder} && touch {file}",
        f"cat - {file} > {new} <<END && mv {new} {file}\nHost {address}\n{block}END",
        f"until {ssh} true; do sleep 5; done",
        f"{ssh} 'cloud-init status --wait'",
    ]


def _is_told(change: Change, address: str) -> bool:
    """Whether the output `address` is there, and another one than before."""
    if change.wanted is None or address not in change.wanted.outputs:
        return False
    return change.action != "update" or address == "public_ip"


def _moves(change: Change) -> bool:
    if change.action in {"create", "replace"}:
        return True
    if change.action != "update" or change.wanted is None:
        return False
    return "public_ip" in change.wanted.unsettles(frozenset(field.name for field in change.fields))


def _known(change: Change) -> dict[str, Any]:
    there = change.there.values if change.there else None
    return usable_values(change.wanted, there) if change.wanted is not None else dict(there or {})
