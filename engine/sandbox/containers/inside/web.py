"""Runs in the container that stands in for the internet: files by host name, over HTTP and HTTPS.

Not imported by labctl: it is copied into the image. A registry that is only pulled from is files too.
"""

import hashlib
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path("/srv/web")
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Files(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """The file and its headers."""
        self.serve(with_body=True)

    def do_HEAD(self) -> None:
        """The headers alone."""
        self.serve(with_body=False)

    def serve(self, *, with_body: bool) -> None:
        """Answers with the file of the host and path asked for."""
        place = ROOT / self.headers.get("Host", "").split(":")[0]
        file = (place / self.path.split("?")[0].lstrip("/")).resolve()
        if file.is_dir():
            file /= "index.html"
        found = file.is_file() and file.is_relative_to(place.resolve())
        status, body = (200, file.read_bytes()) if found else missing(place, self.path)
        self.send_response(status)
        if status == 401:
            self.send_header(
                "WWW-Authenticate", 'Bearer realm="https://auth.docker.io/",error="insufficient_scope"'
            )
        if found and "/manifests/" in self.path:
            self.send_header("Content-Type", MANIFEST)
            self.send_header("Docker-Content-Digest", "sha256:" + hashlib.sha256(body).hexdigest())
        elif not found:
            self.send_header("Content-Type", "application/json")
        self.send_header("Docker-Distribution-API-Version", "registry/2.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


def missing(place: Path, path: str) -> tuple[int, bytes]:
    """What Docker Hub says of a tag that an image lacks, and of an image that it does not have.

    Docker makes the whole message only of an error with details.
    """
    repository, kind, tag = path.partition("?")[0].lstrip("/").rpartition("/manifests/")
    error: dict[str, Any] = {
        "code": "MANIFEST_UNKNOWN",
        "message": "manifest unknown",
        "detail": {"Tag": tag},
    }
    if kind and not (place / repository).is_dir():
        detail = [{"Type": "repository", "Name": repository.removeprefix("v2/"), "Action": "pull"}]
        error = {"code": "UNAUTHORIZED", "message": "authentication required", "detail": detail}
        return 401, json.dumps({"errors": [error]}).encode()
    return 404, json.dumps({"errors": [error]}).encode()


def main() -> None:
    """Serves until the container is stopped."""
    secure = ThreadingHTTPServer(("0.0.0.0", 443), Files)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("/srv/tls/cert.pem", "/srv/tls/key.pem")
    secure.socket = context.wrap_socket(secure.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=secure.serve_forever, daemon=True).start()
    ThreadingHTTPServer(("0.0.0.0", 80), Files).serve_forever()


main()
