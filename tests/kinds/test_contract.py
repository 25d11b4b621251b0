"""The contract that every kind keeps: made or changed, it reads as wanted; deleted, it is gone."""

from __future__ import annotations

import re

import pytest

from engine.aws import Aws
from engine.aws.actions import actions_of
from engine.aws.tags import TOKEN, values_filter
from engine.kinds import kinds
from engine.on_host import OnHost
from engine.resource import SECRET, UNREAD, Resource, Values
from engine.resources.ec2._ec2 import InEc2
from engine.world import World
from tests.kinds.aws_examples import Example, all_examples
from tests.kinds.aws_stage import Stage

EXAMPLES = all_examples()
ALWAYS_THERE = {"service_quota"}
"""What nobody makes and nobody deletes: a playbook takes it on as it is, and may change it."""
UNMARKED = {"route53_record"}
"""What bears no mark of its create: one that says exactly what was asked for counts as made by it."""


def differing(resource: Resource, there: Values) -> dict[str, tuple[object, object]]:
    """The fields that a plan would show; Unread ones are compared by the ledger's hashes, not here."""
    kind = type(resource)
    return {
        name: (wanted, there.get(name))
        for name, wanted in resource.wanted().items()
        if not {UNREAD, SECRET} & set(kind.model_fields[name].metadata)
        and kind.differs(name, wanted, there.get(name))
    }


def test_every_aws_kind_has_an_example() -> None:
    of_aws = {
        name
        for name, kind in kinds().items()
        if not issubclass(kind, OnHost) and not kind.already_there and not kind.lookup
    }
    assert of_aws == EXAMPLES.keys()


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES.keys())
def test_contract(stage: Stage, example: Example) -> None:
    first, second = example(stage)
    kind = type(first)
    _has_commands_and_price(first, second)
    foreseen = first.foreseen() or ""
    world = stage.world(foreseen=foreseen)
    sent_before = len(world.aws.requests)
    id = first.create(world)
    try:
        _reads_as_wanted(kind, world, id, first)
        assert kind.find(world) == ([] if kind.kind in ALWAYS_THERE else [id])
        others = kind.find(stage.world(token="another-one", foreseen=foreseen))
        assert others == ([id] if kind.kind in UNMARKED else [])
        if second is not None:
            changed = frozenset(differing(second, kind.read_many(world, [id])[id])) or frozenset(
                {"dns_hostnames"}
            )
            assert not [name for name in changed if second.replaces(name, kind.read_many(world, [id])[id])]
            second.update(world, id, changed)
            _reads_as_wanted(kind, world, id, second)
        if kind.tagged:
            _is_retagged(kind, world, id, second or first)
    finally:
        kind.delete(world, id)
    assert kind.read_many(world, [id]) == {} or kind.kind in ALWAYS_THERE
    kind.delete(world, id)
    assert kind.find(world) == []
    needed = actions_needed(world.aws, world.aws.requests[sent_before:])
    needed -= {"ec2:DescribeTags"}  # this test asks that itself
    assert needed - set(kind.actions) == set(), f"{kind.kind}.actions does not name these"


def actions_needed(aws: Aws, requests: list[tuple[str, str]]) -> set[str]:
    """The IAM actions that requests need, each named as boto3 names its client and its method."""
    found: set[str] = set()
    for service, operation in set(requests):
        meta = aws._client(service).meta
        model = meta.service_model.operation_model(meta.method_to_api_mapping[operation])
        found |= actions_of(meta.service_model.signing_name, model.name, model.http["method"])
    return found


@pytest.mark.parametrize("name", EXAMPLES)
def test_actions_are_named_as_iam_names_them(name: str) -> None:
    actions = list(kinds()[name].actions)
    assert len(actions) == len(set(actions))
    assert [action for action in actions if not re.fullmatch(r"[a-z0-9-]+:[A-Z][A-Za-z0-9]+", action)] == []


def _has_commands_and_price(first: Resource, second: Resource | None) -> None:
    for resource in filter(None, (first, second)):
        made = resource.at("web.thing").as_commands("create", None)
        assert made
        assert all(line.strip() for line in made)
        price = resource.price()
        assert price is None or price >= 0
    gone = type(first).model_construct().at("thing").as_commands("delete", "x-123")
    assert any("x-123" in line for line in gone)


def is_write(request: tuple[str, str]) -> bool:
    return not request[1].startswith(("describe_", "get_", "list_", "head_", "batch_get_"))


def _reads_as_wanted(kind: type[Resource], world: World, id: str, resource: Resource) -> None:
    there = kind.read_many(world, [id, id])
    assert list(there) == [id]
    assert differing(resource, there[id]) == {}
    assert kind.outputs.keys() <= there[id].keys()


def _is_retagged(kind: type[Resource], world: World, id: str, resource: Resource) -> None:
    """Its tags change in one or two writes, by nothing but what is asked, and nothing else changes."""
    there = kind.read_many(world, [id])[id]
    assert there["tags"].items() >= world.job.tags.items()
    assert TOKEN not in there["tags"]
    # Of the services here EC2's alone take an asterisk.
    box = "a box: *" if issubclass(kind, InEc2) else "a box: -"
    before = len(world.aws.requests)
    kind.retag(world, id, there, {"course": None, "owner": "alice", "Name": box})
    writes = [request for request in world.aws.requests[before:] if is_write(request)]
    assert len(writes) in {1, 2}
    if issubclass(kind, InEc2):
        assert writes == world.aws.requests[before:] == [("ec2", "create_tags"), ("ec2", "delete_tags")]
    kept = {key: text for key, text in there["tags"].items() if key not in {"course", "Name"}}
    assert kind.read_many(world, [id])[id]["tags"] == {**kept, "owner": "alice", "Name": box}
    for part in kind.parts(there) if issubclass(kind, InEc2) else ():
        found = world.aws.pages("ec2", "describe_tags", "Tags", Filters=values_filter("resource-id", [part]))
        told = {tag["Key"]: tag["Value"] for tag in found}
        assert "course" not in told
        assert told["owner"] == "alice"
    _reads_as_wanted(kind, world, id, resource)
    by_hand = kind.retag_by_hand(id, there, {"course": None, "owner": "alice"})
    assert len(by_hand) in {1, 2}
    assert all(line.startswith("aws ") for line in by_hand)
    if issubclass(kind, InEc2):
        assert [line.split()[2] for line in by_hand] == ["create-tags", "delete-tags"]
        assert all(id in line for line in by_hand)
