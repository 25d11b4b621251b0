"""systemd: units from packages and from /etc/systemd/system; journalctl and cloud-init beside it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from engine.sandbox.machines import power
from engine.sandbox.machines.command import Call, Command, Options, options
from engine.sandbox.machines.programs import Programs
from engine.sandbox.machines.shell import Run, execute

if TYPE_CHECKING:
    from engine.sandbox.machines.place import Place

_FOLDERS = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_WANTS = "/etc/systemd/system/multi-user.target.wants"
_STATIC = ("network-online", "network", "systemd-journald", "cloud-init", "rsyslog")


@dataclass(frozen=True)
class Unit:
    """What a unit file says, as far as it matters here."""

    name: str
    path: str
    text: str
    options: Mapping[str, list[str]] = field(default_factory=dict)

    def last(self, name: str, default: str = "") -> str:
        """The last value of an option."""
        return self.options.get(name, [default])[-1]

    @property
    def workdir(self) -> str:
        """Where its programs run; a dash before it says that it may be missing."""
        return self.last("WorkingDirectory", "/").lstrip("-")


def parse_unit(name: str, path: str, text: str) -> Unit:
    """A unit file's options; lines that go on with a backslash are joined, an empty value clears a list."""
    found: dict[str, list[str]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.lstrip().startswith(("#", ";")):
            if value.strip():
                found.setdefault(key.strip(), []).append(value.strip())
            else:
                found.pop(key.strip(), None)
    return Unit(name, path, text, found)


class Services:
    """The units of a machine and how they are; what is wanted at boot is in links, as systemd keeps it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.programs = Programs(place)

    def _states(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.place.state.setdefault("services", {})
        return found

    def unit(self, name: str) -> Unit | None:
        """The unit called `name` (with or without `.service`), None where there is no file of it."""
        full = name if "." in name.rsplit("/", 1)[-1] else f"{name}.service"
        for folder in _FOLDERS:
            path = f"{folder}/{full}"
            if self.place.disk.is_file(path):
                return parse_unit(full, path, self.place.disk.text(path))
        if full.removesuffix(".service").removesuffix(".target") in _STATIC:
            return Unit(
                full, f"/usr/lib/systemd/system/{full}", "", {"Type": ["oneshot"], "RemainAfterExit": ["yes"]}
            )
        return None

    def state(self, name: str) -> dict[str, Any]:
        """How the unit is now: `active`, `sub`, `result`, `pid`, `since`."""
        short = name.removesuffix(".service")
        if short in _STATIC:
            return {"active": "active", "sub": "running", "result": "success", "pid": 612, "since": 0}
        unit = self.unit(short) if short in self._states() else None
        if unit is not None and not self.programs.look(unit, self.log):
            self._set(short, False, unit.last("Type", "simple"), stays=False)
        return self._states().get(
            short, {"active": "inactive", "sub": "dead", "result": "success", "pid": 0, "since": 0}
        )

    def is_active(self, name: str) -> bool:
        """Whether it runs, or stays on after it has run."""
        return bool(self.state(name)["active"] == "active")

    def link(self, unit: Unit) -> str:
        """Where the link is that has the unit started at boot."""
        return f"{_WANTS}/{unit.name}"

    def enabled(self, name: str) -> str:
        """`enabled`, `disabled`, `static`, `masked`, or nothing where the unit is not there."""
        unit = self.unit(name)
        full = name if "." in name else f"{name}.service"
        if self.place.disk.type_of(f"/etc/systemd/system/{full}") == "symlink":
            return "masked"
        if unit is None:
            return ""
        if self.place.disk.type_of(self.link(unit)) == "symlink":
            return "enabled"
        return "disabled" if "WantedBy" in unit.options else "static"

    def enable(self, name: str) -> str:
        """Have it started at boot; what systemctl says to it."""
        unit = self.unit(name)
        if unit is None or self.enabled(name) in ("enabled", "static"):
            return ""
        self.place.disk.mkdir(_WANTS)
        self.place.disk.fs.symlink(unit.path, self.link(unit))
        return f"Created symlink {self.link(unit)} → {unit.path}."

    def disable(self, name: str) -> str:
        """Not at boot any more."""
        full = name if "." in name else f"{name}.service"
        if self.place.disk.type_of(f"{_WANTS}/{full}") != "symlink":
            return ""
        self.place.disk.remove(f"{_WANTS}/{full}")
        return self.removed(f"{_WANTS}/{full}")

    def removed(self, path: str) -> str:
        """What systemctl says of a link that it has removed; since systemd 250 in quotes."""
        return f"Removed {path}." if self.place.system.version == "22.04" else f'Removed "{path}".'

    def log(self, name: str, text: str) -> None:
        """A line in the unit's journal."""
        journal: list[list[Any]] = self.place.state.setdefault("journal", [])
        journal.append([time.time(), name.removesuffix(".service"), text])
        del journal[:-500]

    async def start(self, name: str) -> bool:
        """Start it, also what it requires; whether it worked."""
        unit = self.unit(name)
        if unit is None:
            return False
        if self.is_active(name):
            return True
        kind = unit.last("Type", "simple")
        self.log(name, f"Starting {unit.last('Description', unit.name)}...")
        good = True
        for key in ("ExecStartPre", *(("ExecStart", "ExecStartPost") if kind == "oneshot" else ())):
            good = good and await self._lines(unit, key)
        if good and kind != "oneshot":
            good = await self._can_run(unit)
        stays = kind != "oneshot" or unit.last("RemainAfterExit") in ("yes", "true", "1")
        self._set(name, good, kind, stays)
        called = unit.last("Description", unit.name)
        if good:
            self.log(name, f"Finished {called}.")
        else:
            self.log(name, f"{unit.name}: Failed with result 'exit-code'.")
            # A simple service has started before its program is found to be missing.
            if kind != "simple":
                self.log(name, f"Failed to start {called}.")
        if good and name.removesuffix(".service") == "docker" and self.place.docker is not None:
            await self.place.docker.boot()
        return good

    def _set(self, name: str, good: bool, kind: str, stays: bool) -> None:
        short = name.removesuffix(".service")
        number = int(self.place.state.get("pids", 1200)) + 7
        self.place.state["pids"] = number
        if not good:
            self._states()[short] = {
                "active": "failed",
                "sub": "failed",
                "result": "exit-code",
                "pid": 0,
                "since": time.time(),
            }
        elif stays:
            sub = "exited" if kind == "oneshot" else "running"
            pid = 0 if kind == "oneshot" else number
            self._states()[short] = {
                "active": "active",
                "sub": sub,
                "result": "success",
                "pid": pid,
                "since": time.time(),
            }
        else:
            self._states().pop(short, None)

    async def _can_run(self, unit: Unit) -> bool:
        if self.programs.fits(unit):
            return await self.programs.start(unit, self.log)
        command = unit.last("ExecStart").lstrip("-@+!:").split(" ")[0]
        packaged = unit.path.startswith("/usr/lib/")
        if packaged or self.place.disk.exists(command):
            return True
        self.log(unit.name, f"Failed to locate executable {command}: No such file or directory")
        return False

    async def _lines(self, unit: Unit, key: str) -> bool:
        for line in unit.options.get(key, []):
            quiet = line.startswith("-")
            login, env = self.place.login(unit.last("User", "root")), self.programs.environment(unit)
            run = Run(self.place, login, line.lstrip("-@+!:"), env=env, cwd=unit.workdir)
            result = await execute(run)
            for text in (result.stdout + result.stderr).decode(errors="replace").splitlines():
                self.log(unit.name, text)
            if result.status and not quiet:
                self.log(
                    unit.name,
                    f"{unit.name}: Control process exited, code=exited, status={result.status}/FAILURE",
                )
                return False
        return True

    async def stop(self, name: str) -> None:
        """Stop it; quiet where it does not run."""
        unit, running = self.unit(name), self.is_active(name)
        if unit is not None:
            self.programs.stop(unit.name)
        self._states().pop(name.removesuffix(".service"), None)
        if unit is not None and running:
            await self._lines(unit, "ExecStop")
            self.log(name, f"Stopped {unit.last('Description', unit.name)}.")
            if name.removesuffix(".service") == "docker" and self.place.docker is not None:
                await self.place.docker.halt()

    async def start_all(self) -> None:
        """What is enabled, at boot: after what it says it comes after."""
        self._states().clear()
        waiting = [name for name in self.place.disk.entries(_WANTS) if self.unit(name) is not None]
        while waiting:
            ready = [name for name in waiting if not self._after(name) & set(waiting)] or waiting[:1]
            for name in ready:
                waiting.remove(name)
                await self.start(name.removesuffix(".service"))

    def _after(self, name: str) -> set[str]:
        unit = self.unit(name)
        return set(" ".join(unit.options.get("After", [])).split()) - {name} if unit else set()

    async def resume(self) -> None:
        """Start the programs of what is active: they ended with the sandbox."""
        for name in list(self._states()):
            unit = self.unit(name)
            if unit is not None and self.is_active(name) and self.programs.fits(unit):
                await self.programs.start(unit, self.log)

    async def stop_all(self) -> None:
        """Everything, at shutdown."""
        for name in list(self._states()):
            await self.stop(name)


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
        what = {"enable": "enable unit", "disable": "disable unit", "daemon-reload": "reload daemon"}.get(
            verb
        )
        return call.complain(
            f"Failed to {what or f'{verb} {_full(names[0]) if names else str()}'}: "
            f"Interactive authentication required."
        )
    return await action(call, services, names, given)


def _full(name: str) -> str:
    return name if re.search(r"\.(service|socket|target|timer|mount)$", name) else f"{name}.service"


async def _start(call: Call, services: Services, names: Sequence[str], given: Options) -> int:
    verb = given.rest[0]
    status = 0
    for name in names:
        if services.enabled(name) == "masked":
            status = call.complain(f"Failed to {verb} {_full(name)}: Unit {_full(name)} is masked.")
            continue
        if services.unit(name) is None:
            status = call.complain(f"Failed to {verb} {_full(name)}: Unit {_full(name)} not found.", 5)
            continue
        if verb in ("restart", "reload-or-restart", "try-restart"):
            if verb == "try-restart" and not services.is_active(name):
                continue
            await services.stop(name)
        if not await services.start(name):
            call.complain(f"Job for {_full(name)} failed because the control process exited with error code.")
            status = call.complain(
                f'See "systemctl status {_full(name)}" and "journalctl -xeu {_full(name)}" for details.'
            )
    return status


async def _stop(call: Call, services: Services, names: Sequence[str], given: Options) -> int:
    for name in names:
        if services.unit(name) is None:
            return call.complain(f"Failed to stop {_full(name)}: Unit {_full(name)} not loaded.", 5)
        await services.stop(name)
    return 0


async def _enable(call: Call, services: Services, names: Sequence[str], given: Options) -> int:
    for name in names:
        unit = services.unit(name)
        _of_old(call, name, "enable")
        if services.enabled(name) == "masked":
            return call.complain(
                f"Failed to enable unit: Unit file /etc/systemd/system/{_full(name)} is masked."
            )
        if unit is None:
            return call.complain(f"Failed to enable unit: Unit file {_full(name)} does not exist.")
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
    packaged = call.place.disk.is_file(f"/usr/lib/systemd/system/{_full(name)}")
    if packaged and "-q" not in call.args and "--quiet" not in call.args:
        helper = "/lib/systemd/systemd-sysv-install"
        call.complain(f"Synchronizing state of {_full(name)} with SysV service script with {helper}.")
        call.complain(f"Executing: {helper} {verb} {name.removesuffix('.service')}")


async def _disable(call: Call, services: Services, names: Sequence[str], given: Options) -> int:
    for name in names:
        message = services.disable(name)
        if services.unit(name) is None and not message:
            return call.complain(f"Failed to disable unit: Unit file {_full(name)} does not exist.")
        _of_old(call, name, "disable")
        if message and "-q" not in given:
            call.complain(message)
    return await _stop(call, services, names, given) if "--now" in given else 0


async def _mask(call: Call, services: Services, names: Sequence[str], given: Options) -> int:
    for name in names:
        path = f"/etc/systemd/system/{_full(name)}"
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
            call.complain(f"Failed to get unit file state for {_full(name)}: No such file or directory")
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
        "Id": _full(name),
        "Description": unit.last("Description", _full(name)) if unit else _full(name),
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
            status = call.complain(f"Unit {_full(name)} could not be found.", 4)
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
            return call.complain(f"No files found for {_full(name)}.")
        call.say(f"# {unit.path}\n{unit.text}", end="")
    return 0


async def _list(call: Call, services: Services, names: Sequence[str], given: Options) -> int:
    for folder in reversed(_FOLDERS):
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


async def cloud_init(call: Call) -> int:
    """cloud-init status [--wait] [--long]."""
    state = call.place.state.get("cloud_init", "done")
    if call.args[:1] != ["status"]:
        return call.complain("usage: cloud-init status [--wait] [--long]", 2)
    call.say(f"status: {state}")
    if "--long" in call.args or "-l" in call.args:
        call.say(
            "detail:\nDataSourceEc2Local"
            if state == "done"
            else "detail:\n('scripts_user', RuntimeError('Runparts: 1 failures'))"
        )
    return 1 if state == "error" else 0


async def cloud_config(place: Place, text: str) -> tuple[int, str]:
    """Do what a `#cloud-config` asks for: write_files, packages, runcmd; exit status and the log."""
    try:
        asked = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        return 1, f"Failed loading yaml blob. {error}\n"
    for file in asked.get("write_files", []):
        place.disk.write(
            file["path"], str(file.get("content", "")), int(str(file.get("permissions", "0644")), 8)
        )
    lines = []
    if asked.get("package_update") or asked.get("packages"):
        lines.append("apt-get update")
    if asked.get("packages"):
        lines.append(f"apt-get install -y {' '.join(map(str, asked['packages']))}")
    for command in [*asked.get("bootcmd", []), *asked.get("runcmd", [])]:
        lines.append(command if isinstance(command, str) else " ".join(f"'{word}'" for word in command))
    log, status = "", 0
    for line in lines:
        result = await execute(Run(place, place.login("root"), line, cwd="/"))
        log += (result.stdout + result.stderr).decode(errors="replace")
        status = status or result.status
    return status, log


COMMANDS: Mapping[str, Command] = {
    "systemctl": systemctl,
    "service": service,
    "journalctl": journalctl,
    "cloud-init": cloud_init,
}
