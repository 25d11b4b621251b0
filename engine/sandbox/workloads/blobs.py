"""Content by its digest (OCI image specification, descriptors): written once, never changed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def is_digest(text: str) -> bool:
    """Whether `text` is a SHA-256 digest, `sha256:` and 64 hexadecimal digits."""
    return _DIGEST.fullmatch(text) is not None


def digest_of(content: bytes) -> str:
    """The digest of `content`."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Blobs:
    """A folder of blobs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, digest: str) -> Path:
        """Where the blob is or would be. Raises ValueError for what is no digest."""
        if not is_digest(digest):
            raise ValueError(f"{digest} is not a SHA-256 digest")
        return self._folder / digest.partition(":")[2]

    def has(self, digest: str) -> bool:
        """Whether the blob is there."""
        return is_digest(digest) and self.path(digest).exists()

    def put(self, content: bytes) -> str:
        """Keeps `content`; its digest."""
        return self.take(iter([content]))[0]

    def put_json(self, value: Any) -> str:
        """Keeps `value` as JSON; its digest."""
        return self.put(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())

    def take(self, chunks: Iterator[bytes]) -> tuple[str, int]:
        """Keeps what comes in `chunks`; its digest and size."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        hashed, size = hashlib.sha256(), 0
        handle, fresh = tempfile.mkstemp(dir=self._folder, prefix=".")
        try:
            with os.fdopen(handle, "wb") as file:
                for chunk in chunks:
                    hashed.update(chunk)
                    size += len(chunk)
                    file.write(chunk)
            digest = f"sha256:{hashed.hexdigest()}"
            os.replace(fresh, self.path(digest))
        except BaseException:
            os.unlink(fresh)
            raise
        return digest, size

    def sweep(self, kept: frozenset[str]) -> None:
        """Deletes all blobs but those with these digests, and what was left half written."""
        if self._folder.exists():
            for path in self._folder.iterdir():
                if f"sha256:{path.name}" not in kept:
                    path.unlink()

    def read(self, digest: str) -> bytes:
        """The blob's content. Raises FileNotFoundError."""
        return self.path(digest).read_bytes()

    def json(self, digest: str) -> dict[str, Any]:
        """The blob's content, which is a JSON object. Raises FileNotFoundError, ValueError."""
        found = json.loads(self.read(digest))
        if not isinstance(found, dict):
            raise ValueError(f"{digest} is not a JSON object")
        return found

    def size(self, digest: str) -> int:
        """Bytes of the blob."""
        return self.path(digest).stat().st_size
