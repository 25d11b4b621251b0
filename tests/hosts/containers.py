"""Real hosts for tests: a Docker Engine, the image that hosts start from, labs whose hosts are containers.

`python -m tests.hosts.containers` gets engine and image ready: a test session that needs them runs it at its
beginning, beside the tests that need neither.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from engine.hosts import Host, Hosts, HostSpec
from engine.resource import Machine
from engine.sandbox.containers.engine import HOST_IMAGE, INTERNET_IMAGE, name_of
from tests.scenarios.place import LABCTL, ROOT, Place

ASKED = "LABCTL_REAL_HOSTS"
"""Where there can be no real hosts, their tests are skipped. `required`: they fail; `no`: always skipped."""
RUN = "LABCTL_TEST_RUN"
"""Set by a test session for all its processes; who started the Docker Engine is told by it."""
PACKAGES = ("docker.io", "debootstrap", "iptables", "iproute2")
_KEPT = Path(tempfile.gettempdir()) / f"labctl-tests-{os.geteuid()}"
_STARTED = _KEPT / "dockerd.json"
_ENGINE_SECONDS = 60
_IMAGE_SECONDS = 1800


class NoRealHosts(Exception):
    """There can be no real hosts here; the reason in words."""


def docker(*args: str, check: bool = True) -> str:
    """What a `docker` command prints, asked of this machine's engine."""
    done = subprocess.run(["docker", *args], capture_output=True, text=True, timeout=300)
    assert not check or done.returncode == 0, f"docker {' '.join(args)}: {done.stderr}"
    return done.stdout.strip()


def get_ready() -> None:
    """A Docker Engine that answers, and the image of hosts. Raises NoRealHosts.

    One process of this machine at a time does it; the others wait, and find it done.
    """
    if os.environ.get(ASKED) == "no":
        raise NoRealHosts(f"real hosts are not wanted ({ASKED}=no)")
    _KEPT.mkdir(mode=0o700, exist_ok=True)
    with (_KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not answers():
            _start_engine()
        _build_image()


def get_ready_aside() -> subprocess.Popen[bytes]:
    """Begins with that beside the tests; who needs it waits for it by `get_ready`."""
    command = [sys.executable, "-m", "tests.hosts.containers"]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=ROOT, stdin=quiet, stdout=quiet, stderr=quiet)


def answers() -> bool:
    """Whether a Docker Engine can be used here."""
    if shutil.which("docker") is None:
        return False
    command = ["docker", "version", "--format", "{{.Server.Version}}"]
    try:
        return subprocess.run(command, capture_output=True, timeout=30).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def put_back() -> None:
    """Ends the Docker Engine if this test session has started it."""
    with suppress(FileNotFoundError):
        started: dict[str, Any] = json.loads(_STARTED.read_text())
        if started["run"] != os.environ.get(RUN):
            return
        _STARTED.unlink()
        with suppress(ProcessLookupError):
            os.kill(started["pid"], signal.SIGTERM)


def _start_engine() -> None:
    if sys.platform != "linux" or os.geteuid() != 0:
        raise NoRealHosts("no Docker Engine answers here, and only root on Linux could start one")
    if any(shutil.which(program) is None for program in ("dockerd", "debootstrap", "iptables", "ip")):
        _install()
    log = _KEPT / "dockerd.log"
    # By a shell that ends: the daemon is nobody's child, as the process that starts it may end before it.
    start = f"setsid dockerd </dev/null >{shlex.quote(str(log))} 2>&1 & echo $!"
    said = subprocess.run(["sh", "-c", start], capture_output=True, text=True, check=True)
    pid = int(said.stdout)
    _STARTED.write_text(json.dumps({"pid": pid, "run": os.environ.get(RUN)}))
    deadline = time.monotonic() + _ENGINE_SECONDS
    while not answers():
        if not Path(f"/proc/{pid}").exists() or time.monotonic() > deadline:
            raise NoRealHosts(f"dockerd does not start: {log.read_text()[-500:]}")
        time.sleep(0.5)


def _install() -> None:
    if shutil.which("apt-get") is None:
        raise NoRealHosts("no Docker Engine answers here, and there is no apt-get to install docker.io with")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (("update", "-q"), ("install", "-y", "-q", "--no-install-recommends", *PACKAGES)):
        done = subprocess.run(["apt-get", *words], env=environment, capture_output=True, text=True)
        if done.returncode:
            raise NoRealHosts(f"apt-get {words[0]} failed: {done.stderr.strip()[-300:]}")


