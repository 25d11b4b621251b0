"""What kinds on hosts keep to: made they read as wanted, changed in place too; deleted twice gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError

from engine.kinds import kinds
from engine.on_host import OnHost
from tests.kinds.benches import HOSTS, a_host
from tests.kinds.host_contract import keeps_the_contract, resource
from tests.kinds.host_examples import HOST_EXAMPLES, HostExample
from tests.kinds.local_host import Bench


@pytest.fixture(params=HOSTS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    with a_host(request.param, request, tmp_path) as made:
        yield made


def test_every_kind_on_a_host_has_an_example() -> None:
    on_hosts = {name for name, kind in kinds().items() if issubclass(kind, OnHost)}
    assert {example.kind for example in HOST_EXAMPLES} == on_hosts


@pytest.mark.parametrize("example", HOST_EXAMPLES, ids=lambda example: example.kind)
def test_the_contract(example: HostExample, bench: Bench, tmp_path: Path) -> None:
    keeps_the_contract(example, bench, tmp_path / "book")


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("command", {"cmd": "echo 'a\0b'"}),
        ("command", {"cmd": ["echo", "a\0b"]}),
        ("command", {"cmd": "env", "environment": {"A": "\0"}}),
        ("command", {"cmd": "date", "unless": "test \0"}),
        ("systemd_service", {"name": "x", "unit": "[Service]\nExecStart=/bin/\0\n"}),
        ("file", {"path": "/srv/x", "type": "link", "src": "a\0"}),
        ("docker_image", {"name": "x", "build": {"path": "image", "args": {"A": "\0"}}}),
    ],
)
def test_what_a_shell_would_drop_from_a_script_is_refused(
    kind: str, fields: Mapping[str, object], tmp_path: Path
) -> None:
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "Dockerfile").write_text("FROM alpine\n")
    with pytest.raises(ValidationError, match="holds a NUL character"):
        resource(kind, fields, tmp_path)


def test_a_files_content_may_hold_any_character(tmp_path: Path) -> None:
    content = resource("copy", {"dest": "/srv/x", "content": "a\0b"}, tmp_path)
    assert content.uploads()[0].source == b"a\0b"
