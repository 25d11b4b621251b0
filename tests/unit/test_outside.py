"""What loading asks of the world: asked once, only when used, and in words where nobody answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from engine.errors import Invalid, LabctlError, Unreachable
from engine.lab import Target
from engine.outside import Offline, Online, target_of
from engine.refs import Unknown
from engine.target import Access, ledger_folder, place


@dataclass
class Store:
    """Stands for AWS: answers from `answers`, by operation."""

    answers: dict[str, Any]
    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def call(self, service: str, operation: str, **parameters: Any) -> Any:
        self.asked.append((service, operation, parameters))
        return self.answers[operation]


def online(store: Store, proxy: str | None = None) -> Online:
    return Online(lambda: Access(store, proxy))  # type: ignore[arg-type]


def test_nobody_is_asked_offline() -> None:
    assert isinstance(Offline().my_ip(), Unknown)
    assert isinstance(Offline().secret({"ssm": "/a"}), Unknown)


def test_nothing_is_asked_before_it_is_used() -> None:
    def never() -> Access:
        raise AssertionError("asked")

    assert Online(never).environment()


def test_secrets_come_from_their_stores() -> None:
    store = Store({"get_parameter": {"Parameter": {"Value": "a"}}, "get_secret_value": {"SecretString": "b"}})
    world = online(store)
    assert world.secret({"ssm": "/lab/token"}) == "a"
    assert world.secret({"secretsmanager": "lab"}) == "b"
    assert store.asked == [
        ("ssm", "get_parameter", {"Name": "/lab/token", "WithDecryption": True}),
        ("secretsmanager", "get_secret_value", {"SecretId": "lab"}),
    ]
    with pytest.raises(LabctlError, match="A secret cannot come from vault"):
        world.secret({"vault": "x"})


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[bytes]]]:
    """A SOCKS5 proxy that answers any request as checkip.amazonaws.com does, and what it was asked for."""
    asked: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            with line:
                line.recv(64)
                line.sendall(b"\x05\x00")
                asked.append(line.recv(256))
                line.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
                line.recv(4096)
                line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n203.0.113.9\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", asked
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_my_ip_is_asked_once_through_the_proxy(proxy: tuple[str, list[bytes]]) -> None:
    address, asked = proxy
    world = online(Store({}), address)
    assert world.my_ip() == "203.0.113.9/32"
    assert world.my_ip() == "203.0.113.9/32"
    assert world.address() == "203.0.113.9"
    assert len(asked) == 1
    assert b"checkip.amazonaws.com" in asked[0]


def test_my_ip_that_cannot_be_found_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(Unreachable) as raised:
        online(Store({}), address).my_ip()
    assert raised.value.exit_code == 5
    assert "my_ip" in raised.value.message
    assert "-e NAME=203.0.113.7/32" in raised.value.remedy
    assert online(Store({}), address).address() is None


def test_the_target_is_read_from_an_inventory_that_is_not_checked_yet(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text("target: aws\naws: {region: eu-west-1}\nnonsense: 1\n")
    assert target_of(file) == Target("aws", region="eu-west-1")
    with pytest.raises(Invalid):
        target_of(tmp_path / "missing.yml")


def test_places_are_named() -> None:
    assert place(Target("sandbox")) == "embedded sandbox, nothing is billed"
    target = Target("aws", region="us-west-2", profile="w251", account="123456789012")
    assert place(target) == "AWS us-west-2, account 123456789012, profile w251"


def test_a_lab_keeps_its_files_beside_its_ledger(tmp_path: Path) -> None:
    assert ledger_folder(str(tmp_path / "x/labctl.db")) == tmp_path / "x"
