"""The ports that the sandbox listens on: the same at each start, as far as they are free.

What was written with them (an ssh_config, `AWS_ENDPOINT_URL` in somebody's shell) then outlives a restart.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from pathlib import Path

_LOOPBACK = "127.0.0.1"


def listeners(record: Path, names: tuple[str, ...]) -> dict[str, socket.socket]:
    """A bound socket for each of `names`, on the ports of the last time (in `record`) where they are free.

    The ports taken are written to `record`.
    """
    wanted = _recorded(record)
    bound = {name: _bind(wanted.get(name, 0)) for name in names}
    record.write_text(json.dumps({name: listener.getsockname()[1] for name, listener in bound.items()}))
    return bound


def _recorded(record: Path) -> dict[str, int]:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(record.read_text())
        return {str(name): int(port) for name, port in found.items() if 0 < int(port) < 65536}
    return {}


def _bind(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if os.name == "posix":
        # On Windows this would let two programs share the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_LOOPBACK, port))
    except OSError:
        listener.bind((_LOOPBACK, 0))
    listener.listen(128)
    return listener
