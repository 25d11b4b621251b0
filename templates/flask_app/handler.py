"""The same Flask app on AWS Lambda: turns events of an HTTP API (payload format 2.0) into WSGI requests."""

from __future__ import annotations

import base64
import io
import sys
from typing import Any
from urllib.parse import unquote

from app import app

TEXT = ("text/", "application/json", "application/javascript", "application/xml")


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """What Lambda calls for each request."""
    status: list[str] = []
    headers: list[tuple[str, str]] = []

    def start(line: str, given: list[tuple[str, str]], info: Any = None) -> None:
        status.append(line)
        headers.extend(given)

    body = b"".join(app(environ(event), start))
    kept = {name: value for name, value in headers if name.lower() != "set-cookie"}
    text = kept.get("Content-Type", "").startswith(TEXT)
    return {
        "statusCode": int(status[-1].split()[0]),
        "headers": kept,
        "cookies": [value for name, value in headers if name.lower() == "set-cookie"],
        "body": body.decode() if text else base64.b64encode(body).decode(),
        "isBase64Encoded": not text,
    }


def environ(event: dict[str, Any]) -> dict[str, Any]:
    """The WSGI environment (PEP 3333) of a request."""
    http = event["requestContext"]["http"]
    body = event.get("body") or ""
    content = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
    headers = event.get("headers") or {}
    given = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    return {
        **given,
        "HTTP_COOKIE": "; ".join(event.get("cookies") or []),
        "REQUEST_METHOD": http["method"],
        "SCRIPT_NAME": "",
        # A WSGI server gives paths decoded from percents, as bytes in Latin-1.
        "PATH_INFO": unquote(event.get("rawPath") or "/", "latin-1"),
        "QUERY_STRING": event.get("rawQueryString") or "",
        "CONTENT_TYPE": headers.get("content-type", ""),
        "CONTENT_LENGTH": str(len(content)),
        "REMOTE_ADDR": http.get("sourceIp", ""),
        "SERVER_NAME": event["requestContext"].get("domainName", "lambda"),
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": http.get("protocol", "HTTP/1.1"),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": headers.get("x-forwarded-proto", "https"),
        "wsgi.input": io.BytesIO(content),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
