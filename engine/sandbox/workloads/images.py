"""Images as the sandbox keeps them: configuration and layers by digest, names, and the files unpacked."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tarfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from engine.sandbox.machines.images import Registry, full, split
from engine.sandbox.workloads.blobs import Blobs

BASE = "labctl.base"
"""The label of an image built here that names the well-known image it began with."""
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
_SYSTEM = ("bin", "boot", "dev", "lib", "lib32", "lib64", "libx32", "proc", "run", "sbin", "sys")
_SYSTEM_BUT: Mapping[str, Sequence[str]] = {
    "usr": ("src", "share/nginx/html", "local/apache2/htdocs", "app"),
    "var": ("task", "www", "lib/app"),
    "etc": ("nginx",),
}
"""Of these, only what is below the paths named is unpacked: the rest is a system that cannot run here."""
_PACKAGES = re.compile(r"(?:usr/(?:local/)?|opt/venv/)lib/python(3(?:\.\d+)?)/(?:site|dist)-packages/(.+)")
PACKAGES, OTHER_PACKAGES = "labctl-packages", "labctl-packages-other"
"""Python packages of an image lie here, below its root: those for this Python, and for others."""
OUR_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


class NoSuchImage(Exception):
    """There is no such image to pull; the message is what a container service says."""


@dataclass(frozen=True)
class Layer:
    """A layer by the digests of it as it travels and as it is, and its size in bytes as it travels."""

    digest: str
    size: int
    diff_id: str


@dataclass(frozen=True)
class Image:
    """An image that can be run: its configuration (Docker's `Config`), and the folder of its files."""

    name: str
    id: str
    """The digest of its configuration."""
    config: Mapping[str, Any]
    root: Path
    """Laid out as in a container; not to be written to."""
    base: str = ""
    """The well-known image that it is or began with: `httpd`, `python`."""
    layers: tuple[Layer, ...] = ()

    @property
    def entrypoint(self) -> list[str]:
        """What comes first of its command line."""
        return list(self.config.get("Entrypoint") or [])

    @property
    def command(self) -> list[str]:
        """What comes after that, unless something else is said."""
        return list(self.config.get("Cmd") or [])

    @property
    def environment(self) -> dict[str, str]:
        """Its variables."""
        return dict(line.partition("=")[::2] for line in self.config.get("Env") or [])

    @property
    def workdir(self) -> str:
        """The folder its command starts in."""
        return str(self.config.get("WorkingDir") or "/")

    @property
    def ports(self) -> list[int]:
        """The TCP ports that it says it listens on."""
        exposed = self.config.get("ExposedPorts") or {}
        return sorted(int(port.partition("/")[0]) for port in exposed if not port.endswith("/udp"))


@dataclass
class Images:
    """All images of the sandbox."""

    folder: Path
    known: Registry = field(default_factory=lambda: Registry({}))
    """Well-known images that can be pulled; of their files only a start page is there."""
    manifest_of: Callable[[str], bytes | None] = field(default=lambda reference: None)
    """The manifest that a reference names in the sandbox's own registry (ECR); None where there is none."""

    def __post_init__(self) -> None:
        self.blobs = Blobs(self.folder / "blobs")
        self._lock = threading.Lock()

    def sweep(self, manifests: Iterable[bytes], others: Iterable[str]) -> None:
        """Deletes what no image needs any more: those of `manifests` are kept, and the digests `others`.

        To be called while nothing is built, pushed or run.
        """
        kept = set(others)
        for manifest in manifests:
            told = json.loads(manifest)
            kept |= {str(one["digest"]) for one in [told["config"], *told.get("layers", ())]}
        self.blobs.sweep(frozenset(kept))
        unpacked = self.folder / "unpacked"
        for root in unpacked.iterdir() if unpacked.exists() else ():
            if f"sha256:{root.name}" not in kept:
                shutil.rmtree(root, ignore_errors=True)

    def find(self, reference: str) -> Image:
        """The image that a container service would pull. Raises NoSuchImage."""
        manifest = self.manifest_of(reference)
        if manifest is not None:
            return self.of_manifest(reference, manifest)
        repository, tag = split(reference)
        # Docker's official images are in ECR's public gallery, too.
        name = repository.removeprefix("public.ecr.aws/docker/").removeprefix("library/")
        known = self.known.image(name, tag)
        if known is None:
            raise NoSuchImage(
                "CannotPullContainerError: pull image manifest has been retried 1 time(s): "
                f"failed to resolve ref {full(reference)}: {full(reference)}: not found"
            )
        return self.of_known(full(reference), known)

    def nothing(self) -> Image:
        """An image with no files, for programs that bring all of theirs."""
        root = self.folder / "nothing"
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Image("nothing", "", {}, root, base="python")

    def of_manifest(self, name: str, manifest: bytes) -> Image:
        """The image of a manifest whose blobs are here (image manifest, version 2 schema 2, or OCI)."""
        told = json.loads(manifest)
        id = str(told["config"]["digest"])
        diffs = (self.blobs.json(id).get("rootfs") or {}).get("diff_ids") or []
        layers = [
            Layer(str(layer["digest"]), int(layer["size"]), diff)
            for layer, diff in zip(told["layers"], diffs, strict=False)
        ]
        return self.unpacked(name, id, layers)

    def unpacked(self, name: str, id: str, layers: Sequence[Layer]) -> Image:
        """The image with the configuration `id` and `layers`, its files unpacked once."""
        config = self.blobs.json(id).get("config") or {}
        base = str((config.get("Labels") or {}).get(BASE, ""))
        root = self.folder / "unpacked" / id.partition(":")[2]
        with self._lock:
            if not root.exists():
                fresh = root.with_suffix(".new")
                shutil.rmtree(fresh, ignore_errors=True)
                fresh.mkdir(mode=0o700, parents=True)
                self._start_page(fresh, base)
                for layer in layers:
                    unpack(self.blobs.path(layer.digest), fresh)
                os.replace(fresh, root)
        return Image(name, id, config, root, base, tuple(layers))

    def _start_page(self, root: Path, base: str) -> None:
        known = self.known.image(base, "latest") if base else None
        for path, text in (known or {}).get("Files", {}).items():
            place = root / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)

    def of_known(self, name: str, known: Mapping[str, Any]) -> Image:
        """A well-known image, of which nothing is here but its configuration and a start page."""
        config = {**known["Config"], "Labels": {**(known["Config"]["Labels"] or {}), BASE: known["Base"]}}
        id = self.blobs.put_json({"architecture": "amd64", "os": "linux", "config": config})
        return self.unpacked(name, id, [])


