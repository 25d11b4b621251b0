"""Lookups: asked with what the plan knows, answered before it where that is possible, in no ledger."""

from __future__ import annotations

import pytest

from engine.errors import Invalid
from engine.refs import Template
from engine.render.plan import plan_text
from tests.fakes import Ask, Box, Place, declare, done, lab_of, told


def asking(**fields):
    """A lookup that hangs on nothing, and a thing that hangs on it."""
    return lab_of(
        declare("price", Ask, **fields),
        declare("box", Box, label="{{ price.answer }}"),
        outputs={"told": Template("{{ price.answer }}")},
    )


def hanging(size=1):
    """A lookup that hangs on a thing, and a thing that hangs on the lookup."""
    return lab_of(
        declare("net", Box, size=size),
        declare("count", Ask, uses=["{{ net.id }}"]),
        declare("top", Box, script="{{ count.answer }}"),
        outputs={"told": Template("{{ count.answer }}")},
    )


def test_what_is_known_is_asked_before_the_plan():
    place = Place()
    planned = place.plan(asking())
    assert told(planned) == ["keep price", "create box: not there yet"]
    assert planned.changes[1].fields[0].wanted == "how many: 0"
    assert "Plan: 1 to add, 0 to change, 0 to destroy." in plan_text(planned)
    assert "price" not in plan_text(planned)
    report = place.carry_out(asking(), planned)
    assert done(report) == ["create box done"]
    assert report.outputs == {"told": "how many: 0"}
    assert place.cloud.log == [("look up", "price"), ("create", "box")]


def test_nothing_of_it_is_remembered_or_destroyed():
    place = Place()
    assert place.apply(asking()).ok
    assert list(place.remembered(asking())) == ["box"]
    assert place.plan(asking()).idle
    place.cloud.log.clear()
    assert told(place.plan(asking(), destroy=True)) == ["delete box: the lab is destroyed"]
    assert place.destroy(asking()).ok
    assert place.cloud.log == [("delete", "box")]


def test_what_hangs_on_something_new_is_asked_during_apply():
    place = Place()
    planned = place.plan(hanging())
    assert told(planned) == ["create net: not there yet", "keep count", "create top: not there yet"]
    assert "  ? count ask: is looked up during apply" in plan_text(planned)
    assert "Plan: 2 to add" in plan_text(planned)
    report = place.carry_out(hanging(), planned)
    assert sorted(done(report)) == ["create net done", "create top done", "look up count done"]
    assert report.outputs == {"told": "how many: 1"}
    assert place.cloud.log == [("create", "net"), ("look up", "count"), ("create", "top")]
    again = place.plan(hanging())
    assert again.idle
    assert told(again) == ["keep net", "keep count", "keep top"]


def test_other_answers_are_a_change_of_what_hangs_on_them():
    place = Place()
    assert place.apply(hanging()).ok
    other = lab_of(
        declare("net", Box),
        declare("count", Ask, question="which", uses=["{{ net.id }}"]),
        declare("top", Box, script="{{ count.answer }}"),
    )
    assert told(place.plan(other)) == ["keep net", "keep count", "update top: script differs"]


def test_one_may_ask_what_another_told():
    place = Place()
    lab = lab_of(
        declare("first", Ask),
        declare("second", Ask, question="{{ first.answer }}"),
        declare("box", Box, label="{{ second.answer }}"),
    )
    planned = place.plan(lab)
    assert planned.changes[2].fields[0].wanted == "how many: 0: 0"
    assert place.cloud.log == [("look up", "first"), ("look up", "second")]


def test_what_finds_nothing_is_a_problem_in_words():
    place = Place()
    place.cloud.faults["look up", "price"] = ["fails"]
    with pytest.raises(Invalid) as caught:
        place.plan(asking())
    (problem,) = caught.value.problems
    assert (problem.what, problem.remedy) == ("price: nothing is known of it", "ask otherwise")


def test_what_finds_nothing_during_apply_takes_what_hangs_on_it_with_it():
    place = Place()
    place.cloud.faults["look up", "count"] = ["fails"]
    report = place.apply(hanging())
    assert done(report) == [
        "create net done",
        "look up count failed: nothing is known of it",
        "create top skipped",
    ]


def test_only_takes_in_what_it_hangs_on():
    place = Place()
    assert told(place.plan(asking(), only=["box"])) == ["keep price", "create box: not there yet"]


def test_it_takes_no_name_of_something_made():
    place = Place()
    assert place.apply(lab_of(declare("price", Box))).ok
    with pytest.raises(Invalid, match="`price` is a lookup now, and a box was made under this name"):
        place.plan(asking())
