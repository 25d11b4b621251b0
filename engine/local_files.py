"""Files of the controller that a playbook names: field types, and the only folders that they may lie in."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from engine.refs import Unknown
from engine.resource import Files

_BLOCK = 1 << 20
_SMALL = 1 << 16


class _Named:
    """A field type that is written as a path and resolved through validation context `files`."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(cls._validated)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string"}

    @classmethod
    def _validated(cls, value: Any, info: ValidationInfo) -> Self:
        if isinstance(value, cls):
            return value
        if not isinstance(value, str) or not value:
            raise ValueError("must be the path of a file")
        files: Files | None = (info.context or {}).get("files")
        if files is None:
            raise ValueError("names a file, and there is no playbook to look beside")
        try:
            return cls.found(value, files)
        except OSError as error:
            words = (error.strerror or str(error)).lower()
            raise ValueError(f"`{value}` cannot be read: {words}") from None

    @classmethod
    @abstractmethod
    def found(cls, path: str, files: Files) -> Self:
        """What `path` names among `files`. Raises ValueError in words, or OSError."""


@dataclass(frozen=True)
class LocalFile(_Named):
    """A file that travels to a host or into a request as it is; equal where the contents are."""

    path: Path = field(compare=False)
    sha256: str
    """Of its contents, in hex."""
    size: int
    """Bytes."""

    @classmethod
    def found(cls, path: str, files: Files) -> Self:
        """The file that `path` names. Raises ValueError in words, or OSError."""
        place = files.find(path)
        return cls(place, hash_of(place), place.stat().st_size)

    def text(self) -> str:
        """Its contents as text, what is not UTF-8 replaced; nothing of one that is no small text (64 KiB)."""
        if self.size > _SMALL:
            return ""
        try:
            return self.path.read_text("utf-8", errors="replace")
        except OSError:
            return ""


@dataclass(frozen=True)
class LocalFolder(_Named):
    """A folder with all that is in it; equal where relative names, modes and contents are.

    Of modes only whether a file can be executed counts, as in Git: the rest hangs on who checked it out.
    What a `.dockerignore` in the folder names is left out.
    """

    path: Path = field(compare=False)
    sha256: str
    """Of names, modes and contents, in hex."""

    @classmethod
    def found(cls, path: str, files: Files) -> Self:
        """The folder that `path` names. Raises ValueError in words, or OSError."""
        place = files.find(path, folder=True)
        digest = hashlib.sha256()
        for name, member in members(place):
            digest.update(f"{name}\0{_mode(member):o}\0{_content_hash(member)}\0".encode())
        return cls(place, digest.hexdigest())

    def members(self) -> Iterator[tuple[str, Path]]:
        """Relative name and path of each file and folder in it, sorted, folders before what is in them."""
        return members(self.path)


@dataclass(frozen=True)
class TemplateFile(_Named):
    """A Jinja2 file, filled in with the names of the lab and of its resource; equal where the text is."""

    path: Path = field(compare=False)
    text: str | Unknown

    @classmethod
    def found(cls, path: str, files: Files) -> Self:
        """The template that `path` names, filled in. Raises ValueError in words, OSError or Invalid."""
        place = files.find(path)
        return cls(place, files.fill(place))


def hash_of(path: Path) -> str:
    """The SHA-256 of a file's contents in hex, computed anew only when the file has changed."""
    stat = path.stat()
    return _hashed(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)


