from __future__ import annotations

import time

import pytest

from engine.change import Entry
from engine.diff import differences, usable_values
from engine.errors import Invalid
from engine.masking import Masker
from engine.plan import plan
from engine.refs import Unknown
from engine.resource import Resource
from engine.schedule import schedule
from tests.fakes import Box, Computer, Found, Item, Owned, Place, Rock, Thing, Twin, declare, lab_of, told


class Noted(Resource):
    """A thing with a mapping."""

    kind = "noted"

    notes: dict[str, str]


def chain(**label):
    return lab_of(
        declare("net", Box, label=label.get("net", "a"), size=label.get("size", 1)),
        declare("host", Computer, pins=["{{ net.id }}"], protect=label.get("protect", False)),
        declare("page", Item, path="/page", text="{{ net.place }}", host="host"),
        declare("aside", Box, after=["net"]),
    )


def applied(lab):
    place = Place()
    report = place.apply(lab)
    assert report.ok
    return place


def test_what_stands_on_a_replaced_thing_is_replaced_and_what_comes_after_is_left_alone():
    place = applied(chain())
    assert told(place.plan(chain(net="b"))) == [
        "replace net: label differs",
        "replace host: stands on net",
        "replace page: lives on host, which is replaced (goes with host)",
        "keep aside",
    ]


def test_an_update_unsettles_only_what_hangs_on_it():
    place = applied(chain())
    planned = place.plan(chain(size=5))
    assert told(planned) == [
        "update net: size differs",
        "keep host",
        "update page: text differs",
        "keep aside",
    ]
    [change] = planned.changes[2].fields
    assert isinstance(change.wanted, Unknown)


def test_drift_tells_was_is_and_wanted():
    place = applied(chain())
    place.cloud.of("toy@here", "net")[0].values["size"] = 7
    planned = place.plan(chain())
    assert told(planned)[0] == "update net: size differs (changed outside labctl)"
    [change] = planned.changes[0].fields
    assert (change.was, change.is_, change.wanted) == (1, 7, 1)


def test_what_was_deleted_by_others_is_made_again_with_what_lived_there():
    place = applied(chain())
    host = place.cloud.of("toy@here", "host")[0]
    del place.cloud.things[host.id]
    assert told(place.plan(chain())) == [
        "keep net",
        "create host: was deleted outside labctl",
        "create page: lived on host, which was deleted outside labctl",
        "keep aside",
    ]


def test_only_on_destroy_takes_what_needs_it_and_nothing_else():
    place = applied(chain())
    planned = place.plan(chain(), destroy=True, only=["host"])
    assert sorted(told(planned)) == [
        "delete host: asked for with --only",
        "delete page: needs what --only names (goes with host)",
        "keep aside",
        "keep net",
    ]


def test_what_a_skipped_thing_stands_on_is_not_forgotten_either():
    place = Place()
    place.cloud.things["i-0"] = Thing("i-0", "found", "", "", "", {**Found().model_dump(), "label": "x"})
    lab = lab_of(declare("vpc", Found, label="x"), declare("net", Box, pins=["{{ vpc.id }}"]))
    assert place.apply(lab).ok
    assert told(place.plan(lab, destroy=True, skip=["net"])) == [
        "keep net (left as it is: asked for with --skip)",
        "keep vpc (left as it is: net stands on it)",
    ]
    assert told(place.plan(lab, destroy=True)) == [
        "delete net: the lab is destroyed",
        "keep vpc: the lab is destroyed (forgets; was there before labctl: forgotten, not deleted)",
    ]


def test_only_on_apply_takes_what_it_needs():
    planned = Place().plan(chain(), only=["host"])
    assert told(planned) == ["create net: not there yet", "create host: not there yet"]


def test_skip_leaves_it_and_what_needs_it():
    assert told(Place().plan(chain(), skip=["host"])) == [
        "create net: not there yet",
        "create aside: not there yet",
    ]


def test_what_is_skipped_holds_what_it_stands_on():
    place = applied(chain())
    assert told(place.plan(chain(net="b"), skip=["host"])) == [
        "keep net (left as it is: host stands on it)",
        "keep host (left as it is: asked for with --skip)",
        "keep page",
        "keep aside",
    ]


def test_replace_is_asked_for_by_name():
    place = applied(chain())
    assert told(place.plan(chain(), replace=["host"]))[1:3] == [
        "replace host: asked for with --replace",
        "replace page: lives on host, which is replaced (goes with host)",
    ]
    with pytest.raises(Invalid) as caught:
        place.plan(chain(), replace=["hots"])
    assert caught.value.problems[0].remedy == "did you mean host?"


def test_protected_things_do_not_go():
    place = applied(chain(protect=True))
    with pytest.raises(Invalid) as caught:
        place.plan(chain(net="b", protect=True))
    assert [problem.what for problem in caught.value.problems] == [
        "host is protected and would be replaced: stands on net"
    ]
    assert str(caught.value.problems[0].where) == "playbook.yml:1:1"
    with pytest.raises(Invalid, match="host is protected and would be deleted"):
        place.plan(chain(protect=True), destroy=True)
    with pytest.raises(Invalid, match="host is protected"):
        place.plan(lab_of())


