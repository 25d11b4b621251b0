"""A working folder with a home and a sandbox of its own, in which the real command line is run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from engine.cli.progress import FINISHING
from tests import clients

ROOT = Path(__file__).parents[2]
LABCTL = Path(sys.executable).parent / "labctl"
DATA = ("playbooks", "templates", "inventory")


@dataclass(frozen=True)
class Said:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        return self.out + self.err


class Place:
    """Where a user works: `folder` is the working directory; nothing outside it is read or written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        for name in DATA:
            shutil.copytree(ROOT / name, folder / name)
        self.env = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("AWS_", "LABCTL_", "SSH_"))
            },
            "HOME": str(self.home),
            "LABCTL_SANDBOX_DIR": str(folder / "sandbox"),
            "NO_COLOR": "1",
            "COLUMNS": "100",
        }
        (self.home / ".ssh").mkdir(mode=0o700)

    def run(
        self, *args: str, code: int | None = 0, env: dict[str, str] | None = None, seconds: float = 240
    ) -> Said:
        """Run labctl; fails the test unless it exits with `code` (None: any)."""
        done = subprocess.run(
            [str(LABCTL), *args],
            cwd=self.folder,
            env={**self.env, **(env or {})},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=seconds,
        )
        said = Said(done.returncode, done.stdout, done.stderr)
        assert code is None or said.code == code, f"labctl {' '.join(args)}: exit {said.code}\n{said.all}"
        assert "Traceback" not in said.all, said.all
        return said

    def stand_up(self, playbook: str, *args: str) -> None:
        """Plan and apply a playbook; `planned` and `applied` are what the commands said."""
        self.planned = self.run("plan", playbook, *args)
        self.applied = self.run("apply", "--yes")

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Start labctl in a process group of its own, to be interrupted."""
        return subprocess.Popen(
            [str(LABCTL), *args],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def json(self, *args: str, code: int = 0) -> Any:
        return json.loads(self.run(*args, "--json", code=code).out)

    def plan(self, *args: str) -> dict[str, dict[str, Any]]:
        """The changes of a plan that are not `keep`, by address."""
        changes = self.json("plan", *args)["changes"]
        return {change["address"]: change for change in changes if change["action"] != "keep"}

    @cached_property
    def sandbox(self) -> dict[str, Any]:
        return dict(self.json("sandbox", "status"))

    def sandbox_endpoint(self) -> str:
        """Where the sandbox's AWS listens; started if need be."""
        self.run("sandbox", "start")
        self.forget_sandbox()
        return str(self.sandbox["aws_endpoint"])

    def restart_sandbox(self) -> None:
        """Stop it, and start it again."""
        self.run("sandbox", "stop")
        self.sandbox_endpoint()

    def forget_sandbox(self) -> None:
        """Ask anew where it listens: it was started again."""
        self.__dict__.pop("sandbox", None)

    def aws(self, service: str = "ec2") -> Any:
        """boto3 pointed at the sandbox, as anybody could."""
        return clients.at(self.sandbox["aws_endpoint"], service)

    def tagged(self, lab: str) -> dict[str, str]:
        """What the API says carries the lab's tag: address to id."""
        tags = self.aws().describe_tags(Filters=[{"Name": "tag:labctl:lab", "Values": [lab]}])["Tags"]
        ids = [tag["ResourceId"] for tag in tags]
        every = (
            self.aws().describe_tags(Filters=[{"Name": "resource-id", "Values": ids}])["Tags"] if ids else []
        )
        return {
            tag["Value"]: tag["ResourceId"]
            for tag in every
            # What an instance brings along carries its tags too.
            if tag["Key"] == "labctl:address" and tag["ResourceType"] not in ("network-interface", "volume")
        }

    def curl(self, url: str, *args: str) -> subprocess.CompletedProcess[str]:
        proxy = f"socks5h://{self.sandbox['socks_proxy']}"
        return subprocess.run(
            ["curl", "-sS", "--max-time", "8", "--proxy", proxy, *args, url],
            capture_output=True,
            text=True,
            env={name: value for name, value in self.env.items() if "proxy" not in name.lower()},
        )

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text()
        assert text.count(old) >= 1, f"{old!r} is not in {file}"
        path.write_text(text.replace(old, new))

    def close(self) -> None:
        """Stop what this place started."""
        self.run("sandbox", "stop", code=None)


def read_until(process: subprocess.Popen[str], beginning: str) -> str:
    """What it printed up to the line that begins so."""
    output = ""
    for line in process.stdout or ():
        output += line
        if line.startswith(beginning):
            return output
    raise AssertionError(f"never printed {beginning!r}:\n{output}")


def rest_of(process: subprocess.Popen[str]) -> str:
    """What it prints from now on."""
    return process.stdout.read() if process.stdout else ""


def interrupt(process: subprocess.Popen[str]) -> None:
    """^C, as a terminal sends it."""
    os.killpg(process.pid, signal.SIGINT)


def interrupt_twice(process: subprocess.Popen[str]) -> str:
    """^C, and again as soon as the first was heard; what it printed meanwhile."""
    interrupt(process)
    output = read_until(process, FINISHING)
    interrupt(process)
    return output
