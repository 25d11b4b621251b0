"""The ssh_config with which OpenSSH's own ssh, scp and rsync go the same ways as labctl; pure text."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.hosts.spec import HostSpec


def text(specs: Sequence[HostSpec], *, known_hosts: Path, proxy: str | None) -> str:
    """The file's text: one `Host` a host that has an address; `proxy` is the first hop's SOCKS5 proxy."""
    by_name = {spec.name: spec for spec in specs}
    blocks = ["# Written by labctl, and written anew with every change. Use: ssh -F THIS_FILE NAME\n"]
    blocks += [_block(spec, by_name, known_hosts, proxy) for spec in specs if spec.hostname is not None]
    return "\n".join(blocks)


def _block(spec: HostSpec, by_name: dict[str, HostSpec], known_hosts: Path, proxy: str | None) -> str:
    names = spec.alias if spec.alias == spec.name or " " in spec.name else f"{spec.alias} {spec.name}"
    options = [
        ("HostName", _percent(spec.hostname or "")),
        ("Port", str(spec.port)),
        ("User", _word(spec.user)),
        *_identity(spec),
        ("UserKnownHostsFile", _word(_percent(str(known_hosts)))),
        ("GlobalKnownHostsFile", "/dev/null"),
        ("HostKeyAlias", spec.alias),
        ("StrictHostKeyChecking", "accept-new"),
        ("UpdateHostKeys", "no"),
        ("LogLevel", "ERROR"),
        ("ForwardAgent", "yes" if spec.forward_agent else "no"),
    ]
    if spec.via is not None and spec.via in by_name:
        options.append(("ProxyJump", by_name[spec.via].alias))
    elif proxy is not None:
        options.append(("ProxyCommand", proxy_command(proxy)))
    return f"Host {names}\n" + "".join(f"    {name} {value}\n" for name, value in options)


def proxy_command(proxy: str) -> str:
    """The ProxyCommand that goes through the SOCKS5 proxy `host:port` without needing nc."""
    return f"{_percent(quote(sys.executable))} -m engine.hosts.socks {_percent(quote(proxy))} %h %p"


def _identity(spec: HostSpec) -> list[tuple[str, str]]:
    if spec.key is None:
        return []
    path = Path(spec.key).expanduser().absolute()
    return [("IdentityFile", _word(_percent(str(path)))), ("IdentitiesOnly", "yes")]


def _percent(value: str) -> str:
    return value.replace("%", "%%")


def _word(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if any(letter in value for letter in ' \t"#\\') else value
