"""`labctl sandbox image`: builds what hosts start from, and the stand-ins for what cannot be reached."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from engine.errors import Unreachable
from engine.sandbox.containers.engine import HOST_IMAGE, INSIDE, INTERNET_IMAGE, NAMES_LABEL, DockerError, run

_BASE = "labctl-base:1"
_RELEASE = "bookworm"
_SECURITY = "http://security.debian.org/debian-security"
_BUILD_SECONDS = 1800.0
_FRESH = timedelta(days=7)
_STAND_INS = {
    "https://registry-1.docker.io/v2/": ("registry-1.docker.io", "auth.docker.io"),
    "https://download.docker.com/": ("download.docker.com",),
}
_NO_DEBOOTSTRAP = (
    "Run it once as root with debootstrap installed (`sudo apt-get install debootstrap`), "
    "or where a registry can be reached."
)


def build(say: Callable[[str], None]) -> tuple[str, ...]:
    """Builds both images; the names on the internet that stand-ins will answer to (none where all is there).

    Raises Unreachable without a Docker Engine, or without both a registry and debootstrap.
    """
    run("version", "--format", "{{.Server.Version}}", seconds=20)
    names = tuple(name for url, names in _STAND_INS.items() if not _answers(url) for name in names)
    base = _base(say)
    say("installing systemd, OpenSSH and cloud-init in it")
    _docker_build("host", base, HOST_IMAGE, {})
    say("filling the registry and package repository of stand-ins")
    _docker_build("internet", HOST_IMAGE, INTERNET_IMAGE, {NAMES_LABEL: " ".join(names)})
    return names


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=8):
            return True
    except urllib.error.HTTPError:
        return True  # a registry asks who we are: it is there
    except OSError:
        return False


def _base(say: Callable[[str], None]) -> str:
    official = f"debian:{_RELEASE}-slim"
    try:
        say(f"pulling {official}")
        run("pull", official)
        return official
    except DockerError:
        if _is_fresh(_BASE):
            say(f"no registry answers; using the Debian {_RELEASE} that debootstrap built before")
            return _BASE
        say(f"no registry answers; building Debian {_RELEASE} with debootstrap")
    program = shutil.which("debootstrap", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None or os.geteuid() != 0:
        raise Unreachable("there is no image registry here, and debootstrap cannot be run", _NO_DEBOOTSTRAP)
    _bootstrap(program)
    return _BASE


def _is_fresh(image: str) -> bool:
    """Whether an image is there and not so old that its packages would be missing updates."""
    try:
        made = run("image", "inspect", "-f", "{{.Created}}", image)
    except DockerError:
        return False
    # Docker tells nanoseconds, which datetime does not read.
    day = datetime.fromisoformat(made[:10]).replace(tzinfo=UTC)
    return datetime.now(UTC) - day < _FRESH


def _bootstrap(program: str) -> None:
    with tempfile.TemporaryDirectory(prefix="labctl-image-") as place:
        root = Path(place) / "root"
        command = [program, "--variant=minbase", _RELEASE, str(root)]  # its own mirror by default
        done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_SECONDS)
        if done.returncode:
            last = (done.stdout + done.stderr).strip().splitlines()[-1:]
            remedy = "Can Debian's mirror be reached from here?"
            raise Unreachable(f"debootstrap failed: {''.join(last)}", remedy)
        sources = root / "etc/apt/sources.list"
        release = sources.read_text()
        updates = release.replace(f" {_RELEASE} ", f" {_RELEASE}-updates ")
        sources.write_text(f"{release}{updates}deb {_SECURITY} {_RELEASE}-security main\n")
        archive = Path(place) / "root.tar"
        pack = ["tar", "-C", str(root), "--exclude=./dev/*", "--exclude=./var/cache/apt/archives/*.deb"]
        subprocess.run([*pack, "-cf", str(archive), "."], check=True)
        run("import", str(archive), _BASE)


def _docker_build(name: str, base: str, tag: str, labels: dict[str, str]) -> None:
    options = ["-f", str(INSIDE / f"{name}.Dockerfile"), "--build-arg", f"BASE={base}", "-t", tag]
    for label, value in labels.items():
        options += ["--label", f"{label}={value}"]
    run("build", "-q", *options, str(INSIDE), seconds=_BUILD_SECONDS)
