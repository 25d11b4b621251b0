"""Where traffic goes: route tables."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import field_validator, model_validator

from engine.aws.tags import seen_tags, tag_specifications
from engine.by_hand import assign, aws, itself, reference, told, word
from engine.errors import StepFailed
from engine.refs import Unknown, holds_unknown
from engine.resource import Fields, Fixed, Id, Output, Values, plain
from engine.resources.aws._aws import finish, iam_actions
from engine.resources.ec2._ec2 import InEc2, described, found, make, once_seen, quietly, remove

if TYPE_CHECKING:
    from engine.world import World


class Route(Fields):
    """Where a route table sends what goes to one range of addresses."""

    dest: str
    """An IPv4 or IPv6 range, or the id of a prefix list."""
    gateway_id: Id | None = None
    """An internet gateway, NAT gateway, instance or network interface."""
    instance_id: Id | None = None
    """The same for an instance."""
    network_interface_id: Id | None = None
    """The same for a network interface."""
    vpc_peering_connection_id: Id | None = None
    """A peering connection to another VPC."""

    @field_validator("dest")
    @classmethod
    def _range(cls, value: str) -> str:
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


class Ec2VpcRouteTable(InEc2):
    """A route table: where traffic of its subnets goes."""

    kind: ClassVar[str] = "ec2_vpc_route_table"
    actions: ClassVar[Sequence[str]] = iam_actions(
        "ec2",
        """
        AssociateRouteTable CreateRoute CreateRouteTable CreateTags DeleteRoute DeleteRouteTable
        DeleteTags DescribeRouteTables DisassociateRouteTable ReplaceRoute
        """,
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the route table's id, rtb-…"),
        "route_table_id": Output("the same as id"),
    }

    vpc_id: Fixed[Id]
    """The VPC it is part of."""
    routes: list[Route] | None = None
    """Besides AWS's own route within the VPC. Left out, routes are left alone."""
    subnets: list[Id] | None = None
    """The ids of the subnets that use it. Left out, they are left alone."""
    purge_routes: bool = True
    """Routes that others added are taken away."""
    purge_subnets: bool = True
    """Subnets that others added are taken away."""

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
        answer = make(
            world,
            "create_route_table",
            VpcId=self.vpc_id,
            ClientToken=world.job.token or None,
            TagSpecifications=tag_specifications(world, "route-table"),
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
                "tags": seen_tags(table),
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
        """`aws ec2 create-route-table`, and a command for each route and subnet that is missing or extra."""
        own = word(itself(self, id))
        if action == "delete":
            subnets = self._beside.there.get("subnets") or []
            return [*_parted_by_hand(own, subnets), f"aws ec2 delete-route-table --route-table-id {own}"]
        lines = []
        if action == "create":
            command = aws("create-route-table", query="RouteTable.RouteTableId", vpc_id=self.vpc_id)
            lines.append(assign(self._address, command))
        if action == "create" or "routes" in changed:
            lines += self._routes_by_hand(own)
        if action == "create" or "subnets" in changed:
            lines += self._subnets_by_hand(own)
        asked = f"aws ec2 describe-route-tables --route-table-ids {own}"
        return [*lines, *told(self, asked, {"route_table_id": "RouteTables[0].RouteTableId"})]

    def _routes_by_hand(self, own: str) -> list[str]:
        there = self._beside.there.get("routes") or []
        wanted = plain(self.routes or [])
        missing, extra = _delta("routes", wanted, there)
        taken, kept = {route["dest"] for route in there}, {route["dest"] for route in wanted}
        lines = []
        for route in missing:
            verb = "replace-route" if route["dest"] in taken else "create-route"
            dest, target = _dest_by_hand(route), _target_by_hand(_target(route), self._beside.kinds)
            lines.append(f"aws ec2 {verb} --route-table-id {own} {dest} {target}")
        gone = [route for route in extra if route["dest"] not in kept and self.purge_routes]
        delete = f"aws ec2 delete-route --route-table-id {own}"
        return [*lines, *(f"{delete} {_dest_by_hand(route)}" for route in gone)]

    def _subnets_by_hand(self, own: str) -> list[str]:
        missing, extra = _delta("subnets", list(self.subnets or []), self._beside.there.get("subnets") or [])
        associate = f"aws ec2 associate-route-table --route-table-id {own} --subnet-id"
        lines = [f"{associate} {word(subnet)}" for subnet in missing]
        return [*lines, *_parted_by_hand(own, extra if self.purge_subnets else [])]


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


def _dest_by_hand(route: Mapping[str, Any]) -> str:
    dest = route["dest"]
    if isinstance(dest, str) and dest.startswith("pl-"):
        return f"--destination-prefix-list-id {word(dest)}"
    sort = "ipv6-cidr" if isinstance(dest, str) and ":" in dest else "cidr"
    return f"--destination-{sort}-block {word(dest)}"


def _target_by_hand(target: Any, kinds: Mapping[str, str]) -> str:
    """The option that names a route's target: by an id's prefix, or by the kind of what is not made yet."""
    if not isinstance(target, Unknown):
        return f"{_FLAGS.get(str(target).partition('-')[0], '--gateway-id')} {word(target)}"
    ref = reference(target)
    if ref is not None and ref.output == "network_interface_id":
        return f"{_FLAGS['eni']} {word(target)}"
    flags = {"ec2_vpc_nat_gateway": _FLAGS["nat"], "ec2_instance": _FLAGS["i"]}
    return (
        f"{flags.get(kinds.get(ref.address, ''), '--gateway-id') if ref else '--gateway-id'} {word(target)}"
    )


_FLAGS = {
    "eigw": "--egress-only-internet-gateway-id",
    "nat": "--nat-gateway-id",
    "i": "--instance-id",
    "eni": "--network-interface-id",
    "pcx": "--vpc-peering-connection-id",
    "tgw": "--transit-gateway-id",
}


def _parted_by_hand(own: str, subnets: Sequence[str]) -> list[str]:
    """An association has an id of its own, which only the table tells."""
    lines = []
    for subnet in subnets:
        query = f"RouteTables[0].Associations[?SubnetId==`{subnet}`].RouteTableAssociationId"
        asked = f"aws ec2 describe-route-tables --route-table-ids {own} --query '{query}' --output text"
        lines.append(f'aws ec2 disassociate-route-table --association-id "$({asked})"')
    return lines
