"""What is told of files: stat, ls."""

from __future__ import annotations

import posixpath
import stat as bits
import time
from collections.abc import Mapping

from engine.sandbox.machines.command import Call, Command, Options, options
from engine.sandbox.machines.disk import Disk
from engine.sandbox.machines.users import table

_KINDS = {"file": "regular file", "directory": "directory", "symlink": "symbolic link"}


def _ids(call: Call, path: str) -> tuple[str, str, str, str]:
    user, group = call.place.disk.owner(path)
    users, groups = table(call.place, "/etc/passwd"), table(call.place, "/etc/group")
    uid = users[user][2] if user in users else user
    gid = groups[group][2] if group in groups else group
    return uid, user if user in users else "UNKNOWN", gid, group if group in groups else "UNKNOWN"


def _mode_text(disk: Disk, path: str) -> str:
    kind = disk.type_of(path)
    sort = {"directory": bits.S_IFDIR, "symlink": bits.S_IFLNK}.get(str(kind), bits.S_IFREG)
    return bits.filemode(sort | (0o777 if kind == "symlink" else disk.mode(path)))


def _size(disk: Disk, path: str) -> int:
    kind = disk.type_of(path)
    if kind == "directory":
        return 4096
    if kind == "symlink":
        return len(disk.fs.read_link(path))
    return int(disk.fs.stat(path)["size"])


async def stat(call: Call) -> int:
    """stat [-L] [-c FORMAT | --printf FORMAT] FILE…."""
    given = options(
        call.args,
        values={"-c", "--printf"},
        same={"--format": "-c", "--dereference": "-L", "--file-system": "-f"},
    )
    status = 0
    for name in given.rest:
        path = call.path(name)
        if "-L" in given:
            path = call.place.disk.real(path)
        if call.place.disk.type_of(path) is None:
            status = call.complain(f"stat: cannot statx '{name}': No such file or directory")
            continue
        form = given.last("-c") or given.last("--printf")
        if not form:
            form = (
                "  File: %n\n  Size: %s\tBlocks: %b\tIO Block: 4096   %F\nAccess: (%04a/%A)  "
                "Uid: (%5u/%8U)   Gid: (%5g/%8G)"
            )
        text = _stat_text(call, form, name, path)
        if "--printf" in given:
            call.say(text.encode().decode("unicode_escape"), end="")
        else:
            call.say(text)
    return status


def _stat_text(call: Call, form: str, name: str, path: str) -> str:
    disk = call.place.disk
    kind = str(disk.type_of(path))
    uid, user, gid, group = _ids(call, path)
    size = _size(disk, path)
    seconds = float(disk.fs.stat(path)["modified"]) if kind != "symlink" else time.time()
    words = {
        "n": name,
        "s": str(size),
        "b": str((size + 511) // 512),
        "u": uid,
        "U": user,
        "g": gid,
        "G": group,
        "F": "regular empty file" if kind == "file" and size == 0 else _KINDS.get(kind, kind),
        "a": f"{0o777 if kind == 'symlink' else disk.mode(path):o}",
        "A": _mode_text(disk, path),
        "h": "1",
        "i": "1",
        "Y": str(int(seconds)),
        "X": str(int(seconds)),
        "Z": str(int(seconds)),
        "N": f"'{name}'",
        "d": "51713",
        "y": time.strftime("%Y-%m-%d %H:%M:%S.000000000 +0000", time.gmtime(seconds)),
        "%": "%",
        "m": "/",
        "f": "81a4",
        "o": "4096",
        "B": "512",
        "t": "0",
        "T": "0",
        "W": "0",
    }
    out, left = [], form
    while left:
        before, percent, left = left.partition("%")
        out.append(before)
        if percent:
            width = left[: len(left) - len(left.lstrip("0123456789"))]
            left = left[len(width) :]
            value = words.get(left[:1], "?")
            out.append(value.zfill(int(width)) if width.startswith("0") else value.rjust(int(width or 0)))
            left = left[1:]
    return "".join(out)


async def ls(call: Call) -> int:
    """ls [-l] [-a] [-A] [-d] [-1] [-R] [-t] [FILE…]."""
    given, disk, status = options(call.args), call.place.disk, 0
    names = given.rest or ["."]
    folders = []
    for name in names:
        path = call.path(name)
        if disk.type_of(path) is None:
            status = call.complain(f"ls: cannot access '{name}': No such file or directory", 2)
        elif disk.type_of(disk.real(path)) == "directory" and "-d" not in given:
            folders.append(name)
        else:
            call.say(_ls_line(call, given, path, name))
    for number, name in enumerate(folders):
        if len(names) > 1:
            call.say(("\n" if number or len(folders) < len(names) else "") + f"{name}:")
        _ls_folder(call, given, disk.real(call.path(name)))
    return status


def _ls_folder(call: Call, given: Options, path: str) -> None:
    disk = call.place.disk
    found = [
        name for name in disk.entries(path) if "-a" in given or "-A" in given or not name.startswith(".")
    ]
    if "-a" in given:
        found = [".", "..", *found]
    if "-l" in given:
        call.say(f"total {4 * len(found)}")
    for name in found:
        call.say(_ls_line(call, given, posixpath.normpath(posixpath.join(path, name)), name))


def _ls_line(call: Call, given: Options, path: str, name: str) -> str:
    if "-l" not in given:
        return name
    disk = call.place.disk
    uid, user, gid, group = _ids(call, path)
    if "-n" in given:
        user, group = uid, gid
    target = ""
    seconds = time.time()
    if disk.type_of(path) == "symlink":
        target = f" -> {disk.fs.read_link(path)}"
    else:
        seconds = float(disk.fs.stat(path)["modified"])
    links = 2 if disk.type_of(path) == "directory" else 1
    when = time.strftime("%b %e %H:%M", time.gmtime(seconds))
    return f"{_mode_text(disk, path)} {links} {user} {group} {_size(disk, path):5} {when} {name}{target}"


COMMANDS: Mapping[str, Command] = {"stat": stat, "ls": ls}
