"""An example of each kind about money and what an account may have."""

from __future__ import annotations

from engine.resource import Resource
from engine.resources.aws.budgets import Budget
from engine.resources.aws.quotas import ServiceQuota
from tests.kinds.aws_examples import Example
from tests.kinds.aws_stage import Stage


def budget(stage: Stage) -> tuple[Resource, Resource | None]:
    common = {"name": f"{stage.lab} budget", "time_unit": "monthly"}
    first = {
        "limit": {"amount": 1000},
        "alerts": [
            {"threshold": 80, "email": ["ana@example.com"]},
            {"threshold": 100, "type": "forecasted", "email": ["ana@example.com", "bo@example.com"]},
        ],
        "cost_types": {"include_credit": False},
    }
    second = {
        "limit": {"amount": 500.5},
        "time_unit": "quarterly",
        "cost_filters": {"Service": ["Amazon Elastic Compute Cloud - Compute"]},
        "cost_types": {"include_credit": False, "include_tax": False},
        "alerts": [
            {"threshold": 80, "email": ["cy@example.com"], "sns": "arn:aws:sns:us-east-1:123456789012:money"},
            {"threshold": 400, "threshold_type": "absolute_value", "email": ["ana@example.com"]},
        ],
    }
    return Budget.model_validate({**common, **first}), Budget.model_validate({**common, **second})


def service_quota(stage: Stage) -> tuple[Resource, Resource | None]:
    first = ServiceQuota(service_code="ec2", quota_code="L-0263D0A3", value=4)
    return first, ServiceQuota(service_code="ec2", quota_name="EC2-VPC Elastic IPs", value=8)


EXAMPLES: dict[str, Example] = {"budget": budget, "service_quota": service_quota}
