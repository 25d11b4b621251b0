"""A real OpenSSH server for each test that wants one: on loopback, with a high port and its own configuration."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engine.hosts import Hosts, HostSpec
from engine.resource import Machine


@dataclass
class Sshd:
    """A running sshd."""

    folder: Path
    port: int
    settings: str
    program: str
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        config = self.folder / "sshd_config"
        config.write_text(self.settings)
        with (self.folder / "sshd.log").open("ab") as log:
            self.process = subprocess.Popen([self.program, "-D", "-e", "-f", str(config)], stderr=log)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except ConnectionRefusedError:
                time.sleep(0.02)
        pytest.fail(f"sshd did not start:\n{self.log}")

    @property
    def log(self) -> str:
        return (self.folder / "sshd.log").read_text(errors="replace")

    def children(self) -> list[int]:
        """The processes that serve its connections."""
        if self.process is None:
            return []
        out = subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False
        )
        return [int(pid) for pid in out.stdout.split()]

    def cut(self) -> None:
        """Kill what serves its connections, as a reboot does."""
        for pid in self.children():
            with suppress(ProcessLookupError):
                os.kill(pid, 9)

    def stop(self) -> None:
        if self.process is not None:
            self.cut()
            self.process.kill()
            self.process.wait()
            self.process = None

    def new_host_keys(self) -> None:
        for path in self.folder.glob("host_*"):
            path.unlink()
        for sort in ("ed25519", "ecdsa"):
            keygen(self.folder / f"host_{sort}", sort)

    def host_keys(self) -> list[str]:
        return [path.read_text().strip() for path in sorted(self.folder.glob("host_*.pub"))]

    def machine(self, **more: object) -> Machine:
        return Machine("127.0.0.1", "127.0.0.1", self.port, **more)  # type: ignore[arg-type]


def keygen(path: Path, sort: str = "ed25519", *more: str) -> Path:
    arguments = ["ssh-keygen", "-q", "-t", sort, "-f", str(path), "-C", path.name, *more]
    subprocess.run(arguments if "-N" in more else [*arguments, "-N", ""], check=True)
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def sshd_program() -> str:
    """The path of sshd; installed where root may do so, else the test is skipped with the reason."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    found = shutil.which("sshd", path=path)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        command = ["apt-get", "install", "-y", "--no-install-recommends", "openssh-server"]
        subprocess.run(command, env=environment, check=False, capture_output=True)
        found = shutil.which("sshd", path=path)
    if found is None:
        pytest.skip("there is no sshd here (install openssh-server)")
    if shutil.which("ssh-keygen") is None:
        pytest.skip("there is no ssh-keygen here (install openssh-client)")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True, mode=0o755)
    return found


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory, sshd_program: str) -> Path:
    return keygen(tmp_path_factory.mktemp("key") / "lab.pem")


@pytest.fixture
def start_sshd(tmp_path: Path, sshd_program: str, key: Path) -> Iterator[Callable[..., Sshd]]:
    """Start one more sshd; `more` are lines for its configuration."""
    running: list[Sshd] = []

    def start(more: str = "", authorized: str | None = None) -> Sshd:
        folder = tmp_path / f"sshd{len(running)}"
        folder.mkdir()
        (folder / "authorized_keys").write_text(authorized or key.with_suffix(".pem.pub").read_text())
        port = free_port()
        settings = (
            f"Port {port}\nListenAddress 127.0.0.1\nPidFile none\nStrictModes no\nUsePAM no\n"
            f"HostKey {folder}/host_ed25519\nHostKey {folder}/host_ecdsa\n"
            f"AuthorizedKeysFile {folder}/authorized_keys\nPermitRootLogin yes\nLogLevel VERBOSE\n"
            f"PasswordAuthentication no\nKbdInteractiveAuthentication no\n{more}\n"
        )
        sshd = Sshd(folder, port, settings, sshd_program)
        sshd.new_host_keys()
        sshd.start()
        running.append(sshd)
        return sshd

    yield start
    for sshd in running:
        sshd.stop()


@dataclass
class LabHosts:
    """The hosts of a lab under test, and what they said."""

    hosts: Hosts
    folder: Path
    key: Path
    said: list[str] = field(default_factory=list)

    def know(self, sshd: Sshd, name: str = "bastion", **more: object) -> HostSpec:
        machine = more.pop("machine", None) or sshd.machine()
        given = {
            "name": name,
            "machine": machine,
            "user": login(),
            "key": str(self.key),
            "port": sshd.port,
            "via": None,
            **more,
        }
        spec = HostSpec(**given)  # type: ignore[arg-type]
        self.hosts.know(spec)
        return spec

    @property
    def user(self) -> str | None:
        """Who scripts run as: root where the tests are root's, else who logs in."""
        return "root" if os.geteuid() == 0 else None


def login() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture
def lab(tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LabHosts]:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    folder = tmp_path / "lab"
    hosts = Hosts(folder=folder)
    yield LabHosts(hosts, folder, key)
    hosts.close()
