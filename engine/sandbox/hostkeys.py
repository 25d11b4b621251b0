"""The SSH host keys of machines, made at their first boot and kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import asyncssh

from engine.sandbox.private import write

_KINDS = {"ssh_host_ecdsa_key": "ecdsa-sha2-nistp256", "ssh_host_ed25519_key": "ssh-ed25519"}


@dataclass(frozen=True)
class HostKeys:
    """The private host keys of one machine."""

    keys: tuple[asyncssh.SSHKey, ...]

    @classmethod
    def at(cls, folder: Path) -> HostKeys:
        """The keys kept in `folder`, made where there are none."""
        return cls(tuple(_key(folder / name, kind) for name, kind in _KINDS.items()))

    def files(self) -> dict[str, bytes]:
        """The files that sshd has of them, by name."""
        told: dict[str, bytes] = {}
        for name, key in zip(_KINDS, self.keys, strict=True):
            told[name] = key.export_private_key("openssh")
            told[f"{name}.pub"] = key.export_public_key("openssh")
        return told

    def console(self, hostname: str) -> str:
        """What cloud-init prints of them on the console, between the markers that tools look for."""
        lines = [f"{_public(key)} root@{hostname}" for key in self.keys]
        return "\n".join(["-----BEGIN SSH HOST KEY KEYS-----", *lines, "-----END SSH HOST KEY KEYS-----", ""])


def _public(key: asyncssh.SSHKey) -> str:
    return " ".join(key.export_public_key("openssh").decode().split()[:2])


def _key(path: Path, kind: str) -> asyncssh.SSHKey:
    if path.exists():
        return asyncssh.read_private_key(path)
    key = asyncssh.generate_private_key(kind)
    write(path, key.export_private_key("openssh"))
    return key
