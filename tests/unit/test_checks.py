"""Checks against a small server of their own: what passes, what does not, and in which words."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from engine.checks import check
from engine.errors import HostUnreachable
from engine.lab import Check
from engine.refs import Ref, Unknown


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/" else 404)
        self.end_headers()
        self.wfile.write(b"<h1>hello, world</h1>")

    def log_message(self, *args: object) -> None:
        return


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def closed_port() -> int:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        return server.server_address[1]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    stdout: bytes = b""
    stderr: bytes = b""


def nobody(address: str, command: str, seconds: float) -> Ended:
    raise HostUnreachable(f"{address} cannot be reached: port 22 does not answer")


def told(wanted: Check, ended: Ended | None = None) -> tuple[bool, str]:
    """Whether it passed, and its words; with a time so short that it looks once."""
    found = check(wanted, proxy=None, run=nobody if ended is None else lambda *asked: ended)
    assert found.name == wanted.name
    return found.passed, found.detail


def http(target: str, **more: object) -> Check:
    return Check("page", "http", target, timeout=0.3, **more)  # type: ignore[arg-type]


def test_a_page_answers(port: int) -> None:
    url = f"http://127.0.0.1:{port}/"
    assert told(http(url)) == (True, f"{url} answered 200")
    assert told(http(url, contains="hello")) == (True, f"{url} answered 200 with 'hello'")
    assert told(http(url, contains="bye")) == (False, f"{url} answered 200, but 'bye' is not in it")
    assert told(http(f"{url}x", status=404)) == (True, f"{url}x answered 404")
    assert told(http(f"{url}x")) == (False, f"{url}x answered 404, not 200")


def test_a_page_that_nobody_serves(closed_port: int) -> None:
    passed, detail = told(http(f"http://127.0.0.1:{closed_port}/"))
    assert not passed
    assert detail.startswith(f"http://127.0.0.1:{closed_port}/ does not answer: ")
    assert "HTTPConnection" not in detail


@pytest.mark.parametrize("expect", ["reachable", "unreachable"])
def test_ports(port: int, closed_port: int, expect: str) -> None:
    open_ = Check("p", "tcp", f"127.0.0.1:{port}", expect=expect, timeout=0.3)  # type: ignore[arg-type]
    shut = Check("p", "tcp", f"127.0.0.1:{closed_port}", expect=expect, timeout=0.3)  # type: ignore[arg-type]
    assert told(open_) == (expect == "reachable", f"127.0.0.1:{port} can be reached")
    passed, detail = told(shut)
    assert passed == (expect == "unreachable")
    assert detail.startswith(f"127.0.0.1:{closed_port} cannot be reached: ")


def test_commands() -> None:
    wanted = Check("c", "command", "docker ps", host="bastion", timeout=0.3)
    named = Check("c", "command", "docker ps", host="bastion", contains="web", timeout=0.3)
    assert told(wanted, Ended(0)) == (True, "exit status 0 on bastion")
    assert told(named, Ended(0, b"web\n")) == (True, "exit status 0 on bastion with 'web'")
    assert told(wanted, Ended(1, b"", b"noise\nno daemon\n")) == (False, "exit status 1, not 0: no daemon")
    assert told(wanted) == (False, "bastion cannot be reached: port 22 does not answer")


def test_a_check_is_tried_again_until_it_passes() -> None:
    seen: list[float] = []

    def second_time(address: str, command: str, seconds: float) -> Ended:
        seen.append(seconds)
        return Ended(0 if len(seen) > 1 else 1)

    wanted = Check("c", "command", "true", host="bastion", timeout=5)
    assert check(wanted, proxy=None, run=second_time).passed
    assert len(seen) == 2
    assert seen[1] < seen[0] <= 5


def test_what_is_not_made_yet_cannot_be_checked() -> None:
    unknown = Unknown(frozenset({Ref("bastion", "public_ip")}))
    found = check(Check("c", "http", unknown), proxy=None, run=nobody)  # type: ignore[arg-type]
    assert (found.passed, found.detail) == (False, "hangs on bastion.public_ip, which is not there yet")
