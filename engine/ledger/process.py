"""Whether a process on this machine still runs, and is the one that was meant."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def alive(pid: int, since: str) -> bool:
    """Whether process `pid` runs and started at `since` (as `started` told it; empty: not known)."""
    if not _runs(pid):
        return False
    now = started(pid)
    return not since or not now or now == since


def started(pid: int) -> str:
    """When process `pid` started, as text that differs once the number is used again; empty where unknown."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        # The name in parentheses may hold anything; field 22 is the start in ticks since boot.
        return stat.read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return _started_by_ps(pid)


def _runs(pid: int) -> bool:
    if os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        # Somebody else's process.
        return True
    return True


def _started_by_ps(pid: int) -> str:
    try:
        told = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return told.stdout.strip()
