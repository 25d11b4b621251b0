"""The files that a fresh system has, whether machine or container."""

from __future__ import annotations

import functools
from collections.abc import Collection

from bashkit import Bash

from engine.sandbox.machines.disk import Disk
from engine.sandbox.machines.systems import System


def base_files(system: System, hostname: str, address: str) -> dict[str, str]:
    """The files that a fresh system has, whether machine or container."""
    files = {
        "/etc/os-release": system.os_release,
        "/usr/lib/os-release": system.os_release,
        "/etc/hostname": f"{hostname}\n",
        "/etc/hosts": f"127.0.0.1 localhost\n{address} {hostname}\n",
        "/etc/resolv.conf": "nameserver 127.0.0.53\noptions edns0 trust-ad\n",
        "/etc/passwd": "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
        "www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
        "/etc/group": (
            "root:x:0:\ndaemon:x:1:\nadm:x:4:\nsudo:x:27:\nwww-data:x:33:\nusers:x:100:\nnogroup:x:65534:\n"
        ),
        "/etc/shadow": "root:*:20400:0:99999:7:::\ndaemon:*:20400:0:99999:7:::\n",
        "/etc/sudoers": "root ALL=(ALL:ALL) ALL\n%sudo ALL=(ALL:ALL) ALL\n",
        "/etc/timezone": "Etc/UTC\n",
        "/etc/lsb-release": f"DISTRIB_ID={system.id.capitalize()}\nDISTRIB_RELEASE={system.version}\n"
        f'DISTRIB_CODENAME={system.codename}\nDISTRIB_DESCRIPTION="{system.pretty}"\n',
    }
    if system.id == "debian":
        files["/etc/debian_version"] = f"{system.version}.12\n"
    return files


@functools.cache
def bash_builtins() -> frozenset[str]:
    """The commands that the virtual bash has of its own."""
    return frozenset(Bash().capabilities().builtins)


def add_programs(disk: Disk, commands: Collection[str]) -> None:
    """Make files in the path for every command, so that `/usr/bin/env` and `command -v` find them too."""
    for name in sorted({*bash_builtins(), *commands} - {".", ":", "["}):
        text = f'#!/bin/sh\n{name} "$@"\n'
        for folder in ("/usr/bin", "/bin", *(("/usr/sbin", "/sbin") if name in commands else ())):
            disk.write(f"{folder}/{name}", text, 0o755)
            disk.generated.add(f"{folder}/{name}")
    disk.mkdir("/run")
