from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import HostUnreachable
from engine.hosts import Hosts
from tests.hosts.servers import LabHosts, Sshd, free_port, keygen, login

Start = Callable[..., Sshd]


def message(caught: pytest.ExceptionInfo[HostUnreachable]) -> str:
    return caught.value.message


# -- host keys


def test_first_contact_trusts_and_says_so_and_keeps_to_it(lab: LabHosts, start_sshd: Start) -> None:
    sshd = start_sshd()
    lab.know(sshd)
    lab.hosts.host("bastion", say=lab.said.append, timeout=20)
    assert lab.said[0].startswith("trusting bastion's host key SHA256:")
    lab.hosts.close()

    again = Hosts(folder=lab.folder)
    again.know(lab.hosts.spec("bastion"))
    said: list[str] = []
    again.host("bastion", say=said.append, timeout=20)
    again.close()
    assert said == []
    assert (lab.folder / "known_hosts").stat().st_mode & 0o777 == 0o600


def test_a_changed_host_key_is_an_error_until_the_machine_is_forgotten(
    lab: LabHosts, start_sshd: Start
) -> None:
    sshd = start_sshd()
    lab.know(sshd)
    lab.hosts.host("bastion", timeout=20)
    lab.hosts.close()
    sshd.stop()
    sshd.new_host_keys()
    sshd.start()
    with pytest.raises(HostUnreachable) as caught:
        lab.hosts.host("bastion", timeout=20)
    assert "bastion cannot be reached: its host key has changed: it shows SHA256:" in message(caught)
    assert "  failed  host key is the known one\n  -       login as" in message(caught)
    assert f"remove the lines of bastion from {lab.folder}/known_hosts" in caught.value.remedy
    lab.hosts.forget("bastion")
    lab.know(sshd)
    assert lab.hosts.host("bastion", timeout=20).run("true", user=lab.user).status == 0


def test_a_machine_that_this_run_has_not_met_is_forgotten_too(lab: LabHosts) -> None:
    lab.folder.mkdir()
    key = keygen(lab.folder / "other").with_suffix(".pub").read_text()
    (lab.folder / "known_hosts").write_text(f"worker.0 {key}bastion {key}")
    lab.hosts.forget("worker[0]")
    assert (lab.folder / "known_hosts").read_text().split()[0] == "bastion"


def test_keys_told_by_the_console_are_checked_and_nothing_is_trusted_blindly(
    lab: LabHosts, start_sshd: Start
) -> None:
    sshd = start_sshd()
    lab.know(sshd, machine=replace(sshd.machine(), host_keys=sshd.host_keys))
    lab.hosts.host("bastion", say=lab.said.append, timeout=20)
    assert not [text for text in lab.said if "trusting" in text]
    assert len((lab.folder / "known_hosts").read_text().splitlines()) == 2

    other = keygen(lab.folder / "other").with_suffix(".pub").read_text()
    lab.know(sshd, "second", machine=replace(sshd.machine(), host_keys=lambda: [other]))
    with pytest.raises(HostUnreachable, match="its console output tells SHA256:"):
        lab.hosts.host("second", timeout=20)


def test_the_known_sort_of_key_is_asked_for(lab: LabHosts, start_sshd: Start) -> None:
    sshd = start_sshd()
    ecdsa = [key for key in sshd.host_keys() if key.startswith("ecdsa")]
    (lab.folder).mkdir()
    (lab.folder / "known_hosts").write_text(f"bastion {ecdsa[0].rsplit(' ', 1)[0]}\n")
    lab.know(sshd)
    lab.hosts.host("bastion", say=lab.said.append, timeout=20)
    assert lab.said == []


# -- keys and users


@pytest.mark.parametrize("sort", [("rsa", "-b", "2048"), ("rsa", "-b", "2048", "-m", "PEM"), ("ecdsa",)])
def test_keys_of_all_sorts(lab: LabHosts, start_sshd: Start, tmp_path: Path, sort: tuple[str, ...]) -> None:
    key = keygen(tmp_path / "k", *sort)
    sshd = start_sshd(authorized=key.with_suffix(".pub").read_text())
    lab.know(sshd, key=str(key))
    assert lab.hosts.host("bastion", timeout=20).run("true", user=lab.user).status == 0


