"""Accounts: useradd and its like, id, getent, passwd; /etc/passwd and /etc/group are the truth."""

from __future__ import annotations

from collections.abc import Mapping

from engine.sandbox.machines.command import Call, Command, Failed, Login, Options, options
from engine.sandbox.machines.place import Place

_DATABASES = {"passwd": "/etc/passwd", "group": "/etc/group", "shadow": "/etc/shadow", "hosts": "/etc/hosts"}


def table(place: Place, path: str) -> dict[str, list[str]]:
    """A table such as /etc/passwd: its rows by name, in order."""
    return {line.split(":")[0]: line.split(":") for line in place.lines(path)}


def write_table(place: Place, path: str, rows: Mapping[str, list[str]]) -> None:
    """Write what `table` read."""
    mode = 0o640 if path.endswith("shadow") else 0o644
    place.disk.write(path, "".join(":".join(row) + "\n" for row in rows.values()), mode)


def add_group(place: Place, name: str, *, system: bool = False, gid: str = "") -> str:
    """Make a group that is not there; its number."""
    rows = table(place, "/etc/group")
    if name not in rows:
        rows[name] = [name, "x", gid or _free(rows, system), ""]
        write_table(place, "/etc/group", rows)
    return rows[name][2]


def add_user(place: Place, name: str, given: Options | None = None) -> None:
    """Make an account as useradd does."""
    given = given or Options({}, [])
    rows, shadow = table(place, "/etc/passwd"), table(place, "/etc/shadow")
    system = "--system" in given
    uid = given.last("--uid") or _free(rows, system)
    group = given.last("--gid")
    gid = _gid(place, group) if group else add_group(place, name, system=system, gid=_same(place, uid))
    home = given.last("--home-dir") or f"/home/{name}"
    shell = given.last("--shell") or "/bin/sh"
    rows[name] = [name, "x", uid, gid, given.last("--comment"), home, shell]
    shadow[name] = [name, given.last("--password") or "!", "20400", "0", "99999", "7", "", "", ""]
    write_table(place, "/etc/passwd", rows)
    write_table(place, "/etc/shadow", shadow)
    if "--groups" in given:
        join_groups(place, name, given.last("--groups").split(","), keep=True)
    if "--create-home" in given and not place.disk.exists(home):
        owner = (name, place.login(name).group)
        # HOME_MODE of /etc/login.defs, which Debian leaves out.
        place.disk.mkdir(home, 0o755 if place.system.id == "debian" else 0o750, owner)
        for file in (".bash_logout", ".bashrc", ".profile"):
            place.disk.write(f"{home}/{file}", f"# ~/{file}\n", 0o644, owner)


def join_groups(place: Place, user: str, groups: list[str], *, keep: bool) -> None:
    """Make `user` a member of `groups`; of no others unless `keep`. Raises Failed for an unknown group."""
    rows = table(place, "/etc/group")
    for group in groups:
        if group and group not in rows:
            raise Failed(f"usermod: group '{group}' does not exist", 6)
    for name, row in rows.items():
        members = [member for member in row[3].split(",") if member]
        if name in groups and user not in members:
            members.append(user)
        elif name not in groups and not keep and user in members:
            members.remove(user)
        row[3] = ",".join(members)
    write_table(place, "/etc/group", rows)


def _same(place: Place, uid: str) -> str:
    taken = {row[2] for row in table(place, "/etc/group").values()}
    return "" if uid in taken else uid


def _free(rows: Mapping[str, list[str]], system: bool) -> str:
    taken = {int(row[2]) for row in rows.values()}
    numbers = range(999, 100, -1) if system else range(1000, 60000)
    return str(next(number for number in numbers if number not in taken))


def _gid(place: Place, group: str) -> str:
    for row in table(place, "/etc/group").values():
        if group in (row[0], row[2]):
            return row[2]
    raise Failed(f"useradd: group '{group}' does not exist", 6)


def _need_root(call: Call) -> None:
    if not call.login.is_root:
        raise Failed(
            f"{call.name}: Permission denied.\n{call.name}: cannot lock /etc/passwd; try again later.", 1
        )


