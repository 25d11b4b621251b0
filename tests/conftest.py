"""Shared by all tests: a sandbox for those that need AWS, a Docker Engine for those that need real hosts."""

from __future__ import annotations

import functools
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.aws import Aws
from engine.hosts import Host
from engine.sandbox import CREDENTIALS, Running, ensure, stop
from tests import clients
from tests.hosts import containers

GETTING_READY = pytest.StashKey[subprocess.Popen[bytes]]()


def pytest_configure(config: pytest.Config) -> None:
    """What this session starts, it alone ends."""
    os.environ.setdefault(containers.RUN, uuid.uuid4().hex)


def needs_real_hosts(item: pytest.Item) -> bool:
    """By a fixture, or by the mark where a fixture decides when it runs."""
    return (
        "real_hosts" in getattr(item, "fixturenames", ()) or item.get_closest_marker("real_hosts") is not None
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that need real hosts come late, as they are got ready meanwhile; the many quick ones last.

    Of the late ones the longest come first: a file is one process's, and the others should not wait for it.
    """
    late = {item.path for item in items if needs_real_hosts(item)}
    long = {item.path for item in items if item.get_closest_marker("takes_minutes") is not None}

    def turn(item: pytest.Item) -> tuple[int, bool]:
        group = 2 if item.path.parent.name == "unit" else int(item.path in late)
        return group, item.path not in long

    items.sort(key=turn)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Where tests need real hosts, an engine and an image are got ready while other tests run."""
    if not session.config.option.collectonly and any(map(needs_real_hosts, session.items)):
        session.config.stash[GETTING_READY] = containers.get_ready_aside()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Processes of pytest-xdist leave the engine to the one that started them."""
    if GETTING_READY in config.stash:
        config.stash[GETTING_READY].wait()
    if not hasattr(config, "workerinput"):
        containers.put_back()


@pytest.fixture(scope="session")
def real_hosts() -> None:
    """A Docker Engine and the image of hosts; the test is skipped with the reason where there can be none."""
    try:
        containers.get_ready()
    except containers.NoRealHosts as reason:
        if os.environ.get(containers.ASKED) == "required":
            pytest.fail(str(reason), pytrace=False)
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def real_host(real_hosts: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A container as `hosts: docker` has it, with nothing on it; tests share it, and clean up after them."""
    folder = tmp_path_factory.mktemp("real-host")
    with containers.a_place(folder / "work") as place, containers.one_host(place, folder / "hosts") as host:
        yield host


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A sandbox for the whole session; tests share it, so each uses a lab name of its own."""
    folder: Path = tmp_path_factory.mktemp("sandbox")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABCTL_SANDBOX_DIR", str(folder))
        running = ensure({"boot_seconds": 0.1, "ssh_seconds": 0.1})
    yield running
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABCTL_SANDBOX_DIR", str(folder))
        stop()


@pytest.fixture
def aws(cloud: Running) -> Aws:
    """The sandbox's AWS as the engine talks to it."""
    return Aws(region=clients.REGION, endpoint_url=cloud.aws_endpoint, credentials=CREDENTIALS)


@pytest.fixture
def ec2(cloud: Running) -> Any:
    """The sandbox's EC2 from behind: boto3, not labctl."""
    return clients.at(cloud.aws_endpoint, "ec2")


@pytest.fixture
def client(cloud: Running) -> Callable[[str], Any]:
    """The same of any service."""
    return functools.partial(clients.at, cloud.aws_endpoint)