def test_a_refused_key_on_a_machine_known_for_long(lab: LabHosts, start_sshd: Start, tmp_path: Path) -> None:
    sshd = start_sshd()
    lab.know(sshd)
    lab.hosts.host("bastion", timeout=20)
    other = keygen(tmp_path / "other")
    lab.know(sshd, key=str(other))
    began = time.monotonic()
    with pytest.raises(HostUnreachable) as caught:
        lab.hosts.host("bastion", timeout=20)
    assert time.monotonic() - began < 150
    assert f"it refuses the user {login()} with {other}" in message(caught)
    assert "ubuntu (Ubuntu), admin (Debian) or ec2-user" in caught.value.remedy


def test_a_fresh_machine_may_refuse_the_key_for_a_while(lab: LabHosts, start_sshd: Start, key: Path) -> None:
    sshd = start_sshd(authorized="\n")
    lab.know(sshd)
    keys = sshd.folder / "authorized_keys"
    threading.Timer(0.8, lambda: keys.write_text(key.with_suffix(".pem.pub").read_text())).start()
    lab.hosts.host("bastion", say=lab.said.append, timeout=20)
    assert any("waiting for bastion: it refuses the user" in text for text in lab.said)


def test_please_login_as_another_user(lab: LabHosts, start_sshd: Start, key: Path) -> None:
    text = 'Please login as the user \\"ubuntu\\" rather than the user \\"root\\".'
    public = key.with_suffix(".pem.pub").read_text()
    sshd = start_sshd(authorized=f"command=\"echo '{text}';echo;sleep 60;exit 142\" {public}")
    lab.know(sshd)
    began = time.monotonic()
    with pytest.raises(HostUnreachable) as caught:
        lab.hosts.glance("bastion").run("true", user=lab.user)
    assert time.monotonic() - began < 150
    assert f"bastion does not work for the user {login()}: it says “Please login as" in message(caught)
    assert caught.value.remedy == "write ssh: {user: ubuntu} in the playbook"


@pytest.mark.parametrize(
    ("make", "what", "remedy"),
    [
        (lambda path: None, "the key file {} does not exist", "was written once"),
        (lambda path: (path.write_text("x"), path.chmod(0o600)), "{} is not a private key", "puttygen"),
        (
            lambda path: (keygen(path), path.chmod(0o644)),
            "the key file {} is open to others (mode 0644)",
            "chmod",
        ),
        (
            lambda path: keygen(path, "ed25519", "-N", "geheim"),
            "the key file {} has a passphrase, and no SSH agent holds the key",
            "ssh-add",
        ),
        (
            lambda path: keygen(path, "rsa", "-m", "PEM", "-N", "geheim"),
            "the key file {} has a passphrase, and no SSH agent holds the key",
            "ssh-add",
        ),
    ],
)
def test_key_files_that_cannot_be_used(
    lab: LabHosts,
    start_sshd: Start,
    tmp_path: Path,
    make: Callable[[Path], object],
    what: str,
    remedy: str,
) -> None:
    path = tmp_path / "some.key"
    make(path)
    lab.know(start_sshd(), key=str(path))
    with pytest.raises(HostUnreachable) as caught:
        lab.hosts.host("bastion", timeout=20)
    assert message(caught).startswith("bastion cannot be reached: " + what.format(path))
    assert remedy in caught.value.remedy


@pytest.fixture
def ssh_agent(lab: LabHosts, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    if shutil.which("ssh-agent") is None:
        pytest.skip("there is no ssh-agent here")
    out = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    given = dict(part.split("=", 1) for part in out.replace("\n", "").split(";") if "=" in part)
    monkeypatch.setenv("SSH_AUTH_SOCK", given["SSH_AUTH_SOCK"])
    yield {**os.environ, **given}
    os.kill(int(given["SSH_AGENT_PID"]), 15)


def test_a_key_with_a_passphrase_is_used_through_the_agent(
    lab: LabHosts, start_sshd: Start, tmp_path: Path, ssh_agent: dict[str, str]
) -> None:
    key = keygen(tmp_path / "k")
    other = keygen(tmp_path / "other")
    for path in (other, key):
        subprocess.run(["ssh-add", "-q", str(path)], env=ssh_agent, check=True)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "geheim", "-f", str(key)], check=True)
    sshd = start_sshd("MaxAuthTries 1", authorized=key.with_suffix(".pub").read_text())
    lab.know(sshd, key=str(key))
    assert lab.hosts.host("bastion", timeout=20).run("true", user=lab.user).status == 0


