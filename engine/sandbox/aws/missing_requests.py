"""Requests of smaller services that moto does not know, or answers otherwise than AWS does."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from moto.cloudtrail.exceptions import TrailNotFoundException
from moto.cloudtrail.models import CloudTrailBackend
from moto.efs.exceptions import FileSystemNotFound
from moto.efs.responses import EFSResponse
from moto.route53.exceptions import ResourceRecordAlreadyExists
from moto.route53.models import Route53Backend
from moto.sns.exceptions import SNSInvalidParameter
from moto.sns.models import SNSBackend

from engine.sandbox.aws.mending import add, replace

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


def _create_topic(handle: Callable[..., Any]) -> Callable[..., Any]:
    """SNS's CreateTopic, which gives the topic that is there only to who asks for the same."""

    def create(backend: SNSBackend, name: str, attributes: Any = None, tags: Any = None) -> Any:
        there = backend.topics.get(f"arn:aws:sns:{backend.region_name}:{backend.account_id}:{name}")
        if there is not None and tags and _as_map(there._tags) != _as_map(tags):
            reason = "Topic already exists with different tags"
            raise SNSInvalidParameter(f"Invalid parameter: Tags Reason: {reason}")
        return handle(backend, name, attributes, tags)

    return create


def _as_map(tags: Any) -> dict[str, str]:
    return tags if isinstance(tags, dict) else {tag["Key"]: tag["Value"] for tag in tags or ()}


def _change_records(handle: Callable[..., None]) -> Callable[..., None]:
    """Route 53's ChangeResourceRecordSets, which creates no record of a name and type that are there."""

    def change(backend: Route53Backend, zoneid: str, change_list: list[dict[str, Any]]) -> None:
        zone = backend.get_hosted_zone(zoneid)
        there = {(one.name.rstrip("."), one.type, one.set_identifier) for one in zone.rrsets}
        for each in change_list:
            record = each["ResourceRecordSet"]
            name, sort = record["Name"].rstrip("."), record["Type"]
            if each["Action"] == "CREATE" and (name, sort, record.get("SetIdentifier")) in there:
                raise ResourceRecordAlreadyExists(name=f"{name}.", _type=sort)
        handle(backend, zoneid, change_list)

    return change


def mend() -> None:
    """Gives the services what they lack."""
    replace(CloudTrailBackend, delete_trail=_delete_trail(CloudTrailBackend.delete_trail))
    replace(SNSBackend, create_topic=_create_topic(SNSBackend.create_topic))
    replace(
        Route53Backend,
        change_resource_record_sets=_change_records(Route53Backend.change_resource_record_sets),
    )
    add(EFSResponse, update_file_system=_update_file_system)