def _build_image() -> None:
    there = docker("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
    if {HOST_IMAGE, INTERNET_IMAGE} <= set(there):
        return
    command = [str(LABCTL), "sandbox", "image"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_IMAGE_SECONDS)
    if done.returncode:
        raise NoRealHosts(f"labctl sandbox image: {done.stderr.strip()[-500:]}")


class ContainerPlace(Place):
    """A place whose inventory says `hosts: docker`. Whoever makes one closes it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.edit("inventory/sandbox.yml", "hosts: simulated", "hosts: docker")

    def container(self, lab: str, address: str) -> str:
        """The name of the container of an instance."""
        return f"{self._name}-{self.tagged(lab)[address]}"

    def inside(self, lab: str, address: str, *command: str, check: bool = True) -> str:
        """What a command prints as root in an instance's container, asked of Docker and not of labctl."""
        return docker("exec", self.container(lab, address), *command, check=check)

    def in_docker(self) -> list[str]:
        """Everything of this place's sandbox that Docker has: containers, stopped too, networks, volumes."""
        mine = ("--filter", f"label=labctl.sandbox={self._name}")
        return [
            *docker("ps", "-a", "--format", "{{.Names}}", *mine).split(),
            *docker("network", "ls", "--format", "{{.Name}}", *mine).split(),
            *docker("volume", "ls", "--format", "{{.Name}}", *mine).split(),
        ]

    def left(self, seconds: float = 60) -> list[str]:
        """What Docker still has a moment after everything was destroyed."""
        deadline = time.monotonic() + seconds
        while self.in_docker() and time.monotonic() < deadline:
            time.sleep(0.5)
        return self.in_docker()

    def close(self) -> None:
        """End the sandbox and remove what it has in Docker."""
        self.run("sandbox", "reset", "--yes", code=None)

    @property
    def _name(self) -> str:
        return name_of(Path(self.env["LABCTL_SANDBOX_DIR"]))


@contextmanager
def a_place(folder: Path) -> Iterator[ContainerPlace]:
    """A place on containers in `folder`, closed at the end."""
    place = ContainerPlace(folder)
    try:
        yield place
    finally:
        place.close()


_WITH_HOST = """
name: NAME
resources:
  - name: vpc
    ec2_vpc_net: {default: true}
  - name: group
    ec2_security_group:
      group_name: NAME
      description: NAME
      vpc_id: "{{ vpc.id }}"
      rules: [{proto: tcp, ports: 22, cidr_ip: "{{ my_ip }}"}]
  - name: key
    ec2_key: {key_name: NAME, private_key_file: "~/.ssh/NAME.pem"}
  - name: here
    ec2_instance: &instance
      image: ubuntu-22.04
      instance_type: t2.micro
      key_name: "{{ key.key_name }}"
      security_groups: ["{{ group.id }}"]
      assign_public_ip: true
    ssh: {user: ubuntu, key: "{{ key.private_key_file }}"}
"""


def with_host(name: str, rest: str) -> str:
    """A playbook with a host `here`, and then `rest`; `*instance` is there what the host is like."""
    return _WITH_HOST.replace("NAME", name) + rest


ONE_HOST = with_host("one", 'outputs: {address: "{{ here.public_ip }}"}\n')


@contextmanager
def one_host(place: ContainerPlace, folder: Path) -> Iterator[Host]:
    """A host with nothing on it, `here` of the lab `one@sandbox`, reached as the engine reaches hosts."""
    (place.folder / "playbooks/one.yml").write_text(ONE_HOST)
    place.run("apply", "playbooks/one.yml", "--yes")
    address = place.json("output", "playbooks/one.yml")["address"]
    machine = Machine(public_address=address, private_address=None)
    hosts = Hosts(folder=folder, proxy=place.sandbox["socks_proxy"])
    hosts.know(HostSpec("here", machine, "ubuntu", str(place.home / ".ssh/one.pem"), 22, None))
    try:
        yield hosts.host("here", say=lambda text: None)
    finally:
        hosts.close()
        place.run("destroy", "playbooks/one.yml", "--yes")


if __name__ == "__main__":
    try:
        get_ready()
    except NoRealHosts as reason:
        sys.exit(str(reason))
