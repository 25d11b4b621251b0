"""What goes wrong outside the playbook: a clear message, the right exit code, no traceback, nothing lost."""

from __future__ import annotations

import os
import signal
import socket
import time
from urllib.parse import urlsplit

import pytest

from tests.scenarios.place import Place, interrupt, interrupt_twice, read_until, rest_of
from tests.waiting import waited

LAB = """\
name: small
resources:
  - name: vpc
    ec2_vpc_net: {cidr_block: 10.8.0.0/16}
  - name: net
    ec2_vpc_subnet: {vpc_id: "{{ vpc.id }}", cidr: 10.8.1.0/24}
  - name: group
    ec2_security_group: {group_name: small, description: small, vpc_id: "{{ vpc.id }}"}
  - name: host
    ec2_instance:
      image: ubuntu-22.04
      instance_type: t3.micro
      vpc_subnet_id: "{{ net.id }}"
      security_groups: ["{{ group.id }}"]
"""
HIDDEN_HOST = """\
name: hidden
resources:
  - name: vpc
    ec2_vpc_net: {default: true}
  - name: group
    ec2_security_group: {group_name: shut, description: lets nobody in, vpc_id: "{{ vpc.id }}"}
  - name: key
    ec2_key: {key_name: hidden, private_key_file: ~/.ssh/hidden.pem}
  - name: host
    ec2_instance:
      image: ubuntu-22.04
      instance_type: t3.micro
      key_name: "{{ key.key_name }}"
      assign_public_ip: true
      security_groups: ["{{ group.id }}"]
    ssh: {user: ubuntu, key: "{{ key.private_key_file }}"}
  - name: note
    host: host
    timeout: 6s
    copy: {content: hello, dest: /etc/note}
"""


@pytest.fixture(scope="module")
def place(place: Place) -> Place:
    """A place with a lab that works, and one with a host that nobody reaches."""
    (place.folder / "small.yml").write_text(LAB)
    (place.folder / "hidden.yml").write_text(HIDDEN_HOST)
    return place


def aws_inventory(place: Place, endpoint: str) -> str:
    path = place.folder / "inventory/direct.yml"
    path.write_text(f"target: aws\naws: {{region: us-east-1, endpoint_url: '{endpoint}'}}\n")
    return "inventory/direct.yml"


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_an_endpoint_that_does_not_answer(place: Place) -> None:
    inventory = aws_inventory(place, f"http://127.0.0.1:{closed_port()}")
    env = {"AWS_ACCESS_KEY_ID": "labctl", "AWS_SECRET_ACCESS_KEY": "sandbox"}
    said = place.run("plan", "small.yml", "-i", inventory, env=env, code=5)
    assert "127.0.0.1" in said.err


def test_no_credentials_at_all(place: Place) -> None:
    inventory = aws_inventory(place, place.sandbox_endpoint())
    said = place.run("plan", "small.yml", "-i", inventory, env={"AWS_EC2_METADATA_DISABLED": "true"}, code=5)
    assert "credentials" in said.err


@pytest.mark.parametrize(
    ("key", "words"),
    [("AKIAWRONGWRONGWRONG1", "access key"), ("EXPIREDEXPIREDEXPI", "expired")],
)
def test_wrong_and_expired_credentials(place: Place, key: str, words: str) -> None:
    inventory = aws_inventory(place, place.sandbox_endpoint())
    env = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": "nonsense-nonsense", "AWS_SESSION_TOKEN": "x"}
    said = place.run("plan", "small.yml", "-i", inventory, env=env, code=5)
    assert words in said.err.lower()
    assert "nonsense" not in said.all


def test_a_full_disk_under_the_ledger(place: Place) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full here")
    (place.folder / "full.yml").write_text("target: sandbox\nledger: /dev/full\n")
    said = place.run("apply", "small.yml", "-i", "full.yml", "--yes", code=1)
    assert "ledger" in said.err


def test_an_unreadable_key(place: Place) -> None:
    (place.folder / "machine.yml").write_text(
        "name: machine\nresources:\n"
        "  - name: box\n    ssh_host: {hostname: 127.0.0.1}\n    ssh: {user: root, key: ~/.ssh/nothing.pem}\n"
        "  - name: note\n    host: box\n    timeout: 5s\n    copy: {content: hello, dest: /tmp/labctl-note}\n"
    )
    said = place.run("apply", "machine.yml", "--yes", code=1)
    assert "nothing.pem" in said.all


def test_a_host_that_never_comes_up(place: Place) -> None:
    began = time.monotonic()
    said = place.run("apply", "hidden.yml", "--yes", code=1)
    took = time.monotonic() - began
    assert "port 22" in said.all
    assert "why?    no rule of its security groups (shut) lets any address in to port 22\n" in said.out
    report = said.out[said.out.index("not complete") :]
    assert report.count("no rule of its security groups") == 1
    assert "note: waiting for host: port 22 of" in said.err
    assert "no rule of its security groups" in said.err.partition("note: create failed")[0]
    assert took < 25
    shown = {resource["address"] for resource in place.json("show", "hidden.yml")["resources"]}
    assert {"host", "group", "key"} <= shown
    place.run("destroy", "hidden.yml", "--yes")


