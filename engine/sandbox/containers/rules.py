"""From the view of a VPC to what its router is told: routes, and the packets that may pass. Pure.

Each host hangs on a wire of its own, so that all packets cross the router: it is to hosts what the VPC
is to instances. A host is free to filter, forward and masquerade as it likes, the router decides for itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from engine.sandbox.containers.view import Nic, Rule, View

_NUMBERS = {"6": "tcp", "17": "udp", "1": "icmp"}
_FIRST_TABLE = 1000
STAND_IN_ADDRESS = "198.51.100.10"
"""Where the stand-ins for the internet answer (RFC 5737, documentation)."""


def wire(nic: Nic) -> str:
    """The name of the router's end of a host's wire; at most 15 characters."""
    return f"v{nic.instance.removeprefix('i-')[-12:]}"


def script(view: View, plugged: frozenset[str]) -> str:
    """The POSIX sh that makes a router what `view` says; `plugged` are the hosts whose wire is there."""
    nics = [nic for nic in view.nics if nic.instance in plugged]
    lines = ["set -eu", *_addresses(view), *_routes(view, nics)]
    lines += ["iptables-restore <<'END'", *_filter(nics), "END"]
    names = ", ".join(f'"{nic.public}": "{nic.address}"' for nic in nics if nic.public)
    lines += [f"echo '{{{names}}}' >/run/names.json"]
    return "\n".join(lines) + "\n"


def _addresses(view: View) -> Iterator[str]:
    # The router answers at the first address of each subnet, and as name server at the VPC's third.
    for address in [view.resolver, *(str(ip_network(subnet)[1]) for subnet in view.subnets)]:
        yield f"ip address replace {address}/32 dev lo"
    yield f"ip route replace blackhole {view.block} metric 100"


def _routes(view: View, nics: list[Nic]) -> Iterator[str]:
    yield f"while ip rule del priority {_FIRST_TABLE} 2>/dev/null; do :; done"
    wires = {nic.address: wire(nic) for nic in nics}
    for nic in nics:
        name = wire(nic)
        yield f"ip link set {name} up; echo 1 >/proc/sys/net/ipv4/conf/{name}/proxy_arp"
        yield f"echo 0 >/proc/sys/net/ipv4/conf/{name}/proxy_delay 2>/dev/null || :"
        yield f"ip route replace {nic.address}/32 dev {name}"
    for number, nic in enumerate(nics, _FIRST_TABLE):
        yield f"ip route flush table {number} 2>/dev/null || :"
        yield f"ip route add blackhole default metric 200 table {number}"
        yield f"ip route add throw {view.block} table {number}"
        if _leads_out(nic):
            yield f"ip route add throw {STAND_IN_ADDRESS} table {number}"
        for way in nic.ways:
            target = wires.get(way.through)
            if way.through in ("gateway", "nat"):
                yield f'ip route add {way.block} via "$OUTSIDE" dev eth0 table {number}'
            elif target and target != wire(nic):
                yield f"ip route add {way.block} via {way.through} dev {target} onlink table {number}"
            else:
                yield f"ip route add blackhole {way.block} table {number}"
        yield f"ip rule add priority {_FIRST_TABLE} iif {wire(nic)} lookup {number}"


def _leads_out(nic: Nic) -> bool:
    """Whether the way to the stand-ins for the internet is the way to the internet."""
    address = ip_address(STAND_IN_ADDRESS)
    fitting = [way for way in nic.ways if address in ip_network(way.block)]
    best = max(fitting, key=lambda way: ip_network(way.block).prefixlen, default=None)
    return best is not None and best.through in ("gateway", "nat")


def _filter(nics: list[Nic]) -> Iterator[str]:
    yield "*filter"
    yield from (":INPUT ACCEPT [0:0]", ":FORWARD DROP [0:0]", ":OUTPUT ACCEPT [0:0]")
    for nic in nics:
        yield f":out-{wire(nic)} - [0:0]"
        yield f":in-{wire(nic)} - [0:0]"
    yield "-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"
    for nic in nics:
        yield f"-A INPUT -i {wire(nic)} -p udp --dport 53 -j ACCEPT"
        yield f"-A INPUT -i {wire(nic)} -j DROP"
        if nic.checks:
            yield f"-A FORWARD -i {wire(nic)} ! -s {nic.address} -j DROP"
            yield f"-A FORWARD -o {wire(nic)} ! -d {nic.address} -j DROP"
    yield "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"
    for nic in nics:
        yield f"-A FORWARD -i {wire(nic)} -j out-{wire(nic)}"
        yield f"-A FORWARD -o {wire(nic)} -j in-{wire(nic)}"
        for match in (match for rule in nic.egress for match in _matches(rule, "-d")):
            yield f"-A out-{wire(nic)} {match}-j RETURN"
        for match in (match for rule in nic.ingress for match in _matches(rule, "-s")):
            yield f"-A in-{wire(nic)} {match}-j RETURN"
        yield f"-A out-{wire(nic)} -j DROP"
        yield f"-A in-{wire(nic)} -j DROP"
    for nic in nics:
        yield f"-A FORWARD -i {wire(nic)} -o v+ -j ACCEPT"
        if nic.public or any(way.through == "nat" for way in nic.ways):
            yield f"-A FORWARD -i {wire(nic)} -s {nic.address} -o eth0 -j ACCEPT"
    yield "COMMIT"


def _matches(rule: Rule, side: str) -> Iterator[str]:
    protocol = _NUMBERS.get(rule.protocol, rule.protocol)
    words = "" if protocol == "-1" else f"-p {protocol} "
    if rule.ports is not None:
        words += f"--dport {rule.ports[0]}:{rule.ports[1]} "
    for block in rule.blocks:
        yield f"{words}{side} {block} "
