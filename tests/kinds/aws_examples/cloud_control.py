"""An example of the kind that stands for every type of AWS."""

from __future__ import annotations

from engine.resource import Resource
from engine.resources.aws.cloud_control import AwsResource
from tests.kinds.aws_examples import Example
from tests.kinds.aws_stage import Stage


def log_group(stage: Stage) -> tuple[Resource, Resource | None]:
    def keeping(days: int) -> AwsResource:
        properties = {"LogGroupName": f"/{stage.lab}/app", "RetentionInDays": days}
        return AwsResource(type="AWS::Logs::LogGroup", properties=properties)

    return keeping(7), keeping(14)


EXAMPLES: dict[str, Example] = {"aws_resource": log_group}
