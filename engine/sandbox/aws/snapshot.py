"""The cloud's state on disk, so that it outlives the process that holds it.

moto keeps everything in plain objects, which pickle well: a lab is some tens of kilobytes and a
millisecond. The file is written and read by the same user only, in a folder that is theirs alone.
"""

from __future__ import annotations

import logging
import os
import pickle
from pathlib import Path
from typing import Any

import moto.backends

from engine.sandbox.aws.addresses import PublicAddresses
from engine.sandbox.aws.cloud_control import Resources
from engine.sandbox.aws.tokens import Tokens

FORMAT = 2
SERVICES: tuple[moto.backends.SERVICE_NAMES, ...] = ("ec2", "iam", "s3")
_log = logging.getLogger(__name__)


def take(addresses: PublicAddresses, tokens: Tokens, resources: Resources) -> bytes:
    """Everything of the cloud that must last, as bytes; to be called while nothing changes it."""
    kept = {service: _by_region(moto.backends.get_backend(service)) for service in SERVICES}
    state = {
        "format": FORMAT,
        "dealt": addresses.dealt,
        "tokens": tokens,
        "resources": resources,
        "services": kept,
        "parameters": _parameters(),
    }
    return pickle.dumps(state)


def _by_region(backends: Any) -> dict[str, dict[str, Any]]:
    return {account: dict(regions.items()) for account, regions in backends.items()}


def _parameters() -> dict[tuple[str, str], dict[str, Any]]:
    """SSM's own parameters by account and region; its backend as a whole does not pickle."""
    return {
        (account, region): _own(backend)
        for account, regions in _by_region(moto.backends.get_backend("ssm")).items()
        for region, backend in regions.items()
    }


def _own(backend: Any) -> dict[str, Any]:
    return {name: kept for name, kept in backend._parameters.items() if not name.startswith("/aws/")}


def write(path: Path, state: bytes) -> None:
    """Puts `state` in the place of what was at `path`, whole or not at all."""
    fresh = path.with_suffix(".new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(state)
    os.replace(fresh, path)


def restore(path: Path, addresses: PublicAddresses) -> tuple[Tokens, Resources] | None:
    """Brings back what was written to `path`, and gives what others hold of it.

    None where there is nothing, or it cannot be read.
    A state that another version of moto or of the sandbox wrote is left aside, next to where it was.
    """
    if not path.exists():
        return None
    try:
        kept = pickle.loads(path.read_bytes())
        if kept["format"] != FORMAT:
            raise KeyError("format")
    except (pickle.UnpicklingError, AttributeError, ImportError, KeyError, TypeError, EOFError) as error:
        aside = path.with_suffix(".unreadable")
        os.replace(path, aside)
        _log.warning("the last sandbox's state cannot be read (%s); starting empty, kept %s", error, aside)
        return None
    addresses.dealt = kept["dealt"]
    for service, accounts in kept["services"].items():
        backends = moto.backends.get_backend(service)
        for account, regions in accounts.items():
            for region, backend in regions.items():
                backends[account][region] = backend
    for (account, region), named in kept["parameters"].items():
        moto.backends.get_backend("ssm")[account][region]._parameters.update(named)
    return kept["tokens"], kept["resources"]
