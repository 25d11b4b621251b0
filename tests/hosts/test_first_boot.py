"""Troubles of a host's first hours, each made to happen on a real system, with the message that it gives.

One lab for all: `here` is well but for what the tests do to it; `slow` and `broken` have user data.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.containers import ContainerPlace, a_place, docker, with_host
from tests.hosts.servers import keygen
from tests.scenarios.place import Said

LAB = "boot@sandbox"
BOOK = "boot.yml"
LET_GO = "pkill -f '[u]nattended-upgrade'"
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
BASE = with_host(
    "boot",
    """\
  - name: slow
    ec2_instance:
      <<: *instance
      user_data: |
        #!/bin/sh
        for try in $(seq 600); do [ ! -e /run/go ] || break; sleep 0.1; done
        echo ready >/etc/ready
    ssh: {user: ubuntu, key: "{{ key.private_key_file }}"}
  - name: broken
    ec2_instance:
      <<: *instance
      user_data: |
        #!/bin/sh
        echo 'the disk of the course is missing' >&2
        exit 3
    ssh: {user: ubuntu, key: "{{ key.private_key_file }}"}
  - {name: on_slow, host: slow, command: {cmd: cat /etc/ready}}
  - {name: on_broken, host: broken, command: {cmd: "true"}}
  - {name: docker, host: here, docker_engine: {users: [ubuntu]}}
outputs: {address: "{{ here.public_ip }}", told_by_slow: "{{ on_slow.stdout }}"}
checks:
  - {name: the login user may use Docker, host: here, command: docker ps}
""",
)


class Boot:
    """The lab, and what is tried in it."""

    def __init__(self, place: ContainerPlace) -> None:
        self.place = place
        self.write(BASE)
        self.first = self.until("waiting for slow: cloud-init", "touch /run/go", "slow", code=1)

    def write(self, book: str) -> None:
        (self.place.folder / BOOK).write_text(book)

    def with_entries(self, *entries: str, edit: Callable[[str], str] = str) -> list[str]:
        """Puts entries on `here` into the playbook; the options that act on these alone."""
        lines = "".join(f"  - {{host: here, {entry}}}\n" for entry in entries)
        self.write(edit(BASE).replace("outputs:", f"{lines}outputs:"))
        names = [entry.split(",")[0].removeprefix("name: ") for entry in entries]
        return [word for name in names for word in ("--only", name)]

    def attempt(self, *entries: str, code: int = 1, edit: Callable[[str], str] = str) -> Said:
        """Apply with more entries on `here`, these alone."""
        only = self.with_entries(*entries, edit=edit)
        return self.place.run("apply", BOOK, "--yes", *only, code=code)

    def until(self, words: str, then: str, address: str = "here", *only: str, code: int = 0) -> str:
        """Apply; once it says `words`, a script is run on a host as root. All that it says."""
        said = ""
        with self.place.start("apply", BOOK, "--yes", *only) as process:
            assert process.stdout is not None
            for line in process.stdout:
                said += line
                if words in line and then:
                    self.inside(then, address)
                    then = ""
        assert process.returncode == code, said
        assert not then, f"{words!r} was never said:\n{said}"
        return said

    def inside(self, script: str, address: str = "here", *, check: bool = True) -> str:
        """What a script prints there, as root, asked of Docker."""
        return self.place.inside(LAB, address, "sh", "-c", script, check=check)

    def hold_lock(self) -> None:
        """apt's lock, held as unattended-upgrades holds it."""
        program = (
            "#!/usr/bin/python3\nimport fcntl, time\nlock = open('/var/lib/dpkg/lock-frontend', 'w')\n"
            "fcntl.lockf(lock, fcntl.LOCK_EX)\nopen('/run/held', 'w')\ntime.sleep(600)\n"
        )
        path = "/usr/local/bin/unattended-upgrade"
        self.inside(f'printf %s "{program}" >{path}; chmod 755 {path}; rm -f /run/held')
        docker("exec", "-d", self.place.container(LAB, "here"), path)
        self.inside("until [ -e /run/held ]; do sleep 0.05; done")

    def outputs(self, address: str) -> dict[str, Any]:
        """What labctl tells of one resource."""
        [found] = [one for one in self.place.json("show", BOOK)["resources"] if one["address"] == address]
        return dict(found["outputs"])

    def diagnosis(self, address: str) -> str:
        """The doctor's last line."""
        return self.place.run("doctor", address, code=1).out.splitlines()[-1]


