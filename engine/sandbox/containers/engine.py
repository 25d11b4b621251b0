"""The `docker` command of this machine: run, its failures in words, everything of one sandbox removed."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

from engine.errors import LabctlError, Unreachable

INSIDE = Path(__file__).parent / "inside"
"""What runs in containers, and the recipes of their images."""


def _edition() -> str:
    """The tag of the images: another recipe has another, so that nobody works with an old image."""
    files = sorted(one for one in INSIDE.iterdir() if one.is_file())
    return hashlib.sha256(b"".join(one.read_bytes() for one in files)).hexdigest()[:10]


HOST_IMAGE = f"labctl-host:{_edition()}"
"""What every host starts from, and the routers between them."""
INTERNET_IMAGE = f"labctl-internet:{_edition()}"
"""The stand-ins for the places on the internet that cannot be reached from here."""
LABEL = "labctl.sandbox"
"""The label of everything that belongs to a sandbox; its value is the sandbox's `name_of`."""
DOOR = "state/door"
"""In the sandbox's folder: what its routers ask of callers; it is there once there was a container."""
NAMES_LABEL = "labctl.stands-in-for"
"""The label of INTERNET_IMAGE that lists the names it stands in for."""

_SECONDS = 180.0
_START = (
    "Start one: `sudo systemctl start docker`, or where there is no systemd `sudo dockerd &`. "
    "To install it on Debian or Ubuntu: `sudo apt-get install docker.io`. "
    "Your account must be in the group `docker`. Or write `hosts: simulated`, which needs none."
)


class DockerError(LabctlError):
    """A `docker` command that failed, with what it said."""


def name_of(folder: Path) -> str:
    """The name that containers of the sandbox in `folder` begin with."""
    return "labctl-" + hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:10]


def run(*args: str, stdin: bytes | None = None, seconds: float = _SECONDS) -> str:
    """What `docker ARGS` prints. Raises Unreachable without a Docker Engine, DockerError where it fails."""
    try:
        done = subprocess.run(["docker", *args], input=stdin, capture_output=True, timeout=seconds)
    except FileNotFoundError as error:
        raise Unreachable(
            "hosts: docker needs Docker, and there is no `docker` command here", _START
        ) from error
    except subprocess.TimeoutExpired as error:
        raise Unreachable(f"`docker {args[0]}` did not answer within {seconds:.0f} s", _START) from error
    return _told(args, done.returncode, done.stdout, done.stderr)


async def run_soon(*args: str, stdin: bytes | None = None) -> str:
    """As `run`, without holding up the event loop."""
    return await asyncio.to_thread(run, *args, stdin=stdin)


def _told(args: Sequence[str], status: int, out: bytes, err: bytes) -> str:
    if status == 0:
        return out.decode(errors="replace").strip()
    words = err.decode(errors="replace").strip()
    if "Cannot connect to the Docker daemon" in words or "permission denied" in words.lower():
        last = words.splitlines()[0]
        raise Unreachable(f"hosts: docker needs a Docker Engine, and none answers here: {last}", _START)
    raise DockerError(f"`docker {args[0]}` failed: {words or f'exit status {status}'}")


def check() -> None:
    """Raises Unreachable where hosts cannot be containers: no Docker Engine, or no image to start from."""
    run("version", "--format", "{{.Server.Version}}", seconds=20)
    there = run("images", "--format", "{{.Repository}}:{{.Tag}}", seconds=20).splitlines()
    if {HOST_IMAGE, INTERNET_IMAGE} - set(there):
        raise Unreachable(
            "the image that hosts start from is not built yet for this version of labctl",
            "Run `labctl sandbox image` once; it takes a few minutes.",
        )


def remove_all(name: str) -> None:
    """Removes every container, volume and network of the sandbox called `name`."""
    mine = f"label={LABEL}={name}"
    for listed, remove in (
        (("ps", "-aq"), ("rm", "-f", "-v")),
        (("volume", "ls", "-q"), ("volume", "rm", "-f")),
        (("network", "ls", "-q"), ("network", "rm")),
    ):
        found = run(*listed, "--filter", mine).split()
        if found:
            run(*remove, *found)
