"""Budgets and quotas: who is told, what is asked for once, what AWS turns down."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from engine.aws.errors import AwsError
from engine.errors import StepFailed
from engine.resources.aws.budgets import Budget
from engine.resources.aws.quotas import ServiceQuota
from tests.kinds.aws_stage import Stage
from tests.kinds.scripted_aws import Line, Play, Scripted

EMAIL = {"email": ["ana@example.com"]}


def budget(stage: Stage, **fields: Any) -> Budget:
    return Budget.model_validate({"name": f"{stage.lab} money", "limit": {"amount": 100}, **fields})


def test_a_budget_of_others_is_left_alone(stage: Stage) -> None:
    stage.make(budget(stage), "one")
    other = stage.world("two", foreseen=f"{stage.lab} money")
    with pytest.raises(AwsError, match="is there already"):
        budget(stage, limit={"amount": 1}).create(other)
    assert Budget.find(other) == []


def test_only_what_changes_of_alerts_is_sent(stage: Stage) -> None:
    one = {"threshold": 50, "email": ["ana@example.com", "bo@example.com"]}
    stage.make(budget(stage, alerts=[one, {"threshold": 80, **EMAIL}]), "one")
    world = stage.world("one")
    before = len(world.aws.requests)
    wanted = budget(stage, alerts=[{**one, "email": ["bo@example.com", "cy@example.com"]}])
    wanted.update(world, wanted.name, frozenset({"alerts"}))
    sent = [operation for _, operation in world.aws.requests[before:]]
    writes = [name for name in sent if not name.startswith(("describe_", "get_"))]
    assert writes == ["delete_notification", "create_subscriber", "delete_subscriber"]
    there = Budget.read_many(world, [wanted.name])[wanted.name]["alerts"]
    assert [(alert["threshold"], alert["email"]) for alert in there] == [
        (50, ["bo@example.com", "cy@example.com"])
    ]


def test_what_differs_is_told_in_words(stage: Stage) -> None:
    there = stage.make(budget(stage, alerts=[{"threshold": 80, **EMAIL}]), "one")
    wanted = budget(stage, limit={"amount": 50.5}, alerts=[{"threshold": 80, "type": "forecasted", **EMAIL}])
    values = wanted.wanted()
    assert Budget.describe_difference("limit", values["limit"], there["limit"]) == (
        "the limit is 100 USD instead of 50.5 USD"
    )
    assert Budget.describe_difference("alerts", values["alerts"], there["alerts"]) == (
        "the alert at 80 % forecasted is missing, the alert at 80 % actual is not in the playbook"
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "a:b"}, "other than : and"),
        ({"limit": {"amount": 0}}, "greater than 0"),
        ({"alerts": [{"threshold": 80}]}, "needs somebody to tell"),
        ({"alerts": [{"threshold": 80, "email": ["ana"]}]}, "is no address of mail"),
        ({"alerts": [{"threshold": 80, "sns": "news"}]}, "is the ARN of a topic"),
        ({"alerts": [{"threshold": 80, **EMAIL}, {"threshold": 80.0, **EMAIL}]}, "two alerts have the same"),
        ({"alerts": [{"threshold": at, **EMAIL} for at in range(1, 12)]}, "at most 10 items"),
    ],
)
def test_wrong_budgets_are_told(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Budget.model_validate({"name": "money", "limit": {"amount": 1}, **fields})


# -- quotas --------------------------------------------------------------------------------------------------

GPUS = "L-DB2E81BA"
ABOUT = {"ServiceCode": "ec2", "MaxResults": 100}


def quota(value: float, **more: Any) -> dict[str, Any]:
    return {"QuotaCode": GPUS, "QuotaName": "GPUs", "Value": value, "Adjustable": True, **more}


def request(status: str, value: float, at: int = 1) -> dict[str, Any]:
    made = datetime(2026, 9, at, tzinfo=UTC)
    return {
        "Id": f"r{at}",
        "QuotaCode": GPUS,
        "DesiredValue": value,
        "Status": status,
        "Created": made,
        "CaseId": "77",
    }


def answers(applied: dict[str, Any], *requests: dict[str, Any]) -> list[Line]:
    return [
        ("list_aws_default_service_quotas", ABOUT, {"Quotas": [quota(0.0)]}),
        ("list_service_quotas", ABOUT, {"Quotas": [applied]}),
        (
            "list_requested_service_quota_change_history",
            ABOUT,
            {"RequestedQuotas": list(requests)},
        ),
    ]


ASKED = {"ServiceCode": "ec2", "QuotaCode": GPUS, "DesiredValue": 8.0}
ID = f"ec2/{GPUS}"
WANTED = ServiceQuota(service_code="ec2", quota_code=GPUS, value=8)


def values(aws: Scripted) -> dict[str, Any]:
    return ServiceQuota.read_many(aws.world(), [ID])[ID]


def test_enough_is_enough(scripted: Play) -> None:
    there = values(scripted(answers(quota(32.0))))
    assert (there["value"], there["status"]) == (32.0, "in force")
    assert not ServiceQuota.differs("value", 8.0, there["value"])


def test_an_open_request_counts_and_is_never_filed_again(scripted: Play) -> None:
    applied = quota(0.0)
    there = values(scripted(answers(applied, request("NOT_APPROVED", 16, 2), request("CASE_OPENED", 8, 1))))
    assert (there["value"], there["applied_value"], there["status"]) == (8.0, 0.0, "pending")
    assert there["case_id"] == "77"
    aws = scripted(answers(applied, request("PENDING", 8)))
    WANTED.update(aws.world(), ID, frozenset({"value"}))


def test_more_is_asked_for(scripted: Play) -> None:
    asked = ("request_service_quota_increase", ASKED, {"RequestedQuota": {}})
    aws = scripted([*answers(quota(4.0), request("APPROVED", 4)), asked])
    WANTED.update(aws.world(), ID, frozenset({"value"}))


def test_a_request_filed_at_the_same_moment_is_as_good(scripted: Play) -> None:
    refused = AwsError("RequestServiceQuotaIncrease", "ResourceAlreadyExistsException", "one is open")
    aws = scripted([*answers(quota(0.0)), ("request_service_quota_increase", ASKED, refused)])
    WANTED.update(aws.world(), ID, frozenset({"value"}))


def test_what_was_turned_down_is_told_and_not_asked_for_again(scripted: Play) -> None:
    told = answers(quota(0.0), request("DENIED", 8))
    aws = scripted(list(told))
    with pytest.raises(StepFailed, match="AWS has turned down the request for 8 of GPUs") as refused:
        WANTED.update(aws.world(), ID, frozenset({"value"}))
    assert refused.value.remedy == "say in AWS's Support Center (case 77) what it is for, or ask for less"
    assert values(scripted(told))["status"] == "turned down"


def test_what_never_rises_is_told(scripted: Play) -> None:
    aws = scripted(answers(quota(2.0, Adjustable=False)))
    with pytest.raises(StepFailed, match="AWS allows 2 of GPUs and never more"):
        WANTED.update(aws.world(), ID, frozenset({"value"}))


def test_unknown_quotas_and_services_are_told(stage: Stage) -> None:
    wrong = ServiceQuota(service_code="ec2", quota_name="Running GPUs", value=1)
    with pytest.raises(StepFailed, match="ec2 has no quota Running GPUs in this region"):
        wrong.adopts(stage.world())
    wrong = ServiceQuota(service_code="ec3", quota_code=GPUS, value=1)
    with pytest.raises(StepFailed, match="Service Quotas knows no service ec3"):
        wrong.adopts(stage.world())


def test_the_sandbox_turns_down_what_is_too_much_and_lets_one_request_in_at_a_time(stage: Stage) -> None:
    quota = ServiceQuota(service_code="ec2", quota_name="Running On-Demand P instances", value=64)
    world = stage.world()
    id = quota.adopts(world)
    assert id == "ec2/L-417A185B"
    quota.create(world)
    assert ServiceQuota.read_many(world, [id])[id]["status"] == "pending"
    with pytest.raises(AwsError, match="Only one open service quota increase request"):
        world.aws.call(
            "service-quotas",
            "request_service_quota_increase",
            ServiceCode="ec2",
            QuotaCode="L-417A185B",
            DesiredValue=65.0,
        )