@pytest.fixture(scope="module")
def boot(real_hosts: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boot]:
    with a_place(tmp_path_factory.mktemp("boot") / "work") as place:
        yield Boot(place)
        (place.folder / BOOK).write_text(BASE)
        place.run("destroy", BOOK, "--yes")
        assert place.left() == []


def flat(text: str) -> str:
    return " ".join(text.split())


# -- cloud-init


def test_cloud_init_is_waited_for_and_that_is_said(boot: Boot) -> None:
    assert (
        "waiting for slow: cloud-init still sets it up; its log there: /var/log/cloud-init-output.log"
        in boot.first
    )
    assert boot.place.json("output", BOOK)["told_by_slow"] == "ready"


def test_cloud_init_that_failed_shows_the_end_of_its_log(boot: Boot) -> None:
    assert "on_broken (create failed): cloud-init failed on broken:" in boot.first
    assert "the disk of the course is missing" in boot.first
    assert "correct its user data and replace it: --replace broken" in boot.first


def test_the_doctor_on_a_host_whose_cloud_init_failed(boot: Boot) -> None:
    assert boot.diagnosis("broken") == (
        "broken: its user data failed. To mend it: labctl ssh broken sudo tail -n 30 "
        "/var/log/cloud-init-output.log; then labctl apply --replace broken"
    )


# -- packages


def test_apts_lock_is_waited_for_and_its_holder_named(boot: Boot) -> None:
    boot.hold_lock()
    only = boot.with_entries("name: tree, apt: {name: tree}")
    said = boot.until("tree: waiting for apt's lock", LET_GO, "here", *only)
    assert "tree: waiting for apt's lock, which unattended-upgrades (process " in said
    assert "tree: created in " in said


def test_apts_lock_that_is_never_let_go(boot: Boot) -> None:
    boot.hold_lock()
    try:
        said = boot.attempt("name: jq, apt: {name: jq, lock_timeout: 2}")
        late = boot.attempt("name: jq, timeout: 6, apt: {name: jq}")
    finally:
        boot.inside(LET_GO)
    assert "jq (create failed): unattended-upgrades (process " in said.out
    assert ") has held apt's lock on the host for 2 s" in said.out
    assert "see there what it is doing: ps -fp " in said.out
    assert "not done after 6 s, ended there; the last it said: waiting for apt's lock" in flat(late.out)


def test_a_package_that_finds_no_room(boot: Boot) -> None:
    with full(boot, "/var/cache/apt/archives"):
        said = boot.attempt("name: cowsay, apt: {name: cowsay, update_cache: true}")
    assert "the host's disk is full: no room in /var/cache/apt/archives/" in said.out


# -- the disk


@contextmanager
def full(boot: Boot, folder: str) -> Iterator[None]:
    """Nothing more fits into `folder`: a disk of its own, and a small one."""
    boot.inside(
        f"mkdir -p {folder} && mount -t tmpfs -o size=64k,mode=1777 tmpfs {folder} && "
        f"dd if=/dev/zero of={folder}/fill bs=4k 2>/dev/null || :"
    )
    try:
        yield
    finally:
        boot.inside(f"umount {folder}")


def test_a_file_that_finds_no_room(boot: Boot) -> None:
    with full(boot, "/srv/small"):
        said = boot.attempt("name: page, copy: {dest: /srv/small/page, content: hello}")
    assert "page (create failed): the disk of here is full:" in said.out
    assert "cat: write error: No space left on device" in said.out
    assert "see where: labctl ssh here df -h; make room there, or give it a larger volume" in said.out


def test_a_host_without_room_for_what_is_sent(boot: Boot) -> None:
    with full(boot, "/tmp"):
        said = boot.attempt("name: page, copy: {dest: /srv/page, content: hello}")
        line = boot.diagnosis("here")
    assert "page (create failed): the disk of here is full:" in said.out
    assert line.startswith("here: /tmp is full: /tmp has 0.0 of 0.0 GB free. To mend it: ")


# -- Docker


def test_the_docker_group_holds_at_once(boot: Boot) -> None:
    """The connection over which Docker was installed had logged in before there was a group."""
    assert boot.place.json("check", BOOK) == [
        {"name": "the login user may use Docker", "passed": True, "detail": "exit status 0 on here"}
    ]
    said = boot.attempt("name: mine, command: {cmd: docker ps, become_user: ubuntu}", code=0)
    assert "mine: created" in said.err