# -- forwarding the agent


def test_agent_forwarding_off_by_default(lab: LabHosts, start_sshd: Start) -> None:
    lab.know(start_sshd())
    ran = lab.hosts.host("bastion", timeout=20).run("ssh-add -l; echo ${SSH_AUTH_SOCK-none}", user=lab.user)
    assert ran.stdout == b"none\n"


@pytest.mark.parametrize("sort", [("ed25519",), ("rsa", "-b", "2048"), ("ecdsa",)])
def test_labctls_own_agent_lists_and_signs(
    lab: LabHosts, start_sshd: Start, tmp_path: Path, sort: tuple[str, ...]
) -> None:
    key = keygen(tmp_path / "k.pem", *sort)
    public = key.with_suffix(".pem.pub").read_text()
    bastion, private = start_sshd(authorized=public), start_sshd(authorized=public)
    lab.know(bastion, key=str(key), forward_agent=True)
    host = lab.hosts.host("bastion", timeout=20)
    listed = host.run("ssh-add -l; ssh-add -L", user=lab.user).stdout.decode()
    assert public.split()[1] in listed
    assert "k.pem" in listed
    onward = (
        f"ssh -F none -o StrictHostKeyChecking=no -o UserKnownHostsFile={tmp_path}/kh -o BatchMode=yes "
        f"-o IdentityFile=none -p {private.port} 127.0.0.1 'echo over there'"
    )
    for _ in range(3):
        ran = host.run(onward, user=lab.user)
        assert (ran.status, ran.stdout) == (0, b"over there\n"), ran.stderr


def test_the_users_agent_is_forwarded_where_one_runs(
    lab: LabHosts, start_sshd: Start, tmp_path: Path, ssh_agent: dict[str, str]
) -> None:
    other = keygen(tmp_path / "mine")
    subprocess.run(["ssh-add", "-q", str(other)], env=ssh_agent, check=True)
    lab.know(start_sshd(), forward_agent=True)
    listed = lab.hosts.host("bastion", timeout=20).run("ssh-add -l", user=lab.user).stdout.decode()
    assert "mine" in listed
    assert "lab.pem" not in listed


# -- ways


