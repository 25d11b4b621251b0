"""systemd: units from packages and from /etc/systemd/system, and how they are."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from engine.sandbox.machines.programs import Programs
from engine.sandbox.machines.shell import Run, execute

if TYPE_CHECKING:
    from engine.sandbox.machines.place import Place

FOLDERS = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
"""Where unit files are; what is in one wins over the later ones."""
_WANTS = "/etc/systemd/system/multi-user.target.wants"
_SUFFIX = re.compile(r"\.(service|socket|target|timer|mount|automount|swap|path|slice|scope|device)$")
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


def full_name(name: str) -> str:
    """A unit's whole name: what bears no suffix of systemd's is a service, `app.v2` too."""
    return name if _SUFFIX.search(name) else f"{name}.service"


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
        full = full_name(name)
        for folder in FOLDERS:
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
        if self.place.disk.type_of(f"/etc/systemd/system/{full_name(name)}") == "symlink":
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
        link = f"{_WANTS}/{full_name(name)}"
        if self.place.disk.type_of(link) != "symlink":
            return ""
        self.place.disk.remove(link)
        return self.removed(link)

    def removed(self, path: str) -> str:
        """What systemctl says of a link that it has removed; since systemd 250 in quotes."""
        return f"Removed {path}." if self.place.system.version == "22.04" else f'Removed "{path}".'

    def log(self, name: str, text: str) -> None:
        """A line in the unit's journal."""
        journal: list[list[Any]] = self.place.state.setdefault("journal", [])
        journal.append([time.time(), name.removesuffix(".service"), text])
        del journal[:-500]

    async def start(self, name: str) -> bool:
        """Start it; whether it worked."""
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
        if good and not stays:
            self._states().pop(short, None)
            return
        sub = ("exited" if kind == "oneshot" else "running") if good else "failed"
        self._states()[short] = {
            "active": "active" if good else "failed",
            "sub": sub,
            "result": "success" if good else "exit-code",
            "pid": number if sub == "running" else 0,
            "since": time.time(),
        }

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
