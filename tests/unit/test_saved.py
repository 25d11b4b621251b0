from __future__ import annotations

import json
from pathlib import Path

from engine.saved import Request, to_save
from tests.fakes import Box, Place, declare, lab_of


def test_a_saved_plan_holds_no_secret_whole_or_within_something():
    lab = lab_of(declare("box", Box, label="key=hunter-two;"), secrets=frozenset(["hunter-two"]))
    place = Place()
    variables = {"key": "hunter-two", "url": "https://me:hunter-two@host/", "size": "1"}
    request = Request(Path("a.yml"), Path("b.yml"), variables)
    document = to_save(place.plan(lab), lab, request, b"key", [lab.name])
    assert "hunter-two" not in json.dumps(document)
    assert document["request"]["withheld"] == ["key", "url"]
    assert document["request"]["variables"] == {"size": "1"}
