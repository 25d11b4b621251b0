"""`pip install` in a Dockerfile: what the Python of labctl has already, and else what pip brings."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

_PIP_SECONDS: Final = 600
_WITH_VALUE: Final = frozenset(
    {
        *("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--trusted-host", "--timeout"),
        *("--retries", "--prefix", "--root", "-t", "--target", "--cache-dir", "--progress-bar", "--platform"),
        *("--python-version", "-c", "--constraint"),
    }
)
_PIP: Final = re.compile(
    r"(?:\S*/)?(?:pip3?(?:\.\d+)?|(?:python3?(?:\.\d+)?|uv)(?: +-m)? +pip) +install(?: +|$)"
)


class PipError(Exception):
    """The packages cannot be had; the message says why."""


@dataclass
class Asked:
    """What a `pip install` asks for."""

    files: list[str] = field(default_factory=list)
    """Files of requirements (`-r`)."""
    requirements: list[str] = field(default_factory=list)


def read(command: str) -> Asked | None:
    """What a shell command installs with pip; None where it is another command. Raises PipError."""
    found = _PIP.match(command)
    if found is None:
        return None
    asked, words = Asked(), iter(shlex.split(command[found.end() :]))
    for word in words:
        if word in ("-r", "--requirement"):
            asked.files.append(next(words, ""))
        elif word.startswith("--requirement="):
            asked.files.append(word.partition("=")[2])
        elif word in _WITH_VALUE:
            next(words, "")
        elif word in ("-e", "--editable") or word.startswith((".", "/", "git+", "http")):
            raise PipError(f"the sandbox installs packages by name only, not `{word}`")
        elif not word.startswith("-"):
            asked.requirements.append(word)
    return asked


def lines_of(text: str) -> list[str]:
    """The requirements of a file of them, without comments and options."""
    lines = (re.split(r"(?:^|\s)#", line)[0].strip() for line in text.replace("\\\n", "").splitlines())
    return [line for line in lines if line and not line.startswith("-")]


def bring(requirements: Sequence[str], cache: Path, say: Callable[[str], None]) -> Path | None:
    """A folder with what of `requirements` is missing here; None where nothing is. Raises PipError."""
    missing = []
    for text in requirements:
        wanted, there = _parsed(text)
        if wanted is None:
            continue
        if there is not None and wanted.specifier.contains(there, prereleases=True):
            say(f"Requirement already satisfied: {text} ({there})")
        else:
            missing.append((wanted, there))
    if not missing:
        return None
    specifications = sorted(str(wanted) for wanted, _ in missing)
    digest = hashlib.sha256("\n".join([sys.version, *specifications]).encode()).hexdigest()[:24]
    folder = cache / digest
    if folder.exists():
        say(f"Using cached {', '.join(specifications)}")
        return folder
    trouble = _install(specifications, folder)
    if trouble is None:
        say(f"Successfully installed {' '.join(specifications)}")
        return folder
    gone = [str(wanted) for wanted, there in missing if there is None]
    if gone:
        raise PipError(f"pip cannot install {', '.join(gone)} on this machine: {trouble}")
    for wanted, there in missing:
        say(f"pip cannot install {wanted} on this machine ({trouble}): {wanted.name} {there} is used instead")
    return None


def _parsed(text: str) -> tuple[Requirement | None, str | None]:
    """A requirement (none where it is not for this system), and the version of it that is here."""
    try:
        wanted = Requirement(text.partition(" --hash")[0])
    except InvalidRequirement as error:
        raise PipError(f"`{text}` is no requirement: {error}") from error
    if wanted.marker is not None and not wanted.marker.evaluate():
        return None, None
    if canonicalize_name(wanted.name) in ("pip", "setuptools", "wheel"):
        return None, None
    try:
        return wanted, importlib.metadata.version(wanted.name)
    except importlib.metadata.PackageNotFoundError:
        return wanted, None


def _install(specifications: Sequence[str], folder: Path) -> str | None:
    """Runs pip; None where it went well, else its last words. Only wheels: nothing of theirs is run here."""
    fresh = folder.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-compile",
    ]
    command += ["--only-binary=:all:", "--target", str(fresh), *specifications]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return "it took too long"
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip is missing"]
        return said[-1].removeprefix("ERROR: ")
    os.replace(fresh, folder)
    return None
