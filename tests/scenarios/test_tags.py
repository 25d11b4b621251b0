"""Tags and `expires` that change after the lab was made, as boto3 sees them."""

from __future__ import annotations

import json

from tests.scenarios.place import Place

INVENTORY = """\
target: sandbox
vars: {}
expires: EXPIRES
tags: TAGS
"""
MORE = """\
  - name: rule
    ec2_security_group_rule: {security_group_id: "{{ group.id }}", proto: tcp, ports: 80, cidr_ip: 0.0.0.0/0}
  - name: vm
    ec2_instance: {image: ubuntu-22.04, instance_type: t3.micro, vpc_subnet_id: "{{ net.id }}"}
    tags: {owner: bob}
outputs:
"""


def inventory(place: Place, expires: str, **tags: str) -> None:
    text = INVENTORY.replace("EXPIRES", expires).replace("TAGS", json.dumps(tags))
    (place.folder / "inventory" / "sandbox.yml").write_text(text)


def seen(place: Place, id: str) -> dict[str, str]:
    found = place.aws().describe_tags(Filters=[{"Name": "resource-id", "Values": [id]}])["Tags"]
    return {tag["Key"]: tag["Value"] for tag in found}


def test_tags_follow_the_playbook_and_the_inventory(small: Place) -> None:
    inventory(small, "2099-12-18", course="w251")
    small.edit("small.yml", "outputs:\n", MORE)
    small.run("apply", "small.yml", "--yes")
    small.forget_sandbox()
    assert small.plan() == {}
    ids = small.tagged("small@sandbox")
    assert ids.keys() == {"vpc", "net", "group", "rule", "vm"}
    made = {address: seen(small, id) for address, id in ids.items()}
    small.aws().create_tags(Resources=[ids["vm"]], Tags=[{"Key": "theirs", "Value": "stays"}])
    small.aws().delete_tags(Resources=[ids["net"]], Tags=[{"Key": "course"}])
    assert {address: change["cause"] for address, change in small.plan().items()} == {
        "net": "tag course is missing (changed outside labctl)"
    }

    inventory(small, "2100-01-15", term="spring")
    small.edit("small.yml", "{owner: bob}", "{owner: alice}")
    planned = small.plan()
    assert {change["action"] for change in planned.values()} == {"update"}
    new = "tag term is missing, tag labctl:expires: 2099-12-18 instead of 2100-01-15"
    gone = "tag course is no longer wanted"
    assert {address: change["cause"] for address, change in planned.items()} == {
        **dict.fromkeys(["vpc", "group", "rule"], f"{new}, {gone}"),
        "net": new,
        "vm": f"{new}, tag owner: bob instead of alice, {gone}",
    }
    by_hand = small.run("plan", "--as-commands").out
    assert f"aws ec2 create-tags --resources {ids['rule']} --tags" in by_hand
    assert "modify-" not in by_hand

    small.run("plan")
    small.run("apply", "--yes")
    assert small.plan() == {}
    assert small.tagged("small@sandbox") == ids
    for address, id in ids.items():
        kept = {key: value for key, value in made[address].items() if key != "course"}
        changed = {"term": "spring", "labctl:expires": "2100-01-15"}
        own = {"owner": "alice", "theirs": "stays"} if address == "vm" else {}
        assert seen(small, id) == {**kept, **changed, **own}, address
    [instance] = small.aws().describe_instances(InstanceIds=[ids["vm"]])["Reservations"][0]["Instances"]
    [disk] = instance["BlockDeviceMappings"]
    for part in (disk["Ebs"]["VolumeId"], instance["NetworkInterfaces"][0]["NetworkInterfaceId"]):
        assert seen(small, part)["labctl:expires"] == "2100-01-15"
        assert "theirs" not in seen(small, part)

    (small.folder / "inventory" / "sandbox.yml").write_text("target: sandbox\n")
    small.run("apply", "--yes", "small.yml")
    assert not {"labctl:expires", "term"} & seen(small, ids["vpc"]).keys()
