"""A real OpenSSH server for a test: on loopback, with a high port and its own configuration."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import time
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

    def through(self, proxy: str) -> Hosts:
        """From now on through a SOCKS5 proxy."""
        self.hosts.close()
        self.hosts = Hosts(folder=self.folder, proxy=proxy)
        return self.hosts

    @property
    def user(self) -> str | None:
        """Who scripts run as: root where the tests are root's, else who logs in."""
        return "root" if os.geteuid() == 0 else None


def login() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name
