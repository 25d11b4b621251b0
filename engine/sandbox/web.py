"""WSGI applications on loopback ports, served in threads."""

from __future__ import annotations

import socket
import threading
from typing import Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Requests are not logged."""


class Web:
    """Serves an application on a listening socket, which it takes over; `handler` reads the requests."""

    def __init__(
        self, listener: socket.socket, application: Any, handler: type[WSGIRequestHandler] = _Quiet
    ) -> None:
        with listener:  # the server keeps a duplicate of it
            host, port = listener.getsockname()
            self.place = f"{host}:{port}"
            self._server: BaseWSGIServer = make_server(
                host, port, application, threaded=True, request_handler=handler, fd=listener.fileno()
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Ends answering; requests being served are not waited for."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
