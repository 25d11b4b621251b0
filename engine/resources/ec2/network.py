"""The network of a lab: VPC and subnets."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import field_validator, model_validator

from engine.aws.tags import seen_tags, tag_list, tag_specifications, tags_for, values_filter
from engine.by_hand import assign, aws, itself, told, word
from engine.refs import Unknown
from engine.resource import Fixed, Id, Output, Unread, Values
from engine.resources.aws._aws import finish, iam_actions
from engine.resources.ec2._ec2 import InEc2, ask, described, found, interfaces, make, once_seen, remove

if TYPE_CHECKING:
    from engine.world import World


def _network(text: str) -> str:
    """A checked IPv4 range of a VPC or subnet. Raises ValueError with what to write instead."""
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError:
        try:
            right = ipaddress.IPv4Network(text, strict=False)
        except ValueError:
            raise ValueError(f"{text!r} is no address range: write one like 10.0.0.0/16") from None
        raise ValueError(f"{text} has bits set after the prefix: write {right}") from None
    if not 16 <= network.prefixlen <= 28:
        raise ValueError(f"AWS allows sizes from /16 to /28 here, not /{network.prefixlen}")
    return str(network)


def _ipv6_range(thing: Mapping[str, Any]) -> str | None:
    """The first IPv6 range of a VPC or subnet, as EC2 tells of it."""
    for block in thing.get("Ipv6CidrBlockAssociationSet", ()):
        if block.get("Ipv6CidrBlockState", {}).get("State") in {"associated", "associating"}:
            return str(block["Ipv6CidrBlock"])
    return None


_DNS = {"dns_support": "EnableDnsSupport", "dns_hostnames": "EnableDnsHostnames"}
"""A VPC's settings of DNS, and ModifyVpcAttribute's names for them."""


class Ec2VpcNet(InEc2):
    """A VPC: a network of the lab's own, or the account's default one."""

    kind: ClassVar[str] = "ec2_vpc_net"
    actions: ClassVar[Sequence[str]] = iam_actions(
        "ec2",
        """
        CreateDefaultVpc CreateTags CreateVpc DeleteInternetGateway DeleteSubnet DeleteTags DeleteVpc
        DescribeInternetGateways DescribeNetworkInterfaces DescribeSubnets DescribeVpcs
        DetachInternetGateway ModifyVpcAttribute
        """,
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the VPC's id, vpc-…"),
        "vpc_id": Output("the same as id"),
        "cidr_block": Output("its IPv4 range"),
        "ipv6_cidr_block": Output("its IPv6 range, if it has one"),
        "is_default": Output("whether it is the account's default VPC"),
    }

    cidr_block: Fixed[str | None] = None
    """The IPv4 range, /16 to /28."""
    default: Fixed[bool] = False
    """The account's default VPC: used as it is where there is one, else made (subnets, gateway and all)."""
    ipv6_cidr: Fixed[bool] = False
    """AWS gives it a range of IPv6 addresses."""
    tenancy: Fixed[Literal["default", "dedicated"]] = "default"
    """`dedicated`: instances stand on hardware of their own, at a price."""
    dns_support: Unread[bool] = True
    """Instances can resolve names by Amazon's resolver."""
    dns_hostnames: Unread[bool] = True
    """Instances get public DNS names."""

    @field_validator("cidr_block")
    @classmethod
    def _range(cls, value: str | None) -> str | None:
        return None if value is None else _network(value)

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if isinstance(self.default, Unknown) or isinstance(self.cidr_block, Unknown):
            return self
        if self.default == (self.cidr_block is not None):
            raise ValueError("write either cidr_block (a VPC of the lab's own) or default: true")
        if self.dns_hostnames is True and self.dns_support is False:
            raise ValueError("dns_hostnames needs dns_support")
        return self

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """The values asked for; of the default VPC nothing else is asked than that it is the default one."""
        values = super().wanted(also)
        return {"default": True} if values.get("default") is True else values

    def adopts(self, world: World) -> str | None:
        """The default VPC that is there (DescribeVpcs)."""
        if not self.default:
            return None
        vpcs = world.aws.pages("ec2", "describe_vpcs", "Vpcs", Filters=values_filter("is-default", ["true"]))
        return str(vpcs[0]["VpcId"]) if vpcs else None

    def create(self, world: World) -> str:
        """CreateVpc or CreateDefaultVpc (which takes no tags, so they follow)."""
        if self.default:
            id = str(make(world, "create_default_vpc")["Vpc"]["VpcId"])
            tags = tag_list(tags_for(world))
            finish(world, id, lambda: ask(world, "create_tags", Resources=[id], Tags=tags))
            return id
        answer = make(
            world,
            "create_vpc",
            CidrBlock=self.cidr_block,
            InstanceTenancy=self.tenancy,
            AmazonProvidedIpv6CidrBlock=self.ipv6_cidr,
            TagSpecifications=tag_specifications(world, "vpc"),
        )
        id = str(answer["Vpc"]["VpcId"])
        finish(world, id, lambda: self.update(world, id, self._unlike_new()))
        return id

    def _unlike_new(self) -> frozenset[str]:
        """The settings that a new VPC, which has DNS support and no host names, has otherwise."""
        fresh = {"dns_support": True, "dns_hostnames": False}
        return frozenset(name for name, value in fresh.items() if getattr(self, name) != value)

    def _in_turn(self, changed: frozenset[str]) -> list[str]:
        """The DNS settings among `changed`: support comes before host names, and goes after them."""
        names = [name for name in _DNS if name in changed]
        return names if self.dns_support else names[::-1]

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeVpcs. The DNS settings would take a request each."""
        result = {}
        for vpc in described(world, "describe_vpcs", "Vpcs", "vpc-id", ids):
            ipv6 = _ipv6_range(vpc)
            result[vpc["VpcId"]] = {
                "id": vpc["VpcId"],
                "vpc_id": vpc["VpcId"],
                "cidr_block": vpc["CidrBlock"],
                "default": bool(vpc.get("IsDefault")),
                "is_default": bool(vpc.get("IsDefault")),
                "ipv6_cidr": ipv6 is not None,
                "ipv6_cidr_block": ipv6,
                "tenancy": vpc.get("InstanceTenancy", "default"),
                "tags": seen_tags(vpc),
            }
        return result

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """ModifyVpcAttribute, one setting a request."""
        for name in self._in_turn(changed):
            value = {_DNS[name]: {"Value": getattr(self, name)}}
            once_seen(world, "modify_vpc_attribute", VpcId=id, **value)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteVpc; a default VPC that labctl made goes with the subnets and gateway AWS put into it."""
        vpcs = described(world, "describe_vpcs", "Vpcs", "vpc-id", [id])
        if not vpcs:
            return
        if vpcs[0].get("IsDefault"):
            cls._empty_default(world, id)
        remove(world, "delete_vpc", VpcId=id, holders=lambda: interfaces(world, "vpc-id", id))

    @staticmethod
    def _empty_default(world: World, id: str) -> None:
        inside = values_filter("vpc-id", [id])
        for subnet in world.aws.pages("ec2", "describe_subnets", "Subnets", Filters=inside):
            if subnet.get("DefaultForAz"):
                remove(world, "delete_subnet", SubnetId=subnet["SubnetId"])
        attached = values_filter("attachment.vpc-id", [id])
        for gateway in world.aws.pages(
            "ec2", "describe_internet_gateways", "InternetGateways", Filters=attached
        ):
            gateway_id = gateway["InternetGatewayId"]
            remove(world, "detach_internet_gateway", InternetGatewayId=gateway_id, VpcId=id)
            remove(world, "delete_internet_gateway", InternetGatewayId=gateway_id)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By the tags that CreateVpc was sent with."""
        return found(world, "describe_vpcs", "Vpcs", "VpcId")

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws ec2 create-vpc` or `create-default-vpc`."""
        if action == "delete":
            inside = self._emptied_by_hand(word(id)) if self._beside.there.get("is_default") else []
            return [*inside, f"aws ec2 delete-vpc --vpc-id {word(id)}"]
        own = word(itself(self, id))
        lines = []
        if action == "create":
            if self.default:
                command = aws("create-default-vpc", query="Vpc.VpcId")
                return [assign(self._address, command), *self._told(own)]
            command = aws(
                "create-vpc",
                query="Vpc.VpcId",
                cidr_block=self.cidr_block,
                instance_tenancy=None if self.tenancy == "default" else self.tenancy,
                amazon_provided_ipv6_cidr_block=self.ipv6_cidr is True,
            )
            lines.append(assign(self._address, command))
            changed = self._unlike_new()
        for name in self._in_turn(changed):
            setting = f"--enable-{name.replace('_', '-')} Value={word(getattr(self, name))}"
            lines.append(f"aws ec2 modify-vpc-attribute --vpc-id {own} {setting}")
        return [*lines, *self._told(own)]

    def _told(self, own: str) -> list[str]:
        queries = {
            "vpc_id": "VpcId",
            "cidr_block": "CidrBlock",
            "ipv6_cidr_block": "Ipv6CidrBlockAssociationSet[0].Ipv6CidrBlock",
        }
        asked = f"aws ec2 describe-vpcs --vpc-ids {own}"
        return told(self, asked, {name: f"Vpcs[0].{query}" for name, query in queries.items()})

    def _emptied_by_hand(self, id: str) -> list[str]:
        """What AWS put into a default VPC goes before it."""
        subnets = (
            f"aws ec2 describe-subnets --filters Name=vpc-id,Values={id} Name=default-for-az,Values=true"
        )
        gateways = f"aws ec2 describe-internet-gateways --filters Name=attachment.vpc-id,Values={id}"
        ids = "--query 'Subnets[].SubnetId' --output text"
        gateway = f'GATEWAY=$({gateways} --query "InternetGateways[0].InternetGatewayId" --output text)'
        return [
            f'for subnet in $({subnets} {ids}); do aws ec2 delete-subnet --subnet-id "$subnet"; done',
            gateway,
            f'aws ec2 detach-internet-gateway --internet-gateway-id "$GATEWAY" --vpc-id {id}',
            'aws ec2 delete-internet-gateway --internet-gateway-id "$GATEWAY"',
        ]


