"""Security groups on the sandbox, looked at from behind with boto3."""

from __future__ import annotations

from typing import Any

import pytest

from engine.aws.errors import AwsError
from engine.errors import StepFailed
from engine.resources.ec2.security import Ec2SecurityGroup, Ec2SecurityGroupRule
from tests.kinds.aws_examples.ec2 import a_subnet, a_vpc, an_image
from tests.kinds.aws_stage import Stage


def group(vpc: str, **fields: Any) -> Ec2SecurityGroup:
    return Ec2SecurityGroup.model_validate(
        {"group_name": "PublicSG", "description": "Bastion", "vpc_id": vpc, **fields}
    )


def ports(ec2: Any, id: str) -> set[tuple[str, int]]:
    (there,) = ec2.describe_security_groups(GroupIds=[id])["SecurityGroups"]
    rules = there["IpPermissions"]
    return {(r["CidrIp"], p.get("FromPort", -1)) for p in rules for r in p["IpRanges"]}


def test_two_requests_make_a_group_with_all_its_rules(stage: Stage, ec2: Any) -> None:
    vpc = a_vpc(stage)
    rules = [
        {"ports": 22, "cidr_ip": "203.0.113.7/32"},
        {"ports": [8003, 8800], "cidr_ip": "0.0.0.0/0"},
    ]
    stage.aws.requests.clear()
    id = group(vpc, rules=rules).create(stage.world("public_sg"))
    stage.made.append((Ec2SecurityGroup, id))
    assert stage.aws.requests == [
        ("ec2", "create_security_group"),
        ("ec2", "authorize_security_group_ingress"),
    ]
    assert ports(ec2, id) == {("203.0.113.7/32", 22), ("0.0.0.0/0", 8003), ("0.0.0.0/0", 8800)}
    (there,) = ec2.describe_security_groups(GroupIds=[id])["SecurityGroups"]
    tags = {tag["Key"]: tag["Value"] for tag in there["Tags"]}
    assert tags["labctl:lab"] == stage.lab
    assert tags["labctl:address"] == "public_sg"
    assert tags["course"] == "w251"
    assert [rule["IpProtocol"] for rule in there["IpPermissionsEgress"]] == ["-1"]


def test_drift_is_mended_in_place(stage: Stage, ec2: Any) -> None:
    vpc = a_vpc(stage)
    wanted = group(vpc, rules=[{"ports": [22, 8003], "cidr_ip": "0.0.0.0/0"}])
    id = stage.make(wanted)["id"]
    (there,) = ec2.describe_security_groups(GroupIds=[id])["SecurityGroups"]
    gone = [rule for rule in there["IpPermissions"] if rule["FromPort"] == 8003]
    ec2.revoke_security_group_ingress(GroupId=id, IpPermissions=gone)
    ec2.authorize_security_group_ingress(
        GroupId=id, IpProtocol="tcp", FromPort=9000, ToPort=9000, CidrIp="0.0.0.0/0"
    )
    now = Ec2SecurityGroup.read_many(stage.world(), [id])[id]["rules"]
    assert Ec2SecurityGroup.describe_difference("rules", wanted.wanted()["rules"], now) == (
        "tcp 8003 from 0.0.0.0/0 is missing; tcp 9000 from 0.0.0.0/0 is not in the playbook"
    )
    wanted.update(stage.world(), id, frozenset({"rules"}))
    assert ports(ec2, id) == {("0.0.0.0/0", 22), ("0.0.0.0/0", 8003)}


def test_rules_of_others_may_stay(stage: Stage, ec2: Any) -> None:
    vpc = a_vpc(stage)
    wanted = group(vpc, rules=[{"ports": 22, "cidr_ip": "0.0.0.0/0"}], purge_rules=False)
    id = stage.make(wanted)["id"]
    ec2.authorize_security_group_ingress(
        GroupId=id, IpProtocol="tcp", FromPort=9000, ToPort=9000, CidrIp="0.0.0.0/0"
    )
    now = Ec2SecurityGroup.read_many(stage.world(), [id])[id]["rules"]
    assert not Ec2SecurityGroup.differs("rules", wanted.wanted()["rules"], now)
    wanted.update(stage.world(), id, frozenset({"rules"}))
    assert ("0.0.0.0/0", 9000) in ports(ec2, id)


def test_a_rule_apart_is_not_the_groups(stage: Stage, ec2: Any) -> None:
    vpc = a_vpc(stage)
    one = group(vpc, rules=[{"ports": 22, "cidr_ip": "0.0.0.0/0"}])
    id = stage.make(one, "one")["id"]
    other = stage.make(group(vpc, group_name="PrivateSG"), "two")["id"]
    rule = Ec2SecurityGroupRule(security_group_id=id, proto="all", group_id=other)
    rule_id = stage.make(rule, "apart")["id"]
    there = Ec2SecurityGroup.read_many(stage.world(), [id, other])
    assert not Ec2SecurityGroup.differs("rules", one.wanted()["rules"], there[id]["rules"])
    one.update(stage.world(), id, frozenset({"rules"}))
    assert Ec2SecurityGroupRule.read_many(stage.world(), [rule_id])


def test_all_groups_are_read_in_two_requests(stage: Stage) -> None:
    vpc = a_vpc(stage)
    ids = [stage.make(group(vpc, group_name=f"g{n}"))["id"] for n in range(4)]
    stage.aws.requests.clear()
    assert len(Ec2SecurityGroup.read_many(stage.world(), [*ids, "sg-0123456789abcdef0"])) == 4
    assert len(stage.aws.requests) == 2


def test_a_name_that_is_taken(stage: Stage) -> None:
    vpc = a_vpc(stage)
    stage.make(group(vpc))
    with pytest.raises(AwsError, match="this lab did not make it") as caught:
        group(vpc).create(stage.world())
    assert "another group_name" in caught.value.remedy


def test_a_group_in_use_is_not_deleted(stage: Stage, ec2: Any) -> None:
    vpc = a_vpc(stage)
    subnet = a_subnet(stage, vpc)
    id = stage.make(group(vpc))["id"]
    answer = ec2.run_instances(
        ImageId=an_image(stage),
        InstanceType="t3.micro",
        MinCount=1,
        MaxCount=1,
        SubnetId=subnet,
        SecurityGroupIds=[id],
    )
    by_hand = answer["Instances"][0]["InstanceId"]
    with pytest.raises(StepFailed, match=by_hand):
        Ec2SecurityGroup.delete(stage.world(timeout=0.5), id)
    ec2.terminate_instances(InstanceIds=[by_hand])
    Ec2SecurityGroup.delete(stage.world(), id)
