"""Shared by all tests: a sandbox for those that need AWS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from engine.aws import Aws
from engine.sandbox import CREDENTIALS, Running, ensure, stop

REGION = "us-east-1"


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
    return Aws(region=REGION, endpoint_url=cloud.aws_endpoint, credentials=CREDENTIALS)


@pytest.fixture
def ec2(cloud: Running) -> Any:
    """The sandbox's EC2 from behind: boto3, not labctl."""
    key, secret = CREDENTIALS
    return boto3.client(
        "ec2",
        region_name=REGION,
        endpoint_url=cloud.aws_endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    )
