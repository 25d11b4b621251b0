"""SSH as people use it: passphrases that are typed, three hops, files with progress, output of any bytes."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import HostUnreachable, StepFailed
from engine.hosts import Hosts
from engine.hosts.keys import Passphrases
from engine.on_host import Upload
from tests.hosts.servers import LabHosts, Sshd, keygen

Start = Callable[..., Sshd]


class Typist:
    """Types these words, one a question, then nothing."""

    def __init__(self, *words: str) -> None:
        self.asked: list[str] = []
        self._words = list(words)

    def __call__(self, question: str) -> str | None:
        self.asked.append(question)
        return self._words.pop(0) if self._words else None


def typing(lab: LabHosts, *words: str) -> Typist:
    typist = Typist(*words)
    lab.hosts.close()
    lab.hosts = Hosts(folder=lab.folder, passphrases=Passphrases(typist))
    return typist


@pytest.mark.parametrize(
    "sort", [("ed25519",), ("rsa", "-b", "2048"), ("rsa", "-b", "2048", "-m", "PEM"), ("ecdsa",)]
)
def test_a_passphrase_is_asked_for_once_for_all_hosts(
    lab: LabHosts, start_sshd: Start, tmp_path: Path, sort: tuple[str, ...]
) -> None:
    key = keygen(tmp_path / "k", *sort, "-N", "geheim")
    public = key.with_suffix(".pub").read_text()
    typist = typing(lab, "falsch", "geheim")
    names = ["one", "two", "three"]
    for name in names:
        lab.know(start_sshd(authorized=public), name, key=str(key))
    found: list[int] = []

    def run(name: str) -> None:
        found.append(lab.hosts.host(name, timeout=20).run("true", user=lab.user).status)

    threads = [threading.Thread(target=run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [0, 0, 0]
    assert typist.asked == [f"Passphrase of {key}: "] * 2


def test_a_passphrase_that_is_wrong_three_times(lab: LabHosts, start_sshd: Start, tmp_path: Path) -> None:
    key = keygen(tmp_path / "k", "ed25519", "-N", "geheim")
    typing(lab, "a", "b", "c", "geheim")
    lab.know(start_sshd(), key=str(key))
    with pytest.raises(HostUnreachable, match="that is not the passphrase of "):
        lab.hosts.glance("bastion")


def test_nobody_to_type_a_passphrase(lab: LabHosts, start_sshd: Start, tmp_path: Path) -> None:
    key = keygen(tmp_path / "k", "ed25519", "-N", "geheim")
    typing(lab)
    lab.know(start_sshd(), key=str(key))
    with pytest.raises(HostUnreachable, match="has a passphrase, and no SSH agent holds the key"):
        lab.hosts.glance("bastion")


def test_three_hops_each_on_a_port_of_its_own(lab: LabHosts, start_sshd: Start) -> None:
    first, second, third, last = (start_sshd() for _ in range(4))
    lab.know(first, "first")
    lab.know(second, "second", via="first")
    lab.know(third, "third", via="second")
    lab.know(last, "last", via="third")
    ran = lab.hosts.host("last", timeout=20).run("echo $SSH_CONNECTION", user=None)
    assert ran.stdout.split()[-1] == str(last.port).encode()
    assert all(len(sshd.children()) == 1 for sshd in (first, second, third, last))


def test_output_of_any_bytes_on_both_streams(lab: LabHosts, start_sshd: Start) -> None:
    lab.know(start_sshd())
    host = lab.hosts.host("bastion", timeout=20)
    every = bytes(range(256)) * 300
    ran = host.run("cat", stdin=every, user=lab.user)
    assert ran.stdout == every
    octal = "".join(f"\\{byte:03o}" for byte in range(256))
    ran = host.run(f"printf '{octal}' >&2; printf '{octal}'", user=lab.user)
    assert (ran.stdout, ran.stderr) == (bytes(range(256)), bytes(range(256)))


def test_two_hundred_megabytes_with_progress(lab: LabHosts, start_sshd: Start, tmp_path: Path) -> None:
    file = tmp_path / "big"
    block = bytes(range(256)) * 4096
    digest = hashlib.sha256()
    with file.open("wb") as out:
        for _ in range(200):
            out.write(block)
            digest.update(block)
    lab.know(start_sshd())
    host = lab.hosts.host("bastion", timeout=20)
    said: list[str] = []
    ran = host.run('sha256sum <"$labctl_upload_1"', files=[Upload(file)], user=lab.user, say=said.append)
    assert ran.stdout.decode().split()[0] == digest.hexdigest()
    assert said
    assert all(re.fullmatch(r"sending: \d+ of 210 MB, \d+ %", text) for text in said)
    said.clear()
    host.run("true", files=[Upload(b"small")], user=lab.user, say=said.append)
    assert said == []


def test_an_idle_connection_is_kept_alive(lab: LabHosts, start_sshd: Start) -> None:
    sshd = start_sshd("LogLevel DEBUG1")
    sshd.settings = sshd.settings.replace("LogLevel VERBOSE\n", "")
    sshd.stop()
    sshd.start()
    lab.know(sshd)
    host = lab.hosts.host("bastion", timeout=20)
    assert host.run("sleep 17", user=lab.user).status == 0
    assert "keepalive@" in sshd.log


def test_what_a_script_says_while_it_runs_is_heard_at_once(lab: LabHosts, start_sshd: Start) -> None:
    lab.know(start_sshd())
    host = lab.hosts.host("bastion", timeout=20)
    heard: list[tuple[str, float]] = []
    began = time.monotonic()
    script = "echo 'labctl-say: waiting for a lock' >&2; echo other >&2; sleep 2; echo done"
    ran = host.run(script, user=lab.user, say=lambda words: heard.append((words, time.monotonic() - began)))
    assert [words for words, _ in heard] == ["waiting for a lock"]
    assert heard[0][1] < 1.8
    assert (ran.stdout, ran.stderr) == (b"done\n", b"labctl-say: waiting for a lock\nother\n")


def test_the_last_words_of_a_script_that_takes_too_long_are_told(lab: LabHosts, start_sshd: Start) -> None:
    lab.know(start_sshd())
    host = lab.hosts.host("bastion", timeout=20)
    with pytest.raises(StepFailed) as caught:
        host.run("echo 'labctl-say: waiting for a lock' >&2; sleep 30", user=lab.user, timeout=1)
    assert caught.value.message == (
        "bastion: not done after 1 s, ended there; the last it said: waiting for a lock"
    )


def test_one_host_under_two_names_with_a_key_each(lab: LabHosts, start_sshd: Start, tmp_path: Path) -> None:
    first, second = keygen(tmp_path / "one", "ecdsa"), keygen(tmp_path / "two", "rsa", "-b", "2048")
    keys = "".join(key.with_suffix(".pub").read_text() for key in (first, second))
    sshd = start_sshd(authorized=keys)
    lab.know(sshd, "mine", key=str(first))
    lab.know(sshd, "theirs", key=str(second))
    hosts = [lab.hosts.host(name, timeout=20) for name in ("mine", "theirs")]
    assert all(host.run("true", user=lab.user).status == 0 for host in hosts)
    assert len(sshd.children()) == 2
