"""Keys with a passphrase: typed at the terminal of the real command line, or held by the user's agent."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hosts.servers import Sshd, keygen, login
from tests.scenarios.place import LABCTL, Place

Start = Callable[..., Sshd]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="what runs on hosts runs as root: run this as root")

PASSPHRASE = "open sesame"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return keygen(tmp_path / "mine", "ed25519")


@pytest.fixture
def place(tmp_path: Path, key: Path, start_sshd: Start) -> Place:
    """Two machines of one's own that take the key."""
    place = Place(tmp_path / "work")
    public = key.with_suffix(".pub").read_text()
    ports = [start_sshd(authorized=public).port for _ in range(2)]
    rest = f"user: {login()}, key: {key}, groups: [web]"
    hosts = "".join(f"  web-{port}: {{hostname: 127.0.0.1, port: {port}, {rest}}}\n" for port in ports)
    (place.folder / "mine.yml").write_text(f"target: ssh\nhosts:\n{hosts}")
    (place.folder / "own.yml").write_text(
        'name: own\nresources:\n  - name: note\n    loop: "{{ lab.groups.web }}"\n    host: "{{ item }}"\n'
        f'    copy: {{content: hi, dest: "{place.folder}/note-{{{{ item }}}}"}}\n'
    )
    return place


def lock(key: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", PASSPHRASE, "-f", str(key)], check=True)


def notes(place: Place) -> int:
    return len(list(place.folder.glob("note-*")))


def test_typed_at_the_terminal_once_for_all_hosts(place: Place, key: Path) -> None:
    lock(key)
    mine, theirs = pty.openpty()
    process = subprocess.Popen(
        [str(LABCTL), "apply", "own.yml", "-i", "mine.yml", "--yes"],
        cwd=place.folder,
        env=place.env,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    seen, typed = b"", 0
    while True:
        try:
            data = os.read(mine, 4096)
        except OSError:  # the other end of a terminal is closed
            break
        seen += data
        if seen.count(f"Passphrase of {key}: ".encode()) > typed:
            typed += 1
            os.write(mine, f"{PASSPHRASE}\n".encode())
    os.close(mine)
    assert process.wait(60) == 0, seen.decode()
    assert (typed, notes(place)) == (1, 2)
    assert PASSPHRASE.encode() not in seen


def test_held_by_the_users_agent(place: Place, key: Path) -> None:
    if shutil.which("ssh-agent") is None:
        pytest.skip("there is no ssh-agent here")
    out = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    agent = dict(part.split("=", 1) for part in out.replace("\n", "").split(";") if "=" in part)
    try:
        subprocess.run(["ssh-add", "-q", str(key)], env={**os.environ, **agent}, check=True)
        lock(key)
        place.run("apply", "own.yml", "-i", "mine.yml", "--yes", env=agent)
    finally:
        os.kill(int(agent["SSH_AGENT_PID"]), 15)
    assert notes(place) == 2


def test_nobody_there_to_type_it(place: Place, key: Path) -> None:
    lock(key)
    said = place.run("apply", "own.yml", "-i", "mine.yml", "--yes", code=1)
    assert f"the key file {key} has a passphrase, and no SSH agent holds the key" in " ".join(
        said.all.split()
    )
    assert notes(place) == 0
