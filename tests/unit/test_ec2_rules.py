"""Security group rules: what is the same, what differs, what AWS would refuse."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from engine.refs import Ref, Unknown
from engine.resources.ec2._rules import Atom, Rule, atoms, difference, from_aws, permissions
from engine.resources.ec2.security import Ec2SecurityGroup, Ec2SecurityGroupRule

ALL = "0.0.0.0/0"


def tcp(ports: Any, cidr: Any = ALL, **more: Any) -> dict[str, Any]:
    return {"proto": "tcp", "ports": ports, "cidr_ip": cidr, **more}


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        ([tcp(22), tcp(80)], [tcp(80), tcp(22)]),
        ([tcp([22, 80])], [tcp(22), tcp(80)]),
        ([tcp("80-90")], [tcp("80-84"), tcp("85-90")]),
        ([tcp([80, 81])], [tcp("80-81")]),
        ([tcp("22")], [tcp(22)]),
        ([{"proto": "tcp", "from_port": 22, "to_port": 23, "cidr_ip": ALL}], [tcp("22-23")]),
        ([{"proto": "6", "ports": 22, "cidr_ip": ALL}], [tcp(22)]),
        ([tcp(22, "10.1.2.3/8")], [tcp(22, "10.0.0.0/8")]),
        ([tcp(22, "10.1.2.3")], [tcp(22, "10.1.2.3/32")]),
        ([tcp(22, [ALL, "10.0.0.0/8"])], [tcp(22, "10.0.0.0/8"), tcp(22)]),
        ([{"proto": "all", "cidr_ip": ALL}], [{"proto": "-1", "cidr_ip": ALL}]),
        ([{"proto": -1, "cidr_ip": ALL}], [{"proto": "all", "cidr_ip": ALL}]),
        (
            [{"proto": "icmp", "cidr_ip": ALL}],
            [{"proto": "icmp", "icmp_type": -1, "icmp_code": -1, "cidr_ip": ALL}],
        ),
        ([tcp(22)], [tcp(22, rule_desc="somebody's words")]),
        ([tcp(22), {"others": "stay"}], [tcp(22), tcp(80)]),
    ],
)
def test_the_same(wanted: list[dict[str, Any]], there: list[dict[str, Any]]) -> None:
    assert difference(wanted, there) is None
    assert not Ec2SecurityGroup.differs("rules", wanted, there)


@pytest.mark.parametrize(
    ("wanted", "there", "words"),
    [
        ([tcp([22, 8003])], [tcp(22)], "tcp 8003 from 0.0.0.0/0 is missing"),
        ([tcp(22)], [tcp("20-25")], "tcp 20-21 from 0.0.0.0/0 is not in the playbook; "
         "tcp 23-25 from 0.0.0.0/0 is not in the playbook"),
        ([], [tcp(22)], "tcp 22 from 0.0.0.0/0 is not in the playbook"),
        ([tcp(22), {"others": "stay"}], [tcp(80)], "tcp 22 from 0.0.0.0/0 is missing"),
        ([{"proto": "all", "group_id": "self"}], [], "all traffic from its own group is missing"),
        (
            [{"proto": "icmp", "icmp_type": 8, "icmp_code": 0, "cidr_ip": ALL}],
            [{"proto": "icmp", "cidr_ip": ALL}],
            "icmp type 8 code 0 from 0.0.0.0/0 is missing; icmp from 0.0.0.0/0 is not in the playbook",
        ),
        (
            [tcp(22, rule_desc="ours")],
            [tcp(22)],
            "tcp 22 from 0.0.0.0/0 should be described as 'ours'",
        ),
    ],
)  # fmt: skip
def test_differences_in_words(wanted: list[dict[str, Any]], there: list[dict[str, Any]], words: str) -> None:
    assert difference(wanted, there) == words
    assert Ec2SecurityGroup.differs("rules", wanted, there)
    assert Ec2SecurityGroup.describe_difference("rules", wanted, there) == words


def test_what_goes_out_goes_to_somebody() -> None:
    words = Ec2SecurityGroup.describe_difference("rules_egress", [tcp(443)], [])
    assert words == "tcp 443 to 0.0.0.0/0 is missing"


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"ports": 22}, "someone at the other end"),
        ({"cidr_ip": ALL}, "a tcp rule needs `ports`"),
        (tcp(99999), "go from 0 to 65535"),
        (tcp("90-80"), "the lower one first"),
        (tcp("ssh"), "'ssh' is no port"),
        (tcp(22, "10.0.0.0/99"), "'10.0.0.0/99' is no address range"),
        (tcp(22, "::/0"), "is no address range"),
        ({"proto": "http", "ports": 80, "cidr_ip": ALL}, "'http' is no protocol"),
        ({"proto": "all", "ports": 80, "cidr_ip": ALL}, "only tcp and udp have ports"),
        ({"proto": "icmp", "ports": 8, "cidr_ip": ALL}, "icmp has no ports"),
        ({"ports": 22, "group_id": "PublicSG"}, "is no group_id"),
        ({**tcp(22), "from_port": 22}, "a tcp rule needs `ports`"),
        (tcp(22, rule_desc="x" * 256), "255 characters"),
    ],
)
def test_what_aws_would_refuse(rule: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Rule.model_validate(rule)


def test_unknown_peers_and_ports_pass() -> None:
    later = Unknown(frozenset({Ref("other", "id")}), "{{ other.id }}")
    rule = Rule.model_validate({"ports": [22, later], "group_id": later})
    group = Ec2SecurityGroup(group_name="g", description="g", vpc_id="vpc-1", rules=[rule]).at("web_sg")
    wanted = group.wanted()["rules"]
    assert Ec2SecurityGroup.differs("rules", wanted, [])
    assert Ec2SecurityGroup.describe_difference("rules", wanted, []) is None
    assert group.as_commands("create", None)[1] == (
        'aws ec2 authorize-security-group-ingress --group-id "$WEB_SG_ID" --protocol tcp --port 22'
        ' --source-group "$OTHER_ID"'
    )


def test_rules_as_aws_takes_them() -> None:
    some = atoms([tcp([22, 80], ["10.0.0.0/8", ALL], rule_desc="x"), {"proto": "all", "group_id": "self"}])
    ranges = [{"CidrIp": "10.0.0.0/8", "Description": "x"}, {"CidrIp": ALL, "Description": "x"}]
    assert permissions(some, "sg-1") == [
        {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": ranges},
        {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": ranges},
        {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": "sg-1"}]},
    ]


def test_rules_as_aws_gives_them() -> None:
    rule = {
        "GroupId": "sg-1",
        "IpProtocol": "tcp",
        "FromPort": 22,
        "ToPort": 22,
        "ReferencedGroupInfo": {"GroupId": "sg-1"},
    }
    assert from_aws(rule) == (Atom("tcp", 22, 22, "group_id", "self"), None)


def test_a_rule_apart_is_one_rule() -> None:
    with pytest.raises(ValidationError, match="this is one rule"):
        Ec2SecurityGroupRule(security_group_id="sg-1", ports=[22, 23], cidr_ip=ALL)


@pytest.mark.parametrize("name", ["default", "sg-1", "", "x" * 256, "ümlaut"])
def test_names_that_aws_refuses(name: str) -> None:
    with pytest.raises(ValidationError, match="AWS"):
        Ec2SecurityGroup(group_name=name, description="d")


def test_a_description_of_a_single_rule_is_no_longer_than_aws_allows() -> None:
    rule = {"security_group_id": "sg-1", **tcp(22)}
    assert Ec2SecurityGroupRule.model_validate({**rule, "rule_desc": "x" * 255})
    with pytest.raises(ValidationError, match="255 characters"):
        Ec2SecurityGroupRule.model_validate({**rule, "rule_desc": "x" * 256})
