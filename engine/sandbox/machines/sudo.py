"""Commands run as somebody else: sudo, su, runuser."""

from __future__ import annotations

from collections.abc import Mapping

from engine.sandbox.machines.command import Call, Command, Failed, Login, Options, options
from engine.sandbox.machines.place import Place
from engine.sandbox.machines.shell import run_words
from engine.sandbox.machines.users import lookup


def _may_sudo(call: Call) -> bool:
    if call.login.is_root:
        return True
    rules = [call.place.disk.text("/etc/sudoers")]
    rules += [
        call.place.disk.text(f"/etc/sudoers.d/{name}") for name in call.place.disk.entries("/etc/sudoers.d")
    ]
    for line in "\n".join(rules).splitlines():
        who = line.split()[:1]
        if (
            "NOPASSWD" in line
            and who
            and who[0] in (call.login.user, *(f"%{group}" for group in call.login.groups))
        ):
            return True
    return False


async def sudo(call: Call) -> int:
    """sudo [-nEHiSsbk] [-u USER] [-g GROUP] [NAME=VALUE…] COMMAND…, for whom sudoers allows it."""
    same = {
        "--user": "-u",
        "--login": "-i",
        "--shell": "-s",
        "--non-interactive": "-n",
        "--preserve-env": "-E",
    }
    given = options(call.args, values={"-u", "-g", "-p", "-h", "-C"}, same=same, stop=True)
    if not _may_sudo(call):
        if "-n" in given:
            return call.complain("sudo: a password is required")
        return call.complain(
            "sudo: a terminal is required to read the password; either use the -S option "
            "to read from standard input "
            "or configure an askpass helper\nsudo: a password is required"
        )
    if "-v" in given or ("-k" in given and not given.rest):
        return 0
    if "-l" in given:
        call.say(f"User {call.login.user} may run the following commands:\n    (ALL) NOPASSWD: ALL")
        return 0
    try:
        login = lookup(call, given.last("-u", "root").removeprefix("#"))
    except Failed:
        return call.complain(
            f"sudo: unknown user {given.last('-u')}\nsudo: error initializing audit plugin sudoers_audit"
        )
    env, words = _sudo_env(call, login, given), list(given.rest)
    while words and "=" in words[0] and words[0].split("=")[0].isidentifier():
        name, _, value = words.pop(0).partition("=")
        env[name] = value
    if "-i" in given or "-s" in given:
        words = ["bash", "-c", " ".join(words)] if words else ["bash", "-s"]
    if not words:
        return call.complain(
            "usage: sudo -h | -K | -k | -V\nusage: sudo [-ABbEHkNnPS] [-u user] [command [arg ...]]"
        )
    known = words[0] in call.place.commands or _in_path(call.place, words[0])
    if not known:
        return call.complain(f"sudo: {words[0]}: command not found")
    return await run_words(call, words, login, env, login.home if "-i" in given else call.cwd)


def _in_path(place: Place, name: str) -> bool:
    if "/" in name:
        return True
    folders = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin")
    return any(place.disk.exists(f"{folder}/{name}") for folder in folders)


def _sudo_env(call: Call, login: Login, given: Options) -> dict[str, str]:
    env = dict(call.env) if "-E" in given else {}
    env.pop("SSH_AUTH_SOCK", None)
    for name in ("HOME", "USER", "LOGNAME", "UID", "EUID", "SHELL", "PWD"):
        env.pop(name, None)
    env |= {"SUDO_USER": call.login.user, "SUDO_UID": str(call.login.uid), "SUDO_GID": str(call.login.gid)}
    if "TERM" in call.env:
        env["TERM"] = call.env["TERM"]
    return env


async def su(call: Call) -> int:
    """su [-] [USER] [-c COMMAND], for root."""
    given = options(
        call.args, values={"-c", "-s"}, same={"--command": "-c", "-l": "--login", "--shell": "-s"}
    )
    words = [word for word in given.rest if word != "-"]
    if not call.login.is_root:
        return call.complain("Password: su: Authentication failure")
    try:
        login = lookup(call, words[0] if words else "root")
    except Failed:
        return call.complain(
            f"su: user {words[0]} does not exist or the user entry does not contain all the required fields"
        )
    command = ["bash", "-c", given.last("-c")] if "-c" in given else ["bash", "-s"]
    return await run_words(
        call, command, login, {}, login.home if "-" in given.rest or "--login" in given else call.cwd
    )


async def runuser(call: Call) -> int:
    """runuser -u USER [--] COMMAND…, or as su."""
    given = options(call.args, values={"-u", "-g", "-c", "-s"}, same={"--user": "-u"}, stop=True)
    if not call.login.is_root:
        return call.complain("runuser: may not be used by non-root users")
    if "-u" not in given:
        return await su(call)
    try:
        login = lookup(call, given.last("-u"))
    except Failed:
        return call.complain(f"runuser: user {given.last('-u')} does not exist")
    # Without -l the environment stays, but for whose it is.
    kept = {
        name: value
        for name, value in call.env.items()
        if name not in ("HOME", "USER", "LOGNAME", "UID", "EUID", "SHELL")
    }
    return await run_words(call, given.rest or ["bash", "-s"], login, kept, call.cwd)


COMMANDS: Mapping[str, Command] = {"sudo": sudo, "su": su, "runuser": runuser}
