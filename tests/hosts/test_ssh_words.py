"""What needs no server: the texts that travel and are told, and waiting by a clock of the test's own."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import NoReturn

import pytest

from engine.errors import HostUnreachable, Interrupted, StepFailed
from engine.hosts import HostSpec, ssh_config, wire
from engine.hosts.connect import Setback
from engine.hosts.known_hosts import HostKey, KnownHosts, parse_keys, write_private
from engine.hosts.shell import no_shell
from engine.hosts.spec import alias
from engine.hosts.waiting import Clock, Patience, until_there
from engine.on_host import Upload
from engine.resource import Machine

ED = "AAAAC3NzaC1lZDI1NTE5AAAAIJ8Z0Zr3s1v7l5xYcQmZyG4cM3m3yq3m0mVj0i1bQeQ5"


class Time:
    """A clock that stands still but for sleeping."""

    def __init__(self) -> None:
        self.at = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.at, self.sleep)


def spec(name: str = "bastion", **more: object) -> HostSpec:
    given = {
        "name": name,
        "machine": Machine("203.0.113.9", "10.0.0.9"),
        "user": "ubuntu",
        "key": "/keys/lab.pem",
        "port": 22,
        "via": None,
        **more,
    }
    return HostSpec(**given)  # type: ignore[arg-type]


# -- waiting


def test_polls_quickly_then_slower_and_says_each_reason_once() -> None:
    time, said = Time(), list[str]()
    failures = iter([Setback("port", "closed")] * 15 + [Setback("SSH", "no banner")])

    def attempt() -> str:
        for failure in failures:
            raise failure
        return "there"

    assert until_there(spec(), attempt, Patience(300, clock=time.clock), said.append) == "there"
    assert said == ["waiting for bastion: closed", "waiting for bastion: no banner"]
    assert time.slept[0] == 0.2
    assert time.slept[-1] == 3.0
    assert time.slept == sorted(time.slept)


def test_readiness_is_asked_until_it_is_there_and_not_again() -> None:
    time, asked = Time(), list[str | None]()
    answers = iter(["pending", "pending", None])

    def not_ready() -> str | None:
        asked.append(next(answers))
        return asked[-1]

    failures = iter([Setback("port", "closed")] * 5)

    def attempt() -> str:
        for failure in failures:
            raise failure
        return "there"

    machine = Machine("203.0.113.9", None, not_ready=not_ready)
    until_there(spec(machine=machine), attempt, Patience(300, clock=time.clock), lambda text: None)
    assert asked == ["pending", "pending", None]


@pytest.mark.parametrize(("fresh", "least", "most"), [(True, 59, 64), (False, 0, 0)])
def test_a_refused_login_is_tried_again_only_on_a_fresh_machine(
    fresh: bool, least: float, most: float
) -> None:
    time = Time()

    def attempt() -> str:
        raise Setback("login", "refused", "another key")

    with pytest.raises(HostUnreachable) as caught:
        until_there(spec(), attempt, Patience(300, clock=time.clock), lambda text: None, fresh=fresh)
    assert least <= time.at <= most
    assert caught.value.message == (
        "bastion cannot be reached: refused\n"
        "  ok      instance: running and ready\n"
        "  ok      address: 203.0.113.9\n"
        "  ok      port 22 open\n"
        "  ok      SSH server answers\n"
        "  ok      host key is the known one\n"
        "  failed  login as ubuntu with /keys/lab.pem"
    )
    assert caught.value.remedy == "another key"


def test_the_network_is_asked_why_only_when_the_port_is_the_trouble() -> None:
    asked: list[int] = []

    def explain() -> list[str]:
        asked.append(1)
        return ["PublicSG lets nobody in on port 22", "no route to an internet gateway"]

    machine = Machine("203.0.113.9", None, explain=explain)
    for stage, lines in (("SSH", 0), ("port", 2)):
        with pytest.raises(HostUnreachable) as caught:
            until_there(
                spec(machine=machine),
                lambda stage=stage: _raise(Setback(stage, "no")),  # type: ignore[misc]
                Patience(5, clock=Time().clock),
                lambda text: None,
            )
        assert caught.value.message.count("  why?    ") == lines
    assert asked == [1]
    assert caught.value.remedy == "put right what stands after `why?`, then run the same command again"


def _shut(time: Time, timeout: float | None, causes: list[str | None]) -> list[str]:
    """What is said while a port stays silent, and the platform tells these causes in turn."""
    said: list[str] = []
    rest = iter(causes)
    machine = Machine("203.0.113.9", None, shut_out=lambda: next(rest, causes[-1]))
    with pytest.raises(HostUnreachable):
        until_there(
            spec(machine=machine),
            lambda: _raise(Setback("port", "no answer", silent=True)),
            Patience(timeout, clock=time.clock),
            said.append,
        )
    return said


def test_a_network_that_lets_nobody_in_is_told_at_once_and_waited_for_less() -> None:
    time = Time()
    assert _shut(time, None, ["no rule for you"]) == ["waiting for bastion: no answer; no rule for you"]
    assert 60 <= time.at <= 64


def test_a_rule_that_came_meanwhile_gives_the_machine_its_full_time() -> None:
    time = Time()
    assert _shut(time, None, ["no rule for you", None]) == [
        "waiting for bastion: no answer; no rule for you",
        "waiting for bastion: no answer",
    ]
    assert 295 <= time.at <= 300


def test_who_says_how_long_to_wait_is_taken_at_their_word() -> None:
    time = Time()
    _shut(time, 120, ["no rule for you"])
    assert 115 <= time.at <= 120


def test_a_user_who_wants_to_stop_need_not_wait_for_an_attempt() -> None:
    stop, tried, undone = threading.Event(), threading.Event(), threading.Event()
    let_go = threading.Event()

    def attempt() -> str:
        tried.set()
        let_go.wait(10)
        return "late"

    threading.Thread(target=lambda: tried.wait(10) and stop.set()).start()
    with pytest.raises(Interrupted, match="gave up waiting for bastion: nothing had been sent to it yet"):
        until_there(
            spec(),
            attempt,
            Patience(stopped=stop.is_set),
            lambda text: None,
            undo=lambda late: undone.set(),
        )
    assert not undone.is_set()
    let_go.set()
    assert undone.wait(10)


def test_a_user_who_wants_to_stop_need_not_wait_for_a_pause() -> None:
    stop = threading.Event()
    failures = 0

    def attempt() -> str:
        nonlocal failures
        failures += 1
        if failures == 3:
            stop.set()
        raise Setback("port", "closed")

    with pytest.raises(Interrupted):
        until_there(spec(), attempt, Patience(stopped=stop.is_set), lambda text: None)
    assert failures == 3


def _raise(error: Exception) -> NoReturn:
    raise error


# -- what travels


def test_a_plain_script_travels_as_it_is() -> None:
    request = wire.pack("echo hi")
    assert request.boot == wire.TEXT_BOOT
    assert b"".join(request.chunks()) == b"echo hi\n# labctl: whole"


def test_small_files_travel_as_text_and_big_ones_raw(tmp_path: Path) -> None:
    small = wire.pack("x", files=[Upload(b"\x00\xff")])
    assert small.boot == wire.TEXT_BOOT
    assert b"".join(small.chunks()).isascii()
    file = tmp_path / "big"
    file.write_bytes(b"\xff" * (wire.TEXT_LIMIT + 1))
    big = wire.pack("x", files=[Upload(file)])
    assert big.boot == wire.RAW_BOOT
    assert b"".join(big.chunks()).endswith(b"# labctl: whole" + b"\xff" * (wire.TEXT_LIMIT + 1))
    assert max(len(chunk) for chunk in big.chunks()) <= wire.CHUNK


def test_a_file_that_shrinks_on_the_way_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "big"
    file.write_bytes(b"x" * (wire.TEXT_LIMIT + 1))
    chunks = wire.pack("x", files=[Upload(file)]).chunks()
    next(chunks), next(chunks)
    with file.open("r+b") as open_file:
        open_file.truncate(10)
    with pytest.raises(ValueError, match="became shorter"):
        list(chunks)


@pytest.mark.parametrize(
    ("user", "login", "start"),
    [
        ("root", "ubuntu", "exec sudo -n -H sh -c '"),
        ("root", "root", "exec sh -c '"),
        (None, "ubuntu", "exec sh -c '"),
        ("web", "ubuntu", "exec sudo -n -H -u web sh -c '"),
        ("we b", "root", "exec runuser -u 'we b' -- sh -c '"),
    ],
)
def test_who_runs_it(user: str | None, login: str, start: str) -> None:
    assert wire.as_user(wire.TEXT_BOOT, user, login).startswith(start)


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("cut", [0, 5, 40])
def test_cut_off_scripts_do_not_run(shell: str, cut: int) -> None:
    sent = wire.pack("echo one\necho two", files=[Upload(b"x")]).text
    data = sent[: len(sent) - cut] if cut else sent
    ran = subprocess.run([shell, "-c", wire.TEXT_BOOT], input=data, capture_output=True, check=False)
    greeting, _, rest = ran.stdout.partition(b"\n")
    assert greeting.startswith(b"labctl ")
    assert (ran.returncode, rest) == ((255, b"") if cut else (0, b"one\ntwo\n"))


def test_the_greeting_tells_the_process() -> None:
    assert wire.hello(b"labctl 42\nout") == (42, b"out")
    assert wire.hello(b"Welcome!\nlabctl 7\nlabctl 8\n") == (7, b"labctl 8\n")
    assert wire.hello(b"sudo: a password is required\n") is None


# -- words for hosts that start no shell


@pytest.mark.parametrize(
    ("out", "err", "what", "remedy"),
    [
        (
            b'Please login as the user "admin" rather than the user "root".\n\n',
            b"",
            "b does not work for the user me: it says “Please login as the user",
            "ssh: {user: admin}",
        ),
        (b"", b"sudo: a password is required\n", "me on b may become root only with a password", "NOPASSWD"),
        (b"", b"me is not in the sudoers file.\n", "me on b may not become root", "cloud images"),
        (b"", b"sh: 1: exec: sudo: not found\n", "b has no sudo, and me is not root", "log in as root"),
        (
            b"This account is currently not available.\n",
            b"",
            "b starts no shell for me: This account is",
            "ssh",
        ),
        (b"", b"", "b starts no shell for me: it says nothing", "ssh me@b true"),
    ],
)
def test_no_shell(out: bytes, err: bytes, what: str, remedy: str) -> None:
    told = no_shell("b", "me", out, err)
    assert told[0].startswith(what)
    assert remedy in told[1]


# -- files


def test_known_hosts_keeps_drops_and_replaces(tmp_path: Path) -> None:
    known = KnownHosts(tmp_path / "deep" / "known_hosts")
    assert known.keys("a") == []
    known.put("a", [HostKey("ssh-ed25519", ED)])
    known.put("b", [HostKey("ssh-rsa", ED), HostKey("ssh-ed25519", ED)])
    known.drop("a")
    known.drop("nobody")
    assert known.path.read_text() == f"b ssh-rsa {ED}\nb ssh-ed25519 {ED}\n"
    assert known.keys("b")[0].fingerprint.startswith("SHA256:")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StepFailed, match="cannot write"):
        write_private(tmp_path / "file" / "ssh_config", "")
    with pytest.raises(StepFailed, match="cannot read"):
        KnownHosts(tmp_path / "file" / "known_hosts").keys("a")


def test_only_keys_are_taken_from_console_lines() -> None:
    lines = [
        f"ssh-ed25519 {ED} root@ip-10-0-0-1",
        "-----BEGIN SSH HOST KEY KEYS-----",
        "ssh-rsa not-a-key",
        "",
    ]
    assert parse_keys(lines) == [HostKey("ssh-ed25519", ED)]


def test_names_fit_for_openssh() -> None:
    names = ("bastion", "worker[0]", "worker[alice b]", "net.x")
    assert [alias(name) for name in names] == ["bastion", "worker.0", "worker.alice.b", "net.x"]


def test_ssh_config_text() -> None:
    text = ssh_config.text(
        [
            spec(),
            spec("worker[0]", via="bastion", forward_agent=True, key="/my keys/100%.pem", port=2222),
            spec("gone", machine=Machine(None, None)),
        ],
        known_hosts=Path("/lab/known_hosts"),
        proxy="127.0.0.1:1080",
    )
    assert text == (
        f"""\
