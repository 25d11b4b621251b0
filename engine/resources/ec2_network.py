"""The network of a lab: VPC, subnets, gateways, routes and addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import field_validator, model_validator

from engine.aws.errors import AwsError
from engine.aws.tags import tag_list, tag_specifications, tags_for, values_filter
from engine.by_hand import assign, aws, variable, word
from engine.errors import StepFailed
from engine.refs import Unknown, holds_unknown
from engine.resource import Fields, Fixed, Id, Output, Resource, Unread, Values, plain
from engine.resources import _prices
from engine.resources._ec2 import (
    ask,
    described,
    finish,
    found,
    interfaces,
    make,
    once_seen,
    quietly,
    remove,
    seconds,
)

if TYPE_CHECKING:
    from engine.world import World

_LIVE_NAT = ("pending", "available")


def _network(text: str, longest: int, shortest: int) -> str:
    """A checked IPv4 range. Raises ValueError with what to write instead."""
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError:
        try:
            right = ipaddress.IPv4Network(text, strict=False)
        except ValueError:
            raise ValueError(f"{text!r} is no address range: write one like 10.0.0.0/16") from None
        raise ValueError(f"{text} has bits set after the prefix: write {right}") from None
    if not longest <= network.prefixlen <= shortest:
        raise ValueError(f"AWS allows sizes from /{longest} to /{shortest} here, not /{network.prefixlen}")
    return str(network)


class Ec2VpcNet(Resource):
    """A VPC: a network of the lab's own, or the account's default one."""

    kind: ClassVar[str] = "ec2_vpc_net"
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
    dns_support: Unread[bool] = True
    dns_hostnames: Unread[bool] = True
    """Instances get public DNS names."""

    @field_validator("cidr_block")
    @classmethod
    def _range(cls, value: str | None) -> str | None:
        if isinstance(value, Unknown):
            return value
        return None if value is None else _network(value, 16, 28)

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
        # A new VPC has DNS support, and no host names.
        fresh = {"dns_support": True, "dns_hostnames": False}
        changed = frozenset(name for name, value in fresh.items() if getattr(self, name) != value)
        finish(world, id, lambda: self.update(world, id, changed))
        return id

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeVpcs. The DNS settings would take a request each."""
        result = {}
        for vpc in described(world, "describe_vpcs", "Vpcs", "vpc-id", ids):
            ipv6 = [
                block["Ipv6CidrBlock"]
                for block in vpc.get("Ipv6CidrBlockAssociationSet", ())
                if block.get("Ipv6CidrBlockState", {}).get("State") in {"associated", "associating"}
            ]
            result[vpc["VpcId"]] = {
                "id": vpc["VpcId"],
                "vpc_id": vpc["VpcId"],
                "cidr_block": vpc["CidrBlock"],
                "default": bool(vpc.get("IsDefault")),
                "is_default": bool(vpc.get("IsDefault")),
                "ipv6_cidr": bool(ipv6),
                "ipv6_cidr_block": ipv6[0] if ipv6 else None,
                "tenancy": vpc.get("InstanceTenancy", "default"),
            }
        return result

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """ModifyVpcAttribute, one setting a request; support comes before host names and goes after them."""
        settings = {"dns_support": "EnableDnsSupport", "dns_hostnames": "EnableDnsHostnames"}
        names = [name for name in settings if name in changed]
        for name in names if self.dns_support else reversed(names):
            value = {settings[name]: {"Value": getattr(self, name)}}
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
            return [f"aws ec2 delete-vpc --vpc-id {word(id)}"]
        own = word(id) if id else f'"${variable(self._address)}"'
        lines = []
        if action == "create":
            if self.default:
                return [assign(self._address, aws("create-default-vpc", query="Vpc.VpcId"))]
            command = aws("create-vpc", query="Vpc.VpcId", cidr_block=self.cidr_block)
            lines.append(assign(self._address, command))
            changed = frozenset({"dns_hostnames"} if self.dns_hostnames else ())
        if "dns_hostnames" in changed:
            setting = f"--enable-dns-hostnames Value={word(self.dns_hostnames)}"
            lines.append(f"aws ec2 modify-vpc-attribute --vpc-id {own} {setting}")
        return lines


