"""The judge of the sandbox's network on a small VPC made of plain objects."""

from types import SimpleNamespace as Thing

import pytest

from engine.sandbox.network import by_private, by_public, inside, lets_in, lets_out, reachable, seen_as

CALLER = "203.0.113.7"
ELSEWHERE = "192.0.2.1"


def rule(protocol="tcp", start=None, end=None, cidr=None, group=None, cidr6=None):
    blocks = {"CidrIp": cidr} if cidr else {"CidrIpv6": cidr6} if cidr6 else {}
    return Thing(
        ip_protocol=protocol,
        from_port=start,
        to_port=end,
        ip_range=blocks,
        source_group={"GroupId": group} if group else {},
    )


def group(name, *ingress, egress=None):
    out = [rule("-1", cidr="0.0.0.0/0")] if egress is None else egress
    return Thing(id=name, ingress_rules=list(ingress), egress_rules=out)


class Vpc:
    """One VPC with a gateway, a public and a private subnet."""

    def __init__(self):
        self.enis, self.nat_gateways = {}, {}
        self.gateway = Thing(id="igw-1", vpc=Thing(id="vpc-1"))
        self.internet_gateways = {"igw-1": self.gateway}
        self.public, self.private = (Thing(id=f"subnet-{name}", vpc_id="vpc-1") for name in "ab")
        self.route_tables = {
            "main": self.table(main="assoc"),
            "public": self.table(self.public, {"0.0.0.0/0": Thing(gateway=self.gateway)}),
        }

    def table(self, subnet=None, routes=(), main=None):
        every = {"10.0.0.0/16": Thing(), **dict(routes)}
        for block, route in every.items():
            route.destination_cidr_block = block
            for name in ("gateway", "nat_gateway", "interface", "instance"):
                route.__dict__.setdefault(name, None)
        associations = {"assoc-1": subnet.id} if subnet else {}
        return Thing(vpc_id="vpc-1", main_association_id=main, _associations=associations, _routes=every)

    def machine(self, name, subnet, address, *groups, public=None, running=True):
        instance = Thing(id=name, _state=Thing(name="running" if running else "stopped"))
        nic = Thing(
            id=f"eni-{name}",
            instance=instance,
            subnet=subnet,
            private_ip_address=address,
            private_ip_addresses=[{"PrivateIpAddress": address}],
            public_ip=public,
            group_set=list(groups),
            source_dest_check=True,
        )
        instance.nics = {0: nic}
        self.enis[nic.id] = nic
        return nic


def nobody(instance):
    return False


@pytest.fixture
def vpc():
    return Vpc()


@pytest.mark.parametrize(
    ("one", "port", "expected"),
    [
        (rule("tcp", 22, 22, cidr="203.0.113.7/32"), 22, True),
        (rule("tcp", 22, 22, cidr="203.0.113.8/32"), 22, False),
        (rule("tcp", 20, 30, cidr="0.0.0.0/0"), 31, False),
        (rule("udp", 22, 22, cidr="0.0.0.0/0"), 22, False),
        (rule("-1", cidr="203.0.113.0/24"), 9999, True),
        (rule("tcp", 22, 22, cidr6="::/0"), 22, False),
        (rule("tcp", 22, 22, group="sg-other"), 22, False),
    ],
)
def test_rules(vpc, one, port, expected):
    nic = vpc.machine("m", vpc.public, "10.0.1.5", group("sg-1", one))
    assert lets_in(nic, CALLER, port) is expected


def test_a_group_as_peer_means_its_members(vpc):
    nic = vpc.machine("m", vpc.public, "10.0.1.5", group("sg-1", rule("tcp", 22, 22, group="sg-2")))
    assert lets_in(nic, "10.0.1.9", 22, frozenset({"sg-2"}))
    assert not lets_in(nic, "10.0.1.9", 22, frozenset({"sg-3"}))


def test_no_egress_rule_nothing_leaves(vpc):
    nic = vpc.machine("m", vpc.public, "10.0.1.5", group("sg-1", egress=[]), public="198.18.0.1")
    assert not lets_out(nic, ELSEWHERE, 443)
    assert seen_as(vpc, nic, nobody, ELSEWHERE, 443) is None


def test_the_way_in_needs_gateway_and_group(vpc):
    opened = group("sg-1", rule("tcp", 80, 80, cidr="0.0.0.0/0"))
    nic = vpc.machine("m", vpc.public, "10.0.1.5", opened, public="198.18.0.1")
    assert reachable(vpc, nic, CALLER, 80)
    assert not reachable(vpc, nic, CALLER, 81)
    vpc.gateway.vpc = None
    assert not reachable(vpc, nic, CALLER, 80)


