"""The filesystem of a machine or container: files in memory, owners beside them, kept in a tar file."""

from __future__ import annotations

import contextlib
import io
import os
import posixpath
import tarfile
from collections.abc import Iterator
from pathlib import Path

from bashkit import FileSystem

GENERATED = ("/bin", "/sbin", "/dev", "/proc", "/sys", "/run")
"""Folders made anew at each boot, never kept."""


class Disk:
    """Files, folders and links, with the owners that the virtual filesystem itself does not keep.

    Who made a file is found by looking (`sweep`) before and after each user's commands.
    """

    def __init__(self) -> None:
        self.fs = FileSystem()
        self.owners: dict[str, tuple[str, str]] = {}
        self.generated: set[str] = set()
        self._known: dict[str, tuple[object, ...]] = {}
        self._owned: dict[str, tuple[str, str]] = {}
        self._saved: dict[str, tuple[object, ...]] = {}

    def exists(self, path: str) -> bool:
        """Whether anything is at `path` (links are not followed where they point nowhere)."""
        return self.fs.exists(path)

    def is_dir(self, path: str) -> bool:
        """Whether `path` is a folder."""
        return self.type_of(path) == "directory"

    def is_file(self, path: str) -> bool:
        """Whether `path` is a plain file, seen through links."""
        try:
            return str(self.fs.stat(self.real(path))["file_type"]) == "file"
        except (OSError, RuntimeError):
            return False

    def type_of(self, path: str) -> str | None:
        """`file`, `directory`, `symlink` …, None where nothing is."""
        try:
            self.fs.read_link(path)
        except (OSError, RuntimeError):
            with contextlib.suppress(OSError, RuntimeError):
                return str(self.fs.stat(path)["file_type"])
            return None
        return "symlink"

    def real(self, path: str, depth: int = 0) -> str:
        """`path` with its links followed, also those of the folders on the way."""
        done = "/"
        parts = [part for part in path.split("/") if part]
        for number, part in enumerate(parts):
            here = posixpath.join(done, part)
            if self.type_of(here) == "symlink" and depth < 20:
                target = posixpath.normpath(posixpath.join(done, self.fs.read_link(here)))
                return self.real(posixpath.join(target, *parts[number + 1 :]), depth + 1)
            done = here
        return done

    def read(self, path: str) -> bytes:
        """What the file holds. Raises FileNotFoundError."""
        try:
            return self.fs.read_file(self.real(path))
        except (OSError, RuntimeError) as error:
            raise FileNotFoundError(path) from error

    def text(self, path: str) -> str:
        """What the file holds as text; empty where it is not there."""
        try:
            return self.read(path).decode(errors="replace")
        except FileNotFoundError:
            return ""

    def write(
        self, path: str, content: bytes | str, mode: int | None = None, owner: tuple[str, str] | None = None
    ) -> None:
        """Write a file, its folders too where they are missing."""
        self.mkdir(posixpath.dirname(path))
        self.fs.write_file(path, content.encode() if isinstance(content, str) else content)
        if mode is not None:
            self.fs.chmod(path, mode)
        if owner is not None:
            self.owners[path] = owner

    def mkdir(self, path: str, mode: int | None = None, owner: tuple[str, str] | None = None) -> None:
        """Make a folder and those above it; quiet where it is there."""
        if not self.fs.exists(path):
            self.fs.mkdir(path, recursive=True)
        if mode is not None:
            self.fs.chmod(path, mode)
        if owner is not None:
            self.owners[path] = owner

    def remove(self, path: str) -> None:
        """Remove whatever is at `path`; quiet where nothing is."""
        with contextlib.suppress(OSError, RuntimeError):
            self.fs.remove(path, recursive=True)
        for kept in [kept for kept in self.owners if kept == path or kept.startswith(path + "/")]:
            del self.owners[kept]

    def move(self, source: str, target: str) -> None:
        """Rename, with the owners of all that moves; a file in the way is replaced."""
        if self.type_of(target) in ("file", "symlink"):
            self.remove(target)
        self.fs.rename(source, target)
        for path in [kept for kept in self.owners if kept == source or kept.startswith(source + "/")]:
            self.owners[target + path[len(source) :]] = self.owners.pop(path)

    def mode(self, path: str) -> int:
        """The permission bits of `path`."""
        return int(self.fs.stat(path)["mode"]) & 0o7777

    def owner(self, path: str) -> tuple[str, str]:
        """User and group that own `path`."""
        return self.owners.get(path, ("root", "root"))

    def entries(self, path: str) -> list[str]:
        """The names in a folder, sorted; none where it is not one."""
        try:
            return sorted(str(entry["name"]) for entry in self.fs.read_dir(path))
        except (OSError, RuntimeError):
            return []

    def walk(self, top: str = "/") -> Iterator[tuple[str, dict[str, object]]]:
        """Every path below `top` with its metadata, folders before what is in them; nothing generated."""
        try:
            entries = self.fs.read_dir(top)
        except (OSError, RuntimeError):
            return
        for entry in entries:
            path = posixpath.join(top, str(entry["name"]))
            if path in GENERATED or path in self.generated:
                continue
            metadata = entry["metadata"]
            yield path, metadata
            if metadata["file_type"] == "directory":
                yield from self.walk(path)

    def sweep(self, user: str, group: str) -> None:
        """What has come up since the last sweep belongs to `user`; owners of what is gone are forgotten."""
        now: dict[str, tuple[object, ...]] = {
            path: (data["file_type"], data["size"], data["mode"], data["modified"])
            for path, data in self.walk()
        }
        if user != "root":
            for path in now.keys() - self._known.keys():
                self.owners.setdefault(path, (user, group))
        for path in self._known.keys() - now.keys():
            self.owners.pop(path, None)
        for path in self._known.keys() & now.keys():
            # Gone, and another thing has its name now, to which nobody has given an owner.
            if self._known[path][0] != now[path][0] and self.owners.get(path) == self._owned.get(path):
                self.owners[path] = (user, group)
        self._known, self._owned = now, dict(self.owners)

    def copy_of(self, path: str) -> dict[str, bytes]:
        """The files below the folder `path`, by their path relative to it; one file has the empty path."""
        if self.is_file(path):
            return {"": self.read(path)}
        below = path.rstrip("/") + "/"
        return {
            found[len(below) :]: self.read(found)
            for found, data in self.walk(path)
            if data["file_type"] != "directory" and self.is_file(found)
        }

    def save(self, file: Path) -> None:
        """Write what is there to a tar file, whole or not at all; nothing where nothing changed since."""
        state = {**self._known, "": tuple(sorted(self.owners.items()))}
        if state == self._saved and file.exists():
            return
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for path, data in self.walk():
                self._pack(archive, path, data)
        temporary = file.with_suffix(".new")
        temporary.write_bytes(buffer.getvalue())
        os.replace(temporary, file)
        self._saved = state

    def _pack(self, archive: tarfile.TarFile, path: str, data: dict[str, object]) -> None:
        info = tarfile.TarInfo(path.lstrip("/"))
        info.uname, info.gname = self.owner(path)
        info.mode = self.mode(path) if self.type_of(path) != "symlink" else 0o777
        info.mtime = float(str(data["modified"]))
        kind = self.type_of(path)
        if kind == "directory":
            info.type = tarfile.DIRTYPE
            archive.addfile(info)
        elif kind == "symlink":
            info.type, info.linkname = tarfile.SYMTYPE, self.fs.read_link(path)
            archive.addfile(info)
        elif kind == "file":
            content = self.fs.read_file(path)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))

    def load(self, file: Path) -> None:
        """Bring back what `save` wrote."""
        with tarfile.open(file) as archive:
            for info in archive.getmembers():
                self._unpack(archive, info)

    def _unpack(self, archive: tarfile.TarFile, info: tarfile.TarInfo) -> None:
        path = "/" + info.name
        if info.isdir():
            self.mkdir(path, info.mode)
        elif info.issym():
            self.mkdir(posixpath.dirname(path))
            self.fs.symlink(info.linkname, path)
        else:
            content = archive.extractfile(info)
            self.write(path, content.read() if content else b"", info.mode)
        if (info.uname, info.gname) != ("root", "root"):
            self.owners[path] = (info.uname, info.gname)