class Ec2VpcSubnet(Resource):
    """A subnet: a range of a VPC's addresses in one availability zone."""

    kind: ClassVar[str] = "ec2_vpc_subnet"
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the subnet's id, subnet-…"),
        "subnet_id": Output("the same as id"),
        "az": Output("its availability zone"),
        "availability_zone": Output("the same as az"),
    }

    vpc_id: Fixed[Id]
    cidr: Fixed[str]
    """The IPv4 range within the VPC's, /16 to /28."""
    az: Fixed[str | None] = None
    """The availability zone; AWS chooses where left out."""
    map_public: bool = False
    """Instances get public addresses unless they say otherwise."""
    ipv6_cidr: Fixed[str | None] = None
    """A /64 of the VPC's IPv6 range."""
    assign_instances_ipv6: bool = False

    @field_validator("cidr")
    @classmethod
    def _range(cls, value: str) -> str:
        if isinstance(value, Unknown):
            return value
        return _network(value, 16, 28)

    def create(self, world: World) -> str:
        """CreateSubnet, and ModifySubnetAttribute where asked for."""
        params: dict[str, Any] = {"AvailabilityZone": self.az, "Ipv6CidrBlock": self.ipv6_cidr}
        answer = make(
            world,
            "create_subnet",
            VpcId=self.vpc_id,
            CidrBlock=self.cidr,
            TagSpecifications=tag_specifications(world, "subnet"),
            **{name: value for name, value in params.items() if value is not None},
        )
        id = str(answer["Subnet"]["SubnetId"])
        changed = frozenset(name for name in ("map_public", "assign_instances_ipv6") if getattr(self, name))
        finish(world, id, lambda: self.update(world, id, changed))
        return id

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeSubnets."""
        result = {}
        for subnet in described(world, "describe_subnets", "Subnets", "subnet-id", ids):
            ipv6 = [
                block["Ipv6CidrBlock"]
                for block in subnet.get("Ipv6CidrBlockAssociationSet", ())
                if block.get("Ipv6CidrBlockState", {}).get("State") in {"associated", "associating"}
            ]
            result[subnet["SubnetId"]] = {
                "id": subnet["SubnetId"],
                "subnet_id": subnet["SubnetId"],
                "vpc_id": subnet["VpcId"],
                "cidr": subnet["CidrBlock"],
                "az": subnet["AvailabilityZone"],
                "availability_zone": subnet["AvailabilityZone"],
                "map_public": bool(subnet.get("MapPublicIpOnLaunch")),
                "ipv6_cidr": ipv6[0] if ipv6 else None,
                "assign_instances_ipv6": bool(subnet.get("AssignIpv6AddressOnCreation")),
            }
        return result

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """ModifySubnetAttribute, one setting a request."""
        settings = {
            "map_public": "MapPublicIpOnLaunch",
            "assign_instances_ipv6": "AssignIpv6AddressOnCreation",
        }
        for name in [name for name in settings if name in changed]:
            value = {settings[name]: {"Value": getattr(self, name)}}
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
        own = word(id) if id else f'"${variable(self._address)}"'
        lines = []
        if action == "create":
            command = aws(
                "create-subnet",
                query="Subnet.SubnetId",
                vpc_id=self.vpc_id,
                cidr_block=self.cidr,
                availability_zone=self.az,
            )
            lines.append(assign(self._address, command))
            changed = frozenset({"map_public"} if self.map_public else ())
        if "map_public" in changed:
            flag = "--map-public-ip-on-launch" if self.map_public else "--no-map-public-ip-on-launch"
            lines.append(f"aws ec2 modify-subnet-attribute --subnet-id {own} {flag}")
        return lines


class Ec2VpcIgw(Resource):
    """An internet gateway: the way between a VPC and the internet."""

    kind: ClassVar[str] = "ec2_vpc_igw"
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the gateway's id, igw-…"),
        "gateway_id": Output("the same as id"),
    }

    vpc_id: Id
    """The VPC it is attached to."""

    def create(self, world: World) -> str:
        """CreateInternetGateway, then AttachInternetGateway."""
        answer = make(
            world, "create_internet_gateway", TagSpecifications=tag_specifications(world, "internet-gateway")
        )
        id = str(answer["InternetGateway"]["InternetGatewayId"])
        finish(world, id, lambda: self._attach(world, id))
        return id

    def _attach(self, world: World, id: str) -> None:
        try:
            once_seen(world, "attach_internet_gateway", InternetGatewayId=id, VpcId=self.vpc_id)
        except AwsError as error:
            # A first answer that was lost may have attached it.
            if error.code != "Resource.AlreadyAssociated" or self.vpc_id not in _attached(world, id):
                raise

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeInternetGateways."""
        gateways = described(
            world, "describe_internet_gateways", "InternetGateways", "internet-gateway-id", ids
        )
        result = {}
        for gateway in gateways:
            vpcs = [attachment["VpcId"] for attachment in gateway.get("Attachments", ())]
            id = gateway["InternetGatewayId"]
            result[id] = {"id": id, "gateway_id": id, "vpc_id": vpcs[0] if vpcs else None}
        return result

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """Detached from another VPC, attached to the one asked for."""
        for vpc in _attached(world, id):
            if vpc != self.vpc_id:
                remove(world, "detach_internet_gateway", InternetGatewayId=id, VpcId=vpc)
        self._attach(world, id)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DetachInternetGateway (refused while public addresses are in use), then DeleteInternetGateway."""
        for vpc in _attached(world, id):
            try:
                remove(world, "detach_internet_gateway", InternetGatewayId=id, VpcId=vpc)
            except AwsError as error:
                if error.code != "Gateway.NotAttached":
                    raise
        remove(world, "delete_internet_gateway", InternetGatewayId=id)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By the tags that CreateInternetGateway was sent with."""
        return found(world, "describe_internet_gateways", "InternetGateways", "InternetGatewayId")

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws ec2 create-internet-gateway`, `attach-internet-gateway`, `delete-internet-gateway`."""
        own = word(id) if id else f'"${variable(self._address)}"'
        if action == "delete":
            return [
                f"aws ec2 detach-internet-gateway --internet-gateway-id {own} --vpc-id VPC_ID",
                f"aws ec2 delete-internet-gateway --internet-gateway-id {own}",
            ]
        lines = []
        if action == "create":
            command = aws("create-internet-gateway", query="InternetGateway.InternetGatewayId")
            lines.append(assign(self._address, command))
        attach = f"aws ec2 attach-internet-gateway --internet-gateway-id {own} --vpc-id {word(self.vpc_id)}"
        return [*lines, attach]


def _attached(world: World, id: str) -> list[str]:
    gateways = described(world, "describe_internet_gateways", "InternetGateways", "internet-gateway-id", [id])
    return [str(attachment["VpcId"]) for gateway in gateways for attachment in gateway.get("Attachments", ())]


class Route(Fields):
    """Where a route table sends what goes to one range of addresses."""

    dest: str
    """An IPv4 or IPv6 range, or the id of a prefix list."""
    gateway_id: Id | None = None
    """An internet gateway, NAT gateway, instance or network interface."""
    instance_id: Id | None = None
    network_interface_id: Id | None = None
    vpc_peering_connection_id: Id | None = None

    @field_validator("dest")
    @classmethod
    def _range(cls, value: str) -> str:
        if isinstance(value, Unknown):
            return value
        if value.startswith("pl-"):
            return value
        try:
            return str(ipaddress.ip_network(value, strict=False))
        except ValueError:
            raise ValueError(f"{value!r} is no address range: write one like 0.0.0.0/0") from None

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if sum(getattr(self, name) is not None for name in _TARGETS) != 1:
            raise ValueError(f"a route needs one target: {', '.join(_TARGETS[:-1])} or {_TARGETS[-1]}")
        return self


_TARGETS = ("gateway_id", "instance_id", "network_interface_id", "vpc_peering_connection_id")
_BY_PREFIX = {
    "igw": "GatewayId",
    "vgw": "GatewayId",
    "eigw": "EgressOnlyInternetGatewayId",
    "nat": "NatGatewayId",
    "i": "InstanceId",
    "eni": "NetworkInterfaceId",
    "pcx": "VpcPeeringConnectionId",
    "tgw": "TransitGatewayId",
}
_SAID = ("NatGatewayId", "GatewayId", "InstanceId", "NetworkInterfaceId", "VpcPeeringConnectionId")
"""Where DescribeRouteTables tells a route's target; for an instance its interface is told as well."""


class Ec2VpcRouteTable(Resource):
    """A route table: where traffic of its subnets goes."""

    kind: ClassVar[str] = "ec2_vpc_route_table"
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the route table's id, rtb-…"),
        "route_table_id": Output("the same as id"),
    }

    vpc_id: Fixed[Id]
    routes: list[Route] | None = None
    """Besides AWS's own route within the VPC. Left out, routes are left alone."""
    subnets: list[Id] | None = None
    """The ids of the subnets that use it. Left out, they are left alone."""
    purge_routes: bool = True
    """Routes that others added are taken away."""
    purge_subnets: bool = True

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """The values asked for; a last entry `others: stay` where what others added is left alone."""
        values = super().wanted(also)
        for name in ("routes", "subnets"):
            if values.pop(f"purge_{name}", True) is False and values.get(name) is not None:
                values[name] = [*values[name], _OTHERS]
        return values

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Order does not matter; a route to an instance is one to its interface."""
        if name not in {"routes", "subnets"} or not isinstance(wanted, list) or holds_unknown(wanted):
            return super().differs(name, wanted, there)
        missing, extra = _delta(name, wanted, there or [])
        return bool(missing or (extra and _OTHERS not in wanted))

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """Which routes or subnets are missing or not in the playbook."""
        if name not in {"routes", "subnets"} or not isinstance(wanted, list) or holds_unknown(wanted):
            return None
        missing, extra = _delta(name, wanted, there or [])
        words = [f"{_spoken(item)} is missing" for item in missing]
        if _OTHERS not in wanted:
            words += [f"{_spoken(item)} is not in the playbook" for item in extra]
        return "; ".join(words) or None

    def create(self, world: World) -> str:
        """CreateRouteTable (with a token), then CreateRoute and AssociateRouteTable for each of its own."""
        token = {"ClientToken": world.job.token} if world.job.token else {}
        answer = make(
            world,
            "create_route_table",
            VpcId=self.vpc_id,
            TagSpecifications=tag_specifications(world, "route-table"),
            **token,
        )
        id = str(answer["RouteTable"]["RouteTableId"])
        finish(world, id, lambda: self._fill(world, id, plain(self.routes or []), plain(self.subnets or [])))
        return id

    @staticmethod
    def _fill(world: World, id: str, routes: list[dict[str, Any]], subnets: list[str]) -> None:
        for route in routes:
            _put_route(world, id, route)
        for subnet in subnets:
            _associate(world, id, subnet)

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeRouteTables. AWS's own routes (local, endpoints, propagated) are left out."""
        tables = described(world, "describe_route_tables", "RouteTables", "route-table-id", ids)
        return {
            table["RouteTableId"]: {
                "id": table["RouteTableId"],
                "route_table_id": table["RouteTableId"],
                "vpc_id": table["VpcId"],
                "routes": [_route(route) for route in table.get("Routes", ()) if _own(route)],
                "subnets": sorted(link["SubnetId"] for link in _links(table)),
            }
            for table in tables
        }

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """Routes are replaced in place (ReplaceRoute), added and deleted; subnets likewise."""
        (table,) = described(world, "describe_route_tables", "RouteTables", "route-table-id", [id]) or ({},)
        if "routes" in changed:
            self._mend_routes(world, id, [_route(route) for route in table.get("Routes", ()) if _own(route)])
        if "subnets" in changed:
            self._mend_subnets(world, id, {link["SubnetId"]: link for link in _links(table)})

    def _mend_routes(self, world: World, id: str, there: list[dict[str, Any]]) -> None:
        wanted = plain(self.routes or [])
        missing, extra = _delta("routes", wanted, there)
        taken = {route["dest"] for route in there}
        for route in missing:
            _put_route(world, id, route, replace=route["dest"] in taken)
        kept = {route["dest"] for route in wanted}
        for route in extra if self.purge_routes else []:
            if route["dest"] not in kept:
                quietly(world, "delete_route", RouteTableId=id, **_destination(route["dest"]))

    def _mend_subnets(self, world: World, id: str, there: Mapping[str, Mapping[str, Any]]) -> None:
        wanted = list(self.subnets or [])
        for subnet in wanted:
            if subnet not in there:
                _associate(world, id, subnet)
        for subnet, link in there.items():
            if subnet not in wanted and self.purge_subnets:
                association = link["RouteTableAssociationId"]
                quietly(world, "disassociate_route_table", AssociationId=association)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DisassociateRouteTable for each subnet (they fall back to the main table), DeleteRouteTable."""
        for table in described(world, "describe_route_tables", "RouteTables", "route-table-id", [id]):
            for link in _links(table):
                association = link["RouteTableAssociationId"]
                quietly(world, "disassociate_route_table", AssociationId=association)
            remove(world, "delete_route_table", RouteTableId=id)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By the tags that CreateRouteTable was sent with."""
        return found(world, "describe_route_tables", "RouteTables", "RouteTableId")

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws ec2 create-route-table`, `create-route`, `associate-route-table`."""
        own = word(id) if id else f'"${variable(self._address)}"'
        if action == "delete":
            return [f"aws ec2 delete-route-table --route-table-id {own}"]
        lines = []
        if action == "create":
            command = aws("create-route-table", query="RouteTable.RouteTableId", vpc_id=self.vpc_id)
            lines.append(assign(self._address, command))
        # A route that is there already is replaced.
        verb = "create-route" if action == "create" else "replace-route"
        if action == "create" or "routes" in changed:
            lines += [
                f"aws ec2 {verb} --route-table-id {own} {_by_hand(r)}" for r in plain(self.routes or [])
            ]
        if action == "create" or "subnets" in changed:
            associate = f"aws ec2 associate-route-table --route-table-id {own} --subnet-id"
            lines += [f"{associate} {word(subnet)}" for subnet in self.subnets or []]
        return lines


_OTHERS: dict[str, str] = {"others": "stay"}


def _own(route: Mapping[str, Any]) -> bool:
    """Whether a route was put there by somebody, and is not AWS's own."""
    gateway = str(route.get("GatewayId", ""))
    return (
        route.get("Origin", "CreateRoute") == "CreateRoute"
        and gateway != "local"
        and not gateway.startswith("vpce-")
    )