def test_containers_that_cannot_be(boot: Boot) -> None:
    boot.inside("python3 -m http.server 8000 >/dev/null 2>&1 &")
    told = flat(
        boot.attempt(
            "name: hungry, docker_container: "
            '{name: hungry, image: "alpine:3", command: [tail, /dev/zero], memory: 16m}',
            'name: nobody, docker_container: {name: nobody, image: "nosuch/image:1"}',
            'name: old, docker_container: {name: old, image: "httpd:0.1"}',
            'name: web, docker_container: {name: web, image: "httpd:2.4", published_ports: ["8000:80"]}',
        ).out
    )
    for words in (
        "hungry (create failed): the container hungry was killed: it took more memory than its limit, 16 MB "
        "give it a larger `memory`, or less to do",
        "nobody (create failed): there is no image nosuch/image in the registry, or it needs a login",
        "old (create failed): the registry has no httpd:0.1 look at the tags that the image has on",
        "web (create failed): the port 0.0.0.0:8000 of the host is already taken by another program "
        "see which one: sudo ss -ltnp; then publish another port",
    ):
        assert words in told
    assert "nobody docker_container: its creation failed" in boot.place.run("plan", BOOK).out


def test_a_container_that_is_killed_later(boot: Boot) -> None:
    entry = (
        "name: hog, docker_container: "
        '{name: hog, image: "alpine:3", command: [sh, -c, "sleep 1; tail /dev/zero"], memory: 16m}'
    )
    boot.attempt(entry, code=0)
    state = "docker inspect -f '{{.State.OOMKilled}}-{{.State.ExitCode}}' hog"
    boot.inside(f"until [ $({state}) = true-137 ]; do sleep 0.1; done")
    assert "hog docker_container: it was killed: it took more memory than it may" in flat(
        boot.place.run("plan", BOOK).out
    )


def test_the_doctor_where_docker_was_stopped(boot: Boot) -> None:
    boot.inside("systemctl stop docker.socket docker")
    try:
        line = boot.diagnosis("here")
        said = boot.attempt('name: web, docker_container: {name: web, image: "httpd:2.4"}')
    finally:
        boot.inside("systemctl start docker")
    assert line.startswith("here: it does not answer: Cannot connect to the Docker daemon at ")
    assert line.endswith("To mend it: labctl ssh here sudo systemctl start docker")
    assert "Docker does not " in said.out


# -- users and keys


def test_root_is_told_who_to_log_in_as(boot: Boot) -> None:
    as_root = BASE.replace("ubuntu, key", "root, key")
    said = boot.attempt("name: probe, command: {cmd: id}", edit=lambda book: as_root)
    assert (
        "here does not work for the user root: it says “Please login as the user "
        '"ubuntu" rather than the user "root"”'
    ) in flat(said.out)
    assert "write ssh: {user: ubuntu} in the playbook" in said.out


def test_sudo_that_asks_for_a_password(boot: Boot) -> None:
    boot.inside("mv /etc/sudoers.d/90-cloud-init-users /root/kept")
    try:
        said = boot.attempt("name: probe, command: {cmd: id}")
        line = boot.diagnosis("here")
    finally:
        boot.inside("mv /root/kept /etc/sudoers.d/90-cloud-init-users")
    assert "ubuntu on here may become root only with a password" in said.out
    assert line.startswith("here: ubuntu may not become root without a password: sudo: a password is ")
    assert "To mend it: there: echo 'ubuntu ALL=(ALL) NOPASSWD:ALL'" in line


def test_several_users_on_one_host(boot: Boot, tmp_path: Path) -> None:
    key = keygen(tmp_path / "alice", "ecdsa")
    public = key.with_suffix(".pub").read_text().strip()
    as_alice = (
        '  - name: as_alice\n    ssh_host: {hostname: "{{ here.public_ip }}"}\n'
        f"    ssh: {{user: alice, key: {key}}}\n    depends_on: [alice]\n"
    )
    only = boot.with_entries(
        f'name: alice, user: {{name: alice, ssh_authorized_keys: ["{public}"]}}',
        "name: hers, depends_on: [alice], command: "
        "{cmd: 'id -un; pwd; echo $HOME', chdir: /home/alice, become_user: alice}",
        "name: nobodys, command: {cmd: id, become_user: bob}",
        edit=lambda book: book.replace("outputs:", f"{as_alice}outputs:"),
    )
    said = boot.place.run("apply", BOOK, "--yes", *only, "--only", "as_alice", code=1)
    assert "nobodys (create failed): there is no user bob on the host for the command to run as" in said.out
    assert boot.outputs("hers")["stdout"] == "alice\n/home/alice\n/home/alice"
    assert boot.place.run("ssh", "as_alice", "id", "-un").out == "alice\n"
    assert boot.place.run("ssh", "here", "id", "-un").out == "ubuntu\n"


