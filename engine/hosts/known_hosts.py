"""The lab's own known_hosts: which host keys were seen at first contact; ~/.ssh is left alone."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import tempfile
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import StepFailed


@dataclass(frozen=True)
class HostKey:
    """A public host key as known_hosts writes it: its type and its base64 text."""

    sort: str
    text: str

    @property
    def fingerprint(self) -> str:
        """`SHA256:…`, as OpenSSH shows it."""
        digest = hashlib.sha256(base64.b64decode(self.text)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def parse_keys(lines: Iterable[str]) -> list[HostKey]:
    """The keys of lines like `ssh-ed25519 AAAA… comment`; what is no key is left out."""
    keys = []
    for line in lines:
        words = line.split()
        if len(words) >= 2 and _is_key(words[1]):
            keys.append(HostKey(words[0], words[1]))
    return keys


class KnownHosts:
    """The file of host keys of one lab, by alias; safe among threads, replaced at one stroke."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def keys(self, alias: str) -> list[HostKey]:
        """The keys known for `alias`."""
        return [key for name, key in self._lines() if name == alias]

    def put(self, alias: str, keys: Sequence[HostKey]) -> None:
        """Remember `keys` for `alias` in place of those it had."""
        with self._lock:
            kept = [(name, key) for name, key in self._lines() if name != alias]
            self._write([*kept, *((alias, key) for key in keys)])

    def drop(self, alias: str) -> None:
        """Forget `alias`."""
        with self._lock:
            lines = self._lines()
            kept = [(name, key) for name, key in lines if name != alias]
            if len(kept) != len(lines):
                self._write(kept)

    def _lines(self) -> list[tuple[str, HostKey]]:
        try:
            text = self.path.read_text("utf-8", "replace")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StepFailed(f"cannot read {self.path}: {error.strerror}", "own it, and try again") from error
        split = (line.split(maxsplit=1) for line in text.splitlines())
        return [
            (words[0], key)
            for words in split
            if len(words) == 2 and not words[0].startswith("#")
            for key in parse_keys(words[1:])
        ]

    def _write(self, lines: Sequence[tuple[str, HostKey]]) -> None:
        write_private(self.path, "".join(f"{name} {key.sort} {key.text}\n" for name, key in lines))


def write_private(path: Path, text: str) -> None:
    """Replace the file at `path`, readable by its owner alone, at one stroke.

    Raises StepFailed where it cannot be written (a full disk, a folder of somebody else's).
    """
    try:
        _write_private(path, text)
    except OSError as error:
        raise StepFailed(
            f"cannot write {path}: {error.strerror}", "make room there, or own the folder"
        ) from error


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _is_key(text: str) -> bool:
    try:
        return text.startswith("AAAA") and bool(base64.b64decode(text, validate=True))
    except binascii.Error:
        return False
