"""What the network of a VPC looks like, as plain data read from moto's objects (under the cloud's lock)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

from engine.sandbox.network import hop_of, interfaces, is_to_gateway, nat_works, routes_of


@dataclass(frozen=True)
class Rule:
    """One permission: a protocol (`-1`: all), ports, and addresses."""

    protocol: str
    ports: tuple[int, int] | None
    blocks: tuple[str, ...]


@dataclass(frozen=True)
class Way:
    """A route of a subnet: to the internet, through a NAT gateway, to a host's address, or nowhere."""

    block: str
    through: str
    """`gateway`, `nat`, `nowhere`, or an address."""


@dataclass(frozen=True)
class Nic:
    """One host on the network."""

    instance: str
    address: str
    public: str | None
    subnet: str
    checks: bool
    """Whether only what it sends or gets for itself may pass (the source/destination check)."""
    egress: tuple[Rule, ...]
    ingress: tuple[Rule, ...]
    ways: tuple[Way, ...]

    @property
    def gateway(self) -> str:
        """The address of the router in its subnet."""
        return str(ipaddress.ip_network(self.subnet)[1])


@dataclass(frozen=True)
class View:
    """One VPC with the hosts that run in it."""

    vpc: str
    block: str
    subnets: tuple[str, ...]
    nics: tuple[Nic, ...]

    @property
    def resolver(self) -> str:
        """The address of the name server, as in every VPC the base plus two."""
        return str(ipaddress.ip_network(self.block)[2])


def view_of(backend: Any, vpc: str, plugged: frozenset[str]) -> View:
    """The network of `vpc` with the instances that are `plugged` in."""
    kept = backend.get_vpc(vpc)
    nics = [
        nic
        for nic in interfaces(backend)
        if nic.subnet.vpc_id == vpc and nic.device_index == 0 and nic.instance.id in plugged
    ]
    members: dict[str, tuple[str, ...]] = {}
    for nic in nics:
        for group in nic.group_set:
            members[group.id] = (*members.get(group.id, ()), f"{nic.private_ip_address}/32")
    return View(
        vpc,
        str(kept.cidr_block),
        tuple(sorted(str(one.cidr) for one in _subnets(backend, vpc))),
        tuple(sorted((_nic(backend, nic, members) for nic in nics), key=lambda nic: nic.instance)),
    )


def _subnets(backend: Any, vpc: str) -> list[Any]:
    return [one for zone in backend.subnets.values() for one in zone.values() if one.vpc_id == vpc]


def _nic(backend: Any, nic: Any, members: dict[str, tuple[str, ...]]) -> Nic:
    egress = (rule for group in nic.group_set for rule in group.egress_rules)
    ingress = (rule for group in nic.group_set for rule in group.ingress_rules)
    return Nic(
        nic.instance.id,
        str(nic.private_ip_address),
        str(nic.public_ip) if nic.public_ip else None,
        str(nic.subnet.cidr),
        bool(nic.source_dest_check),
        tuple(_rule(rule, members) for rule in egress),
        tuple(_rule(rule, members) for rule in ingress),
        tuple(_ways(backend, nic.subnet)),
    )


def _rule(rule: Any, members: dict[str, tuple[str, ...]]) -> Rule:
    block = rule.ip_range.get("CidrIp")
    blocks = (str(block),) if block else members.get(rule.source_group.get("GroupId"), ())
    has_ports = rule.ip_protocol in ("tcp", "udp", "6", "17")
    ports = (int(rule.from_port), int(rule.to_port)) if has_ports else None
    return Rule(str(rule.ip_protocol), ports, blocks)


def _ways(backend: Any, subnet: Any) -> list[Way]:
    ways = [_way(backend, subnet, route) for route in routes_of(backend, subnet)]
    return sorted((way for way in ways if way is not None), key=lambda way: way.block)


def _way(backend: Any, subnet: Any, route: Any) -> Way | None:
    block = route.destination_cidr_block
    if not block or route.local:
        return None
    if is_to_gateway(backend, subnet, route):
        return Way(block, "gateway")
    if route.nat_gateway is not None:
        nat = backend.nat_gateways.get(route.nat_gateway.id)
        leads_out = nat_works(nat) and _public_subnet(backend, nat._eni.subnet)
        return Way(block, "nat" if leads_out else "nowhere")
    hop = hop_of(route)
    return Way(block, str(hop.private_ip_address) if hop is not None else "nowhere")


def _public_subnet(backend: Any, subnet: Any) -> bool:
    return any(way.through == "gateway" for way in _ways(backend, subnet))
