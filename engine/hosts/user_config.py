"""The user's own SSH settings, ~/.ssh/config and ~/.ssh/known_hosts, for machines that are already there."""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from engine.errors import HostUnreachable
from engine.hosts.spec import HostSpec
from engine.resource import Machine

_USUAL_PORT: Final = 22
_MOST_JUMPS: Final = 10
_ONLY_OPENSSH: Final = re.compile(r"^\s*(include|match|canonicalize\w*)\b", re.IGNORECASE | re.MULTILINE)
"""What only OpenSSH itself understands."""
_USUAL_KEYS: Final = ("id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk", "id_xmss", "id_dsa")
_JUMP: Final = re.compile(r"(?:ssh://)?(?:(?P<user>[^@]+)@)?(?P<host>\[[^\]]+\]|[^:]+)(?::(?P<port>\d+))?\Z")


@dataclass(frozen=True)
class UserConfig:
    """The folder of the user's settings."""

    folder: Path

    def applied(self, spec: HostSpec) -> list[HostSpec]:
        """`spec` with what the settings say where it does not itself; before it the hosts to jump through.

        They count for HostName, Port (where it is 22), User, IdentityFile, ProxyJump and ForwardAgent. Raises
        HostUnreachable where they cannot be read.
        """
        return self._applied(spec, 0)

    def _applied(self, spec: HostSpec, depth: int) -> list[HostSpec]:
        said = self._lookup(spec.machine.public_address or "")
        hostname = str(said.get("hostname") or spec.machine.public_address)
        jumps = [] if spec.via is not None else self._jumps(spec, said, depth)
        machine = replace(spec.machine, public_address=hostname, private_address=hostname)
        own = replace(
            spec,
            machine=machine,
            user=spec.user or str(said.get("user") or getpass.getuser()),
            port=int(said.get("port") or spec.port) if spec.port == _USUAL_PORT else spec.port,
            key=spec.key or _key(said.get("identityfile")),
            via=spec.via or (jumps[-1].name if jumps else None),
            forward_agent=spec.forward_agent or said.get("forwardagent") == "yes",
        )
        return [*jumps, own]

    def _jumps(self, spec: HostSpec, said: Mapping[str, Any], depth: int) -> list[HostSpec]:
        jump = str(said.get("proxyjump") or "none")
        if jump == "none":
            if str(said.get("proxycommand") or "none") != "none":
                raise HostUnreachable(
                    f"{self.folder}/config sets a ProxyCommand for {spec.name}, which labctl does not use",
                    "write ProxyJump there, or ssh: {via: …} in the playbook",
                )
            return []
        if depth >= _MOST_JUMPS:
            raise HostUnreachable(
                f"{self.folder}/config jumps in a ring for {spec.name}", "correct ProxyJump"
            )
        found: list[HostSpec] = []
        for step in jump.split(","):
            match = _JUMP.match(step.strip())
            if match is None:
                raise HostUnreachable(f"{self.folder}/config jumps through {step}, which is no host")
            before = found[-1].name if found else None
            found += self._applied(_jump(match, before), depth + 1)
        return found

    def _lookup(self, name: str) -> Mapping[str, Any]:
        file = self.folder / "config"
        try:
            text = file.read_text("utf-8", "replace")
        except OSError:
            return {}
        program = shutil.which("ssh") if _ONLY_OPENSSH.search(text) else None
        return _by_openssh(program, file, name) if program else _by_paramiko(file, name)


def _jump(match: re.Match[str], before: str | None) -> HostSpec:
    host = match["host"].strip("[]")
    machine = Machine(host, host, already_there=True)
    name = f"{host} (~/.ssh/config)"
    return HostSpec(name, machine, match["user"] or "", None, int(match["port"] or _USUAL_PORT), before)


def _by_paramiko(file: Path, name: str) -> Mapping[str, Any]:
    from paramiko import SSHConfig
    from paramiko.ssh_exception import ConfigParseError

    try:
        return dict(SSHConfig.from_path(str(file)).lookup(name))
    except (ConfigParseError, UnicodeDecodeError, ValueError) as error:
        raise HostUnreachable(f"{file} cannot be read: {error}", "see what `ssh -G NAME` says") from error


def _by_openssh(program: str, file: Path, name: str) -> Mapping[str, Any]:
    command = [program, "-G", "-F", str(file), "--", name]
    ran = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if ran.returncode != 0:
        last = (ran.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise HostUnreachable(f"ssh cannot read {file}: {last}", f"see what `ssh -G {name}` says")
    said: dict[str, Any] = {}
    for line in ran.stdout.splitlines():
        key, _, value = line.partition(" ")
        if key == "identityfile":
            said.setdefault(key, []).append(value)
        else:
            said.setdefault(key, value)
    return said


def _key(files: Any) -> str | None:
    """The first key file that is there and is not one of those that are tried anyway."""
    paths = [Path(file).expanduser() for file in files or ()]
    named = [path for path in paths if path.name not in _USUAL_KEYS and path.is_file()]
    return str(named[0]) if named else None


def known_keys(folder: Path, hostname: str, port: int) -> Iterator[str]:
    """The host keys that the user's known_hosts has for a machine, as `ssh-ed25519 AAAA…`."""
    try:
        lines = (folder / "known_hosts").read_text("utf-8", "replace").splitlines()
    except OSError:
        return
    name = hostname if port == _USUAL_PORT else f"[{hostname}]:{port}"
    for line in lines:
        words = line.split()
        if len(words) >= 3 and not words[0].startswith(("#", "@")) and _names(words[0], name):
            yield f"{words[1]} {words[2]}"


def _names(field: str, name: str) -> bool:
    from paramiko.hostkeys import HostKeys

    if field.startswith("|1|"):
        return bool(HostKeys.hash_host(name, field) == field)
    return name in field.split(",")
