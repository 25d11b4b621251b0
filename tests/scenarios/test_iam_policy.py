"""The policy that `labctl iam-policy` prints is enough for the lab, and nothing in it is idle talk."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.scenarios.place import Place

PLAYBOOK = "playbooks/hw02.yml"


@pytest.fixture(scope="module")
def place(place: Place) -> Place:
    """A place with an inventory that reaches the sandbox as if it were AWS, with a user's own keys."""
    place.sandbox_endpoint()
    (place.folder / "inventory/user.yml").write_text(
        "target: aws\n"
        f"aws: {{region: us-east-1, endpoint_url: {place.sandbox['aws_endpoint']}}}\n"
        f"ssh: {{proxy: {place.sandbox['socks_proxy']}}}\n"
    )
    return place


def allow(place: Place, user: str, policy: dict[str, Any]) -> dict[str, str]:
    """The environment of a user who may do what `policy` says."""
    iam = place.aws("iam")
    iam.create_user(UserName=user)
    iam.put_user_policy(UserName=user, PolicyName="lab", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=user)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def test_a_user_with_this_policy_applies_and_destroys_hw02(place: Place) -> None:
    printed = place.json("iam-policy", PLAYBOOK)
    env = allow(place, "alice", printed)
    variables = ("-i", "user", "-e", "ssh_from=203.0.113.7/32")
    place.run("apply", PLAYBOOK, *variables, "--yes", env=env)
    assert "No changes." in place.run("plan", PLAYBOOK, *variables, env=env).out
    place.run("destroy", PLAYBOOK, *variables, "--yes", env=env)
    assert place.tagged("hw02@user").keys() <= {"bastion", "private"}
    told = place.aws().describe_instances()["Reservations"]
    assert {one["State"]["Name"] for each in told for one in each["Instances"]} == {"terminated"}


def test_what_is_not_in_it_is_refused_in_words(place: Place) -> None:
    printed = place.json("iam-policy", PLAYBOOK)
    for statement in printed["Statement"]:
        statement["Action"] = [action for action in statement["Action"] if action != "ec2:CreateKeyPair"]
    env = allow(place, "bob", printed)
    variables = ("-i", "user", "-e", "ssh_from=203.0.113.7/32", "--only", "key")
    said = place.run("apply", PLAYBOOK, *variables, "--yes", env=env, code=1)
    assert "these credentials are not allowed to do this" in said.all
    assert "not authorized to perform: ec2:CreateKeyPair" in said.all
    place.run("destroy", PLAYBOOK, "-i", "user", "-e", "ssh_from=203.0.113.7/32", "--yes", env=env)


def test_it_is_json_and_nothing_else(place: Place) -> None:
    said = place.run("iam-policy", PLAYBOOK)
    assert json.loads(said.out)["Version"] == "2012-10-17"
    assert said.err.strip() == "hw02@sandbox · embedded sandbox, nothing is billed"