def test_retained_things_are_only_forgotten():
    lab = lab_of(declare("net", Box, retain=True))
    place = applied(lab)
    planned = place.plan(lab, destroy=True)
    assert told(planned) == ["keep net: the lab is destroyed (forgets; retained: forgotten, not deleted)"]
    assert not planned.pending
    assert not planned.idle


def test_create_first_updates_its_users_in_place():
    def lab(label):
        return lab_of(declare("twin", Twin, label=label), declare("user", Box, uses=["{{ twin.id }}"]))

    place = applied(lab("a"))
    assert told(place.plan(lab("b"))) == [
        "replace first twin: label differs",
        "update user: uses differs",
    ]


def test_create_first_on_something_delete_first_is_delete_first():
    def lab(label):
        return lab_of(declare("net", Box, label=label), declare("twin", Twin, pins=["{{ net.id }}"]))

    place = applied(lab("a"))
    assert told(place.plan(lab("b"))) == ["replace net: label differs", "replace twin: stands on net"]


def test_replacement_goes_through_things_no_longer_wanted():
    before = lab_of(
        declare("net", Box, label="a"),
        declare("between", Box, pins=["{{ net.id }}"]),
        declare("top", Box, uses=["{{ between.id }}"]),
    )
    place = applied(before)
    after = lab_of(declare("net", Box, label="b"), declare("top", Box))
    assert told(place.plan(after)) == [
        "replace net: label differs",
        "replace top: stands on between",
        "delete between: no longer in the playbook",
    ]


def test_a_removed_field_goes_back_to_its_default():
    place = applied(lab_of(declare("net", Box, size=4)))
    planned = place.plan(lab_of(declare("net", Box)))
    assert told(planned) == ["update net: size differs"]
    place.carry_out(lab_of(declare("net", Box)), planned)
    assert place.plan(lab_of(declare("net", Box))).idle


def test_secret_and_unread_fields_are_compared_by_hash_and_not_shown():
    lab = lab_of(declare("net", Box, password="correct horse", script="echo"))
    place = applied(lab)
    assert place.plan(lab).idle
    assert "correct horse" not in repr(place.ledger)
    changed = place.plan(lab_of(declare("net", Box, password="battery staple", script="echo 2")))
    assert told(changed) == ["update net: password differs, script differs"]
    assert "battery staple" not in repr(changed.changes[0].fields)


def test_ignored_changes_are_ignored():
    lab = lab_of(declare("net", Box, size=4, ignore_changes=frozenset({"size"})))
    place = applied(lab)
    place.cloud.of("toy@here", "net")[0].values["size"] = 7
    assert place.plan(lab).idle


def test_found_things_are_taken_on_and_never_deleted():
    lab = lab_of(declare("own", Found, label="default"))
    place = Place()
    place.cloud.things["i-0"] = Thing("i-0", "found", "", "", "", dict(Box(label="default")))
    planned = place.plan(lab)
    assert told(planned) == ["keep own (adopts; was there before labctl)"]
    place.carry_out(lab, planned)
    assert place.remembered(lab)["own"].adopted
    assert place.plan(lab).idle
    place.destroy(lab)
    assert list(place.cloud.things) == ["i-0"]
    assert place.ledger.entries(lab.name) == []


def host_with(path, kind=Item, name="page", **fields):
    return lab_of(declare("host", Computer), declare(name, kind, path=path, host="host", **fields))


def test_items_found_on_a_host_are_taken_on_unless_they_are_somebody_elses():
    place = applied(lab_of(declare("host", Computer)))
    disk = place.cloud.of("toy@here", "host")[0].disk
    disk["/page"] = "'' hello ''"
    disk["/theirs"] = "other@lab hello ''"
    disk["/ours"] = "toy@here hello ''"
    assert told(place.plan(host_with("/page", text="hello")))[1:] == [
        "keep page (adopts; was there before labctl)"
    ]
    with pytest.raises(Invalid, match="page: /theirs on host belongs to other@lab"):
        place.plan(host_with("/theirs", Owned, text="hello"))
    assert told(place.plan(host_with("/ours", Owned, text="hello")))[1:] == [
        "keep page (adopts; made by an earlier run that was cut short)"
    ]


def test_a_new_name_for_the_same_thing_on_a_host_is_a_move():
    place = applied(host_with("/page", text="hello"))
    lab = host_with("/page", name="leaf", text="hello")
    planned = place.plan(lab)
    assert told(planned) == ["keep host", "keep leaf (adopts; was called page)"]
    place.carry_out(lab, planned)
    assert sorted(place.remembered(lab)) == ["host", "leaf"]
    assert place.plan(lab).idle
    assert ("drop", "page") not in place.cloud.log


