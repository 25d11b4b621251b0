"""Workloads: programs of images and functions as processes of this machine, which end with the sandbox.

Each has its process group, an empty environment but for what its image says, its files copied into a folder
of its own, limits, and none of the user's credentials. Where the sandbox runs as root, they run as `nobody`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from engine.sandbox.streams import connected, unconnected
from engine.sandbox.workloads import inside
from engine.sandbox.workloads.images import OTHER_PACKAGES, PACKAGES, Image, Images
from engine.sandbox.workloads.interpreter import Interpreter, as_nobody, fitting, nobody
from engine.sandbox.workloads.place import fresh_base
from engine.sandbox.workloads.programs import CannotRunError, make_bin, placed, prefixes, runnable

GRACE_SECONDS: Final = 2.0
"""From the request to stop until the kill; ECS gives 30, Kubernetes 30, Docker 10."""
_NOT_RUNNABLE: Final = 127
_SCRIPTS: Final = Path(inside.__file__).parent
_MODULES: Final = {"gunicorn": "gunicorn", "uvicorn": "uvicorn", "waitress-serve": "waitress"}
_MEGABYTE: Final = 1 << 20
_MOST_MEMORY: Final = 4096 * _MEGABYTE
"""Address space, of which interpreters with threads reserve far more than they use."""
_LIMITS: Final = {"CORE": 0, "NOFILE": 1024, "FSIZE": 1024 * _MEGABYTE}


@dataclass(frozen=True)
class Line:
    """A line that a program has printed, and when, in milliseconds since the epoch."""

    time: int
    text: str


@dataclass
class Workload:
    """One program and its folder."""

    id: str
    name: str
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    """What supervises the program; None where it could not be started."""
    reason: str = ""
    """Why it could not be started."""
    started: float = field(default_factory=time.time)

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return _NOT_RUNNABLE if self.process is None else self.process.poll()

    @property
    def root(self) -> Path:
        """The folder that it takes for its root directory."""
        return self.folder / "root"

    def path(self, name: str) -> Path:
        """Where the file that it calls `name` lies. Raises ValueError for one outside its root."""
        place = Path(os.path.normpath(f"{self.root}/{name.lstrip('/')}"))
        if not place.is_relative_to(self.root):
            raise ValueError(f"{name} lies outside")
        return place

    def ports(self) -> dict[int, int]:
        """The ports that others can reach, and the ports of 127.0.0.1 that they really are."""
        found = {}
        if self.exit_code is None:
            with contextlib.suppress(FileNotFoundError):
                for line in (self.folder / "ports").read_text().splitlines():
                    port, real, host = line.split()
                    if not host.startswith(("127.", "localhost", "::1")):
                        found[int(port)] = int(real)
        return found

    async def open(self, port: int) -> socket.socket:
        """A connection to `port`. Raises ConnectionRefusedError where nobody listens."""
        real = self.ports().get(port)
        if real is None:
            raise ConnectionRefusedError
        try:
            return await connected(unconnected(), ("127.0.0.1", real))
        except OSError as error:
            raise ConnectionRefusedError from error

    def await_port(self, port: int, seconds: float) -> bool:
        """Whether it listens on `port`, at the latest after `seconds`; False at once where it has ended."""
        deadline = time.monotonic() + seconds
        while port not in self.ports():
            if self.exit_code is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def wait(self, seconds: float) -> int | None:
        """Its exit code, at the latest after `seconds`; None where it still runs then."""
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        return self.exit_code

    def lines(self, since: int = 0) -> list[Line]:
        """The last of what it has printed, from `since` (milliseconds since the epoch) on."""
        found = [Line(int(self.started * 1000), self.reason)] if self.reason else []
        for name in ("log.1", "log"):
            with contextlib.suppress(FileNotFoundError):
                for line in (self.folder / name).read_bytes().splitlines():
                    when, _, text = line.partition(b" ")
                    if when.isdigit():
                        found.append(Line(int(when), text.decode(errors="replace")))
        return [line for line in found if line.time >= since]

    def stop(self, grace: float = GRACE_SECONDS) -> None:
        """Asks it to end (SIGTERM), and kills its process group where it has not after `grace` seconds."""
        process = self.process
        if process is None:
            return
        if process.poll() is None and grace > 0:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(grace)
        with contextlib.suppress(OSError):
            assert process.stdin is not None
            process.stdin.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def remove(self) -> None:
        """Ends it and deletes its files."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Workloads:
    """All workloads of one sandbox; its methods may be called in any thread."""

    def __init__(self, folder: Path, images: Images, *, enabled: bool = True) -> None:
        """`folder` is the sandbox's own; nothing is written before something is started."""
        self.images = images
        self.enabled = enabled
        """Whether anything is started: the setting `workloads: processes`."""
        self._folder = folder
        self._lock = threading.Lock()
        self._running: dict[str, Workload] = {}
        self._base: Path | None = None
        self._interpreter = Interpreter()

    def start(
        self,
        image: Image,
        *,
        name: str,
        command: Sequence[str] | None = None,
        entrypoint: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        memory_mb: int | None = None,
        files: Mapping[str, bytes | Path] | None = None,
        workdir: str | None = None,
        reach: Sequence[int] = (),
    ) -> Workload:
        """Starts what `image` says, or another `command`, with `files` of its own by their paths.

        Returns at once. What cannot be started has ended already, with the exit code 127 and its `reason`.
        `reach` are ports of 127.0.0.1 that it may connect to.
        """
        id = uuid.uuid4().hex[:12]
        if not self.enabled:
            words = "the sandbox runs no workloads: its inventory says `workloads: none`"
            return Workload(id, name, self._folder / "none", reason=words)
        try:
            base, interpreter = self._ready()
            workload = Workload(id, name, base / id)
            _lay_out(workload, image, files or {}, interpreter)
            argv = self._argv(workload, image, interpreter, entrypoint, command)
        except (CannotRunError, OSError) as error:
            return Workload(id, name, self._folder / "none", reason=f"CannotStartContainerError: {error}")
        variables = {**image.environment, **(environment or {})}
        cwd = workload.path(workdir or image.workdir)
        cwd.mkdir(parents=True, exist_ok=True)
        spec = {
            "argv": argv,
            "env": {**_environment(workload, variables, reach), **interpreter.environment},
            "cwd": str(cwd),
            "limits": {**_LIMITS, "AS": max(_MOST_MEMORY, 2 * _MEGABYTE * (memory_mb or 0))},
            "log": str(workload.folder / "log"),
        }
        _give_away(workload.folder)
        workload.process = _supervised(spec, workload.folder, interpreter)
        with self._lock:
            self._running[id] = workload
        return workload

    def stop(self) -> None:
        """Ends all, and deletes their files."""
        with self._lock:
            running, self._running = list(self._running.values()), {}
        for workload in running:
            if workload.exit_code is None and workload.process is not None:
                workload.process.terminate()
        for workload in running:
            workload.remove()
        if self._base is not None:
            shutil.rmtree(self._base, ignore_errors=True)
            self._base = None

    def _argv(
        self,
        workload: Workload,
        image: Image,
        interpreter: Interpreter,
        entrypoint: Sequence[str] | None,
        command: Sequence[str] | None,
    ) -> list[str]:
        # As in Docker, another entry point leaves the image's command aside.
        first = image.entrypoint if entrypoint is None else list(entrypoint)
        rest = image.command if command is None and entrypoint is None else list(command or [])
        return runnable(
            [*first, *rest],
            python=interpreter.executable,
            base=image.base,
            root=workload.root,
            bin=workload.folder / "bin",
            web=workload.folder / "hook" / "web.py",
            port=next(iter(image.ports), 80),
        )

    def _ready(self) -> tuple[Path, Interpreter]:
        """The folder of all workloads, and what runs them. Raises CannotRunError or OSError."""
        if os.name != "posix":
            raise CannotRunError("the sandbox runs workloads on Linux and macOS only")
        with self._lock:
            if self._base is None:
                base = fresh_base(self._folder)
                self._interpreter = fitting(base)
                self._base = base
            return self._base, self._interpreter