def test_a_subnet_without_a_route_is_not_reachable_even_with_an_address(vpc):
    opened = group("sg-1", rule("-1", cidr="0.0.0.0/0"))
    nic = vpc.machine("m", vpc.private, "10.0.2.5", opened, public="198.18.0.1")
    assert not reachable(vpc, nic, CALLER, 80)


def test_the_way_out_with_a_public_address(vpc):
    nic = vpc.machine("m", vpc.public, "10.0.1.5", group("sg-1"), public="198.18.0.1")
    assert seen_as(vpc, nic, nobody, ELSEWHERE, 443) == "198.18.0.1"
    nic.public_ip = None
    assert seen_as(vpc, nic, nobody, ELSEWHERE, 443) is None


def test_the_longest_prefix_decides(vpc):
    routes = {"0.0.0.0/0": Thing(gateway=vpc.gateway), "192.0.2.0/24": Thing()}
    vpc.route_tables["public"] = vpc.table(vpc.public, routes)
    nic = vpc.machine("m", vpc.public, "10.0.1.5", group("sg-1"), public="198.18.0.1")
    assert seen_as(vpc, nic, nobody, ELSEWHERE, 443) is None
    assert seen_as(vpc, nic, nobody, "198.51.100.1", 443) == "198.18.0.1"


def test_a_nat_gateway_must_be_available_and_public(vpc):
    nat = Thing(id="nat-1", state="available", connectivity_type="public")
    nat._eni = Thing(public_ip="198.18.0.9", subnet=vpc.public)
    vpc.nat_gateways["nat-1"] = nat
    vpc.route_tables["private"] = vpc.table(vpc.private, {"0.0.0.0/0": Thing(nat_gateway=nat)})
    nic = vpc.machine("m", vpc.private, "10.0.2.5", group("sg-1"))
    assert seen_as(vpc, nic, nobody, ELSEWHERE, 443) == "198.18.0.9"
    nat.state = "pending"
    assert seen_as(vpc, nic, nobody, ELSEWHERE, 443) is None
    nat.state, nat._eni.subnet = "available", vpc.private
    assert seen_as(vpc, nic, nobody, ELSEWHERE, 443) is None


def test_an_instance_as_nat_needs_all_four_things(vpc):
    hop = vpc.machine("hop", vpc.public, "10.0.1.5", group("sg-hop"), public="198.18.0.1")
    vpc.route_tables["private"] = vpc.table(vpc.private, {"0.0.0.0/0": Thing(interface=hop)})
    nic = vpc.machine("m", vpc.private, "10.0.2.5", group("sg-1"))

    def way(forwards):
        return seen_as(vpc, nic, forwards, ELSEWHERE, 443)

    def forwards(instance):
        return instance == "hop"

    assert way(forwards) is None
    hop.source_dest_check = False
    assert way(forwards) is None
    hop.group_set = [group("sg-hop", rule("-1", group="sg-1"))]
    assert way(nobody) is None
    assert way(forwards) == "198.18.0.1"
    hop.instance._state.name = "stopped"
    assert way(forwards) is None


def test_two_that_route_to_each_other_are_no_way_out(vpc):
    opened = group("sg", rule("-1", cidr="0.0.0.0/0"))
    one = vpc.machine("one", vpc.private, "10.0.2.5", opened)
    other = vpc.machine("two", vpc.private, "10.0.2.6", opened)
    one.source_dest_check = other.source_dest_check = False
    vpc.route_tables["private"] = vpc.table(vpc.private, {"0.0.0.0/0": Thing(interface=other)})
    assert seen_as(vpc, one, lambda instance: True, ELSEWHERE, 443) is None


def test_inside_both_sides_must_agree(vpc):
    one = vpc.machine("one", vpc.public, "10.0.1.5", group("sg-1"))
    other = vpc.machine("two", vpc.private, "10.0.2.5", group("sg-2", rule("tcp", 22, 22, group="sg-1")))
    assert inside(one, other, 22)
    assert not inside(other, one, 22)
    one.group_set = [group("sg-1", egress=[rule("tcp", 443, 443, cidr="0.0.0.0/0")])]
    assert not inside(one, other, 22)


def test_only_running_machines_are_found(vpc):
    nic = vpc.machine("m", vpc.public, "10.0.1.5", public="198.18.0.1")
    assert by_public([vpc], "198.18.0.1") == (vpc, nic)
    assert by_private(vpc, "vpc-1", "10.0.1.5") is nic
    assert by_private(vpc, "vpc-2", "10.0.1.5") is None
    nic.instance._state.name = "stopped"
    assert by_public([vpc], "198.18.0.1") is None
