"""Runs a function's handler as Lambda's runtime for Python does: `lambda_runtime.py MODULE.FUNCTION`.

It answers on port 9001 with the result of each event posted to it, one after another. What is not about the
function's own answer travels in headers: X-Function (JSON: name, version, arn, memory, log group and
stream), X-Request (id), X-Deadline (milliseconds since the epoch).
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

PORT = 9001


class Context:
    """What a handler is given besides the event."""

    def __init__(self, function: dict[str, Any], request: str, deadline: int) -> None:
        self.function_name = function["name"]
        self.function_version = function["version"]
        self.invoked_function_arn = function["arn"]
        self.memory_limit_in_mb = str(function["memory"])
        self.log_group_name = function["log_group"]
        self.log_stream_name = function["log_stream"]
        self.aws_request_id = request
        self.identity = None
        self.client_context = None
        self._deadline = deadline

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function is ended."""
        return max(0, self._deadline - int(time.time() * 1000))


def failure(error: BaseException) -> dict[str, Any]:
    """An exception as Lambda tells it to who has invoked the function."""
    trace = traceback.format_tb(error.__traceback__)[1:]
    return {"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": trace}


def load(name: str) -> Callable[[Any, Context], Any]:
    """The handler `module.function`. Raises Lambda's own errors."""
    module, _, function = name.rpartition(".")
    loaded = importlib.import_module(module.replace("/", "."))
    handler: Callable[[Any, Context], Any] = getattr(loaded, function)
    return handler


class Runtime(BaseHTTPRequestHandler):
    """Passes events on to the handler."""

    handler: Callable[[Any, Context], Any] | None = None
    broken: dict[str, Any] | None = None

    def do_POST(self) -> None:
        """Runs the handler once."""
        event = self.rfile.read(int(self.headers["Content-Length"]))
        context = Context(
            json.loads(self.headers["X-Function"]),
            self.headers["X-Request"],
            int(self.headers["X-Deadline"]),
        )
        answer, failed = self._run(event, context)
        sys.stdout.flush()
        sys.stderr.flush()
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("X-Failed", "yes" if failed else "no")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _run(self, event: bytes, context: Context) -> tuple[Any, bool]:
        handler = type(self).handler
        if self.broken is not None or handler is None:
            return self.broken, True
        try:
            answer = handler(json.loads(event or b"{}"), context)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is its answer
            sys.stdout.write(f"[ERROR] {type(error).__name__}: {error}\n{traceback.format_exc()}")
            return failure(error), True
        try:
            json.dumps(answer)
        except TypeError as error:
            words = f"Unable to marshal response: {error}"
            return {"errorMessage": words, "errorType": "Runtime.MarshalError"}, True
        return answer, False

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged; what the function prints is."""


def main(name: str) -> None:
    """Loads the handler and answers until the end."""
    sys.path[0:0] = [os.getcwd(), f"{os.environ['LABCTL_ROOT']}/opt/python"]
    try:
        Runtime.handler = staticmethod(load(name))
    except Exception as error:  # noqa: BLE001 - whatever a module raises when it is imported
        traceback.print_exc()
        sort = "HandlerNotFound" if isinstance(error, AttributeError) else "ImportModuleError"
        module = name.rpartition(".")[0]
        words = f"Unable to import module '{module}': {error}"
        if sort == "HandlerNotFound":
            words = f"Handler '{name.rpartition('.')[2]}' missing on module '{module}'"
        Runtime.broken = {"errorMessage": words, "errorType": f"Runtime.{sort}", "stackTrace": []}
    sys.stdout.flush()
    HTTPServer(("0.0.0.0", PORT), Runtime).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
