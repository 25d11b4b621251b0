from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.aws import Aws
from engine.docker import Docker
from engine.sandbox import Running
from tests.kinds.aws_stage import Stage
from tests.kinds.scripted_aws import Line, Play, Scripted


@pytest.fixture
def stage(aws: Aws, cloud: Running) -> Iterator[Stage]:
    stage = Stage(aws, docker=Docker(cloud.docker_host))
    yield stage
    stage.clear()


@pytest.fixture
def scripted() -> Iterator[Play]:
    """Makes AWSs that answer from scripts; the test fails where one is not played to its end."""
    made: list[Scripted] = []

    def play(script: list[Line]) -> Scripted:
        made.append(Scripted(script))
        return made[-1]

    yield play
    assert [line for aws in made for line in aws.script] == [], "never asked for"
