"""Lookups on the sandbox: what they tell, and what they say where there is nothing to tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engine.errors import StepFailed
from engine.kinds import kinds
from engine.on_host import OnHost
from engine.refs import Ref, Unknown
from engine.resource import Resource
from engine.resources.aws.aws_info import AwsCallerInfo, AwsSsmParameterInfo
from engine.resources.ec2.info import Ec2AmiInfo, Ec2SpotPriceInfo, Ec2VpcNetInfo
from engine.resources.ec2.network import Ec2VpcNet, Ec2VpcSubnet
from tests.kinds.aws_stage import Stage
from tests.kinds.test_contract import actions_needed, is_write

JAMMY = "/aws/service/canonical/ubuntu/server/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id"
EXAMPLES: dict[str, Resource] = {
    "aws_caller_info": AwsCallerInfo(),
    "aws_ssm_parameter_info": AwsSsmParameterInfo(name=JAMMY),
    "ec2_ami_info": Ec2AmiInfo(owners=["099720109477"], filters={"name": "ubuntu/*jammy*"}),
    "ec2_spot_price_info": Ec2SpotPriceInfo(instance_type="t3.large"),
    "ec2_vpc_net_info": Ec2VpcNetInfo(filters={"is-default": True}),
}


def test_every_lookup_has_an_example() -> None:
    assert {name for name, kind in kinds().items() if kind.lookup} == EXAMPLES.keys()


@pytest.mark.parametrize("lookup", EXAMPLES.values(), ids=EXAMPLES.keys())
def test_contract_of_lookups(stage: Stage, lookup: Resource) -> None:
    """It tells every output it promises, the same each time, writes nothing, and names its IAM actions."""
    world = stage.world(token="")
    told = lookup.look_up(world)
    assert told.keys() >= type(lookup).outputs.keys()
    assert lookup.look_up(stage.world(token="")) == told
    assert [request for request in world.aws.requests if is_write(request)] == []
    needed = actions_needed(world.aws, world.aws.requests)
    assert needed <= set(type(lookup).actions)
    assert not issubclass(type(lookup), OnHost)
    assert lookup.price() == 0
    commands = lookup.at("asked").as_commands("create", None)
    assert commands[0].startswith("aws ")


def test_the_newest_image_is_the_one_that_ssm_names(stage: Stage) -> None:
    told = EXAMPLES["ec2_ami_info"].look_up(stage.world())
    assert told["image_id"] == EXAMPLES["aws_ssm_parameter_info"].look_up(stage.world())["value"]
    assert len(told["images"]) > 1
    dates = [image["creation_date"] for image in told["images"]]
    assert dates == sorted(dates, reverse=True)


def test_commands_name_what_a_filter_refers_to() -> None:
    vpc = Unknown(frozenset({Ref("net", "id")}))
    lookup = Ec2VpcNetInfo.model_validate({"filters": {"vpc-id": vpc}})
    [command] = lookup.at("asked").as_commands("create", None)
    assert command == (
        """aws ec2 describe-vpcs --filters '[{"Name": "vpc-id", "Values": ["'"$NET_ID"'"]}]'"""
    )


def test_no_image_is_told_in_words(stage: Stage) -> None:
    with pytest.raises(StepFailed, match="no image fits") as caught:
        Ec2AmiInfo(filters={"name": "windows-3.11"}).look_up(stage.world())
    assert "loosen `filters`" in caught.value.remedy


def test_all_images_of_the_world_are_not_asked_for() -> None:
    with pytest.raises(ValueError, match="needs image_ids, owners or filters"):
        Ec2AmiInfo()


def test_the_cheapest_zone_comes_first(stage: Stage) -> None:
    told = Ec2SpotPriceInfo(instance_type="t3.large").look_up(stage.world())
    prices = list(told["prices"].values())
    assert len(prices) >= 3
    assert prices == sorted(prices)
    assert (told["price"], told["availability_zone"]) == (prices[0], next(iter(told["prices"])))
    assert told["on_demand"] == pytest.approx(0.0832)
    assert 0.2 * 0.0832 < told["price"] < 0.5 * 0.0832
    assert told["saving_percent"] == round(100 * (1 - told["price"] / 0.0832))


def test_one_zone_can_be_asked_for(stage: Stage) -> None:
    told = Ec2SpotPriceInfo(instance_type="t3.large", availability_zone="us-east-1b").look_up(stage.world())
    assert list(told["prices"]) == ["us-east-1b"]


def test_a_type_without_a_spot_price_is_told_in_words(stage: Stage) -> None:
    with pytest.raises(StepFailed, match=r"t9\.large has no spot price in us-east-1"):
        Ec2SpotPriceInfo(instance_type="t9.large").look_up(stage.world())


def test_a_vpc_with_its_subnets(stage: Stage) -> None:
    vpc = stage.make(Ec2VpcNet(cidr_block="10.66.0.0/16"), "net")["id"]
    subnet = stage.make(Ec2VpcSubnet(vpc_id=vpc, cidr="10.66.1.0/24"), "subnet")["id"]
    told = Ec2VpcNetInfo(filters={"tag:labctl:lab": stage.lab}).look_up(stage.world())
    assert (told["vpc_id"], told["cidr_block"], told["is_default"]) == (vpc, "10.66.0.0/16", False)
    assert told["subnet_ids"] == [subnet]
    assert told["vpcs"][0]["tags"]["labctl:address"] == "net"


def test_of_several_vpcs_none_is_the_one(stage: Stage) -> None:
    stage.make(Ec2VpcNet(cidr_block="10.67.0.0/16"), "net")
    told = Ec2VpcNetInfo().look_up(stage.world())
    assert told["vpc_id"] is None
    assert len(told["vpcs"]) >= 2


def test_no_vpc_is_told_in_words(stage: Stage) -> None:
    with pytest.raises(StepFailed, match="no VPC fits"):
        Ec2VpcNetInfo(vpc_ids=["vpc-0123456789abcdef0"]).look_up(stage.world())


def test_a_parameter_of_ones_own(stage: Stage, ssm: Any) -> None:
    ssm.put_parameter(Name=f"/{stage.lab}/list", Value="a,b", Type="StringList")
    told = AwsSsmParameterInfo(name=f"/{stage.lab}/list").look_up(stage.world())
    assert (told["value"], told["values"], told["type"], told["version"]) == (
        "a,b",
        ["a", "b"],
        "StringList",
        1,
    )


def test_secrets_are_not_looked_up(stage: Stage, ssm: Any) -> None:
    ssm.put_parameter(Name=f"/{stage.lab}/secret", Value="hush", Type="SecureString")
    with pytest.raises(StepFailed, match="is encrypted") as caught:
        AwsSsmParameterInfo(name=f"/{stage.lab}/secret").look_up(stage.world())
    assert "hush" not in caught.value.message + caught.value.remedy


def test_a_parameter_that_is_not_there(stage: Stage) -> None:
    with pytest.raises(StepFailed, match="there is no parameter /nix in us-east-1"):
        AwsSsmParameterInfo(name="/nix").look_up(stage.world())


@pytest.fixture
def ssm(client: Callable[[str], Any]) -> Any:
    return client("ssm")
