"""The AWS endpoint: moto behind a check of the credentials, on the loopback interface only."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler

from engine.sandbox.aws import buckets, presigned, strangers, websites
from engine.sandbox.aws.credentials import answer, refusal
from engine.sandbox.aws.failures import create_app
from engine.sandbox.kubernetes.api import PREFIX
from engine.sandbox.web import Web

_SAFE = ("GET", "HEAD", "OPTIONS")
_READS = ("Get", "List", "Describe")
Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class _Quiet(MotoRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Requests are not logged; the user's own program shows what it asks."""


class Endpoint:
    """moto's server with the sandbox's own pages under `/_labctl/`.

    It answers on `listener`, which it takes over. `control` answers those pages, `clusters` what is for the
    API of a cluster, `own` the requests whose X-Amz-Target begins so, for services that moto lacks, `apart`
    those of these paths, which take their time and find the lock open; `changed` is told after each request
    to a service other than EC2 that may have changed something (EC2's are told by the guard).
    """

    def __init__(
        self,
        listener: socket.socket,
        control: Application,
        lock: threading.RLock,
        changed: Callable[[], None],
        own: Mapping[str, Application],
        clusters: Application,
        apart: Mapping[re.Pattern[str], Application] | None = None,
    ) -> None:
        self._apart = apart or {}
        self._own = own
        self._clusters = clusters
        self._moto = DomainDispatcherApplication(create_app)
        self._control = control
        self._lock = lock
        self._changed = changed
        self._web = Web(listener, self._serve, _Quiet)

    def start(self) -> None:
        """Begins to answer."""
        self._web.start()

    def stop(self) -> None:
        """Ends answering; requests being served are not waited for."""
        self._web.stop()

    def _serve(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ.get("PATH_INFO", "").startswith("/_labctl/"):
            return self._control(environ, start_response)
        if environ.get("PATH_INFO", "").startswith(PREFIX):
            with self._lock:
                told = self._clusters(environ, start_response)
                if environ["REQUEST_METHOD"] not in _SAFE:
                    self._changed()
            return told
        refused = refusal(environ) or presigned.refusal(environ)
        if refused:
            return answer(refused, environ, start_response)
        for path, application in self._apart.items():
            if environ.get("HTTP_AUTHORIZATION") and path.fullmatch(environ["PATH_INFO"]):
                return application(environ, start_response)
        with self._lock:
            if strangers.is_strangers(environ):
                refused = strangers.refusal(environ, buckets.every())
                if refused:
                    return answer(refused, environ, start_response)
            served: Iterable[bytes] = self._serving(environ)(environ, start_response)
            if _may_change(environ):
                self._changed()
        return served

    def _serving(self, environ: dict[str, Any]) -> Application:
        if websites.is_for_website(environ):
            return lambda asked, start: websites.answer(asked, start, buckets.every())
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        return next((own for start, own in self._own.items() if target.startswith(start)), self._moto)


def _may_change(environ: dict[str, Any]) -> bool:
    """Whether a request to a service other than EC2 (whose changes the guard tells) may change anything."""
    if "/ec2/aws4_request" in environ.get("HTTP_AUTHORIZATION", "") or environ["REQUEST_METHOD"] in _SAFE:
        return False
    operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
    return "/sts/aws4_request" not in environ.get("HTTP_AUTHORIZATION", "") and not operation.startswith(
        _READS
    )
