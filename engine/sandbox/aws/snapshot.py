"""The cloud's state on disk, so that it outlives the process that holds it.

moto keeps everything in plain objects, which pickle well: a lab is some tens of kilobytes and a
millisecond. The file is written and read by the same user only, in a folder that is theirs alone.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import moto.backends
from moto.core.base_backend import BackendDict

from engine.sandbox.aws.addresses import PublicAddresses
from engine.sandbox.aws.cloud_control import Resources
from engine.sandbox.aws.tokens import Tokens
from engine.sandbox.kubernetes.objects import Objects

FORMAT = 4
_LEFT_OUT = frozenset({"ssm", "moto_api", "instance_metadata", "sts"})
"""Services whose state is not kept as a whole: what labs make of SSM is kept apart."""
_UNPICKLABLE = (pickle.PicklingError, AttributeError, TypeError, NotImplementedError, RecursionError)
_log = logging.getLogger(__name__)


@dataclass
class Held:
    """What the sandbox keeps of the cloud besides moto."""

    tokens: Tokens = field(default_factory=Tokens)
    resources: Resources = field(default_factory=Resources)
    """Of the Cloud Control API."""
    objects: Objects = field(default_factory=Objects)
    """Of the clusters of Kubernetes."""


class Snapshots:
    """Takes snapshots of every service in use; remembers those whose objects cannot be written down."""

    def __init__(self) -> None:
        self._unable: set[str] = set()

    def take(self, addresses: PublicAddresses, held: Held) -> bytes:
        """Everything of the cloud that must last, as bytes; to be called while nothing changes it."""
        state: dict[str, Any] = {
            "format": FORMAT,
            "dealt": addresses.dealt,
            "held": held,
            "services": _in_use(_LEFT_OUT | self._unable),
            "parameters": _parameters(),
        }
        try:
            return pickle.dumps(state)
        except _UNPICKLABLE:
            state["services"] = {
                name: kept for name, kept in state["services"].items() if self._able(name, kept)
            }
            return pickle.dumps(state)

    def _able(self, name: str, kept: Any) -> bool:
        try:
            pickle.dumps(kept)
        except _UNPICKLABLE as error:
            _log.warning("what is made of %s is gone when the sandbox stops: %s", name, error)
            self._unable.add(name)
            return False
        return True


def _in_use(left_out: Collection[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """moto's backends by service, account and region, of what has been used."""
    used: Any = BackendDict
    return {
        backends.service_name: _by_region(backends)
        for backends in list(used._instances)
        if backends.service_name not in left_out
    }


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


def restore(path: Path, addresses: PublicAddresses) -> Held | None:
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
    named: Any = moto.backends
    for service, accounts in kept["services"].items():
        backends = named.get_backend(service)
        for account, regions in accounts.items():
            for region, backend in regions.items():
                backends[account][region] = backend
    for (account, region), own in kept["parameters"].items():
        moto.backends.get_backend("ssm")[account][region]._parameters.update(own)
    held: Held = kept["held"]
    return held
