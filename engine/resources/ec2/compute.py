"""Instances."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from engine.aws.tags import made_by, tag_specifications
from engine.by_hand import assign, aws, filled, itself, json_word, options, told, variable, word
from engine.refs import Unknown, unknowns
from engine.resource import Fixed, Id, Machine, Output, Place, Unread, Values, plain
from engine.resources.aws import _prices
from engine.resources.aws._aws import finish, iam_actions, seconds
from engine.resources.ec2._contact import examine, explain, host_keys, not_ready, shut_out
from engine.resources.ec2._ec2 import InEc2, ask, instances, instances_where, make, once_seen, quietly
from engine.resources.ec2._images import image_id, root_device
from engine.resources.ec2._instances import as_told, profile_request, set_profile, stop, until
from engine.resources.ec2._metadata import MetadataOptions, metadata_request
from engine.resources.ec2._volumes import grow_root

if TYPE_CHECKING:
    from engine.world import World

_LIVE = ("pending", "running", "stopping", "stopped")
_NEEDS_A_STOP = frozenset({"instance_type", "ebs_optimized"})


class Ec2Instance(InEc2):
    """An EC2 instance, a host that others can live on."""

    kind: ClassVar[str] = "ec2_instance"
    actions: ClassVar[Sequence[str]] = (
        iam_actions(
            "ec2",
            """
        AssociateIamInstanceProfile CreateTags DeleteTags DescribeIamInstanceProfileAssociations
        DescribeImages DescribeInstances DescribeInstanceStatus DescribeRouteTables DescribeSecurityGroups
        DescribeVolumes DescribeVolumesModifications DisassociateIamInstanceProfile GetConsoleOutput
        ModifyInstanceAttribute ModifyInstanceCreditSpecification ModifyInstanceMetadataOptions ModifyVolume
        ReplaceIamInstanceProfileAssociation RunInstances StartInstances StopInstances TerminateInstances
        """,
        )
        + iam_actions("iam", "CreateServiceLinkedRole PassRole")
        + iam_actions("ssm", "GetParameter")
    )
    is_host: ClassVar[bool] = True
    takes_along: ClassVar[bool] = True
    pinned: ClassVar[frozenset[str]] = frozenset({"image"})
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the instance's id, i-…"),
        "instance_id": Output("the same as id"),
        "image_id": Output("the id of its image"),
        "public_ip": Output("its public address, if it has one; a new one after each stop and start"),
        "public_dns": Output("its public DNS name"),
        "private_ip": Output("its private address"),
        "private_dns": Output("its private DNS name"),
        "state": Output("running, stopped, …"),
        "network_interface_id": Output("its first network interface, eni-…"),
        "subnet_id": Output("the subnet it stands in"),
        "vpc_id": Output("the VPC it stands in"),
    }

    image: Fixed[str]
    """An id, an alias (ubuntu-22.04, ubuntu-24.04, debian-12, amazon-linux-2023), or a name filter with *."""
    instance_type: str
    """Changed in place: stopped, changed, started."""
    key_name: Fixed[Id | None] = None
    """The key pair whose private key may log in."""
    security_groups: list[Id] | None = None
    """Ids of groups; the VPC's default group where left out."""
    vpc_subnet_id: Fixed[Id | None] = None
    """A default subnet where left out."""
    availability_zone: Fixed[str | None] = None
    """AWS chooses where left out."""
    assign_public_ip: Fixed[Unread[bool | None]] = None
    """As the subnet says where left out."""
    private_ip_address: Fixed[str | None] = None
    """An address of the subnet's; AWS chooses where left out."""
    source_dest_check: bool = True
    """False for a host that forwards packets of others."""
    # DescribeInstances tells a volume's id and not its size, which would take a second read (DescribeVolumes)
    # at every look: what was applied is remembered as a hash instead.
    volume_size: Unread[int | None] = Field(default=None, ge=1, le=65536)
    """GiB of the root volume; as the image says where left out. Grows in place, never shrinks."""
    volume_type: Fixed[Unread[Literal["gp2", "gp3", "io1", "io2", "standard"] | None]] = None
    """Of the root volume; as the image says where left out."""
    volume_encrypted: Fixed[Unread[bool | None]] = None
    """Of the root volume; as the image says where left out."""
    user_data: Fixed[Unread[str | None]] = None
    """Run by cloud-init at the first boot; at most 16 KB."""
    iam_instance_profile: str | None = None
    """The name of an instance profile."""
    metadata_options: MetadataOptions = MetadataOptions()
    """What the instance can ask about itself at 169.254.169.254."""
    ebs_optimized: bool | None = None
    """A way of its own to its volumes; newer types always have one."""
    market: Fixed[Literal["on-demand", "spot"]] = "on-demand"
    """`spot` is cheaper, and AWS may take the instance away at any time."""
    max_price: Fixed[Unread[float | None]] = Field(default=None, gt=0)
    """USD per hour at most for spot; the on-demand price where left out."""
    cpu_credits: Unread[Literal["standard", "unlimited"] | None] = None
    """For burstable types (t2, t3, t4g)."""
    termination_protection: Unread[bool] = False
    """AWS refuses to terminate it."""
    instance_initiated_shutdown_behavior: Unread[Literal["stop", "terminate"] | None] = None
    """What `shutdown` on the host does."""
    running: bool = True
    """False: made, then stopped; nothing but its volumes is billed."""

    @field_validator("instance_type")
    @classmethod
    def _type(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z0-9-]+\.[a-z0-9-]+", value):
            raise ValueError(f"{value!r} is no instance type: write one like t3.micro")
        return value

    @field_validator("user_data")
    @classmethod
    def _small_enough(cls, value: str | None) -> str | None:
        if value is not None and len(value.encode()) > 16384:
            raise ValueError("AWS takes at most 16 KB of user data: copy files with the host's own resources")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.market == "on-demand" and self.max_price is not None:
            raise ValueError("max_price is for market: spot")
        if self.market == "spot" and self.running is False:
            raise ValueError("a spot instance of this kind cannot be stopped: leave running out")
        return self

    @classmethod
    def resolve(cls, world: World, field: str, name: str) -> str:
        """The image's id (SSM GetParameter, DescribeImages)."""
        return image_id(world, name)

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """A role is passed on with an instance profile only; spot instances may need a role of AWS's made."""
        spot = "role/aws-service-role/spot.amazonaws.com/*"
        return {
            "iam:CreateServiceLinkedRole": (
                [] if self.market == "on-demand" else [place.arn("iam", spot, regional=False)]
            ),
            "iam:PassRole": (
                [place.arn("iam", "role/*", regional=False)] if self.iam_instance_profile is not None else []
            ),
        }

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """The values asked for, and that it runs: what lives on it needs that."""
        return {**super().wanted(also), "running": self.running}

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Groups in any order; of the metadata options only those asked for; profiles by name."""
        if name == "security_groups" and isinstance(wanted, list) and isinstance(there, list):
            return {str(item) for item in wanted} != set(there)
        if name == "metadata_options" and isinstance(wanted, dict) and isinstance(there, dict):
            return any(there.get(key) != value for key, value in wanted.items())
        if name == "iam_instance_profile" and isinstance(wanted, str) and isinstance(there, str):
            return wanted.rpartition("/")[2] != there
        return super().differs(name, wanted, there)

    def replaces(self, name: str, there: Values) -> bool:
        """A one-time spot instance cannot be stopped, so what needs a stop needs a new one."""
        if name in _NEEDS_A_STOP and there.get("market") == "spot":
            return True
        return super().replaces(name, there)

    @classmethod
    def unsettles(cls, changed: frozenset[str]) -> frozenset[str]:
        """A stop and start gives another public address."""
        if changed & (_NEEDS_A_STOP | {"running"}):
            return frozenset({"public_ip", "public_dns", "state"})
        return frozenset()

    def create(self, world: World) -> str:
        """RunInstances with a token and all tags; returns once it runs."""
        answer = make(world, "run_instances", **self._request(world))
        id = str(answer["Instances"][0]["InstanceId"])
        finish(world, id, lambda: self._complete(world, id))
        return id

    def _request(self, world: World) -> dict[str, Any]:
        """The parameters of RunInstances, None for what is left out."""
        image = image_id(world, self.image)
        tagged = ["instance", "volume", "network-interface"]
        if self.market == "spot":
            tagged.append("spot-instances-request")
        return {
            "ImageId": image,
            "InstanceType": self.instance_type,
            "MinCount": 1,
            "MaxCount": 1,
            "MetadataOptions": metadata_request(self.metadata_options),
            "KeyName": self.key_name,
            "UserData": self.user_data,
            "IamInstanceProfile": profile_request(self.iam_instance_profile),
            "EbsOptimized": self.ebs_optimized,
            "DisableApiTermination": self.termination_protection or None,
            "InstanceInitiatedShutdownBehavior": self.instance_initiated_shutdown_behavior,
            "CreditSpecification": {"CpuCredits": self.cpu_credits} if self.cpu_credits else None,
            "Placement": {"AvailabilityZone": self.availability_zone} if self.availability_zone else None,
            "InstanceMarketOptions": self._market(),
            "BlockDeviceMappings": self._root_volume(world, image),
            "ClientToken": world.job.token or None,
            "TagSpecifications": tag_specifications(world, *tagged),
            **self._network(),
        }

    def _network(self) -> dict[str, Any]:
        if self.assign_public_ip is None:
            return {
                "SecurityGroupIds": self.security_groups,
                "SubnetId": self.vpc_subnet_id,
                "PrivateIpAddress": self.private_ip_address,
            }
        # A public address is asked for on the interface, and then the rest must be said there too.
        interface = {
            "DeviceIndex": 0,
            "AssociatePublicIpAddress": self.assign_public_ip,
            "DeleteOnTermination": True,
            "Groups": self.security_groups,
            "SubnetId": self.vpc_subnet_id,
            "PrivateIpAddress": self.private_ip_address,
        }
        return {
            "NetworkInterfaces": [{name: value for name, value in interface.items() if value is not None}]
        }

    def _market(self) -> dict[str, Any] | None:
        if self.market != "spot":
            return None
        limit = {} if self.max_price is None else {"MaxPrice": f"{self.max_price:g}"}
        return {"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "one-time", **limit}}

    def _root_volume(self, world: World, image: str) -> list[dict[str, Any]] | None:
        volume = self._root_settings()
        if not volume:
            return None
        return [{"DeviceName": root_device(world, image), "Ebs": {"DeleteOnTermination": True, **volume}}]

    def _root_settings(self) -> dict[str, Any]:
        asked = {
            "VolumeSize": self.volume_size,
            "VolumeType": self.volume_type,
            "Encrypted": self.volume_encrypted,
        }
        return {name: value for name, value in asked.items() if value is not None}

    def _complete(self, world: World, id: str) -> None:
        if not self.source_dest_check:
            once_seen(world, "modify_instance_attribute", InstanceId=id, SourceDestCheck={"Value": False})
        until(world, id, "running")
        if not self.running:
            stop(world, id)

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeInstances; terminated ones are gone."""
        return {
            instance["InstanceId"]: as_told(instance)
            for instance in instances(world, ids)
            if instance["State"]["Name"] in _LIVE
        }

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """Settings first; then, where one needs it, a stop; in the end it runs or not, as asked."""
        if "volume_size" in changed and self.volume_size is not None:
            for instance in instances(world, [id]):
                grow_root(world, instance, self.volume_size)
        self._set(world, id, changed)
        if not changed & (_NEEDS_A_STOP | {"running"}):
            return
        if changed & _NEEDS_A_STOP or not self.running:
            stop(world, id)
        if "instance_type" in changed:
            self._modify(world, id, InstanceType={"Value": self.instance_type})
        if "ebs_optimized" in changed:
            self._modify(world, id, EbsOptimized={"Value": bool(self.ebs_optimized)})
        if self.running:
            world.job.say("starting it again")
            ask(world, "start_instances", InstanceIds=[id])
            until(world, id, "running")

    @staticmethod
    def _modify(world: World, id: str, **attribute: Any) -> None:
        ask(world, "modify_instance_attribute", InstanceId=id, **attribute)

    def _set(self, world: World, id: str, changed: frozenset[str]) -> None:
        attributes: dict[str, dict[str, Any]] = {
            "security_groups": {"Groups": self.security_groups or []},
            "source_dest_check": {"SourceDestCheck": {"Value": self.source_dest_check}},
            "termination_protection": {"DisableApiTermination": {"Value": self.termination_protection}},
            "instance_initiated_shutdown_behavior": {
                "InstanceInitiatedShutdownBehavior": {
                    "Value": self.instance_initiated_shutdown_behavior or "stop"
                }
            },
        }
        for name, attribute in attributes.items():
            if name in changed:
                self._modify(world, id, **attribute)
        if "metadata_options" in changed:
            options = metadata_request(self.metadata_options)
            ask(world, "modify_instance_metadata_options", InstanceId=id, **options)
        if "cpu_credits" in changed and self.cpu_credits:
            credits = [{"InstanceId": id, "CpuCredits": self.cpu_credits}]
            ask(world, "modify_instance_credit_specification", InstanceCreditSpecifications=credits)
        if "iam_instance_profile" in changed:
            set_profile(world, id, profile_request(self.iam_instance_profile))

    @classmethod
    def parts(cls, there: Values) -> list[str]:
        """Its root volume and network interface; the request for a spot instance."""
        return [str(id) for id in there.get("parts") or ()]

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """TerminateInstances; waits until it is terminated, for then its group and subnet are free."""
        quietly(world, "terminate_instances", InstanceIds=[id])

        def gone() -> bool | None:
            states = {instance["State"]["Name"] for instance in instances(world, [id])}
            return True if states <= {"terminated"} else None

        what = f"instance {id} to be terminated"
        world.aws.poll(gone, what=what, timeout=seconds(world, 600), say=world.job.say)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By the tags that RunInstances was sent with, while it lives."""
        live = {"Name": "instance-state-name", "Values": list(_LIVE)}
        return [str(one["InstanceId"]) for one in instances_where(world, *made_by(world), live)]

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws ec2 run-instances` as the handout has it, and what of it others need in variables."""
        own = word(itself(self, id))
        if action == "delete":
            return [
                f"aws ec2 terminate-instances --instance-ids {own}",
                f"aws ec2 wait instance-terminated --instance-ids {own}",
            ]
        return self._made_by_hand(own) if action == "create" else self._changed_by_hand(own, changed)

    def _made_by_hand(self, own: str) -> list[str]:
        root, mapping = self._root_by_hand()
        command = aws(
            "run-instances",
            image_id=self.image,
            instance_type=self.instance_type,
            key_name=self.key_name,
            security_group_ids=self.security_groups,
            subnet_id=self.vpc_subnet_id,
            associate_public_ip_address=self.assign_public_ip is True,
            no_associate_public_ip_address=self.assign_public_ip is False,
            private_ip_address=self.private_ip_address,
            placement=_pairs(AvailabilityZone=self.availability_zone),
            user_data=self.user_data,
            iam_instance_profile=_pairs(**(profile_request(self.iam_instance_profile) or {})),
            ebs_optimized=self.ebs_optimized is True,
            credit_specification=_pairs(CpuCredits=self.cpu_credits),
            disable_api_termination=self.termination_protection is True,
            instance_initiated_shutdown_behavior=self.instance_initiated_shutdown_behavior,
            metadata_options=_pairs(**metadata_request(self.metadata_options)),
        )
        if self.market == "spot":
            command += f" --instance-market-options {json_word(self._market())}"
        query = " --query 'Instances[0].InstanceId' --output text"
        lines = [
            *root,
            assign(self._address, command + mapping + query),
            f"aws ec2 wait instance-running --instance-ids {own}",
        ]
        if self.source_dest_check is False:
            lines.append(f"aws ec2 modify-instance-attribute --instance-id {own} --no-source-dest-check")
        if self.running is False:
            lines += _stopped_by_hand(own)
        return [*lines, *self._told(own)]

    def _root_by_hand(self) -> tuple[list[str], str]:
        """The commands that find out what the root device is called, and the option with its settings."""
        settings = self._root_settings()
        if not settings:
            return [], ""
        asked = aws("describe-images", query="Images[0].RootDeviceName", image_ids=[self.image])
        device = filled(self, "root_device")
        mapping = json_word([{"DeviceName": device, "Ebs": settings}])
        return [assign(self._address, asked, "root_device")], f" --block-device-mappings {mapping}"

    def _told(self, own: str) -> list[str]:
        queries = {
            "instance_id": "InstanceId",
            "image_id": "ImageId",
            "subnet_id": "SubnetId",
            "vpc_id": "VpcId",
            "availability_zone": "Placement.AvailabilityZone",
            "network_interface_id": "NetworkInterfaces[0].NetworkInterfaceId",
            "private_ip": "PrivateIpAddress",
            "private_dns": "PrivateDnsName",
            "public_ip": "PublicIpAddress",
            "public_dns": "PublicDnsName",
            "state": "State.Name",
        }
        at = {name: f"Reservations[0].Instances[0].{query}" for name, query in queries.items()}
        return told(self, f"aws ec2 describe-instances --instance-ids {own}", at)

    def _changed_by_hand(self, own: str, changed: frozenset[str]) -> list[str]:
        lines = [*self._root_grown_by_hand(own)] if "volume_size" in changed else []
        lines += self._set_by_hand(own, changed)
        modify = f"aws ec2 modify-instance-attribute --instance-id {own}"
        if changed & _NEEDS_A_STOP or (not self.running and "running" in changed):
            lines += _stopped_by_hand(own)
        if "instance_type" in changed:
            lines.append(f"{modify} --instance-type {word(self.instance_type)}")
        if "ebs_optimized" in changed:
            lines.append(f"{modify} --{'' if self.ebs_optimized else 'no-'}ebs-optimized")
        if self.running and changed & (_NEEDS_A_STOP | {"running"}):
            lines.append(f"aws ec2 start-instances --instance-ids {own}")
            lines.append(f"aws ec2 wait instance-running --instance-ids {own}")
        return [*lines, *self._told(own)]

    def _root_grown_by_hand(self, own: str) -> list[str]:
        instance = f"aws ec2 describe-instances --instance-ids {own}"
        query = "Reservations[0].Instances[0].BlockDeviceMappings[0].Ebs.VolumeId"
        volume = variable(self._address, "root_volume")
        return [
            assign(self._address, f"{instance} --query '{query}' --output text", "root_volume"),
            f'aws ec2 modify-volume --volume-id "${volume}" --size {word(self.volume_size)}',
        ]

    def _set_by_hand(self, own: str, changed: frozenset[str]) -> list[str]:
        modify = f"aws ec2 modify-instance-attribute --instance-id {own}"
        behaviour = self.instance_initiated_shutdown_behavior or "stop"
        protect = "" if self.termination_protection else "no-"
        settings = {
            "security_groups": f"--groups {' '.join(word(group) for group in self.security_groups or [])}",
            "source_dest_check": f"--{'' if self.source_dest_check else 'no-'}source-dest-check",
            "termination_protection": f"--{protect}disable-api-termination",
            "instance_initiated_shutdown_behavior": f"--instance-initiated-shutdown-behavior {behaviour}",
        }
        lines = [f"{modify} {setting}" for name, setting in settings.items() if name in changed]
        if "metadata_options" in changed:
            options_given = options(**plain(self.metadata_options))
            lines.append(f"aws ec2 modify-instance-metadata-options --instance-id {own} {options_given}")
        if "cpu_credits" in changed and self.cpu_credits:
            specification = f"InstanceId={own},CpuCredits={word(self.cpu_credits)}"
            command = "aws ec2 modify-instance-credit-specification"
            lines.append(f"{command} --instance-credit-specification {specification}")
        if "iam_instance_profile" in changed:
            lines += self._profile_by_hand(own)
        return lines

    def _profile_by_hand(self, own: str) -> list[str]:
        profile = _pairs(**(profile_request(self.iam_instance_profile) or {}))
        held = self._beside.there.get("iam_instance_profile")
        links = f"aws ec2 describe-iam-instance-profile-associations --filters Name=instance-id,Values={own}"
        query = "--query 'IamInstanceProfileAssociations[0].AssociationId' --output text"
        link = f'"$({links} {query})"'
        if profile is None:
            return [f"aws ec2 disassociate-iam-instance-profile --association-id {link}"]
        given = f"--iam-instance-profile {word(profile)}"
        if held:
            return [f"aws ec2 replace-iam-instance-profile-association --association-id {link} {given}"]
        return [f"aws ec2 associate-iam-instance-profile --instance-id {own} {given}"]

    def price(self) -> float | None:
        """The on-demand price (for spot at most that, or `max_price`), the root volume, a public address."""
        if isinstance(self.instance_type, Unknown):
            return None
        size = self.volume_size if isinstance(self.volume_size, int) else 8
        disk = _prices.volume(self.volume_type or "gp3", size) or 0.0
        if self.running is False:
            return disk
        machine = _prices.instance(self.instance_type)
        if self.market == "spot" and isinstance(self.max_price, float):
            machine = self.max_price
        if machine is None:
            return None
        return machine + disk + (_prices.PUBLIC_IPV4 if self.assign_public_ip is True else 0.0)

    @classmethod
    def machine(cls, world: World, id: str, values: Values) -> Machine:
        """Its addresses; state and host keys are asked of EC2 when needed."""
        return Machine(
            public_address=values.get("public_ip"),
            private_address=values.get("private_ip"),
            not_ready=lambda: not_ready(world, id),
            host_keys=lambda: host_keys(world, id),
            explain=lambda: explain(world, id),
            shut_out=lambda: shut_out(world, id),
            examine=lambda approach: examine(world, id, approach),
        )


def _pairs(**given: Any) -> str | Unknown | None:
    """The shorthand of the AWS command line, `Name=value,Name=value`; None where nothing is given."""
    there = {name: value for name, value in given.items() if value is not None}
    text = ",".join(f"{name}={_template(value)}" for name, value in there.items())
    refs = frozenset(ref for value in unknowns(there) for ref in value.refs)
    return Unknown(refs, text) if refs else text or None


def _template(value: Any) -> Any:
    if not isinstance(value, Unknown):
        return value
    return value.text or "".join(f"{{{{ {ref} }}}}" for ref in sorted(value.refs)[:1])


def _stopped_by_hand(own: str) -> list[str]:
    return [
        f"aws ec2 stop-instances --instance-ids {own}",
        f"aws ec2 wait instance-stopped --instance-ids {own}",
    ]
