"""Units whose programs really run: what they are given, what is missed, what becomes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.unit.machine_bench import Bench

UNIT = """\
[Service]
WorkingDirectory=/opt/app
Environment=PORT=5000 "GREETING=hello there"
EnvironmentFile=-/etc/default/app
ExecStart=/usr/bin/python3 app.py --loud
Restart={restart}
"""


@dataclass
class Printed:
    time: int
    text: str


@dataclass
class Program:
    """A program that ends when it is told to."""

    asked: tuple[Any, ...]
    exit_code: int | None = None
    printed: list[Printed] = field(default_factory=lambda: [Printed(1, "listening")])
    removed: bool = False

    def ports(self) -> Mapping[int, int]:
        return {5000: 40000}

    async def open(self, port: int) -> Any:
        raise ConnectionRefusedError

    def lines(self, since: int = 0) -> Sequence[Printed]:
        return [line for line in self.printed if line.time >= since]

    def remove(self) -> None:
        self.removed = True


@pytest.fixture
def started() -> list[Program]:
    """The programs that were started, in order."""
    return []


@pytest.fixture
def bench(tmp_path: Path, started: list[Program]) -> Iterator[Bench]:
    def start(*asked: Any) -> Program:
        started.append(Program(asked))
        return started[-1]

    bench = Bench(tmp_path)
    bench.machine.services.programs.starter = start
    yield bench
    bench.close()


def set_up(bench: Bench, restart: str = "no") -> None:
    disk = bench.machine.disk
    disk.mkdir("/opt/app")
    disk.write("/opt/app/app.py", "import flask\n")
    disk.write("/etc/default/app", "# of the app\nCOLOUR='blue'\n")
    disk.write("/etc/systemd/system/app.service", UNIT.format(restart=restart))


def install(bench: Bench) -> None:
    assert bench.root("apt-get update -qq && apt-get install -qq -y python3-flask").status == 0


def test_a_program_gets_its_files_and_variables(bench: Bench, started: list[Program]) -> None:
    set_up(bench)
    install(bench)
    assert bench.root("systemctl start app").status == 0
    [program] = started
    argv, environment, files, workdir = program.asked
    assert argv == ["/usr/bin/python3", "app.py", "--loud"]
    assert environment == {"PORT": "5000", "GREETING": "hello there", "COLOUR": "blue"}
    assert files == {"/opt/app/app.py": b"import flask\n"}
    assert workdir == "/opt/app"
    assert 5000 in bench.machine.listening()
    assert bench.out("systemctl is-active app").strip() == "active"
    assert "listening" in bench.out("journalctl -u app -o cat")

    assert bench.root("systemctl restart app").status == 0
    assert program.removed
    assert len(started) == 2
    assert bench.root("systemctl stop app").status == 0
    assert started[1].removed
    assert 5000 not in bench.machine.listening()


def test_a_package_that_is_forgotten_is_missed(bench: Bench, started: list[Program]) -> None:
    set_up(bench)
    assert bench.root("systemctl start app").status == 1
    assert started == []
    assert "ModuleNotFoundError: No module named 'flask'" in bench.out("journalctl -u app -o cat")
    install(bench)
    assert bench.root("systemctl start app").status == 0


def test_a_folder_that_may_be_missing_is_looked_into_where_it_is_there(
    bench: Bench, started: list[Program]
) -> None:
    set_up(bench)
    unit = "/etc/systemd/system/app.service"
    bench.machine.disk.write(unit, bench.machine.disk.text(unit).replace("=/opt/app", "=-/opt/app"))
    assert bench.root("systemctl start app").status == 1
    assert started == []
    assert "ModuleNotFoundError: No module named 'flask'" in bench.out("journalctl -u app -o cat")


@pytest.mark.parametrize("key", ["ExecStart", "ExecStop"])
def test_commands_of_a_unit_see_its_variables(bench: Bench, key: str) -> None:
    bench.machine.disk.write("/etc/default/once", "COLOUR='blue'\n")
    bench.machine.disk.write(
        "/etc/systemd/system/once.service",
        '[Service]\nType=oneshot\nRemainAfterExit=yes\nEnvironment="GREETING=hello there"\n'
        f"EnvironmentFile=/etc/default/once\n{key}=/bin/sh -c 'echo \"$GREETING\" $COLOUR'\n",
    )
    assert bench.root("systemctl start once && systemctl stop once").status == 0
    assert "hello there blue" in bench.out("journalctl -u once -o cat")


def test_quotes_that_do_not_end_are_left_out(bench: Bench) -> None:
    bench.machine.disk.write(
        "/etc/systemd/system/once.service",
        "[Service]\nType=oneshot\nEnvironment=A=1\nEnvironment=SAID=don't\nExecStart=/bin/sh -c 'echo $A'\n",
    )
    assert bench.root("systemctl start once").status == 0
    assert "1" in bench.out("journalctl -u once -o cat").splitlines()


def test_a_program_that_ends_is_seen_to_have_failed(bench: Bench, started: list[Program]) -> None:
    set_up(bench)
    install(bench)
    bench.root("systemctl start app")
    started[0].exit_code = 1
    assert bench.run("systemctl is-active app").stdout == b"failed\n"
    assert "Main process exited, code=exited, status=1/FAILURE" in bench.out("journalctl -u app -o cat")


def test_a_program_that_ends_is_started_again_where_the_unit_says_so(
    bench: Bench, started: list[Program]
) -> None:
    set_up(bench, restart="always")
    install(bench)
    bench.root("systemctl start app")
    for _ in range(4):
        started[-1].exit_code = 1
        assert bench.out("systemctl is-active app") == "active\n"
    assert len(started) == 5
    started[-1].exit_code = 1
    assert bench.run("systemctl is-active app").stdout == b"failed\n"


def test_programs_go_on_after_the_sandbox_was_down(bench: Bench, started: list[Program]) -> None:
    set_up(bench)
    install(bench)
    bench.root("systemctl start app")
    bench.machine.save()
    later = bench.again()
    later.services.programs.starter = bench.machine.services.programs.starter
    bench.loop.run(later.resume())
    assert len(started) == 2
    assert 5000 in later.listening()
