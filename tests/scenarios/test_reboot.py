"""`reboot` on the sandbox's simulated hosts: the bastion goes down while others work behind it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scenarios.place import Place
from tests.scenarios.test_ssh import LAB

BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
ENTRIES = f"""\
  - {{name: restarted, host: bastion, reboot: {{triggers: ONE}}}}
  - {{name: then, host: bastion, depends_on: [restarted], command: {{cmd: {BOOT_ID}, triggers: ONE}}}}
  - {{name: work, host: private, loop: 3, command: {{cmd: "sleep 1; echo done", triggers: ONE}}}}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("reboot") / "work")
    try:
        book = LAB.replace("FORWARD", "false").replace("outputs:", f"{ENTRIES}outputs:")
        (place.folder / "jump.yml").write_text(book)
        yield place
    finally:
        place.close()


def boot_of(place: Place, address: str) -> str:
    return place.run("ssh", address, BOOT_ID).out.strip()


def outputs(place: Place, address: str) -> dict[str, str]:
    [found] = [one for one in place.json("show", "jump.yml")["resources"] if one["address"] == address]
    return dict(found["outputs"])


def test_others_wait_while_the_bastion_reboots(place: Place) -> None:
    said = place.run("apply", "jump.yml", "--yes", "--parallel", "8")
    assert "restarted: rebooting" in said.err
    assert (
        outputs(place, "then")["stdout"]
        == outputs(place, "restarted")["boot_id"]
        == boot_of(place, "bastion")
    )
    assert all(outputs(place, f"work[{number}]")["stdout"] == "done" for number in range(3))
    assert "No changes." in place.run("plan", "jump.yml").out


def test_it_is_planned_again_when_what_it_hangs_on_changes(place: Place) -> None:
    place.edit("jump.yml", "ONE", "TWO")
    planned = place.run("plan", "jump.yml")
    assert "restarted reboot: what it reboots for has changed" in planned.out
    before = boot_of(place, "bastion")
    place.run("apply", "jump.yml", "--yes", "--only", "restarted")
    assert boot_of(place, "bastion") != before


def test_a_run_that_is_killed_meanwhile_is_gone_on_with(place: Place) -> None:
    place.edit("jump.yml", "TWO", "THREE")
    before = boot_of(place, "bastion")
    process = place.start("apply", "jump.yml", "--yes", "--only", "restarted")
    assert process.stdout is not None
    for line in process.stdout:
        if "waiting for bastion" in line:
            break
    process.kill()
    process.communicate()
    place.run("apply", "jump.yml", "--yes", "--only", "restarted")
    now = boot_of(place, "bastion")
    assert now != before
    assert outputs(place, "restarted")["boot_id"] == now
    assert "No changes." in place.run("plan", "jump.yml", "--only", "restarted").out
