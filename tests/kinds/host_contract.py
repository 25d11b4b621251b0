"""What every kind on a host keeps to, on whatever sort of host: made, changed, deleted, and read as such."""

from __future__ import annotations

from pathlib import Path

from engine.kinds import kinds
from engine.local_files import PlaybookFiles
from engine.on_host import OnHost
from tests.kinds.host_examples import HostExample
from tests.kinds.local_host import Bench


def resource(kind: str, fields: object, folder: Path) -> OnHost:
    made = kinds()[kind].model_validate(
        fields, context={"files": PlaybookFiles((folder,), lambda path, text: text)}
    )
    assert isinstance(made, OnHost)
    return made


def keeps_the_contract(example: HostExample, bench: Bench, book: Path) -> None:
    for name, text in example.files.items():
        (book / name).parent.mkdir(parents=True, exist_ok=True)
        (book / name).write_text(text)
    for kind, fields in example.before:
        bench.have(resource(kind, fields, book))
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
