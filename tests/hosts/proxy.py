"""A SOCKS5 proxy for tests: it knows the names it was told, and leads them to ports on loopback."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Self


class Socks:
    """`ways` maps names to ports of loopback; below 10 it is the reply code of RFC 1928 to refuse with."""

    def __init__(self, ways: Mapping[str, int]) -> None:
        self.asked: list[tuple[str, int]] = []
        self._ways = ways
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for line in self._open:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._server.accept()
            except OSError:
                return
            self._open.append(line)
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        line.recv(line.recv(2)[1])
        line.sendall(b"\x05\x00")
        sort = line.recv(4)[3]
        name = line.recv(line.recv(1)[0]).decode() if sort == 3 else socket.inet_ntoa(line.recv(4))
        (port,) = struct.unpack(">H", line.recv(2))
        self.asked.append((name, port))
        way = self._ways.get(name, 4)
        answer = 0 if way >= 10 else way
        line.sendall(bytes([5, answer, 0, 1, 0, 0, 0, 0, 0, 0]))
        if answer:
            line.close()
            return
        onward = socket.create_connection(("127.0.0.1", way))
        self._open.append(onward)
        threading.Thread(target=_pump, args=(onward, line), daemon=True).start()
        _pump(line, onward)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
