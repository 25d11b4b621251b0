"""An example of a CloudFormation stack."""

from __future__ import annotations

from typing import Any

from engine.resource import Resource
from engine.resources.aws.cloudformation import CloudformationStack
from tests.kinds.aws_examples import Example
from tests.kinds.aws_stage import Stage

TEMPLATE: dict[str, Any] = {
    "Parameters": {"Cidr": {"Type": "String"}},
    "Resources": {"Net": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": {"Ref": "Cidr"}}}},
    "Outputs": {"NetId": {"Value": {"Ref": "Net"}}},
}


def stack(stage: Stage) -> tuple[Resource, Resource | None]:
    def with_cidr(cidr: str) -> CloudformationStack:
        return CloudformationStack(
            stack_name=f"{stage.lab}-net", template_body=TEMPLATE, template_parameters={"Cidr": cidr}
        )

    return with_cidr("10.60.0.0/16"), with_cidr("10.61.0.0/16")


EXAMPLES: dict[str, Example] = {"cloudformation_stack": stack}
