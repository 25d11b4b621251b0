"""Networks and volumes on the sandbox, looked at from behind with boto3."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from engine.aws import Aws
from engine.aws.errors import AwsError
from engine.aws.tags import values_filter
from engine.errors import StepFailed
from engine.resources.ec2.gateways import Ec2Eip, Ec2VpcIgw, Ec2VpcNatGateway
from engine.resources.ec2.network import Ec2VpcNet, Ec2VpcSubnet
from engine.resources.ec2.routes import Ec2VpcRouteTable
from engine.resources.ec2.storage import Ec2Ami, Ec2Vol
from engine.sandbox import CREDENTIALS, Running
from tests.kinds.aws_examples.ec2 import a_subnet, a_vpc, an_instance
from tests.kinds.aws_stage import Stage


def test_the_default_vpc_is_adopted(stage: Stage, ec2: Any) -> None:
    (there,) = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    default = Ec2VpcNet(default=True)
    assert default.adopts(stage.world()) == there["VpcId"]
    values = Ec2VpcNet.read_many(stage.world(), [there["VpcId"]])[there["VpcId"]]
    assert values["default"] is True
    assert default.wanted() == {"default": True}
    assert Ec2VpcNet(cidr_block="10.0.0.0/16").adopts(stage.world()) is None
    with pytest.raises(AwsError, match="made meanwhile"):
        default.create(stage.world())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "either cidr_block"),
        ({"default": True, "cidr_block": "10.0.0.0/16"}, "either cidr_block"),
        ({"cidr_block": "10.0.0.1/16"}, r"write 10\.0\.0\.0/16"),
        ({"cidr_block": "10.0.0.0/8"}, "from /16 to /28"),
        ({"cidr_block": "ten"}, "is no address range"),
        ({"cidr_block": "10.0.0.0/16", "dns_support": False}, "dns_hostnames needs dns_support"),
    ],
)
def test_vpcs_that_make_no_sense(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Ec2VpcNet.model_validate(fields)


def test_dns_host_names(stage: Stage, ec2: Any) -> None:
    stage.aws.requests.clear()
    id = Ec2VpcNet(cidr_block="10.3.0.0/16").create(stage.world())
    stage.made.append((Ec2VpcNet, id))
    assert len(stage.aws.requests) == 2
    answer = ec2.describe_vpc_attribute(VpcId=id, Attribute="enableDnsHostnames")
    assert answer["EnableDnsHostnames"]["Value"] is True
    off = Ec2VpcNet(cidr_block="10.3.0.0/16", dns_support=False, dns_hostnames=False)
    off.update(stage.world(), id, frozenset({"dns_support", "dns_hostnames"}))
    answer = ec2.describe_vpc_attribute(VpcId=id, Attribute="enableDnsSupport")
    assert answer["EnableDnsSupport"]["Value"] is False


def test_a_subnet_that_does_not_fit(stage: Stage) -> None:
    vpc = a_vpc(stage)
    a_subnet(stage, vpc)
    with pytest.raises(AwsError, match="overlaps"):
        Ec2VpcSubnet(vpc_id=vpc, cidr="10.9.0.0/25").create(stage.world())
    with pytest.raises(AwsError, match="outside the VPC's"):
        Ec2VpcSubnet(vpc_id=vpc, cidr="192.168.0.0/24").create(stage.world())


def test_a_vpc_in_use_is_not_deleted(stage: Stage, ec2: Any) -> None:
    vpc = a_vpc(stage)
    by_hand = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.5.0/24")["Subnet"]["SubnetId"]
    with pytest.raises(StepFailed, match="it cannot be deleted") as caught:
        Ec2VpcNet.delete(stage.world(timeout=0.3), vpc)
    assert "outside labctl" in caught.value.remedy
    ec2.delete_subnet(SubnetId=by_hand)


def test_routes_in_any_order_and_by_instance_or_interface(stage: Stage) -> None:
    there = [
        {"dest": "0.0.0.0/0", "gateway_id": "igw-1"},
        {"dest": "10.1.0.0/16", "gateway_id": "i-1", "network_interface_id": "eni-1"},
    ]
    differs = Ec2VpcRouteTable.differs
    wanted: list[Any] = [
        {"dest": "10.1.0.0/16", "gateway_id": "eni-1"},
        {"dest": "0.0.0.0/0", "gateway_id": "igw-1"},
    ]
    assert not differs("routes", wanted, there)
    assert not differs("routes", [{"dest": "10.1.0.0/16", "instance_id": "i-1"}, wanted[1]], there)
    assert differs("routes", wanted[:1], there)
    assert not differs("routes", [*wanted[:1], {"others": "stay"}], there)
    describe = Ec2VpcRouteTable.describe_difference
    assert describe("routes", wanted[:1], there) == "0.0.0.0/0 through igw-1 is not in the playbook"
    assert describe("subnets", ["s-1"], []) == "s-1 is missing"


def test_routes_of_others_may_stay(stage: Stage, ec2: Any) -> None:
    vpc = a_vpc(stage)
    gateway = stage.make(Ec2VpcIgw(vpc_id=vpc))["id"]
    fields = {"vpc_id": vpc, "routes": [{"dest": "0.0.0.0/0", "gateway_id": gateway}]}
    table = Ec2VpcRouteTable.model_validate({**fields, "purge_routes": False})
    id = stage.make(table)["id"]
    ec2.create_route(RouteTableId=id, DestinationCidrBlock="10.50.0.0/16", GatewayId=gateway)
    table.update(stage.world(), id, frozenset({"routes"}))
    (there,) = ec2.describe_route_tables(RouteTableIds=[id])["RouteTables"]
    assert len(there["Routes"]) == 3
    Ec2VpcRouteTable.model_validate(fields).update(stage.world(), id, frozenset({"routes"}))
    (there,) = ec2.describe_route_tables(RouteTableIds=[id])["RouteTables"]
    assert {route["DestinationCidrBlock"] for route in there["Routes"]} == {"10.9.0.0/16", "0.0.0.0/0"}


def test_a_gateway_detached_by_hand_is_attached_again(stage: Stage, ec2: Any) -> None:
    vpc = a_vpc(stage)
    gateway = Ec2VpcIgw(vpc_id=vpc)
    id = stage.make(gateway)["id"]
    ec2.detach_internet_gateway(InternetGatewayId=id, VpcId=vpc)
    world = stage.world()
    assert Ec2VpcIgw.read_many(world, [id])[id]["vpc_id"] is None
    gateway.update(world, id, frozenset({"vpc_id"}))
    assert Ec2VpcIgw.read_many(world, [id])[id]["vpc_id"] == vpc


def test_an_address_of_a_nat_gateway_is_free_after_it(stage: Stage) -> None:
    vpc = a_vpc(stage)
    stage.make(Ec2VpcIgw(vpc_id=vpc))
    subnet = a_subnet(stage, vpc)
    address = Ec2Eip()
    id = address.create(stage.world("address"))
    nat = Ec2VpcNatGateway(subnet_id=subnet, allocation_id=id)
    world = stage.world("nat")
    gateway = nat.create(world)
    Ec2VpcNatGateway.delete(world, gateway)
    Ec2Eip.delete(world, id)
    assert Ec2VpcNatGateway.price(nat) == 0.045


def test_a_nat_gateway_needs_an_address() -> None:
    with pytest.raises(ValidationError, match="needs an address"):
        Ec2VpcNatGateway(subnet_id="subnet-1")


def test_an_address_moves_with_its_instance(stage: Stage, ec2: Any) -> None:
    host = an_instance(stage)
    vpc = ec2.describe_instances(InstanceIds=[host])["Reservations"][0]["Instances"][0]["VpcId"]
    stage.make(Ec2VpcIgw(vpc_id=vpc))
    there = stage.make(Ec2Eip(device_id=host))
    assert there["device_id"] == host
    Ec2Eip(device_id=None).update(stage.world(), there["id"], frozenset({"device_id"}))
    assert Ec2Eip.read_many(stage.world(), [there["id"]])[there["id"]]["device_id"] is None


def test_a_route_that_leads_nowhere(stage: Stage) -> None:
    table = Ec2VpcRouteTable.model_validate(
        {"vpc_id": a_vpc(stage), "routes": [{"dest": "0.0.0.0/0", "gateway_id": "vpc-1"}]}
    )
    with pytest.raises(StepFailed, match="'vpc-1' cannot be the target of a route") as caught:
        table.create(stage.world())
    Ec2VpcRouteTable.delete(stage.world(), getattr(caught.value, "id", ""))


@pytest.mark.parametrize(
    ("route", "words"),
    [
        ({"dest": "0.0.0.0/0"}, "a route needs one target"),
        ({"dest": "everywhere", "gateway_id": "igw-1"}, "is no address range"),
    ],
)
def test_routes_that_make_no_sense(route: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Ec2VpcRouteTable.model_validate({"vpc_id": "vpc-1", "routes": [route]})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "volume_size"),
        ({"volume_size": 1, "iops": 3000, "volume_type": "gp2"}, "not for gp2"),
        ({"volume_size": 1, "volume_type": "io2"}, "needs iops"),
        ({"volume_size": 1, "volume_type": "st1", "throughput": 200}, "not for st1"),
        ({"volume_size": 1, "device_name": "/dev/sdf"}, "name the instance too"),
    ],
)
def test_volumes_that_make_no_sense(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Ec2Vol.model_validate({"zone": "us-east-1a", **fields})


def test_volumes_grow_in_place_and_shrink_by_a_new_one() -> None:
    volume = Ec2Vol(zone="us-east-1a", volume_size=10)
    assert not volume.replaces("volume_size", {"volume_size": 5})
    assert volume.replaces("volume_size", {"volume_size": 20})
    assert volume.replaces("zone", {})
    assert volume.price() == pytest.approx(0.08 * 10 / 730)


def test_one_token_makes_one_volume(stage: Stage) -> None:
    volume, world = Ec2Vol(zone="us-east-1a", volume_size=1), stage.world("disk")
    id = volume.create(world)
    stage.made.append((Ec2Vol, id))
    assert volume.create(world) == id


def test_an_image_goes_with_its_snapshots(stage: Stage, ec2: Any) -> None:
    image = Ec2Ami(name=f"{stage.lab} image", instance_id=an_instance(stage))
    world = stage.world("image")
    id = image.create(world)
    snapshots = Ec2Ami.read_many(world, [id])[id]["snapshot_ids"]
    assert snapshots
    with pytest.raises(AwsError, match="an image of this name is there already"):
        image.create(stage.world("again"))
    Ec2Ami.delete(world, id)
    left = ec2.describe_snapshots(Filters=[{"Name": "snapshot-id", "Values": snapshots}])["Snapshots"]
    assert left == []


def test_one_token_makes_one_nat_gateway(stage: Stage) -> None:
    vpc = a_vpc(stage)
    subnet = a_subnet(stage, vpc)
    stage.make(Ec2VpcIgw(vpc_id=vpc), "igw")
    address = stage.make(Ec2Eip(), "address")["id"]
    gateway, world = Ec2VpcNatGateway(subnet_id=subnet, allocation_id=address), stage.world("nat")
    id = gateway.create(world)
    stage.made.append((Ec2VpcNatGateway, id))
    assert gateway.create(world) == id


def test_a_default_vpc_that_labctl_makes_and_takes_away(cloud: Running) -> None:
    """In a region of its own: the session's other tests launch into the default VPC of theirs."""
    region = "eu-west-3"
    aws = Aws(region=region, endpoint_url=cloud.aws_endpoint, credentials=CREDENTIALS)
    stage, wanted = Stage(aws), Ec2VpcNet(default=True)
    there = wanted.adopts(stage.world("vpc"))
    assert there is not None
    Ec2VpcNet.delete(stage.world("vpc"), there)
    assert wanted.adopts(stage.world("vpc")) is None
    values = stage.make(wanted, "vpc")
    assert values["is_default"] is True
    assert Ec2VpcNet.find(stage.world("vpc", token="")) == [values["id"]]
    assert wanted.adopts(stage.world("vpc")) == values["id"]
    inside = values_filter("vpc-id", [values["id"]])
    assert aws.pages("ec2", "describe_subnets", "Subnets", Filters=inside)
    attached = values_filter("attachment.vpc-id", [values["id"]])
    assert len(aws.pages("ec2", "describe_internet_gateways", "InternetGateways", Filters=attached)) == 1
    with pytest.raises(AwsError) as caught:
        aws.call("ec2", "delete_vpc", VpcId=values["id"])
    assert caught.value.code == "DependencyViolation"
    stage.clear()
    assert wanted.adopts(stage.world("vpc")) is None
    assert aws.pages("ec2", "describe_subnets", "Subnets", Filters=inside) == []
    assert aws.pages("ec2", "describe_internet_gateways", "InternetGateways", Filters=attached) == []


def test_commands_turn_dns_off_in_the_order_that_aws_takes() -> None:
    vpc = Ec2VpcNet(cidr_block="10.0.0.0/16", dns_support=False, dns_hostnames=False).at("vpc")
    lines = vpc.as_commands("update", "vpc-1", frozenset({"dns_support", "dns_hostnames"}))
    modify = "aws ec2 modify-vpc-attribute --vpc-id vpc-1"
    assert lines == [
        f"{modify} --enable-dns-hostnames Value=false",
        f"{modify} --enable-dns-support Value=false",
    ]
