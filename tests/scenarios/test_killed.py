"""Killed at the worst moments, and answers that never arrive: nothing twice, nothing forgotten."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.scenarios.place import Place, read_until
from tests.scenarios.relay import Relay

LAB = """\
name: medium
resources:
  - name: vpc
    ec2_vpc_net: {cidr_block: 10.7.0.0/16}
  - name: gateway
    ec2_vpc_igw: {vpc_id: "{{ vpc.id }}"}
  - name: net
    ec2_vpc_subnet: {vpc_id: "{{ vpc.id }}", cidr: 10.7.1.0/24}
  - name: routes
    ec2_vpc_route_table:
      vpc_id: "{{ vpc.id }}"
      subnets: ["{{ net.id }}"]
      routes: [{dest: 0.0.0.0/0, gateway_id: "{{ gateway.id }}"}]
  - name: group
    ec2_security_group:
      group_name: medium
      description: a group
      vpc_id: "{{ vpc.id }}"
      rules: [{proto: tcp, ports: 22, cidr_ip: 0.0.0.0/0}]
  - name: key
    ec2_key: {key_name: medium, private_key_file: ~/.ssh/medium.pem}
  - name: host
    ec2_instance:
      image: ubuntu-22.04
      instance_type: t3.micro
      key_name: "{{ key.key_name }}"
      security_groups: ["{{ group.id }}"]
      vpc_subnet_id: "{{ net.id }}"
      assign_public_ip: true
    ssh: {user: ubuntu, key: "{{ key.private_key_file }}"}
    depends_on: [routes]
  - host: host
    block:
      - name: docker
        docker_engine: {}
      - name: web
        docker_container: {name: web, image: "httpd:2.4"}
        depends_on: [docker]
      - name: once
        command: {cmd: echo x >> /srv/count, creates: /srv/count}
"""
KILLED_AT = ["CreateVpc", "CreateSecurityGroup", "CreateKeyPair", "RunInstances"]
KILLED_AFTER = ["DeleteKeyPair", "DeleteVpc"]
LOST = ["CreateVpc", "CreateSubnet", "RunInstances", "TerminateInstances", "DeleteSubnet", "DeleteVpc"]


@pytest.fixture(scope="module")
def place(place: Place) -> Place:
    """A place with a lab of everything, a sandbox that runs, and credentials for it as if it were AWS."""
    (place.folder / "medium.yml").write_text(LAB)
    (place.folder / "inventory/sandbox.yml").write_text(
        "target: sandbox\nsandbox: {boot_seconds: 0.1, ssh_seconds: 0.1}\n"
    )
    place.sandbox_endpoint()
    place.env |= {"AWS_ACCESS_KEY_ID": "labctl", "AWS_SECRET_ACCESS_KEY": "sandbox"}
    return place


@pytest.fixture
def relay(place: Place) -> Iterator[Relay]:
    """What stands between labctl and AWS."""
    relay = Relay(place.sandbox["aws_endpoint"])
    (place.folder / "inventory/relay.yml").write_text(
        "target: aws\n"
        f"aws: {{region: us-east-1, endpoint_url: 'http://127.0.0.1:{relay.port}'}}\n"
        f"ssh: {{proxy: '{place.sandbox['socks_proxy']}'}}\n"
    )
    place.env["LABCTL_INVENTORY"] = "inventory/relay.yml"
    yield relay
    relay.close()


def counted(place: Place) -> dict[str, int]:
    """How many of each there are, made by labctl or not."""
    ec2 = place.aws()
    reservations = ec2.describe_instances()["Reservations"]
    instances: list[dict[str, Any]] = [each for one in reservations for each in one["Instances"]]
    return {
        "vpcs": len(ec2.describe_vpcs()["Vpcs"]),
        "gateways": len(ec2.describe_internet_gateways()["InternetGateways"]),
        "subnets": len(ec2.describe_subnets()["Subnets"]),
        "tables": len(ec2.describe_route_tables()["RouteTables"]),
        "groups": len(ec2.describe_security_groups()["SecurityGroups"]),
        "keys": len(ec2.describe_key_pairs()["KeyPairs"]),
        "volumes": len(ec2.describe_volumes()["Volumes"]),
        "instances": sum(each["State"]["Name"] != "terminated" for each in instances),
    }


def one_more_of_each(before: dict[str, int]) -> dict[str, int]:
    """A VPC comes with a route table and a group of its own."""
    return {name: count + 1 + (name in ("tables", "groups")) for name, count in before.items()}


def killed_at(place: Place, relay: Relay, command: str, action: str) -> None:
    """Run `command` and kill it when `action` has taken effect and before it hears of that."""
    # One step at a time: what comes later in the playbook is surely not done yet.
    process = place.start(command, "medium.yml", "--yes", "--parallel", "1")
    relay.then = lambda: os.killpg(process.pid, signal.SIGKILL)
    relay.lose[action] = 1
    said, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, f"{action} was never asked for\n{said}"
    relay.lose.clear()


def killed_when_it_says(place: Place, command: str, line: str) -> None:
    """Run `command` and kill it as soon as it prints `line`."""
    with place.start(command, "medium.yml", "--yes") as process:
        read_until(process, line)
        os.killpg(process.pid, signal.SIGKILL)


def test_killed_between_effect_and_answer_again_and_again(place: Place, relay: Relay) -> None:
    before = counted(place)
    for action in KILLED_AT:
        killed_at(place, relay, "apply", action)
    for step in ("docker: creating", "web: creating"):
        killed_when_it_says(place, "apply", step)
    place.run("apply", "medium.yml", "--yes")
    assert relay.lost == KILLED_AT
    assert counted(place) == one_more_of_each(before)
    assert place.run("plan", "medium.yml", "--detailed-exitcode").out.startswith("No changes.")
    on_host = place.run("ssh", "host", "sudo docker ps -a --format '{{.Names}}'; cat /srv/count").out
    assert on_host.split() == ["web", "x"]

    for action in KILLED_AFTER:
        killed_at(place, relay, "destroy", action)
    place.run("destroy", "medium.yml", "--yes")
    assert counted(place) == before
    assert place.json("show", "medium.yml")["resources"] == []
    assert not (place.home / ".ssh" / "medium.pem").exists()


def test_lost_answers_make_nothing_twice(place: Place, relay: Relay) -> None:
    (place.folder / "medium.yml").write_text(LAB.partition("  - host: host")[0])
    before = counted(place)
    relay.lose.update(LOST)
    place.run("apply", "medium.yml", "--yes")
    assert counted(place) == one_more_of_each(before)
    assert place.run("plan", "medium.yml", "--detailed-exitcode").out.startswith("No changes.")
    place.run("destroy", "medium.yml", "--yes")
    assert counted(place) == before
    assert sorted(relay.lost) == sorted(LOST)
