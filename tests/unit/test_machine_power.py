"""A simulated machine that is turned off or booted anew from inside."""

from __future__ import annotations

import pytest

from tests.unit.machine_bench import Bench


@pytest.mark.parametrize(
    ("command", "how"),
    [
        ("reboot", "reboot"),
        ("systemctl reboot", "reboot"),
        ("shutdown -r now back soon", "reboot"),
        ("shutdown --reboot +0", "reboot"),
        ("poweroff", "poweroff"),
        ("halt", "poweroff"),
        ("systemctl poweroff", "poweroff"),
        ("shutdown -h now", "poweroff"),
        ("shutdown now", "poweroff"),
    ],
)
def test_who_has_the_power_hears_of_it(bench: Bench, command: str, how: str) -> None:
    asked: list[str] = []
    bench.machine.power = asked.append
    assert bench.run(f"sudo {command}").status == 0
    assert asked == [how]


def test_only_root_may(bench: Bench) -> None:
    asked: list[str] = []
    bench.machine.power = asked.append
    said = bench.run("reboot")
    assert (said.status, asked) == (1, [])
    assert b"Call to Reboot failed: Interactive authentication required." in said.stderr


def test_a_shutdown_that_is_called_off(bench: Bench) -> None:
    asked: list[str] = []
    bench.machine.power = asked.append
    assert bench.run("sudo shutdown -c").status == 0
    assert asked == []
