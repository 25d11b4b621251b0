"""Who can reach whom: routes, gateways, security groups, as in a VPC. Pure: looks, decides, keeps nothing.

Given moto's objects (to be called under the cloud's lock). Network ACLs are taken to be the default
ones, which allow everything; answers always find back, as security groups are stateful.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any

from engine.sandbox.aws.tenants import tenant_of

SOMEWHERE = "192.0.2.1"
"""An address on the internet, for asking whether there is a way there."""
WEB_PORTS = (443, 80)

Forwards = Callable[[str], bool]
"""Whether the machine of an instance id forwards and masquerades what others send through it."""


def interfaces(backend: Any) -> list[Any]:
    """The network interfaces of instances that are running."""
    return [
        nic
        for nic in backend.enis.values()
        if nic.instance is not None and nic.instance._state.name == "running"
    ]


def _answering(backend: Any) -> list[Any]:
    """The network interfaces behind which something may answer: those of instances, tasks, load balancers."""
    return interfaces(backend) + [nic for nic in backend.enis.values() if tenant_of(nic) is not None]


def by_public(backends: Iterable[Any], address: str) -> tuple[Any, Any] | None:
    """Backend and interface that have the public `address`."""
    for backend in backends:
        for nic in _answering(backend):
            if nic.public_ip == address:
                return backend, nic
    return None


def by_private(backend: Any, vpc: str, address: str) -> Any | None:
    """The interface in `vpc` that has the private `address`."""
    for nic in _answering(backend):
        if nic.subnet.vpc_id == vpc and any(
            one["PrivateIpAddress"] == address for one in nic.private_ip_addresses
        ):
            return nic
    return None


def _matches(rule: Any, address: str, port: int, groups: frozenset[str]) -> bool:
    protocol = rule.ip_protocol
    if protocol not in ("-1", "tcp"):
        return False
    if protocol == "tcp" and not rule.from_port <= port <= rule.to_port:
        return False
    block = rule.ip_range.get("CidrIp") or rule.ip_range.get("CidrIpv6")
    if block:
        network = ipaddress.ip_network(block, strict=False)
        return ipaddress.ip_address(address) in network
    return rule.source_group.get("GroupId") in groups


def groups_of(nic: Any) -> frozenset[str]:
    """The ids of the security groups of `nic`."""
    return frozenset(group.id for group in nic.group_set)


def lets_in(nic: Any, address: str, port: int, groups: frozenset[str] = frozenset()) -> bool:
    """Whether the groups of `nic` let in TCP to `port` from `address`, whose interface is in `groups`."""
    return any(
        _matches(rule, address, port, groups) for group in nic.group_set for rule in group.ingress_rules
    )


def lets_out(nic: Any, address: str, port: int, groups: frozenset[str] = frozenset()) -> bool:
    """Whether the groups of `nic` let out TCP to `port` of `address`, whose interface is in `groups`."""
    return any(
        _matches(rule, address, port, groups) for group in nic.group_set for rule in group.egress_rules
    )


def routes_of(backend: Any, subnet: Any) -> list[Any]:
    """The routes that hold in `subnet`: those of its table, else of the main table."""
    tables = [one for one in backend.route_tables.values() if one.vpc_id == subnet.vpc_id]
    own = [one for one in tables if subnet.id in one._associations.values()]
    chosen = own or [one for one in tables if one.main_association_id]
    return [route for table in chosen for route in table._routes.values()]


def is_to_gateway(backend: Any, subnet: Any, route: Any) -> bool:
    """Whether a route of `subnet` leads to an internet gateway that is attached to its VPC."""
    gateway = backend.internet_gateways.get(getattr(route.gateway, "id", None))
    return gateway is not None and gateway.vpc is not None and gateway.vpc.id == subnet.vpc_id


def nat_works(gateway: Any) -> bool:
    """Whether a NAT gateway (None where it is gone) leads out, where its own subnet does."""
    return gateway is not None and gateway.state == "available" and gateway.connectivity_type != "private"


def hop_of(route: Any) -> Any | None:
    """The interface that a route sends packets to, its own or that of its instance."""
    return route.interface or (route.instance.nics.get(0) if route.instance is not None else None)


def _route(backend: Any, subnet: Any, address: str) -> Any | None:
    """The route to `address`: the one with the longest prefix."""
    target = ipaddress.ip_address(address)
    fitting = [
        (ipaddress.ip_network(route.destination_cidr_block).prefixlen, route)
        for route in routes_of(backend, subnet)
        if route.destination_cidr_block and target in ipaddress.ip_network(route.destination_cidr_block)
    ]
    return max(fitting, key=lambda one: one[0])[1] if fitting else None


def _to_gateway(backend: Any, subnet: Any, address: str) -> bool:
    """Whether packets from `subnet` to `address` go to an internet gateway attached to its VPC."""
    route = _route(backend, subnet, address)
    return route is not None and is_to_gateway(backend, subnet, route)


def reachable(backend: Any, nic: Any, caller: str, port: int) -> bool:
    """Whether TCP from `caller` on the internet gets to `port` of `nic`, which has a public address."""
    return _to_gateway(backend, nic.subnet, caller) and lets_in(nic, caller, port)


def seen_as(backend: Any, nic: Any, forwards: Forwards, address: str, port: int) -> str | None:
    """The public address as which `nic` reaches TCP `port` of `address` out there; None: it cannot."""
    if not lets_out(nic, address, port):
        return None
    return _way_out(backend, nic, forwards, address, port, frozenset())


def _way_out(
    backend: Any, nic: Any, forwards: Forwards, address: str, port: int, passed: frozenset[str]
) -> str | None:
    if _to_gateway(backend, nic.subnet, address):
        return str(nic.public_ip) if nic.public_ip else None
    route = _route(backend, nic.subnet, address)
    if route is None:
        return None
    if route.nat_gateway is not None:
        return _through_nat(backend, route.nat_gateway, address)
    hop = hop_of(route)
    if hop is None or hop.id in passed or not _forwarding(hop, forwards):
        return None
    if not lets_in(hop, nic.private_ip_address, port, groups_of(nic)) or not lets_out(hop, address, port):
        return None
    return _way_out(backend, hop, forwards, address, port, passed | {hop.id})


def _through_nat(backend: Any, gateway: Any, address: str) -> str | None:
    kept = backend.nat_gateways.get(gateway.id)
    if not nat_works(kept):
        return None
    nic = kept._eni
    return str(nic.public_ip) if nic.public_ip and _to_gateway(backend, nic.subnet, address) else None


def _forwarding(nic: Any, forwards: Forwards) -> bool:
    instance = nic.instance
    if instance is None or instance._state.name != "running" or nic.source_dest_check:
        return False
    return forwards(instance.id)


def inside(source: Any, target: Any, port: int) -> bool:
    """Whether TCP from the interface `source` gets to `port` of `target` in the same VPC."""
    out = lets_out(source, target.private_ip_address, port, groups_of(target))
    return out and lets_in(target, source.private_ip_address, port, groups_of(source))
