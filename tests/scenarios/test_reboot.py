"""`reboot` on the sandbox's simulated hosts: the bastion goes down while others work behind it."""

from __future__ import annotations

import pytest

from tests.scenarios.jump import BOOK, jump
from tests.scenarios.place import Place, read_until

BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
ENTRIES = f"""\
  - {{name: restarted, host: bastion, reboot: {{triggers: ONE}}}}
  - {{name: then, host: bastion, depends_on: [restarted], command: {{cmd: {BOOT_ID}, triggers: ONE}}}}
  - {{name: work, host: private, loop: 3, command: {{cmd: "sleep 1; echo done", triggers: ONE}}}}
"""


@pytest.fixture(scope="module")
def place(place: Place) -> Place:
    """A place with the lab, and entries that reboot its bastion."""
    (place.folder / BOOK).write_text(jump(forward_agent=False, entries=ENTRIES))
    return place


def boot_of(place: Place, address: str) -> str:
    return place.run("ssh", address, BOOT_ID).out.strip()


def outputs(place: Place, address: str) -> dict[str, str]:
    [found] = [one for one in place.json("show", BOOK)["resources"] if one["address"] == address]
    return dict(found["outputs"])


def test_others_wait_while_the_bastion_reboots(place: Place) -> None:
    said = place.run("apply", BOOK, "--yes", "--parallel", "8")
    assert "restarted: rebooting" in said.err
    assert (
        outputs(place, "then")["stdout"]
        == outputs(place, "restarted")["boot_id"]
        == boot_of(place, "bastion")
    )
    assert all(outputs(place, f"work[{number}]")["stdout"] == "done" for number in range(3))
    assert "No changes." in place.run("plan", BOOK).out


def test_it_is_planned_again_when_what_it_hangs_on_changes(place: Place) -> None:
    place.edit(BOOK, "ONE", "TWO")
    planned = place.run("plan", BOOK)
    assert "restarted reboot: what it reboots for has changed" in planned.out
    before = boot_of(place, "bastion")
    place.run("apply", BOOK, "--yes", "--only", "restarted")
    assert boot_of(place, "bastion") != before


def test_a_run_that_is_killed_meanwhile_is_gone_on_with(place: Place) -> None:
    place.edit(BOOK, "TWO", "THREE")
    before = boot_of(place, "bastion")
    with place.start("apply", BOOK, "--yes", "--only", "restarted") as process:
        read_until(process, "restarted: waiting for bastion")
        process.kill()
    place.run("apply", BOOK, "--yes", "--only", "restarted")
    now = boot_of(place, "bastion")
    assert now != before
    assert outputs(place, "restarted")["boot_id"] == now
    assert "No changes." in place.run("plan", BOOK, "--only", "restarted").out
