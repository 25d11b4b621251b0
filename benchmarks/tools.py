"""labctl, Ansible and pyinfra: their environments, what they need to know of the hosts, their commands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fleet import Fleet

TASKS = Path(__file__).parent / "tasks"


class Failed(Exception):
    """A tool did not do what it was to do; with what it printed."""


@dataclass(frozen=True)
class Run:
    """One command that has ended well: seconds that it took, and what it printed."""

    seconds: float
    output: str


class Tool(Protocol):
    """What is measured: a first run and one that finds nothing to do are the same command."""

    name: str

    def run(self) -> Run:
        """Bring the hosts to the twenty tasks."""
        ...

    def plan(self) -> Run:
        """Tell what would be done, and do nothing."""
        ...

    def forget(self) -> None:
        """Be as before the first run; what is on the hosts is taken away by others."""
        ...

    def unchanged(self, output: str) -> bool:
        """Whether a run says that it found nothing to do."""
        ...


def environment(folder: Path, requirement: str, say: Callable[[str], None]) -> Path:
    """The programs of a virtual environment of its own with `requirement` in it."""
    if not (folder / "ready").exists():
        say(f"installing {requirement}")
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([folder / "bin/pip", "install", "--quiet", requirement], check=True)
        (folder / "ready").touch()
    return folder / "bin"


def version(program: Path) -> str:
    """What a program says that it is."""
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]


class _Program:
    """A command line program in a folder with the tasks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(TASKS, folder, dirs_exist_ok=True)
        # Settings of this Python are not those that people run programs with; the path may be.
        usual = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("PYTHON") or name == "PYTHONPATH"
        }
        self._environ = {**usual, "HOME": str(folder), "NO_COLOR": "1", "LC_ALL": "C.UTF-8"}

    def _timed(self, command: Sequence[str | Path]) -> Run:
        began = time.monotonic()
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        seconds = time.monotonic() - began
        output = done.stdout.decode(errors="replace")
        if done.returncode:
            raise Failed(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{output[-3000:]}")
        return Run(seconds, output)


class Labctl(_Program):
    """labctl as installed beside this Python."""

    name = "labctl"

    def __init__(self, folder: Path, fleet: Fleet, port: int) -> None:
        super().__init__(folder)
        self._program = Path(sys.executable).with_name("labctl")
        login = f"user: admin, key: {fleet.key}"
        lines = ["target: ssh", "hosts:", f"  gate: {{hostname: 127.0.0.1, port: {port}, {login}}}"]
        for host in fleet.hosts:
            lines.append(f"  {host}: {{hostname: {fleet.address(host)}, {login}, via: gate, groups: [web]}}")
        (folder / "fleet.yml").write_text("\n".join(lines) + "\n")

    def run(self) -> Run:
        return self._labctl("apply", "--yes")

    def plan(self) -> Run:
        return self._labctl("plan")

    def forget(self) -> None:
        shutil.rmtree(self.folder / ".labctl", ignore_errors=True)

    def unchanged(self, output: str) -> bool:
        return "No changes." in output

    def _labctl(self, *command: str) -> Run:
        return self._timed([self._program, *command, "labctl.yml", "-i", "fleet.yml"])


def ssh_config(folder: Path, fleet: Fleet, port: int) -> str:
    """What OpenSSH needs to know: the way through the bastion, and connections that stay."""
    lines = [
        "Host *",
        "  User admin",
        f"  IdentityFile {fleet.key}",
        "  IdentitiesOnly yes",
        "  StrictHostKeyChecking no",
        f"  UserKnownHostsFile {folder}/known_hosts",
        "  LogLevel ERROR",
        "  ControlMaster auto",
        "  ControlPersist 600",
        f"  ControlPath {folder}/%C",
        "Host gate",
        "  HostName 127.0.0.1",
        f"  Port {port}",
    ]
    for host in fleet.hosts:
        lines += [f"Host {host}", f"  HostName {fleet.address(host)}", "  ProxyJump gate"]
    return "\n".join(lines) + "\n"


class Ansible(_Program):
    """Ansible with pipelining and connections that stay, all hosts side by side, without gathering facts."""

    name = "ansible"

    def __init__(self, folder: Path, fleet: Fleet, port: int, programs: Path) -> None:
        super().__init__(folder)
        self._programs = programs
        self._hosts = ["gate", *fleet.hosts]
        (folder / "ssh_config").write_text(ssh_config(folder, fleet, port))
        (folder / "hosts.ini").write_text("[web]\n" + "".join(f"{host}\n" for host in fleet.hosts))
        (folder / "ansible.cfg").write_text(
            "[defaults]\ninventory = hosts.ini\nforks = 50\nhost_key_checking = False\n"
            "interpreter_python = /usr/bin/python3\n"
            f"[ssh_connection]\npipelining = True\nssh_args = -F {folder}/ssh_config\n"
            f"control_path = {folder}/%%C\n"
        )

    def run(self) -> Run:
        return self._timed([self._programs / "ansible-playbook", "ansible.yml"])

    def plan(self) -> Run:
        return self._timed([self._programs / "ansible-playbook", "--check", "ansible.yml"])

    def forget(self) -> None:
        for host in reversed(self._hosts):
            command = ["ssh", "-F", str(self.folder / "ssh_config"), "-O", "exit", host]
            subprocess.run(command, capture_output=True, check=False)

    def unchanged(self, output: str) -> bool:
        return not re.search(r"changed=[1-9]", output)


class Script(_Program):
    """What somebody would type, as one script a host: it looks at nothing and cannot be run twice.

    How long apt, Docker and the rest take by themselves.
    """

    name = "script"

    def __init__(self, folder: Path, fleet: Fleet, port: int) -> None:
        super().__init__(folder)
        self._hosts = fleet.hosts
        (folder / "ssh_config").write_text(ssh_config(folder, fleet, port))

    def run(self) -> Run:
        begun = [
            f"ssh -F ssh_config {host} sudo sh -eu -s {host} <script.sh & pids+=($!)" for host in self._hosts
        ]
        ended = 'for pid in "${pids[@]}"; do wait "$pid"; done'
        return self._timed(["bash", "-ec", "\n".join([*begun, ended])])

    def plan(self) -> Run:
        raise NotImplementedError

    def forget(self) -> None:
        for host in (*reversed(self._hosts), "gate"):
            command = ["ssh", "-F", str(self.folder / "ssh_config"), "-O", "exit", host]
            subprocess.run(command, capture_output=True, check=False)

    def unchanged(self, output: str) -> bool:
        return False


class Pyinfra(_Program):
    """pyinfra, all hosts side by side."""

    name = "pyinfra"

    def __init__(self, folder: Path, fleet: Fleet, port: int, programs: Path) -> None:
        super().__init__(folder)
        self._program = programs / "pyinfra"
        (folder / "ssh_config").write_text(ssh_config(folder, fleet, port))
        data = {
            "ssh_user": "admin",
            "ssh_key": str(fleet.key),
            "ssh_config_file": str(folder / "ssh_config"),
            "ssh_strict_host_key_checking": "off",
        }
        (folder / "inventory.py").write_text(f"web = ({fleet.hosts!r}, {data!r})\n")

    def run(self) -> Run:
        return self._timed([self._program, "inventory.py", "pyinfra_tasks.py", "-y"])

    def plan(self) -> Run:
        return self._timed([self._program, "inventory.py", "pyinfra_tasks.py", "--dry"])

    def forget(self) -> None:
        """It keeps nothing."""

    def unchanged(self, output: str) -> bool:
        totals = re.search(r"Grand total\D+(\d+)\s+(\S+)\s+(\S+)\s+(\S+)", output)
        return totals is not None and totals[2] == "-"
