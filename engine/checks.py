"""The playbook's checks: a look at the lab as a stranger has it, through the network that leads there."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from engine.errors import HostUnreachable
from engine.lab import Check
from engine.refs import Unknown, holds_unknown

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


def check(wanted: Check, *, proxy: str | None, run: RunOn) -> Checked:
    """Carry out a check whose templates are filled in, again until it passes or its time is over."""
    unknown = [value for value in (wanted.target, wanted.contains) if holds_unknown(value)]
    if unknown:
        return Checked(wanted.name, False, f"hangs on {_refs(unknown)}, which is not there yet")
    looks = {"http": _http, "tcp": _tcp, "command": _command}
    deadline = time.monotonic() + wanted.timeout
    while True:
        left = max(deadline - time.monotonic(), 0.1)
        passed, detail = looks[wanted.sort](wanted, proxy, run, left)
        if passed or deadline - time.monotonic() <= _LOOKS_EVERY:
            return Checked(wanted.name, passed, detail)
        time.sleep(_LOOKS_EVERY)


def _refs(unknown: list[Any]) -> str:
    refs = {str(ref) for value in unknown if isinstance(value, Unknown) for ref in value.refs}
    return ", ".join(sorted(refs)) or "something"


def _http(wanted: Check, proxy: str | None, run: RunOn, seconds: float) -> tuple[bool, str]:
    try:
        answer = fetch(str(wanted.target), proxy=proxy, timeout=min(seconds, 10.0))
    except OSError as error:
        return False, f"{wanted.target} does not answer: {error}"
    status = wanted.status or 200
    if answer.status != status:
        return False, f"{wanted.target} answered {answer.status}, not {status}"
    return _contains(wanted, answer.body, f"{wanted.target} answered {status}")


def _contains(wanted: Check, body: bytes, seen: str) -> tuple[bool, str]:
    if wanted.contains is None:
        return True, seen
    if str(wanted.contains).encode() in body:
        return True, f"{seen} with {str(wanted.contains)!r}"
    return False, f"{seen}, but {str(wanted.contains)!r} is not in it"


def _tcp(wanted: Check, proxy: str | None, run: RunOn, seconds: float) -> tuple[bool, str]:
    host, _, port = str(wanted.target).rpartition(":")
    # Something unreachable can only be told by waiting, so that wait is short.
    limit = min(seconds, 3.0)
    try:
        connect(host.strip("[]"), int(port), proxy=proxy, timeout=limit).close()
    except OSError as error:
        return wanted.expect == "unreachable", f"{wanted.target} cannot be reached: {_why(error)}"
    return wanted.expect == "reachable", f"{wanted.target} can be reached"


def _command(wanted: Check, proxy: str | None, run: RunOn, seconds: float) -> tuple[bool, str]:
    try:
        ran = run(wanted.host or "", str(wanted.target), seconds)
    except HostUnreachable as error:
        return False, error.message
    status = wanted.status or 0
    if ran.status != status:
        last = ran.stderr.decode(errors="replace").strip().splitlines()[-1:]
        return False, f"exit status {ran.status}, not {status}" + "".join(f": {line}" for line in last)
    return _contains(wanted, ran.stdout, f"exit status {status} on {wanted.host}")


def connect(host: str, port: int, *, proxy: str | None, timeout: float) -> socket.socket:
    """A TCP connection, through a SOCKS5 proxy that resolves the name where there is one. Raises OSError."""
    if proxy is None:
        return socket.create_connection((host, port), timeout=timeout)
    import socks  # type: ignore[import-untyped]

    proxy_host, _, proxy_port = proxy.rpartition(":")
    line: socket.socket = socks.create_connection(
        (host, port),
        timeout=timeout,
        proxy_type=socks.SOCKS5,
        proxy_addr=proxy_host,
        proxy_port=int(proxy_port),
        proxy_rdns=True,
    )
    return line


def fetch(url: str, *, proxy: str | None, timeout: float) -> Answer:
    """GET `url`, following no redirect, through a SOCKS5 proxy that resolves names where there is one.

    Raises OSError with plain words where nobody answers.
    """
    import urllib3
    from urllib3.contrib.socks import SOCKSProxyManager

    pool = SOCKSProxyManager(f"socks5h://{proxy}") if proxy else urllib3.PoolManager()
    try:
        answer = pool.request("GET", url, timeout=timeout, retries=False, redirect=False)
        return Answer(answer.status, answer.data)
    except urllib3.exceptions.HTTPError as error:
        raise OSError(_why(error)) from error
    finally:
        pool.clear()


def _why(error: Exception) -> str:
    """The last words of the long messages of urllib3 and PySocks."""
    text = str(error).split(": ", 1)[-1]
    return "nothing came back in time" if "timed out" in text.lower() else text
