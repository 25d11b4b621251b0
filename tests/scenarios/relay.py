"""A relay in front of an AWS endpoint that loses the answers to chosen requests after they took effect."""

from __future__ import annotations

import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from io import BufferedReader

_ACTION = re.compile(rb"Action=(\w+)")
_LENGTH = re.compile(rb"(?i)content-length: *(\d+)")
_CHUNKED = re.compile(rb"(?i)transfer-encoding: *chunked")


class Relay:
    """Listens on `port` and passes HTTP on to `endpoint`; of each request in `lose` one answer is lost.

    Before an answer is lost, `then` is called: what it does happens between the effect and the answer.
    """

    def __init__(self, endpoint: str, lose: Iterable[str] = (), then: Callable[[], None] = lambda: None):
        host, port = endpoint.removeprefix("http://").split(":")
        self.lost: list[str] = []
        self.lose = Counter(lose)
        self.then = then
        self._endpoint = (host, int(port))
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        try:
            with client, socket.create_connection(self._endpoint) as server:
                asked, answered = client.makefile("rb"), server.makefile("rb")
                with asked, answered:
                    while (request := _message(asked)) is not None:
                        server.sendall(request)
                        answer = _message(answered)
                        if answer is None or self._loses(request):
                            return
                        client.sendall(answer)
        except OSError:
            return

    def _loses(self, request: bytes) -> bool:
        found = _ACTION.search(request)
        action = found[1].decode() if found else ""
        with self._lock:
            if not self.lose[action]:
                return False
            self.lose[action] -= 1
            self.lost.append(action)
            self.then()
        return True


def _message(stream: BufferedReader) -> bytes | None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            return None
        head += line
    length = _LENGTH.search(head)
    if length:
        return head + stream.read(int(length[1]))
    body = b""
    while _CHUNKED.search(head):
        line = stream.readline()
        body += line + stream.read(int(line, 16) + 2)
        if int(line, 16) == 0:
            break
    return head + body
