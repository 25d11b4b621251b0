"""Any type of AWS through the Cloud Control API, looked at from behind with boto3."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.aws.errors import AwsError
from engine.errors import HalfMade, StepFailed
from engine.resources.aws.cloud_control import AwsResource
from tests.kinds.aws_stage import Stage
from tests.kinds.scripted_aws import Play


def log_group(stage: Stage, name: str = "app", **more: Any) -> AwsResource:
    properties = {"LogGroupName": f"/{stage.lab}/{name}", **more}
    return AwsResource(type="AWS::Logs::LogGroup", properties=properties)


def test_the_real_thing_is_made_changed_and_gone(stage: Stage) -> None:
    world = stage.world()
    wanted = log_group(stage, RetentionInDays=7)
    name = wanted.properties["LogGroupName"]

    def seen() -> list[dict[str, Any]]:
        return stage.aws.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=name)

    id = wanted.create(world)
    assert [group["retentionInDays"] for group in seen()] == [7]
    there = AwsResource.read_many(world, [id])[id]
    assert there["id"] == name
    assert there["attributes"]["Arn"].startswith(f"arn:aws:logs:us-east-1:123456789012:log-group:{name}")
    log_group(stage, RetentionInDays=30).update(world, id, frozenset({"properties"}))
    assert [group["retentionInDays"] for group in seen()] == [30]
    AwsResource.delete(world, id)
    assert seen() == []


def test_what_was_deleted_behind_is_gone(stage: Stage) -> None:
    world = stage.world()
    id = log_group(stage).create(world)
    stage.aws.call("logs", "delete_log_group", logGroupName=f"/{stage.lab}/app")
    assert AwsResource.read_many(world, [id]) == {}
    AwsResource.delete(world, id)


def test_a_create_sent_twice_makes_one(stage: Stage) -> None:
    world = stage.world()
    first, second = log_group(stage).create(world), log_group(stage).create(world)
    assert first == second
    AwsResource.delete(world, first)


def test_a_name_that_is_taken(stage: Stage) -> None:
    world = stage.world()
    id = log_group(stage).create(world)
    with pytest.raises(StepFailed, match="is there already, and this lab did not make it"):
        log_group(stage).create(stage.world("other"))
    AwsResource.delete(world, id)


def test_a_type_that_is_not_there(stage: Stage) -> None:
    with pytest.raises(StepFailed, match="AWS knows no resource type AWS::Logs::LogGruop in us-east-1"):
        AwsResource(type="AWS::Logs::LogGruop").create(stage.world())


def test_properties_that_the_type_does_not_have(stage: Stage) -> None:
    with pytest.raises(StepFailed, match="'RetentionDays' was unexpected"):
        log_group(stage, RetentionDays=7).create(stage.world())
    assert AwsResource.find(stage.world()) == []


def test_tags_that_are_a_mapping(stage: Stage) -> None:
    world = stage.world()
    properties = {"Name": f"/{stage.lab}/x", "Type": "String", "Value": "1"}
    id = AwsResource(type="AWS::SSM::Parameter", properties=properties).create(world)
    assert AwsResource.read_many(world, [id])[id]["tags"]["labctl:lab"] == stage.lab
    assert AwsResource.find(world) == [id]
    AwsResource.delete(world, id)


def test_a_change_leaves_what_has_an_id_of_its_own_where_it_is(stage: Stage) -> None:
    world = stage.world()

    def zone(comment: str) -> AwsResource:
        properties = {"Name": f"{stage.lab}.example.", "HostedZoneConfig": {"Comment": comment}}
        return AwsResource(type="AWS::Route53::HostedZone", properties=properties)

    id = zone("before").create(world)
    zone("after").update(world, id, frozenset({"properties"}))
    there = AwsResource.read_many(world, [id])
    assert there[id]["properties"]["HostedZoneConfig"] == {"Comment": "after"}
    AwsResource.delete(world, id)
    assert AwsResource.read_many(world, [id]) == {}


def test_a_type_that_the_sandbox_only_keeps(stage: Stage) -> None:
    world = stage.world()
    wanted = AwsResource(type="AWS::Athena::WorkGroup", properties={"Name": stage.lab, "State": "ENABLED"})
    id = wanted.create(world)
    assert AwsResource.read_many(world, [id])[id]["properties"]["State"] == "ENABLED"
    AwsResource.delete(world, id)
    assert AwsResource.read_many(world, [id]) == {}


def event(status: str, **more: str) -> dict[str, Any]:
    told = {
        "TypeName": "AWS::Ab::Cd",
        "Operation": "CREATE",
        "RequestToken": "r-1",
        "OperationStatus": status,
    }
    return {"ProgressEvent": {**told, **more}}


SCHEMA = {"Schema": json.dumps({"properties": {"N": {}}, "primaryIdentifier": ["/properties/N"]})}
FACTS = ("describe_type", {"Type": "RESOURCE", "TypeName": "AWS::Ab::Cd"}, SCHEMA)
CREATE = {"TypeName": "AWS::Ab::Cd", "DesiredState": '{"N": "x"}', "ClientToken": "t-1"}
STATUS = {"RequestToken": "r-1"}
WISH = AwsResource(type="AWS::Ab::Cd", properties={"N": "x"})


def test_the_requests_of_a_create(scripted: Play) -> None:
    busy = AwsError("CreateResource", "ConcurrentOperationException", "busy")
    aws = scripted(
        [
            FACTS,
            ("create_resource", CREATE, busy),
            ("create_resource", CREATE, event("PENDING")),
            ("get_resource_request_status", STATUS, event("IN_PROGRESS", Identifier="x")),
            ("get_resource_request_status", STATUS, event("SUCCESS", Identifier="x")),
        ]
    )
    assert WISH.create(aws.world()) == "AWS::Ab::Cd/x"
    assert aws.said[-1] == "AWS to create the AWS::Ab::Cd"


def test_a_create_that_fails_and_leaves_something_is_remembered(scripted: Play) -> None:
    failed = event("FAILED", Identifier="x", ErrorCode="NotStabilized", StatusMessage="still starting")
    got = {"ResourceDescription": {"Identifier": "x", "Properties": '{"N": "x"}'}}
    aws = scripted(
        [
            FACTS,
            ("create_resource", CREATE, event("IN_PROGRESS")),
            ("get_resource_request_status", STATUS, failed),
            ("get_resource", {"TypeName": "AWS::Ab::Cd", "Identifier": "x"}, got),
        ]
    )
    with pytest.raises(
        HalfMade, match=r"it did not become ready in time: still starting \(NotStabilized\)"
    ) as raised:
        WISH.create(aws.world())
    assert raised.value.id == "AWS::Ab::Cd/x"


def test_a_delete_that_finds_nothing_is_quiet(scripted: Play) -> None:
    gone = event("FAILED", ErrorCode="NotFound", StatusMessage="no such thing")
    delete = {"TypeName": "AWS::Ab::Cd", "Identifier": "x/y"}
    AwsResource.delete(scripted([("delete_resource", delete, gone)]).world(), "AWS::Ab::Cd/x/y")
    missing = AwsError("DeleteResource", "ResourceNotFoundException", "no such thing")
    AwsResource.delete(scripted([("delete_resource", delete, missing)]).world(), "AWS::Ab::Cd/x/y")


def test_a_delete_that_is_refused_says_why(scripted: Play) -> None:
    used = event("FAILED", ErrorCode="ResourceConflict", StatusMessage="still has members")
    delete = {"TypeName": "AWS::Ab::Cd", "Identifier": "x"}
    with pytest.raises(StepFailed, match="still uses it: still has members"):
        AwsResource.delete(scripted([("delete_resource", delete, used)]).world(), "AWS::Ab::Cd/x")
