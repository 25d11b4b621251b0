"""The one gate that every EC2 request passes: checks, dry runs, tokens, pages, and word of changes.

moto serves requests in threads and guards nothing; here they go one at a time, which costs nothing
(its throughput is the same with one thread) and settles all races.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult
from moto.ec2.exceptions import DryRunClientError
from moto.ec2.responses import EC2Response

from engine.sandbox.aws.mending import replace
from engine.sandbox.aws.paging import page
from engine.sandbox.aws.tokens import Answer, Tokens

Check = Callable[[Any, dict[str, Any]], None]
"""Given the region's backend and the request's parameters; may complete them, or raise EC2ClientError."""
After = Callable[[Any, dict[str, Any], Any], None]
"""Given backend, parameters and what moto answered; puts right what moto left out."""

_READS = ("Describe", "Get", "List", "Search")


class Guard:
    """What happens around moto's own handling of each EC2 action."""

    def __init__(
        self,
        checks: Mapping[str, tuple[Check, ...]],
        afters: Mapping[str, After],
        tokens: Tokens,
        settle: Callable[[Any, float], None],
        changed: Callable[[], None],
    ) -> None:
        self.lock = threading.RLock()
        self._checks = checks
        self._afters = afters
        self._tokens = tokens
        self._settle = settle
        self._changed = changed

    def install(self) -> None:
        """Puts the gate in front of moto."""
        handle, serialize = EC2Response.call_action, EC2Response.serialized

        def call_action(request: EC2Response) -> Answer:
            return self._call(request, handle)

        def serialized(request: EC2Response, answer: ActionResult) -> Answer:
            self._finish(request, answer)
            return serialize(request, answer)

        replace(EC2Response, call_action=call_action, serialized=serialized)

    def _call(self, request: EC2Response, handle: Callable[[EC2Response], Answer]) -> Answer:
        action = request._get_action()
        params: dict[str, Any] = request.params
        with self.lock:
            backend = request.ec2_backend
            self._settle(backend, time.time())
            try:
                answer = self._tokens.once(
                    request.region, action, params, backend, lambda: self._do(request, action, handle)
                )
            except ServiceException as refused:
                return self._refuse(request, refused)
            if not action.startswith(_READS):
                self._changed()
            return answer

    def _do(self, request: EC2Response, action: str, handle: Callable[[EC2Response], Answer]) -> Answer:
        for check in self._checks.get(action, ()):
            check(request.ec2_backend, request.params)
        if request.params.get("DryRun"):
            raise DryRunClientError()
        return handle(request)

    def _finish(self, request: EC2Response, answer: ActionResult) -> None:
        if isinstance(answer.result, Exception):
            return
        action = request._get_action()
        if after := self._afters.get(action):
            after(request.ec2_backend, request.params, answer.result)
        page(action, request.params, answer)

    def _refuse(self, request: EC2Response, refused: ServiceException) -> Answer:
        status, headers, body = request.serialized(ActionResult(refused))
        headers, body = request._enrich_response(headers, body)
        return status, headers, body