# Written by labctl, and written anew with every change. Use: ssh -F THIS_FILE NAME

Host bastion
    HostName 203.0.113.9
    Port 22
    User ubuntu
    IdentityFile /keys/lab.pem
    IdentitiesOnly yes
    UserKnownHostsFile /lab/known_hosts
    GlobalKnownHostsFile /dev/null
    HostKeyAlias bastion
    StrictHostKeyChecking accept-new
    UpdateHostKeys no
    LogLevel ERROR
    ForwardAgent no
    ProxyCommand {sys.executable} -m engine.hosts.socks 127.0.0.1:1080 %h %p

Host worker.0 worker[0]
    HostName 10.0.0.9
    Port 2222
    User ubuntu
    IdentityFile "/my keys/100%%.pem"
    IdentitiesOnly yes
    UserKnownHostsFile /lab/known_hosts
    GlobalKnownHostsFile /dev/null
    HostKeyAlias worker.0
    StrictHostKeyChecking accept-new
    UpdateHostKeys no
    LogLevel ERROR
    ForwardAgent yes
    ProxyJump bastion
"""
    )


def test_nothing_heavy_is_imported_with_the_package() -> None:
    code = (
        "import sys, engine.hosts; "
        "print([name for name in ('paramiko', 'cryptography', 'boto3', 'socks') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
