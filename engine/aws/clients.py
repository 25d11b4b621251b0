"""boto3 clients for one target: with the user's AWS settings, or with given credentials and nothing else."""

from __future__ import annotations

import ipaddress
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from botocore.config import Config

_NOBODYS_FILES = {"config_file": os.devnull, "credentials_file": os.devnull}


def session(region: str, profile: str | None, credentials: tuple[str, str] | None) -> Any:
    """A boto3 session. With `credentials` it knows nothing of the user's profiles, files and AWS_ variables.

    Raises botocore's ProfileNotFound and the like where the user's settings are not usable.
    """
    import boto3

    if credentials is None:
        return boto3.Session(profile_name=profile, region_name=region)
    key, secret = credentials
    return boto3.Session(
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        botocore_session=_secluded(),
    )


def _secluded() -> Any:
    """A botocore session that takes every setting at its default, whatever the environment says."""
    from botocore.session import Session

    return Session(
        session_vars={
            name: (None, [], _NOBODYS_FILES.get(name, default), convert)
            for name, (_, _, default, convert) in Session.SESSION_VARIABLES.items()
        }
    )


def config(endpoint_url: str | None, *, direct: bool) -> Config:
    """How requests are sent: `direct`, or to an endpoint on this machine, past any proxy."""
    from botocore.config import Config

    return Config(
        # Retries are ours: boto3's would repeat creates whose answers were lost.
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=50,
        user_agent_extra="labctl",
        # None leaves the choice to HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
        proxies={} if direct or on_this_machine(endpoint_url) else None,
    )


def on_this_machine(url: str | None) -> bool:
    """Whether `url` names a loopback address (RFC 1122, RFC 4291; `localhost` by RFC 6761)."""
    host = urlsplit(url).hostname if url else None
    if host is None:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
