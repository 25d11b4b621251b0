"""Files: what bash's own commands lack or get wrong, chiefly owners, modes and parts of standard input."""

from __future__ import annotations

import posixpath
import secrets
import string
from collections.abc import Mapping

from engine.sandbox.machines.command import Call, Command, Failed, options
from engine.sandbox.machines.disk import Disk
from engine.sandbox.machines.shell import ShellCall
from engine.sandbox.machines.users import table


def _may_change(call: Call, path: str, what: str) -> None:
    if not call.login.is_root and call.place.disk.owner(path)[0] != call.login.user:
        raise Failed(f"{call.name}: {what} '{path}': Operation not permitted")


def _below(disk: Disk, path: str, recursive: bool) -> list[str]:
    return [path, *(found for found, _ in disk.walk(path))] if recursive else [path]


async def chown(call: Call) -> int:
    """chown [-R] [-h] [OWNER][:GROUP] FILE…; chgrp too."""
    given = options(call.args, values={"--reference"}, same={"--recursive": "-R", "--no-dereference": "-h"})
    if len(given.rest) < 2:
        return call.complain(f"{call.name}: missing operand")
    spec = given.rest[0] if call.name == "chown" else f":{given.rest[0]}"
    user, colon, group = spec.replace(".", ":", 1).partition(":") if ":" not in spec else spec.partition(":")
    user = _named(call, user, "/etc/passwd", "user")
    if colon and not group and user:
        group = call.place.login(user).group
    group = _named(call, group, "/etc/group", "group")
    for name in given.rest[1:]:
        path = call.path(name)
        if call.place.disk.type_of(path) is None:
            return call.complain(f"{call.name}: cannot access '{name}': No such file or directory")
        path = path if "-h" in given else call.place.disk.real(path)
        _may_change(call, path, "changing ownership of")
        for found in _below(call.place.disk, path, "-R" in given):
            old = call.place.disk.owner(found)
            call.place.disk.owners[found] = (user or old[0], group or old[1])
    return 0


def _named(call: Call, name: str, path: str, what: str) -> str:
    if not name:
        return ""
    for row in table(call.place, path).values():
        if name in (row[0], row[2]):
            return row[0]
    if name.isdigit():
        return name
    raise Failed(f"{call.name}: invalid {what}: '{name}'")


def new_mode(text: str, old: int, folder: bool) -> int:
    """The mode that `text` (octal or symbolic, `u+rwX,go-w`) makes of `old`. Raises ValueError."""
    if text and all(letter in "01234567" for letter in text):
        return int(text, 8)
    for clause in text.split(","):
        old = _clause(clause, old, folder)
    return old


def _clause(clause: str, old: int, folder: bool) -> int:
    position = next((number for number, letter in enumerate(clause) if letter in "+-="), -1)
    if position < 0:
        raise ValueError(clause)
    who, sign, what = clause[:position] or "a", clause[position], clause[position + 1 :]
    mask, whole = 0, 0
    for letter, shift in (("u", 6), ("g", 3), ("o", 0)):
        if letter in who or "a" in who:
            whole |= 7 << shift
            for right, value in (("r", 4), ("w", 2), ("x", 1)):
                mask |= (value << shift) if right in what else 0
            if "X" in what and (folder or old & 0o111):
                mask |= 1 << shift
    mask |= (0o1000 if "t" in what else 0) | (0o4000 if "s" in what and "u" in who else 0)
    mask |= 0o2000 if "s" in what and "g" in who else 0
    if sign == "+":
        return old | mask
    return old & ~mask if sign == "-" else (old & ~whole) | mask


async def chmod(call: Call) -> int:
    """chmod [-R] MODE FILE…."""
    words = [
        word for word in call.args if word not in ("--", "-f", "-v", "--quiet", "-R", "--recursive", "-c")
    ]
    recursive = bool({"-R", "--recursive"} & set(call.args))
    if len(words) < 2:
        return call.complain(
            f"chmod: missing operand after '{words[0]}'" if words else "chmod: missing operand"
        )
    for name in words[1:]:
        path = call.place.disk.real(call.path(name))
        if call.place.disk.type_of(path) is None:
            return call.complain(f"chmod: cannot access '{name}': No such file or directory")
        _may_change(call, path, "changing permissions of")
        for found in _below(call.place.disk, path, recursive):
            _set_mode(call, found, words[0])
    return 0


def _set_mode(call: Call, path: str, text: str) -> None:
    disk = call.place.disk
    if disk.type_of(path) == "symlink":
        return
    try:
        disk.fs.chmod(path, new_mode(text, disk.mode(path), disk.is_dir(path)))
    except ValueError as error:
        raise Failed(f"chmod: invalid mode: '{text}'") from error