_USER_OPTIONS = {
    "-c": "--comment",
    "-d": "--home-dir",
    "--home": "--home-dir",
    "-e": "--expiredate",
    "-g": "--gid",
    "-G": "--groups",
    "-m": "--create-home",
    "-M": "--no-create-home",
    "-N": "--no-user-group",
    "-o": "--non-unique",
    "-p": "--password",
    "-r": "--system",
    "-s": "--shell",
    "-u": "--uid",
    "-U": "--user-group",
    "-k": "--skel",
    "-b": "--base-dir",
    "-a": "--append",
    "-l": "--login",
    "-L": "--lock",
    "--move-home": "--create-home",
    "-f": "--inactive",
}
_USER_VALUES = {
    "--comment",
    "--home-dir",
    "--expiredate",
    "--gid",
    "--groups",
    "--password",
    "--shell",
    "--uid",
    "--skel",
    "--base-dir",
    "--login",
    "--inactive",
}


async def useradd(call: Call) -> int:
    """useradd [-r] [-m] [-d HOME] [-s SHELL] [-u UID] [-g GROUP] [-G GROUPS] [-p HASH] NAME."""
    _need_root(call)
    given = options(call.args, values=_USER_VALUES, same=_USER_OPTIONS)
    if len(given.rest) != 1:
        return call.complain("Usage: useradd [options] LOGIN", 2)
    name, rows = given.rest[0], table(call.place, "/etc/passwd")
    if name in rows:
        return call.complain(f"useradd: user '{name}' already exists", 9)
    if "--non-unique" not in given and given.last("--uid") in {row[2] for row in rows.values()}:
        return call.complain(f"useradd: UID {given.last('--uid')} is not unique", 4)
    if "--gid" not in given and "--no-user-group" not in given and name in table(call.place, "/etc/group"):
        return call.complain(
            f"useradd: group {name} exists - if you want to add this user to that group, use -g.", 9
        )
    for group in filter(None, given.last("--groups").split(",")):
        if group not in table(call.place, "/etc/group"):
            return call.complain(f"useradd: group '{group}' does not exist", 6)
    add_user(call.place, name, given)
    return 0


async def adduser(call: Call) -> int:
    """Debian's adduser: makes the home too; `adduser USER GROUP` joins."""
    _need_root(call)
    given = options(call.args, values={"--uid", "--gid", "--home", "--shell", "--gecos", "--ingroup"})
    if len(given.rest) == 2:
        join_groups(call.place, given.rest[0], [given.rest[1]], keep=True)
        call.say(f"Adding user `{given.rest[0]}' to group `{given.rest[1]}' ...\nDone.")
        return 0
    name = given.rest[0] if given.rest else ""
    if name in table(call.place, "/etc/passwd"):
        return call.complain(f"adduser: The user `{name}' already exists.", 1)
    shell = [] if given.on("--system") else ["/bin/bash"]
    made: dict[str, list[str]] = {"--create-home": ["true"], "--shell": given.every("--shell") or shell}
    if given.on("--system"):
        made["--system"] = ["true"]
    add_user(call.place, name, Options({key: value for key, value in made.items() if value}, []))
    call.say(f"Adding user `{name}' ...")
    return 0


async def usermod(call: Call) -> int:
    """usermod [-aG GROUPS] [-d HOME [-m]] [-s SHELL] [-u UID] [-g GROUP] [-p HASH] [-c TEXT] [-L|-U] NAME."""
    _need_root(call)
    same = {**_USER_OPTIONS, "-U": "--unlock"}
    given = options(call.args, values=_USER_VALUES, same=same)
    if len(given.rest) != 1:
        return call.complain("Usage: usermod [options] LOGIN", 2)
    name, rows = given.rest[0], table(call.place, "/etc/passwd")
    if name not in rows:
        return call.complain(f"usermod: user '{name}' does not exist", 6)
    if "--groups" in given:
        join_groups(call.place, name, given.last("--groups").split(","), keep="--append" in given)
    row = rows[name]
    if "--create-home" in given and "--home-dir" in given and call.place.disk.exists(row[5]):
        call.place.disk.move(row[5], given.last("--home-dir"))
    for column, option in ((2, "--uid"), (4, "--comment"), (5, "--home-dir"), (6, "--shell")):
        if option in given:
            row[column] = given.last(option)
    if "--gid" in given:
        row[3] = _gid(call.place, given.last("--gid"))
    write_table(call.place, "/etc/passwd", rows)
    if given.given.keys() & {"--password", "--lock", "--unlock"}:
        _set_password(call.place, name, given)
    return 0


def _set_password(place: Place, name: str, given: Options) -> None:
    shadow = table(place, "/etc/shadow")
    old = shadow.get(name, [name, "!", "20400", "0", "99999", "7", "", "", ""])
    if "--password" in given:
        old[1] = given.last("--password")
    if "--lock" in given and not old[1].startswith("!"):
        old[1] = "!" + old[1]
    if "--unlock" in given:
        old[1] = old[1].removeprefix("!")
    shadow[name] = old
    write_table(place, "/etc/shadow", shadow)


