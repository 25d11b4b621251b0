"""A ledger that is lost, and written anew from what is there."""

from __future__ import annotations

import shutil

import pytest

from tests.scenarios.place import Place

PLAYBOOK = """\
name: lost
vars: {workers: {type: int, default: 2}}
resources:
  - name: net
    include: parts/network.yml
  - name: default
    ec2_vpc_net: {default: true}
  - name: key
    ec2_key: {key_name: lost, private_key_file: "~/.ssh/lost.pem"}
  - name: group
    ec2_security_group:
      group_name: lost
      description: of a lab whose ledger is lost
      vpc_id: "{{ net.vpc_id }}"
      rules: [{proto: tcp, ports: 22, cidr_ip: "{{ my_ip }}"}]
    protect: true
  - name: worker
    loop: "{{ workers }}"
    ec2_instance:
      image: ubuntu-22.04
      instance_type: t3.micro
      key_name: "{{ key.key_name }}"
      vpc_subnet_id: "{{ net.public_subnet }}"
      security_groups: ["{{ group.id }}"]
      assign_public_ip: true
      user_data: "#!/bin/sh\\ntrue\\n"
    depends_on: [net]
    ssh: {user: ubuntu, key: "{{ key.private_key_file }}"}
  - host: worker[0]
    block:
      - {name: page, copy: {content: "hello\\n", dest: /srv/page}}
      - {name: docker, docker_engine: {}}
      - {name: web, docker_container: {name: web, image: "httpd:2.4"}}
outputs: {ip: "{{ worker[0].public_ip }}", page: /srv/page}
"""
CLOUD = {
    *(f"net.{name}" for name in ("vpc", "gateway", "public", "private", "routes")),
    *("key", "group", "worker[0]", "worker[1]"),
}


@pytest.fixture(scope="module")
def place(place: Place) -> Place:
    """A place where the lab was applied."""
    (place.folder / "playbooks/lost.yml").write_text(PLAYBOOK)
    place.run("apply", "playbooks/lost.yml", "--yes")
    return place


def lose_the_ledger(place: Place) -> None:
    for file in (place.folder / ".labctl").glob("labctl.db*"):
        file.unlink()


def instances(place: Place) -> set[str]:
    found = place.aws().describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["running"]}])
    return {i["InstanceId"] for reservation in found["Reservations"] for i in reservation["Instances"]}


def test_nothing_is_found_that_the_ledger_has(place: Place) -> None:
    said = place.run("recover", "playbooks/lost.yml")
    assert said.out == "Nothing is there that the ledger of lost@sandbox does not have.\n"


@pytest.mark.parametrize("command", [("plan",), ("apply", "--yes"), ("destroy", "--yes")])
def test_what_another_folder_made_is_not_made_again(place: Place, command: tuple[str, ...]) -> None:
    running = instances(place)
    kept = (place.folder / ".labctl").rename(place.folder / "of-the-other")
    said = place.run(*command, "playbooks/lost.yml", "-e", "workers=2", code=1)
    assert said.err == (
        "lost@sandbox · embedded sandbox, nothing is billed\n"
        "Error: lost@sandbox is there already (group and 7 more), but its ledger here is new: it was made "
        "from another folder, or the ledger was lost.\n"
        "  Work in that folder; or write what is there into the ledger here: labctl recover "
        "playbooks/lost.yml -e workers=2\n"
    )
    assert instances(place) == running
    shutil.rmtree(place.folder / ".labctl")
    kept.rename(place.folder / ".labctl")