async def mkdir(call: Call) -> int:
    """mkdir [-p] [-m MODE] FOLDER…."""
    given = options(call.args, values={"-m"}, same={"--mode": "-m", "--parents": "-p"})
    disk, owner = call.place.disk, (call.login.user, call.login.group)
    for name in given.rest:
        path = call.path(name)
        if disk.type_of(disk.real(path)) is not None:
            if "-p" in given and disk.is_dir(disk.real(path)):
                continue
            return call.complain(f"mkdir: cannot create directory '{name}': File exists")
        path = posixpath.join(disk.real(posixpath.dirname(path)), posixpath.basename(path))
        if "-p" not in given and not disk.is_dir(posixpath.dirname(path)):
            return call.complain(f"mkdir: cannot create directory '{name}': No such file or directory")
        _make_folders(call, path, name, owner)
        if "-m" in given:
            _set_mode(call, path, given.last("-m"))
    return 0


def _make_folders(call: Call, path: str, name: str, owner: tuple[str, str]) -> None:
    disk, missing = call.place.disk, [path]
    while not disk.exists(posixpath.dirname(missing[-1])):
        missing.append(posixpath.dirname(missing[-1]))
    if not disk.is_dir(posixpath.dirname(missing[-1])):
        raise Failed(f"mkdir: cannot create directory '{name}': Not a directory")
    _may_write(call, posixpath.dirname(missing[-1]), f"mkdir: cannot create directory '{name}'")
    for found in reversed(missing):
        disk.mkdir(found, 0o755, owner)


def _may_write(call: Call, folder: str, message: str) -> None:
    if call.login.is_root:
        return
    disk = call.place.disk
    user, group = disk.owner(folder)
    mode = disk.mode(folder)
    allowed = mode & 0o002 or (group in call.login.groups and mode & 0o020) or (user == call.login.user)
    if not allowed:
        raise Failed(f"{message}: Permission denied")


async def mktemp(call: Call) -> int:
    """mktemp [-d] [-p FOLDER] [-t] [TEMPLATE]."""
    given = options(
        call.args, values={"-p", "--suffix"}, same={"--directory": "-d", "--tmpdir": "-p", "--dry-run": "-u"}
    )
    template = given.rest[0] if given.rest else "tmp.XXXXXXXXXX"
    if "XXX" not in template:
        return call.complain(f"mktemp: too few X's in template '{template}'")
    if not given.rest or "-p" in given or "-t" in given:
        template = posixpath.join(given.last("-p") or call.env.get("TMPDIR", "/tmp"), template)
    start = template.rindex("X") + 1
    marks = len(template[:start]) - len(template[:start].rstrip("X"))
    letters = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(marks))
    name = template[: start - marks] + letters + template[start:] + given.last("--suffix")
    disk, path = call.place.disk, call.path(name)
    if not disk.is_dir(disk.real(posixpath.dirname(path))):
        what = "directory" if "-d" in given else "file"
        return call.complain(
            f"mktemp: failed to create {what} via template '{template}': No such file or directory"
        )
    owner = (call.login.user, call.login.group)
    if "-d" in given:
        disk.mkdir(path, 0o700, owner)
    else:
        disk.write(path, b"", 0o600, owner)
    call.say(name)
    return 0


async def mv(call: Call) -> int:
    """mv [-f] [-n] [-T] [-t FOLDER] SOURCE… TARGET."""
    given = options(
        call.args, values={"-t"}, same={"--target-directory": "-t", "--no-target-directory": "-T"}
    )
    sources = given.rest if "-t" in given else given.rest[:-1]
    if not sources:
        return call.complain("mv: missing file operand")
    disk, last = call.place.disk, given.last("-t") or given.rest[-1]
    target = call.path(last)
    inside = disk.is_dir(disk.real(target)) and "-T" not in given
    if len(sources) > 1 and not inside:
        return call.complain(f"mv: target '{last}' is not a directory")
    for name in sources:
        _move(
            call,
            name,
            posixpath.join(disk.real(target), posixpath.basename(call.path(name))) if inside else target,
        )
    return 0


def _move(call: Call, name: str, target: str) -> None:
    disk, source = call.place.disk, call.path(name)
    if disk.type_of(source) is None:
        raise Failed(f"mv: cannot stat '{name}': No such file or directory")
    folder = posixpath.dirname(target)
    if not disk.is_dir(disk.real(folder)):
        raise Failed(f"mv: cannot move '{name}' to '{target}': No such file or directory")
    _may_write(call, disk.real(folder), f"mv: cannot move '{name}' to '{target}'")
    if disk.type_of(target) == "directory" and disk.type_of(source) != "directory":
        raise Failed(f"mv: cannot overwrite directory '{target}' with non-directory '{name}'")
    # A file made in this very run by somebody has no owner on record yet.
    if source not in disk.owners and not call.login.is_root:
        disk.owners[source] = (call.login.user, call.login.group)
    elif source not in disk.owners:
        disk.owners.pop(target, None)
    disk.move(source, target)


