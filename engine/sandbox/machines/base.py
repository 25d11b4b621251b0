"""The files that a fresh system has, whether machine or container."""

from __future__ import annotations

import functools
from collections.abc import Collection

from bashkit import Bash

from engine.sandbox.machines.disk import Disk
from engine.sandbox.machines.systems import System

_NOBODY = "/usr/sbin/nologin"
_USERS = (
    ("daemon", 1, 1, "/usr/sbin", _NOBODY),
    ("bin", 2, 2, "/bin", _NOBODY),
    ("sys", 3, 3, "/dev", _NOBODY),
    ("sync", 4, 65534, "/bin", "/bin/sync"),
    ("games", 5, 60, "/usr/games", _NOBODY),
    ("man", 6, 12, "/var/cache/man", _NOBODY),
    ("lp", 7, 7, "/var/spool/lpd", _NOBODY),
    ("mail", 8, 8, "/var/mail", _NOBODY),
    ("news", 9, 9, "/var/spool/news", _NOBODY),
    ("uucp", 10, 10, "/var/spool/uucp", _NOBODY),
    ("proxy", 13, 13, "/bin", _NOBODY),
    ("www-data", 33, 33, "/var/www", _NOBODY),
    ("backup", 34, 34, "/var/backups", _NOBODY),
    ("list", 38, 38, "/var/list", _NOBODY),
    ("irc", 39, 39, "/run/ircd", _NOBODY),
    ("nobody", 65534, 65534, "/nonexistent", _NOBODY),
)
"""Accounts of Debian's base-passwd besides root: name, uid, gid, home, shell."""
_GROUPS = (
    *(("root", 0), ("daemon", 1), ("bin", 2), ("sys", 3), ("adm", 4), ("tty", 5), ("disk", 6), ("lp", 7)),
    *(("mail", 8), ("news", 9), ("uucp", 10), ("man", 12), ("proxy", 13), ("kmem", 15), ("dialout", 20)),
    *(("fax", 21), ("voice", 22), ("cdrom", 24), ("floppy", 25), ("tape", 26), ("sudo", 27), ("audio", 29)),
    *(
        ("dip", 30),
        ("www-data", 33),
        ("backup", 34),
        ("operator", 37),
        ("list", 38),
        ("irc", 39),
        ("src", 40),
    ),
    *(("shadow", 42), ("utmp", 43), ("video", 44), ("sasl", 45), ("plugdev", 46), ("staff", 50)),
    *(("games", 60), ("users", 100), ("nogroup", 65534)),
)


def base_files(system: System, hostname: str, address: str) -> dict[str, str]:
    """The files that a fresh system has, whether machine or container."""
    files = {
        "/etc/os-release": system.os_release,
        "/usr/lib/os-release": system.os_release,
        "/etc/hostname": f"{hostname}\n",
        "/etc/hosts": f"127.0.0.1 localhost\n{address} {hostname}\n",
        "/etc/resolv.conf": "nameserver 127.0.0.53\noptions edns0 trust-ad\n",
        "/etc/passwd": "root:x:0:0:root:/root:/bin/bash\n"
        + "".join(f"{name}:x:{uid}:{gid}:{name}:{home}:{shell}\n" for name, uid, gid, home, shell in _USERS),
        "/etc/group": "".join(f"{name}:x:{gid}:\n" for name, gid in _GROUPS),
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
