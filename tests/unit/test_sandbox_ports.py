"""The sandbox listens where it listened before, as far as it can."""

from __future__ import annotations

from pathlib import Path

from engine.sandbox.ports import listeners


def ports(record: Path) -> dict[str, int]:
    found = listeners(record, ("aws", "network"))
    numbers = {name: int(listener.getsockname()[1]) for name, listener in found.items()}
    for listener in found.values():
        listener.close()
    return numbers


def test_the_same_ports_at_each_start(tmp_path: Path) -> None:
    first = ports(tmp_path / "ports.json")
    assert ports(tmp_path / "ports.json") == first


def test_a_port_that_is_taken_gives_way(tmp_path: Path) -> None:
    taken = listeners(tmp_path / "ports.json", ("aws",))["aws"]
    with taken:
        assert ports(tmp_path / "ports.json")["aws"] != taken.getsockname()[1]


def test_a_spoilt_record_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text('{"aws": 99999999}')
    assert 0 < ports(tmp_path / "ports.json")["aws"] < 65536