def unpack(layer: Path, root: Path) -> None:
    """Applies a layer (tar, whichever way compressed) to the files below `root`, whiteouts included.

    What is not a file, folder or link, lies outside, or belongs to a system is left out.
    """
    with tarfile.open(layer) as archive:
        for member in archive:
            name = _wanted(member.name)
            if name is None:
                continue
            place = root / name
            if place.name.startswith(".wh."):
                _whiteout(place)
                continue
            _remove_other(place, member)
            member.name = name
            if member.islnk():
                member.linkname = _wanted(member.linkname) or member.linkname
            try:
                archive.extract(member, root, filter="data")
            except (tarfile.FilterError, KeyError, OSError):
                continue  # a device, a link to the outside or to what is left out
            if member.isfile():
                place.chmod(place.stat().st_mode | 0o600)


def _wanted(name: str) -> str | None:
    path = str(PurePosixPath("/", name)).strip("/")
    if not path or ".." in path.split("/"):
        return None
    packages = _PACKAGES.fullmatch(path)
    if packages:
        return f"{PACKAGES if packages[1] == OUR_PYTHON else OTHER_PACKAGES}/{packages[2]}"
    top, _, rest = path.partition("/")
    if top in _SYSTEM:
        return None
    if top in _SYSTEM_BUT:
        kept = _SYSTEM_BUT[top]
        return path if any(rest == each or rest.startswith(f"{each}/") for each in kept) else None
    return path


def _whiteout(place: Path) -> None:
    """Removes what a later layer has removed (OCI image specification, whiteouts)."""
    if place.name == ".wh..wh..opq":
        shutil.rmtree(place.parent, ignore_errors=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        return
    gone = place.with_name(place.name.removeprefix(".wh."))
    if gone.is_dir() and not gone.is_symlink():
        shutil.rmtree(gone)
    else:
        gone.unlink(missing_ok=True)


def _remove_other(place: Path, member: tarfile.TarInfo) -> None:
    if place.is_symlink() or (place.exists() and not (place.is_dir() and member.isdir())):
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink()
