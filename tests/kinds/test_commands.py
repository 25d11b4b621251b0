"""`command`: run once, run again when something says so, or read at every look; on hosts for real."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from engine.errors import StepFailed
from engine.refs import Unknown
from engine.resources.hosts.commands import Command
from tests.kinds.benches import SORTS, a_bench, text
from tests.kinds.local_host import Bench


@pytest.fixture(params=SORTS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    with a_bench(request.param, tmp_path) as made:
        yield made


def command(cmd: Any, **fields: Any) -> Command:
    return Command.model_validate({"cmd": cmd, **fields})


def test_it_runs_once_and_what_it_printed_is_kept(bench: Bench) -> None:
    once = command("echo out; echo err >&2; echo x >>/srv/runs")
    assert bench.look(once) is None
    bench.create(once)
    values = bench.look(once)
    assert values == {"rc": 0, "stdout": "out", "stderr": "err", "owner": "hw02@test"}
    assert text(bench, "cat /srv/runs") == "x\n"
    bench.update(once, "triggers")
    assert text(bench, "cat /srv/runs") == "x\nx\n"
    bench.delete(once)
    assert bench.look(once) is None


def test_two_that_are_the_same_are_two(bench: Bench) -> None:
    once = command("echo x >>/srv/runs")
    bench.create(once, "first")
    assert bench.look(once, "second") is None
    bench.create(once, "second")
    assert text(bench, "cat /srv/runs") == "x\nx\n"


def test_it_runs_where_as_whom_and_with_what_it_is_told(bench: Bench) -> None:
    values = bench.create(
        command(
            'pwd; id -un; printf "%s\\n" "$A"',
            chdir="/tmp",
            become_user="daemon",
            environment={"A": 'it\'s "x" $B'},
        )
    )
    assert values["stdout"] == '/tmp\ndaemon\nit\'s "x" $B'


def test_a_list_of_words_meets_no_shell(bench: Bench) -> None:
    assert bench.create(command(["printf", "%s|", "a b", "$HOME"]))["stdout"] == "a b|$HOME|"


def test_creates_decides(bench: Bench) -> None:
    makes = command("touch /srv/made; echo ran", creates="/srv/made")
    assert bench.look(makes) is None
    assert bench.create(makes)["stdout"] == "ran"
    bench.host.run("rm /srv/made")
    assert bench.look(makes) is None
    bench.host.run("touch /srv/made")
    assert bench.look(makes, "another") == {"rc": 0, "stdout": "", "stderr": ""}
    with pytest.raises(StepFailed, match="/srv/other is still not there"):
        bench.create(command("true", creates="/srv/other"))


def test_unless_decides(bench: Bench) -> None:
    makes = command("touch /srv/made", unless="test -e /srv/made")
    assert bench.look(makes) is None
    bench.create(makes)
    assert bench.look(makes) is not None


def test_a_reader_reads_at_every_look(bench: Bench) -> None:
    reader = command("cat /srv/number", changed_when=False)
    assert bench.look(reader) is None  # it fails: there is nothing to read yet
    bench.host.run("echo 1 >/srv/number")
    assert bench.create(reader)["stdout"] == "1"
    bench.host.run("echo 2 >/srv/number")
    assert (bench.look(reader) or {})["stdout"] == "2"
    assert reader.wanted() == {}


def test_it_is_tried_again(bench: Bench) -> None:
    flaky = "if [ -e /srv/seen ]; then echo yes; else touch /srv/seen; echo no >&2; exit 3; fi"
    with pytest.raises(StepFailed, match="no"):
        bench.create(command(flaky))
    bench.host.run("rm /srv/seen")
    assert bench.create(command(flaky, retries=2, delay=0.01))["stdout"] == "yes"


def test_failures_in_words(bench: Bench) -> None:
    with pytest.raises(StepFailed, match="exit status 5:\nbad"):
        bench.create(command("echo bad >&2; exit 5"))
    with pytest.raises(StepFailed, match=r"does not know the command: .*nonesuch"):
        bench.create(command("nonesuch x"))


def test_time_runs_out(tmp_path: Path) -> None:
    with a_bench("real", tmp_path) as bench, pytest.raises(StepFailed, match="did not end in time"):
        bench.create(command("sleep 5", timeout=1))


def test_ids_tell_nothing_of_what_is_run_and_hang_on_nothing_unknown() -> None:
    unknown = command(Unknown(text="docker logs {{ web.name }}"))
    assert unknown.natural_id() == command("login --password hush").natural_id()
    assert Command.parse("x", 0, b"") is None
    reader = command(Unknown(text="{{ web.name }}"), changed_when=False)
    assert Command.look("x", reader) == ":\n"


@pytest.mark.parametrize("field", ["creates", "unless", "triggers"])
def test_a_reader_has_no_reason_to_run(field: str) -> None:
    with pytest.raises(ValidationError, match="only reads"):
        command("true", changed_when=False, **{field: "/x"})


def test_commands_by_hand() -> None:
    assert command("make all", chdir="/srv/it").as_commands("create", None) == [
        "sudo sh -c 'cd /srv/it && make all'"
    ]