def _lay_out(
    workload: Workload, image: Image, files: Mapping[str, bytes | Path], interpreter: Interpreter
) -> None:
    """Copies the image's files and `files` into the workload's folder, and what it is started with."""
    workload.folder.mkdir(mode=0o700)
    shutil.copytree(image.root, workload.root, symlinks=True)
    for name, content in files.items():
        place = workload.path(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            place.write_bytes(content)
        elif content.is_dir():
            shutil.copytree(content, place, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copyfile(content, place)
    for name in ("home", "hook", "tmp"):
        (workload.folder / name).mkdir()
    for script in ("sitecustomize.py", "supervise.py", "web.py"):
        shutil.copyfile(_SCRIPTS / script, workload.folder / "hook" / script)
    packages = (workload.root / PACKAGES, workload.root / OTHER_PACKAGES)
    there = {
        name: module
        for name, module in _MODULES.items()
        if importlib.util.find_spec(module) or any((folder / module).exists() for folder in packages)
    }
    make_bin(workload.folder / "bin", interpreter.executable, there)


def _environment(workload: Workload, given: Mapping[str, str], reach: Sequence[int]) -> dict[str, str]:
    folder, root = workload.folder, workload.root
    python = [str(folder / "hook"), str(root / PACKAGES)]
    python += [placed(part, root) for part in given.get("PYTHONPATH", "").split(":") if part]
    own = {
        "PATH": f"{folder / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONPATH": ":".join(python),
        "LABCTL_ROOT": str(root),
        "LABCTL_PREFIXES": ":".join(prefixes(root)),
        "LABCTL_PORTS": str(folder / "ports"),
        "LABCTL_REACH": ",".join(map(str, reach)),
    }
    if (root / OTHER_PACKAGES).exists():
        own["LABCTL_PACKAGES"] = str(root / OTHER_PACKAGES)
    usual = {"LANG": "C.UTF-8", "HOSTNAME": workload.id, "PYTHONUNBUFFERED": "1"}
    return {**usual, **given, **own}


def _give_away(folder: Path) -> None:
    """Makes `folder` and all in it `nobody`'s, where the sandbox runs as root."""
    found = nobody()
    if found is None:
        return
    os.chown(folder, found.pw_uid, found.pw_gid)
    for place, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            os.chown(f"{place}/{name}", found.pw_uid, found.pw_gid, follow_symlinks=False)


def _supervised(spec: Mapping[str, Any], folder: Path, interpreter: Interpreter) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [interpreter.executable, "-S", str(folder / "hook" / "supervise.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env=interpreter.environment,
        start_new_session=True,
        **as_nobody(),
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(spec).encode() + b"\n")
    process.stdin.flush()
    return process