def test_what_is_there_is_written_down_again(place: Place) -> None:
    before = place.json("show", "playbooks/lost.yml")["resources"]
    lose_the_ledger(place)
    asked = place.run("recover", "playbooks/lost.yml", code=3)
    assert "Write this into its ledger? Type yes to go ahead:" in asked.err
    assert place.json("show", "playbooks/lost.yml")["resources"] == []
    found = place.json("recover", "playbooks/lost.yml", "--yes")
    assert {item["address"] for item in found["found"] if not item["host"]} == {*CLOUD, "default"}
    assert found["missing"] == found["surplus"] == found["strangers"] == []
    after = place.json("show", "playbooks/lost.yml")["resources"]
    assert {(item["address"], item["id"]) for item in after} == {
        (item["address"], item["id"]) for item in before
    }
    needs = {item["address"]: item["needs"] for item in before}
    assert {item["address"]: item["needs"] for item in after} == needs


def test_then_there_is_nothing_to_do(place: Place) -> None:
    running = instances(place)
    assert "No changes. lost@sandbox matches the playbook." in place.run("plan", "playbooks/lost.yml").out
    assert place.run("ssh", "-p", "playbooks/lost.yml", "worker[0]", "cat", "/srv/page").out == "hello\n"
    place.run("apply", "playbooks/lost.yml", "--yes")
    assert instances(place) == running
    assert "recover started: labctl recover" in place.run("history", "lost@sandbox").out


def test_protection_is_remembered(place: Place) -> None:
    said = place.run("plan", "playbooks/lost.yml", "--replace", "group", code=3)
    assert "group is protected and would be replaced" in said.err


def test_some_of_it(place: Place) -> None:
    """One that is gone, one that is one too many, one that the playbook does not have any more."""
    lose_the_ledger(place)
    ec2 = place.aws()
    tags = [
        {"Key": key, "Value": value}
        for key, value in (("labctl:lab", "lost@sandbox"), ("labctl:address", "net.gateway"))
    ]
    second = ec2.create_internet_gateway(
        TagSpecifications=[{"ResourceType": "internet-gateway", "Tags": tags}]
    )["InternetGateway"]["InternetGatewayId"]
    gone = place.tagged("lost@sandbox")["worker[1]"]
    ec2.terminate_instances(InstanceIds=[gone])
    found = place.json("recover", "playbooks/lost.yml", "--yes", "-e", "workers=1")
    assert [(item["address"], item["kind"]) for item in found["surplus"]] == [("net.gateway", "ec2_vpc_igw")]
    assert {address for address, _ in ((each["address"], each["arn"]) for each in found["strangers"])} <= {
        "worker[1]"
    }
    changes = place.plan("playbooks/lost.yml", "-e", "workers=1")
    assert {name: change["action"] for name, change in changes.items()} == {"net.gateway": "delete"}
    place.run("apply", "playbooks/lost.yml", "-e", "workers=1", "--yes")
    there = {gateway["InternetGatewayId"] for gateway in ec2.describe_internet_gateways()["InternetGateways"]}
    assert len(there & {second, place.tagged("lost@sandbox")["net.gateway"]}) == 1


def test_destroy_leaves_nothing(place: Place) -> None:
    place.edit("playbooks/lost.yml", "    protect: true\n", "")
    place.run("apply", "playbooks/lost.yml", "-e", "workers=1", "--yes")
    lose_the_ledger(place)
    place.run("recover", "playbooks/lost.yml", "-e", "workers=1", "--yes")
    said = place.run("destroy", "playbooks/lost.yml", "-e", "workers=1", "--yes")
    assert "is left" in said.out
    assert instances(place) == set()
    ec2 = place.aws()
    assert [vpc["IsDefault"] for vpc in ec2.describe_vpcs()["Vpcs"]] == [True]
    assert ec2.describe_key_pairs()["KeyPairs"] == []
    said = place.run("recover", "playbooks/lost.yml", "-e", "workers=1")
    assert "Nothing is there that the ledger of lost@sandbox does not have." in said.out
    lose_the_ledger(place)
    place.run("recover", "playbooks/lost.yml")
    assert "recover ended: done, nothing was found" in place.run("history", "playbooks/lost.yml").out
    assert "to add" in place.run("plan", "playbooks/lost.yml").out