def test_a_host_behind_another_shares_its_connection(lab: LabHosts, start_sshd: Start) -> None:
    bastion, private = start_sshd(), start_sshd()
    lab.know(bastion)
    names = [f"private[{number}]" for number in range(6)]
    for name in names:
        lab.know(private, name, via="bastion")
    threads = [
        threading.Thread(target=lambda name=name: lab.hosts.host(name, timeout=20).run("true", user=lab.user))
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(lab.hosts.host(name).round_trips == 1 for name in names)
    assert len(bastion.children()) == 1
    assert len(private.children()) == 6


def test_a_connection_that_only_leads_on_sends_small_packets_at_once(
    lab: LabHosts, start_sshd: Start, tmp_path: Path
) -> None:
    # OpenSSH turns Nagle's algorithm off with the first session: it gets one, and only one.
    sessions = tmp_path / "sessions"
    bastion = start_sshd(f"ForceCommand echo >>{sessions}")
    lab.know(bastion)
    private = start_sshd()
    for name in ("private[0]", "private[1]"):
        lab.know(private, name, via="bastion")
        assert lab.hosts.glance(name, timeout=20).run("true", user=lab.user).status == 0
    deadline = time.monotonic() + 10
    while not (sessions.exists() and sessions.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert sessions.read_text() == "\n"


def test_logging_in_anew_leaves_those_behind_alone(lab: LabHosts, start_sshd: Start) -> None:
    bastion, private = start_sshd(), start_sshd()
    lab.know(bastion)
    lab.know(private, "private", via="bastion")
    behind, before = lab.hosts.host("private", timeout=20), lab.hosts.host("bastion")
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(behind.run("sleep 1", user=lab.user).status))
    thread.start()
    time.sleep(0.3)
    old = before.run("echo $PPID", user=lab.user).stdout
    before.reconnect()
    assert before.run("echo $PPID", user=lab.user).stdout != old
    thread.join()
    assert results == [0]


def test_the_bastion_says_what_is_wrong_behind_it(lab: LabHosts, start_sshd: Start) -> None:
    bastion, private = start_sshd(), start_sshd()
    lab.know(bastion)
    port = free_port()
    machine = replace(private.machine(), port=port, explain=lambda: ["seen from outside"])
    lab.know(private, "private", via="bastion", port=port, machine=machine)
    with pytest.raises(HostUnreachable) as caught:
        lab.hosts.host("private", timeout=1)
    assert message(caught) == (
        f"private cannot be reached: bastion gets no connection to port {port} of 127.0.0.1\n"
        "  ok      instance: running and ready\n"
        "  ok      address: 127.0.0.1, through bastion\n"
        f"  failed  port {port} open\n"
        "  -       SSH server answers\n"
        "  -       host key is the known one\n"
        f"  -       login as {login()} with {lab.key}"
    )
    assert "security group must let the host before it in" in caught.value.remedy


def test_a_bastion_that_forwards_nothing(lab: LabHosts, start_sshd: Start) -> None:
    bastion, private = start_sshd("AllowTcpForwarding no"), start_sshd()
    lab.know(bastion)
    lab.know(private, "private", via="bastion")
    with pytest.raises(HostUnreachable, match="bastion does not allow connections to be forwarded"):
        lab.hosts.host("private", timeout=20)


def test_a_bastion_that_is_not_there(lab: LabHosts, start_sshd: Start) -> None:
    private = start_sshd()
    lab.know(private, machine=replace(private.machine(), port=free_port()), port=free_port())
    lab.know(private, "private", via="bastion")
    with pytest.raises(HostUnreachable, match=r"^private is behind bastion: bastion cannot be reached: port"):
        lab.hosts.glance("private")


def test_a_host_nobody_told_of(lab: LabHosts) -> None:
    with pytest.raises(HostUnreachable, match="elsewhere is not there yet"):
        lab.hosts.host("elsewhere")


# -- waiting


def test_waits_through_the_stages_and_says_why(lab: LabHosts, start_sshd: Start) -> None:
    sshd = start_sshd()
    sshd.stop()
    reasons = iter(["pending", "pending", "status checks initializing"])
    lab.know(sshd, machine=replace(sshd.machine(), not_ready=lambda: next(reasons, None)))
    threading.Timer(1.2, sshd.start).start()
    lab.hosts.host("bastion", say=lab.said.append, timeout=20)
    assert [text for text in lab.said if text.startswith("waiting")][:3] == [
        "waiting for bastion: pending",
        "waiting for bastion: status checks initializing",
        f"waiting for bastion: port {sshd.port} of 127.0.0.1 refuses connections",
    ]


def test_gives_up_when_time_is_up(lab: LabHosts, start_sshd: Start) -> None:
    sshd = start_sshd()
    sshd.stop()
    lab.know(sshd)
    began = time.monotonic()
    with pytest.raises(HostUnreachable, match="refuses connections"):
        lab.hosts.host("bastion", timeout=1)
    assert time.monotonic() - began < 15


def test_a_glance_waits_for_nothing(lab: LabHosts, start_sshd: Start) -> None:
    sshd = start_sshd()
    lab.know(sshd, machine=replace(sshd.machine(), not_ready=lambda: "stopped"))
    sshd.stop()
    with pytest.raises(HostUnreachable, match=r"^bastion cannot be reached: stopped$"):
        lab.hosts.glance("bastion")


def test_an_open_port_that_is_no_ssh_server(lab: LabHosts, start_sshd: Start) -> None:
    import socket

    sshd = start_sshd()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        lab.know(sshd, machine=replace(sshd.machine(), port=port), port=port)
        with pytest.raises(HostUnreachable, match=f"port {port} is open, but no SSH server answers"):
            lab.hosts.glance("bastion", timeout=0.5)


def test_no_address(lab: LabHosts, start_sshd: Start) -> None:
    sshd = start_sshd()
    lab.know(sshd, machine=replace(sshd.machine(), public_address=None, private_address=None))
    with pytest.raises(HostUnreachable, match="it has no public address") as caught:
        lab.hosts.glance("bastion")
    assert "ssh: {via: bastion}" in caught.value.remedy
