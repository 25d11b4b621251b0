"""`reboot`: once, again when its triggers change, and what a run that was cut short leaves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from engine.errors import StepFailed
from engine.resources.hosts.reboot import Reboot
from tests.kinds.benches import a_bench, text
from tests.kinds.local_host import Bench

BOOT_ID = "cat /proc/sys/kernel/random/boot_id"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with a_bench("simulated", tmp_path) as made:
        yield made


def reboot(**fields: Any) -> Reboot:
    return Reboot.model_validate(fields)


def test_it_reboots_once_and_again_when_asked(bench: Bench) -> None:
    before = text(bench, BOOT_ID)
    once = reboot()
    assert bench.look(once) is None
    values = bench.create(once)
    assert values == {"boot_id": text(bench, BOOT_ID).strip(), "owner": "hw02@test"}
    assert text(bench, BOOT_ID) != before
    again = bench.update(once, "triggers")
    assert again["boot_id"] not in (before.strip(), values["boot_id"])
    bench.delete(once)
    assert bench.look(once) is None


def test_another_boot_than_the_one_before_is_what_counts(bench: Bench) -> None:
    """A run that was killed after the note, before the reboot: not done. After the reboot: done."""
    once = reboot()
    note = once.commands(None, frozenset())
    bench.host.run(f"labctl_record=/var/lib/labctl/it labctl_lab=hw02@test\n{note}")
    look = f"labctl_record=/var/lib/labctl/it labctl_lab=hw02@test\n{Reboot.look('reboot', None)}"
    ran = bench.host.run(look)
    assert Reboot.parse("reboot", ran.status, ran.stdout) is None
    bench.host.run("reboot")
    bench.host.hang_up()
    ran = bench.host.run(look)
    assert Reboot.parse("reboot", ran.status, ran.stdout) is not None


def test_only_triggers_make_it_reboot_again() -> None:
    assert reboot(reboot_timeout=5, msg="soon").wanted() == {}
    assert reboot(triggers=["a"]).wanted() == {"triggers": ["a"]}
    assert Reboot.describe_difference("triggers", 2, 1) == "what it reboots for has changed"
    assert Reboot.unsettles(frozenset({"triggers"})) == {"boot_id"}


def test_how_it_is_done() -> None:
    usual = reboot(
        msg="back in 'a minute'", pre_reboot_delay=3, post_reboot_delay=2, reboot_timeout=90
    ).restart()
    assert usual.command.splitlines()[0] == "sleep 3"
    assert "shutdown -r now 'back in '\"'\"'a minute'\"'\"''" in usual.command
    assert (usual.timeout, usual.delay, usual.rest, usual.test) == (90, 3, 2, "true")
    own = reboot(reboot_command="systemctl kexec", test_command="systemctl is-active docker").restart()
    assert (own.command, own.test) == ("systemctl kexec", "systemctl is-active docker")


def test_a_command_that_does_not_reboot(bench: Bench) -> None:
    with pytest.raises(StepFailed, match="here does not reboot: no, I will not"):
        bench.create(reboot(reboot_command="echo 'no, I will not' >&2; exit 4"))
    assert bench.look(reboot()) is None
    with pytest.raises(StepFailed, match="here was asked to reboot, and has not gone down"):
        bench.create(reboot(reboot_command="true", reboot_timeout=1))
    assert bench.look(reboot()) is None


def test_a_test_that_never_succeeds(bench: Bench) -> None:
    with pytest.raises(
        StepFailed, match=r"does not pass its test: 'echo not yet; false' ends with .* 1: not yet"
    ):
        bench.create(reboot(test_command="echo not yet; false", reboot_timeout=1))


def test_commands_by_hand() -> None:
    assert reboot().as_commands("create", None) == ["sudo shutdown -r now 'Reboot initiated by labctl'"]
    assert reboot(reboot_command="a; b").as_commands("update", "reboot") == ["sudo sh -c 'a; b'"]
    assert reboot().as_commands("delete", "reboot") == []


@pytest.mark.parametrize(
    "fields", [{"reboot_timeout": 0}, {"msg": "two\nlines"}, {"test_command": ""}, {"pre_reboot_delay": -1}]
)
def test_what_is_no_reboot(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        reboot(**fields)
