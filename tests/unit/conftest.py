from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.machine_bench import Bench


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Makes simulated machines, as Bench says; all have the same disk."""
    with contextlib.ExitStack() as stack:
        yield lambda *a, **kw: stack.enter_context(contextlib.closing(Bench(tmp_path, *a, **kw)))


@pytest.fixture
def bench(make: Callable[..., Bench]) -> Bench:
    """A plain one."""
    return make()
