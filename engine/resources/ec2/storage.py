"""Volumes and images."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from engine.aws.tags import seen_tags, tag_specifications
from engine.by_hand import assign, aws, itself, told, word
from engine.errors import StepFailed
from engine.refs import Unknown
from engine.resource import Fixed, Id, Output, Unread, Values
from engine.resources.aws import _prices
from engine.resources.aws._aws import finish, iam_actions, insist, seconds
from engine.resources.ec2._ec2 import InEc2, described, found, make, quietly, remove
from engine.resources.ec2._volumes import modify_volume

if TYPE_CHECKING:
    from engine.world import World

_GONE = {"deleting", "deleted", "error"}
_IOPS = {"gp3", "io1", "io2"}


class Ec2Vol(InEc2):
    """An EBS volume, attached to an instance if asked for."""

    kind: ClassVar[str] = "ec2_vol"
    actions: ClassVar[Sequence[str]] = iam_actions(
        "ec2",
        """
        AttachVolume CreateTags CreateVolume DeleteTags DeleteVolume DescribeVolumes
        DescribeVolumesModifications DetachVolume ModifyVolume
        """,
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the volume's id, vol-…"),
        "volume_id": Output("the same as id"),
    }

    zone: Fixed[str]
    """The availability zone; that of the instance it is attached to: `"{{ bastion.availability_zone }}"`."""
    volume_size: int | None = Field(default=None, ge=1, le=65536)
    """GiB. Grows in place; a smaller one is a new volume."""
    volume_type: Literal["gp2", "gp3", "io1", "io2", "st1", "sc1", "standard"] = "gp3"
    """`gp3` is right for nearly everything."""
    iops: int | None = Field(default=None, ge=100, le=256000)
    """Operations per second; for gp3, io1 and io2."""
    throughput: int | None = Field(default=None, ge=125, le=2000)
    """MiB per second, gp3 only."""
    encrypted: Fixed[bool] = False
    """With the account's key, or `kms_key_id`."""
    kms_key_id: Fixed[Unread[str | None]] = None
    """The key it is encrypted with."""
    snapshot: Fixed[Id | None] = None
    """The snapshot it is made from."""
    instance: Id | None = None
    """The instance it is attached to."""
    device_name: str | None = None
    """How the instance calls it; /dev/sdf where left out."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.volume_size is None and self.snapshot is None:
            raise ValueError("a volume needs volume_size (GiB) or snapshot")
        if isinstance(self.volume_type, Unknown):
            return self
        if self.iops is not None and self.volume_type not in _IOPS:
            raise ValueError(f"iops can be set for gp3, io1 and io2, not for {self.volume_type}")
        if self.iops is None and self.volume_type in {"io1", "io2"}:
            raise ValueError(f"a volume of type {self.volume_type} needs iops")
        if self.throughput is not None and self.volume_type != "gp3":
            raise ValueError(f"throughput can be set for gp3, not for {self.volume_type}")
        if self.device_name is not None and self.instance is None:
            raise ValueError("device_name says how an instance calls it: name the instance too")
        return self

    def replaces(self, name: str, there: Values) -> bool:
        """Volumes grow in place, but do not shrink."""
        if name == "volume_size":
            size = there.get("volume_size")
            return isinstance(self.volume_size, int) and isinstance(size, int) and self.volume_size < size
        return super().replaces(name, there)

    def create(self, world: World) -> str:
        """CreateVolume (with a token), then AttachVolume once it is available."""
        answer = make(
            world,
            "create_volume",
            AvailabilityZone=self.zone,
            Size=self.volume_size,
            VolumeType=self.volume_type,
            Iops=self.iops,
            Throughput=self.throughput,
            SnapshotId=self.snapshot,
            Encrypted=self.encrypted or None,
            KmsKeyId=self.kms_key_id,
            ClientToken=world.job.token or None,
            TagSpecifications=tag_specifications(world, "volume"),
        )
        id = str(answer["VolumeId"])
        finish(world, id, lambda: self._settle(world, id))
        return id

    def _settle(self, world: World, id: str) -> None:
        _until(world, id, {"available", "in-use"})
        if self.instance is not None:
            self._attach(world, id)

    def _attach(self, world: World, id: str) -> None:
        device = self.device_name or "/dev/sdf"
        insist(
            world,
            lambda: world.aws.call(
                "ec2", "attach_volume", VolumeId=id, InstanceId=self.instance, Device=device
            ),
            # An instance that is starting takes no volumes yet.
            lambda error: error.not_found or (error.code == "IncorrectState" and "pending" in error.said),
            what=f"instance {self.instance} to take the volume",
            timeout=60.0,
        )
        _until(world, id, {"in-use"})

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeVolumes."""
        result = {}
        for volume in described(world, "describe_volumes", "Volumes", "volume-id", ids):
            if volume["State"] in _GONE:
                continue
            held = [link for link in volume.get("Attachments", ()) if link.get("State") != "detached"]
            result[volume["VolumeId"]] = {
                "id": volume["VolumeId"],
                "volume_id": volume["VolumeId"],
                "zone": volume["AvailabilityZone"],
                "volume_size": volume["Size"],
                "volume_type": volume["VolumeType"],
                "iops": volume.get("Iops"),
                "throughput": volume.get("Throughput"),
                "encrypted": bool(volume.get("Encrypted")),
                "snapshot": volume.get("SnapshotId") or None,
                "instance": held[0]["InstanceId"] if held else None,
                "device_name": held[0]["Device"] if held else None,
                "state": volume["State"],
                "tags": seen_tags(volume),
            }
        return result

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """ModifyVolume for size and speed; detached and attached anew for another instance or name."""
        settings = {key: getattr(self, name) for name, (key, _) in _SETTINGS.items() if name in changed}
        if any(value is not None for value in settings.values()):
            modify_volume(world, id, **settings)
        if changed & {"instance", "device_name"}:
            _detach(world, id)
            if self.instance is not None:
                self._attach(world, id)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DetachVolume where it is attached, then DeleteVolume."""
        _detach(world, id)
        remove(world, "delete_volume", VolumeId=id)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By the tags that CreateVolume was sent with."""
        return found(world, "describe_volumes", "Volumes", "VolumeId")

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws ec2 create-volume`, `attach-volume`, `modify-volume`, `delete-volume`."""
        own = word(itself(self, id))
        detach = self._detached_by_hand(own)
        if action == "delete":
            return [*detach, f"aws ec2 delete-volume --volume-id {own}"]
        lines = []
        if action == "create":
            command = aws(
                "create-volume",
                query="VolumeId",
                availability_zone=self.zone,
                size=self.volume_size,
                volume_type=self.volume_type,
                iops=self.iops,
                throughput=self.throughput,
                snapshot_id=self.snapshot,
                encrypted=self.encrypted is True,
                kms_key_id=self.kms_key_id,
            )
            lines += [assign(self._address, command), f"aws ec2 wait volume-available --volume-ids {own}"]
        elif changed & _SETTINGS.keys():
            settings = {
                option: getattr(self, name) for name, (_, option) in _SETTINGS.items() if name in changed
            }
            lines.append(f"{aws('modify-volume', **settings)} --volume-id {own}")
        if action == "create" or changed & {"instance", "device_name"}:
            lines += detach
            if self.instance is not None:
                device = word(self.device_name or "/dev/sdf")
                where = f"--instance-id {word(self.instance)} --device {device}"
                lines.append(f"aws ec2 attach-volume --volume-id {own} {where}")
        asked = f"aws ec2 describe-volumes --volume-ids {own}"
        return [*lines, *told(self, asked, {"volume_id": "Volumes[0].VolumeId"})]

    def _detached_by_hand(self, own: str) -> list[str]:
        if not self._beside.there.get("instance"):
            return []
        return [
            f"aws ec2 detach-volume --volume-id {own}",
            f"aws ec2 wait volume-available --volume-ids {own}",
        ]

    def price(self) -> float | None:
        """By size and type; extra IOPS and throughput are not counted."""
        if not isinstance(self.volume_size, int) or isinstance(self.volume_type, Unknown):
            return None
        return _prices.volume(self.volume_type, self.volume_size)


_SETTINGS = {
    "volume_size": ("Size", "size"),
    "volume_type": ("VolumeType", "volume_type"),
    "iops": ("Iops", "iops"),
    "throughput": ("Throughput", "throughput"),
}
"""What ModifyVolume changes, and how the AWS command line calls it."""


def _until(world: World, id: str, states: set[str]) -> None:
    def reached() -> bool | None:
        for volume in described(world, "describe_volumes", "Volumes", "volume-id", [id]):
            if volume["State"] == "error":
                raise StepFailed(
                    f"AWS could not make volume {id}",
                    "a KMS key that is disabled or may not be used is the usual cause",
                )
            links = {link.get("State") for link in volume.get("Attachments", ())}
            if volume["State"] in states and not links & {"attaching", "detaching"}:
                return True
        return None

    what = f"volume {id} to become {' or '.join(sorted(states))}"
    world.aws.poll(reached, what=what, timeout=seconds(world, 300), say=world.job.say)


def _detach(world: World, id: str) -> None:
    volumes = described(world, "describe_volumes", "Volumes", "volume-id", [id])
    held = [
        link
        for volume in volumes
        for link in volume.get("Attachments", ())
        if link.get("State") in {"attached", "attaching", "busy"}
    ]
    for link in held:
        # Not attached any more, where an instance let go of it meanwhile.
        quietly(world, "detach_volume", "IncorrectState", VolumeId=id, InstanceId=link["InstanceId"])
    if held:
        _until(world, id, {"available"})


class Ec2Ami(InEc2):
    """An image of an instance as it is now, with snapshots of its volumes."""

    kind: ClassVar[str] = "ec2_ami"
    actions: ClassVar[Sequence[str]] = iam_actions(
        "ec2",
        """
        CreateImage CreateTags DeleteSnapshot DeleteTags DeregisterImage DescribeImages
        """,
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the image's id, ami-…"),
        "image_id": Output("the same as id"),
        "root_device_name": Output("how the image calls its root volume"),
        "snapshot_ids": Output("the snapshots that hold its volumes"),
    }

    name: Fixed[str]
    """3 to 128 characters, one of its kind in the account and region."""
    instance_id: Fixed[Unread[Id]]
    """The instance that it is taken of."""
    description: Fixed[str | None] = None
    """What the image is for."""
    no_reboot: bool = False
    """The instance keeps running meanwhile; what it had not yet written to disk may be missing."""

    @field_validator("name")
    @classmethod
    def _allowed(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9()\[\] ./\-'@_]{3,128}", value):
            raise ValueError("AWS allows 3 to 128 letters, digits, spaces and ( ) [ ] . / - ' @ _")
        return value

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """The values asked for; `no_reboot` is about how it is made only."""
        values = super().wanted(also)
        values.pop("no_reboot", None)
        return values

    def create(self, world: World) -> str:
        """CreateImage; returns once it is available. Names are unique, so nothing is made twice."""
        answer = make(
            world,
            "create_image",
            InstanceId=self.instance_id,
            Name=self.name,
            Description=self.description or None,
            NoReboot=self.no_reboot,
            TagSpecifications=tag_specifications(world, "image", "snapshot"),
        )
        id = str(answer["ImageId"])
        finish(world, id, lambda: self._wait(world, id))
        return id

    @staticmethod
    def _wait(world: World, id: str) -> None:
        def ready() -> bool | None:
            for image in described(world, "describe_images", "Images", "image-id", [id]):
                if image["State"] in {"failed", "error", "invalid", "deregistered"}:
                    said = image.get("StateReason", {}).get("Message", image["State"])
                    raise StepFailed(f"the image could not be made: {said}")
                if image["State"] == "available":
                    return True
            return None

        what = f"image {id} to become available"
        world.aws.poll(ready, what=what, timeout=seconds(world, 3600), say=world.job.say)

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeImages."""
        result = {}
        for image in described(world, "describe_images", "Images", "image-id", ids):
            if image["State"] in {"pending", "available"}:
                result[image["ImageId"]] = {
                    "id": image["ImageId"],
                    "image_id": image["ImageId"],
                    "name": image["Name"],
                    "description": image.get("Description") or None,
                    "root_device_name": image.get("RootDeviceName"),
                    "snapshot_ids": _snapshots(image),
                    "state": image["State"],
                    "tags": seen_tags(image),
                }
        return result

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """Nothing of an image changes in place; waits where a create was cut short."""
        self._wait(world, id)

    @classmethod
    def parts(cls, there: Values) -> list[str]:
        """Its snapshots."""
        return [str(id) for id in there.get("snapshot_ids") or ()]

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeregisterImage, then DeleteSnapshot for each volume it held."""
        for image in described(world, "describe_images", "Images", "image-id", [id]):
            quietly(world, "deregister_image", "InvalidAMIID.Unavailable", ImageId=id)
            for snapshot in _snapshots(image):
                remove(world, "delete_snapshot", SnapshotId=snapshot)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By the tags that CreateImage was sent with."""
        return found(world, "describe_images", "Images", "ImageId")

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws ec2 create-image` and its waiter, `deregister-image`."""
        own = word(itself(self, id))
        if action == "delete":
            return [f"aws ec2 deregister-image --image-id {own} --delete-associated-snapshots"]
        command = aws(
            "create-image",
            query="ImageId",
            instance_id=self.instance_id,
            name=self.name,
            description=self.description,
            no_reboot=self.no_reboot is True,
        )
        queries = {"image_id": "ImageId", "root_device_name": "RootDeviceName"}
        asked = f"aws ec2 describe-images --image-ids {own}"
        return [
            assign(self._address, command),
            f"aws ec2 wait image-available --image-ids {own}",
            *told(self, asked, {name: f"Images[0].{query}" for name, query in queries.items()}),
        ]

    def price(self) -> float | None:
        """Its snapshots are billed by what is written in them, which nobody knows beforehand."""
        return None


def _snapshots(image: Mapping[str, Any]) -> list[str]:
    blocks = image.get("BlockDeviceMappings", ())
    return [str(block["Ebs"]["SnapshotId"]) for block in blocks if block.get("Ebs", {}).get("SnapshotId")]
