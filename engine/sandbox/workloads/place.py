"""Where workloads have their folders: in the sandbox's own, or where `nobody` can enter."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from engine.sandbox.workloads.interpreter import nobody


def fresh_base(folder: Path) -> Path:
    """A fresh folder below the sandbox's own; of root's, which nobody else may enter, one that they may."""
    sweep(folder)
    if nobody() is None:
        base = folder / "workloads"
        base.mkdir(mode=0o700, parents=True)
        return base
    base = Path(tempfile.mkdtemp(prefix=_prefix(folder)))
    base.chmod(0o711)
    return base


def sweep(folder: Path) -> None:
    """Removes what a killed sandbox of `folder` has left; to be called while none runs there."""
    shutil.rmtree(folder / "workloads", ignore_errors=True)
    if nobody() is not None:
        for left in Path(tempfile.gettempdir()).glob(f"{_prefix(folder)}*"):
            if not left.is_symlink() and left.stat().st_uid == 0:
                shutil.rmtree(left, ignore_errors=True)


def _prefix(folder: Path) -> str:
    return f"labctl-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}-"
