"""dnf, yum and rpm of Amazon Linux: a little of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.sandbox.machines.catalogue import MAIN, Package
from engine.sandbox.machines.command import Call, Command, options
from engine.sandbox.machines.packages import installed, settle_units, take_away, unpack


async def dnf(call: Call) -> int:
    """dnf and yum: install, remove, list installed, check-update, for Amazon Linux."""
    given = options(call.args)
    if call.place.system.id != "amzn":
        return call.complain(f"bash: {call.name}: command not found", 127)
    verb, names = (given.rest or [""])[0], given.rest[1:]
    have, known = installed(call.place), {**MAIN, "docker": MAIN["docker.io"]}
    if verb in ("install", "remove") and not call.login.is_root:
        return call.complain(
            "Error: This command has to be run with superuser privileges (under the root "
            "user on most systems)."
        )
    if verb == "install" and set(names) - have.keys():
        return _install(call, names, known)
    for name in names if verb == "remove" else ():
        if name in have:
            take_away(call.place, name, known[name], purge=True)
    await settle_units(call.place)
    if verb == "list":
        call.say("\n".join(f"{name}.x86_64 {version} @System" for name, version in sorted(have.items())))
    if verb in ("install", "remove"):
        call.say("Complete!")
    return 0


def _install(call: Call, names: Sequence[str], known: Mapping[str, Package]) -> int:
    if not call.place.network.internet():
        return call.complain(
            "Errors during downloading metadata for repository 'amazonlinux':\n  - Curl "
            "error (28): Timeout was reached\nError: Failed to download metadata for "
            "repo 'amazonlinux'"
        )
    for name in names:
        if name not in known:
            return call.complain(f"No match for argument: {name}\nError: Unable to find a match: {name}")
    for name in names:
        unpack(call.place, name, known[name])
    call.say("Complete!")
    return 0


async def rpm(call: Call) -> int:
    """rpm -q NAME…."""
    status = 0
    for name in options(call.args).rest:
        if name in installed(call.place):
            call.say(f"{name}-{installed(call.place)[name]}.x86_64")
        else:
            call.say(f"package {name} is not installed")
            status = 1
    return status


COMMANDS: Mapping[str, Command] = {"dnf": dnf, "yum": dnf, "rpm": rpm}