def _route(route: Mapping[str, Any]) -> dict[str, Any]:
    dest = (
        route.get("DestinationCidrBlock")
        or route.get("DestinationIpv6CidrBlock")
        or route.get("DestinationPrefixListId")
    )
    # An instance's interface is said too, because a playbook may name either.
    targets = [str(route[name]) for name in _SAID if route.get(name)]
    values: dict[str, Any] = {"dest": dest, "gateway_id": targets[0] if targets else None}
    if len(targets) > 1:
        values["network_interface_id"] = targets[1]
    return values


def _target(route: Mapping[str, Any]) -> Any:
    return next((route[name] for name in _TARGETS if route.get(name) is not None), None)


def _delta(name: str, wanted: list[Any], there: list[Any]) -> tuple[list[Any], list[Any]]:
    """What of `wanted` is not there, and what is there besides."""
    wanted = [item for item in wanted if item != _OTHERS]
    if name == "subnets":
        return [item for item in wanted if item not in there], [item for item in there if item not in wanted]
    held = {(route["dest"], route[name]): route for route in there for name in _TARGETS if route.get(name)}
    missing = [route for route in wanted if (route["dest"], _target(route)) not in held]
    met = {id(held[route["dest"], _target(route)]) for route in wanted if route not in missing}
    return missing, [route for route in there if id(route) not in met]


