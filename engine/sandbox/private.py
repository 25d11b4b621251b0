"""Files that nobody but their owner may read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write(path: Path, content: bytes) -> None:
    """Puts `content` in the place of what was at `path`, whole or not at all."""
    fresh = path.with_suffix(".new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    os.replace(fresh, path)


def secret(path: Path) -> str:
    """The secret kept at `path`, made when it is first asked for."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write(path, secrets.token_hex(32).encode())
    return path.read_text()
