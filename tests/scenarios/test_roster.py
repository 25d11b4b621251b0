"""A roster of three: labs side by side that share nothing."""

from __future__ import annotations

import pytest

from tests.scenarios.place import Place

PLAYBOOK = """\
name: web
vars: {size: t3.micro, network: own}
resources:
  - name: vpc
    ec2_vpc_net: {cidr_block: 10.9.0.0/16}
  - name: net
    ec2_vpc_subnet: {vpc_id: "{{ vpc.id }}", cidr: 10.9.1.0/24}
  - name: group
    ec2_security_group: {group_name: web, description: web, vpc_id: "{{ vpc.id }}"}
  - name: host
    ec2_instance:
      image: ubuntu-22.04
      instance_type: "{{ size }}"
      vpc_subnet_id: "{{ net.id }}"
      security_groups: ["{{ group.id }}"]
outputs: {address: "{{ host.private_ip }}", who: "{{ lab.student }}"}
"""
INVENTORY = """\
target: sandbox
students: class.csv
tags: {course: w251}
"""
NAMES = ("alice", "bob", "carol")


@pytest.fixture(scope="module")
def place(place: Place) -> Place:
    """A place with a lab for each student of a class."""
    (place.folder / "web.yml").write_text(PLAYBOOK)
    (place.folder / "inventory/class.yml").write_text(INVENTORY)
    (place.folder / "inventory/class.csv").write_text(
        "name,size\nalice,t3.micro\nbob,t3.small\ncarol,t3.micro\n"
    )
    place.env["LABCTL_INVENTORY"] = "inventory/class.yml"
    return place


def running(place: Place) -> dict[str, str]:
    """Lab name to instance type, of what runs."""
    found = place.aws().describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["running"]}])
    instances = [i for reservation in found["Reservations"] for i in reservation["Instances"]]
    return {
        next(tag["Value"] for tag in i["Tags"] if tag["Key"] == "labctl:lab"): i["InstanceType"]
        for i in instances
    }


def test_one_alone(place: Place) -> None:
    said = place.run("plan", "web.yml", "--student", "alice")
    assert "web@class/alice" in said.err
    assert "bob" not in said.all
    place.run("apply", "web.yml", "--student", "alice", "--yes")
    assert running(place) == {"web@class/alice": "t3.micro"}


def test_all_together(place: Place) -> None:
    place.run("apply", "web.yml", "--yes")
    assert running(place) == {
        "web@class/alice": "t3.micro",
        "web@class/bob": "t3.small",
        "web@class/carol": "t3.micro",
    }
    said = place.run("plan", "web.yml", "--detailed-exitcode")
    for name in NAMES:
        assert f"No changes. web@class/{name} matches the playbook." in said.out
    ids = [set(place.tagged(f"web@class/{name}").values()) for name in NAMES]
    assert all(len(found) == 4 for found in ids)
    assert len(set.union(*ids)) == 12


def test_a_failure_of_one_does_not_stop_the_others(place: Place) -> None:
    roster = place.folder / "inventory/class.csv"
    text = roster.read_text()
    roster.write_text(text.replace("bob,t3.small", "bob,t9.huge").replace("carol,t3.micro", "carol,t3.small"))
    said = place.run("apply", "web.yml", "--yes", code=1)
    roster.write_text(text)
    assert running(place)["web@class/carol"] == "t3.small"
    table = said.out.splitlines()[-8:]
    for name, word in (("alice", "ok"), ("bob", "failed"), ("carol", "ok")):
        assert any(name in line and word in line.lower() for line in table), said.out
    place.run("apply", "web.yml", "--yes")
    assert running(place)["web@class/bob"] == "t3.small"


def test_outputs_go_on_where_one_cannot_be_read(place: Place) -> None:
    playbook = place.folder / "web.yml"
    playbook.write_text(
        PLAYBOOK.replace(
            "{{ lab.student }}", "{{ host.private_ip.split('.')[0 if size == 't3.micro' else 9] }}"
        )
    )
    said = place.run("output", "web.yml", code=1)
    told = place.json("output", "-p", "web.yml", code=1)
    playbook.write_text(PLAYBOOK)
    assert said.out.count("  who      10") == 2
    assert "\nweb@class/bob\nError: " in said.err
    assert set(told) == {"web@class/alice", "web@class/carol"}


def test_one_is_destroyed_alone_then_all(place: Place) -> None:
    place.run("destroy", "web.yml", "--student", "bob", "--yes")
    assert set(running(place)) == {"web@class/alice", "web@class/carol"}
    place.run("destroy", "web.yml", "--yes")
    assert running(place) == {}
    assert [vpc["IsDefault"] for vpc in place.aws().describe_vpcs()["Vpcs"]] == [True]


def test_an_unknown_student_gets_a_hint(place: Place) -> None:
    said = place.run("plan", "web.yml", "--student", "alise", code=3)
    assert "did you mean `alice`?" in said.all
