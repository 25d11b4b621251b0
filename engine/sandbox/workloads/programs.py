"""Which programs of an image can be started on this machine, and as what."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.sandbox.workloads.images import OTHER_PACKAGES, PACKAGES

_PYTHON = re.compile(r"(/usr(/local)?/bin/)?python(3(\.\d+)?)?")
_SHELL = re.compile(r"(/usr)?/?(bin/)?(ba|da|a)?sh")
_WAITS = re.compile(r"sleep (infinity|inf)|tail -[fF] /dev/null")
_SERVES = {
    "httpd": ("Apache/2.4.65 (Unix)", "/usr/local/apache2/htdocs"),
    "nginx": ("nginx/1.29.1", "/usr/share/nginx/html"),
    "traefik/whoami": ("whoami", "-"),
}
_OWN_START = re.compile(r"httpd-foreground|nginx|/whoami")


class CannotRunError(Exception):
    """The program cannot be started here; the message says why."""


def runnable(
    command: Sequence[str], *, python: str, base: str, root: Path, bin: Path, web: Path, port: int
) -> list[str]:
    """The command line that does here what `command` does in a container whose files are below `root`.

    `bin` has stand-ins by the names of programs, `web` is the imitation of web servers, which listens on
    `port`. Raises CannotRunError.
    """
    if not command:
        raise CannotRunError("the image names no command to run")
    first, rest = command[0], [placed(word, root) for word in command[1:]]
    if base in _SERVES and any(_OWN_START.search(word) for word in command):
        name, folder = _SERVES[base]
        served = folder if folder == "-" else str(root) + folder
        return [python, str(web), name, served, str(port)]
    if _PYTHON.fullmatch(first):
        return [python, *rest]
    if _SHELL.fullmatch(first):
        rest = [placed_in(word, root) if " " in word else word for word in rest]
        return [_first_there("/bin/sh", "/usr/bin/sh"), *rest]
    if _WAITS.fullmatch(" ".join(command)):
        return [python, "-c", "import signal; signal.pause()"]
    script = bin / Path(first).name
    if script.exists():
        return [str(script), *rest]
    inside = root / first.lstrip("/")
    if "/" in first and inside.is_file():
        return _script(inside, first, rest, python)
    raise CannotRunError(
        f"the sandbox cannot run `{first}`: it runs Python programs, shell scripts around them, "
        "and imitations of httpd and nginx"
    )


def placed(word: str, root: Path) -> str:
    """A word of a command line; a path of the image becomes the path it has here."""
    if word.startswith("/") and os.path.lexists(root / word.lstrip("/")):
        return str(root / word.lstrip("/"))
    return word


def prefixes(root: Path) -> list[str]:
    """The paths of an image that it has brought itself: `/app`, `/opt/ml`."""
    found = []
    for top in sorted(root.iterdir()):
        if top.name in (PACKAGES, OTHER_PACKAGES):
            continue
        shared = top.name in ("etc", "home", "mnt", "opt", "root", "srv", "tmp", "usr", "var")
        below = sorted(top.iterdir()) if shared and top.is_dir() else [top]
        found += [f"/{place.relative_to(root)}" for place in below]
    return found


def placed_in(script: str, root: Path) -> str:
    """A shell script in which the paths that the image has brought are those they have here."""
    for prefix in prefixes(root):
        here = f"{root}{prefix}".replace("\\", r"\\")
        script = re.sub(rf"(?<![\w./-]){re.escape(prefix)}(?![\w.-])", here, script)
    return script


def _script(path: Path, name: str, rest: Sequence[str], python: str) -> list[str]:
    with path.open("rb") as file:
        first = file.readline(200).decode(errors="replace").strip()
    if first.startswith("#!") and "python" in first:
        return [python, str(path), *rest]
    if first.startswith("#!") and first.endswith("sh"):
        return [_first_there("/bin/sh", "/usr/bin/sh"), str(path), *rest]
    raise CannotRunError(f"the sandbox cannot run `{name}`: it is neither a Python nor a shell script")


def _first_there(*names: str) -> str:
    return next((name for name in names if os.path.exists(name)), names[0])


def make_bin(folder: Path, interpreter: str, more: Mapping[str, str]) -> None:
    """Puts stand-ins into `folder`: `python`, `python3`, `flask`, and `more`: Python modules by name."""
    folder.mkdir(exist_ok=True)
    run = f'exec "{interpreter}"'
    scripts = {"python": run, "python3": run, "flask": f"{run} -m flask"}
    scripts |= {name: f"{run} -m {module}" for name, module in more.items()}
    for name, line in scripts.items():
        path = folder / name
        path.write_text(f'#!/bin/sh\n{line} "$@"\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
