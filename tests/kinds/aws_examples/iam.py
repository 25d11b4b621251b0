"""An example of each kind of IAM."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from engine.resource import Resource
from engine.resources.iam.groups import IamGroup
from engine.resources.iam.keys import IamAccessKey
from engine.resources.iam.policies import IamManagedPolicy
from engine.resources.iam.roles import IamInstanceProfile, IamRole
from engine.resources.iam.users import IamUser
from tests.kinds.aws_examples import Example
from tests.kinds.aws_stage import Stage

READ = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::data/*"}],
}
WRITE = {
    "Version": "2012-10-17",
    "Statement": {"Effect": "Allow", "Action": ["s3:PutObject", "s3:GetObject"], "Resource": ["*"]},
}


def trusting(service: str) -> dict[str, Any]:
    principal = {"Service": f"{service}.amazonaws.com"}
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def a_role(stage: Stage, name: str = "role", service: str = "ec2") -> str:
    role = IamRole(name=f"{stage.lab}-{name}", assume_role_policy_document=trusting(service))
    return str(stage.make(role, name)["id"])


def user(stage: Stage) -> tuple[Resource, Resource | None]:
    name = f"{stage.lab}-alice"
    file = Path(tempfile.mkdtemp()) / "password"
    group = stage.make(IamGroup(name=f"{stage.lab}-group"), "group")["id"]
    policy = stage.make(IamManagedPolicy(name=f"{stage.lab}-read", policy=READ), "policy")["arn"]
    first = IamUser(
        name=name,
        path="/students/",
        boundary="AdministratorAccess",
        managed_policies=["ReadOnlyAccess", policy],
        inline_policies={"mine": READ},
        groups=[group],
        password_file=str(file),
    )
    second = {
        "name": name,
        "path": "/",
        "boundary": "PowerUserAccess",
        "managed_policies": ["AmazonS3FullAccess", policy],
        "inline_policies": {"mine": WRITE},
        "groups": [],
        "password_file": f"{file}2",
    }
    return first, IamUser.model_validate(second)


def group(stage: Stage) -> tuple[Resource, Resource | None]:
    one = stage.make(IamUser(name=f"{stage.lab}-one"), "one")["id"]
    two = stage.make(IamUser(name=f"{stage.lab}-two"), "two")["id"]
    name = f"{stage.lab}-students"
    first = IamGroup(name=name, users=[one], managed_policies=["AdministratorAccess"])
    second = IamGroup(
        name=name,
        users=[two],
        purge_users=True,
        managed_policies=["service-role/AWSLambdaBasicExecutionRole"],
        inline_policies={"read": READ},
    )
    return first, second


def managed_policy(stage: Stage) -> tuple[Resource, Resource | None]:
    name = f"{stage.lab}-policy"
    first = IamManagedPolicy(name=name, policy=READ, path="/labs/", description="reads")
    return first, first.model_copy(update={"policy": WRITE, "only_version": True})


def role(stage: Stage) -> tuple[Resource, Resource | None]:
    first = IamRole(
        name=f"{stage.lab}-worker",
        assume_role_policy_document=trusting("ec2"),
        description="a worker",
        managed_policies=["AmazonS3ReadOnlyAccess"],
        max_session_duration=7200,
    )
    second = {
        "assume_role_policy_document": trusting("lambda"),
        "description": "a function",
        "boundary": "AdministratorAccess",
        "managed_policies": ["arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"],
        "inline_policies": {"read": READ},
    }
    return first, IamRole.model_validate({**first.model_dump(exclude_unset=True), **second})


def instance_profile(stage: Stage) -> tuple[Resource, Resource | None]:
    name = f"{stage.lab}-profile"
    first = IamInstanceProfile(name=name, role=a_role(stage, "one"))
    return first, IamInstanceProfile(name=name, role=a_role(stage, "two"))


def access_key(stage: Stage) -> tuple[Resource, Resource | None]:
    owner = stage.make(IamUser(name=f"{stage.lab}-owner"), "owner")["id"]
    file = Path(tempfile.mkdtemp()) / "credentials"
    first = IamAccessKey(user_name=owner, credentials_file=str(file), rotation="2026-09")
    return first, first.model_copy(update={"active": False})


EXAMPLES: dict[str, Example] = {
    "iam_access_key": access_key,
    "iam_group": group,
    "iam_instance_profile": instance_profile,
    "iam_managed_policy": managed_policy,
    "iam_role": role,
    "iam_user": user,
}
