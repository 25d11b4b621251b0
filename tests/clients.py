"""AWS from behind: boto3 pointed at a sandbox, as anybody could, not labctl."""

from __future__ import annotations

from typing import Any

import boto3

from engine.sandbox import CREDENTIALS

REGION = "us-east-1"


def at(
    endpoint: str, service: str, credentials: tuple[str, str] = CREDENTIALS, region: str = REGION, **more: Any
) -> Any:
    """A client of `service` at a sandbox's endpoint; `more` is boto3's."""
    key, secret = credentials
    return boto3.client(
        service,
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        **more,
    )