async def userdel(call: Call) -> int:
    """userdel [-r] NAME; its own group goes too."""
    _need_root(call)
    given = options(call.args, same={"-r": "--remove", "-f": "--force"})
    name, place = (given.rest or [""])[0], call.place
    rows = table(place, "/etc/passwd")
    if name not in rows:
        return call.complain(f"userdel: user '{name}' does not exist", 6)
    row = rows.pop(name)
    write_table(place, "/etc/passwd", rows)
    shadow = table(place, "/etc/shadow")
    shadow.pop(name, None)
    write_table(place, "/etc/shadow", shadow)
    join_groups(place, name, [], keep=False)
    groups = table(place, "/etc/group")
    if name in groups and not groups[name][3] and row[3] not in {other[3] for other in rows.values()}:
        del groups[name]
        write_table(place, "/etc/group", groups)
    if "--remove" in given:
        if not place.disk.exists(row[5]):
            call.complain(f"userdel: {name} home directory ({row[5]}) not found")
        place.disk.remove(row[5])
        call.complain(f"userdel: {name} mail spool (/var/mail/{name}) not found")
    return 0


async def deluser(call: Call) -> int:
    """Debian's deluser: `deluser USER GROUP` only leaves the group."""
    given = options(call.args)
    if len(given.rest) == 2:
        return _leave(call, *given.rest)
    call.args = ["--remove", *given.rest] if "--remove-home" in given else given.rest
    return await userdel(call)


def _leave(call: Call, user: str, group: str) -> int:
    _need_root(call)
    rows = table(call.place, "/etc/group")
    if group not in rows:
        return call.complain(f"deluser: The group `{group}' does not exist.", 3)
    if user not in rows[group][3].split(","):
        return call.complain(f"deluser: The user `{user}' is not a member of group `{group}'.", 6)
    call.say(f"Removing user `{user}' from group `{group}' ...")
    rows[group][3] = ",".join(member for member in rows[group][3].split(",") if member != user)
    write_table(call.place, "/etc/group", rows)
    call.say("Done.")
    return 0


async def groupadd(call: Call) -> int:
    """groupadd [-f] [-r] [-g GID] NAME."""
    _need_root(call)
    given = options(
        call.args,
        values={"--gid"},
        same={"-g": "--gid", "-r": "--system", "-f": "--force", "-o": "--non-unique"},
    )
    name, rows = (given.rest or [""])[0], table(call.place, "/etc/group")
    if name in rows:
        return 0 if "--force" in given else call.complain(f"groupadd: group '{name}' already exists", 9)
    if given.last("--gid") in {row[2] for row in rows.values()}:
        return call.complain(f"groupadd: GID '{given.last('--gid')}' already exists", 4)
    add_group(call.place, name, system="--system" in given, gid=given.last("--gid"))
    return 0


async def groupdel(call: Call) -> int:
    """groupdel NAME."""
    _need_root(call)
    name, rows = (call.args or [""])[-1], table(call.place, "/etc/group")
    if name not in rows:
        return call.complain(f"groupdel: group '{name}' does not exist", 6)
    for user in table(call.place, "/etc/passwd").values():
        if user[3] == rows[name][2]:
            return call.complain(f"groupdel: cannot remove the primary group of user '{user[0]}'", 8)
    del rows[name]
    write_table(call.place, "/etc/group", rows)
    return 0


async def gpasswd(call: Call) -> int:
    """gpasswd -a USER GROUP, gpasswd -d USER GROUP."""
    _need_root(call)
    given = options(call.args, values={"-a", "-d"}, same={"--add": "-a", "--delete": "-d"})
    rows = table(call.place, "/etc/group")
    group = (given.rest or [""])[0]
    if group not in rows:
        return call.complain(f"gpasswd: group '{group}' does not exist in /etc/group", 3)
    members = [member for member in rows[group][3].split(",") if member]
    if "-a" in given:
        call.say(f"Adding user {given.last('-a')} to group {group}")
        members = [*members, given.last("-a")] if given.last("-a") not in members else members
    else:
        user = given.last("-d")
        call.say(f"Removing user {user} from group {group}")
        if user not in members:
            return call.complain(f"gpasswd: user '{user}' is not a member of '{group}'", 3)
        members.remove(user)
    rows[group][3] = ",".join(members)
    write_table(call.place, "/etc/group", rows)
    return 0


