"""The Python that workloads run with: the one that runs labctl, put where `nobody` can read it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pwd

_SKIPPED: Final = ("__pycache__", "test", "tests", "idlelib", "tkinter", "lib2to3", "config-*")


@dataclass(frozen=True)
class Interpreter:
    """A Python to start, and the variables that it needs."""

    executable: str = sys.executable
    environment: dict[str, str] = field(default_factory=dict)


def nobody() -> pwd.struct_passwd | None:
    """Whom workloads run as, where the sandbox runs as root; None where it does not."""
    if os.name != "posix" or os.geteuid() != 0:
        return None
    import pwd  # Windows has none

    return pwd.getpwnam("nobody")


def as_nobody() -> dict[str, Any]:
    """What tells subprocess.Popen to give up root's rights, where there are any."""
    found = nobody()
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []} if found else {}


def fitting(folder: Path) -> Interpreter:
    """An interpreter that workloads may run.

    Root's own Python may lie where nobody else can look (below /root). Its files are then put into `folder`
    as hard links, or as copies where that is another file system. Raises OSError.
    """
    own = Interpreter()
    if nobody() is None or _runs(own):
        return own
    home = folder / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = home / "lib" / version
    _link(Path(sysconfig.get_path("stdlib")), library, "site-packages")
    packages = library / "site-packages"
    packages.mkdir()
    for name in sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}):
        if _is_open(Path(name)):
            with (packages / "labctl.pth").open("a") as file:
                file.write(f"{name}\n")
        else:
            _link(Path(name), packages)
    for shared in Path(sys.base_prefix, "lib").glob("libpython*"):
        _take(str(shared), str(home / "lib" / shared.name))
    (home / "bin").mkdir()
    executable = home / "bin" / version
    _take(os.path.realpath(sys.executable), str(executable))
    there = Interpreter(str(executable), {"PYTHONHOME": str(home), "LD_LIBRARY_PATH": str(home / "lib")})
    if not _runs(there):
        raise OSError(
            f"the sandbox runs as root, its workloads as `nobody`, who may not run {sys.executable}: install "
            "labctl where everybody can read it, or run it as an ordinary user"
        )
    return there


def _runs(interpreter: Interpreter) -> bool:
    """Whether `nobody` can import with it what comes with Python and with labctl."""
    try:
        done = subprocess.run(
            [interpreter.executable, "-c", "import ssl, click"],
            cwd="/",
            env=interpreter.environment,
            capture_output=True,
            check=False,
            **as_nobody(),
        )
    except OSError:
        return False
    return done.returncode == 0 and b"Could not find" not in done.stderr


def _is_open(folder: Path) -> bool:
    """Whether everybody may look into `folder`."""
    ways = all(place.stat().st_mode & 0o001 for place in folder.parents)
    return ways and folder.stat().st_mode & 0o005 == 0o005


def _link(source: Path, target: Path, *skipped: str) -> None:
    ignored = shutil.ignore_patterns(*_SKIPPED, *skipped)
    shutil.copytree(source, target, copy_function=_take, ignore=ignored, dirs_exist_ok=True)


def _take(source: str, target: str) -> str:
    if os.path.lexists(target):
        return target
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target)
    return target
