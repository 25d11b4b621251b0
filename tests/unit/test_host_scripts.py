"""The scripts that go to hosts, run by the real sh of this machine."""

from __future__ import annotations

import subprocess
from typing import Any, cast

import pytest

from engine import host_scripts
from engine.errors import StepFailed
from engine.hosts import Ran
from engine.on_host import OnHost
from engine.world import Job, World


class Sh:
    """A host that is this machine."""

    name = "here"
    login = "ubuntu"

    def __init__(self) -> None:
        self.runs = 0
        self.reconnects = 0

    def run(self, script: str, **options: Any) -> Ran:
        self.runs += 1
        ran = subprocess.run(["sh", "-c", script], capture_output=True, check=False)
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    def host(self, name: str, **options: Any) -> Sh:
        return self

    def reconnect(self) -> None:
        self.reconnects += 1


class Scripted(OnHost):
    kind = "scripted"

    does: str
    shows: str = "printf '%s' \"$labctl_address\""

    def natural_id(self) -> str:
        return "it"

    @classmethod
    def look(cls, id: str, wanted: Any) -> str:
        return wanted.shows if wanted is not None else "printf there"

    @classmethod
    def parse(cls, id: str, status: int, output: bytes) -> Any:
        return {"status": status, "output": output}

    def commands(self, there: Any, changed: frozenset[str]) -> str:
        return self.does

    @classmethod
    def regroups(cls, id: str, login: str) -> bool:
        return (id, login) == ("it", "ubuntu")


def change(does: str, *, shows: str = "echo seen", quiet: bool = False) -> Any:
    sh = Sh()
    job = Job(address="page's", host="here", tags={"labctl:lab": "toy"}, quiet=quiet)
    world = World("toy@here", cast(Any, None), cast(Any, sh), job)
    resource = Scripted(does=does, shows=shows)
    values, _ = host_scripts.change(resource, world, "it", None, frozenset())
    assert (sh.runs, sh.reconnects) == (1, 1)
    return values


def test_any_bytes_survive_and_looks_do_not_disturb_one_another():
    looks = [
        "printf 'a\\000b\\n\\n== 7\\n'",
        "x=1; cd /; exit 3",
        'printf "%s" "${x-unset}"; cat',
        "echo quiet >&2",
        "if then",
    ]
    answers = host_scripts.look_at(cast(Any, Sh()), looks)
    assert answers[:4] == [(0, b"a\0b\n\n== 7\n"), (3, b""), (0, b"unset"), (0, b"")]
    assert answers[4][0] != 0


def test_a_step_and_its_look_are_one_round_trip():
    assert change("echo chatter; false || true") == {"status": 0, "output": b"seen\n"}


def test_the_scripts_know_whom_they_act_for():
    shown = change(":", shows='printf "%s %s %s" "$labctl_lab" "$labctl_address" "$labctl_labels"')
    assert shown["output"] == b"toy@here page's --label labctl:lab=toy"


def test_commands_stop_at_the_first_that_fails_and_say_how():
    with pytest.raises(StepFailed, match=r"(?s)exit status 4:\none\nE: no way") as caught:
        change("echo one; (echo 'E: no way' >&2; exit 4); echo never")
    assert "never" not in caught.value.message
    with pytest.raises(StepFailed, match="exit status 2"):
        change('echo "$not_set"')
    with pytest.raises(StepFailed, match=r"exit status 1 \(no_log: output withheld\)"):
        change("echo hush; false", quiet=True)


def test_a_host_that_answers_with_something_else_is_told():
    class Chatty(Sh):
        def run(self, script: str, **options: Any) -> Ran:
            return Ran(0, b"Welcome!\n", b"")

    with pytest.raises(StepFailed, match="here answers with something else"):
        host_scripts.look_at(cast(Any, Chatty()), ["true"])


def test_a_look_at_something_else_goes_along():
    sh = Sh()
    world = World("toy@here", cast(Any, None), cast(Any, sh), Job(address="page", host="here"))
    resource = Scripted(does="echo made >&2", shows="echo seen")
    values, answer = host_scripts.change(resource, world, "it", None, frozenset(), r"printf 'next\0'; exit 3")
    assert (values["output"], answer, sh.runs) == (b"seen\n", (3, b"next\0"), 1)
    with pytest.raises(StepFailed):
        host_scripts.change(Scripted(does="exit 2"), world, "it", None, frozenset(), "echo never")
