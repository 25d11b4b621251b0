"""Requests of smaller services that moto does not know, or answers otherwise than AWS does."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from moto.cloudtrail.exceptions import TrailNotFoundException
from moto.cloudtrail.models import CloudTrailBackend
from moto.efs.exceptions import FileSystemNotFound
from moto.efs.responses import EFSResponse

from engine.sandbox.aws.mending import replace

Answer = tuple[str, dict[str, str]]


def _update_file_system(response: EFSResponse) -> Answer:
    """EFS's UpdateFileSystem."""
    asked: dict[str, Any] = json.loads(response.body or "{}")
    id = response._get_param("FileSystemId")
    if id not in response.efs_backend.file_systems_by_id:
        raise FileSystemNotFound(id)
    system: Any = response.efs_backend.file_systems_by_id[id]
    if "ThroughputMode" in asked:
        system.throughput_mode = asked["ThroughputMode"]
        system.provisioned_throughput_in_mibps = None
    if "ProvisionedThroughputInMibps" in asked:
        system.provisioned_throughput_in_mibps = asked["ProvisionedThroughputInMibps"]
    return json.dumps(system.info_json()), {"Content-Type": "application/json"}


def _delete_trail(handle: Callable[..., None]) -> Callable[..., None]:
    """CloudTrail's DeleteTrail by ARN, and of one that is not there."""

    def delete(backend: CloudTrailBackend, name: str) -> None:
        short = name.rpartition("/")[2]
        if short not in backend.trails:
            raise TrailNotFoundException(backend.account_id, name)
        handle(backend, short)

    return delete


def mend() -> None:
    """Gives the services what they lack."""
    replace(CloudTrailBackend, delete_trail=_delete_trail(CloudTrailBackend.delete_trail))
    setattr(EFSResponse, "update_file_system", _update_file_system)  # noqa: B010 (moto has no such member)
