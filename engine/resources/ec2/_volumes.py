"""Changing EBS volumes in use, whether they are resources of their own or an instance's root."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine.errors import StepFailed
from engine.resources.aws._aws import seconds
from engine.resources.ec2._ec2 import ask, described

if TYPE_CHECKING:
    from engine.world import World


def modify_volume(world: World, id: str, **settings: Any) -> None:
    """ModifyVolume, and wait until the change has taken hold (its optimizing goes on for hours).

    Raises StepFailed where AWS fails to make the change.
    """
    ask(world, "modify_volume", VolumeId=id, **settings)

    def held() -> bool | None:
        changes = described(
            world, "describe_volumes_modifications", "VolumesModifications", "volume-id", [id]
        )
        for change in changes:
            if change["ModificationState"] == "failed":
                raise StepFailed(f"AWS could not change volume {id}: {change.get('StatusMessage', '')}")
            if change["ModificationState"] == "modifying":
                return None
        return True

    what = f"volume {id} to change"
    world.aws.poll(held, what=what, timeout=seconds(world, 600), say=world.job.say)


def grow_root(world: World, instance: Mapping[str, Any], size: int) -> None:
    """Make the root volume of `instance` (as DescribeInstances gives it) `size` GiB large.

    Its partition and filesystem follow at the host's next boot (cloud-init), or by growpart and resize2fs.
    Raises StepFailed where it is larger already.
    """
    root = instance.get("RootDeviceName")
    links = [link for link in instance.get("BlockDeviceMappings", ()) if link.get("DeviceName") == root]
    if not links:
        raise StepFailed(
            f"instance {instance['InstanceId']} has no EBS root volume to change",
            "leave volume_size out",
        )
    id = links[0]["Ebs"]["VolumeId"]
    (volume,) = described(world, "describe_volumes", "Volumes", "volume-id", [id])
    now = int(volume["Size"])
    if size < now:
        raise StepFailed(
            f"its root volume has {now} GiB and cannot become smaller (volume_size: {size})",
            f"write volume_size: {now} or more; a smaller disk needs a new host, with all that is on it: "
            f"`labctl apply --replace {world.job.address}`",
        )
    if size > now:
        modify_volume(world, id, Size=size)
