from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.aws import Aws
from tests.kinds.aws_stage import Stage


@pytest.fixture
def stage(aws: Aws) -> Iterator[Stage]:
    stage = Stage(aws)
    yield stage
    stage.clear()
