"""Users, groups, roles, policies and keys: what is refused, what goes along, what is never lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from engine.aws.errors import AwsError
from engine.aws.tags import widened
from engine.errors import StepFailed
from engine.refs import UNKNOWN
from engine.resource import Beside, Resource
from engine.resources.aws._aws import propagating
from engine.resources.aws._secret_files import reserve
from engine.resources.iam.groups import IamGroup, marked_path, unmarked_path
from engine.resources.iam.keys import IamAccessKey
from engine.resources.iam.policies import IamManagedPolicy
from engine.resources.iam.roles import IamInstanceProfile, IamRole
from engine.resources.iam.users import IamUser, generated_password
from tests.kinds.aws_examples.iam import READ, WRITE, trusting
from tests.kinds.aws_stage import Stage
from tests.kinds.scripted_aws import Play, tag_list


@pytest.fixture
def iam(client: Callable[[str], Any]) -> Any:
    return client("iam")


def a_user(stage: Stage, **fields: Any) -> str:
    return str(stage.make(IamUser.model_validate({"name": f"{stage.lab}-ana", **fields}), "user")["id"])


# -- names and tags ------------------------------------------------------------------------------------------


def test_a_role_of_others_is_left_alone(stage: Stage, iam: Any) -> None:
    name = f"{stage.lab}-taken"
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trusting("ec2")))
    role = IamRole(name=name, assume_role_policy_document=trusting("ec2"))
    with pytest.raises(AwsError, match="is there already in the account, and this lab did not make it"):
        role.create(stage.world(foreseen=name))
    assert IamRole.find(stage.world(foreseen=name)) == []
    iam.delete_role(RoleName=name)


def test_addresses_of_loops_fit_into_tags(stage: Stage, iam: Any) -> None:
    name = f"{stage.lab}-loop"
    world = stage.world("worker[0]", foreseen=name)
    IamUser(name=name).create(world)
    stage.made.append((IamUser, name))
    sent = {tag["Key"]: tag["Value"] for tag in iam.list_user_tags(UserName=name)["Tags"]}
    assert sent["labctl:address"] == "worker=5B0=5D"
    assert widened(sent)["labctl:address"] == "worker[0]"
    assert IamUser.read_many(world, [name])[name]["tags"]["labctl:address"] == "worker[0]"
    assert IamUser.find(world) == [name]


def test_a_groups_path_tells_the_lab_and_reads_as_written(stage: Stage, iam: Any) -> None:
    world = stage.world("team[a/b]", foreseen=f"{stage.lab}-team")
    group = IamGroup(name=f"{stage.lab}-team", path="/course/")
    stage.made.append((IamGroup, group.create(world)))
    path = iam.get_group(GroupName=group.name)["Group"]["Path"]
    assert path == f"/course/{marked_path(world)}"
    assert f"/labctl/{stage.lab}/team=5Ba=2Fb=5D/{world.job.token}/" in path
    assert unmarked_path(path) == "/course/"
    assert IamGroup.read_many(world, [group.name])[group.name]["path"] == "/course/"
    assert IamGroup.find(world) == [group.name]


# -- policies ------------------------------------------------------------------------------------------------


def test_documents_are_compared_by_what_they_mean(stage: Stage) -> None:
    name = f"{stage.lab}-same"
    policy = IamManagedPolicy(name=name, policy=WRITE)
    there = stage.make(policy, "policy")["policy"]
    statement = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "*"}
    same = IamManagedPolicy(name=name, policy={"Version": "2012-10-17", "Statement": [statement]})
    assert not IamManagedPolicy.differs("policy", same.wanted()["policy"], there)
    assert IamManagedPolicy.differs("policy", READ, there)


def test_the_oldest_version_goes_when_there_are_five(stage: Stage, iam: Any) -> None:
    policy = IamManagedPolicy(name=f"{stage.lab}-many", policy=READ)
    arn = stage.make(policy, "policy")["id"]
    for at in range(7):
        statement = {"Effect": "Allow", "Action": f"s3:Get{at}", "Resource": "*"}
        changed = IamManagedPolicy(
            name=policy.name, policy={"Version": "2012-10-17", "Statement": [statement]}
        )
        changed.update(stage.world(), arn, frozenset({"policy"}))
        there = IamManagedPolicy.read_many(stage.world(), [arn])[arn]
        assert there["policy"]["Statement"][0]["Action"] == f"s3:Get{at}"
    versions = [one["VersionId"] for one in iam.list_policy_versions(PolicyArn=arn)["Versions"]]
    assert sorted(versions) == ["v4", "v5", "v6", "v7", "v8"]


def test_a_policy_attached_elsewhere_stays(stage: Stage, iam: Any) -> None:
    world = stage.world()
    arn = IamManagedPolicy(name=f"{stage.lab}-held", policy=READ).create(world)
    name = f"{stage.lab}-other"
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trusting("ec2")))
    iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    with pytest.raises(StepFailed, match=f"is not deleted: it is attached to the role {name}"):
        IamManagedPolicy.delete(world, arn)
    assert iam.get_policy(PolicyArn=arn)
    iam.detach_role_policy(RoleName=name, PolicyArn=arn)
    iam.delete_role(RoleName=name)
    IamManagedPolicy.delete(world, arn)


def test_names_of_policies_are_looked_up_or_told_wrong(stage: Stage) -> None:
    own = stage.make(IamManagedPolicy(name=f"{stage.lab}-own", policy=READ), "policy")
    managed = ["AWSLambdaBasicExecutionRole", own["name"], "job-function/Billing"]
    role = IamRole(
        name=f"{stage.lab}-named",
        assume_role_policy_document=trusting("lambda"),
        managed_policies=managed,
    )
    there = stage.make(role, "role")
    assert there["managed_policies"] == sorted(
        [
            "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
            "arn:aws:iam::aws:policy/job-function/Billing",
            own["arn"],
        ]
    )
    assert not IamRole.differs("managed_policies", managed, there["managed_policies"])
    wrong = role.model_copy(update={"managed_policies": ["AdministratorAcess"]})
    with pytest.raises(StepFailed, match="there is no managed policy AdministratorAcess"):
        wrong.update(stage.world(), role.name, frozenset({"managed_policies"}))


def test_policies_of_others_are_told_and_taken_away_or_left(stage: Stage, iam: Any) -> None:
    name = f"{stage.lab}-purge"
    fields = {
        "name": name,
        "assume_role_policy_document": trusting("ec2"),
        "managed_policies": ["ReadOnlyAccess"],
    }
    role = IamRole.model_validate(fields)
    stage.make(role, "role")
    iam.attach_role_policy(RoleName=name, PolicyArn="arn:aws:iam::aws:policy/PowerUserAccess")
    there = IamRole.read_many(stage.world(), [name])[name]["managed_policies"]
    lenient = IamRole.model_validate({**fields, "purge_policies": False})
    assert not IamRole.differs("managed_policies", lenient.wanted()["managed_policies"], there)
    words = IamRole.describe_difference("managed_policies", role.wanted()["managed_policies"], there)
    assert words == "PowerUserAccess is attached and not in the playbook"
    lenient.update(stage.world(), name, frozenset({"managed_policies"}))
    assert len(IamRole.read_many(stage.world(), [name])[name]["managed_policies"]) == 2
    role.update(stage.world(), name, frozenset({"managed_policies"}))
    assert len(IamRole.read_many(stage.world(), [name])[name]["managed_policies"]) == 1


def test_a_change_of_the_description_leaves_the_duration(stage: Stage, iam: Any) -> None:
    fields = {"name": f"{stage.lab}-long", "assume_role_policy_document": trusting("ec2")}
    role = IamRole.model_validate({**fields, "max_session_duration": 7200})
    stage.make(role, "role")
    other = IamRole.model_validate({**fields, "description": "new"})
    other.update(stage.world(), role.name, frozenset({"description"}))
    told = iam.get_role(RoleName=role.name)["Role"]
    assert (told["MaxSessionDuration"], told["Description"]) == (7200, "new")


def test_commands_leave_out_policies_that_are_not_known_yet() -> None:
    fields = {"name": "worker", "assume_role_policy_document": trusting("ec2"), "inline_policies": UNKNOWN}
    [command] = IamRole.model_validate(fields).at("role").as_commands("create", None)
    assert command.startswith("aws iam create-role --role-name worker ")


def test_commands_take_a_boundary_away_and_leave_the_description() -> None:
    fields = {"name": "worker", "assume_role_policy_document": trusting("ec2"), "max_session_duration": 7200}
    there = {"description": "works", "max_session_duration": 3600}
    role = IamRole.model_validate(fields).at("role", Beside(there=there))
    assert role.as_commands("update", "worker", frozenset({"boundary", "max_session_duration"})) == [
        "aws iam update-role --role-name worker --description works --max-session-duration 7200",
        "aws iam delete-role-permissions-boundary --role-name worker",
    ]
    user = IamUser(name="ana").at("user")
    assert user.as_commands("update", "ana", frozenset({"boundary"})) == [
        "aws iam delete-user-permissions-boundary --user-name ana"
    ]


# -- deleting ------------------------------------------------------------------------------------------------


def test_a_role_in_a_profile_of_others_stays(stage: Stage, iam: Any) -> None:
    world = stage.world()
    role = IamRole(name=f"{stage.lab}-held", assume_role_policy_document=trusting("ec2"))
    role.create(world)
    iam.create_instance_profile(InstanceProfileName=f"{stage.lab}-other")
    iam.add_role_to_instance_profile(InstanceProfileName=f"{stage.lab}-other", RoleName=role.name)
    with pytest.raises(StepFailed, match=f"the instance profile {stage.lab}-other holds it"):
        IamRole.delete(world, role.name)
    IamInstanceProfile.delete(world, f"{stage.lab}-other")
    IamRole.delete(world, role.name)
    assert IamRole.read_many(world, [role.name]) == {}


def test_what_others_attached_to_our_own_goes_with_it(stage: Stage, iam: Any) -> None:
    world, name = stage.world(), f"{stage.lab}-all"
    IamUser(name=name).create(world)
    group = stage.make(IamGroup(name=f"{stage.lab}-g"), "group")["id"]
    iam.add_user_to_group(UserName=name, GroupName=group)
    iam.attach_user_policy(UserName=name, PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    iam.put_user_policy(UserName=name, PolicyName="mine", PolicyDocument=json.dumps(READ))
    iam.create_login_profile(UserName=name, Password="Not-really-1-secret")
    serial = iam.create_virtual_mfa_device(VirtualMFADeviceName=name)["VirtualMFADevice"]["SerialNumber"]
    iam.enable_mfa_device(
        UserName=name, SerialNumber=serial, AuthenticationCode1="123456", AuthenticationCode2="654321"
    )
    IamUser.delete(world, name)
    assert IamUser.read_many(world, [name]) == {}
    assert iam.get_group(GroupName=group)["Users"] == []


def test_a_user_with_keys_of_others_stays_whole(stage: Stage, iam: Any) -> None:
    name = a_user(stage, managed_policies=["ReadOnlyAccess"])
    key = iam.create_access_key(UserName=name)["AccessKey"]["AccessKeyId"]
    with pytest.raises(StepFailed, match=f"access key {key}"):
        IamUser.delete(stage.world(), name)
    assert len(IamUser.read_many(stage.world(), [name])[name]["managed_policies"]) == 1
    iam.delete_access_key(UserName=name, AccessKeyId=key)


# -- passwords -----------------------------------------------------------------------------------------------


def test_a_lost_password_file_is_told_and_made_anew(stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "ana.txt"
    user = IamUser(name=f"{stage.lab}-ana", password_file=str(file))
    there = stage.make(user, "user")
    assert there["password_file"] == str(file)
    first = file.read_text()
    file.unlink()
    there = IamUser.read_many(stage.world(), [user.name])[user.name]
    assert there["password_file"] is None
    words = IamUser.describe_difference("password_file", str(file), None)
    assert words is not None
    assert "does not hold its password" in words
    user.update(stage.world("user"), user.name, frozenset({"password_file"}))
    assert file.read_text() != first
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_password_never_overwrites_a_file_of_others(stage: Stage, tmp_path: Path, iam: Any) -> None:
    file = tmp_path / "precious"
    file.write_text("mine\n")
    user = IamUser(name=f"{stage.lab}-ana", password_file=str(file))
    with pytest.raises(StepFailed, match="is there already and is not labctl's for the same thing"):
        user.create(stage.world("user"))
    assert file.read_text() == "mine\n"
    IamUser.delete(stage.world(), user.name)
    assert file.read_text() == "mine\n"


def test_generated_passwords_hold_every_sort_of_letter() -> None:
    passwords = {generated_password() for _ in range(20)}
    assert len(passwords) == 20
    for password in passwords:
        assert len(password) == 24
        assert any(letter.islower() for letter in password)
        assert any(letter.isupper() for letter in password)
        assert any(letter.isdigit() for letter in password)
        assert any(not letter.isalnum() for letter in password)


# -- access keys ---------------------------------------------------------------------------------------------


def test_a_key_that_nobody_confirmed_is_found(stage: Stage, tmp_path: Path, iam: Any) -> None:
    name = a_user(stage)
    before = iam.create_access_key(UserName=name)["AccessKey"]["AccessKeyId"]
    world = stage.world("key")
    key = IamAccessKey(user_name=name, credentials_file=str(tmp_path / "credentials"))
    id = key.create(world)
    assert IamAccessKey.find(world) == [id]
    assert IamAccessKey.find(stage.world("other")) == []
    IamAccessKey.delete(world, id)
    assert IamAccessKey.find(world) == []
    assert not (tmp_path / "credentials").exists()
    left = [one["AccessKeyId"] for one in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]]
    assert left == [before]
    iam.delete_access_key(UserName=name, AccessKeyId=before)
    tags = {tag["Key"] for tag in iam.list_user_tags(UserName=name)["Tags"]}
    assert not [key for key in tags if key.startswith("labctl:access-key:")]


def test_no_key_is_made_whose_secret_could_not_be_kept(stage: Stage, tmp_path: Path, iam: Any) -> None:
    name = a_user(stage)
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = AKIAMINE\n")
    key = IamAccessKey(user_name=name, credentials_file=str(tmp_path / "credentials"))
    with pytest.raises(StepFailed, match="is there already and is not"):
        key.create(stage.world("key"))
    assert iam.list_access_keys(UserName=name)["AccessKeyMetadata"] == []


def test_two_keys_are_the_most(stage: Stage, tmp_path: Path, iam: Any) -> None:
    name = a_user(stage)
    for _ in range(2):
        iam.create_access_key(UserName=name)
    key = IamAccessKey(user_name=name, credentials_file=str(tmp_path / "credentials"))
    with pytest.raises(AwsError, match="AccessKeysPerUser"):
        key.create(stage.world("key"))
    for one in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=name, AccessKeyId=one["AccessKeyId"])


def test_a_lost_file_means_another_key(stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    key = IamAccessKey(user_name=a_user(stage), credentials_file=str(file), profile="ana")
    id = key.create(stage.world("key"))
    assert "[ana]\n" in file.read_text()
    file.unlink()
    there = IamAccessKey.read_many(stage.world(), [id])[id]
    assert there["credentials_file"] is None
    assert key.replaces("credentials_file", there)
    IamAccessKey.delete(stage.world("key"), id)


def test_a_file_is_replaced_by_the_same_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    with reserve(str(file), "labctl lab a") as write:
        write("one")
    with reserve(str(file), "labctl lab a") as write:
        write("two")
    assert file.read_text() == "# labctl lab a\ntwo\n"
    with pytest.raises(StepFailed), reserve(str(file), "labctl lab b"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


# -- IAM takes its time --------------------------------------------------------------------------------------


def late(code: str, said: str) -> AwsError:
    return AwsError("CreateRole", code, said)


def test_a_principal_made_a_moment_ago_is_waited_for(scripted: Play) -> None:
    role = IamRole(name="worker", assume_role_policy_document=trusting("ec2"))
    params = {
        "RoleName": "worker",
        "Path": "/",
        "AssumeRolePolicyDocument": json.dumps(trusting("ec2"), separators=(",", ":")),
        "Tags": tag_list(),
    }
    aws = scripted(
        [
            (
                "create_role",
                params,
                late("MalformedPolicyDocument", 'Invalid principal in policy: "AWS":"x"'),
            ),
            ("create_role", params, {"Role": {}}),
        ]
    )
    assert role.create(aws.world()) == "worker"
    assert aws.said == ["IAM to show the role everywhere"]


@pytest.mark.parametrize(
    ("code", "said", "passes"),
    [
        (
            "InvalidParameterValueException",
            "The role defined for the function cannot be assumed by Lambda.",
            True,
        ),
        (
            "ClientException",
            "ECS was unable to assume the role 'arn:…' that was provided for this task.",
            True,
        ),
        ("ValidationException", "Could not assume role arn:…. Please ensure that the role exists", True),
        ("MalformedPolicyDocument", "Invalid principal in policy", True),
        ("MalformedPolicyDocument", "Syntax errors in policy.", False),
        ("InvalidParameterValueException", "Unzipped size must be smaller than 262144000 bytes", False),
        ("AccessDenied", "User is not authorized to perform: iam:PassRole", False),
    ],
)
def test_which_refusals_pass_by_themselves(code: str, said: str, passes: bool) -> None:
    assert propagating(AwsError("Create", code, said)) is passes


# -- what is wrong in a playbook -----------------------------------------------------------------------------

TRUST = trusting("ec2")


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        (IamUser, {"name": "ana maria"}, "IAM allows 1 to 64 letters"),
        (IamUser, {"name": "a" * 65}, "IAM allows 1 to 64 letters"),
        (IamUser, {"name": "ana", "path": "students"}, "write one like /students/"),
        (IamUser, {"name": "ana", "password": "p", "password_file": "f"}, "write either password"),
        (IamUser, {"name": "ana", "managed_policies": ["arn:aws:iam::x:y"]}, "is no ARN of a managed policy"),
        (IamRole, {"name": "r", "assume_role_policy_document": READ}, "needs a Principal"),
        (IamManagedPolicy, {"name": "p", "policy": TRUST}, "no Principal here"),
        (IamManagedPolicy, {"name": "p", "policy": "{"}, "is no JSON"),
        (
            IamManagedPolicy,
            {"name": "p", "policy": {"Statement": {"Effect": "Allow", "Action": "s3:Get"}}},
            "needs either Resource or NotResource",
        ),
        (
            IamManagedPolicy,
            {
                "name": "p",
                "policy": {"Statement": {"Effect": "Allow", "Action": "getobject", "Resource": "*"}},
            },
            "is no action: write one like s3:GetObject",
        ),
        (
            IamManagedPolicy,
            {
                "name": "p",
                "policy": {"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": ["x" * 6200]}},
            },
            "may have 6144 characters, this one has",
        ),
        (IamAccessKey, {"user_name": "ana", "credentials_file": "f", "profile": "a b"}, "pattern"),
    ],
)
def test_wrong_fields_are_told(kind: type[Resource], fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        kind.model_validate(fields)
