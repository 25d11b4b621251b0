"""Restarts of hosts: `reboot`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import Field

from engine.by_hand import word
from engine.hosts import Restart
from engine.on_host import OnHost
from engine.resource import Output, Unread, Values
from engine.resources.hosts._shell import FAIL, quote

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_NO_BOOT_ID = "fail 'the host does not tell when it was booted' 'reboot works on Linux only'"


class Reboot(OnHost):
    """A restart of a host: once, and again when its `triggers` change; then whatever needs it goes on.

    The boot before it is noted on the host below /var/lib/labctl; that there was another since says that it
    is done, also where labctl was stopped meanwhile. Until it is up again, nothing else runs on the host, nor
    on hosts reached through it.
    """

    kind: ClassVar[str] = "reboot"
    outputs: ClassVar[Mapping[str, Output]] = {
        "boot_id": Output("the id of the host's present boot, another after each"),
    }

    triggers: Unread[Any] = Field(
        default=None, description="it reboots again when one of these values changes"
    )
    reboot_timeout: int = Field(
        default=600, ge=1, description="seconds from going down until it works again, at most"
    )
    msg: str = Field(
        default="Reboot initiated by labctl",
        min_length=1,
        pattern=r"^[^\n\r]*$",
        description="what users who are logged in there are told",
    )
    pre_reboot_delay: int = Field(default=0, ge=0, description="seconds to wait before it goes down")
    post_reboot_delay: int = Field(default=0, ge=0, description="seconds to wait once it is up again")
    test_command: str = Field(
        default="true", min_length=1, description="a line for sh, run as root: it is up when this succeeds"
    )
    reboot_command: str | None = Field(
        default=None, min_length=1, description="a line for sh, run as root, in place of `shutdown -r now`"
    )

    def natural_id(self) -> str:
        """The same for all: its record on the host goes by its address."""
        return "reboot"

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """What makes it reboot again when it changes; the rest says how, should it come to that."""
        return {name: value for name, value in super().wanted(also).items() if name == "triggers"}

    @classmethod
    def unsettles(cls, changed: frozenset[str]) -> frozenset[str]:
        """Another boot has another id."""
        return frozenset(cls.outputs)

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """Why it reboots again."""
        return "what it reboots for has changed"

    @classmethod
    def look(cls, id: str, wanted: Self | None) -> str:
        """Prints the boot id where it is another than before the restart."""
        return (
            'was=$(cat "$labctl_record/boot" 2>/dev/null) || exit 0\n'
            f"now=$(cat {_BOOT_ID}) || exit 0\n"
            '[ "$now" = "$was" ] || printf \'%s\\n%s\\n\' "$now" "$labctl_lab"\n'
        )

    @classmethod
    def parse(cls, id: str, status: int, output: bytes) -> Values | None:
        """The present boot; None where it has not been restarted."""
        lines = output.decode(errors="replace").splitlines()
        return {"boot_id": lines[0], "owner": lines[1]} if len(lines) == 2 else None

    def commands(self, there: Values | None, changed: frozenset[str]) -> str:
        """Notes the boot before, on disk for sure; `restart` does the rest."""
        return (
            f"{FAIL}now=$(cat {_BOOT_ID}) || {_NO_BOOT_ID}\n"
            'mkdir -p -- "$labctl_record"\n'
            'printf \'%s\\n\' "$now" >"$labctl_record/boot.new"\n'
            'mv -f -- "$labctl_record/boot.new" "$labctl_record/boot"\nsync\n'
        )

    def restart(self) -> Restart:
        """As asked for; by `shutdown`, which also tells those who are logged in."""
        usual = (
            "if command -v shutdown >/dev/null 2>&1; "
            f"then exec shutdown -r now {quote(self.msg)}; else exec reboot; fi"
        )
        pause = f"sleep {self.pre_reboot_delay}\n" if self.pre_reboot_delay else ""
        return Restart(
            command=pause + (self.reboot_command or usual),
            timeout=self.reboot_timeout,
            delay=self.pre_reboot_delay,
            test=self.test_command,
            rest=self.post_reboot_delay,
        )

    @classmethod
    def removal(cls, id: str, there: Values | None) -> str:
        """Forgets that it was restarted."""
        return 'rm -f -- "$labctl_record/boot"\nrmdir -- "$labctl_record" 2>/dev/null || :\n'

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """The command that restarts it."""
        if action == "delete":
            return []
        if self.reboot_command is not None:
            return [f"sudo sh -c {word(self.reboot_command)}"]
        return [f"sudo shutdown -r now {word(self.msg)}"]
