"""`python -m engine.hosts.socks PROXY_HOST:PORT HOST PORT`: standard input and output through a SOCKS5 proxy.

An ssh ProxyCommand for machines without nc; it exits with 1 and one line where there is no connection.
It is a program, and nothing imports it.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Sequence

from engine.hosts.proxied import through

_TIMEOUT = 30.0


def main(arguments: Sequence[str]) -> int:
    """Carry bytes both ways until either side ends; the exit status."""
    if len(arguments) != 3:
        sys.stderr.write("usage: python -m engine.hosts.socks PROXY_HOST:PORT HOST PORT\n")
        return 2
    try:
        line = through(arguments[0], arguments[1], int(arguments[2]), _TIMEOUT)
    except (OSError, ValueError) as error:
        sys.stderr.write(
            f"no connection to {arguments[1]} port {arguments[2]} through {arguments[0]}: {error}\n"
        )
        return 1
    line.settimeout(None)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=_send, args=(line,), daemon=True).start()
    _receive(line)
    return 0


def _send(line: socket.socket) -> None:
    try:
        while data := os.read(0, 1 << 16):
            line.sendall(data)
        line.shutdown(socket.SHUT_WR)
    except OSError:
        return


def _receive(line: socket.socket) -> None:
    try:
        while data := line.recv(1 << 16):
            view = memoryview(data)
            while view:
                view = view[os.write(1, view) :]
    except OSError:
        return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
