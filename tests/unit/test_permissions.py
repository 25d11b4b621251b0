"""The policy that a playbook needs: every action of its kinds, limited where names tell to what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from docs.kinds_page import Desk, examples
from engine.kinds import kinds
from engine.load import load
from engine.permissions import _roles, permissions, size
from engine.refs import UNKNOWN
from engine.render.kinds_page import Example
from engine.resource import Place

BOOK = """\
name: small
resources:
  - name: worker
    iam_role:
      name: worker
      path: /labs/
      assume_role_policy_document:
        Version: "2012-10-17"
        Statement: {Effect: Allow, Principal: {Service: ec2.amazonaws.com}, Action: "sts:AssumeRole"}
  - name: profile
    iam_instance_profile: {name: profile, role: "{{ worker.id }}"}
  - name: host
    ec2_instance: {image: ubuntu-22.04, instance_type: t3.micro MARKET}
"""
INVENTORY = "target: aws\naws: {region: eu-west-1 ACCOUNT}\n"


def policy(
    tmp_path: Path, *, account: str = "", market: str = "", book: str = BOOK, **more: Any
) -> dict[str, Any]:
    (tmp_path / "small.yml").write_text(book.replace(" MARKET", market))
    (tmp_path / "inventory.yml").write_text(INVENTORY.replace(" ACCOUNT", account))
    labs = load(
        tmp_path / "small.yml", tmp_path / "inventory.yml", variables={}, student=None, outside=Desk()
    )
    return permissions(labs, **more)


def reach(document: dict[str, Any], action: str) -> Any:
    [found] = [each["Resource"] for each in document["Statement"] if action in each["Action"]]
    return found


def test_every_action_of_every_kind_is_allowed_but_those_not_needed_here(tmp_path: Path) -> None:
    document = policy(tmp_path)
    allowed = {action for each in document["Statement"] for action in each["Action"]}
    asked = {
        action
        for name in ("iam_role", "iam_instance_profile", "ec2_instance")
        for action in kinds()[name].actions
    }
    assert asked - allowed == {"iam:CreateServiceLinkedRole"}
    assert allowed - asked == {"tag:GetResources"}
    assert all(each["Effect"] == "Allow" for each in document["Statement"])
    assert document["Version"] == "2012-10-17"


def test_names_limit_what_is_allowed(tmp_path: Path) -> None:
    document = policy(tmp_path)
    assert reach(document, "iam:CreateRole") == ["arn:aws:iam::*:role/labs/worker"]
    assert reach(document, "iam:PassRole") == ["arn:aws:iam::*:role/*/worker", "arn:aws:iam::*:role/worker"]
    assert reach(document, "iam:CreateInstanceProfile") == ["arn:aws:iam::*:instance-profile/profile"]
    assert reach(document, "iam:ListRoles") == "*"
    assert reach(document, "ec2:RunInstances") == "*"


def test_the_account_of_the_inventory_stands_in_the_names(tmp_path: Path) -> None:
    document = policy(tmp_path, account=', account: "111122223333"')
    assert reach(document, "iam:CreateRole") == ["arn:aws:iam::111122223333:role/labs/worker"]


def test_spot_needs_a_role_of_aws(tmp_path: Path) -> None:
    document = policy(tmp_path, market=", market: spot")
    spot = "arn:aws:iam::*:role/aws-service-role/spot.amazonaws.com/*"
    assert reach(document, "iam:CreateServiceLinkedRole") == [spot]


def test_roles_in_fields_are_those_passed_on() -> None:
    arn = "arn:aws:iam::111122223333:role/labs/worker"
    assert _roles({"containers": [{"task_role_arn": arn}], "role": arn}, Place()) == [arn, arn]
    named = ["arn:aws:iam::*:role/worker", "arn:aws:iam::*:role/*/worker"]
    assert _roles({"execution_role": "worker"}, Place()) == named
    assert _roles({"role": UNKNOWN}, Place()) == ["*"]
    assert _roles({"iam_instance_profile": "p"}, Place()) == ["arn:aws:iam::*:role/*"]
    assert _roles({"name": "role", "image": UNKNOWN, "role": None}, Place()) == []


def test_secrets_kept_at_aws_may_be_read(tmp_path: Path) -> None:
    document = policy(tmp_path, secrets=[{"ssm": "/course/key"}, {"secretsmanager": "db"}, {"env": "X"}])
    assert "arn:aws:ssm:eu-west-1:*:parameter/course/key" not in str(
        document
    )  # images are looked up anywhere
    assert reach(document, "ssm:GetParameter") == "*"
    secret = ["arn:aws:secretsmanager:eu-west-1:*:secret:db-??????"]
    assert reach(document, "secretsmanager:GetSecretValue") == secret


def test_what_checks_ask_is_allowed(tmp_path: Path) -> None:
    checks = "checks:\n  - {name: it is there, aws: s3.head_object, params: {Bucket: b, Key: k}}\n"
    document = policy(tmp_path, book=BOOK + checks)
    assert reach(document, "s3:GetObject") == "*"


def test_statements_have_names_and_an_order(tmp_path: Path) -> None:
    sids = [each["Sid"] for each in policy(tmp_path)["Statement"]]
    assert sids == ["Ec2", "Iam", "Iam2", "Iam3", "Iam4", "Ssm", "Tag"]
    assert all(each["Action"] == sorted(each["Action"]) for each in policy(tmp_path)["Statement"])


def test_size_counts_what_aws_counts() -> None:
    assert size({"Statement": []}) == len('{"Statement":[]}')


@pytest.mark.parametrize(("name", "example"), sorted(examples().items()))
def test_reach_speaks_of_its_own_actions_only(name: str, example: Example) -> None:
    told = example.resource.reach(Place())
    assert set(told) <= set(kinds()[name].actions)
    assert all(arn == "*" or arn.startswith("arn:") for arns in told.values() for arn in arns)
