"""What the WSGI environment of a request to AWS tells of it."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

_REGION = re.compile(r"Credential=[^/]+/\d+/([^/]+)/")


def header(environ: Mapping[str, Any], name: str) -> str:
    """A header by its name; empty where it was not sent."""
    key = name.upper().replace("-", "_")
    return str(environ.get(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}", ""))


def region_of(environ: Mapping[str, Any]) -> str:
    """The region that the request is signed for."""
    found = _REGION.search(environ.get("HTTP_AUTHORIZATION", ""))
    return found[1] if found else "us-east-1"


def body_of(environ: dict[str, Any]) -> bytes:
    """The body, which is put back for whoever reads it next."""
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return body
