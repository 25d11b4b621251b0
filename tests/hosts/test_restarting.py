"""Waiting for a host to boot anew, with hosts and a clock of the test's own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from engine.errors import HostUnreachable, StepFailed
from engine.hosts import Ran, Restart
from engine.hosts.connect import Setback
from engine.hosts.restarting import restart
from engine.hosts.waiting import Clock
from tests.hosts.servers import LabHosts, Sshd


class Host:
    """Boots when told to; `boots` are the ids it shows, or what contacting it raises, one a look."""

    def __init__(self, *boots: bytes | Exception, asked: Ran | Exception | None = None) -> None:
        self.boots = list(boots)
        self.asked = asked or Ran(0, b"", b"")
        self.tests = [0]
        self.ran: list[str] = []
        self.alone_while: list[str] = []
        self._alone = False
        self.at = 0.0

    def host(self, name: str, *, say: Callable[[str], None] = print, timeout: float | None = None) -> Host:
        if isinstance(self.boots[0], Exception):
            raise self.boots.pop(0) if len(self.boots) > 1 else self.boots[0]
        return self

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        self._alone = True
        yield
        self._alone = False

    def hang_up(self) -> None:
        self.ran.append("hung up")

    def run(self, script: str, *, timeout: float | None = None, user: str | None = "root") -> Ran:
        self.ran.append(script)
        if self._alone:
            self.alone_while.append(script)
        if "boot_id" in script:
            boot = self.boots.pop(0) if len(self.boots) > 1 else self.boots[0]
            assert isinstance(boot, bytes)
            return Ran(0, boot, b"")
        if script == "go down":
            if isinstance(self.asked, Exception):
                raise self.asked
            return self.asked
        return Ran(self.tests.pop(0) if len(self.tests) > 1 else self.tests[0], b"", b"not yet\n")

    def sleep(self, seconds: float) -> None:
        self.at += seconds

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.at, self.sleep)


def refused() -> HostUnreachable:
    error = HostUnreachable("web cannot be reached: port 22 of 203.0.113.9 refuses connections")
    error.__cause__ = Setback("port", "refuses")
    return error


def go(host: Host, **how: object) -> list[str]:
    said: list[str] = []
    given = {"command": "go down", "timeout": 60.0, "test": "is it well", **how}
    restart(host, "web", Restart(**given), say=said.append, clock=host.clock)  # type: ignore[arg-type]
    return said


def test_it_goes_on_once_there_is_another_boot() -> None:
    host = Host(b"one", b"one", refused(), refused(), b"two", asked=HostUnreachable("lost"))
    assert go(host, rest=5.0) == [
        "rebooting",
        "waiting for web: it is going down",
        "up again; giving it 5 s more",
    ]
    assert host.ran[-1] == "is it well"
    assert set(host.alone_while) == set(host.ran) - {"hung up"}
    assert host.at >= 5


def test_one_that_stays_up() -> None:
    with pytest.raises(StepFailed, match="web was asked to reboot, and has not gone down") as caught:
        go(Host(b"one"))
    assert caught.value.remedy == "see what keeps it: labctl ssh web systemctl list-jobs"


def test_one_that_stays_down() -> None:
    host = Host(b"one", refused())
    with pytest.raises(HostUnreachable, match="web has not come up again since it was rebooted: web cannot"):
        go(host)
    assert 58 <= host.at <= 61


def test_what_waiting_cannot_help() -> None:
    error = HostUnreachable("web cannot be reached: its host key has changed")
    error.__cause__ = Setback("host key", "changed", final=True)
    host = Host(b"one", error)
    with pytest.raises(HostUnreachable, match=r"^web cannot be reached: its host key has changed$"):
        go(host)
    assert host.at == 0


def test_a_command_that_fails_and_one_that_is_killed_on_the_way_down() -> None:
    with pytest.raises(StepFailed, match="web does not reboot: shutdown: not found"):
        go(Host(b"one", asked=Ran(127, b"", b"sh: 1:\nshutdown: not found\n")))
    go(Host(b"one", b"two", asked=Ran(143, b"", b"")))


def test_a_test_is_asked_until_it_succeeds() -> None:
    host = Host(b"one", b"two")
    host.tests = [1, 1, 0]
    assert go(host) == ["rebooting", "waiting for web: 'is it well' ends with exit status 1: not yet"]
    host = Host(b"one", b"two")
    host.tests = [1]
    with pytest.raises(StepFailed, match="web is up again, but does not pass its test: 'is it well' ends"):
        go(host)


def test_while_a_host_restarts_nothing_runs_behind_it(lab: LabHosts, start_sshd: Callable[..., Sshd]) -> None:
    front, back, other = start_sshd(), start_sshd(), start_sshd()
    lab.know(front, "front")
    lab.know(back, "back", via="front")
    lab.know(other, "other")
    hosts = [lab.hosts.host(name, timeout=20) for name in ("back", "other", "front")]
    ended: list[str] = []

    def run(number: int) -> None:
        hosts[number].run("true", user=lab.user)
        ended.append(hosts[number].name)

    with lab.hosts.alone("front"):
        threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        threads[1].join(20)
        assert ended == ["other"]
    for thread in threads:
        thread.join(20)
    assert sorted(ended) == ["back", "front", "other"]


def test_a_host_that_restarts_is_dialled_anew(lab: LabHosts, start_sshd: Callable[..., Sshd]) -> None:
    sshd = start_sshd()
    lab.know(sshd)
    host = lab.hosts.host("bastion", timeout=20)
    before = host.run("echo $PPID", user=lab.user).stdout
    host.hang_up()
    assert lab.hosts.host("bastion", timeout=20).run("echo $PPID", user=lab.user).stdout != before
