"""Launch templates: how instances of an Auto Scaling group are made."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from engine.aws.errors import AwsError
from engine.aws.tags import seen_tags, tag_specifications
from engine.by_hand import assign, aws, filled, itself, json_word, told, word
from engine.errors import StepFailed
from engine.resource import Fields, Fixed, Id, Output, Values, plain
from engine.resources.aws._aws import shaped
from engine.resources.ec2._ec2 import InEc2, ask, found, make, quietly
from engine.resources.ec2._images import image_id
from engine.resources.ec2._instances import profile_request
from engine.resources.ec2._metadata import LaunchMetadataOptions, metadata_request, metadata_words

if TYPE_CHECKING:
    from engine.world import World

TemplateName = Annotated[
    str, shaped(r"[a-zA-Z0-9().\-/_]{3,128}", "3 to 128 letters, digits and the signs ( ) . - / _")
]
_A_PAGE: Final = 200


class Ebs(Fields):
    """A volume."""

    volume_size: int | None = Field(default=None, ge=1, le=65536)
    """GiB; as the image says where left out."""
    volume_type: Literal["gp2", "gp3", "io1", "io2", "standard", "st1", "sc1"] | None = None
    """As the image says where left out."""
    iops: int | None = Field(default=None, ge=100, le=256000)
    """For gp3, io1 and io2."""
    throughput: int | None = Field(default=None, ge=125, le=2000)
    """MiB a second, for gp3."""
    encrypted: bool | None = None
    """As the account says where left out."""
    delete_on_termination: bool = True
    """It goes with its instance."""


class BlockDeviceMapping(Fields):
    """A disk of the instances."""

    device_name: str
    """`/dev/sda1` or `/dev/xvda` is the root volume, as the image says."""
    ebs: Ebs = Ebs()
    """The volume behind it."""


class LaunchInterface(Fields):
    """The network interface of the instances."""

    device_index: int = Field(default=0, ge=0)
    """0 is the first."""
    associate_public_ip_address: bool | None = None
    """As the subnet says where left out."""
    groups: list[Id] | None = None
    """Ids of security groups, in place of security_group_ids."""
    delete_on_termination: bool = True
    """It goes with its instance."""


class SpotOptions(Fields):
    """How spot instances are asked for."""

    market_type: Literal["spot"] = "spot"
    """`spot` is cheaper, and AWS may take instances away at any time."""
    max_price: float | None = Field(default=None, gt=0)
    """USD per hour at most; the on-demand price where left out."""


_EBS: Final = {
    "volume_size": "VolumeSize",
    "volume_type": "VolumeType",
    "iops": "Iops",
    "throughput": "Throughput",
    "encrypted": "Encrypted",
    "delete_on_termination": "DeleteOnTermination",
}
_INTERFACE: Final = {
    "device_index": "DeviceIndex",
    "associate_public_ip_address": "AssociatePublicIpAddress",
    "groups": "Groups",
    "delete_on_termination": "DeleteOnTermination",
}


class Ec2LaunchTemplate(InEc2):
    """A launch template: how instances are made; each change is a new version, which becomes the default."""

    kind: ClassVar[str] = "ec2_launch_template"
    pinned: ClassVar[frozenset[str]] = frozenset({"image_id"})
    actions: ClassVar[Sequence[str]] = (
        "ec2:CreateLaunchTemplate",
        "ec2:CreateLaunchTemplateVersion",
        "ec2:ModifyLaunchTemplate",
        "ec2:DescribeLaunchTemplates",
        "ec2:DescribeLaunchTemplateVersions",
        "ec2:DescribeImages",
        "ssm:GetParameter",
        "ec2:DeleteLaunchTemplate",
        "ec2:CreateTags",
        "ec2:DeleteTags",
        "iam:PassRole",
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the template's id, lt-…"),
        "template_id": Output("the same as id"),
        "latest_version": Output("the number of its newest version"),
        "default_version": Output("the number of the version that is used where none is named"),
    }

    name: Fixed[TemplateName]
    """3 to 128 letters, digits and ( ) . - / _; unique in the account and region."""
    image_id: str | None = None
    """An id, an alias (ubuntu-22.04, ubuntu-24.04, debian-12, amazon-linux-2023), or a name filter with *."""
    instance_type: str | None = Field(default=None, pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$")
    """t3.micro, …"""
    key_name: Id | None = None
    """The key pair whose private key may log in."""
    security_group_ids: list[Id] | None = None
    """Ids of groups; the VPC's default group where left out."""
    user_data: str | None = None
    """Run by cloud-init at the first boot; at most 16 KB."""
    iam_instance_profile: str | None = None
    """The name or ARN of an instance profile."""
    ebs_optimized: bool | None = None
    """A way of its own to its volumes; newer types always have one."""
    block_device_mappings: list[BlockDeviceMapping] | None = None
    """Disks; as the image says where left out."""
    network_interfaces: list[LaunchInterface] | None = None
    """To say whether instances get a public address; then groups stand here, too."""
    metadata_options: LaunchMetadataOptions | None = None
    """What instances can ask about themselves at 169.254.169.254."""
    instance_market_options: SpotOptions | None = None
    """Spot instances in place of on-demand ones."""

    @field_validator("user_data")
    @classmethod
    def _small_enough(cls, value: str | None) -> str | None:
        if isinstance(value, str) and len(value.encode()) > 16384:
            raise ValueError("AWS takes at most 16 KB of user data")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.network_interfaces and self.security_group_ids:
            raise ValueError(
                "with network_interfaces the groups stand there, as groups: leave security_group_ids out"
            )
        return self

    @classmethod
    def resolve(cls, world: World, field: str, name: str) -> str:
        """The image's id (SSM GetParameter, DescribeImages)."""
        return image_id(world, name)

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Groups in any order, profiles by name, the rest as EC2 completes it."""
        if name == "security_group_ids" and isinstance(there, list):
            return {str(one) for one in wanted} != set(there)
        if name == "iam_instance_profile" and isinstance(wanted, str) and isinstance(there, str):
            return wanted.rpartition("/")[2] != there.rpartition("/")[2]
        if name == "metadata_options" and isinstance(there, dict):
            return any(there.get(key) != value for key, value in wanted.items())
        if name in {"block_device_mappings", "network_interfaces"} and isinstance(there, list):
            read = _disks_words if name == "block_device_mappings" else _interfaces_words
            request = _disks_request if name == "block_device_mappings" else _interfaces_request
            return read(request(wanted)) != there
        return super().differs(name, wanted, there)

    @classmethod
    def unsettles(cls, changed: frozenset[str]) -> frozenset[str]:
        """Each change is another version."""
        return frozenset({"latest_version", "default_version"}) if changed - {"tags"} else frozenset()

    def create(self, world: World) -> str:
        """CreateLaunchTemplate with a token and all tags."""
        try:
            answer = make(
                world,
                "create_launch_template",
                LaunchTemplateName=self.name,
                LaunchTemplateData=self._data_now(world),
                ClientToken=world.job.token or None,
                TagSpecifications=tag_specifications(world, "launch-template"),
            )
        except AwsError as error:
            if error.code == "InvalidLaunchTemplateName.AlreadyExistsException":
                raise StepFailed(
                    f"a launch template called {self.name} is there already, and this resource did not "
                    "make it",
                    "choose another name, or delete that template if nobody needs it",
                ) from None
            raise
        return str(answer["LaunchTemplate"]["LaunchTemplateId"])

    def _data_now(self, world: World) -> dict[str, Any]:
        """With the id of the image that is the newest under its name now."""
        return self._data(image_id(world, self.image_id) if self.image_id else None)

    def _data(self, image: Any) -> dict[str, Any]:
        market = plain(self.instance_market_options)
        data = {
            "ImageId": image,
            "InstanceType": self.instance_type,
            "KeyName": self.key_name,
            "SecurityGroupIds": self.security_group_ids,
            "UserData": _encoded(self.user_data),
            "IamInstanceProfile": profile_request(self.iam_instance_profile),
            "EbsOptimized": self.ebs_optimized,
            "BlockDeviceMappings": self.block_device_mappings
            and _disks_request(plain(self.block_device_mappings)),
            "NetworkInterfaces": self.network_interfaces
            and _interfaces_request(plain(self.network_interfaces)),
            "MetadataOptions": self.metadata_options and metadata_request(self.metadata_options),
            "InstanceMarketOptions": market and _market_request(market),
        }
        return {name: value for name, value in data.items() if value is not None}

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeLaunchTemplates and the default versions of all (DescribeLaunchTemplateVersions).

        Both are asked as whole lists: asking for an id that is gone makes the direct form fail.
        """
        templates = [
            one
            for one in world.aws.pages(
                "ec2", "describe_launch_templates", "LaunchTemplates", MaxResults=_A_PAGE
            )
            if one["LaunchTemplateId"] in ids
        ]
        if not templates:
            return {}
        versions = world.aws.pages(
            "ec2",
            "describe_launch_template_versions",
            "LaunchTemplateVersions",
            Versions=["$Default"],
            MaxResults=_A_PAGE,
        )
        data = {one["LaunchTemplateId"]: one.get("LaunchTemplateData") or {} for one in versions}
        return {
            str(one["LaunchTemplateId"]): _values(one, data.get(one["LaunchTemplateId"], {}))
            for one in templates
        }

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """CreateLaunchTemplateVersion, which ModifyLaunchTemplate makes the default; old ones stay."""
        answer = make(
            world,
            "create_launch_template_version",
            LaunchTemplateId=id,
            LaunchTemplateData=self._data_now(world),
            ClientToken=world.job.token or None,
        )
        number = str(answer["LaunchTemplateVersion"]["VersionNumber"])
        ask(world, "modify_launch_template", LaunchTemplateId=id, DefaultVersion=number)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteLaunchTemplate, with all its versions."""
        quietly(world, "delete_launch_template", LaunchTemplateId=id)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By the tags that CreateLaunchTemplate was sent with."""
        return found(world, "describe_launch_templates", "LaunchTemplates", "LaunchTemplateId")

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws ec2 create-launch-template`, `create-launch-template-version`, `delete-launch-template`."""
        if action == "delete":
            return [f"aws ec2 delete-launch-template --launch-template-id {word(id)}"]
        own = word(itself(self, id))
        data = f"--launch-template-data {json_word(self._data(self.image_id))}"
        asked = f"aws ec2 describe-launch-templates --launch-template-ids {own}"
        at = "LaunchTemplates[0]."
        queries = {
            "template_id": f"{at}LaunchTemplateId",
            "latest_version": f"{at}LatestVersionNumber",
            "default_version": f"{at}DefaultVersionNumber",
        }
        if action == "create":
            command = aws("create-launch-template", launch_template_name=self.name)
            query = "--query LaunchTemplate.LaunchTemplateId --output text"
            return [assign(self._address, f"{command} {data} {query}"), *told(self, asked, queries)]
        command = f"aws ec2 create-launch-template-version --launch-template-id {own} {data}"
        query = "--query LaunchTemplateVersion.VersionNumber --output text"
        version = word(filled(self, "new_version"))
        return [
            assign(self._address, f"{command} {query}", "new_version"),
            f"aws ec2 modify-launch-template --launch-template-id {own} --default-version {version}",
            *told(self, asked, queries),
        ]


def _encoded(text: Any) -> Any:
    """User data as LaunchTemplateData wants it: in base64."""
    return base64.b64encode(text.encode()).decode() if isinstance(text, str) else text


def _decoded(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return base64.b64decode(text, validate=True).decode(errors="replace")
    except binascii.Error:
        return text


def _market_request(given: Mapping[str, Any]) -> dict[str, Any]:
    price = {} if given.get("max_price") is None else {"SpotOptions": {"MaxPrice": f"{given['max_price']:g}"}}
    return {"MarketType": "spot", **price}


def _disks_request(given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    defaults = plain(Ebs())
    return [
        {
            "DeviceName": one["device_name"],
            "Ebs": {_EBS[name]: value for name, value in {**defaults, **one.get("ebs", {})}.items()},
        }
        for one in given
    ]


def _disks_words(given: Sequence[Mapping[str, Any]]) -> list[Values]:
    return [
        {
            "device_name": one["DeviceName"],
            "ebs": {
                name: one["Ebs"][key] for name, key in _EBS.items() if one.get("Ebs", {}).get(key) is not None
            },
        }
        for one in given
    ]


def _interfaces_request(given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    defaults = plain(LaunchInterface())
    return [{_INTERFACE[name]: value for name, value in {**defaults, **one}.items()} for one in given]


def _interfaces_words(given: Sequence[Mapping[str, Any]]) -> list[Values]:
    return [{name: one[key] for name, key in _INTERFACE.items() if one.get(key) is not None} for one in given]


def _values(template: Mapping[str, Any], data: Mapping[str, Any]) -> Values:
    profile = data.get("IamInstanceProfile") or {}
    options = data.get("MetadataOptions") or {}
    market = data.get("InstanceMarketOptions") or {}
    price = (market.get("SpotOptions") or {}).get("MaxPrice")
    spot = {"market_type": "spot", **({"max_price": float(price)} if price else {})}
    return {
        "id": template["LaunchTemplateId"],
        "template_id": template["LaunchTemplateId"],
        "name": template["LaunchTemplateName"],
        "latest_version": template.get("LatestVersionNumber"),
        "default_version": template.get("DefaultVersionNumber"),
        "image_id": data.get("ImageId"),
        "instance_type": data.get("InstanceType"),
        "key_name": data.get("KeyName"),
        "security_group_ids": sorted(data.get("SecurityGroupIds") or ()),
        "user_data": _decoded(data.get("UserData")),
        "iam_instance_profile": profile.get("Name") or profile.get("Arn"),
        "ebs_optimized": data.get("EbsOptimized"),
        "block_device_mappings": _disks_words(data.get("BlockDeviceMappings") or ()),
        "network_interfaces": _interfaces_words(data.get("NetworkInterfaces") or ()),
        "metadata_options": metadata_words(LaunchMetadataOptions, options) or None,
        "instance_market_options": spot if market else None,
        "tags": seen_tags(template),
    }
