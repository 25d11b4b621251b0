"""OpenSSH's own ssh with the ssh_config that labctl writes, and `labctl ssh` in both its ways."""

from __future__ import annotations

import fcntl
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hosts.proxy import Socks
from tests.hosts.servers import LabHosts, Sshd, free_port, login

Start = Callable[..., Sshd]

needs_ssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh here")


def ssh(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["ssh", "-F", str(config), "-o", "BatchMode=yes", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@needs_ssh
def test_plain_ssh_goes_the_same_way(lab: LabHosts, start_sshd: Start) -> None:
    bastion, private = start_sshd(), start_sshd()
    lab.know(bastion)
    lab.know(private, "private[0]", via="bastion")
    lab.hosts.host("private[0]", timeout=20)
    config = lab.hosts.write_ssh_config()
    assert config.stat().st_mode & 0o777 == 0o600
    for name in ("private.0", "private[0]"):
        ran = ssh(config, name, "echo there; exit 3")
        assert (ran.returncode, ran.stdout, ran.stderr) == (3, "there\n", "")
    assert f"Accepted publickey for {login()}" in private.log


@needs_ssh
def test_plain_ssh_refuses_a_changed_host_key(lab: LabHosts, start_sshd: Start) -> None:
    sshd = start_sshd()
    lab.know(sshd)
    lab.hosts.host("bastion", timeout=20)
    sshd.stop()
    sshd.new_host_keys()
    sshd.start()
    ran = ssh(lab.hosts.write_ssh_config(), "bastion", "true")
    assert ran.returncode == 255
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in ran.stderr


@needs_ssh
def test_plain_ssh_through_the_proxy(lab: LabHosts, start_sshd: Start) -> None:
    bastion, private = start_sshd(), start_sshd()
    with Socks({"bastion.example": bastion.port}) as proxy:
        hosts = lab.through(proxy.address)
        machine = bastion.machine()
        lab.know(bastion, machine=type(machine)("bastion.example", None, bastion.port))
        lab.know(private, "private", via="bastion")
        assert hosts.host("private", timeout=20).run("echo in", user=lab.user).stdout == b"in\n"
        ran = ssh(hosts.write_ssh_config(), "private", "echo there")
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "there\n", "")
    assert set(proxy.asked) == {("bastion.example", bastion.port)}


def test_what_the_proxy_says_in_words(lab: LabHosts, start_sshd: Start) -> None:
    from engine.errors import HostUnreachable

    sshd = start_sshd()
    with Socks({"refused": 5, "silent": 4}) as proxy:
        lab.through(proxy.address)
        for name, what in (("refused", "refuses connections"), ("silent", "does not answer")):
            lab.know(sshd, machine=type(sshd.machine())(name, None, sshd.port))
            with pytest.raises(HostUnreachable, match=f"port {sshd.port} of {name} {what}"):
                lab.hosts.glance("bastion", timeout=2)
    lab.through(f"127.0.0.1:{free_port()}")
    lab.know(sshd)
    with pytest.raises(HostUnreachable, match=r"the SSH proxy 127.0.0.1:\d+ does not answer"):
        lab.hosts.glance("bastion", timeout=2)


# -- labctl ssh

_CHILD = """
import sys
from pathlib import Path
from engine.hosts import Hosts, HostSpec
from engine.hosts.interactive import ssh
from engine.resource import Machine
folder, port, user, key, forward, openssh, *command = sys.argv[1:]
hosts = Hosts(folder=Path(folder))
machine = Machine("127.0.0.1", None, int(port))
hosts.know(HostSpec("bastion", machine, user, key, int(port), None, forward == "yes"))
status = ssh(hosts, "bastion", command, openssh=None if openssh == "openssh" else "")
hosts.close()
sys.exit(status)
"""


def child(lab: LabHosts, sshd: Sshd, how: str, *command: str, forward: str = "no") -> list[str]:
    return [
        sys.executable, "-c", _CHILD, str(lab.folder), str(sshd.port), login(), str(lab.key), forward, how,
        *command,
    ]  # fmt: skip


@pytest.mark.parametrize("how", [pytest.param("openssh", marks=needs_ssh), "paramiko"])
def test_a_command_with_its_streams_and_status(lab: LabHosts, start_sshd: Start, how: str) -> None:
    sshd = start_sshd()
    ran = subprocess.run(
        child(lab, sshd, how, "cat; echo oops >&2; exit 9"),
        input=b"a\x00\xffb" * 50_000,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert ran.returncode == 9
    assert ran.stdout == b"a\x00\xffb" * 50_000
    assert ran.stderr == b"oops\n"


@pytest.mark.parametrize("how", [pytest.param("openssh", marks=needs_ssh), "paramiko"])
def test_the_agent_goes_along_only_when_asked(lab: LabHosts, start_sshd: Start, how: str) -> None:
    sshd = start_sshd()
    for forward, status in (("yes", 0), ("no", 2)):
        ran = subprocess.run(
            child(lab, sshd, how, "ssh-add", "-l", forward=forward),
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert ran.returncode == status
        assert (b"lab.pem" in ran.stdout) == (forward == "yes")


@pytest.mark.parametrize("how", [pytest.param("openssh", marks=needs_ssh), "paramiko"])
def test_a_shell_on_a_terminal(lab: LabHosts, start_sshd: Start, how: str) -> None:
    sshd = start_sshd()
    mine, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 123, 0, 0))
    before = termios.tcgetattr(theirs)
    process = subprocess.Popen(
        child(lab, sshd, how), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    seen = bytearray()
    reader = threading.Thread(target=_read_all, args=(mine, seen), daemon=True)
    reader.start()
    os.write(mine, b"stty size; echo sum-$((40+2)); exit 3\n")
    assert process.wait(30) == 3
    after = termios.tcgetattr(theirs)
    os.close(theirs)
    reader.join(5)
    os.close(mine)
    assert b"sum-42" in seen
    assert b"40 123" in seen
    assert after == before


def _read_all(mine: int, seen: bytearray) -> None:
    try:
        while data := os.read(mine, 4096):
            seen += data
    except OSError:
        return
