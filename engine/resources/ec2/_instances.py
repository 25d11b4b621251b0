"""Instances as EC2 tells of them, and how they are brought from one state to another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine.aws.errors import AwsError
from engine.aws.tags import seen_tags, values_filter
from engine.by_hand import reference
from engine.errors import StepFailed
from engine.refs import Unknown
from engine.resource import Values
from engine.resources.aws._aws import seconds
from engine.resources.ec2._ec2 import ask, instances, make, quietly
from engine.resources.ec2._metadata import MetadataOptions, metadata_words

if TYPE_CHECKING:
    from engine.world import World


def as_told(instance: Mapping[str, Any]) -> Values:
    """An instance as DescribeInstances tells of it, in the playbook's words."""
    interfaces = instance.get("NetworkInterfaces") or [{}]
    profile = (instance.get("IamInstanceProfile") or {}).get("Arn")
    state = instance["State"]["Name"]
    volumes = {
        disk["DeviceName"]: disk.get("Ebs", {}).get("VolumeId")
        for disk in instance.get("BlockDeviceMappings", ())
    }
    root, spot = volumes.get(instance.get("RootDeviceName")), instance.get("SpotInstanceRequestId")
    return {
        "id": instance["InstanceId"],
        "instance_id": instance["InstanceId"],
        "image": instance["ImageId"],
        "image_id": instance["ImageId"],
        "instance_type": instance["InstanceType"],
        "key_name": instance.get("KeyName") or None,
        "security_groups": sorted(group["GroupId"] for group in instance.get("SecurityGroups", ())),
        "vpc_subnet_id": instance.get("SubnetId"),
        "subnet_id": instance.get("SubnetId"),
        "vpc_id": instance.get("VpcId"),
        "availability_zone": instance.get("Placement", {}).get("AvailabilityZone"),
        "private_ip_address": instance.get("PrivateIpAddress"),
        "private_ip": instance.get("PrivateIpAddress"),
        "private_dns": instance.get("PrivateDnsName") or None,
        "public_ip": instance.get("PublicIpAddress") or None,
        "public_dns": instance.get("PublicDnsName") or None,
        "network_interface_id": interfaces[0].get("NetworkInterfaceId"),
        "source_dest_check": bool(instance.get("SourceDestCheck", True)),
        "iam_instance_profile": profile.rpartition("/")[2] if profile else None,
        "metadata_options": metadata_words(MetadataOptions, instance.get("MetadataOptions") or {}),
        "ebs_optimized": bool(instance.get("EbsOptimized")),
        "market": "spot" if instance.get("InstanceLifecycle") == "spot" else "on-demand",
        "tags": seen_tags(instance),
        "parts": [part for part in (root, spot, interfaces[0].get("NetworkInterfaceId")) if part],
        "state": state,
        "running": state in {"pending", "running"},
    }


def profile_request(profile: str | Unknown | None) -> dict[str, Any] | None:
    """An instance profile in the form of AWS's requests; it may be named by its name or its ARN."""
    if profile is None:
        return None
    if isinstance(profile, Unknown):
        named = reference(profile)
        return {"Arn" if named is not None and named.output == "arn" else "Name": profile}
    return {"Arn" if profile.startswith("arn:") else "Name": profile}


def set_profile(world: World, id: str, profile: Mapping[str, str] | None) -> None:
    """Give an instance the instance profile `profile` (Name or Arn); None takes away the one that it has."""
    live = {"Name": "state", "Values": ["associated", "associating"]}
    held = world.aws.pages(
        "ec2",
        "describe_iam_instance_profile_associations",
        "IamInstanceProfileAssociations",
        Filters=[*values_filter("instance-id", [id]), live],
    )
    if profile is None:
        for link in held:
            quietly(world, "disassociate_iam_instance_profile", AssociationId=link["AssociationId"])
    elif held:
        association = held[0]["AssociationId"]
        make(
            world,
            "replace_iam_instance_profile_association",
            AssociationId=association,
            IamInstanceProfile=profile,
        )
    else:
        make(world, "associate_iam_instance_profile", InstanceId=id, IamInstanceProfile=profile)


def until(world: World, id: str, state: str) -> None:
    """Wait until an instance is in `state`. Raises StepFailed with AWS's reason where it ends instead."""

    def reached() -> bool | None:
        for instance in instances(world, [id]):
            now = instance["State"]["Name"]
            if now == state:
                return True
            if now in {"shutting-down", "terminated"}:
                said = (instance.get("StateReason") or {}).get("Message") or f"it is {now}"
                raise StepFailed(
                    f"AWS ended instance {id}: {said}",
                    "run the same command again to have another one made",
                )
        return None

    what = f"instance {id} to be {state}"
    world.aws.poll(reached, what=what, timeout=seconds(world, 600), say=world.job.say)


def stop(world: World, id: str) -> None:
    """StopInstances; returns once it is stopped."""
    world.job.say("stopping it")
    try:
        ask(world, "stop_instances", InstanceIds=[id])
    except AwsError as error:
        if error.code != "IncorrectInstanceState":
            raise
    until(world, id, "stopped")
