"""What kinds on hosts keep to: made they read as wanted, changed in place too; deleted twice gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

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
