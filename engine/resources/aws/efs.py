"""EFS: file systems that many instances mount at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from engine.aws.tags import is_made_by, narrow, tag_list, tags_for, told_tags
from engine.by_hand import assign, aws, itself, json_word, told, variable, word
from engine.refs import Unknown
from engine.resource import Fields, Fixed, Id, Output, Place, Values, plain
from engine.resources.aws._aws import finish, iam_actions, insist, seconds, unless_gone
from engine.resources.aws._services import InService, ask, given, quietly
from engine.resources.aws._tagging import Tagging

if TYPE_CHECKING:
    from engine.world import World

_READY: Final = 300.0
_SETTLING: Final = frozenset({"IncorrectFileSystemLifeCycleState", "FileSystemInUse", "DependencyTimeout"})


class Target(Fields):
    """A way to the file system from a subnet."""

    subnet_id: Id
    """One for each availability zone."""
    security_groups: list[Id] | None = None
    """Ids of groups that let port 2049 in; the VPC's default group where left out."""


class Efs(InService):
    """An EFS file system, mounted by many instances at once (NFS, port 2049)."""

    kind: ClassVar[str] = "efs"
    actions: ClassVar[Sequence[str]] = (
        iam_actions(
            "elasticfilesystem",
            """
            CreateFileSystem CreateMountTarget DeleteFileSystem DeleteMountTarget DescribeFileSystems
            DescribeLifecycleConfiguration DescribeMountTargetSecurityGroups DescribeMountTargets
            ModifyMountTargetSecurityGroups PutLifecycleConfiguration TagResource UntagResource
            UpdateFileSystem
            """,
        )
        + iam_actions("ec2", "DescribeNetworkInterfaceAttribute DescribeSecurityGroups DescribeSubnets")
        + iam_actions("ec2", "CreateNetworkInterface DeleteNetworkInterface DescribeNetworkInterfaces")
        + iam_actions("iam", "CreateServiceLinkedRole")
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the file system's id, fs-…"),
        "file_system_id": Output("the same as id"),
        "arn": Output("its ARN"),
        "dns_name": Output("what instances mount: `mount -t nfs4 DNS_NAME:/ /mnt`"),
        "size_bytes": Output("how much is in it, as last measured"),
    }
    tagging: ClassVar[Tagging] = Tagging("efs", "tag_resource", "untag_resource", "ResourceId")

    encrypt: Fixed[bool] = True
    """With AWS's key, or `kms_key_id`."""
    kms_key_id: Fixed[str | None] = None
    """The key it is encrypted with."""
    performance_mode: Fixed[Literal["general_purpose", "max_io"]] = "general_purpose"
    """`general_purpose` is right for nearly everything."""
    throughput_mode: Literal["bursting", "elastic", "provisioned"] = "elastic"
    """How fast it may be: by its size, by need, or as told."""
    provisioned_throughput_in_mibps: float | None = Field(default=None, ge=1, le=3414)
    """MiB per second, for provisioned."""
    availability_zone_name: Fixed[str | None] = None
    """Kept in this zone alone, which is cheaper."""
    transition_to_ia: str | None = Field(default=None, pattern=r"^(None|1|7|14|30|60|90|180|270|365)$")
    """Days after which files that nobody reads are kept more cheaply; `None` is never."""
    targets: list[Target] | None = None
    """The subnets from which it can be mounted."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if isinstance(self.throughput_mode, Unknown):
            return self
        if (self.throughput_mode == "provisioned") != (self.provisioned_throughput_in_mibps is not None):
            raise ValueError("provisioned_throughput_in_mibps goes with throughput_mode: provisioned")
        if self.kms_key_id is not None and self.encrypt is False:
            raise ValueError("kms_key_id needs encrypt: true")
        return self

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Targets in any order; of their groups only those asked for count."""
        if name == "targets" and isinstance(wanted, list) and isinstance(there, list):
            held = {item["subnet_id"]: item for item in there}
            same = held.keys() == {item["subnet_id"] for item in wanted}
            return not same or any(_other(item, held[item["subnet_id"]]) for item in wanted)
        return super().differs(name, wanted, there)

    def create(self, world: World) -> str:
        """CreateFileSystem with token and tags, then a mount target for each subnet."""
        answer = world.aws.call(
            "efs",
            "create_file_system",
            retry=True,
            CreationToken=world.job.token or f"{world.lab} {world.job.address}"[:64],
            Encrypted=self.encrypt,
            PerformanceMode={"general_purpose": "generalPurpose", "max_io": "maxIO"}[self.performance_mode],
            ThroughputMode=self.throughput_mode,
            Tags=tag_list(narrow(tags_for(world))),
            **given(
                KmsKeyId=self.kms_key_id,
                ProvisionedThroughputInMibps=self.provisioned_throughput_in_mibps,
                AvailabilityZoneName=self.availability_zone_name,
            ),
        )
        id = str(answer["FileSystemId"])
        finish(world, id, lambda: self._complete(world, id))
        return id

    def _complete(self, world: World, id: str) -> None:
        _until(world, id, "available")
        if self.transition_to_ia not in (None, "None"):
            self._lifecycle(world, id)
        if self.targets:
            self._mend_targets(world, id)

    def _lifecycle(self, world: World, id: str) -> None:
        days = self.transition_to_ia
        policies = [] if days in (None, "None") else [{"TransitionToIA": _after(str(days))}]
        ask(world, "efs", "put_lifecycle_configuration", FileSystemId=id, LifecyclePolicies=policies)

    def _mend_targets(self, world: World, id: str) -> None:
        held = {target["SubnetId"]: target for target in _targets(world, id)}
        wanted = {item["subnet_id"]: item for item in plain(self.targets or [])}
        for subnet, target in held.items():
            if subnet not in wanted:
                quietly(world, "efs", "delete_mount_target", MountTargetId=target["MountTargetId"])
        gone = {target["MountTargetId"] for subnet, target in held.items() if subnet not in wanted}
        _until_gone(world, id, gone)
        for subnet, item in wanted.items():
            groups = item.get("security_groups")
            if subnet not in held:
                params = given(FileSystemId=id, SubnetId=subnet, SecurityGroups=groups)
                world.aws.call("efs", "create_mount_target", retry=False, **params)
            elif groups and set(groups) != set(_groups(world, held[subnet])):
                target = held[subnet]["MountTargetId"]
                about = {"MountTargetId": target, "SecurityGroups": groups}
                ask(world, "efs", "modify_mount_target_security_groups", **about)
        _until_mountable(world, id)

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeFileSystems for all; mount targets and the lifecycle are asked for each of `ids`."""
        systems = world.aws.pages("efs", "describe_file_systems", "FileSystems")
        chosen = [one for one in systems if one["FileSystemId"] in ids]
        return {
            one["FileSystemId"]: cls._values(world, one)
            for one in chosen
            if one["LifeCycleState"] not in ("deleting", "deleted")
        }

    @classmethod
    def _values(cls, world: World, one: Mapping[str, Any]) -> Values:
        id = str(one["FileSystemId"])
        answer = quietly(world, "efs", "describe_lifecycle_configuration", FileSystemId=id)
        policies = (answer or {}).get("LifecyclePolicies", [])
        days = [policy["TransitionToIA"].split("_")[1] for policy in policies if "TransitionToIA" in policy]
        targets = [
            {"subnet_id": target["SubnetId"], "security_groups": sorted(_groups(world, target))}
            for target in _targets(world, id)
        ]
        return {
            "id": id,
            "file_system_id": id,
            "arn": one.get("FileSystemArn"),
            "dns_name": f"{id}.efs.{world.aws.region}.amazonaws.com",
            "size_bytes": (one.get("SizeInBytes") or {}).get("Value", 0),
            "encrypt": bool(one.get("Encrypted")),
            "kms_key_id": one.get("KmsKeyId"),
            "performance_mode": {"maxIO": "max_io"}.get(one["PerformanceMode"], "general_purpose"),
            "throughput_mode": one.get("ThroughputMode", "bursting"),
            "provisioned_throughput_in_mibps": one.get("ProvisionedThroughputInMibps"),
            "availability_zone_name": one.get("AvailabilityZoneName"),
            "transition_to_ia": days[0] if days else "None",
            "targets": targets,
            "tags": cls.shown_tags(one.get("Tags")),
        }

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """UpdateFileSystem for how fast it is; lifecycle and mount targets by their own calls."""
        if changed & {"throughput_mode", "provisioned_throughput_in_mibps"}:
            units = self.provisioned_throughput_in_mibps
            more = given(ProvisionedThroughputInMibps=units)
            ask(
                world,
                "efs",
                "update_file_system",
                FileSystemId=id,
                ThroughputMode=self.throughput_mode,
                **more,
            )
        if "transition_to_ia" in changed:
            self._lifecycle(world, id)
        if "targets" in changed:
            self._mend_targets(world, id)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteMountTarget for each, then DeleteFileSystem, its files with it."""
        targets = unless_gone(lambda: {target["MountTargetId"] for target in _targets(world, id)})
        if targets is None:
            return
        for target in targets:
            quietly(world, "efs", "delete_mount_target", MountTargetId=target)
        _until_gone(world, id, targets)
        insist(
            world,
            lambda: (quietly(world, "efs", "delete_file_system", FileSystemId=id),),
            lambda error: error.code in _SETTLING,
            what="EFS to let go of the mount targets",
            timeout=seconds(world, _READY),
        )
        _until(world, id, None)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By the tags that CreateFileSystem was sent with."""
        return [
            str(one["FileSystemId"])
            for one in world.aws.pages("efs", "describe_file_systems", "FileSystems")
            if is_made_by(world, told_tags(one.get("Tags")))
            and one["LifeCycleState"] not in ("deleting", "deleted")
        ]

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """The role that EFS makes for itself at its first use."""
        role = "role/aws-service-role/elasticfilesystem.amazonaws.com/*"
        return {"iam:CreateServiceLinkedRole": [place.arn("iam", role, regional=False)]}

    def price(self) -> float | None:
        """Provisioned speed, at 6 USD per MiB/s and month; what is in it costs 0.30 USD per GB and month."""
        if isinstance(self.provisioned_throughput_in_mibps, Unknown):
            return None
        return (self.provisioned_throughput_in_mibps or 0.0) * 6.0 / 730.0

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws efs create-file-system`, `create-mount-target`."""
        own = word(itself(self, id))
        if action == "delete":
            targets = f"aws efs describe-mount-targets --file-system-id {own}"
            query = "--query 'MountTargets[].MountTargetId' --output text"
            gone = "aws efs delete-mount-target --mount-target-id $target"
            loop = f"for target in $({targets} {query}); do {gone}; done"
            return [loop, f"aws efs delete-file-system --file-system-id {own}"]
        lines = []
        if action == "create":
            command = aws(
                "create-file-system",
                service="efs",
                query="FileSystemId",
                encrypted=self.encrypt,
                kms_key_id=self.kms_key_id,
                throughput_mode=self.throughput_mode,
                provisioned_throughput_in_mibps=self.provisioned_throughput_in_mibps,
                availability_zone_name=self.availability_zone_name,
            )
            lines.append(assign(self._address, command))
        elif changed & {"throughput_mode", "provisioned_throughput_in_mibps"}:
            command = aws(
                "update-file-system",
                service="efs",
                throughput_mode=self.throughput_mode,
                provisioned_throughput_in_mibps=self.provisioned_throughput_in_mibps,
            )
            lines.append(f"{command} --file-system-id {own}")
        if action == "create" or "targets" in changed:
            for target in self.targets or ():
                command = aws(
                    "create-mount-target",
                    service="efs",
                    subnet_id=target.subnet_id,
                    security_groups=target.security_groups,
                )
                lines.append(f"{command} --file-system-id {own}")
        days = self.transition_to_ia
        if days not in (None, "None") and (action == "create" or "transition_to_ia" in changed):
            policies = json_word([{"TransitionToIA": _after(str(days))}])
            command = f"aws efs put-lifecycle-configuration --file-system-id {own}"
            lines.append(f"{command} --lifecycle-policies {policies}")
        if "dns_name" in self._beside.needed:
            name = variable(self._address, "dns_name")
            lines.append(f"{name}={own}.efs.$AWS_DEFAULT_REGION.amazonaws.com")
        asked = f"aws efs describe-file-systems --file-system-id {own}"
        return [*lines, *told(self, asked, {"arn": "FileSystems[0].FileSystemArn"})]