def test_the_first_interrupt_gives_up_what_only_waits_for_a_host(place: Place) -> None:
    (place.folder / "patient.yml").write_text(
        HIDDEN_HOST.replace("timeout: 6s", "timeout: 100s").replace("hidden", "patient")
    )
    with place.start("apply", "patient.yml", "--yes") as applying:
        output = read_until(applying, "note: waiting")
        began = time.monotonic()
        interrupt(applying)
        output += rest_of(applying)
    assert applying.returncode == 130, output
    assert time.monotonic() - began < 3
    assert "4 done, 1 not started" in output
    assert "labctl apply patient.yml" in output
    story = [event for event in place.json("history", "patient.yml") if event["address"] == "note"]
    assert [event["outcome"] for event in story] == ["interrupted"]
    held = {resource["address"] for resource in place.json("show", "patient.yml")["resources"]}
    assert held == {"vpc", "group", "key", "host"}
    place.run("destroy", "patient.yml", "--yes")


def test_two_interrupts_stop_at_once_and_lose_nothing(place: Place) -> None:
    with place.start("apply", "small.yml", "--yes") as applying:
        output = read_until(applying, "host: waiting")
        began = time.monotonic()
        output += interrupt_twice(applying) + rest_of(applying)
    assert applying.returncode == 130, output
    assert time.monotonic() - began < 1
    assert "Stopped at once" in output
    place.run("apply", "small.yml", "--yes")
    place.run("plan", "small.yml", "--detailed-exitcode")
    assert len(running(place)) == 1
    place.run("destroy", "small.yml", "--yes")
    assert running(place) == []
    assert [vpc["IsDefault"] for vpc in place.aws().describe_vpcs()["Vpcs"]] == [True]


def test_one_interrupt_while_a_machine_starts_waits_for_it(place: Place) -> None:
    with place.start("apply", "small.yml", "--yes") as applying:
        output = read_until(applying, "host: waiting")
        interrupt(applying)
        output += rest_of(applying)
    assert applying.returncode in (0, 130), output
    assert "host: created" in output
    place.run("plan", "small.yml", "--detailed-exitcode")
    place.run("destroy", "small.yml", "--yes")


def running(place: Place) -> list[str]:
    states = [{"Name": "instance-state-name", "Values": ["running", "pending"]}]
    found = place.aws().describe_instances(Filters=states)
    return [one["InstanceId"] for reservation in found["Reservations"] for one in reservation["Instances"]]


def listens(endpoint: str) -> bool:
    split = urlsplit(endpoint)
    with socket.socket() as probe:
        return probe.connect_ex((split.hostname, split.port)) == 0


def test_a_sandbox_that_was_killed(place: Place) -> None:
    place.run("apply", "small.yml", "--yes")
    os.kill(place.json("sandbox", "status")["pid"], signal.SIGKILL)
    waited(lambda: not listens(place.sandbox["aws_endpoint"]))
    said = place.run("plan", "small.yml")
    assert "small@sandbox" in said.out
    place.forget_sandbox()
    place.run("apply", "small.yml", "--yes")
    place.run("plan", "small.yml", "--detailed-exitcode")
    place.run("destroy", "small.yml", "--yes")


def test_destroy_cut_short_is_finished_by_destroying_again(place: Place) -> None:
    place.run("apply", "small.yml", "--yes")
    with place.start("destroy", "small.yml", "--yes") as destroying:
        output = read_until(destroying, "host: deleting")
        interrupt(destroying)
        output += rest_of(destroying)
    assert destroying.returncode == 130, output
    assert "labctl destroy" in output
    left = place.tagged("small@sandbox")
    assert "vpc" in left
    place.run("destroy", "small.yml", "--yes")
    assert place.json("show", "small.yml")["resources"] == []
    assert [vpc["IsDefault"] for vpc in place.aws().describe_vpcs()["Vpcs"]] == [True]


def test_apply_killed_outright_leaves_nothing_behind_after_another_apply_and_destroy(place: Place) -> None:
    with place.start("apply", "small.yml", "--yes") as applying:
        read_until(applying, "host: waiting")
        os.killpg(applying.pid, signal.SIGKILL)
    place.run("apply", "small.yml", "--yes")
    place.run("plan", "small.yml", "--detailed-exitcode")
    assert len(running(place)) == 1
    place.run("destroy", "small.yml", "--yes")
    assert [vpc["IsDefault"] for vpc in place.aws().describe_vpcs()["Vpcs"]] == [True]


def test_a_second_run_is_told_who_holds_the_lab(place: Place) -> None:
    # An instance that takes its time, so that the first run surely lasts until the second one asks.
    place.edit("inventory/sandbox.yml", "boot_seconds: 1.0", "boot_seconds: 8.0")
    with place.start("apply", "small.yml", "--yes") as applying:
        read_until(applying, "host: creating")
        said = place.run("apply", "small.yml", "--yes", code=4)
        rest_of(applying)
    place.edit("inventory/sandbox.yml", "boot_seconds: 8.0", "boot_seconds: 1.0")
    assert applying.returncode == 0
    assert "since" in said.err
    assert "labctl unlock" in said.err
    place.run("destroy", "small.yml", "--yes")
