"""The hosts to measure on: containers with systemd, OpenSSH and a Docker Engine each, behind a bastion."""

from __future__ import annotations

import hashlib
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from engine.sandbox.containers import image
from engine.sandbox.containers.engine import HOST_IMAGE

HERE = Path(__file__).parent
LABEL = "labctl.benchmark"
PACKAGES = ("tree", "bc", "zip", "unzip", "pv")
TOOLS = ("labctl", "pyinfra", "ansible", "script")
_CAPABILITIES = ("SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE")
_FREED = ("seccomp", "apparmor", "systempaths")


def docker(*args: str, stdin: bytes | None = None) -> str:
    """What `docker ARGS` prints; raises CalledProcessError where it fails."""
    done = subprocess.run(["docker", *args], input=stdin, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"docker {' '.join(args)}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode().strip()


def build(say: Callable[[str], None]) -> str:
    """The name of the image of a host, built where it is not there."""
    recipe = (HERE / "fleet.Dockerfile").read_bytes() + repr((HOST_IMAGE, PACKAGES, TOOLS)).encode()
    tag = f"labctl-benchmark:{hashlib.sha256(recipe).hexdigest()[:10]}"
    if docker("images", "-q", tag):
        return tag
    if not docker("images", "-q", HOST_IMAGE):
        image.build(say)
    say(f"building {tag}")
    services = " ".join(f"{tool}-{number}" for tool in TOOLS for number in (1, 2, 3))
    arguments = {"BASE": HOST_IMAGE, "PACKAGES": " ".join(PACKAGES), "SERVICES": services}
    options = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
    docker("build", "-q", "-t", tag, *options, "-f", str(HERE / "fleet.Dockerfile"), str(HERE))
    return tag


def clean() -> None:
    """Remove the fleets that killed runs have left."""
    containers = docker("ps", "-aq", "--filter", f"label={LABEL}").split()
    if containers:
        docker("rm", "-f", "-v", *containers)
    for network in docker("network", "ls", "-q", "--filter", f"label={LABEL}").split():
        docker("network", "rm", network)


class Fleet:
    """A bastion, `gate`, and hosts `h1`, `h2`, … on a network of their own."""

    def __init__(self, count: int, folder: Path, say: Callable[[str], None], cgroup: str = "") -> None:
        """`cgroup` is what the hosts' cgroups are to be in, where it is not Docker's own."""
        self.count = count
        self._cgroup = ("--cgroup-parent", cgroup) if cgroup else ()
        self.key = folder / "id"
        self.network = f"labctl-benchmark-{folder.name}"
        self._prefix = f"{self.network}-"
        self._folder = folder
        self._say = say
        self._relays: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Fleet:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def hosts(self) -> list[str]:
        """The names of those behind the bastion."""
        return [f"h{number}" for number in range(1, self.count + 1)]

    def address(self, name: str) -> str:
        """Where `name` is on the network."""
        return docker(
            "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", self._prefix + name
        )

    def relay(self, round_trip: float) -> int:
        """A port of 127.0.0.1 that leads to the bastion's port 22 over a line of `round_trip` seconds."""
        command = ["python3", str(HERE / "relay.py"), f"{self.address('gate')}:22", str(round_trip)]
        relay = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._relays.append(relay)
        assert relay.stdout is not None
        return int(relay.stdout.readline())

    def run(self, script: str, names: Iterable[str] = ()) -> list[str]:
        """What a script run as root prints on each of `names` (by default all behind the bastion)."""
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(lambda name: self._run(name, script), list(names) or self.hosts))

    def close(self) -> None:
        """Remove everything that this made."""
        for relay in self._relays:
            relay.terminate()
            relay.wait()
        containers = docker("ps", "-aq", "--filter", f"label={LABEL}={self.network}").split()
        if containers:
            docker("rm", "-f", "-v", *containers)
        if docker("network", "ls", "-q", "--filter", f"label={LABEL}={self.network}"):
            docker("network", "rm", self.network)

    def _start(self) -> None:
        tag = build(self._say)
        if not self.key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True)
        self._say(f"starting a bastion and {self.count} hosts")
        docker("network", "create", "--label", f"{LABEL}={self.network}", self.network)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda name: self._boot(name, tag), ["gate", *self.hosts]))
        self.run("systemctl is-system-running --wait >/dev/null; docker load -q -i /srv/page.tar")

    def _boot(self, name: str, tag: str) -> None:
        options = ["--name", self._prefix + name, "--hostname", name, "--label", f"{LABEL}={self.network}"]
        options += ["--network", self.network, "--cgroupns", "private", "-e", "container=docker"]
        options += [part for one in _CAPABILITIES for part in ("--cap-add", one)]
        options += [part for one in _FREED for part in ("--security-opt", f"{one}=unconfined")]
        options += ["--tmpfs", "/run:exec", "--tmpfs", "/run/lock", "-v", "/var/lib/labctl-storage"]
        docker("run", "-d", *self._cgroup, *options, tag)
        public = self.key.with_suffix(".pub").read_text().strip()
        login = (
            f"ssh-keygen -A >/dev/null; echo '{public}' >/home/admin/.ssh/authorized_keys; "
            "chown -R admin: /home/admin/.ssh; chmod 600 /home/admin/.ssh/authorized_keys"
        )
        self._run(name, login)
        for _ in range(300):
            if "1" in self._run(name, "systemctl restart ssh 2>/dev/null && echo 1 || :"):
                break
            time.sleep(0.2)
        if name == "gate":
            self._run(name, "systemctl disable --now docker.service docker.socket containerd.service 2>&1")

    def _run(self, name: str, script: str) -> str:
        return docker("exec", "-i", self._prefix + name, "sh", stdin=script.encode())


def undo(tool: str, *, packages: bool, containers: bool) -> str:
    """A script that takes from a host what `tool` has made there.

    Packages and containers where asked for; packages are installed where not.
    """
    lines: Sequence[str] = (
        f"docker ps -aq --filter name=^/{tool}- | xargs -r docker rm -f >/dev/null" if containers else "",
        f"systemctl disable --now {tool}-1 {tool}-2 {tool}-3 2>/dev/null",
        f"for one in 1 2 3; do userdel -r {tool}$one 2>/dev/null; done",
        f"rm -rf /srv/{tool}/* /srv/{tool} /var/lib/labctl /root/.ansible /home/admin/.ansible",
        f"apt-get {'purge' if packages else 'install'} -y -q {' '.join(PACKAGES)} >/dev/null 2>&1",
        "true",
    )
    return "\n".join(lines)
