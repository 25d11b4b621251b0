"""Folders as archives that are the same wherever and whenever they are made of the same files."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from engine.local_files import LocalFolder


def _in_folder(value: str) -> str:
    if value.startswith("/") or ".." in PurePosixPath(value).parts:
        raise ValueError("the Dockerfile lies in `path`")
    return value


InFolder = Annotated[str, AfterValidator(_in_folder)]
"""The path of a Dockerfile within the folder that it builds from."""

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The first moment that a zip archive can tell."""
_FILE, _PROGRAM, _LINK, _FOLDER = 0o100644, 0o100755, 0o120777, 0o40755


def tar_of(folder: LocalFolder) -> bytes:
    """The folder as a tar archive; of modes, only whether a file can be executed is kept."""
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, path in folder.members():
            info = archive.gettarinfo(path, arcname=name)
            info.uid = info.gid = info.mtime = 0
            info.uname = info.gname = "root"
            if not info.issym():
                info.mode = _mode(path) & 0o777
            if info.isreg():
                with path.open("rb") as stream:
                    archive.addfile(info, stream)
            elif info.isdir() or info.issym():
                archive.addfile(info)
    return into.getvalue()


def zip_of(folder: LocalFolder) -> bytes:
    """The folder as a zip archive; everybody may read what is in it, as Lambda wants it."""
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, path in _files(folder):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = 3  # Unix, so that modes count
            info.external_attr = _mode(path) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, str(path.readlink()).encode() if path.is_symlink() else path.read_bytes())
    return into.getvalue()


def _files(folder: LocalFolder) -> Iterator[tuple[str, Path]]:
    for name, path in folder.members():
        if (path.is_symlink() or path.is_file()) and "__pycache__" not in name.split("/"):
            yield name, path


def _mode(path: Path) -> int:
    if path.is_symlink():
        return _LINK
    if path.is_dir():
        return _FOLDER
    return _PROGRAM if path.stat().st_mode & 0o100 else _FILE
