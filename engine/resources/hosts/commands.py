"""Commands run on hosts: `command`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from engine.by_hand import word
from engine.on_host import OnHost, told
from engine.refs import Unknown, holds_unknown
from engine.resource import Output, Unread, Values
from engine.resources.hosts._shell import FAIL, Account, HostPath, Variables, known, pairs, quote, words

_KEPT = 65536
"""Bytes kept of each output stream."""

_SHOW = f"""\
show() {{
  [ -f "$1/rc" ] || return 0
  printf 'rc %s\\nstdout %s\\nstderr %s\\n--\\n' "$(cat "$1/rc")" \\
    "$(head -c {_KEPT} "$1/stdout" | wc -c)" "$(head -c {_KEPT} "$1/stderr" | wc -c)"
  head -c {_KEPT} "$1/stdout"
  head -c {_KEPT} "$1/stderr"
}}
"""

_SHOW_RECORD = """\
if [ -f "$labctl_record/rc" ]; then echo "owner $labctl_lab"; show "$labctl_record"; fi
"""


class Command(OnHost):
    """A command run on a host: once, again when something says so, or at every look as a mere reader.

    A run leaves its exit status and output on the host below /var/lib/labctl, readable by root only; that
    they are there says that the command has run. With `creates` or `unless`, what these say decides.
    """

    kind: ClassVar[str] = "command"
    outputs: ClassVar[Mapping[str, Output]] = {
        "stdout": Output("what it printed, without the line break at its end (64 KiB at most)"),
        "stderr": Output("what it printed to standard error, likewise"),
        "rc": Output("its exit status"),
    }

    shown_in_plans: ClassVar[tuple[str, ...]] = ("cmd",)

    cmd: Unread[str | list[str]] = Field(
        description="a line for sh, or a list of words that no shell touches"
    )
    chdir: Unread[HostPath | None] = Field(default=None, description="the folder it runs in")
    become_user: Unread[Account | None] = Field(
        default=None, description="the user it runs as, with that user's home and groups; root if not given"
    )
    environment: Unread[Variables | None] = Field(default=None, description="environment variables for it")
    creates: HostPath | None = Field(
        default=None, description="a path it makes: it runs only while that is missing"
    )
    unless: str | None = Field(default=None, description="a line for sh: it runs only while this fails")
    triggers: Unread[Any] = Field(default=None, description="it runs again when one of these values changes")
    changed_when: Literal[False] | None = Field(
        default=None, description="`false`: it only reads. It runs at every look and is never a change"
    )
    timeout: int | None = Field(
        default=None, ge=1, description="seconds after which it is stopped and has failed"
    )
    retries: int = Field(default=0, ge=0, description="how often it is tried again when it fails")
    delay: float = Field(default=5, ge=0, description="seconds between tries")

    @model_validator(mode="after")
    def _reader_or_not(self) -> Self:
        if self.changed_when is False:
            given = [name for name in ("creates", "unless", "triggers") if getattr(self, name) is not None]
            if given:
                raise ValueError(f"a command that only reads (changed_when: false) has no `{given[0]}`")
        return self

    def natural_id(self) -> str:
        """The same for all: its record on the host goes by its address; a hash could give away a secret."""
        return "command"

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """What makes it run again when it changes."""
        if self.changed_when is False:
            return {}
        again = {"triggers"}
        if self.creates is None and self.unless is None:
            again |= {"cmd", "chdir", "become_user", "environment"}
        return {name: value for name, value in super().wanted(also).items() if name in again}

    @classmethod
    def unsettles(cls, changed: frozenset[str]) -> frozenset[str]:
        """A run gives new output."""
        return frozenset(cls.outputs)

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """Why it runs again."""
        return "what it is run for has changed" if name == "triggers" else f"{name} has changed since it ran"

    def _run(self, line: Any, *, at_most: int | None = None) -> str:
        """A subshell that runs `line`, with the folder, user, environment and time limit asked for."""
        argv = words(*line) if isinstance(line, list) else f"sh -c {quote(line)}"
        seconds = self.timeout or at_most
        steps = [f"export {name}={quote(value)}" for name, value in (self.environment or {}).items()]
        as_user = ""
        if self.become_user is not None and self.become_user not in ("root", "0"):
            user = quote(self.become_user)
            steps.append(f"HOME=$(getent passwd -- {user} | cut -d: -f6) USER={user} LOGNAME={user}")
            steps.append("export HOME USER LOGNAME")
            as_user = f"runuser -u {user} -- "
        if self.chdir is not None:
            steps.append(f"cd -- {quote(self.chdir)} || exit 1")
        steps.append(f"{f'timeout {seconds} ' if seconds else ''}{as_user}{argv}")
        return "( " + "; ".join(steps) + " ) </dev/null"

    @classmethod
    def look(cls, id: str, wanted: Self | None) -> str:
        """Prints whether it counts as run, then status and output of the last run; a reader runs now."""
        if wanted is None:
            return f"{_SHOW}{_SHOW_RECORD}"
        if wanted.changed_when is False:
            return wanted._read()
        # What cannot be known yet decides nothing.
        done = '[ -f "$labctl_record/rc" ]'
        if known(wanted.creates):
            done = f"[ -e {quote(wanted.creates)} ]"
        elif wanted.unless is not None and not holds_unknown(
            [wanted.unless, wanted.environment, wanted.chdir]
        ):
            done = f"{wanted._run(wanted.unless, at_most=10)} >/dev/null 2>&1"
        return f"{_SHOW}{done} || exit 0\necho done\n{_SHOW_RECORD}"

    def _read(self) -> str:
        if holds_unknown([getattr(self, name) for name in ("cmd", "chdir", "become_user", "environment")]):
            return ":\n"
        return (
            f"{_SHOW}into=$(mktemp -d)\nrc=0\n"
            f'{self._run(self.cmd, at_most=15)} >"$into/stdout" 2>"$into/stderr" || rc=$?\n'
            'if [ "$rc" = 0 ]; then echo 0 >"$into/rc"; echo "owner $labctl_lab"; show "$into"; fi\n'
            'rm -rf -- "$into"\n'
        )

    @classmethod
    def parse(cls, id: str, status: int, output: bytes) -> Values | None:
        """Status and output of the last run."""
        head, _, body = output.partition(b"\n--\n")
        words_ = dict(line.partition(" ")[::2] for line in head.decode(errors="replace").splitlines())
        if not words_:
            return None
        length = int(words_.get("stdout", 0))
        values: Values = {
            "rc": int(words_.get("rc", 0)),
            "stdout": body[:length].decode(errors="replace").rstrip("\r\n"),
            "stderr": body[length:].decode(errors="replace").rstrip("\r\n"),
        }
        return {**values, "owner": words_["owner"]} if "owner" in words_ else values

    def commands(self, there: Values | None, changed: frozenset[str]) -> str:
        """Runs it, again after a delay where it fails and may be tried again, and keeps what it printed."""
        keep = self.changed_when is not False
        script = (
            FAIL + "umask_was=$(umask)\numask 077\ninto=$(mktemp -d)\n"
            f'attempt() {{ umask "$umask_was"; {self._run(self.cmd)}; }}\n'
            ': >"$into/stdout"\n: >"$into/stderr"\ntries=0\n'
            "while :; do\n"
            '  rc=0\n  ( attempt ) >"$into/stdout" 2>"$into/stderr" || rc=$?\n'
            f'  [ "$rc" != 0 ] && [ "$tries" -lt {self.retries} ] || break\n'
            f"  tries=$((tries + 1))\n  sleep {self.delay:g}\ndone\n"
            'cat "$into/stdout"\ncat "$into/stderr" >&2\n'
        )
        failed = 'if [ "$rc" != 0 ]; then rm -rf -- "$into"; exit "$rc"; fi\n'
        if not keep:
            return script + failed + 'rm -rf -- "$into"\n'
        return (
            f'{script}{failed}echo "$rc" >"$into/rc"\nmkdir -p -- "$labctl_record"\n'
            'mv -f -- "$into/stdout" "$into/stderr" "$labctl_record"/\n'
            'mv -f -- "$into/rc" "$labctl_record"/\n'
            f'rm -rf -- "$into"\n{self._proof()}'
        )

    def _proof(self) -> str:
        if self.creates is not None:
            text = f"the command ran, but {self.creates} is still not there"
            return f"[ -e {quote(self.creates)} ] || fail {quote(text)} 'put right `cmd` or `creates`'\n"
        if self.unless is not None:
            text = "the command ran, but `unless` still fails"
            return (
                f"{self._run(self.unless)} >/dev/null || fail {quote(text)} 'put right `cmd` or `unless`'\n"
            )
        return ""

    @classmethod
    def removal(cls, id: str, there: Values | None) -> str:
        """Forgets that it ran; what it did stays."""
        return (
            'rm -f -- "$labctl_record/rc" "$labctl_record/stdout" "$labctl_record/stderr"\n'
            'rmdir -- "$labctl_record" 2>/dev/null || :\n'
        )

    @classmethod
    def explain_failure(cls, status: int, stderr: str) -> tuple[str, str] | None:
        """Only what a shell itself means by its statuses."""
        if (said := told(stderr)) is not None:
            return said
        if found := re.search(r"runuser: user (\S+) does not exist", stderr):
            user = found[1]
            return (
                f"there is no user {user} on the host for the command to run as",
                f"declare it (`user: {{name: {user}}}`), and name that in `depends_on`",
            )
        if status == 124 and not stderr.strip():
            return "the command did not end in time", "give it a longer `timeout`"
        if status == 127:
            last = (stderr.strip().splitlines() or ["command not found"])[-1]
            return (
                f"the host does not know the command: {last}",
                "install what brings it, and add that to `depends_on`",
            )
        return None

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """The command itself."""
        if action == "delete":
            return []
        line = word(self.cmd) if isinstance(self.cmd, Unknown) else _line(self.cmd)
        given = "".join(f"{name}={word(value)} " for name, value in pairs(self.environment))
        line = f"cd {word(self.chdir)} && {given}{line}" if self.chdir is not None else given + line
        as_user = "" if self.become_user is None else f"-u {word(self.become_user)} "
        return [f"sudo {as_user}sh -c {shlex.quote(line)}"]


def _line(cmd: Any) -> str:
    return cmd if isinstance(cmd, str) else " ".join(word(item) for item in cmd)