async def install(call: Call) -> int:
    """install [-d] [-D] [-m MODE] [-o OWNER] [-g GROUP] SOURCE… TARGET."""
    same = {"--mode": "-m", "--owner": "-o", "--group": "-g", "--directory": "-d", "--target-directory": "-t"}
    given = options(call.args, values={"-m", "-o", "-g", "-t"}, same=same)
    disk = call.place.disk
    user = _named(call, given.last("-o"), "/etc/passwd", "user") or call.login.user
    group = _named(call, given.last("-g"), "/etc/group", "group") or call.login.group
    mode = given.last("-m") or "755"
    if "-d" in given:
        for name in given.rest:
            disk.mkdir(call.path(name), None, None)
            disk.owners[call.path(name)] = (user, group)
            _set_mode(call, call.path(name), mode)
        return 0
    sources = given.rest if "-t" in given else given.rest[:-1]
    target = disk.real(call.path(given.last("-t") or given.rest[-1]))
    if "-D" in given:
        disk.mkdir(posixpath.dirname(target))
    for name in sources:
        place = posixpath.join(target, posixpath.basename(name)) if disk.is_dir(target) else target
        if not disk.is_dir(posixpath.dirname(place)):
            return call.complain(f"install: cannot create regular file '{place}': No such file or directory")
        _may_write(call, posixpath.dirname(place), f"install: cannot create regular file '{place}'")
        disk.write(place, await _content(call, name), None, (user, group))
        _set_mode(call, place, mode)
    return 0


async def _content(call: Call, name: str) -> bytes:
    if name in ("/dev/stdin", "-"):
        return await call.read()
    if name == "/dev/null":
        return b""
    try:
        return call.place.disk.read(call.path(name))
    except FileNotFoundError as error:
        folder = call.place.disk.is_dir(call.path(name))
        raise Failed(
            f"{call.name}: {name}: {'Is a directory' if folder else 'No such file or directory'}"
        ) from error


async def cat(call: Call) -> int:
    """cat [-n] [FILE…]; from shared input only what is left of it."""
    given, status = options(call.args), 0
    data = bytearray()
    for name in given.rest or ["-"]:
        try:
            data += await _content(call, name)
        except Failed as failure:
            status = call.complain(failure.message)
    if "-n" in given:
        lines = bytes(data).splitlines(keepends=True)
        data = bytearray(b"".join(b"%6d\t" % number + line for number, line in enumerate(lines, 1)))
    call.out.extend(data)
    return status


async def head(call: Call) -> int:
    """head [-n LINES] [-c BYTES] [FILE…]; from shared input exactly the bytes asked for."""
    words = [f"-n{word[1:]}" if word[:1] == "-" and word[1:].isdigit() else word for word in call.args]
    given = options(words, values={"-n", "-c"}, same={"--lines": "-n", "--bytes": "-c"})
    for name in given.rest or ["-"]:
        if "-c" in given:
            count = int(given.last("-c"))
            if name == "-" and count >= 0 and isinstance(call, ShellCall):
                data = await call.some(count)
            else:
                data = await _content(call, name)
            call.out.extend(data[:count])
        else:
            lines = (await _content(call, name)).splitlines(keepends=True)
            call.out.extend(b"".join(lines[: int(given.last("-n", "10"))]))
    return 0


async def dd(call: Call) -> int:
    """dd [if=] [of=] [bs=] [count=] [iflag=fullblock,count_bytes] [status=none]."""
    given = dict(word.partition("=")[::2] for word in call.args)
    size = _bytes(given.get("bs", "512"))
    count = int(given["count"]) if "count" in given else None
    limit = count if count is None or "count_bytes" in given.get("iflag", "") else count * size
    if "if" in given:
        data = (await _content(call, given["if"]))[int(given.get("skip", "0")) * size :][:limit]
    else:
        data = await call.some(limit) if isinstance(call, ShellCall) else (await call.read())[:limit]
    if "of" in given and given["of"] != "/dev/null":
        call.place.disk.write(call.place.disk.real(call.path(given["of"])), data)
    elif "of" not in given:
        call.out.extend(data)
    if given.get("status") != "none":
        blocks = f"{len(data) // size}+{1 if len(data) % size else 0}"
        call.complain(
            f"{blocks} records in\n{blocks} records out\n{len(data)} bytes copied, 0.0001 s, 1.0 GB/s"
        )
    return 0


def _bytes(text: str) -> int:
    factors = {"k": 1024, "K": 1024, "M": 1 << 20, "G": 1 << 30, "c": 1, "b": 512}
    return int(text[:-1]) * factors[text[-1]] if text[-1:] in factors else int(text)


async def df(call: Call) -> int:
    """df [-h] [-P] [PATH…]: one root volume."""
    human = any("h" in word for word in call.args if word.startswith("-"))
    total, used = 20_134_592, 2_411_724
    call.say(
        "Filesystem      Size  Used Avail Use% Mounted on"
        if human
        else "Filesystem     1K-blocks    Used Available Use% Mounted on"
    )
    row = (
        "/dev/root        20G  2.3G   17G  12% /"
        if human
        else f"/dev/root       {total} {used}  {total - used}  12% /"
    )
    call.say(row)
    return 0


COMMANDS: Mapping[str, Command] = {
    "chown": chown,
    "chgrp": chown,
    "chmod": chmod,
    "mkdir": mkdir,
    "mktemp": mktemp,
    "mv": mv,
    "install": install,
    "cat": cat,
    "head": head,
    "dd": dd,
    "df": df,
}
