"""First steps with EC2 and S3 by the real command line: a file made public, an instance stopped."""

from __future__ import annotations

from typing import Any

import pytest

from tests.scenarios.place import Place

PLAYBOOK = "playbooks/ec2_s3_basics.yml"
LAB = "ec2_s3_basics@sandbox"
BUCKET = "ec2-s3-basics-sandbox-123456789012"


def instances(place: Place) -> list[dict[str, Any]]:
    found = place.aws().describe_instances(Filters=[{"Name": "tag:labctl:lab", "Values": [LAB]}])
    every = [one for reservation in found["Reservations"] for one in reservation["Instances"]]
    return [one for one in every if one["State"]["Name"] != "terminated"]


def buckets(place: Place) -> list[str]:
    return [bucket["Name"] for bucket in place.aws("s3").list_buckets()["Buckets"]]


def matches(place: Place, *args: str) -> None:
    """There is nothing to do, and the checks pass."""
    assert "No changes." in place.run("plan", PLAYBOOK, "--detailed-exitcode", *args).out
    assert "passed." in place.run("check", PLAYBOOK, *args).out


def test_private_public_stopped_terminated_gone(place: Place) -> None:
    planned = place.run("plan", PLAYBOOK).out
    assert "Plan: 5 to add, 0 to change, 0 to destroy. 1 to take on as found." in planned
    assert f"name           {BUCKET}" in planned
    assert "about 0.0119 USD an hour" in planned
    place.run("apply", PLAYBOOK, "--yes")
    matches(place)

    told = place.json("output", PLAYBOOK)
    assert (told["instance"], told["type"], told["region"]) == ("running", "t2.nano", "us-east-1")
    assert told["price"] == "0.0058 USD per hour on demand"
    assert told["spot_price"].startswith("0.00")
    assert float(told["storage_usd_per_month"]) == pytest.approx(34 / 2**30 * 0.023, rel=0.01)
    [machine] = instances(place)
    [disk] = place.aws().describe_volumes(
        Filters=[{"Name": "attachment.instance-id", "Values": [machine["InstanceId"]]}]
    )["Volumes"]
    assert (machine["InstanceType"], disk["Size"], disk["VolumeType"]) == ("t2.nano", 10, "gp3")
    assert place.run("ssh", "machine", "hostname").out.strip().startswith("ip-")

    private = place.curl(told["url"], "-i")
    assert "HTTP/1.1 403" in private.stdout
    assert "AccessDenied" in private.stdout
    assert "Hello" not in private.stdout
    assert (
        place.aws("s3").get_object(Bucket=BUCKET, Key="hello.txt")["Body"].read()
        == f"Hello from {LAB}.\n".encode()
    )

    changed = place.run("apply", PLAYBOOK, "--yes", "-e", "public=true").out
    assert "0 to add, 1 to change, 0 to destroy" in changed
    matches(place, "-e", "public=true")
    public = place.curl(told["url"], "-i")
    assert "HTTP/1.1 200" in public.stdout
    assert f"Hello from {LAB}." in public.stdout
    assert "403" in place.curl(f"http://{BUCKET}.s3.us-east-1.amazonaws.com/", "-i").stdout, (
        "nobody may list it"
    )
    assert "403" in place.curl(told["url"], "-i", "-X", "PUT", "-d", "mine").stdout, "nobody may write"

    place.restart_sandbox()
    assert f"Hello from {LAB}." in place.curl(told["url"]).stdout, "a restart forgets nothing"

    place.run("apply", PLAYBOOK, "--yes", "-e", "instance=stopped")
    matches(place, "-e", "instance=stopped")
    assert [one["State"]["Name"] for one in instances(place)] == ["stopped"]
    assert "HTTP/1.1 403" in place.curl(told["url"], "-i").stdout, "private again"

    place.run("apply", PLAYBOOK, "--yes", "-e", "instance=terminated")
    matches(place, "-e", "instance=terminated")
    assert instances(place) == []
    assert (
        place.aws().describe_volumes(Filters=[{"Name": "volume-id", "Values": [disk["VolumeId"]]}])["Volumes"]
        == []
    )

    assert BUCKET in buckets(place)
    place.run("destroy", PLAYBOOK, "--yes")
    assert BUCKET not in buckets(place)
    assert place.tagged(LAB).keys() <= {"machine"}, "AWS shows what is terminated for an hour"
    assert instances(place) == []
    assert "NoSuchBucket" in place.curl(told["url"]).stdout
