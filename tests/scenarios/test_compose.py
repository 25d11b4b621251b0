"""Labs put together from parts, and labs that use other labs."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.scenarios.place import Place

SECOND = """\
name: second
uses: {b: base}
resources:
  - name: note
    ec2_security_group: {group_name: two, description: "by {{ b.bastion_group }}", vpc_id: "{{ b.vpc_id }}"}
outputs: {bastion: "{{ b.bastion_ip }}"}
"""
CLASS = """\
target: sandbox
students: class.csv
vars: {base_lab: base@sandbox}
"""


@pytest.fixture(scope="module")
def place(place: Place) -> Place:
    """A place with one more lab that uses the base, and a class."""
    (place.folder / "playbooks/second.yml").write_text(SECOND)
    (place.folder / "inventory/class.yml").write_text(CLASS)
    (place.folder / "inventory/class.csv").write_text("name\nann\nbob\n")
    return place


@pytest.fixture(scope="module")
def base(place: Place) -> Place:
    """The base lab, there for all tests of the module."""
    said = place.run("plan", "playbooks/uses_base.yml", code=3)
    assert "the lab `base@sandbox` was never applied here" in said.err
    assert "apply it first: labctl apply playbooks/base.yml" in said.err
    place.run("validate", "playbooks/uses_base.yml")
    place.run("apply", "playbooks/base.yml", "--yes")
    return place


def test_a_lab_from_parts(base: Place) -> None:
    place = base
    assert place.plan("playbooks/base.yml") == {}
    made = place.tagged("base@sandbox")
    assert set(made) == {
        *(f"net.{name}" for name in ("vpc", "gateway", "public", "private", "routes")),
        *("key", "bastion_sg", "bastion"),
    }
    shown = place.json("show", "playbooks/base.yml")
    assert {item["address"]: item["id"] for item in shown["resources"]} == made
    assert place.json("check", "playbooks/base.yml")[0]["passed"]
    assert 'label="delete net.routes' in place.run("graph", "playbooks/base.yml", "--destroy").out


def test_a_part_is_chosen_by_its_name(base: Place) -> None:
    changes = base.json("plan", "playbooks/base.yml", "--only", "net", "--destroy")["changes"]
    going = {change["address"] for change in changes if change["action"] == "delete"}
    # What stands on the network goes with it.
    assert going == set(base.tagged("base@sandbox")) - {"key"}
    commands = base.run("plan", "playbooks/base.yml", "--replace", "net.routes", "--as-commands").out
    assert "NET_ROUTES_ID=$(aws ec2 create-route-table" in commands


def test_labs_that_use_it_keep_it(base: Place) -> None:
    place = base
    place.run("apply", "playbooks/uses_base.yml", "--yes")
    place.run("apply", "playbooks/second.yml", "--yes")
    assert place.plan("playbooks/uses_base.yml") == {}
    assert all(item["passed"] for item in place.json("check", "playbooks/uses_base.yml"))
    ip = place.json("output", "playbooks/base.yml")["bastion_ip"]
    assert place.run("ssh", "-p", "playbooks/uses_base.yml", "host", "cat", "/etc/motd").out == (
        f"uses_base@sandbox stands behind the bastion at {ip}.\n"
    )
    refused = place.run("destroy", "playbooks/base.yml", "--yes", code=3)
    assert "Error: base@sandbox is used by second@sandbox and uses_base@sandbox" in refused.err
    assert "    labctl destroy second@sandbox\n    labctl destroy uses_base@sandbox" in refused.err
    assert len(place.tagged("base@sandbox")) == 8
    told = place.run("show", "playbooks/base.yml").out
    assert "Used by second@sandbox: outputs bastion_group, bastion_ip, vpc_id." in told
    assert "Used by uses_base@sandbox: host bastion; outputs " in told
    assert "Uses base@sandbox: " in place.run("show", "second@sandbox").out
    users = place.json("show", "base@sandbox")["used_by"]
    assert [user["lab"] for user in users] == ["second@sandbox", "uses_base@sandbox"]
    assert "uses_base@sandbox uses it from now on" in place.run("history", "base@sandbox").out


def test_what_is_used_is_not_replaced(base: Place) -> None:
    refused = base.run("plan", "playbooks/base.yml", "--replace", "bastion", code=3).err
    assert "bastion would be replaced, and is used by " in refused
    assert "uses_base@sandbox (the host bastion, the output bastion_ip)" in refused
    assert "--skip bastion" in refused
    base.edit("playbooks/base.yml", "bastion_type: t3.micro", "bastion_type: t3.micro\n  image: debian-12")
    base.edit("playbooks/base.yml", "image: ubuntu-22.04", 'image: "{{ image }}"')
    assert "bastion would be replaced" in base.run("plan", "playbooks/base.yml", code=3).err
    # Looking at it goes on.
    assert base.json("check", "playbooks/base.yml")[0]["passed"]
    base.edit("playbooks/base.yml", "image: debian-12", "image: ubuntu-22.04")
    changes = base.plan("playbooks/base.yml", "--replace", "net.routes")
    assert [(name, change["action"]) for name, change in changes.items()] == [("net.routes", "replace")]


def test_a_class_uses_one_base(base: Place) -> None:
    place = base
    place.run("apply", "playbooks/uses_base.yml", "-i", "class", "--yes")
    told = place.json("output", "-p", "playbooks/uses_base.yml", "-i", "class")
    assert len({values["private_ip"] for values in told.values()}) == 2
    refused = place.run("destroy", "base@sandbox", "--yes", code=3).err
    assert "uses_base@class/ann, uses_base@class/bob and uses_base@sandbox" in refused
    place.run("destroy", "playbooks/uses_base.yml", "-i", "class", "--yes")
    users = place.json("show", "base@sandbox")["used_by"]
    assert [user["lab"] for user in users] == ["second@sandbox", "uses_base@sandbox"]


def test_secrets_of_another_lab_are_not_kept(base: Place) -> None:
    place = base
    keeper = "name: keeper\nvars: {word: {type: secret, from: {env: WORD}}}\noutputs: {word: '{{ word }}'}\n"
    (place.folder / "keeper.yml").write_text(keeper)
    (place.folder / "teller.yml").write_text(
        "name: teller\nuses: keeper\nresources:\n"
        "  - {name: vpc, ec2_vpc_net: {cidr_block: 10.77.0.0/16}, tags: {said: '{{ keeper.word }}'}}\n"
        "outputs: {told: '{{ keeper.word }}'}\n"
    )
    env = {"WORD": "abracadabra"}
    place.run("apply", "keeper.yml", "--yes", env=env)
    said = [
        place.run(*words, env=env).all for words in (("plan", "teller.yml"), ("apply", "teller.yml", "--yes"))
    ]
    assert "abracadabra" not in "".join(said)
    assert place.run("output", "told", "-p", "teller.yml", env=env).out == "abracadabra\n"
    with closing(sqlite3.connect(place.folder / ".labctl/labctl.db")) as ledger:
        assert "abracadabra" not in "".join(ledger.iterdump())
    assert (
        "keeper@sandbox is used by teller@sandbox"
        in place.run("destroy", "keeper.yml", "--yes", code=3, env=env).err
    )
    place.run("destroy", "teller@sandbox", "--yes", env=env)
    place.run("destroy", "keeper.yml", "--yes", env=env)


def test_those_that_used_it_go_first(base: Place) -> None:
    place = base
    known = place.folder / ".labctl/uses_base@sandbox/known_hosts"
    assert "base.bastion" in known.read_text()
    place.run("destroy", "uses_base@sandbox", "--yes")
    # Until it is used again the bastion may be made anew, with other host keys.
    assert "base.bastion" not in known.read_text()
    place.run("destroy", "playbooks/second.yml", "--yes")
    assert place.json("show", "base@sandbox")["used_by"] == []
    assert "second@sandbox uses it no more" in place.run("history", "base@sandbox").out
    place.run("destroy", "playbooks/base.yml", "--yes")
    left = place.tagged("base@sandbox")
    # AWS shows a terminated instance, with its tags, for another hour.
    assert set(left) == {"bastion"}
    [reservation] = place.aws().describe_instances(InstanceIds=list(left.values()))["Reservations"]
    assert reservation["Instances"][0]["State"]["Name"] == "terminated"
    assert [vpc["IsDefault"] for vpc in place.aws().describe_vpcs()["Vpcs"]] == [True]
