"""Who uses labctl here, for locks and the history."""

from __future__ import annotations

import getpass
import socket


def who() -> str:
    """`ana@laptop`."""
    return f"{_user()}@{socket.gethostname()}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "somebody"
