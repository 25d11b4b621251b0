"""`target: ssh`: the real command line on machines that are already there, each a real sshd."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hosts.ansible import pongs
from tests.hosts.servers import Sshd, keygen, login
from tests.scenarios.place import Place

Start = Callable[..., Sshd]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="what runs on hosts runs as root: run this as root")

PLAYBOOK = """\
name: own
resources:
  - name: note
    loop: "{{ lab.groups.web }}"
    host: "{{ item }}"
    copy: {content: "hello {{ item }}", dest: "FOLDER/note-{{ item }}"}
outputs: {gate: "{{ gate.public_ip }}"}
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path / "work")
    (place.folder / "own.yml").write_text(PLAYBOOK.replace("FOLDER", str(place.folder)))
    return place


def three_hops(place: Place, start_sshd: Start, key: Path) -> list[Sshd]:
    """gate, web-1 behind it, web-2 behind that; every one on a port of its own."""
    servers = [start_sshd() for _ in range(3)]
    gate, first, second = (sshd.port for sshd in servers)
    shutil.copy(key, place.folder / "lab.pem")
    (place.folder / "mine.yml").write_text(
        f"target: ssh\nhosts:\n"
        f"  gate: {{hostname: 127.0.0.1, port: {gate}, user: {login()}, key: lab.pem}}\n"
        f"  web-1:\n    {{hostname: 127.0.0.1, port: {first}, user: {login()}, key: lab.pem, "
        "via: gate, groups: [web]}\n"
        f"  web-2:\n    {{hostname: 127.0.0.1, port: {second}, user: {login()}, key: lab.pem, "
        "via: web-1, groups: [web]}\n"
    )
    return servers


def test_from_plan_to_destroy_over_three_hops(place: Place, start_sshd: Start, key: Path) -> None:
    servers = three_hops(place, start_sshd, key)
    said = place.run("plan", "own.yml", "-i", "mine.yml")
    assert "Plan: 2 to add, 0 to change, 0 to destroy. 3 to take on as found." in said.out
    assert said.err.splitlines()[0] == "own@mine · your own machines, over SSH"
    place.run("apply", "own.yml", "-i", "mine.yml", "--yes")
    assert (place.folder / "note-web-2").read_text() == "hello web-2"
    assert "No changes." in place.run("plan", "own.yml", "-i", "mine.yml").out
    done = place.run("ssh", "web-2", "echo $SSH_CONNECTION")
    assert done.out.split()[-1] == str(servers[2].port)
    # Whether the Docker of the machine that the tests run on is up is its own affair.
    found = json.loads(place.run("doctor", "web-2", "--json", code=None).out)
    assert {one["stage"] for one in found["stages"] if one["result"] == "failed"} <= {"Docker"}
    assert {one["host"] for one in found["stages"]} == {"gate", "web-1", "web-2"}

    servers[1].stop()
    said = place.run("doctor", "web-2", code=1)
    assert said.out.splitlines()[-1].startswith(
        f"web-1: gate gets no connection to port {servers[1].port} of 127"
    )
    servers[1].start()
    said = place.run("destroy", "own.yml", "-i", "mine.yml", "--yes")
    assert "Left there: web-2 (ssh_host" in said.out
    assert not (place.folder / "note-web-2").exists()


def test_an_inventory_of_ansible(place: Place, start_sshd: Start, key: Path) -> None:
    gate, web = start_sshd(), start_sshd()
    shutil.copy(key, place.folder / "lab.pem")
    (place.folder / "hosts.ini").write_text(
        f"gate ansible_host=127.0.0.1:{gate.port}\n".replace(f":{gate.port}", f" ansible_port={gate.port}")
        + f"[web]\nweb[01:02] ansible_host=127.0.0.1 ansible_port={web.port}\n"
        + f"[web:vars]\nansible_ssh_common_args='-o ProxyJump={login()}@gate'\n"
        + f"[all:vars]\nansible_user={login()}\nansible_ssh_private_key_file=lab.pem\n"
    )
    (place.folder / "mine.yml").write_text("target: ssh\nhosts_from: hosts.ini\n")
    place.run("apply", "own.yml", "-i", "mine.yml", "--yes")
    assert (place.folder / "note-web01").read_text() == "hello web01"
    assert (place.folder / "note-web02").exists()
    assert not (place.folder / "note-gate").exists()
    assert "Accepted publickey" in gate.log