def _spoken(item: Any) -> str:
    return f"{item['dest']} through {_target(item)}" if isinstance(item, dict) else str(item)


def _destination(dest: str) -> dict[str, str]:
    if dest.startswith("pl-"):
        return {"DestinationPrefixListId": dest}
    return {"DestinationIpv6CidrBlock" if ":" in dest else "DestinationCidrBlock": dest}


def _put_route(world: World, id: str, route: Mapping[str, Any], *, replace: bool = False) -> None:
    target = str(_target(route))
    key = _BY_PREFIX.get(target.partition("-")[0])
    if key is None:
        raise StepFailed(
            f"{target!r} cannot be the target of a route",
            "use the id of an internet gateway (igw-), NAT gateway (nat-), instance (i-) or interface (eni-)",
        )
    params = {"RouteTableId": id, **_destination(route["dest"]), key: target}
    operation = "replace_route" if replace else "create_route"
    once_seen(world, operation, **params)


def _associate(world: World, id: str, subnet: str) -> None:
    # Sent twice it gives the association that is there.
    once_seen(world, "associate_route_table", RouteTableId=id, SubnetId=subnet)


def _links(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The associations of a table with subnets; not its being a VPC's main one."""
    return [
        link
        for link in table.get("Associations", ())
        if link.get("SubnetId")
        and link.get("AssociationState", {}).get("State", "associated") in {"associated", "associating"}
    ]


def _by_hand(route: Mapping[str, Any]) -> str:
    target = _target(route)
    text = target.text or "" if isinstance(target, Unknown) else str(target)
    guess = {
        "network_interface_id": "--network-interface-id",
        "nat": "--nat-gateway-id",
        "i-": "--instance-id",
    }
    flag = next((flag for part, flag in guess.items() if part in text), "--gateway-id")
    return f"--destination-cidr-block {word(route['dest'])} {flag} {word(target)}"


class Ec2VpcNatGateway(Resource):
    """A NAT gateway: the way out to the internet for subnets without public addresses."""

    kind: ClassVar[str] = "ec2_vpc_nat_gateway"
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the gateway's id, nat-…"),
        "nat_gateway_id": Output("the same as id"),
        "public_ip": Output("the address that what goes out comes from"),
        "private_ip": Output("its address in the subnet"),
        "network_interface_id": Output("its network interface"),
    }

    subnet_id: Fixed[Id]
    """The public subnet it stands in."""
    allocation_id: Fixed[Id | None] = None
    """The Elastic IP it uses, as `ec2_eip` gives it."""
    connectivity_type: Fixed[Literal["public", "private"]] = "public"

    @model_validator(mode="after")
    def _has_address(self) -> Self:
        if self.connectivity_type == "public" and self.allocation_id is None:
            raise ValueError('a NAT gateway needs an address: allocation_id: "{{ eip.id }}" of an ec2_eip')
        if self.connectivity_type == "private" and self.allocation_id is not None:
            raise ValueError("a private NAT gateway takes no allocation_id")
        return self

    def create(self, world: World) -> str:
        """CreateNatGateway; returns once it is available."""
        params: dict[str, Any] = {"AllocationId": self.allocation_id, "ClientToken": world.job.token}
        answer = make(
            world,
            "create_nat_gateway",
            SubnetId=self.subnet_id,
            ConnectivityType=self.connectivity_type,
            TagSpecifications=tag_specifications(world, "natgateway"),
            **{name: value for name, value in params.items() if value},
        )
        id = str(answer["NatGateway"]["NatGatewayId"])
        finish(world, id, lambda: self._wait(world, id))
        return id

    @staticmethod
    def _wait(world: World, id: str) -> None:
        def ready() -> bool | None:
            for gateway in described(world, "describe_nat_gateways", "NatGateways", "nat-gateway-id", [id]):
                if gateway["State"] == "available":
                    return True
                if gateway["State"] in {"failed", "deleting", "deleted"}:
                    said = gateway.get("FailureMessage") or f"it is {gateway['State']}"
                    raise StepFailed(
                        f"the NAT gateway could not be made: {said}",
                        "its subnet must be in a VPC with an internet gateway, and its address free",
                    )
            return None

        world.aws.poll(
            ready,
            what=f"NAT gateway {id} to become available",
            timeout=seconds(world, 600),
            say=world.job.say,
        )

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeNatGateways; failed and deleted ones are gone."""
        result = {}
        for gateway in described(world, "describe_nat_gateways", "NatGateways", "nat-gateway-id", ids):
            if gateway["State"] in _LIVE_NAT:
                addresses = gateway.get("NatGatewayAddresses") or [{}]
                result[gateway["NatGatewayId"]] = {
                    "id": gateway["NatGatewayId"],
                    "nat_gateway_id": gateway["NatGatewayId"],
                    "subnet_id": gateway["SubnetId"],
                    "allocation_id": addresses[0].get("AllocationId"),
                    "connectivity_type": gateway.get("ConnectivityType", "public"),
                    "public_ip": addresses[0].get("PublicIp"),
                    "private_ip": addresses[0].get("PrivateIp"),
                    "network_interface_id": addresses[0].get("NetworkInterfaceId"),
                }
        return result

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """Nothing of a NAT gateway changes in place; waits where a create was cut short."""
        self._wait(world, id)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteNatGateway; waits until it is deleted, because only then its address and subnet are free."""
        quietly(world, "delete_nat_gateway", NatGatewayId=id)

        def gone() -> bool | None:
            gateways = described(world, "describe_nat_gateways", "NatGateways", "nat-gateway-id", [id])
            return True if all(gateway["State"] in {"deleted", "failed"} for gateway in gateways) else None

        what = f"NAT gateway {id} to be deleted"
        world.aws.poll(gone, what=what, timeout=seconds(world, 600), say=world.job.say)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By the tags that CreateNatGateway was sent with, while it lives."""
        live = {"Name": "state", "Values": list(_LIVE_NAT)}
        return found(world, "describe_nat_gateways", "NatGateways", "NatGatewayId", live)

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws ec2 create-nat-gateway` and its waiter."""
        own = word(id) if id else f'"${variable(self._address)}"'
        if action == "delete":
            return [
                f"aws ec2 delete-nat-gateway --nat-gateway-id {own}",
                f"aws ec2 wait nat-gateway-deleted --nat-gateway-ids {own}",
            ]
        command = aws(
            "create-nat-gateway",
            query="NatGateway.NatGatewayId",
            subnet_id=self.subnet_id,
            allocation_id=self.allocation_id,
        )
        wait = f"aws ec2 wait nat-gateway-available --nat-gateway-ids {own}"
        return [assign(self._address, command), wait]

    def price(self) -> float | None:
        """Per hour, besides what is paid per GB."""
        return _prices.NAT_GATEWAY


