"""What kinds on hosts keep to: made they read as wanted, changed in place too; deleted twice gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError

from engine.kinds import kinds
from engine.local_files import PlaybookFiles
from engine.on_host import OnHost
from tests.kinds.benches import a_bench
from tests.kinds.host_examples import HOST_EXAMPLES, HostExample
from tests.kinds.local_host import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with a_bench("simulated", tmp_path) as made:
        yield made


def resource(kind: str, fields: object, folder: Path) -> OnHost:
    made = kinds()[kind].model_validate(
        fields, context={"files": PlaybookFiles((folder,), lambda path, text: text)}
    )
    assert isinstance(made, OnHost)
    return made


def test_every_kind_on_a_host_has_an_example() -> None:
    on_hosts = {name for name, kind in kinds().items() if issubclass(kind, OnHost)}
    assert {example.kind for example in HOST_EXAMPLES} == on_hosts


@pytest.mark.parametrize("example", HOST_EXAMPLES, ids=lambda example: example.kind)
def test_the_contract(example: HostExample, bench: Bench, tmp_path: Path) -> None:
    book = tmp_path / "book"
    for name, text in example.files.items():
        (book / name).parent.mkdir(parents=True, exist_ok=True)
        (book / name).write_text(text)
    for number, (kind, fields) in enumerate(example.before):
        bench.create(resource(kind, fields, book), f"before{number}")
    first = resource(example.kind, example.create, book)
    bench.create(first)
    assert bench.differing(first) == set()
    last = first
    if example.update:
        last = resource(example.kind, {**example.create, **example.update}, book)
        values = bench.look(last) or {}
        changed = bench.differing(last) or set(example.update)
        assert not any(last.replaces(name, values) for name in changed)
        bench.update(last, *changed)
        assert bench.differing(last) == set()
    for action in ("create", "update"):
        assert all(
            isinstance(line, str)
            for line in last.as_commands(action, first.natural_id(), frozenset(example.update))
        )
    type(last).model_construct().as_commands("delete", first.natural_id())
    bench.delete(last)
    assert bench.look(last) is None
    assert type(last).parse(first.natural_id(), 0, b"") is None


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
