"""Any field of any kind may be unknown until apply: nothing that a plan asks of a kind stumbles over it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from docs.kinds_page import examples
from engine.kinds import kinds
from engine.refs import UNKNOWN
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
