"""What API Gateway's HTTP APIs do with a request: find its route, invoke the function behind it.

Payload format 2.0, as the developer guide has it ("Create AWS Lambda proxy integrations for HTTP APIs").
"""

from __future__ import annotations

import base64
import binascii
import datetime
import json
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from werkzeug.wrappers import Request, Response

from engine.sandbox.workloads.functions import Function, Outcome

_HOST: Final = re.compile(r"(?P<api>[a-z0-9]+)\.execute-api\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?::\d+)?")
_TEXT: Final = (
    "text/",
    "application/json",
    "application/javascript",
    "application/xml",
    "application/x-www-form",
)
_NOT_PASSED: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


@dataclass(frozen=True)
class Api:
    """One HTTP API as it stands."""

    id: str
    region: str
    account: str
    routes: Mapping[str, str]
    """Function ARNs by route key: `POST /predict`, `ANY /{proxy+}`, `$default`."""
    stages: tuple[str, ...]
    cors: Mapping[str, Any] = field(default_factory=dict)

    @property
    def domain(self) -> str:
        """Its host name."""
        return f"{self.id}.execute-api.{self.region}.amazonaws.com"


@dataclass(frozen=True)
class Hit:
    """The route that a request takes."""

    key: str
    function: str
    parameters: Mapping[str, str]


