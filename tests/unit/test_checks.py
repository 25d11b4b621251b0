"""Checks against a small server of their own: what passes, what does not, and in which words."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from engine.aws.errors import AwsError
from engine.checks import AskAws, Ways, check
from engine.errors import HostUnreachable, StepFailed
from engine.lab import Check
from engine.refs import Ref, Unknown


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/" else 404)
        self.end_headers()
        self.wfile.write(b"<h1>hello, world</h1>")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        told = f"{self.headers['Content-Type']} {self.headers.get('X-Key')} {body}"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(told.encode())

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


def no_aws(service: str, operation: str, params: Mapping[str, Any]) -> str:
    raise AssertionError("nothing is asked of AWS here")


def told(wanted: Check, ended: Ended | None = None, ask: AskAws = no_aws) -> tuple[bool, str]:
    """Whether it passed, and its words; with a time so short that it looks once."""
    found = check(wanted, Ways(nobody if ended is None else lambda *asked: ended, ask=ask))
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


def test_what_is_sent(port: int) -> None:
    url = f"http://127.0.0.1:{port}/"
    sent = http(url, method="POST", body={"score": 300}, is_json=True, contains='json None {"score": 300}')
    assert told(sent)[0]
    headers = {"X-Key": 7, "Content-Type": "text/csv"}
    assert told(http(url, method="POST", body="1,2", headers=headers, contains="text/csv 7 1,2"))[0]


def test_asking_aws() -> None:
    def ask(service: str, operation: str, params: Mapping[str, Any]) -> str:
        assert (service, operation) == ("s3", "head_object")
        if params["Key"] == "private":
            raise AwsError("HeadObject", "403", "Forbidden")
        if params["Key"] == "":
            raise StepFailed("HeadObject: Parameter validation failed")
        return '{"ContentLength": 7}'

    def wanted(key: str, **more: Any) -> Check:
        return Check("c", "aws", "s3.head_object", params={"Key": key}, timeout=0.3, **more)

    assert told(wanted("a"), ask=ask) == (True, "s3.head_object answered")
    assert told(wanted("a", contains="ContentLength"), ask=ask)[0]
    assert told(wanted("private", error="403"), ask=ask)[0]
    assert not told(wanted("private"), ask=ask)[0]
    assert told(wanted("a", error="403"), ask=ask) == (
        False,
        "s3.head_object succeeded, and 403 was expected",
    )
    assert told(wanted(""), ask=ask) == (False, "s3.head_object: HeadObject: Parameter validation failed")


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
    assert check(wanted, Ways(second_time)).passed
    assert len(seen) == 2
    assert seen[1] < seen[0] <= 5


def test_what_is_not_made_yet_cannot_be_checked() -> None:
    unknown = Unknown(frozenset({Ref("bastion", "public_ip")}))
    found = check(Check("c", "http", unknown), Ways(nobody))  # type: ignore[arg-type]
    assert (found.passed, found.detail) == (False, "hangs on bastion.public_ip, which is not there yet")
