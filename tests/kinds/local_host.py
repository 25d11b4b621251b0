"""A host that is this machine's shell, or a throwaway copy of this machine, for kinds' scripts."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from engine.hosts import Ran
from engine.on_host import OnHost, Upload
from engine.resource import Values
from engine.world import Job, World

LAB = "hw02@test"


class LocalHost:
    """What kinds use of a host, done by `sh` here. Paths that begin with /var/lib/labctl lie in `folder`."""

    def __init__(
        self, folder: Path, *, root: Path | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        self.name, self.login = "here", "ubuntu"
        self.round_trips = 0
        self.reconnected = 0
        self.scripts: list[str] = []
        self._folder, self._root, self._env = folder, root, dict(env or {})

    def run(
        self,
        script: str,
        *,
        stdin: bytes = b"",
        files: Sequence[Upload] = (),
        timeout: float | None = None,
        user: str | None = "root",
        quiet: bool = False,
        say: Callable[[str], None] | None = None,
    ) -> Ran:
        self.round_trips += 1
        self.scripts.append(script)
        with tempfile.TemporaryDirectory(dir=self._root / "tmp" if self._root else None) as place:
            inside = "/" + str(Path(place).relative_to(self._root)) if self._root else place
            lines = []
            for number, upload in enumerate(files, 1):
                data = upload.source if isinstance(upload.source, bytes) else upload.source.read_bytes()
                Path(place, str(number)).write_bytes(data)
                lines.append(f"labctl_upload_{number}={inside}/{number}\n")
            if self._root is None:
                script = script.replace("/var/lib/labctl", str(self._folder / "labctl"))
            into = ["chroot", str(self._root)] if self._root else []
            argv = [*into, "sh", "-c", "".join(lines) + script]
            env = {"PATH": os.environ["PATH"], "HOME": "/root", **self._env}
            done = subprocess.run(argv, input=stdin, capture_output=True, timeout=120, check=False, env=env)
        return Ran(done.returncode, done.stdout, done.stderr)

    def reconnect(self) -> None:
        self.reconnected += 1


class OneHost:
    """Hosts that are all the same one."""

    def __init__(self, host: Any) -> None:
        self._host = host

    def host(self, name: str, *, say: Callable[[str], None] = print, **options: Any) -> Any:
        return self._host

    def alone(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()


DOCKER = "docker_engine docker"
"""Where Docker stands in the lab: what one test has left of it on a shared host, another finds as its own."""


class Bench:
    """Calls a kind's verbs as the engine does."""

    def __init__(self, host: Any, *, lab: str = LAB) -> None:
        self.host = host
        self._world = World(lab=lab, aws=None, hosts=OneHost(host))  # type: ignore[arg-type]

    def world(self, address: str) -> World:
        tags = {"labctl:lab": self._world.lab, "labctl:address": address, "course": "w251"}
        return self._world.on(Job(address=address, tags=tags, host="here"))

    def _at(self, resource: OnHost, address: str | None) -> World:
        return self.world(address or (DOCKER if resource.kind == "docker_engine" else "it"))

    def look(self, resource: OnHost, address: str | None = None) -> Values | None:
        from engine import host_scripts

        id = resource.natural_id()
        return host_scripts.look(type(resource), self._at(resource, address), [id], resource).get(id)

    def create(self, resource: OnHost, address: str | None = None) -> Values:
        resource.create(self._at(resource, address))
        values = self.look(resource, address)
        assert values is not None
        self.assert_as_wanted(resource, values)
        return values

    def have(self, resource: OnHost, address: str | None = None) -> None:
        """It is there as wanted; made only where it is not, as that can take long."""
        if self.differing(resource, address) != set():
            self.create(resource, address)

    def update(self, resource: OnHost, *changed: str, address: str | None = None) -> Values:
        resource.update(self._at(resource, address), resource.natural_id(), frozenset(changed))
        values = self.look(resource, address)
        assert values is not None
        self.assert_as_wanted(resource, values)
        return values

    def differing(self, resource: OnHost, address: str | None = None) -> set[str] | None:
        """The fields that differ, as a plan sees them; None where it is not there."""
        values = self.look(resource, address)
        return None if values is None else differing(resource, values)

    def delete(self, resource: OnHost, address: str | None = None) -> None:
        for _ in range(2):  # deleting again is quiet
            type(resource).delete(self._at(resource, address), resource.natural_id())

    def assert_as_wanted(self, resource: OnHost, values: Values) -> None:
        wrong = differing(resource, values)
        assert not wrong, {name: (resource.wanted()[name], values.get(name)) for name in wrong}


def differing(resource: OnHost, values: Values) -> set[str]:
    kind = type(resource)
    hidden = {
        name for name, field in kind.model_fields.items() if field.metadata and unreadable(field.metadata)
    }
    return {
        name
        for name, value in resource.wanted().items()
        if name not in hidden and value is not None and kind.differs(name, value, values.get(name))
    }


def unreadable(metadata: Sequence[Any]) -> bool:
    return any(getattr(mark, "name", "") in ("secret", "unread") for mark in metadata)


@contextmanager
def throwaway_root(folder: Path) -> Iterator[Path]:
    """A copy of this machine's files that vanishes: an overlay over /. Raises OSError if that cannot be."""
    upper, root = folder / "upper", folder / "root"
    upper.mkdir()
    root.mkdir()
    mounted: list[Path] = []

    def mount(*argv: str, at: Path) -> None:
        done = subprocess.run(["mount", *argv, str(at)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(done.stderr.strip())
        mounted.append(at)

    try:
        mount("-t", "tmpfs", "tmpfs", at=upper)
        for name in ("changes", "work"):
            (upper / name).mkdir()
        options = f"lowerdir=/,upperdir={upper / 'changes'},workdir={upper / 'work'}"
        mount("-t", "overlay", "overlay", "-o", options, at=root)
        for name in ("proc", "dev"):
            mount("--bind", f"/{name}", at=root / name)
        # What labctl may have left on this machine itself is none of the copy's business.
        shutil.rmtree(root / "var/lib/labctl", ignore_errors=True)
        yield root
    finally:
        for place in reversed(mounted):
            subprocess.run(["umount", "-l", str(place)], check=False)
        shutil.rmtree(folder, ignore_errors=True)