def _after(days: str) -> str:
    return "AFTER_1_DAY" if days == "1" else f"AFTER_{days}_DAYS"


def _other(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    groups = wanted.get("security_groups")
    return groups is not None and set(groups) != set(there["security_groups"])


def _targets(world: World, id: str) -> list[dict[str, Any]]:
    found = world.aws.pages("efs", "describe_mount_targets", "MountTargets", FileSystemId=id)
    return [target for target in found if target["LifeCycleState"] not in ("deleting", "deleted")]


def _groups(world: World, target: Mapping[str, Any]) -> list[str]:
    about = {"MountTargetId": target["MountTargetId"]}
    answer = quietly(world, "efs", "describe_mount_target_security_groups", **about)
    return [str(group) for group in (answer or {}).get("SecurityGroups", ())]


def _until(world: World, id: str, state: str | None) -> None:
    """Wait until the file system is in a state; None: until it is gone."""

    def reached() -> bool | None:
        answer = quietly(world, "efs", "describe_file_systems", FileSystemId=id)
        states = [one["LifeCycleState"] for one in (answer or {}).get("FileSystems", ())]
        if state is None:
            return True if not states or states == ["deleted"] else None
        return True if states == [state] else None

    what = f"the file system to be {state or 'gone'}"
    world.aws.poll(reached, what=what, timeout=seconds(world, _READY), say=world.job.say)


def _until_mountable(world: World, id: str) -> None:
    def ready() -> bool | None:
        states = {target["LifeCycleState"] for target in _targets(world, id)}
        return True if states <= {"available"} else None

    what = "the mount targets to be available"
    world.aws.poll(ready, what=what, timeout=seconds(world, _READY), say=world.job.say)


def _until_gone(world: World, id: str, targets: set[str]) -> None:
    """Wait until mount targets are gone: their interfaces hold on to subnets and groups until then."""

    def gone() -> bool | None:
        there = world.aws.pages("efs", "describe_mount_targets", "MountTargets", FileSystemId=id)
        return True if not targets & {target["MountTargetId"] for target in there} else None

    if targets:
        what = "the mount targets to be gone"
        world.aws.poll(gone, what=what, timeout=seconds(world, _READY), say=world.job.say)
