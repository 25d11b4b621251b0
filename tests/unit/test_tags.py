"""Tags that change after a thing was made: what the plan says, and what an update does about it."""

from __future__ import annotations

from dataclasses import replace

from engine.change import Entry
from engine.diff import differences, words_for
from engine.masking import MASK, Masker
from engine.render.plan import plan_text
from engine.tags import owed
from tests.fakes import Box, Found, Item, Place, Rock, Thing, declare, done, lab_of, told


def lab(shared=None, *, own=None, **keywords):
    made = lab_of(declare("net", Box, tags=own or {}, **keywords), declare("aside", Box))
    return replace(made, tags={**made.tags, **(shared or {})})


def applied(wanted):
    place = Place()
    assert place.apply(wanted).ok
    assert not place.plan(wanted).pending
    return place


def tags_of(place, address="net"):
    return place.cloud.of("toy@here", address)[0].tags


def test_what_changes_is_told_in_words_and_set_in_place():
    first = lab({"course": "w251", "labctl:expires": "2026-12-18"}, own={"owner": "bob"})
    place = applied(first)
    tags_of(place)["theirs"] = "stays"
    second = lab({"labctl:expires": "2027-01-15"}, own={"owner": "alice", "team": "blue"})
    planned = place.plan(second)
    assert plan_text(planned, width=200).splitlines() == [
        "  ~ net box: tag labctl:expires: 2026-12-18 instead of 2027-01-15, "
        "tag owner: bob instead of alice, tag team is missing, tag course is no longer wanted",
        "      tags",
        "        - labctl:expires: 2026-12-18",
        "        + labctl:expires: 2027-01-15",
        "        - owner: bob",
        "        + owner: alice",
        "        - course: w251",
        "        + team: blue",
        "",
        "  ~ aside box: tag labctl:expires: 2026-12-18 instead of 2027-01-15, tag course is no longer wanted",
        "      tags",
        "        - labctl:expires: 2026-12-18",
        "        + labctl:expires: 2027-01-15",
        "        - course: w251",
        "",
        "Plan: 0 to add, 2 to change, 0 to destroy.",
    ]
    place.cloud.log.clear()
    assert done(place.apply(second)) == ["update net done", "update aside done"]
    assert sorted(place.cloud.log) == [("retag", "aside"), ("retag", "net")]
    assert tags_of(place) == {
        "labctl:lab": "toy@here",
        "labctl:address": "net",
        "labctl:expires": "2027-01-15",
        "owner": "alice",
        "team": "blue",
        "theirs": "stays",
    }
    assert not place.plan(second).pending


def test_what_others_changed_is_put_right_and_what_they_added_left_alone():
    wanted = lab({"course": "w251"})
    place = applied(wanted)
    del tags_of(place)["course"]
    tags_of(place)["Name"] = "my net"
    assert told(place.plan(wanted))[0] == "update net: tag course is missing (changed outside labctl)"
    assert place.apply(wanted).ok
    assert tags_of(place)["course"] == "w251"
    assert tags_of(place)["Name"] == "my net"


def test_with_a_field_both_change_in_one_step():
    place = applied(lab())
    place.cloud.log.clear()
    both = lab(own={"team": "blue"}, size=5)
    assert told(place.plan(both))[0] == "update net: size differs, tag team is missing"
    assert place.apply(both).ok
    assert place.cloud.log == [("retag", "net"), ("update", "net")]
    assert not place.plan(both).pending


def test_ignored_tags_are_never_looked_at():
    place = applied(lab({"course": "w251"}))
    kept = lab({"course": "w252"}, own={"team": "blue"}, ignore_changes=frozenset({"tags"}))
    assert told(place.plan(kept)) == ["keep net", "update aside: tag course: w251 instead of w252"]
    assert place.apply(kept).ok
    assert tags_of(place)["course"] == "w251"
    # What labctl set is known still when they are looked at again.
    assert told(place.plan(lab()))[0] == "update net: tag course is no longer wanted"


def test_what_was_there_before_labctl_is_never_retagged():
    place = Place()
    place.cloud.things["i-0"] = Thing("i-0", "found", "", "", "", {**Found().model_dump(), "label": "x"})
    wanted = lab_of(declare("vpc", Found, label="x", tags={"team": "blue"}))
    assert place.apply(wanted).ok
    assert place.cloud.things["i-0"].tags == {}
    other = lab_of(declare("vpc", Found, label="x", size=9, tags={"team": "red"}))
    assert told(place.plan(other)) == ["update vpc: size differs"]
    assert place.apply(other).ok
    assert place.cloud.things["i-0"].tags == {}


def test_what_lives_on_a_host_is_left_alone():
    def wanted(**tags):
        return lab_of(declare("host", Rock), declare("page", Item, path="/p", host="host", tags=tags))

    place = applied(wanted(team="blue"))
    assert not place.plan(wanted(team="red")).pending


def test_an_update_that_fails_half_way_is_finished_by_the_next():
    place = applied(lab(own={"team": "blue"}))
    place.cloud.faults[("update", "net")] = ["fails"]
    second = lab(own={"owner": "bob"}, size=5)
    assert not place.apply(second).ok
    place.cloud.faults[("retag", "net")] = ["fails"]
    assert not place.apply(lab(size=5)).ok
    assert told(place.plan(lab(size=5)))[0] == "update net: size differs, tag owner is no longer wanted"
    assert place.apply(lab(size=5)).ok
    assert tags_of(place) == {"labctl:lab": "toy@here", "labctl:address": "net"}


def test_a_ledger_from_before_shows_nothing_that_is_as_wanted():
    wanted = lab({"course": "w251", "labctl:expires": "2026-12-18"})
    place = applied(wanted)
    for entry in place.ledger.entries("toy@here"):
        outputs = {name: value for name, value in entry.outputs.items() if name != "tags"}
        place.ledger.record("toy@here", replace(entry, tags=(), outputs=outputs))
    assert not place.plan(wanted).pending
    # Without a memory only what is certainly labctl's is taken away.
    assert told(place.plan(lab()))[0] == "update net: tag labctl:expires is no longer wanted"


def test_the_name_that_labctl_gives_comes_back():
    wanted = {"labctl:lab": "toy@here", "labctl:address": "net"}
    assert owed(wanted, {**wanted, "Name": "mine"}, ["Name"]) == {"Name": "toy@here net"}
    assert owed(wanted, {**wanted, "Name": "theirs"}, []) == {}


def test_secrets_in_tags_are_not_told():
    place = applied(replace(lab(own={"pin": "hunter-two"}), secrets=frozenset({"hunter-two"})))
    assert "hunter-two" not in str(place.ledger.entries("toy@here"))
    second = replace(lab(own={"pin": "hunter-three"}), secrets=frozenset({"hunter-three"}))
    [change, _] = place.plan(second).changes
    assert change.cause == "tag pin differs"
    assert change.fields[0].is_ == {"pin": MASK}
    [change, _] = place.plan(lab()).changes
    assert change.cause == "tag pin is no longer wanted"
    assert change.fields[0].is_ == {"pin": MASK}


def test_with_no_log_their_values_are_left_out():
    there = {"tags": {"team": "blue"}}
    entry = Entry("net", "box", "i-1", tags=("team",))
    tags = {"team": "red"}
    fields = differences(Box(), there, entry, key=b"", tags=tags, hide=True, masker=Masker(()))
    assert [(one.name, one.is_, one.wanted, one.secret) for one in fields if one.name == "tags"] == [
        ("tags", None, None, True)
    ]
    assert words_for(Box(), fields[-1:], there) == "tags differ"
