from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.hosts import Hosts
from tests.hosts.servers import LabHosts, Sshd, free_port, keygen


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


@pytest.fixture
def lab(tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LabHosts]:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    folder = tmp_path / "lab"
    lab_hosts = LabHosts(Hosts(folder=folder), folder, key)
    yield lab_hosts
    lab_hosts.hosts.close()
