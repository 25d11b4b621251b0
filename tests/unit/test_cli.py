"""The command line by itself: what it imports, usage errors, finding files, saved plans, ^C, bugs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from engine.change import Change, FieldChange, Plan
from engine.cli.progress import interrupts
from engine.errors import Invalid
from engine.here import Here, shipped
from engine.lab import Lab, Target
from engine.saved import Request, looks_like_plan, read_plan, request_of, since_saved, to_save, write_plan
from engine.starting import names, start

KEY = b"k" * 32
PLAYBOOK = """\
name: tiny
vars:
  password: {type: secret, from: {env: TINY_PASSWORD}}
resources:
  - name: vpc
    ec2_vpc_net: {cidr_block: 10.1.0.0/16}
"""


def python(code: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
    )


def labctl(folder: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return python(
        f"import sys; sys.argv = ['labctl', *{list(args)!r}]; from engine.cli import main; main()",
        folder,
        **env,
    )


IMPORTED = """
import sys
sys.argv = ['labctl', {args}]
from engine.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print(' '.join(sorted({{name.partition('.')[0] for name in sys.modules}})))
"""


def imported(folder: Path, args: str) -> set[str]:
    done = python(IMPORTED.format(args=args), folder)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_the_version_is_told_without_importing_much(tmp_path: Path) -> None:
    heavy = {"pydantic", "boto3", "paramiko", "networkx", "jinja2", "rich", "moto", "yaml"}
    assert not imported(tmp_path, "'--version'") & heavy


def test_validate_imports_neither_the_cloud_nor_ssh(tmp_path: Path) -> None:
    (tmp_path / "tiny.yml").write_text(
        PLAYBOOK.replace("vars:\n", "").replace(PLAYBOOK.splitlines()[2] + "\n", "")
    )
    assert not imported(tmp_path, "'validate', 'tiny.yml'") & {
        "boto3",
        "botocore",
        "paramiko",
        "moto",
        "asyncssh",
    }


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("frobnicate",), "Error: There is no command frobnicate.\n  labctl --help says more.\n"),
        (("aply",), "There is no command aply. Did you mean apply?"),
        (("tiny.yml",), "A playbook comes after a command: labctl plan tiny.yml"),
        (("plan", "--jsn"), "No such option"),
        (("plan", "tny.yml"), "Did you mean tiny.yml?"),
        (("plan", "."), ". is a folder, not a playbook.\n  There are: tiny.yml."),
        (("plan", "-i", ".", "tiny.yml"), ". is a folder, not an inventory."),
        (("destroy", "hw02@sandbox"), "The ledger has no lab hw02@sandbox."),
        (("plan", "a.yml", "b.yml"), "One playbook at a time, not 2: a.yml, b.yml."),
        (("plan", "-e", "novalue"), "-e takes NAME=VALUE, not 'novalue'."),
        (("plan", "--parallel", "many"), "Invalid value for '--parallel'"),
        (("plan", "missing.yml"), "There is no playbook missing.yml."),
        (("plan", "hw02"), "labctl init hw02 copies it here"),
        (("plan",), "No playbook is given, and none was planned here yet."),
        (("apply",), "No plan was printed here yet."),
        (("plan", "-i", "nowhere", "tiny.yml"), "There is no inventory nowhere."),
        (("output", "a", "b"), "One output at a time, not a, b."),
        ((), "Usage: labctl"),
    ],
)
def test_wrong_command_lines_exit_with_3(tmp_path: Path, args: tuple[str, ...], words: str) -> None:
    (tmp_path / "tiny.yml").write_text(PLAYBOOK)
    done = labctl(tmp_path, *args)
    assert done.returncode == 3, done.stderr
    assert words in done.stderr
    assert done.stdout == ""


def test_a_bug_is_told_in_words_and_kept_in_a_file(tmp_path: Path) -> None:
    (tmp_path / ".labctl").mkdir()
    code = (
        "import sys, engine.cli.guard as guard\n"
        "guard._run = lambda argv, terminal: 1 / 0\n"
        "sys.exit(guard.run([]))"
    )
    done = python(code, tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: this is a bug in labctl: ZeroDivisionError: division by zero\n")
    assert "Traceback" not in done.stderr
    (kept,) = (tmp_path / ".labctl").glob("bug-*.log")
    assert str(kept.relative_to(tmp_path)) in done.stderr
    assert "Traceback" in kept.read_text()


def test_the_first_interrupt_stops_and_the_second_leaves(capfd: pytest.CaptureFixture[str]) -> None:
    stop, codes = threading.Event(), []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with interrupts(stop, announce=True, leave=codes.append):
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.is_set()
        assert codes == []
        os.kill(os.getpid(), signal.SIGINT)
        assert codes == [130]
    for number, handler in before.items():
        signal.signal(number, handler)
    told = capfd.readouterr().err
    assert "finishing what is in flight… (^C again stops at once)" in told
    assert "run the same command again" in told


# -- where things are ----------------------------------------------------------------------------------------


def test_names_stand_for_files(tmp_path: Path) -> None:
    for name in ("inventory/fall.yml", "playbooks/hw02.yml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    here = Here(tmp_path)
    assert here.playbook("hw02") == Path("playbooks/hw02.yml")
    assert here.inventory("fall", {}) == Path("inventory/fall.yml")
    assert here.inventory(None, {"LABCTL_INVENTORY": "fall"}) == Path("inventory/fall.yml")
    assert here.inventory(None, {}) == shipped("inventory") / "sandbox.yml"
    here.remember(inventory=str(tmp_path / "inventory/fall.yml"))
    assert here.inventory(None, {}) == Path("inventory/fall.yml")


def test_init_copies_what_ships_and_overwrites_nothing(tmp_path: Path) -> None:
    assert "hw02" in names()
    copied, kept = start("hw02", tmp_path)
    assert Path("playbooks/hw02.yml") in copied
    assert Path("templates/jupyter/Dockerfile") in copied
    assert Path("inventory/sandbox.yml") in copied
    assert kept == []
    (tmp_path / "playbooks/hw02.yml").write_text("mine")
    copied, kept = start("hw02", tmp_path)
    assert copied == []
    assert Path("playbooks/hw02.yml") in kept
    assert (tmp_path / "playbooks/hw02.yml").read_text() == "mine"
    with pytest.raises(Invalid, match="ships no playbook hw99"):
        start("hw99", tmp_path)


# -- saved plans ---------------------------------------------------------------------------------------------

LAB = Lab("hw02@sandbox", "hw02-sandbox", Target("sandbox"), {}, secrets=frozenset({"hunter2!"}))
REQUEST = Request(Path("a.yml"), Path("b.yml"), {"port": "80", "password": "hunter2!"}, only=("web",))


def a_plan(wanted: object = "b", address: str = "web") -> Plan:
    return Plan(
        "hw02@sandbox",
        (Change(address, "file", "update", "differs", (FieldChange("mode", None, "a", wanted),)),),
    )


def test_a_saved_plan_comes_back_as_the_request_it_was_made_from(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    write_plan(file, to_save(a_plan(), LAB, REQUEST, KEY, ["hw02@sandbox"]))
    assert file.stat().st_mode & 0o777 == 0o600
    assert "hunter2!" not in file.read_text()
    assert looks_like_plan(file)
    with pytest.raises(Invalid, match="A secret is not kept with a saved plan: password"):
        request_of(read_plan(file), {})
    again = request_of(read_plan(file), {"password": "hunter2!"})
    assert again == replace(REQUEST, playbook=Path("a.yml").resolve(), inventory=Path("b.yml").resolve())


def test_what_changed_since_a_plan_was_saved_is_told() -> None:
    kept = to_save(a_plan(), LAB, REQUEST, KEY, ["hw02@sandbox"])
    assert since_saved(kept, a_plan(), KEY) == []
    assert since_saved(kept, a_plan("c"), KEY) == ["web: still to update, but otherwise (differs)"]
    assert since_saved(kept, a_plan(address="page"), KEY) == [
        "web: was to update, now is to stay as it is",
        "page: was to stay as it is, now is to update (differs)",
    ]


def test_a_file_that_is_no_plan_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text("{}")
    with pytest.raises(Invalid, match="is not a plan saved by"):
        read_plan(file)


# -- helps ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), "Exit codes: 0 done, 1 some steps failed, 2 changes pending (--detailed-exitcode), 3 invalid,"),
        (("apply",), "[PLAYBOOK | PLANFILE]"),
        (("destroy",), "[PLAYBOOK | LAB]"),
        (("plan",), "Values uncut, and what is as wanted, too."),
        (("plan",), "Leave this as it is (may be given several times)."),
        (("plan",), "Make this anew (may be given several times)."),
        (("ssh",), "A variable's value (may be given several times)."),
        (("graph",), "\n  labctl graph | dot -Tsvg > plan.svg\n"),
    ],
)
def test_helps_say_what_may_be_said(tmp_path: Path, args: tuple[str, ...], words: str) -> None:
    told = labctl(tmp_path, *args, "--help", COLUMNS="140").stdout
    assert words in told


@pytest.mark.parametrize(
    ("name", "following"),
    [
        ("hw02", "labctl plan playbooks/hw02.yml"),
        ("account_setup", "labctl plan playbooks/account_setup.yml -e email=…"),
    ],
)
def test_init_ends_with_a_command_that_can_be_typed(name: str, following: str, tmp_path: Path) -> None:
    started = labctl(tmp_path, "init", name)
    assert started.stderr.splitlines()[-1] == f"Next: {following}"
