"""The system as a whole: its name, release, time, processes, shutdown."""

from __future__ import annotations

from collections.abc import Mapping

from engine.sandbox.machines.command import Call, Command, options
from engine.sandbox.machines.shell import run_words


async def hostname(call: Call) -> int:
    """hostname [-f] [-s] [-I] [NAME]."""
    given, place = options(call.args), call.place
    if "-I" in given or "-i" in given:
        call.say(" ".join(address for address in place.addresses if address != "127.0.0.1") + " ")
    elif given.rest:
        if not call.login.is_root:
            return call.complain("hostname: you must be root to change the host name")
        place.hostname = place.state["hostname"] = given.rest[0]
    else:
        call.say(place.hostname.partition(".")[0] if "-s" in given else place.hostname)
    return 0


async def hostnamectl(call: Call) -> int:
    """hostnamectl [set-hostname NAME]."""
    if call.args[:1] in (["set-hostname"], ["hostname"]) and len(call.args) > 1:
        if not call.login.is_root:
            return call.complain("Could not set static hostname: Interactive authentication required.")
        call.place.hostname = call.place.state["hostname"] = call.args[1]
        call.place.disk.write("/etc/hostname", f"{call.args[1]}\n", 0o644)
        return 0
    system = call.place.system
    call.say(
        f" Static hostname: {call.place.hostname}\nOperating System: {system.pretty}\n    "
        f"      Kernel: Linux {system.kernel}"
    )
    return 0


async def uname(call: Call) -> int:
    """uname [-a] [-s] [-n] [-r] [-m]."""
    place, letters = call.place, "".join(word.lstrip("-") for word in call.args) or "s"
    parts = {
        "s": "Linux",
        "n": place.hostname,
        "r": place.system.kernel,
        "v": "#41-Ubuntu SMP",
        "m": "x86_64",
        "o": "GNU/Linux",
        "p": "x86_64",
        "i": "x86_64",
    }
    call.say(
        " ".join(
            parts[letter]
            for letter in ("snrvmo" if "a" in letters else "snrvmopi")
            if letter in letters or "a" in letters
        )
    )
    return 0


async def lsb_release(call: Call) -> int:
    """lsb_release [-c] [-i] [-r] [-d] [-a] [-s]."""
    given, system = (
        options(
            call.args,
            same={
                "--short": "-s",
                "--codename": "-c",
                "--id": "-i",
                "--release": "-r",
                "--all": "-a",
                "--description": "-d",
            },
        ),
        call.place.system,
    )
    rows = {
        "-i": ("Distributor ID", system.id.capitalize()),
        "-d": ("Description", system.pretty),
        "-r": ("Release", system.version),
        "-c": ("Codename", system.codename),
    }
    for option, (label, value) in rows.items():
        if option in given or "-a" in given:
            call.say(value if "-s" in given else f"{label}:\t{value}")
    return 0


async def nothing(call: Call) -> int:
    """A command whose effect cannot be seen here."""
    return 0


async def setsid(call: Call) -> int:
    """setsid, stdbuf, ionice, chronic COMMAND…: the command alone."""
    given = options(
        call.args, values={"-n", "-c"} if call.name == "ionice" else {"-o", "-e", "-i"}, stop=True
    )
    return await run_words(call, given.rest, call.login, call.env, call.cwd)


async def uptime(call: Call) -> int:
    """uptime."""
    call.say(" 12:00:00 up 1 min,  1 user,  load average: 0.08, 0.03, 0.01")
    return 0


async def env(call: Call) -> int:
    """env [-i] [-u NAME] [NAME=VALUE…] [COMMAND…]."""
    given = options(
        call.args, values={"-u", "-C"}, same={"--ignore-environment": "-i", "--unset": "-u"}, stop=True
    )
    values = (
        {}
        if "-i" in given
        else {name: value for name, value in call.env.items() if name not in given.every("-u")}
    )
    words = list(given.rest)
    while words and "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        values[name] = value
    if words:
        return await run_words(call, words, call.login, values, given.last("-C") or call.cwd)
    call.say("\n".join(f"{name}={value}" for name, value in values.items()))
    return 0


COMMANDS: Mapping[str, Command] = {
    "hostname": hostname,
    "hostnamectl": hostnamectl,
    "uname": uname,
    "lsb_release": lsb_release,
    "uptime": uptime,
    "env": env,
    "setsid": setsid,
    "stdbuf": setsid,
    "ionice": setsid,
    "timedatectl": nothing,
    "ufw": nothing,
    "udevadm": nothing,
    "ldconfig": nothing,
    "locale-gen": nothing,
    "update-ca-certificates": nothing,
    "sync": nothing,
    "needrestart": nothing,
}
