"""The sandbox's own pages, under `/_labctl/` of the AWS endpoint: is it ours, new settings, stop.

They answer only who can read the running sandbox's file, which is the user who started it.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterable
from typing import Any

from engine.errors import Invalid
from engine.sandbox.settings import Settings


class Control:
    """A WSGI application; `stop` and `settle` are called in the thread that serves the request."""

    def __init__(
        self, secret: str, secret_id: str, stop: Callable[[], None], settle: Callable[[Settings], None]
    ) -> None:
        self._secret = secret
        self._id = secret_id
        self._stop = stop
        self._settle = settle

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answers a request with one JSON document."""
        status, told = self._answer(environ)
        body = json.dumps(told).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response(status, headers)
        return [body]

    def _answer(self, environ: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        if not hmac.compare_digest(environ.get("HTTP_X_LABCTL_SECRET", ""), self._secret):
            return "403 Forbidden", {"error": "not yours"}
        page = environ["REQUEST_METHOD"], environ["PATH_INFO"].removeprefix("/_labctl/")
        if page == ("GET", "status"):
            return "200 OK", {"secret_id": self._id}
        if page == ("POST", "stop"):
            self._stop()
            return "200 OK", {}
        if page == ("POST", "settings"):
            return self._settings(environ)
        return "404 Not Found", {"error": "no such page"}

    def _settings(self, environ: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        size = int(environ.get("CONTENT_LENGTH") or 0)
        try:
            settings = Settings.of(json.loads(environ["wsgi.input"].read(size)))
        except (Invalid, json.JSONDecodeError) as error:
            return "400 Bad Request", {"error": str(error)}
        self._settle(settings)
        return "200 OK", {}