def test_what_cannot_be_read_is_kept_unless_something_else_is_wanted():
    place = applied(host_with("/page", text="hello"))
    place.hosts.unreachable.add("host")
    assert told(place.plan(host_with("/page", text="hello")))[1:] == [
        "keep page (cannot be read: host does not answer)"
    ]
    assert told(place.plan(host_with("/page", text="bye")))[1:] == [
        "update page: text differs (cannot be read: host does not answer)"
    ]


def test_things_on_a_host_that_stays_when_forgotten_are_deleted_one_by_one():
    lab = lab_of(declare("rock", Rock), declare("page", Item, path="/page", host="rock"))
    place = applied(lab)
    assert told(place.plan(lab, destroy=True)) == [
        "delete page: the lab is destroyed",
        "delete rock: the lab is destroyed",
    ]


def test_reading_costs_one_request_a_kind_and_one_script_a_host():
    lab = lab_of(
        *(declare(f"box{n}", Box) for n in range(20)),
        *(declare(f"host{n}", Computer) for n in range(2)),
        *(declare(f"page{n}", Item, path=f"/page{n}", host=f"host{n % 2}") for n in range(20)),
    )
    place = applied(lab)
    place.cloud.reads.clear()
    place.hosts.runs.clear()
    assert place.plan(lab).idle
    assert sorted(place.cloud.reads) == [("box", 20), ("computer", 2)]
    assert sorted(place.hosts.runs) == ["host0", "host1"]


@pytest.mark.parametrize(("count", "seconds"), [(1_000, 2.0), (10_000, 20.0)])
def test_large_labs_plan_in_linear_time(count, seconds):
    """The bounds are of processor time, and wide: a quadratic loop would miss them by far."""
    first = [declare("box0", Box)]
    rest = [declare(f"box{n}", Box, pins=[f"{{{{ box{n // 2}.id }}}}"]) for n in range(1, count)]
    lab = lab_of(*first, *rest)
    began = time.process_time()
    planned = plan(lab, (), key=b"k")
    assert len(schedule(planned)) == count
    assert time.process_time() - began < seconds


def test_usable_values_prefer_the_wish_and_know_defaults():
    values = usable_values(Box(size=3), {"id": "i-1", "size": 1, "place": "x"}, without={"place"})
    assert values["id"] == "i-1"
    assert (values["size"], values["label"]) == (3, "a")
    assert "place" not in values


def test_a_secret_of_before_is_not_shown_when_it_changes_or_is_no_longer_used():
    def lab(label, *secrets):
        return lab_of(declare("box", Box, label=label), secrets=frozenset(secrets))

    place = applied(lab("key hunter-two", "hunter-two"))
    for changed in (lab("key hunter-three", "hunter-three"), lab("no key at all")):
        planned = place.plan(changed)
        [change] = planned.changes[0].fields
        assert (change.was, change.is_) == (None, "(sensitive)")
        assert change.replaces
        assert told(planned) == ["replace box: label differs"]


def test_of_a_mapping_only_the_entries_that_hold_secrets_are_hidden():
    resource = Noted(notes={"key": "hunter-three", "other": "b"})
    entry = Entry("note", "noted", "1", outputs={"id": "1"})
    there = {"notes": {"key": "hunter-two", "other": "a"}}
    [change] = differences(resource, there, entry, key=b"", masker=Masker(["hunter-three"]))
    assert change.is_ == {"key": "(sensitive)", "other": "a"}


def test_what_bears_another_labs_tag_is_never_deleted():
    lab = lab_of(declare("net", Box, size=1), declare("twin", Twin, size=1))
    place = applied(lab)
    for thing in place.cloud.things.values():
        thing.tags["labctl:lab"] = "other@here"
    words = "keep {}: the lab is destroyed (forgets; belongs to other@here now: forgotten, not deleted)"
    assert told(place.plan(lab, destroy=True)) == [words.format("twin"), words.format("net")]
    place.destroy(lab)
    assert len(place.cloud.things) == 2
    assert place.remembered(lab) == {}


def test_a_replacement_leaves_the_old_one_to_the_lab_that_has_it_now():
    lab = lab_of(declare("net", Box, size=1))
    place = applied(lab)
    [old] = place.cloud.things.values()
    old.tags["labctl:lab"] = "other@here"
    [line] = told(place.plan(lab, replace=["net"]))
    assert line.startswith("replace net")
    assert "belongs to other@here now: forgotten, not deleted" in line
    place.apply(lab, replace=["net"])
    assert old.id in place.cloud.things
    assert len(place.cloud.things) == 2


def test_what_became_another_labs_on_a_host_is_refused_and_only_forgotten():
    lab = host_with("/page", text="hello")
    place = applied(lab)
    place.cloud.of("toy@here", "host")[0].disk["/page"] = "other@lab hello ''"
    with pytest.raises(Invalid, match="page: /page on host belongs to other@lab"):
        place.plan(lab)
    # A new host has nothing of theirs.
    assert "replace host: asked for with --replace" in told(place.plan(lab, replace=["host"]))
    only_host = lab_of(declare("host", Computer))
    assert told(place.plan(only_host))[1:] == [
        "keep page: no longer in the playbook (forgets; belongs to other@lab now: forgotten, not deleted)"
    ]