# -- the way there


def test_a_group_without_a_rule_for_the_caller(boot: Boot) -> None:
    def others(book: str) -> str:
        return book.replace('"{{ my_ip }}"', "203.0.113.99/32")

    entry = "name: shut_out, timeout: 4, command: {cmd: groups}"
    boot.write(others(BASE))
    boot.place.run("apply", BOOK, "--yes", "--only", "group")
    try:
        said = boot.attempt(entry, edit=others)
    finally:
        mine = {"CidrIp": "203.0.113.7/32"}
        rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [mine]}
        group = boot.place.tagged(LAB)["group"]
        boot.place.aws().authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    boot.attempt(entry, code=0)
    assert "shut_out: waiting for here: port 22 of " in said.err
    assert "why?    its security groups (boot) let 203.0.113.99/32 in to port 22, but not you" in said.out


def test_a_host_that_shows_another_key(boot: Boot) -> None:
    boot.inside(
        "cp -a /etc/ssh /root/ssh && rm /etc/ssh/ssh_host_* && ssh-keygen -q -A && systemctl restart ssh"
    )
    try:
        said = boot.attempt("name: other_key, command: {cmd: uname}")
    finally:
        boot.inside("cp -a /root/ssh/ssh_host_* /etc/ssh/ && rm -r /root/ssh && systemctl restart ssh")
    assert "here cannot be reached: its host key has changed: it shows SHA256:" in flat(said.out)
    assert "if the machine was really made anew, remove the lines of here from " in flat(said.out)


def test_a_connection_that_dies_is_no_command_that_failed(boot: Boot) -> None:
    boot.with_entries("name: long, command: {cmd: sleep 613}")
    process = boot.place.start("apply", BOOK, "--yes", "--only", "long")
    boot.inside("until pgrep -f '^sleep 613' >/dev/null; do sleep 0.1; done; pkill -9 -f '^sshd: ubuntu'")
    out, _ = process.communicate(timeout=60)
    boot.inside("pkill -f '^sleep 613'", check=False)
    assert process.returncode == 1
    assert "the connection to here was lost while a script ran there" in flat(out)
    assert "run the same command again: labctl looks at what is there and goes on" in flat(out)
    said = boot.attempt("name: long, command: {cmd: 'kill -9 $$'}")
    assert "the commands on here ended with exit status 137" in said.out
    assert "connection" not in said.out


# -- reboots


def test_a_reboot_is_waited_for_and_goes_on(boot: Boot) -> None:
    def entries(value: int) -> tuple[str, str]:
        return (
            f"name: anew, reboot: {{triggers: [{value}], test_command: systemctl is-active docker}}",
            f"name: after, depends_on: [anew], command: {{cmd: {BOOT_ID}, triggers: {value}}}",
        )

    before = boot.inside(BOOT_ID)
    said = boot.attempt(*entries(1), code=0)
    assert "anew: rebooting" in said.err
    then = boot.inside(BOOT_ID)
    assert then != before
    assert boot.outputs("anew")["boot_id"] == boot.outputs("after")["stdout"] == then
    assert "No changes." in boot.place.run("plan", BOOK, *boot.with_entries(*entries(1))).out
    planned = boot.place.run("plan", BOOK, *boot.with_entries(*entries(2)))
    assert "anew reboot: what it reboots for has changed" in planned.out


def test_a_host_that_powers_off_by_itself_is_stopped_at_the_api(boot: Boot) -> None:
    boot.place.run("ssh", "slow", "sudo", "poweroff", code=None)
    instance = boot.place.tagged(LAB)["slow"]
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        [seen] = boot.place.aws().describe_instances(InstanceIds=[instance])["Reservations"]
        if seen["Instances"][0]["State"]["Name"] == "stopped":
            break
        time.sleep(0.2)
    assert seen["Instances"][0]["State"]["Name"] == "stopped"
