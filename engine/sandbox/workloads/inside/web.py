"""Imitates the program of a well-known image: `web.py NAME ROOT PORT` serves a folder of files.

ROOT `-` answers with the request itself, as traefik/whoami does.
"""

from __future__ import annotations

import functools
import os
import sys
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Files(SimpleHTTPRequestHandler):
    """Serves files as a web server of that name does: no listings."""

    protocol_version = "HTTP/1.1"
    name = "Apache"

    def version_string(self) -> str:
        """What it says it is."""
        return self.name

    def list_directory(self, path: Any) -> None:
        """A folder without an index is nobody's business."""
        self.send_error(403)


class Whoami(BaseHTTPRequestHandler):
    """Answers with what was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """The host's name and the request."""
        text = f"Hostname: {os.environ.get('HOSTNAME', '')}\n{self.requestline}\n{self.headers}".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_POST(self) -> None:
        """The same."""
        self.do_GET()


class Server(ThreadingHTTPServer):
    """Binds without asking DNS for its own name."""

    daemon_threads = True

    def server_bind(self) -> None:
        """As the socket server does it."""
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "localhost", self.server_address[1]


def main(name: str, root: str, port: str) -> None:
    """Serves until the end."""
    handler: Any = Whoami
    if root != "-":
        handler = functools.partial(type("Named", (Files,), {"name": name}), directory=root)
    Server(("0.0.0.0", int(port)), handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
