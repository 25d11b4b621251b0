"""Services on hosts: `systemd_service`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import BeforeValidator, Field, model_validator

from engine.by_hand import word
from engine.on_host import OnHost, Upload
from engine.refs import Unknown
from engine.resource import Fixed, Output, Unread, Values
from engine.resources.hosts._shell import FAIL, quote, text_hash

_MARK: Final = "# Written by labctl; changes are undone by the next apply."
_SUFFIXES = ("service", "socket", "timer", "mount", "path", "target", "automount", "swap", "slice")
_ALWAYS_ENABLED = {"static", "indirect", "generated", "alias", "transient"}
"""States of unit files that cannot be enabled or disabled."""


def _unit_name(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9:_.\\@-]+", value) or value.startswith("-"):
        raise ValueError("must be the name of a unit, such as nginx or backup.timer")
    return value if value.rpartition(".")[2] in _SUFFIXES else f"{value}.service"


class SystemdService(OnHost):
    """A service on a host: running or not, started at boot or not, with its own unit file if one is given."""

    kind: ClassVar[str] = "systemd_service"
    outputs: ClassVar[Mapping[str, Output]] = {
        "state": Output("active, inactive, failed …, as systemctl says")
    }

    name: Fixed[Annotated[str, BeforeValidator(_unit_name)]] = Field(
        description="the unit; .service may be left out"
    )
    enabled: bool | None = Field(default=None, description="start it at boot")
    running: bool | None = Field(default=None, description="it is to run now, or not to run")
    unit: str | None = Field(
        default=None, description="the whole text of its unit file, where no package brings one"
    )
    triggers: Unread[Any] = Field(
        default=None, description="it is restarted when one of these values changes"
    )

    @model_validator(mode="after")
    def _can_run(self) -> Self:
        unit = self.unit
        oneshot = isinstance(unit, str) and re.search(r"^\s*Type\s*=\s*oneshot\s*$", unit, re.MULTILINE)
        if oneshot and self.running is True and "RemainAfterExit" not in str(unit):
            raise ValueError(
                "a unit with Type=oneshot does not run once it has ended; "
                "add RemainAfterExit=yes to its [Service]"
            )
        return self

    def natural_id(self) -> str:
        """The unit's whole name."""
        return self.name

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """The unit file is compared by its hash."""
        values = super().wanted(also)
        if isinstance(self.unit, str):
            values["unit"] = text_hash(self._text())
        return values

    def in_full(self) -> Values:
        """The unit file behind its hash."""
        return {"unit": self.unit}

    def _text(self) -> str:
        return f"{_MARK}\n{(self.unit or '').rstrip()}\n"

    @classmethod
    def unsettles(cls, changed: frozenset[str]) -> frozenset[str]:
        """Starting and stopping changes its state."""
        return frozenset({"state"})

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """Differences as a person says them."""
        if name == "running":
            return "it does not run" if wanted else "it runs"
        if name == "enabled":
            return "it does not start at boot" if wanted else "it starts at boot"
        return {"unit": "its unit file differs", "triggers": "what it is restarted for has changed"}.get(name)

    @classmethod
    def look(cls, id: str, wanted: Self | None) -> str:
        """Prints what systemctl shows of it, and the hash of its own unit file."""
        file = quote(f"/etc/systemd/system/{id}")
        return (
            f"echo Asked={'no' if wanted is not None and wanted.enabled is False else 'yes'}\n"
            f"systemctl show -p LoadState -p ActiveState -p SubState -p UnitFileState {quote(id)} || :\n"
            f"[ ! -f {file} ] || [ -L {file} ] || "
            f'echo "Hash=$(sha256sum <{file} | cut -d" " -f1)"\n'
        )

    @classmethod
    def parse(cls, id: str, status: int, output: bytes) -> Values | None:
        """Whether it runs and starts at boot."""
        shown = dict(line.partition("=")[::2] for line in output.decode(errors="replace").splitlines())
        digest = shown.get("Hash")
        if shown.get("LoadState", "not-found") == "not-found" and digest is None:
            return None
        state = shown.get("UnitFileState", "")
        asked = shown.get("Asked") == "yes"
        return {
            "name": id,
            "enabled": asked if state in _ALWAYS_ENABLED else state in ("enabled", "enabled-runtime"),
            "running": shown.get("ActiveState") in ("active", "reloading", "refreshing"),
            "unit": f"sha256:{digest}" if digest else None,
            "state": shown.get("ActiveState", "inactive"),
        }

    def commands(self, there: Values | None, changed: frozenset[str]) -> str:
        """Writes the unit file, then enables, starts, restarts or stops."""
        name = quote(self.name)
        fields = changed if there is not None else frozenset(self.model_fields_set)
        script = FAIL + _HAVE
        if self.unit is not None and "unit" in fields:
            script += _WRITE.replace("FILE", quote(f"/etc/systemd/system/{self.name}"))
        script += _KNOWN.replace("NAME", name)
        if self.running or self.enabled:
            script += '[ "$state" != masked ] || is_masked ' + name + "\n"
        if self.enabled is not None and "enabled" in fields:
            script += f"systemctl {'enable' if self.enabled else 'disable'} {name}\n"
        return script + self._start(name, fields)

    def _start(self, name: str, fields: frozenset[str]) -> str:
        renew = bool(fields & {"unit", "triggers"})
        if self.running is False:
            return f"systemctl stop {name}\n" if "running" in fields else ""
        if self.running is None:
            return f"systemctl try-restart {name}\n" if renew else ""
        if not renew and "running" not in fields:
            return ""
        return (
            f"{_STARTED}systemctl reset-failed {name} 2>/dev/null || :\n"
            f"systemctl {'restart' if renew else 'start'} {name} || does_not_start {name}\n"
            f"runs_its_program {name}\n"
            f"systemctl is-active -q {name} || does_not_start {name}\n"
        )

    def uploads(self) -> Sequence[Upload]:
        """The unit file."""
        return (Upload(self._text().encode()),) if self.unit is not None else ()

    @classmethod
    def removal(cls, id: str, there: Values | None) -> str:
        """Stops and disables it; removes the unit file if labctl wrote it."""
        file, name = quote(f"/etc/systemd/system/{id}"), quote(id)
        return (
            f"{FAIL}systemctl disable --now {name} 2>/dev/null || :\n"
            f"! systemctl is-active -q {name} || fail {quote(f'{id} does not stop')}\n"
            f"if [ -f {file} ] && head -n 1 {file} | grep -qxF -e {quote(_MARK)}; then\n"
            f"  rm -f -- {file}\n  systemctl daemon-reload\n"
            f"  systemctl reset-failed {name} 2>/dev/null || :\nfi\n"
        )

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`systemctl`, after the unit file."""
        if action == "delete":
            return [f"sudo systemctl disable --now {word(id)}", f"sudo rm -f /etc/systemd/system/{id}"]
        name = word(self.name)
        lines = []
        if self.unit is not None and (action == "create" or "unit" in changed):
            text = f"({self.unit})" if isinstance(self.unit, Unknown) else self.unit.rstrip()
            lines += [f"sudo tee /etc/systemd/system/{self.name} >/dev/null <<'END'\n{text}\nEND"]
            lines += ["sudo systemctl daemon-reload"]
        if self.enabled is not None:
            lines.append(f"sudo systemctl {'enable' if self.enabled else 'disable'} {name}")
        if self.running is not None:
            again = changed & {"unit", "triggers"}
            lines.append(
                f"sudo systemctl {('restart' if again else 'start') if self.running else 'stop'} {name}"
            )
        return lines


_HAVE: Final = (
    "command -v systemctl >/dev/null 2>&1 || "
    "fail 'this host has no systemd' 'services need a host that was started with systemd'\n"
)

_KNOWN: Final = """\
is_masked() {
  fail "$1 is masked on the host: it can be neither started nor enabled" \\
    "allow it again: sudo systemctl unmask $1"
}
state=$(systemctl show -p LoadState --value NAME)
[ "$state" != not-found ] || fail 'there is no unit 'NAME' on the host' \\
  'name what installs it in `depends_on`, or give it a `unit`'
"""

# A simple service counts as started before its program runs: until then its process is still systemd's.
_STARTED: Final = """\
does_not_start() {
  journalctl --sync 2>/dev/null || :
  why=$(journalctl -u "$1" -n 5 -o cat --no-pager 2>/dev/null | grep . | tail -n 1)
  fail "$1 does not start${why:+: $why}" "see why with: journalctl -u $1"
}
runs_its_program() {
  pid=$(systemctl show -p MainPID --value "$1")
  [ "${pid:-0}" != 0 ] || return 0
  tries=0
  while [ "$tries" -lt 50 ]; do
    case $(readlink "/proc/$pid/exe" 2>/dev/null || :) in
      */systemd | */systemd-executor) sleep 0.1 ;;
      '') sleep 0.2; return 0 ;;
      *) return 0 ;;
    esac
    tries=$((tries + 1))
  done
}
"""

_WRITE: Final = """\
new=$(mktemp FILE.XXXXXX)
cat -- "$labctl_upload_1" >"$new" || { rm -f -- "$new"; exit 1; }
chmod 0644 "$new"
mv -fT -- "$new" FILE
systemctl daemon-reload
"""