class Front:
    """All HTTP APIs as one WSGI application; the header Host says which is meant."""

    def __init__(
        self,
        find: Callable[[str, str], Api | None],
        function: Callable[[str, str], Function | None],
        allowed: Callable[[Function, str, str], bool],
        invoke: Callable[[Function, bytes], Outcome],
    ) -> None:
        """`find` gives an API by region and id, `function` one by region and ARN."""
        self._find = find
        self._function = function
        self._allowed = allowed
        self._invoke = invoke
        self.callers: dict[int, str] = {}
        """The addresses of those whose connections come from these ports of this machine."""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answers one request."""
        request = Request(environ)
        return self._answer(request)(environ, start_response)

    def _answer(self, request: Request) -> Response:
        host = _HOST.fullmatch(request.host)
        api = self._find(host["region"], host["api"]) if host else None
        if api is None:
            return _message(404, "Not Found")
        origin = request.headers.get("Origin", "")
        if api.cors and request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            return Response(status=204, headers=cors_headers(api.cors, origin, preflight=True))
        response = self._routed(api, request)
        if api.cors and origin:
            response.headers.update(cors_headers(api.cors, origin, preflight=False))
        return response

    def _routed(self, api: Api, request: Request) -> Response:
        stage, path = stage_and_path(api.stages, request.path)
        hit = route(api.routes, request.method, path) if stage is not None else None
        if hit is None or stage is None:
            return _message(404, "Not Found")
        function = self._function(api.region, hit.function)
        source = (
            f"arn:aws:execute-api:{api.region}:{api.account}:{api.id}/{stage}/"
            f"{hit.key.replace(' ', '', 1) if ' ' in hit.key else hit.key}"
        )
        if function is None or not self._allowed(function, "apigateway.amazonaws.com", source):
            return _message(500, "Internal Server Error")
        caller = self.callers.get(int(request.environ.get("REMOTE_PORT") or 0), "")
        event = event_of(api, stage, hit, request, caller)
        outcome = self._invoke(function, json.dumps(event).encode())
        return _message(500, "Internal Server Error") if outcome.error else answer_of(outcome.payload)


def stage_and_path(stages: Sequence[str], path: str) -> tuple[str | None, str]:
    """The stage that a path is of, and the rest of the path; no stage where there is none."""
    first, _, rest = path.lstrip("/").partition("/")
    if first in stages:
        return first, f"/{rest}"
    return ("$default", path or "/") if "$default" in stages else (None, path)


def route(routes: Mapping[str, str], method: str, path: str) -> Hit | None:
    """The most specific route: a full match, then parameters, then a greedy one, then `$default`."""
    hits = []
    for key, function in routes.items():
        if key == "$default":
            hits.append((99, 0, Hit(key, function, {})))
            continue
        verb, _, pattern = key.partition(" ")
        found = re.fullmatch(_pattern(pattern), path.rstrip("/") or "/")
        if verb in (method, "ANY") and found:
            rank = 2 if "+}" in pattern else 1 if "{" in pattern else 0
            hits.append((rank, int(verb == "ANY"), Hit(key, function, found.groupdict())))
    return min(hits, key=lambda hit: hit[:2])[2] if hits else None


def _pattern(path: str) -> str:
    parts = re.split(r"(\{\w+\+?\})", path.rstrip("/") or "/")
    made = [
        f"(?P<{part.strip('{}+')}>{'.+' if part.endswith('+}') else '[^/]+'})"
        if part.startswith("{")
        else re.escape(part)
        for part in parts
    ]
    return "".join(made)


def event_of(api: Api, stage: str, hit: Hit, request: Request, caller: str) -> dict[str, Any]:
    """The event that the function is given for a request."""
    body = request.get_data()
    kind = request.headers.get("Content-Type", "")
    text = not body or kind.startswith(_TEXT) or kind == ""
    now = datetime.datetime.now(datetime.UTC)
    raw = request.environ.get("RAW_URI", request.path).partition("?")[0] or "/"
    headers = {name.lower(): value for name, value in request.headers.items() if name.lower() != "cookie"}
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": hit.key,
        "rawPath": raw,
        "rawQueryString": request.query_string.decode("latin-1"),
        "headers": {
            **headers,
            "x-forwarded-for": caller,
            "x-forwarded-proto": "http",
            "x-forwarded-port": "80",
        },
        "requestContext": {
            "accountId": api.account,
            "apiId": api.id,
            "domainName": api.domain,
            "domainPrefix": api.id,
            "http": {
                "method": request.method,
                "path": raw,
                "protocol": request.environ.get("SERVER_PROTOCOL", "HTTP/1.1"),
                "sourceIp": caller,
                "userAgent": request.headers.get("User-Agent", ""),
            },
            "requestId": uuid.uuid4().hex[:16],
            "routeKey": hit.key,
            "stage": stage,
            "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "timeEpoch": int(time.time() * 1000),
        },
        "isBase64Encoded": not text,
    }
    if request.headers.get("Cookie"):
        event["cookies"] = [one.strip() for one in request.headers["Cookie"].split(";")]
    if request.args:
        event["queryStringParameters"] = {key: ",".join(request.args.getlist(key)) for key in request.args}
    if hit.parameters:
        event["pathParameters"] = dict(hit.parameters)
    if body:
        event["body"] = body.decode(errors="replace") if text else base64.b64encode(body).decode()
    return event


def answer_of(payload: bytes) -> Response:
    """The HTTP answer that a function's result means."""
    try:
        told = json.loads(payload)
    except json.JSONDecodeError:
        return _message(500, "Internal Server Error")
    if not isinstance(told, dict) or "statusCode" not in told:
        body = told if isinstance(told, str) else json.dumps(told)
        return Response(body, content_type="application/json")
    given = told.get("body") or ""
    text = given if isinstance(given, str) else json.dumps(given)
    try:
        content = base64.b64decode(text, validate=True) if told.get("isBase64Encoded") else text.encode()
        response = Response(content, status=int(told["statusCode"]))
    except (binascii.Error, ValueError, TypeError):
        return _message(500, "Internal Server Error")
    response.headers["Content-Type"] = "text/plain; charset=utf-8"
    for name, value in (told.get("headers") or {}).items():
        if name.lower() not in _NOT_PASSED:
            response.headers[name] = str(value)
    for cookie in told.get("cookies") or ():
        response.headers.add("Set-Cookie", cookie)
    return response


def cors_headers(cors: Mapping[str, Any], origin: str, *, preflight: bool) -> dict[str, str]:
    """The headers that let a page of `origin` in; none where it may not."""
    allowed = cors.get("allowOrigins") or []
    if origin not in allowed and "*" not in allowed:
        return {}
    headers = {"Access-Control-Allow-Origin": "*" if "*" in allowed else origin}
    if cors.get("allowCredentials"):
        headers["Access-Control-Allow-Credentials"] = "true"
    if cors.get("exposeHeaders"):
        headers["Access-Control-Expose-Headers"] = ",".join(cors["exposeHeaders"])
    if preflight:
        headers["Access-Control-Allow-Methods"] = ",".join(cors.get("allowMethods") or [])
        headers["Access-Control-Allow-Headers"] = ",".join(cors.get("allowHeaders") or [])
        headers["Access-Control-Max-Age"] = str(cors.get("maxAge") or 0)
    return headers


def _message(status: int, words: str) -> Response:
    return Response(json.dumps({"message": words}), status=status, content_type="application/json")
