"""Hosts for tests that ask for a `bench`: a simulated one, a throwaway copy of this machine, a container."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kinds.local_host import Bench, LocalHost, throwaway_root

SORTS = ("simulated", "real")
"""For kinds that need no more than a shell and files."""
HOSTS = ("simulated", pytest.param("container", marks=pytest.mark.real_hosts))
"""For kinds that need a whole system."""


@contextmanager
def a_host(sort: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[Bench]:
    """A bench on a new simulated host, or on the container that the session's tests share."""
    if sort == "container":
        yield Bench(request.getfixturevalue("real_host"))
        return
    with a_bench(sort, folder) as made:
        yield made


@contextmanager
def a_bench(sort: str, folder: Path, *, out: bool = True) -> Iterator[Bench]:
    """A bench on a host of that sort; `real` is skipped where it needs rights that the tests do not have."""
    if sort == "simulated":
        from tests.kinds.simulated_host import SimulatedHost

        host = SimulatedHost(folder / "machine", out=out)
        try:
            yield Bench(host)
        finally:
            host.close()
        return
    if os.geteuid() != 0:
        pytest.skip("a throwaway copy of this machine needs root")
    place = folder / "throwaway"
    place.mkdir()
    try:
        copy = throwaway_root(place)
        root = copy.__enter__()
    except OSError as error:
        pytest.skip(f"no throwaway copy of this machine: {error}")
    try:
        yield Bench(LocalHost(place, root=root, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}))
    finally:
        copy.__exit__(None, None, None)


def text(bench: Bench, script: str) -> str:
    """What a script prints on the bench's host."""
    ran = bench.host.run(script)
    return str(ran.stdout.decode())
