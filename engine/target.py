"""From a lab to the world it acts on: AWS clients, the way in to its hosts, and its own folder."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.world import World, silent

if TYPE_CHECKING:
    from engine.aws import Aws
    from engine.docker import Docker
    from engine.hosts.keys import Passphrases
    from engine.hosts.log import RunLog
    from engine.lab import Lab, Target
    from engine.resource import Resource

SANDBOX_CREDENTIALS = ("labctl", "sandbox")

_LONGEST_NAME: Final = 60
"""Characters of a folder's name: paths on Windows have 260 in all."""
_DEVICES: Final = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}
)
"""Names that are devices on Windows, whatever follows after a dot."""
_OWN_FILES: Final = ("known_hosts", "ssh_config", "run.log")
"""What lies in a lab's folder; a student may be called like it."""


@dataclass(frozen=True)
class Access:
    """How one target is reached, shared by all labs that act on it."""

    aws: Aws
    proxy: str | None
    """`host:port` of the SOCKS5 proxy that is the way in to hosts; None for a direct way."""
    docker: Docker | None = None
    """The Docker Engine that builds images; None for the usual one."""


def open_target(target: Target, *, say: Callable[[str], None] = silent) -> Access:
    """The way to `target`; starts the sandbox if that is where it is. Asks AWS nothing."""
    from engine.aws import Aws
    from engine.docker import Docker

    if target.sort == "sandbox":
        from engine import sandbox

        running = sandbox.ensure(target.sandbox, say)
        aws = Aws(region=target.region, endpoint_url=running.aws_endpoint, credentials=SANDBOX_CREDENTIALS)
        return Access(aws, running.socks_proxy, Docker(target.docker_host or running.docker_host))
    aws = Aws(
        region=target.region,
        profile=target.profile,
        endpoint_url=target.endpoint_url,
        account=target.account,
    )
    return Access(aws, target.ssh_proxy, Docker(target.docker_host))


def open_world(
    lab: Lab,
    *,
    log: RunLog | None = None,
    access: Access | None = None,
    say: Callable[[str], None] = silent,
    passphrases: Passphrases | None = None,
) -> World:
    """The world of `lab`, through `access` where labs share one; its hosts' files lie in its own folder."""
    from engine.hosts import Hosts

    access = access or open_target(lab.target, say=say)
    hosts = Hosts(folder=lab_folder(lab), proxy=access.proxy, log=log, passphrases=passphrases)
    return World(lab.name, access.aws, hosts, docker=access.docker)


def lab_folder(lab: Lab) -> Path:
    """The folder that holds the lab's known hosts, SSH configuration and logs, beside its ledger.

    It is called like the lab (`hw02@fall2026/alice`), so that no two labs share one.
    """
    return ledger_folder(lab.ledger).joinpath(*map(_folder_name, lab.name.split("/")))


def _folder_name(name: str) -> str:
    """`name` if every file system takes it for what it is and tells it from others, else with a hash."""
    safe = re.sub(r"[^A-Za-z0-9@._-]+", "_", name)
    taken = name.partition(".")[0] in _DEVICES or name.startswith(_OWN_FILES)
    # Some file systems do not tell capitals from small letters, and Windows drops dots at the end.
    if name == safe.lower().strip(".") and len(name) <= _LONGEST_NAME and not taken:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    # No name that is left as it is holds a tilde.
    return f"{safe.strip('.')[:_LONGEST_NAME]}~{digest}"


def ledger_folder(ledger: str) -> Path:
    """The folder of a ledger, which is a file."""
    return Path(ledger).resolve().parent


def place(target: Target, kinds: Iterable[type[Resource]] = ()) -> str:
    """Where `target` is, in words for the first line of every command about a lab with these `kinds`."""
    if target.sort == "sandbox":
        where = "embedded sandbox, nothing is billed"
        runs = target.sandbox.get("workloads") != "none" and any(kind.runs_code for kind in kinds)
        return f"{where}; its code runs as processes of this machine" if runs else where
    if target.sort == "ssh":
        return "your own machines, over SSH"
    words = [f"AWS {target.region}"]
    if target.account:
        words.append(f"account {target.account}")
    if target.profile:
        words.append(f"profile {target.profile}")
    if target.endpoint_url:
        words.append(f"at {target.endpoint_url}")
    return ", ".join(words)
