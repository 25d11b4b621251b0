"""CloudFormation stacks, looked at from behind with boto3, and what their requests and refusals are."""

from __future__ import annotations

from typing import Any

import pytest

from engine.aws.errors import AwsError
from engine.errors import HalfMade, StepFailed
from engine.resources.aws.cloudformation import CloudformationStack
from tests.kinds.aws_examples.cloudformation import TEMPLATE
from tests.kinds.aws_stage import Stage
from tests.kinds.scripted_aws import Line, Play, tag_list

ID = "arn:aws:cloudformation:us-east-1:123456789012:stack/net/1"
WISH = CloudformationStack(stack_name="net", template_body={"Resources": {}})


def test_what_is_in_the_template_is_there_and_goes(stage: Stage) -> None:
    wanted = CloudformationStack(
        stack_name=f"{stage.lab}-net", template_body=TEMPLATE, template_parameters={"Cidr": "10.60.0.0/16"}
    )
    world = stage.world()
    id = wanted.create(world)
    there = CloudformationStack.read_many(world, [id])[id]
    vpc = there["stack_outputs"]["NetId"]
    [seen] = stage.aws.pages("ec2", "describe_vpcs", "Vpcs", VpcIds=[vpc])
    assert seen["CidrBlock"] == "10.60.0.0/16"
    CloudformationStack.delete(world, id)
    with pytest.raises(AwsError, match=r"InvalidVpcID\.NotFound"):
        stage.aws.call("ec2", "describe_vpcs", VpcIds=[vpc])


def test_a_protected_stack_stays(stage: Stage) -> None:
    wanted = CloudformationStack(
        stack_name=f"{stage.lab}-net",
        template_body=TEMPLATE,
        template_parameters={"Cidr": "10.60.0.0/16"},
        termination_protection=True,
    )
    world = stage.world()
    id = wanted.create(world)
    with pytest.raises(StepFailed, match="protected against being deleted"):
        CloudformationStack.delete(world, id)
    free = wanted.model_copy(update={"termination_protection": False})
    free.update(world, id, frozenset({"termination_protection"}))
    CloudformationStack.delete(world, id)
    assert CloudformationStack.read_many(world, [id]) == {}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"stack_name": "1net", "template_body": {}}, "cannot name a stack"),
        ({"stack_name": "net"}, "write one of template, template_body and template_url"),
        ({"stack_name": "net", "template_body": {}, "template_url": "https://x"}, "write one of"),
    ],
)
def test_what_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CloudformationStack.model_validate(fields)


def test_parameters_are_compared_as_texts() -> None:
    wish = CloudformationStack(
        stack_name="net", template_body={}, template_parameters={"A": True, "B": 8, "C": ["x", "y"], "P": "s"}
    )
    wanted = wish.wanted()["template_parameters"]
    assert wanted == {"A": "true", "B": "8", "C": "x,y", "P": "s"}
    there = {"A": "true", "B": "8", "C": "x,y", "P": "****", "Default": "z"}
    assert not CloudformationStack.differs("template_parameters", wanted, there)
    assert CloudformationStack.differs("template_parameters", wanted, {**there, "B": "9"})


def described(status: str, **more: Any) -> Line:
    stack = {"StackId": ID, "StackName": "net", "StackStatus": status, **more}
    return "describe_stacks", {"StackName": ID}, {"Stacks": [stack]}


def sent(operation: str, **more: Any) -> Line:
    return operation, {"StackName": ID, **more}, {}


def created() -> Line:
    asked = {
        "StackName": "net",
        "Tags": tag_list(),
        "OnFailure": "DELETE",
        "EnableTerminationProtection": False,
        "Parameters": [],
        "Capabilities": [],
        "NotificationARNs": [],
        "TemplateBody": '{"Resources": {}}',
        "ClientRequestToken": "t-1",
    }
    return "create_stack", asked, {"StackId": ID}


FAILED = {
    "StackEvents": [
        {
            "LogicalResourceId": "Other",
            "ResourceType": "AWS::EC2::Subnet",
            "ResourceStatus": "CREATE_FAILED",
            "ResourceStatusReason": "Resource creation cancelled",
            "PhysicalResourceId": "",
        },
        {
            "LogicalResourceId": "Net",
            "ResourceType": "AWS::EC2::VPC",
            "ResourceStatus": "CREATE_FAILED",
            "ResourceStatusReason": "The maximum number of VPCs has been reached.",
            "PhysicalResourceId": "",
        },
    ]
}


@pytest.mark.parametrize(("status", "remains"), [("DELETE_COMPLETE", False), ("ROLLBACK_COMPLETE", True)])
def test_a_create_that_fails_says_why(status: str, remains: bool, scripted: Play) -> None:
    aws = scripted(
        [
            created(),
            described("CREATE_IN_PROGRESS"),
            described(status),
            ("describe_stack_events", {"StackName": ID}, FAILED),
        ]
    )
    with pytest.raises(StepFailed, match=r"Net \(AWS::EC2::VPC\): The maximum number of VPCs") as raised:
        WISH.create(aws.world())
    assert isinstance(raised.value, HalfMade) is remains
    assert "cancelled" not in raised.value.message


def test_a_dead_stack_is_replaced_by_any_change() -> None:
    assert WISH.replaces("template_body", {"status": "ROLLBACK_COMPLETE"})
    assert not WISH.replaces("template_body", {"status": "CREATE_COMPLETE"})


def test_an_update_waits_while_another_one_runs_and_tells_what_was_rolled_back(scripted: Play) -> None:
    busy = AwsError("UpdateStack", "ValidationError", f"Stack:{ID} is in UPDATE_IN_PROGRESS state")
    asked = {
        "TemplateBody": '{"Resources": {}}',
        "Parameters": [],
        "Capabilities": [],
        "NotificationARNs": [],
    }
    aws = scripted(
        [
            ("update_stack", {"StackName": ID, **asked}, busy),
            sent("update_stack", **asked),
            described("UPDATE_ROLLBACK_COMPLETE"),
            ("describe_stack_events", {"StackName": ID}, FAILED),
        ]
    )
    with pytest.raises(StepFailed, match=r"is as it was before \(UPDATE_ROLLBACK_COMPLETE\): Net"):
        WISH.update(aws.world(), ID, frozenset({"template_body"}))


def test_nothing_to_update_is_fine(scripted: Play) -> None:
    nothing = AwsError("UpdateStack", "ValidationError", "No updates are to be performed.")
    asked = {
        "TemplateBody": '{"Resources": {}}',
        "Parameters": [],
        "Capabilities": [],
        "NotificationARNs": [],
    }
    WISH.update(
        scripted([("update_stack", {"StackName": ID, **asked}, nothing)]).world(),
        ID,
        frozenset({"template_body"}),
    )


def test_a_stack_that_is_gone_is_deleted_quietly(scripted: Play) -> None:
    CloudformationStack.delete(scripted([described("DELETE_COMPLETE")]).world(), ID)
    unknown = AwsError("DescribeStacks", "ValidationError", f"Stack with id {ID} does not exist")
    CloudformationStack.delete(scripted([("describe_stacks", {"StackName": ID}, unknown)]).world(), ID)


def test_a_delete_that_fails_says_why(scripted: Play) -> None:
    aws = scripted(
        [
            described("CREATE_COMPLETE"),
            sent("delete_stack"),
            described("DELETE_FAILED"),
            ("describe_stack_events", {"StackName": ID}, FAILED),
        ]
    )
    with pytest.raises(StepFailed, match=r"cannot be deleted \(DELETE_FAILED\)"):
        CloudformationStack.delete(aws.world(), ID)
