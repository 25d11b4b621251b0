"""The names under which S3 answers in the sandbox's network, over HTTP."""

from __future__ import annotations

import socket

from engine.sandbox.aws import strangers, websites
from engine.sandbox.streams import connected, unconnected
from engine.sandbox.wires import NoSuchHost

_PORT = 80


class S3Door:
    """Leads to the AWS endpoint where S3 answers: `BUCKET.s3.REGION.amazonaws.com`, and its websites."""

    def __init__(self, endpoint: tuple[str, int]) -> None:
        self._endpoint = endpoint

    async def __call__(self, host: str, port: int, source: str) -> socket.socket | None:
        """A connection; no certificate of S3's can be had here, so nothing listens but on port 80."""
        if not strangers.HOST.fullmatch(host) and not websites.HOST.fullmatch(host):
            raise NoSuchHost(host)
        if port != _PORT:
            raise ConnectionRefusedError
        return await connected(unconnected(), self._endpoint)
