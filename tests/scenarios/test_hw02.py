"""HW02 whole: planned, applied, looked at from behind, drifted, mended, changed, destroyed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.scenarios.place import Place

LAB = "hw02@sandbox"
PLAYBOOK = "playbooks/hw02.yml"
LISTED = """
    vpc private_subnet private_routes public_sg private_sg egress_through_bastion key bastion private
    forwarding docker hello my_ubuntu site_folder page web notebook_image notebook notebook_token
    private_docker private_hello
"""
RESOURCES = LISTED.split()


@pytest.fixture(scope="module")
def place(place: Place) -> Place:
    """A place where the lab was planned and applied."""
    place.stand_up("playbooks/hw02.yml")
    return place


def hosts_rule(place: Place, port: int) -> list[dict[str, object]]:
    group = place.aws().describe_security_groups(GroupIds=[place.tagged(LAB)["public_sg"]])["SecurityGroups"][
        0
    ]
    return [rule for rule in group["IpPermissions"] if rule.get("FromPort") == port]


# -- 2: plan, apply, look ------------------------------------------------------------------------------------


def test_the_plan_lists_every_resource(place: Place) -> None:
    lines = place.planned.out.splitlines()
    for address in RESOURCES:
        assert any(address in line.split() for line in lines), address
    assert "to add, 0 to change, 0 to destroy." in place.planned.out
    assert "embedded sandbox, nothing is billed" in place.planned.all


def test_afterwards_there_is_nothing_to_do(place: Place) -> None:
    said = place.run("plan", "--detailed-exitcode")
    assert f"No changes. {LAB} matches the playbook." in said.out


def test_every_check_passes(place: Place) -> None:
    checks = place.json("check")
    assert len(checks) == 5
    assert all(check["passed"] for check in checks), checks


def test_the_api_shows_exactly_the_lab(place: Place) -> None:
    ec2 = place.aws()
    ids = place.tagged(LAB)
    [vpc] = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    assert {tag["Key"] for tag in vpc.get("Tags", [])} == set(), "the adopted VPC stays as it was"

    groups = ec2.describe_security_groups(Filters=[{"Name": "tag:labctl:lab", "Values": [LAB]}])[
        "SecurityGroups"
    ]
    assert {group["GroupName"]: group["VpcId"] for group in groups} == {
        "PublicSG": vpc["VpcId"],
        "PrivateSG": vpc["VpcId"],
    }
    by_name = {group["GroupName"]: group for group in groups}
    public, private = by_name["PublicSG"], by_name["PrivateSG"]
    rules = {
        (rule["IpProtocol"], rule.get("FromPort"), source)
        for rule in public["IpPermissions"]
        for source in [
            *(r["CidrIp"] for r in rule["IpRanges"]),
            *(p["GroupId"] for p in rule["UserIdGroupPairs"]),
        ]
    }
    assert rules == {
        ("tcp", 22, "203.0.113.7/32"),
        ("tcp", 8003, "0.0.0.0/0"),
        ("tcp", 8800, "0.0.0.0/0"),
        ("-1", None, private["GroupId"]),
    }
    [ssh] = private["IpPermissions"]
    assert (ssh["FromPort"], ssh["ToPort"], ssh["IpRanges"]) == (22, 22, [])
    assert [pair["GroupId"] for pair in ssh["UserIdGroupPairs"]] == [public["GroupId"]]

    [key] = ec2.describe_key_pairs(Filters=[{"Name": "tag:labctl:lab", "Values": [LAB]}])["KeyPairs"]
    assert key["KeyName"] == "hw02-sandbox"

    found = ec2.describe_instances(Filters=[{"Name": "tag:labctl:lab", "Values": [LAB]}])["Reservations"]
    instances = {i["InstanceId"]: i for reservation in found for i in reservation["Instances"]}
    assert set(instances) == {ids["bastion"], ids["private"]}
    bastion, hidden = instances[ids["bastion"]], instances[ids["private"]]
    assert (bastion["InstanceType"], hidden["InstanceType"]) == ("t2.large", "t2.micro")
    assert bastion["SourceDestCheck"] is False
    assert bastion["PublicIpAddress"]
    assert "PublicIpAddress" not in hidden
    assert bastion["MetadataOptions"]["HttpTokens"] == "required"
    tags = {tag["Key"]: tag["Value"] for tag in bastion["Tags"]}
    assert (tags["labctl:lab"], tags["labctl:address"]) == (LAB, "bastion")


def test_the_private_key_is_written_once_and_kept_nowhere_else(place: Place) -> None:
    key = place.home / ".ssh/hw02-sandbox.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    secret = key.read_text().splitlines()[1]
    for path in (place.folder / ".labctl").rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path


def test_the_page_comes_through_the_network(place: Place) -> None:
    name = place.json("output")["bastion_dns"]
    done = place.curl(f"http://{name}:8003/")
    assert (done.returncode, f"<h1>{LAB}</h1>" in done.stdout) == (0, True), done
    assert place.curl(f"http://{name}:8800/api").returncode == 0


def test_the_token_is_masked_unless_asked_for(place: Place) -> None:
    token = place.json("output")["notebook_token"]
    assert len(token) >= 32
    assert token not in place.run("output").out
    assert place.run("output", "notebook_token").out.strip() == token
    assert token not in place.planned.all + place.applied.all
    for path in (place.folder / ".labctl").rglob("*"):
        if path.is_file():
            assert token.encode() not in path.read_bytes(), path
    name = place.json("output")["bastion_dns"]
    assert (
        place.curl(f"http://{name}:8800/tree?token={token}", "-o", "/dev/null", "-w", "%{http_code}").stdout
        == "200"
    )


def test_drift_is_told_in_words_and_mended(place: Place) -> None:
    ec2, group = place.aws(), place.tagged(LAB)["public_sg"]
    name = place.json("output")["bastion_dns"]
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=hosts_rule(place, 8003))

    assert place.curl(f"http://{name}:8003/").returncode != 0
    said = place.run("plan", "--detailed-exitcode", code=2)
    assert "tcp 8003 from 0.0.0.0/0 is missing" in said.out
    assert "Plan: 0 to add, 1 to change, 0 to destroy." in said.out
    place.run("apply", "--yes")
    assert place.curl(f"http://{name}:8003/").returncode == 0
    assert len(hosts_rule(place, 8003)) == 1
    place.run("plan", "--detailed-exitcode")


def test_a_saved_plan_is_refused_once_the_world_has_changed(place: Place) -> None:
    ec2, group = place.aws(), place.tagged(LAB)["public_sg"]
    place.run("plan")
    rule = hosts_rule(place, 8800)
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=rule)
    said = place.run("apply", "--yes", code=None)
    assert said.code != 0
    assert "tcp 8800 from 0.0.0.0/0 is missing" in said.err
    assert "Nothing was done" in said.err
    assert hosts_rule(place, 8800) == []
    place.run("apply", "playbooks/hw02.yml", "--yes")
    assert hosts_rule(place, 8800)


# -- 4: one change of each sort ------------------------------------------------------------------------------


def test_a_rule_changes_in_place(place: Place) -> None:
    plan = place.plan(PLAYBOOK, "-e", "web_from=198.51.100.0/24")
    assert {address: change["action"] for address, change in plan.items()} == {"public_sg": "update"}


def test_the_page_is_rewritten_and_the_container_left_alone(place: Place) -> None:
    started = place.run("ssh", "bastion", "docker inspect -f '{{.State.StartedAt}}' my-apache-app").out
    place.edit("templates/index.html.j2", "Served by", "Brought to you by")
    plan = place.plan(PLAYBOOK)
    assert {address: change["action"] for address, change in plan.items()} == {"page": "update"}
    place.run("apply", "--yes")
    name = place.json("output")["bastion_dns"]
    assert "Brought to you by" in place.curl(f"http://{name}:8003/").stdout
    assert (
        place.run("ssh", "bastion", "docker inspect -f '{{.State.StartedAt}}' my-apache-app").out == started
    )


def test_a_published_port_replaces_the_container(place: Place) -> None:
    plan = place.plan(PLAYBOOK, "-e", "web_port=8004")
    assert {address: change["action"] for address, change in plan.items()} == {
        "public_sg": "update",
        "web": "replace",
        "page": "update",  # it names the port
    }
    [ports] = [field for field in plan["web"]["fields"] if field["name"] == "published_ports"]
    assert ports["replaces"] is True


def test_the_type_is_changed_by_stop_and_start(place: Place) -> None:
    id = place.tagged(LAB)["private"]
    place.edit("playbooks/hw02.yml", "private_type: t2.micro", "private_type: t2.small")
    plan = place.plan(PLAYBOOK)
    assert {address: change["action"] for address, change in plan.items()} == {"private": "update"}
    place.run("apply", "--yes")
    instance = place.aws().describe_instances(InstanceIds=[id])["Reservations"][0]["Instances"][0]
    assert (instance["InstanceType"], instance["State"]["Name"]) == ("t2.small", "running")
    place.run("plan", "--detailed-exitcode")


def test_another_image_replaces_the_host_and_all_that_stands_on_it(place: Place) -> None:
    plan = place.plan(PLAYBOOK, "-e", "ubuntu=ubuntu-24.04")
    replaced = {address for address, change in plan.items() if change["action"] == "replace"}
    on_bastion = {
        "forwarding",
        "docker",
        "hello",
        "my_ubuntu",
        "site_folder",
        "page",
        "web",
        "notebook_image",
        "notebook",
    }
    assert {"bastion", "private", "private_docker", "private_hello"} | on_bastion <= replaced
    assert plan["docker"]["cause"] == "lives on bastion, which is replaced"
    assert plan["private_routes"]["cause"] == "stands on bastion"
    assert not {"public_sg", "private_sg", "key", "private_subnet"} & set(plan)


def test_a_variable_under_another_name_changes_nothing(place: Place) -> None:
    place.edit("playbooks/hw02.yml", "web_from", "visitors")
    assert place.plan(PLAYBOOK) == {}
    place.edit("playbooks/hw02.yml", "visitors", "web_from")


def test_a_removed_resource_is_destroyed(place: Place) -> None:
    playbook = place.folder / "playbooks/hw02.yml"
    text = playbook.read_text()
    start = text.index("      - name: my_ubuntu\n")
    end = text.index("      - name: site_folder\n")
    playbook.write_text(text[:start] + text[end:])
    plan = place.plan(PLAYBOOK)
    assert {address: change["action"] for address, change in plan.items()} == {"my_ubuntu": "delete"}
    assert plan["my_ubuntu"]["cause"] == "no longer in the playbook"
    place.run("apply", "--yes")
    assert "my_ubuntu" not in place.run("ssh", "bastion", "docker ps -a --format '{{.Names}}'").out
    playbook.write_text(text)
    place.run("apply", "playbooks/hw02.yml", "--yes")
    place.run("plan", "--detailed-exitcode")


# -- as commands, show, history ------------------------------------------------------------------------------


def test_the_same_by_hand(place: Place) -> None:
    said = place.run("plan", "playbooks/hw02.yml", "--destroy", "--as-commands").out
    assert "aws ec2 terminate-instances" in said
    fresh = Place(place.folder.parent / "fresh")
    try:
        said = fresh.run("plan", "playbooks/hw02.yml", "--as-commands").out
    finally:
        fresh.close()
    for wanted in ("PUBLIC_SG_ID=$(aws ec2 create-security-group", "docker run", "httpd:2.4", "ssh -F"):
        assert wanted in said, wanted


def test_show_and_history_read_the_ledger(place: Place) -> None:
    shown = place.json("show")
    assert {resource["address"] for resource in shown["resources"]} == set(RESOURCES)
    assert place.tagged(LAB)["bastion"] in {resource["id"] for resource in shown["resources"]}
    assert "bastion" in place.run("history").out


# -- 5: the end ----------------------------------------------------------------------------------------------


def test_only_the_private_instance_can_be_deleted(place: Place) -> None:
    ids = place.tagged(LAB)
    place.run("destroy", "--only", "private", "--yes")
    states = {
        i["InstanceId"]: i["State"]["Name"]
        for reservation in place.aws().describe_instances(InstanceIds=[ids["bastion"], ids["private"]])[
            "Reservations"
        ]
        for i in reservation["Instances"]
    }
    assert states == {ids["bastion"]: "running", ids["private"]: "terminated"}
    plan = place.plan(PLAYBOOK)
    assert set(plan) == {"private", "private_docker", "private_hello"}
    assert {change["action"] for change in plan.values()} == {"create"}


def test_destroy_leaves_nothing_but_what_was_there(place: Place) -> None:
    ec2 = place.aws()
    said = place.run("destroy", "--yes")
    assert "nothing" in said.all.lower()
    live = [
        i["InstanceId"]
        for reservation in ec2.describe_instances()["Reservations"]
        for i in reservation["Instances"]
        if i["State"]["Name"] != "terminated"
    ]
    assert live == []
    assert ec2.describe_key_pairs()["KeyPairs"] == []
    assert {group["GroupName"] for group in ec2.describe_security_groups()["SecurityGroups"]} == {"default"}
    assert {subnet["CidrBlock"] for subnet in ec2.describe_subnets()["Subnets"]}.isdisjoint(
        {"172.31.200.0/24"}
    )
    assert len(ec2.describe_route_tables()["RouteTables"]) == 1
    assert [vpc["IsDefault"] for vpc in ec2.describe_vpcs()["Vpcs"]] == [True]
    assert ec2.describe_volumes()["Volumes"] == []
    assert place.json("show")["resources"] == []
    assert not (place.home / ".ssh/hw02-sandbox.pem").exists()
    story = place.run("history").out
    assert "destroy" in story
    assert story.index("apply") < story.rindex("destroy")


def test_destroying_nothing_is_quiet(place: Place) -> None:
    place.run("destroy", "--yes")


def test_the_ledger_is_only_for_its_owner(place: Place) -> None:
    ledger: Path = place.folder / ".labctl/labctl.db"
    assert stat.S_IMODE(ledger.stat().st_mode) == 0o600
