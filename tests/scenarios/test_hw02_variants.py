"""HW02 by its variables: ways out of the private subnet, networks; and what labs with disks and images do."""

from __future__ import annotations

from typing import Any

import pytest

from tests.scenarios.place import Place

PLAYBOOK = "playbooks/hw02.yml"
LAB = "hw02@sandbox"
PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY")
SPOILT = {
    **dict.fromkeys(PROXIES, "http://127.0.0.1:1"),
    "AWS_PROFILE": "a-profile-that-is-missing",
    "AWS_CONFIG_FILE": "/nowhere",
}
"""A user's environment with which AWS itself could not be reached."""


@pytest.fixture(scope="module")
def place(place: Place) -> Place:
    """A place in a spoilt environment, whose machines boot fast."""
    place.env.update(SPOILT)
    inventory = "target: sandbox\nsandbox: {boot_seconds: 0.2, ssh_seconds: 0.2}\n"
    (place.folder / "inventory/sandbox.yml").write_text(inventory)
    return place


def given(**variables: str) -> list[str]:
    return [word for name, value in variables.items() for word in ("-e", f"{name}={value}")]


def settled(place: Place, *words: str, look: bool = True) -> None:
    """Applied, nothing is left to do and every check passes."""
    place.run("apply", PLAYBOOK, *words, "--yes")
    place.run("plan", PLAYBOOK, *words, "--detailed-exitcode")
    if not look:
        return
    checks = place.json("check", PLAYBOOK, *words)
    assert checks
    assert all(check["passed"] for check in checks), checks


def left(place: Place) -> dict[str, Any]:
    """What is there besides an account's own things."""
    ec2 = place.aws()
    reservations = ec2.describe_instances()["Reservations"]
    gateways = ec2.describe_nat_gateways()["NatGateways"]
    found = {
        "instances": [
            one["InstanceId"]
            for reservation in reservations
            for one in reservation["Instances"]
            if one["State"]["Name"] != "terminated"
        ],
        "nat gateways": [one["NatGatewayId"] for one in gateways if one["State"] != "deleted"],
        "addresses": ec2.describe_addresses()["Addresses"],
        "internet gateways": ec2.describe_internet_gateways(
            Filters=[{"Name": "tag:labctl:lab", "Values": [LAB]}]
        )["InternetGateways"],
        "VPCs": [one["VpcId"] for one in ec2.describe_vpcs()["Vpcs"] if not one["IsDefault"]],
        "subnets": [one["SubnetId"] for one in ec2.describe_subnets()["Subnets"] if not one["DefaultForAz"]],
        "groups": [
            one["GroupName"]
            for one in ec2.describe_security_groups()["SecurityGroups"]
            if one["GroupName"] != "default"
        ],
        "keys": ec2.describe_key_pairs()["KeyPairs"],
        "volumes": ec2.describe_volumes()["Volumes"],
        "interfaces": ec2.describe_network_interfaces()["NetworkInterfaces"],
        "route tables": len(ec2.describe_route_tables()["RouteTables"]) - 1,
    }
    return {name: things for name, things in found.items() if things}


def actions(plan: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {address: change["action"] for address, change in plan.items()}


def test_ways_out_of_a_living_lab(place: Place) -> None:
    """bastion → nat_gateway → none in the default VPC, then nothing."""
    settled(place, look=False)
    words = given(private_egress="nat_gateway")
    assert actions(place.plan(PLAYBOOK, *words)) == {
        "nat_address": "create",
        "nat": "create",
        "private_routes": "update",
        "egress_through_bastion": "delete",
        "bastion": "update",
        "forwarding": "delete",
    }
    settled(place, *words)
    [gateway] = place.aws().describe_nat_gateways()["NatGateways"]
    assert gateway["State"] == "available"
    words = given(private_egress="none")
    plan = actions(place.plan(PLAYBOOK, *words))
    assert plan == {
        "nat_address": "delete",
        "nat": "delete",
        "private_routes": "delete",
        "private_docker": "delete",
        "private_hello": "delete",
    }
    settled(place, *words, look=False)
    place.run("destroy", PLAYBOOK, *words, "--yes")
    assert left(place) == {}


@pytest.mark.parametrize("egress", ["bastion", "nat_gateway"])
def test_a_network_of_its_own(place: Place, egress: str) -> None:
    words = given(network="own", private_egress=egress)
    settled(place, *words, look=egress == "bastion")
    place.run("destroy", PLAYBOOK, *words, "--yes")
    assert left(place) == {}


DISKS = """\
name: disks
vars:
  size: {type: int, default: 2}
  attached: {type: bool, default: true}
  market: spot
resources:
  - name: bastion
    ec2_instance: {image: ubuntu-22.04, instance_type: t3.micro, volume_size: 12, cpu_credits: standard}
  - name: disk
    ec2_vol:
      zone: "{{ bastion.availability_zone }}"
      volume_size: "{{ size }}"
      instance: "{{ bastion.id if attached else none }}"
  - name: golden
    ec2_ami: {name: disks golden, instance_id: "{{ bastion.id }}"}
  - name: copy
    ec2_instance:
      image: "{{ golden.id }}"
      instance_type: t3.micro
      market: "{{ market }}"
      max_price: "{{ 0.01 if market == 'spot' else none }}"
"""


def instance(place: Place, id: str) -> dict[str, Any]:
    [found] = place.aws().describe_instances(InstanceIds=[id])["Reservations"]
    return dict(found["Instances"][0])


def test_disks_images_and_spot(place: Place) -> None:
    (place.folder / "disks.yml").write_text(DISKS)
    place.run("apply", "disks.yml", "--yes")
    place.run("plan", "disks.yml", "--detailed-exitcode")
    shown = place.json("show", "disks.yml")["resources"]
    ids, ec2 = {one["address"]: one["id"] for one in shown}, place.aws()
    copy = instance(place, ids["copy"])
    assert (copy["InstanceLifecycle"], copy["ImageId"]) == ("spot", ids["golden"])
    [request] = ec2.describe_spot_instance_requests()["SpotInstanceRequests"]
    assert float(request["SpotPrice"]) == 0.01
    [disk] = ec2.describe_volumes(VolumeIds=[ids["disk"]])["Volumes"]
    assert (disk["Size"], disk["Attachments"][0]["InstanceId"]) == (2, ids["bastion"])

    assert actions(place.plan("disks.yml", *given(size="3"))) == {"disk": "update"}
    place.run("apply", "disks.yml", *given(size="3"), "--yes")
    assert ec2.describe_volumes(VolumeIds=[ids["disk"]])["Volumes"][0]["Size"] == 3

    ec2.terminate_instances(InstanceIds=[ids["copy"]])
    plan = place.plan("disks.yml", *given(size="3"))
    assert actions(plan) == {"copy": "create"}
    assert plan["copy"]["cause"] == "was deleted outside labctl"
    place.run("destroy", "disks.yml", "--yes")
    assert left(place) == {}
    assert ec2.describe_images(Owners=["self"])["Images"] == []
