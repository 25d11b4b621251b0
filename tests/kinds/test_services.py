"""`systemd_service`: what systemctl says as values, and services on a simulated host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from engine.errors import StepFailed
from engine.refs import Unknown
from engine.resources.hosts.services import SystemdService
from tests.kinds.benches import a_bench, text
from tests.kinds.local_host import Bench

UNIT = """\
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'echo started >>/srv/log'

[Install]
WantedBy=multi-user.target
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with a_bench("simulated", tmp_path) as made:
        yield made


def service(name: str = "hello", **fields: Any) -> SystemdService:
    return SystemdService.model_validate({"name": name, **fields})


def test_a_service_of_its_own_is_made_changed_and_removed(bench: Bench) -> None:
    hello = service(unit=UNIT, enabled=True, running=True)
    assert bench.look(hello) is None
    assert bench.create(hello)["state"] == "active"
    changed = service(unit=UNIT.replace("started", "changed"), enabled=False, running=True)
    assert bench.differing(changed) == {"unit", "enabled"}
    bench.update(changed, "unit", "enabled")
    assert text(bench, "cat /srv/log") == "started\nchanged\n"
    bench.host.run("systemctl stop hello")
    assert bench.differing(changed) == {"running"}
    bench.update(changed, "running")
    bench.update(changed, "triggers")
    bench.delete(changed)
    assert bench.look(changed) is None
    assert text(bench, "ls -A /etc/systemd/system | grep hello; :") == ""


def test_a_service_of_a_package_is_only_stopped(bench: Bench) -> None:
    bench.host.run("apt-get update; apt-get install -y nginx")
    nginx = service("nginx", enabled=True, running=True)
    bench.create(nginx)
    off = service("nginx", enabled=False, running=False)
    assert bench.differing(off) == {"enabled", "running"}
    bench.update(off, "enabled", "running")
    bench.delete(nginx)
    assert bench.look(nginx) is not None  # its unit file belongs to the package


def test_a_service_that_does_not_start_says_why(bench: Bench) -> None:
    broken = service(unit=UNIT.replace("echo started >>/srv/log", "exit 3"), running=True)
    with pytest.raises(StepFailed, match=r"hello\.service does not start") as failed:
        bench.create(broken)
    assert failed.value.remedy == "see why with: journalctl -u hello.service"


@pytest.mark.parametrize(
    ("shown", "enabled", "running"),
    [
        ("LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled", True, True),
        ("LoadState=loaded\nActiveState=inactive\nSubState=dead\nUnitFileState=disabled", False, False),
        ("LoadState=loaded\nActiveState=failed\nSubState=failed\nUnitFileState=enabled", True, False),
        (
            "LoadState=loaded\nActiveState=activating\nSubState=auto-restart\nUnitFileState=enabled",
            True,
            False,
        ),
        ("LoadState=masked\nActiveState=inactive\nSubState=dead\nUnitFileState=masked", False, False),
        ("LoadState=loaded\nActiveState=active\nSubState=exited\nUnitFileState=static", True, True),
    ],
)
def test_what_systemctl_shows(shown: str, enabled: bool, running: bool) -> None:
    values = SystemdService.parse("x.service", 0, f"Asked=yes\n{shown}\n".encode())
    assert values is not None
    assert (values["enabled"], values["running"], values["unit"]) == (enabled, running, None)


def test_no_such_unit() -> None:
    assert (
        SystemdService.parse("x.service", 0, b"Asked=yes\nLoadState=not-found\nActiveState=inactive\n")
        is None
    )
    assert SystemdService.parse("x.service", 0, b"Asked=yes\n") is None  # no systemd at all


def test_names() -> None:
    assert service("nginx").natural_id() == "nginx.service"
    assert service("backup.timer").natural_id() == "backup.timer"
    for wrong in ("a b", "-x", "../x"):
        with pytest.raises(ValidationError, match="name of a unit"):
            service(wrong)


def test_a_oneshot_unit_that_cannot_stay_running_is_told() -> None:
    with pytest.raises(ValidationError, match="RemainAfterExit=yes"):
        service(unit="[Service]\nType=oneshot\nExecStart=/bin/true\n", running=True)
    service(unit=Unknown(text="{{ x.y }}"), running=True)


def test_commands_by_hand() -> None:
    assert service("nginx", enabled=True, running=True).as_commands("create", None) == [
        "sudo systemctl enable nginx.service",
        "sudo systemctl start nginx.service",
    ]
    assert SystemdService.model_construct().as_commands("delete", "x.service") == [
        "sudo systemctl disable --now x.service",
        "sudo rm -f /etc/systemd/system/x.service",
    ]


def test_a_service_that_is_not_there_or_masked_is_told(bench: Bench) -> None:
    with pytest.raises(StepFailed, match=r"there is no unit nosuch\.service on the host") as failed:
        bench.create(service("nosuch", running=True))
    assert "depends_on" in failed.value.remedy
    bench.host.run("systemctl mask cron")
    with pytest.raises(StepFailed, match=r"cron\.service is masked") as failed:
        bench.create(service("cron", enabled=True))
    assert failed.value.remedy == "allow it again: sudo systemctl unmask cron.service"