class Ec2VpcSubnet(InEc2):
    """A subnet: a range of a VPC's addresses in one availability zone."""

    kind: ClassVar[str] = "ec2_vpc_subnet"
    actions: ClassVar[Sequence[str]] = iam_actions(
        "ec2",
        """
        CreateSubnet CreateTags DeleteSubnet DeleteTags DescribeNetworkInterfaces DescribeSubnets
        ModifySubnetAttribute
        """,
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the subnet's id, subnet-…"),
        "subnet_id": Output("the same as id"),
        "az": Output("its availability zone"),
        "availability_zone": Output("the same as az"),
    }

    vpc_id: Fixed[Id]
    """The VPC it is part of."""
    cidr: Fixed[str]
    """The IPv4 range within the VPC's, /16 to /28."""
    az: Fixed[str | None] = None
    """The availability zone; AWS chooses where left out."""
    map_public: bool = False
    """Instances get public addresses unless they say otherwise."""
    ipv6_cidr: Fixed[str | None] = None
    """A /64 of the VPC's IPv6 range."""
    assign_instances_ipv6: bool = False
    """Instances get IPv6 addresses."""

    @field_validator("cidr")
    @classmethod
    def _range(cls, value: str) -> str:
        return _network(value)

    def create(self, world: World) -> str:
        """CreateSubnet, and ModifySubnetAttribute where asked for."""
        answer = make(
            world,
            "create_subnet",
            VpcId=self.vpc_id,
            CidrBlock=self.cidr,
            Ipv6CidrBlock=self.ipv6_cidr,
            AvailabilityZone=self.az,
            TagSpecifications=tag_specifications(world, "subnet"),
        )
        id = str(answer["Subnet"]["SubnetId"])
        changed = frozenset(name for name in _SWITCHES if getattr(self, name))
        finish(world, id, lambda: self.update(world, id, changed))
        return id

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeSubnets."""
        result = {}
        for subnet in described(world, "describe_subnets", "Subnets", "subnet-id", ids):
            result[subnet["SubnetId"]] = {
                "id": subnet["SubnetId"],
                "subnet_id": subnet["SubnetId"],
                "vpc_id": subnet["VpcId"],
                "cidr": subnet["CidrBlock"],
                "az": subnet["AvailabilityZone"],
                "availability_zone": subnet["AvailabilityZone"],
                "map_public": bool(subnet.get("MapPublicIpOnLaunch")),
                "ipv6_cidr": _ipv6_range(subnet),
                "assign_instances_ipv6": bool(subnet.get("AssignIpv6AddressOnCreation")),
                "tags": seen_tags(subnet),
            }
        return result

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """ModifySubnetAttribute, one setting a request."""
        for name, (key, _) in _SWITCHES.items():
            if name in changed:
                value = {key: {"Value": getattr(self, name)}}
                once_seen(world, "modify_subnet_attribute", SubnetId=id, **value)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteSubnet; waits while interfaces of things that are going are still in it."""
        remove(world, "delete_subnet", SubnetId=id, holders=lambda: interfaces(world, "subnet-id", id))

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By the tags that CreateSubnet was sent with."""
        return found(world, "describe_subnets", "Subnets", "SubnetId")

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws ec2 create-subnet`, `modify-subnet-attribute`, `delete-subnet`."""
        if action == "delete":
            return [f"aws ec2 delete-subnet --subnet-id {word(id)}"]
        own = word(itself(self, id))
        lines = []
        if action == "create":
            command = aws(
                "create-subnet",
                query="Subnet.SubnetId",
                vpc_id=self.vpc_id,
                cidr_block=self.cidr,
                ipv6_cidr_block=self.ipv6_cidr,
                availability_zone=self.az,
            )
            lines.append(assign(self._address, command))
            changed = frozenset(name for name in _SWITCHES if getattr(self, name))
        for name, (_, flag) in _SWITCHES.items():
            if name in changed:
                asked = f"--{flag}" if getattr(self, name) else f"--no-{flag}"
                lines.append(f"aws ec2 modify-subnet-attribute --subnet-id {own} {asked}")
        queries = {"subnet_id": "SubnetId", "az": "AvailabilityZone", "availability_zone": "AvailabilityZone"}
        asked = f"aws ec2 describe-subnets --subnet-ids {own}"
        return [*lines, *told(self, asked, {name: f"Subnets[0].{query}" for name, query in queries.items()})]


_SWITCHES = {
    "map_public": ("MapPublicIpOnLaunch", "map-public-ip-on-launch"),
    "assign_instances_ipv6": ("AssignIpv6AddressOnCreation", "assign-ipv6-address-on-creation"),
}
"""What ModifySubnetAttribute changes, and how the AWS command line calls it; both are off in a new subnet."""
