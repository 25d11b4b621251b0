"""What Lambda does that the sandbox does not: each request pinned, and checked against its model."""

from __future__ import annotations

from typing import Any

import pytest

from engine.aws.errors import AwsError
from engine.errors import HalfMade, StepFailed
from engine.resources.aws import _lambda
from engine.resources.aws.lambda_functions import LambdaFunction
from tests.kinds.scripted_aws import TAGS, Line, Play

NAME = {"FunctionName": "predict"}
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/app@sha256:" + "0" * 64
ROLE = "arn:aws:iam::123456789012:role/predict"
BUSY = AwsError(
    "UpdateFunctionConfiguration",
    "ResourceConflictException",
    "The operation cannot be performed at this time. An update is in progress for resource: arn:x",
)


def function(**given: Any) -> LambdaFunction:
    return LambdaFunction.model_validate({"name": "predict", "role": ROLE, "image_uri": IMAGE, **given})


def created(**more: Any) -> dict[str, Any]:
    """The parameters of CreateFunction."""
    return {
        **NAME,
        "Code": {"ImageUri": IMAGE},
        "Publish": False,
        "Tags": TAGS,
        "PackageType": "Image",
        "Architectures": ["x86_64"],
        "Role": ROLE,
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        **more,
    }


LOGS: list[Line] = [
    (
        "create_log_group",
        {
            "logGroupName": "/aws/lambda/predict",
            "tags": {key: value for key, value in TAGS.items() if key != "labctl:token"},
        },
        {},
    ),
    ("put_retention_policy", {"logGroupName": "/aws/lambda/predict", "retentionInDays": 14}, {}),
]


def test_a_new_function_is_waited_for(scripted: Play) -> None:
    aws = scripted(
        [
            ("create_function", created(), {"FunctionArn": "arn:x"}),
            *LOGS,
            ("get_function_configuration", NAME, {"State": "Pending"}),
            ("get_function_configuration", NAME, {"State": "Active", "LastUpdateStatus": "InProgress"}),
            ("get_function_configuration", NAME, {"State": "Active", "LastUpdateStatus": "Successful"}),
        ]
    )
    assert function().create(aws.world()) == "predict"
    assert "function predict to be active" in aws.said


def test_one_that_fails_to_get_ready_is_remembered_with_lambda_s_reason(scripted: Play) -> None:
    failed = {
        "State": "Failed",
        "StateReason": "Lambda does not have permission to access the ECR image.",
        "StateReasonCode": "ImageAccessDenied",
    }
    aws = scripted(
        [
            ("create_function", created(), {}),
            *LOGS,
            ("get_function_configuration", NAME, failed),
        ]
    )
    with pytest.raises(HalfMade, match="does not have permission to access the ECR image") as half:
        function().create(aws.world())
    assert half.value.id == "predict"


def test_a_role_made_a_moment_ago_is_insisted_on(scripted: Play) -> None:
    late = AwsError(
        "CreateFunction",
        "InvalidParameterValueException",
        "The role defined for the function cannot be assumed by Lambda.",
    )
    aws = scripted(
        [
            ("create_function", created(), late),
            ("create_function", created(), {}),
            *LOGS,
            ("get_function_configuration", NAME, {"State": "Active"}),
        ]
    )
    function().create(aws.world())
    assert "IAM to show the role everywhere" in aws.said


def test_a_change_waits_for_the_last_one_to_end(scripted: Play) -> None:
    sent = {**NAME, "MemorySize": 512, "Environment": {"Variables": {"STAGE": "lab"}}}
    aws = scripted(
        [
            ("update_function_configuration", sent, BUSY),
            ("update_function_configuration", sent, {}),
            ("get_function_configuration", NAME, {"State": "Active", "LastUpdateStatus": "Successful"}),
        ]
    )
    changed = frozenset({"memory_size", "environment_variables"})
    function(memory_size=512, environment_variables={"STAGE": "lab"}).update(aws.world(), "predict", changed)
    assert "the function's last change to end" in aws.said


def test_a_change_that_lambda_cannot_carry_out_says_why(scripted: Play) -> None:
    told = {"State": "Active", "LastUpdateStatus": "Failed", "LastUpdateStatusReason": "The subnet is full."}
    aws = scripted([("get_function_configuration", NAME, told)])
    with pytest.raises(StepFailed, match=r"failed to get ready: The subnet is full\."):
        _lambda.await_ready(aws.world(), "predict")


def test_interfaces_of_a_function_in_a_vpc_are_waited_for(scripted: Play) -> None:
    by = [{"Name": "description", "Values": ["AWS Lambda VPC ENI-predict-*"]}]
    vpc = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"], "VpcId": "vpc-1"}
    aws = scripted(
        [
            ("get_function", NAME, {"Configuration": {"FunctionName": "predict", "VpcConfig": vpc}}),
            ("delete_function", NAME, {}),
            ("describe_log_groups", {"logGroupNamePrefix": "/aws/lambda/predict"}, {"logGroups": []}),
            ("describe_network_interfaces", {"Filters": by}, {"NetworkInterfaces": [{}]}),
            ("describe_network_interfaces", {"Filters": by}, {"NetworkInterfaces": []}),
        ]
    )
    LambdaFunction.delete(aws.world(), "predict")
    assert aws.said[-1] == "Lambda to let go of the network interfaces of predict"


def test_settings_of_a_vpc_go_as_one(scripted: Play) -> None:
    sent = {"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}}
    in_vpc = function(vpc_subnet_ids=["subnet-1"], vpc_security_group_ids=["sg-1"])
    aws = scripted(
        [
            ("create_function", created(**sent), {}),
            *LOGS,
            ("get_function_configuration", NAME, {"State": "Active"}),
        ]
    )
    in_vpc.create(aws.world())
    assert not LambdaFunction.differs("vpc_subnet_ids", ["b", "a"], ["a", "b"])
