"""OpenSSH's own ssh with the ssh_config that labctl writes: the bastion in between, the forwarded agent."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.jump import BOOK, jump
from tests.scenarios.place import Place

pytestmark = pytest.mark.skipif(shutil.which("ssh") is None, reason="OpenSSH's client is not installed")


@pytest.fixture(scope="module")
def place(place: Place) -> Place:
    """A place where the lab was applied, with the agent forwarded."""
    (place.folder / BOOK).write_text(jump(forward_agent=True))
    place.run("apply", BOOK, "--yes")
    return place


def config(place: Place) -> Path:
    return place.folder / ".labctl/jump@sandbox/ssh_config"


def ssh(place: Place, *args: str, agent: str | None = None) -> subprocess.CompletedProcess[str]:
    env = dict(place.env)
    if agent:
        env["SSH_AUTH_SOCK"] = agent
    command = ["ssh", "-F", str(config(place)), "-o", "BatchMode=yes", "-o", "ConnectTimeout=6", *args]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=60)


@pytest.fixture
def agent(place: Place) -> Iterator[str]:
    """The user's own ssh-agent, holding the lab's key."""
    said = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    found = dict(
        part.split("=", 1) for line in said.splitlines() for part in [line.split(";")[0]] if "=" in part
    )
    env = {**place.env, "SSH_AUTH_SOCK": found["SSH_AUTH_SOCK"]}
    subprocess.run(["ssh-add", "-q", str(place.home / ".ssh/jump.pem")], env=env, check=True)
    try:
        yield found["SSH_AUTH_SOCK"]
    finally:
        subprocess.run(["kill", found["SSH_AGENT_PID"]], check=True)


def test_plain_ssh_reaches_private_through_the_bastion(place: Place) -> None:
    done = ssh(place, "private", "cat /etc/labctl-note; echo; hostname -I")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["hello", place.json("output")["private_ip"]]


@pytest.mark.parametrize("command", ["plan", "check"])
def test_a_stale_config_is_put_right_by_whoever_looks(place: Place, command: str) -> None:
    right = config(place).read_text()
    config(place).write_text("# where the sandbox listened yesterday\n")
    place.run(command, BOOK)
    assert config(place).read_text() == right
    written = config(place).stat().st_mtime_ns
    place.run(command, BOOK)
    assert config(place).stat().st_mtime_ns == written


def test_direct_to_private_there_is_no_way(place: Place) -> None:
    address = place.json("output")["private_ip"]
    done = ssh(place, "-o", "ProxyJump=none", "-o", f"HostName={address}", "private", "true")
    assert done.returncode == 255
    import sys

    proxy = f"{sys.executable} -m engine.hosts.socks {place.sandbox['socks_proxy']} {address} 22"
    done = ssh(place, "-o", "ProxyJump=none", "-o", f"ProxyCommand={proxy}", "private", "true")
    assert done.returncode == 255


def test_exit_status_and_output_come_through(place: Place) -> None:
    done = ssh(place, "private", "printf 'a\\nb'; echo oops >&2; exit 7")
    assert (done.returncode, done.stdout) == (7, "a\nb")
    assert "oops" in done.stderr
    said = place.run("ssh", "private", "printf 'a\\nb'; echo oops >&2; exit 7", code=7)
    assert said.out == "a\nb"


def test_the_agent_is_forwarded_when_asked_for(place: Place, agent: str) -> None:
    done = ssh(place, "private", "ssh-add -l", agent=agent)
    assert done.returncode == 0, done.stderr
    assert "SHA256:" in done.stdout
    said = place.run("ssh", "private", "ssh-add -l", env={"SSH_AUTH_SOCK": agent})
    assert "SHA256:" in said.out


def test_without_an_agent_labctl_forwards_one_of_its_own(place: Place) -> None:
    said = place.run("ssh", "private", "ssh-add -l")
    assert "SHA256:" in said.out


def test_the_agent_stays_at_home_otherwise(place: Place, agent: str) -> None:
    playbook = place.folder / BOOK
    playbook.write_text(jump(forward_agent=False))
    try:
        place.run("apply", BOOK, "--yes")
        assert ssh(place, "private", "ssh-add -l", agent=agent).returncode == 2
        said = place.run("ssh", "private", "ssh-add -l", env={"SSH_AUTH_SOCK": agent}, code=2)
        assert "SHA256:" not in said.all
    finally:
        playbook.write_text(jump(forward_agent=True))
        place.run("apply", BOOK, "--yes")


def test_nothing_of_it_touches_the_users_own_known_hosts(place: Place) -> None:
    assert {path.name for path in (place.home / ".ssh").iterdir()} == {"jump.pem", "jump.pem.pub"}
