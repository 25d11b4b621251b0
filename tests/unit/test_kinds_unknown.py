"""Any field of any kind may be unknown until apply: nothing that a plan asks of a kind stumbles over it."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import ValidationError

from docs.kinds_page import examples
from engine.by_hand import commands
from engine.change import Change, Entry, FieldChange, Observation
from engine.kinds import kinds
from engine.refs import UNKNOWN, Ref, Unknown
from engine.resource import Place, Resource

EXAMPLES = {name: example.resource for name, example in examples().items()}


def given(resource: Resource) -> dict[str, Any]:
    """The fields that an example sets."""
    return {name: getattr(resource, name) for name in resource.model_fields_set}


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_a_plan_stands_every_unknown_field(name: str) -> None:
    kind, example = kinds()[name], EXAMPLES[name]
    for field in kind.model_fields:
        # Fields that exclude each other do so unknown, too.
        try:
            resource = kind.model_validate({**given(example), field: UNKNOWN})
        except ValidationError:
            continue
        resource.wanted()
        resource.replaces(field, example.wanted())
        resource.foreseen()
        resource.reach(Place())
        resource.foretold(Place())
        price = resource.price()
        assert price is None or price >= 0


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_commands_by_hand_stand_every_unknown_field(name: str) -> None:
    kind, example = kinds()[name], EXAMPLES[name]
    for field in kind.model_fields:
        unknown = Unknown(frozenset({Ref("other", "id")}))
        try:
            resource = kind.model_validate({**given(example), field: unknown})
        except ValidationError:
            continue
        entry = Entry("it", name, "some")
        verbs: tuple[Literal["create", "update"], ...] = ("create", "update")
        for verb in verbs:
            fields = (FieldChange(field, None, None, unknown),) if verb == "update" else ()
            there = Observation(entry, {}) if verb == "update" else None
            change = Change("it", name, verb, wanted=resource, there=there, fields=fields)
            lines = commands(verb, change, kinds(), needed=frozenset(kind.outputs))
            assert not any("known after apply" in line for line in lines), lines


def by_hand(kind: str, **fields: Any) -> list[str]:
    """The commands that make the kind's example with these fields."""
    resource = kinds()[kind].model_validate({**given(EXAMPLES[kind]), **fields})
    return commands("create", Change("it", kind, "create", wanted=resource), kinds())


@pytest.mark.parametrize(("output", "option"), [("name", "Name=$PROFILE_NAME"), ("arn", "Arn=$PROFILE_ARN")])
def test_a_variable_stands_for_text_of_other_resources(output: str, option: str) -> None:
    ref = Ref("profile", output)
    for text in (None, f"{{{{ {ref} }}}}"):
        lines = by_hand("ec2_instance", iam_instance_profile=Unknown(frozenset({ref}), text))
        command = next(line for line in lines if "run-instances" in line)
        assert f'--iam-instance-profile "{option}"' in command.replace("{", "").replace("}", "")


def test_a_comment_stands_for_commands_whose_fields_of_several_parts_are_not_known() -> None:
    unknown = Unknown(frozenset({Ref("net", "rules")}), "{{ net.rules }}")
    assert by_hand("ec2_security_group", rules=unknown) == [
        "# rules is not known before net; labctl plan --as-commands has the commands then"
    ]
