"""The playbook's checks: a look at the lab as a stranger has it, through the network that leads there."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from engine.aws.errors import AwsError
from engine.errors import HostUnreachable, LabctlError, StepFailed
from engine.hosts.proxied import through
from engine.lab import Check
from engine.refs import holds_unknown, unknowns

_LOOKS_EVERY = 0.5


@dataclass(frozen=True)
class Checked:
    """What a check found: whether it passed, and in words what was seen."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: its status and body."""

    status: int
    body: bytes


class Ran(Protocol):
    """How a command on a host ended."""

    @property
    def status(self) -> int:
        """Its exit status."""

    @property
    def stdout(self) -> bytes:
        """What it printed."""

    @property
    def stderr(self) -> bytes:
        """What it complained of."""


RunOn = Callable[[str, str, float], Ran]
"""Runs a command (second) on the host with the address given first, within seconds (third)."""


AskAws = Callable[[str, str, Mapping[str, Any]], str]
"""What AWS answers an operation of a service with some parameters, as text. Raises AwsError, StepFailed."""


def _no_aws(service: str, operation: str, params: Mapping[str, Any]) -> str:
    raise StepFailed("this lab has no AWS to ask")


@dataclass(frozen=True)
class Ways:
    """What a check may look through."""

    run: RunOn
    proxy: str | None = None
    """A SOCKS5 proxy that leads to the lab's network; None where that is the internet."""
    ask: AskAws = _no_aws


def check(wanted: Check, ways: Ways) -> Checked:
    """Carry out a check whose templates are filled in, again until it passes or its time is over."""
    values = (wanted.target, wanted.contains, wanted.body, dict(wanted.headers), dict(wanted.params))
    unknown = [value for value in values if holds_unknown(value)]
    if unknown:
        return Checked(wanted.name, False, f"hangs on {_refs(unknown)}, which is not there yet")
    looks = {"http": _http, "tcp": _tcp, "command": _command, "aws": _aws}
    deadline = time.monotonic() + wanted.timeout
    while True:
        left = max(deadline - time.monotonic(), 0.1)
        passed, detail = looks[wanted.sort](wanted, ways, left)
        if passed or deadline - time.monotonic() <= _LOOKS_EVERY:
            return Checked(wanted.name, passed, detail)
        time.sleep(_LOOKS_EVERY)


def _refs(unknown: list[Any]) -> str:
    refs = {str(ref) for each in unknowns(unknown) for ref in each.refs}
    return ", ".join(sorted(refs)) or "something"


def _http(wanted: Check, ways: Ways, seconds: float) -> tuple[bool, str]:
    try:
        answer = fetch(_sent(wanted), proxy=ways.proxy, timeout=min(seconds, 10.0))
    except OSError as error:
        return False, f"{wanted.target} does not answer: {error}"
    status = wanted.status or 200
    if answer.status != status:
        return False, f"{wanted.target} answered {answer.status}, not {status}"
    return _contains(wanted, answer.body, f"{wanted.target} answered {status}")


def _sent(wanted: Check) -> Sent:
    headers = {str(name): str(value) for name, value in wanted.headers.items()}
    if wanted.is_json:
        told = json.dumps(wanted.body).encode()
        return Sent(str(wanted.target), wanted.method, {"Content-Type": "application/json", **headers}, told)
    body = None if wanted.body is None else str(wanted.body).encode()
    return Sent(str(wanted.target), wanted.method, headers, body)


def _contains(wanted: Check, body: bytes, seen: str) -> tuple[bool, str]:
    if wanted.contains is None:
        return True, seen
    if str(wanted.contains).encode() in body:
        return True, f"{seen} with {str(wanted.contains)!r}"
    return False, f"{seen}, but {str(wanted.contains)!r} is not in it"


def _tcp(wanted: Check, ways: Ways, seconds: float) -> tuple[bool, str]:
    host, _, port = str(wanted.target).rpartition(":")
    # Something unreachable can only be told by waiting, so that wait is short.
    limit = min(seconds, 3.0)
    try:
        connect(host.strip("[]"), int(port), proxy=ways.proxy, timeout=limit).close()
    except OSError as error:
        return wanted.expect == "unreachable", f"{wanted.target} cannot be reached: {_why(error)}"
    return wanted.expect == "reachable", f"{wanted.target} can be reached"


def _command(wanted: Check, ways: Ways, seconds: float) -> tuple[bool, str]:
    try:
        ran = ways.run(wanted.host or "", str(wanted.target), seconds)
    except HostUnreachable as error:
        return False, error.message
    status = wanted.status or 0
    if ran.status != status:
        last = ran.stderr.decode(errors="replace").strip().splitlines()[-1:]
        return False, f"exit status {ran.status}, not {status}" + "".join(f": {line}" for line in last)
    return _contains(wanted, ran.stdout, f"exit status {status} on {wanted.host}")


def _aws(wanted: Check, ways: Ways, seconds: float) -> tuple[bool, str]:
    service, _, operation = str(wanted.target).partition(".")
    try:
        answer = ways.ask(service, operation, wanted.params)
    except AwsError as error:
        return error.code == wanted.error, f"{wanted.target}: {error.message}"
    except LabctlError as error:
        return False, f"{wanted.target}: {error.message}"
    if wanted.error is not None:
        return False, f"{wanted.target} succeeded, and {wanted.error} was expected"
    return _contains(wanted, answer.encode(), f"{wanted.target} answered")


def connect(host: str, port: int, *, proxy: str | None, timeout: float) -> socket.socket:
    """A TCP connection, through a SOCKS5 proxy that resolves the name where there is one. Raises OSError."""
    if proxy is None:
        return socket.create_connection((host, port), timeout=timeout)
    return through(proxy, host, port, timeout)


@dataclass(frozen=True)
class Sent:
    """An HTTP request."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


def fetch(sent: Sent, *, proxy: str | None, timeout: float) -> Answer:
    """The answer to `sent`, no redirect followed, through a SOCKS5 proxy that resolves names if there is one.

    Raises OSError with plain words where nobody answers.
    """
    import urllib3
    from urllib3.contrib.socks import SOCKSProxyManager

    pool = SOCKSProxyManager(f"socks5h://{proxy}") if proxy else urllib3.PoolManager()
    try:
        answer = pool.request(
            sent.method,
            sent.url,
            body=sent.body,
            headers=dict(sent.headers),
            timeout=timeout,
            retries=False,
            redirect=False,
        )
        return Answer(answer.status, answer.data)
    except urllib3.exceptions.HTTPError as error:
        raise OSError(_why(error)) from error
    finally:
        pool.clear()


def _why(error: Exception) -> str:
    """The last words of the long messages of urllib3 and PySocks."""
    text = str(error).split(": ", 1)[-1]
    return "nothing came back in time" if "timed out" in text.lower() else text
