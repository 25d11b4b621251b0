"""The Cloud Control API's pure half: what a schema tells, and documents compared and patched."""

from __future__ import annotations

from typing import Any

import pytest

from engine.resources._documents import holds, merged
from engine.resources.aws._cloud_control import TypeFacts, at, facts_in, patch, unlike, with_untold
from engine.resources.aws.cloud_control import AwsResource

TAG = {"properties": {"Key": {}, "Value": {}}, "required": ["Key", "Value"]}


@pytest.mark.parametrize(
    ("schema", "place", "is_map"),
    [
        ({"properties": {"Tags": {"type": "array", "items": {"$ref": "#/definitions/Tag"}}}}, "Tags", False),
        ({"properties": {"Tags": {"type": "object"}}}, "Tags", True),
        (
            {
                "properties": {"HostedZoneTags": {"type": "array", "items": TAG}},
                "tagging": {"taggable": True, "tagProperty": "/properties/HostedZoneTags"},
            },
            "HostedZoneTags",
            False,
        ),
        ({"properties": {"Tags": {"type": "object"}}, "taggable": False}, None, False),
        ({"properties": {"Tags": {"type": "object"}}, "tagging": {"taggable": False}}, None, False),
        (
            {
                "properties": {"Tags": {"type": "array", "items": {"$ref": "#/definitions/Tag"}}},
                "definitions": {"Tag": {**TAG, "required": ["Key", "Value", "PropagateAtLaunch"]}},
            },
            None,
            False,
        ),
        ({"properties": {}}, None, False),
    ],
)
def test_where_a_type_has_its_tags(schema: dict[str, Any], place: str | None, is_map: bool) -> None:
    facts = facts_in({"definitions": {"Tag": TAG}, **schema})
    assert (facts.tags_in, facts.tags_are_map) == (place, is_map)


def test_tags_have_the_form_of_the_type() -> None:
    assert TypeFacts(tags_in="Tags", tags_are_map=True).tags({"a": "b"}) == {"a": "b"}
    assert TypeFacts(tags_in="Tags").tags({"a": "b"}) == [{"Key": "a", "Value": "b"}]


@pytest.mark.parametrize(
    ("there", "wanted", "holding"),
    [
        ({"A": 1, "B": 2}, {"A": 1}, True),
        ({"A": {"B": 1, "C": 2}}, {"A": {"B": 1}}, True),
        ({"A": {"B": 1}}, {"A": {"B": 2}}, False),
        ({"A": [{"B": 1, "C": 2}]}, {"A": [{"B": 1}]}, True),
        ({"A": [1, 2]}, {"A": [1]}, False),
        ({"A": "8080"}, {"A": 8080}, True),
        ({"A": "true"}, {"A": True}, True),
        ({}, {"A": None}, True),
        ({"A": 1}, {"A": None}, False),
        ({}, {"A": 1}, False),
        ({"A": 1}, {"A": {"B": 1}}, False),
    ],
)
def test_only_what_is_wanted_counts(there: dict[str, Any], wanted: dict[str, Any], holding: bool) -> None:
    assert holds(there, wanted) is holding
    assert bool(list(unlike(there, wanted))) is not holding


def test_what_is_never_told_is_taken_to_be_as_wanted() -> None:
    seen = with_untold({"Name": "db", "Net": {"Id": 1}}, ["/properties/Password", "/properties/Net/Secret"])
    assert holds(seen, {"Name": "db", "Password": "p", "Net": {"Secret": "s"}})
    assert not holds(seen, {"Net": {"Id": 2}})


def test_a_patch_keeps_what_is_not_wanted_otherwise() -> None:
    there = {"A": {"B": 1, "C": 2}, "D": 1, "E/F": 1}
    wanted = {"A": {"B": 3}, "D": None, "G": [1], "E/F": 2, "H": None}
    assert patch(there, wanted, list(wanted)) == [
        {"op": "add", "path": "/A", "value": {"B": 3, "C": 2}},
        {"op": "remove", "path": "/D"},
        {"op": "add", "path": "/G", "value": [1]},
        {"op": "add", "path": "/E~1F", "value": 2},
    ]
    assert merged({"A": {"B": 1}}, {"A": {"B": None, "C": 1}}) == {"A": {"C": 1}}


def test_a_value_at_a_pointer() -> None:
    document = {"A": {"B": 1}, "L": [{"N": 1}, {"N": 2}]}
    assert at(document, "/properties/A/B") == 1
    assert at(document, "/properties/A/X/Y") is None
    assert at(document, "/properties/L/*/N") == [1, 2]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"type": "LogGroup"}, "is not the name of a type: write it as AWS::Service::Thing"),
        ({"type": "AWS::Logs::LogGroup", "properties": {"Tags": []}}, "write `tags:` beside"),
    ],
)
def test_what_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        AwsResource.model_validate(fields)


def test_what_can_be_set_at_creation_only_replaces() -> None:
    there = {
        "properties": {"LogGroupName": "/a", "RetentionInDays": 7},
        "create_only": ["/properties/LogGroupName"],
    }

    def wanting(**properties: Any) -> AwsResource:
        return AwsResource(type="AWS::Logs::LogGroup", properties=properties)

    assert not wanting(RetentionInDays=14).replaces("properties", there)
    assert wanting(LogGroupName="/b").replaces("properties", there)
    assert wanting().replaces("type", there)


def test_a_plan_shows_of_the_properties_those_that_the_playbook_sets() -> None:
    there = {"Name": "x", "Arn": "arn:x", "Size": 2}
    assert AwsResource.counted("properties", {"Size": 1, "More": 3}, there) == {"Size": 2}
    assert AwsResource.counted("type", "AWS::Ab::Cd", "AWS::Ab::Cd") == "AWS::Ab::Cd"
