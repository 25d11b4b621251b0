"""How each service is told of tags that change."""

from __future__ import annotations

import pytest

from engine.aws.tags import narrow
from engine.resource import Resource
from engine.resources.aws._tagging import kebab
from engine.resources.aws.cloudtrail import Cloudtrail
from engine.resources.aws.lambda_functions import LambdaFunction
from engine.resources.ec2.compute import Ec2Instance
from engine.resources.ecs.clusters import EcsCluster
from engine.resources.elb.target_group import ElbTargetGroup
from engine.resources.iam.roles import IamRole
from engine.resources.sagemaker.models import SagemakerModel
from tests.kinds.aws_examples.sagemaker import a_model
from tests.kinds.aws_stage import Stage

CHANGED = {"Course": "W251", "Term": None}

BY_HAND: dict[type[Resource], list[str]] = {
    Ec2Instance: [
        'aws ec2 create-tags --resources x vol-1 --tags \'[{"Key": "Course", "Value": "W251"}]\'',
        'aws ec2 delete-tags --resources x vol-1 --tags \'[{"Key": "Term"}]\'',
    ],
    EcsCluster: [
        'aws ecs tag-resource --resource-arn x --tags \'[{"key": "Course", "value": "W251"}]\'',
        "aws ecs untag-resource --resource-arn x --tag-keys Term",
    ],
    ElbTargetGroup: [
        'aws elbv2 add-tags --resource-arns x --tags \'[{"Key": "Course", "Value": "W251"}]\'',
        "aws elbv2 remove-tags --resource-arns x --tag-keys Term",
    ],
    IamRole: [
        'aws iam tag-role --role-name x --tags \'[{"Key": "Course", "Value": "W251"}]\'',
        "aws iam untag-role --role-name x --tag-keys Term",
    ],
    LambdaFunction: [
        'aws lambda tag-resource --resource arn:x --tags \'{"Course": "W251"}\'',
        "aws lambda untag-resource --resource arn:x --tag-keys Term",
    ],
    SagemakerModel: [
        'aws sagemaker add-tags --resource-arn arn:x --tags \'[{"Key": "Course", "Value": "W251"}]\'',
        "aws sagemaker delete-tags --resource-arn arn:x --tag-keys Term",
    ],
    Cloudtrail: [
        'aws cloudtrail add-tags --resource-id x --tags-list \'[{"Key": "Course", "Value": "W251"}]\'',
        'aws cloudtrail remove-tags --resource-id x --tags-list \'[{"Key": "Term"}]\'',
    ],
}


@pytest.mark.parametrize("kind", BY_HAND, ids=lambda kind: str(kind.kind))
def test_tags_are_changed_by_hand_in_each_service_s_words(kind: type[Resource]) -> None:
    there = {"arn": "arn:x", "parts": ["vol-1"]}
    assert kind.retag_by_hand("x", there, CHANGED) == BY_HAND[kind]


def test_an_option_of_the_command_line_is_called_as_the_parameter_is() -> None:
    assert [kebab(name) for name in ("TagKeys", "resourceArn", "ResourceARN")] == [
        "tag-keys",
        "resource-arn",
        "resource-arn",
    ]


def test_what_a_service_does_not_take_in_tags_is_told_otherwise_and_read_as_it_was(stage: Stage) -> None:
    """SageMaker takes no brackets in tags, and a looped thing's address has some."""
    model = a_model(stage)
    made = stage.make(model, "model[0]")
    assert made["tags"]["labctl:address"] == "model[0]"
    sent = stage.aws.call("sagemaker", "list_tags", ResourceArn=made["arn"])["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in sent}["labctl:address"] == narrow({"a": "model[0]"})["a"]
