"""What is known of a host before contact, and what a script there gave; data only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.resource import Machine


@dataclass(frozen=True)
class HostSpec:
    """How to log in to one host of the lab."""

    name: str
    """Its address in the lab: `bastion`, `worker[0]`."""
    machine: Machine
    user: str
    """Empty where the user's own SSH settings say it, or else the name here is the name there."""
    key: str | None
    """Path of the private key file; None for the user's agent and usual keys."""
    port: int
    via: str | None
    """The name of the host it is reached through."""
    forward_agent: bool = False

    @property
    def hostname(self) -> str | None:
        """The address to dial: the private one behind another host, else the public one."""
        public, private = self.machine.public_address, self.machine.private_address
        return (private or public) if self.via else (public or private)

    @property
    def alias(self) -> str:
        """The name in ssh_config and known_hosts: `worker[0]` is `worker.0` there."""
        return alias(self.name)

    @property
    def target(self) -> tuple[object, ...]:
        """What a connection hangs on; where it differs, the old connection is no use."""
        return (self.hostname, self.port, self.user, self.key, self.via, self.forward_agent)


def alias(name: str) -> str:
    """`name` in letters that mean nothing else to OpenSSH in host names and known_hosts."""
    return re.sub(r"[^A-Za-z0-9_.-]+", ".", name).strip(".-") or "host"


@dataclass(frozen=True)
class Ran:
    """What a script gave: exit status, and everything it wrote."""

    status: int
    stdout: bytes
    stderr: bytes