@functools.lru_cache(maxsize=10_000)
def _hashed(path: Path, mtime: int, size: int, inode: int) -> str:
    """The contents' SHA-256; the other arguments tell when the file has changed."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _mode(path: Path) -> int:
    if path.is_symlink():
        return 0o120000
    if path.is_dir():
        return 0o040755
    return 0o100755 if path.stat().st_mode & 0o100 else 0o100644


def _content_hash(path: Path) -> str:
    if path.is_symlink():
        return hashlib.sha256(os.readlink(path).encode()).hexdigest()
    return "" if path.is_dir() else hash_of(path)


def members(folder: Path) -> Iterator[tuple[str, Path]]:
    """Relative name (with `/`) and path of what is below `folder`, sorted; links are not followed.

    What its `.dockerignore` excludes is left out; the Dockerfile and the `.dockerignore` always stay.
    """
    rules = _ignore_rules(folder / ".dockerignore")
    kept = {".dockerignore", "Dockerfile"}
    found: list[tuple[str, Path]] = []
    for root, folders, names in os.walk(folder):
        base = Path(root)
        for name in [*folders, *names]:
            place = base / name
            relative = place.relative_to(folder).as_posix()
            if relative in kept or not _ignored(relative, rules):
                found.append((relative, place))
        if not any(keep for _, keep in rules):
            folders[:] = [
                name for name in folders if not _ignored((base / name).relative_to(folder).as_posix(), rules)
            ]
    yield from sorted(found, key=lambda member: member[0].split("/"))


def _ignore_rules(path: Path) -> list[tuple[re.Pattern[str], bool]]:
    """Patterns and whether each brings back (`!`) what it matches, in order."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except FileNotFoundError:
        return []
    rules = []
    for line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        keep = text.startswith("!")
        pattern = str(PurePosixPath(text.lstrip("!").strip())).strip("/")
        if pattern not in ("", "."):
            rules.append((re.compile(_as_regex(pattern)), keep))
    return rules


def _as_regex(pattern: str) -> str:
    """Docker's pattern (Go's filepath.Match and `**`) as a regular expression; it matches what is below."""
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\]|\\.)", pattern)
    made = []
    for part in parts:
        if part in words:
            made.append(words[part])
        elif part.startswith("[") and part.endswith("]") and len(part) > 2:
            made.append("[" + part[1:-1].replace("\\", "\\\\") + "]")
        else:
            made.append(re.escape(part.removeprefix("\\") if len(part) == 2 else part))
    return f"{''.join(made)}(?:/.*)?\\Z"


def _ignored(relative: str, rules: Sequence[tuple[re.Pattern[str], bool]]) -> bool:
    ignored = False
    for pattern, keep in rules:
        if pattern.match(relative):
            ignored = not keep
    return ignored


@dataclass(frozen=True)
class PlaybookFiles:
    """The files that a playbook may read: what is beside it, and what is in `templates/`.

    `folders` are searched in order; nothing outside them is read, links included.
    """

    folders: tuple[Path, ...]
    filler: Callable[[Path, str], str | Unknown] | None = field(default=None, compare=False)
    """Fills in the text of a template read from a path."""

    def find(self, path: str, *, folder: bool = False) -> Path:
        """The file or folder that `path` names. Raises ValueError in words where there is none."""
        asked = Path(path).expanduser() if path.startswith("~") else Path(path)
        roots = [each.resolve() for each in self.folders]
        outside = False
        for root in roots:
            place = (root / asked).resolve()
            inside = any(place.is_relative_to(other) for other in roots)
            outside |= not inside
            if inside and (place.is_dir() if folder else place.is_file()):
                return place
        raise ValueError(self._not_found(path, folder, outside))

    def _not_found(self, path: str, folder: bool, outside: bool) -> str:
        sort = "folder" if folder else "file"
        places = " or ".join(f"`{shown(each)}`" for each in self.folders)
        if outside:
            return f"`{path}` lies outside the folders a playbook may read: {places}"
        return f"there is no {sort} `{path}` in {places}"

    def fill(self, path: Path) -> str | Unknown:
        """The text of the template at `path`, filled in. Raises ValueError, OSError or Invalid."""
        if self.filler is None:
            raise ValueError("a template cannot be filled in here")
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"`{shown(path)}` is not UTF-8 text") from None
        return self.filler(path, text)


def shown(path: Path) -> str:
    """`path` as the user would write it: relative to the working directory where it lies below."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
