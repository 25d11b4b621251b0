"""systemctl, service and journalctl: the words and statuses of systemd's own."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.sandbox.machines import power
from engine.sandbox.machines.command import Call, Command, Options, options
from engine.sandbox.machines.services import FOLDERS, Services, full_name

if TYPE_CHECKING:
    from engine.sandbox.machines.place import Place


_SAME = {"--property": "-p", "--type": "-t", "--lines": "-n", "--quiet": "-q", "--no-legend": "--no-legend"}


async def systemctl(call: Call) -> int:
    """systemctl VERB [UNIT…], with the texts and statuses of the real one."""
    given = options(call.args, values={"-p", "-t", "-n", "--state", "-s", "--job-mode"}, same=_SAME)
    services = call.place.services
    if services is None:
        return call.complain(
            "System has not been booted with systemd as init system (PID 1). Can't "
            "operate.\nFailed to connect to bus: Host is down"
        )
    verb, names = (given.rest or ["list-units"])[0], given.rest[1:]
    action = _VERBS.get(verb)
    if action is None:
        return call.complain(f"Unknown command verb {verb}.")
    if verb in _CHANGING and not call.login.is_root:
        told = {"enable": "enable unit", "disable": "disable unit", "daemon-reload": "reload daemon"}
        what = told.get(verb) or f"{verb} {full_name(names[0]) if names else ''}"
        return call.complain(f"Failed to {what}: Interactive authentication required.")
    return await action(call, services, names, given)


async def _start(call: Call, services: Services, names: Sequence[str], given: Options) -> int:
    verb = given.rest[0]
    status = 0
    for name in names:
        full = full_name(name)
        if services.enabled(name) == "masked":
            status = call.complain(f"Failed to {verb} {full}: Unit {full} is masked.")
            continue
        if services.unit(name) is None:
            status = call.complain(f"Failed to {verb} {full}: Unit {full} not found.", 5)
            continue
        if verb in ("restart", "reload-or-restart", "try-restart"):
            if verb == "try-restart" and not services.is_active(name):
                continue
            await services.stop(name)
        if not await services.start(name):
            call.complain(f"Job for {full} failed because the control process exited with error code.")
            status = call.complain(f'See "systemctl status {full}" and "journalctl -xeu {full}" for details.')
    return status


async def _stop(call: Call, services: Services, names: Sequence[str], given: Options) -> int:
    for name in names:
        if services.unit(name) is None:
            return call.complain(f"Failed to stop {full_name(name)}: Unit {full_name(name)} not loaded.", 5)
        await services.stop(name)
    return 0


async def _enable(call: Call, services: Services, names: Sequence[str], given: Options) -> int:
    for name in names:
        unit = services.unit(name)
        _of_old(call, name, "enable")
        if services.enabled(name) == "masked":
            return call.complain(
                f"Failed to enable unit: Unit file /etc/systemd/system/{full_name(name)} is masked."
            )
        if unit is None:
            return call.complain(f"Failed to enable unit: Unit file {full_name(name)} does not exist.")
        if services.enabled(name) == "static":
            call.complain(
                "The unit files have no installation config (WantedBy=, RequiredBy=, "
                "Also=,\nAlias= settings in the [Install] section, and DefaultInstance= "
                "for template\nunits). This means they are not meant to be enabled using "
                "systemctl."
            )
        message = services.enable(name)
        if message and "-q" not in given:
            call.complain(message)
    return await _start(call, services, names, Options({}, ["start"])) if "--now" in given else 0


def _of_old(call: Call, name: str, verb: str) -> None:
    """What systemctl says of a package's unit that has a script of SysV init, too: most of Debian's have."""
    packaged = call.place.disk.is_file(f"/usr/lib/systemd/system/{full_name(name)}")
    if packaged and "-q" not in call.args and "--quiet" not in call.args:
        helper = "/lib/systemd/systemd-sysv-install"
        call.complain(f"Synchronizing state of {full_name(name)} with SysV service script with {helper}.")
        call.complain(f"Executing: {helper} {verb} {name.removesuffix('.service')}")


async def _disable(call: Call, services: Services, names: Sequence[str], given: Options) -> int:
    for name in names:
        message = services.disable(name)
        if services.unit(name) is None and not message:
            return call.complain(f"Failed to disable unit: Unit file {full_name(name)} does not exist.")
        _of_old(call, name, "disable")
        if message and "-q" not in given:
            call.complain(message)
    return await _stop(call, services, names, given) if "--now" in given else 0


async def _mask(call: Call, services: Services, names: Sequence[str], given: Options) -> int:
    for name in names:
        path = f"/etc/systemd/system/{full_name(name)}"
        if given.rest[0] == "unmask":
            if call.place.disk.type_of(path) == "symlink":
                call.place.disk.remove(path)
                call.complain(services.removed(path))
        elif call.place.disk.type_of(path) == "file":
            return call.complain(f"Failed to mask unit: File {path} already exists.")
        elif call.place.disk.type_of(path) is None:
            call.place.disk.fs.symlink("/dev/null", path)
            call.complain(f"Created symlink {path} → /dev/null.")
    return 0


async def _is_active(call: Call, services: Services, names: Sequence[str], given: Options) -> int:
    states = [str(services.state(name)["active"]) for name in names]
    if "-q" not in given:
        call.say("\n".join(states))
    if given.rest[0] == "is-failed":
        return 0 if "failed" in states else 1
    return 0 if "active" in states else 3


async def _is_enabled(call: Call, services: Services, names: Sequence[str], given: Options) -> int:
    status = 1
    for name in names:
        state = services.enabled(name)
        if not state:
            call.complain(f"Failed to get unit file state for {full_name(name)}: No such file or directory")
            continue
        if "-q" not in given:
            call.say(state)
        if state in ("enabled", "static"):
            status = 0
    return status


async def _show(call: Call, services: Services, names: Sequence[str], given: Options) -> int:
    asked = [name for word in given.every("-p") for name in word.split(",")]
    for number, name in enumerate(names):
        values = _properties(services, name)
        if number:
            call.say("")
        for key in [key for key in values if key in asked] if asked else values:
            call.say(values[key] if "--value" in given else f"{key}={values[key]}")
    return 0


def _properties(services: Services, name: str) -> dict[str, str]:
    unit, state = services.unit(name), services.state(name)
    masked = services.enabled(name) == "masked"
    return {
        "Type": unit.last("Type", "simple") if unit else "",
        "Result": str(state["result"]),
        "MainPID": str(state["pid"]),
        "ExecMainStatus": "1" if state["active"] == "failed" else "0",
        "Id": full_name(name),
        "Description": unit.last("Description", full_name(name)) if unit else full_name(name),
        "LoadState": "masked" if masked else "loaded" if unit else "not-found",
        "ActiveState": str(state["active"]),
        "SubState": str(state["sub"]),
        "FragmentPath": unit.path if unit else "",
        "UnitFileState": services.enabled(name),
        "NeedDaemonReload": "no",
        "ActiveEnterTimestampMonotonic": str(int(float(state["since"]) * 1000)),
    }


async def _status(call: Call, services: Services, names: Sequence[str], given: Options) -> int:
    status = 0
    for name in names:
        unit, state = services.unit(name), services.state(name)
        if unit is None:
            status = call.complain(f"Unit {full_name(name)} could not be found.", 4)
            continue
        mark = {"active": "●", "failed": "×"}.get(str(state["active"]), "○")
        call.say(f"{mark} {unit.name} - {unit.last('Description', unit.name)}")
        call.say(f"     Loaded: loaded ({unit.path}; {services.enabled(name)}; vendor preset: enabled)")
        call.say(f"     Active: {state['active']} ({state['sub']})")
        if state["active"] != "active":
            status = 3
        for line in _journal(call.place, name)[-10:]:
            call.say(line)
    return status


async def _power(call: Call, services: Services, names: Sequence[str], given: Options) -> int:
    return power.ask(call, "reboot" if given.rest[0] == "reboot" else "poweroff")


async def _nothing(call: Call, services: Services, names: Sequence[str], given: Options) -> int:
    return 0


async def _cat(call: Call, services: Services, names: Sequence[str], given: Options) -> int:
    for name in names:
        unit = services.unit(name)
        if unit is None:
            return call.complain(f"No files found for {full_name(name)}.")
        call.say(f"# {unit.path}\n{unit.text}", end="")
    return 0


async def _list(call: Call, services: Services, names: Sequence[str], given: Options) -> int:
    for folder in reversed(FOLDERS):
        for name in call.place.disk.entries(folder):
            unit = services.unit(name) if name.endswith(".service") else None
            if unit is not None:
                state = services.state(name)
                text = (
                    services.enabled(name)
                    if given.rest[:1] == ["list-unit-files"]
                    else f"loaded {state['active']} {state['sub']} {unit.last('Description')}"
                )
                call.say(f"{name} {text}")
    return 0


async def _running(call: Call, services: Services, names: Sequence[str], given: Options) -> int:
    call.say("running")
    return 0


_CHANGING = frozenset(
    {
        "start",
        "stop",
        "restart",
        "reload",
        "reload-or-restart",
        "try-restart",
        "enable",
        "disable",
        "mask",
        "unmask",
        "daemon-reload",
        "reset-failed",
        "kill",
    }
)


_VERBS = {
    "start": _start,
    "restart": _start,
    "reload": _start,
    "reload-or-restart": _start,
    "try-restart": _start,
    "stop": _stop,
    "kill": _stop,
    "enable": _enable,
    "disable": _disable,
    "mask": _mask,
    "unmask": _mask,
    "is-active": _is_active,
    "is-failed": _is_active,
    "is-enabled": _is_enabled,
    "show": _show,
    "status": _status,
    "daemon-reload": _nothing,
    "reset-failed": _nothing,
    "daemon-reexec": _nothing,
    "cat": _cat,
    "list-units": _list,
    "list-unit-files": _list,
    "is-system-running": _running,
    "reboot": _power,
    "poweroff": _power,
    "halt": _power,
}


async def service(call: Call) -> int:
    """service NAME VERB: systemctl's words turned round."""
    if len(call.args) < 2:
        return call.complain(
            "Usage: service < option > | --status-all | [ service_name [ command | --full-restart ] ]"
        )
    call.args = [call.args[1], call.args[0]]
    return await systemctl(call)


def _journal(place: Place, name: str, *, bare: bool = False) -> list[str]:
    rows: list[list[Any]] = place.state.get("journal", [])
    return [
        text
        if bare
        else f"{time.strftime('%b %d %H:%M:%S', time.gmtime(when))} {place.hostname} "
        f"{'systemd[1]' if text.startswith(('Start', 'Finish', 'Stop')) else unit}: {text}"
        for when, unit, text in rows
        if not name or unit == name.removesuffix(".service")
    ]


async def journalctl(call: Call) -> int:
    """journalctl [-u UNIT] [-n LINES] [-o cat]."""
    same = {"--unit": "-u", "--lines": "-n", "--output": "-o"}
    given = options(call.args, values={"-u", "-n", "-o", "--since"}, same=same)
    bare = given.last("-o") == "cat"
    lines = _journal(call.place, given.last("-u"), bare=bare)
    if "-n" in given and given.last("-n").isdigit():
        lines = lines[-int(given.last("-n")) :]
    if lines or not bare:
        call.say("\n".join(lines) if lines else "-- No entries --")
    return 0


COMMANDS: Mapping[str, Command] = {"systemctl": systemctl, "service": service, "journalctl": journalctl}