async def getent(call: Call) -> int:
    """getent DATABASE [KEY…]; 2 where a key is not there."""
    given = options(call.args)
    if not given.rest or given.rest[0] not in _DATABASES:
        return call.complain(f"Unknown database: {(given.rest or [''])[0]}", 1)
    rows = call.place.lines(_DATABASES[given.rest[0]])
    if given.rest[0] == "hosts":
        return _getent_hosts(call, given.rest[1:])
    if not given.rest[1:]:
        call.say("\n".join(rows))
        return 0
    status = 0
    for key in given.rest[1:]:
        found = [row for row in rows if key in (row.split(":")[0], row.split(":")[2])]
        if found:
            call.say(found[0])
        else:
            status = 2
    return status


def _getent_hosts(call: Call, keys: list[str]) -> int:
    rows = call.place.lines("/etc/hosts")
    for key in keys:
        found = [row for row in rows if key in row.split()]
        if not found:
            return 2
        call.say(found[0])
    return 0


def lookup(call: Call, name: str) -> Login:
    """The account of that name or number. Raises Failed where there is none."""
    for row in table(call.place, "/etc/passwd").values():
        if name in (row[0], row[2]):
            return call.place.login(row[0])
    raise Failed(f"{call.name}: '{name}': no such user", 1)


async def id_(call: Call) -> int:
    """id [-u|-g|-G] [-n] [USER]."""
    given = options(call.args, same={"--user": "-u", "--group": "-g", "--groups": "-G", "--name": "-n"})
    login = lookup(call, given.rest[0]) if given.rest else call.login
    rows = table(call.place, "/etc/group")
    numbers = [rows[name][2] if name in rows else str(login.gid) for name in login.groups]
    if "-u" in given:
        call.say(login.user if "-n" in given else str(login.uid))
    elif "-g" in given:
        call.say(login.group if "-n" in given else str(login.gid))
    elif "-G" in given:
        call.say(" ".join(login.groups if "-n" in given else numbers))
    else:
        pairs = ",".join(f"{number}({name})" for number, name in zip(numbers, login.groups, strict=True))
        call.say(f"uid={login.uid}({login.user}) gid={login.gid}({login.group}) groups={pairs}")
    return 0


async def groups(call: Call) -> int:
    """groups [USER]."""
    if call.args:
        call.say(f"{call.args[0]} : {' '.join(lookup(call, call.args[0]).groups)}")
    else:
        call.say(" ".join(call.login.groups))
    return 0


async def whoami(call: Call) -> int:
    """The user's name."""
    call.say(call.login.user)
    return 0


async def passwd(call: Call) -> int:
    """passwd -l|-u USER: locks the password, unlocks it."""
    given = options(call.args)
    name = (given.rest or [call.login.user])[0]
    if name not in table(call.place, "/etc/passwd"):
        return call.complain(f"passwd: user '{name}' does not exist", 1)
    word = {"-l": "--lock", "-u": "--unlock"}
    if given.given.keys() & word.keys():
        _set_password(
            call.place, name, Options({word[key]: ["true"] for key in given.given if key in word}, [])
        )
        call.say("passwd: password changed.")
        return 0
    return call.complain("passwd: Authentication token manipulation error\npasswd: password unchanged", 10)


async def chpasswd(call: Call) -> int:
    """Lines of NAME:PASSWORD on standard input; with -e they are hashes."""
    _need_root(call)
    for line in (await call.read()).decode().splitlines():
        name, _, password = line.partition(":")
        if name not in table(call.place, "/etc/shadow"):
            return call.complain(f"chpasswd: line 1: user '{name}' does not exist")
        kept = password if "-e" in call.args or "--encrypted" in call.args else "$y$j9T$sandbox$hash"
        _set_password(call.place, name, Options({"--password": [kept]}, []))
    return 0


COMMANDS: Mapping[str, Command] = {
    "useradd": useradd,
    "adduser": adduser,
    "usermod": usermod,
    "userdel": userdel,
    "deluser": deluser,
    "groupadd": groupadd,
    "addgroup": groupadd,
    "groupdel": groupdel,
    "delgroup": groupdel,
    "gpasswd": gpasswd,
    "getent": getent,
    "id": id_,
    "groups": groups,
    "whoami": whoami,
    "logname": whoami,
    "passwd": passwd,
    "chpasswd": chpasswd,
}