class Ec2Eip(Resource):
    """An Elastic IP: a public address that stays the same."""

    kind: ClassVar[str] = "ec2_eip"
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the allocation's id, eipalloc-…"),
        "allocation_id": Output("the same as id"),
        "public_ip": Output("the address"),
        "association_id": Output("the association with the instance, if there is one"),
    }

    device_id: Id | None = None
    """The instance that has it. Left out, the association is left alone (it may be a NAT gateway's)."""

    @field_validator("device_id")
    @classmethod
    def _instance(cls, value: str | None) -> str | None:
        if isinstance(value, Unknown):
            return value
        if value is not None and not value.startswith("i-"):
            raise ValueError(f'{value!r} is no instance: write device_id: "{{{{ bastion.id }}}}"')
        return value

    def create(self, world: World) -> str:
        """AllocateAddress, then AssociateAddress where there is an instance."""
        answer = make(
            world,
            "allocate_address",
            Domain="vpc",
            TagSpecifications=tag_specifications(world, "elastic-ip"),
        )
        id = str(answer["AllocationId"])
        if self.device_id is not None:
            finish(world, id, lambda: self._associate(world, id))
        return id

    def _associate(self, world: World, id: str) -> None:
        # Moves the address where it is associated elsewhere; sent twice it does no harm.
        once_seen(world, "associate_address", AllocationId=id, InstanceId=self.device_id)

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeAddresses."""
        result = {}
        for address in described(world, "describe_addresses", "Addresses", "allocation-id", ids):
            result[address["AllocationId"]] = {
                "id": address["AllocationId"],
                "allocation_id": address["AllocationId"],
                "public_ip": address["PublicIp"],
                "device_id": address.get("InstanceId") or None,
                "association_id": address.get("AssociationId"),
            }
        return result

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """AssociateAddress or DisassociateAddress."""
        if self.device_id is not None:
            self._associate(world, id)
        else:
            _set_free(world, id)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DisassociateAddress where it is in use by an instance, then ReleaseAddress."""
        _set_free(world, id)
        remove(world, "release_address", AllocationId=id)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By the tags that AllocateAddress was sent with."""
        return found(world, "describe_addresses", "Addresses", "AllocationId")

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws ec2 allocate-address`, `associate-address`, `release-address`."""
        own = word(id) if id else f'"${variable(self._address)}"'
        if action == "delete":
            return [f"aws ec2 release-address --allocation-id {own}"]
        lines = []
        if action == "create":
            command = aws("allocate-address", query="AllocationId", domain="vpc")
            lines.append(assign(self._address, command))
        if self.device_id is not None:
            given = word(self.device_id)
            lines.append(f"aws ec2 associate-address --allocation-id {own} --instance-id {given}")
        return lines

    def price(self) -> float | None:
        """Every public address is billed, in use or not."""
        return _prices.PUBLIC_IPV4


def _set_free(world: World, id: str) -> None:
    for address in described(world, "describe_addresses", "Addresses", "allocation-id", [id]):
        if address.get("AssociationId") and address.get("InstanceId"):
            quietly(world, "disassociate_address", AssociationId=address["AssociationId"])
