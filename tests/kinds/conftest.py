from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.aws import Aws
from engine.docker import Docker
from engine.sandbox import Running
from tests.kinds.aws_stage import Stage


@pytest.fixture
def stage(aws: Aws, cloud: Running) -> Iterator[Stage]:
    stage = Stage(aws, docker=Docker(cloud.docker_host))
    yield stage
    stage.clear()