def test_the_users_own_ssh_settings(place: Place, start_sshd: Start, key: Path) -> None:
    gate, web = start_sshd(), start_sshd()
    folder = place.home / ".ssh"
    (folder / "extra").write_text(f"Host hop\n  HostName 127.0.0.1\n  Port {gate.port}\n")
    (folder / "config").write_text(
        f"Include {folder}/extra\nHost gate\n  HostName 127.0.0.1\n  Port {web.port}\n  ProxyJump hop\n"
        f"Host *\n  User {login()}\n  IdentityFile {key}\n"
    )
    (folder / "known_hosts").write_text(
        "".join(f"[127.0.0.1]:{web.port} {line.rsplit(' ', 1)[0]}\n" for line in web.host_keys())
    )
    (place.folder / "own.yml").write_text(
        "name: own\nresources:\n"
        f"  - {{name: note, host: gate, copy: {{content: hi, dest: {place.folder}/note}}}}\n"
    )
    (place.folder / "mine.yml").write_text("target: ssh\nhosts: {gate: }\n")
    place.run("apply", "own.yml", "-i", "mine.yml", "--yes")
    assert (place.folder / "note").read_text() == "hi"
    [known] = (place.folder / ".labctl").rglob("known_hosts")
    names = [line.split()[0] for line in known.read_text().splitlines()]
    assert names.count("gate") == 2, "both of its keys are taken from the user's known_hosts"
    assert len(names) == 3
    assert "Accepted publickey" in gate.log
    assert place.run("ssh", "gate", "echo $SSH_CONNECTION").out.split()[-1] == str(web.port)

    (folder / "known_hosts").write_text("")
    web.stop()
    web.new_host_keys()
    web.start()
    assert "its host key has changed" in place.run("doctor", "gate", code=1).out


def test_a_proxy_command_is_no_jump(place: Place) -> None:
    (place.home / ".ssh/config").write_text("Host gate\n  ProxyCommand nc %h %p\n")
    (place.folder / "mine.yml").write_text("target: ssh\nhosts: {gate: {groups: [web]}}\n")
    said = place.run("plan", "own.yml", "-i", "mine.yml")
    assert "sets a ProxyCommand for gate, which labctl does not use" in " ".join(said.all.split())


def test_what_ansible_is_told(place: Place, start_sshd: Start, key: Path) -> None:
    three_hops(place, start_sshd, key)
    empty = place.run("inventory", "--ansible", "own.yml", "-i", "mine.yml")
    assert "say labctl apply first" in empty.err
    place.run("apply", "own.yml", "-i", "mine.yml", "--yes")
    told = json.loads(place.run("inventory", "--ansible", "--list").out)
    assert told["web"] == {"hosts": ["web-1", "web-2"]}
    assert told["ssh_host"] == {"hosts": ["gate", "web-1", "web-2"]}
    assert told["all"] == {"children": ["ssh_host", "web"]}
    one = json.loads(place.run("inventory", "--ansible", "--host", "web-2").out)
    assert one == told["_meta"]["hostvars"]["web-2"]
    assert json.loads(place.run("inventory", "--ansible", "--host", "nobody").out) == {}
    words = one["ansible_ssh_common_args"].split()
    done = subprocess.run(
        ["ssh", *words, "-p", str(one["ansible_port"]), one["ansible_host"], "echo there"],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "there\n", done.stderr
    assert place.run("inventory", code=3).err.startswith("Error: Say --ansible")


def test_ansible_reaches_every_host(place: Place, start_sshd: Start, key: Path) -> None:
    three_hops(place, start_sshd, key)
    place.run("apply", "own.yml", "-i", "mine.yml", "--yes")
    assert pongs(place) == {"gate", "web-1", "web-2"}


def test_several_users_with_keys_of_their_own(place: Place, start_sshd: Start, tmp_path: Path) -> None:
    key = keygen(tmp_path / "rsa", "rsa", "-b", "2048")
    sshd = start_sshd(authorized=key.with_suffix(".pub").read_text())
    other = keygen(tmp_path / "ecdsa", "ecdsa")
    second = start_sshd(authorized=other.with_suffix(".pub").read_text())
    (place.folder / "mine.yml").write_text(
        "target: ssh\nhosts:\n"
        f"  gate: {{hostname: localhost, port: {sshd.port}, user: {login()}, key: {key}, groups: [web]}}\n"
        f"  mate: {{hostname: localhost, port: {second.port}, key: {other}, groups: [web]}}\n"
    )
    place.run("apply", "own.yml", "-i", "mine.yml", "--yes")
    assert (place.folder / "note-mate").exists()
    assert (place.folder / "note-gate").exists()
