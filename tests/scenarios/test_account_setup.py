"""The account before the first lab: made, looked at with its own keys, rotated, taken away."""

from __future__ import annotations

import configparser
import stat
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests import clients
from tests.scenarios.place import Place

PLAYBOOK = "playbooks/account_setup.yml"
EMAIL = ("-e", "email=ana@example.com")


@pytest.fixture(scope="module")
def place(place: Place) -> Place:
    """A place where the lab was planned and applied."""
    place.stand_up(PLAYBOOK, *EMAIL)
    return place


def keys(place: Place) -> tuple[str, str]:
    read = configparser.ConfigParser()
    read.read(place.home / ".labctl/account/credentials")
    return read["default"]["aws_access_key_id"], read["default"]["aws_secret_access_key"]


def client(place: Place, service: str, key: str, secret: str) -> Any:
    return clients.at(place.sandbox["aws_endpoint"], service, (key, secret))


def test_the_plan_tells_what_would_be_made(place: Place) -> None:
    assert "Plan: 5 to add, 1 to change, 0 to destroy. 1 to take on as found." in place.planned.out
    assert "AWS allows 0, 8 are needed: it will be asked for more" in place.planned.out


def test_without_an_address_it_says_where_to_write_one(place: Place) -> None:
    said = place.run("plan", PLAYBOOK, code=3)
    assert "the variable `email` has no value" in said.all


def test_afterwards_there_is_nothing_to_do(place: Place) -> None:
    said = place.run("plan", "--detailed-exitcode")
    assert "No changes. account_setup@sandbox matches the playbook." in said.out


def test_every_check_passes(place: Place) -> None:
    checks = place.json("check")
    assert len(checks) == 3
    assert all(check["passed"] for check in checks), checks


def test_the_user_has_the_groups_rights_and_a_password(place: Place) -> None:
    iam = place.aws("iam")
    assert [group["GroupName"] for group in iam.list_groups_for_user(UserName="student")["Groups"]] == [
        "administrators"
    ]
    attached = iam.list_attached_group_policies(GroupName="administrators")["AttachedPolicies"]
    assert [policy["PolicyArn"] for policy in attached] == ["arn:aws:iam::aws:policy/AdministratorAccess"]
    assert iam.get_login_profile(UserName="student")["LoginProfile"]["PasswordResetRequired"] is True
    tags = {tag["Key"]: tag["Value"] for tag in iam.list_user_tags(UserName="student")["Tags"]}
    assert tags["labctl:lab"] == "account_setup@sandbox"


def test_password_and_keys_are_in_files_of_the_user_alone(place: Place) -> None:
    for name in ("console.txt", "credentials", "student.pem"):
        mode = (place.home / ".labctl/account" / name).stat().st_mode
        assert stat.S_IMODE(mode) == 0o600
    secret = keys(place)[1]
    password = (place.home / ".labctl/account/console.txt").read_text().partition("password: ")[2].strip()
    kept = b"".join(file.read_bytes() for file in (place.folder / ".labctl").rglob("*") if file.is_file())
    for hidden in (secret, password):
        assert len(hidden) > 20
        assert hidden.encode() not in kept
        assert hidden not in place.planned.all + place.applied.all


def test_the_new_keys_work(place: Place) -> None:
    identity = client(place, "sts", *keys(place)).get_caller_identity()
    assert identity["Arn"] == "arn:aws:iam::123456789012:user/student"
    assert client(place, "ec2", *keys(place)).describe_key_pairs()["KeyPairs"][0]["KeyName"] == "student"


def test_the_budget_warns(place: Place) -> None:
    budgets, whose = place.aws("budgets"), {"AccountId": "123456789012", "BudgetName": "student credit"}
    budget = budgets.describe_budget(**whose)["Budget"]
    assert float(budget["BudgetLimit"]["Amount"]) == 1000
    told = budgets.describe_notifications_for_budget(**whose)["Notifications"]
    assert sorted((one["NotificationType"], one["Threshold"]) for one in told) == [
        ("ACTUAL", 25),
        ("ACTUAL", 50),
        ("ACTUAL", 80),
        ("FORECASTED", 100),
    ]
    people = budgets.describe_subscribers_for_notification(
        **whose, Notification={key: told[0][key] for key in told[0] if key != "NotificationState"}
    )
    assert people["Subscribers"] == [{"SubscriptionType": "EMAIL", "Address": "ana@example.com"}]


def test_the_quota_is_asked_for_once(place: Place) -> None:
    quotas = place.aws("service-quotas")
    place.run("apply", "--yes")
    place.run("apply", "--yes", PLAYBOOK, *EMAIL, "-e", "gpu_vcpus=4")
    asked = quotas.list_requested_service_quota_change_history(ServiceCode="ec2")["RequestedQuotas"]
    assert [(one["QuotaCode"], one["DesiredValue"], one["Status"]) for one in asked] == [
        ("L-DB2E81BA", 8.0, "PENDING")
    ]
    place.run("plan", PLAYBOOK, *EMAIL)
    assert place.run("output", "gpu_quota").out == "pending: 0 vCPUs now, 8 needed\n"


def test_all_of_it_is_there_after_a_restart_of_the_sandbox(place: Place) -> None:
    place.restart_sandbox()
    assert "No changes." in place.run("plan", PLAYBOOK, *EMAIL).out


def test_what_others_attach_is_told_and_taken_away(place: Place) -> None:
    iam = place.aws("iam")
    iam.attach_user_policy(UserName="student", PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    iam.remove_user_from_group(UserName="student", GroupName="administrators")
    said = place.run("plan", PLAYBOOK, *EMAIL)
    assert "administrators is not one of its groups" in said.out
    place.run("apply", "--yes", PLAYBOOK, *EMAIL)
    assert iam.list_groups_for_user(UserName="student")["Groups"][0]["GroupName"] == "administrators"


def test_another_word_rotates_the_key(place: Place) -> None:
    old = keys(place)
    place.run("apply", "--yes", PLAYBOOK, *EMAIL, "-e", "rotation=second")
    new = keys(place)
    assert new[0] != old[0]
    assert client(place, "sts", *new).get_caller_identity()["Arn"].endswith(":user/student")
    with pytest.raises(ClientError, match="InvalidClientTokenId"):
        client(place, "sts", *old).get_caller_identity()
    listed = place.aws("iam").list_access_keys(UserName="student")["AccessKeyMetadata"]
    assert [one["AccessKeyId"] for one in listed] == [new[0]]


def test_a_key_of_somebody_else_keeps_the_user(place: Place) -> None:
    iam = place.aws("iam")
    key = iam.create_access_key(UserName="student")["AccessKey"]["AccessKeyId"]
    said = place.run("destroy", PLAYBOOK, *EMAIL, "--yes", code=1)
    assert f"has credentials made outside this lab (access key {key})" in said.all
    iam.delete_access_key(UserName="student", AccessKeyId=key)


def test_destroy_leaves_nothing(place: Place) -> None:
    place.run("destroy", PLAYBOOK, *EMAIL, "--yes")
    iam = place.aws("iam")
    assert iam.list_users()["Users"] == []
    assert iam.list_groups()["Groups"] == []
    assert place.aws("budgets").describe_budgets(AccountId="123456789012")["Budgets"] == []
    assert place.aws().describe_key_pairs()["KeyPairs"] == []
    assert list((place.home / ".labctl/account").iterdir()) == []
    assert "is there to destroy" in place.run("destroy", PLAYBOOK, *EMAIL, "--yes").out
