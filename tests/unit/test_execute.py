from __future__ import annotations

import hashlib
import threading
from copy import deepcopy
from dataclasses import replace

import pytest

from engine.errors import Interrupted, LabctlError
from engine.refs import Template, Unknown
from tests.fakes import KINDS, Box, Computer, Item, Killed, Place, Sealed, Twin, declare, done, lab_of, told


def a_lab(**changes):
    return lab_of(
        declare("net", Box, label=changes.get("label", "a")),
        declare("host", Computer, pins=["{{ net.id }}"]),
        declare("page", Item, path="/page", text=changes.get("text", "hello"), host="host"),
        declare("twin", Twin, uses=["{{ net.id }}"]),
    )


def test_a_lab_is_made_then_kept_then_gone():
    place = Place()
    lab = a_lab()
    assert told(place.plan(lab)) == [
        "create net: not there yet",
        "create host: not there yet",
        "create page: not there yet",
        "create twin: not there yet",
    ]
    report = place.apply(lab)
    assert report.ok, done(report)
    again = place.plan(lab)
    assert told(again) == ["keep net", "keep host", "keep page", "keep twin"]
    assert again.idle
    gone = place.destroy(lab)
    assert gone.ok, done(gone)
    assert place.cloud.things == {}
    assert place.ledger.entries(lab.name) == []
    assert place.cloud.violations == []


def two(**fields):
    return lab_of(
        declare("net", Box, **fields), declare("top", Box, pins=["{{ net.id }}"]), declare("aside", Box)
    )


def test_what_fails_takes_only_what_needs_it_with_it():
    place = Place()
    place.cloud.faults["create", "net"] = ["fails"]
    report = place.apply(two())
    assert done(report) == [
        "create net failed: refused by the cloud",
        "create top skipped",
        "create aside done",
    ]
    assert report.results[0].remedy == "ask for less"
    assert report.results[1].because_of == "net"
    assert list(place.remembered(two())) == ["aside"]


def test_a_lost_answer_is_settled_by_looking():
    place = Place()
    place.cloud.faults["create", "net"] = ["lost"]
    assert place.apply(two()).ok
    assert len(place.cloud.of("toy@here", "net")) == 1


def test_what_a_lost_answer_left_half_done_is_completed_in_the_same_run():
    place = Place()
    place.cloud.faults["create", "net"] = ["lost in the middle"]
    report = place.apply(two(size=4))
    assert report.ok, done(report)
    assert place.cloud.log.count(("create", "net")) == 1
    assert ("update", "net") in place.cloud.log
    assert place.plan(two(size=4)).idle


def test_a_killed_create_is_found_again_and_not_doubled():
    place = Place()
    place.cloud.faults["create", "net"] = ["killed"]
    with pytest.raises(Killed):
        place.apply(two())
    [intent] = [entry for entry in place.ledger.entries("toy@here") if entry.address == "net"]
    assert intent.id is None
    again = place.plan(two())
    assert told(again)[0] == "keep net (adopts; made by an earlier run that was cut short)"
    assert place.carry_out(two(), again).ok
    assert len(place.cloud.of("toy@here", "net")) == 1
    assert place.remembered(two())["net"].token == intent.token


def test_a_create_that_was_never_sent_keeps_its_token_while_it_asks_the_same():
    place = Place()
    place.cloud.faults["create", "net"] = ["killed before"]
    with pytest.raises(Killed):
        place.apply(two())
    token = place.remembered(two())["net"].token
    assert told(place.plan(two()))[0] == "create net: its creation was never confirmed"
    same, other = deepcopy(place.ledger), place.ledger
    place.ledger = same
    assert place.apply(two()).ok
    assert place.remembered(two())["net"].token == token
    place.ledger, place.cloud.things = other, {}
    assert place.apply(two(size=5)).ok
    assert place.remembered(two())["net"].token != token


def test_what_is_half_made_is_remembered_and_mended_by_the_next_run():
    place = Place()
    place.cloud.faults["create", "net"] = ["half"]
    assert done(place.apply(two(size=1)))[0] == "create net failed: not all of it"
    assert told(place.plan(two(size=1)))[0] == "update net: size differs"
    assert place.apply(two(size=1)).ok
    assert place.plan(two(size=1)).idle


def test_done_means_that_it_reads_as_wanted():
    place = Place()
    place.cloud.faults["create", "net"] = ["differs"]
    [failed, *_] = place.apply(two(size=1)).results
    assert failed.error == "it was changed, but size reads -2 instead of 1"


def test_a_mistake_in_a_kind_is_told_in_words():
    place = Place()
    place.cloud.faults["create", "net"] = ["bug"]
    [failed, *_] = place.apply(two()).results
    assert failed.error == "a bug in labctl's kind box: ZeroDivisionError: in a kind"


class Odd(Box):
    """A kind with mistakes that show when its fields say so."""

    kind = "odd"

    @classmethod
    def differs(cls, name, wanted, there):
        if name == "script" or wanted == "differs":
            raise KeyError("there")
        return super().differs(name, wanted, there)

    def wanted(self, also=()):
        if self.label == "wanted":
            raise IndexError
        return super().wanted(also)

    def price(self):
        if self.label == "price":
            raise TypeError("no prices today")
        return 0.0


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("wanted", "IndexError"),
        ("price", "TypeError: no prices today"),
        ("differs", "KeyError: 'there'"),
    ],
)
def test_a_mistake_in_what_a_kind_says_of_itself_is_told_in_words(label, words, monkeypatch):
    monkeypatch.setitem(KINDS, "odd", Odd)
    place = Place()
    assert place.apply(lab_of(declare("net", Odd))).ok
    with pytest.raises(LabctlError) as caught:
        place.plan(lab_of(declare("net", Odd, label=label)))
    assert caught.value.message.startswith(f"net: a bug in labctl's kind odd: {words} (test_execute.py, line")
    assert "--skip net" in caught.value.remedy
    assert place.plan(lab_of(declare("net", Odd, label=label)), skip=["net"]).idle


def test_a_mistake_in_reading_is_told_with_the_kind_at_fault(monkeypatch):
    class Blind(Box):
        kind = "blind"

        @classmethod
        def read_many(cls, world, ids):
            return super().read_many(world, ids) if world.job.address else ids["one"]

    monkeypatch.setitem(KINDS, "blind", Blind)
    place, lab = Place(), lab_of(declare("net", Blind))
    assert place.apply(lab).ok
    with pytest.raises(LabctlError, match=r"^a bug in labctl's kind blind: TypeError"):
        place.plan(lab)


def test_a_mistake_when_a_step_starts_fails_that_step_only(monkeypatch):
    late = []

    class Late(Box):
        kind = "late"

        def wanted(self, also=()):
            if late:
                raise IndexError
            return super().wanted(also)

    monkeypatch.setitem(KINDS, "late", Late)
    place, lab = Place(), lab_of(declare("net", Late), declare("aside", Box))
    planned = place.plan(lab)
    late.append(True)
    assert done(place.carry_out(lab, planned))[1] == "create aside done"


def test_a_step_that_only_waits_for_a_host_is_given_up_on_the_first_stop():
    place, stop = Place(), threading.Event()
    reached = place.hosts.host

    def host(name, *, stopped, **options):
        stop.set()
        if stopped():
            raise Interrupted(f"gave up waiting for {name}")
        return reached(name)

    place.hosts.host = host
    report = place.carry_out(a_lab(), place.plan(a_lab()), stop=stop)
    assert report.interrupted
    assert "create page interrupted" in done(report)
    assert "page" not in place.remembered(a_lab())
    place.hosts.host = reached
    assert place.apply(a_lab()).ok


def pages(*names, **fields):
    items = [declare(name, Item, path=f"/{name}", text=name, host="host") for name in names]
    return lab_of(declare("host", Computer), *items, **fields)


def test_a_step_on_a_host_is_one_round_trip():
    place = Place()
    assert place.apply(pages("a", "b", "c", "d", "e")).ok
    # One to look at the first; the look at each other one comes with the script before it.
    assert place.hosts.runs == ["host"] * (1 + 5)


def test_a_look_that_should_come_with_a_script_that_fails_is_taken_then():
    place = Place()
    place.cloud.faults["put", "a"] = ["fails"]
    assert done(place.apply(pages("a", "b", "c")))[1:] == [
        "create a failed: the commands on host ended with exit status 1:\nit went wrong",
        "create b done",
        "create c done",
    ]
    assert place.hosts.runs == ["host"] * (2 + 2 + 1)


def test_what_a_step_leaves_for_the_next_is_taken_on_as_found():
    place = Place()
    reached = place.hosts.host

    def host(name, **options):
        found = reached(name)
        words = found._words

        def leaving(body):
            answer = words(body)
            if "put /a" in body:
                found.thing.disk["/b"] = "'' left ''"
            return answer

        found._words = leaving
        return found

    place.hosts.host = host
    lab = pages("a", "b")
    assert place.apply(lab).ok
    assert place.remembered(lab)["b"].adopted
    assert not place.remembered(lab)["a"].adopted
    assert place.destroy(lab).ok


def test_a_quiet_step_carries_no_look_of_another_and_none_carries_its():
    place = Place()
    items = [
        declare(name, Item, path=f"/{name}", host="host", no_log=name == "b") for name in ("a", "b", "c", "d")
    ]
    assert place.apply(lab_of(declare("host", Computer), *items)).ok
    assert place.hosts.runs == ["host"] * (2 + 2 + 2 + 1)


def a_shelf(secret, **fields):
    lab = lab_of(declare("host", Computer), declare("page", Sealed, path="/page", host="host", **fields))
    return replace(lab, secrets=frozenset({secret}))


@pytest.mark.parametrize("text", ["pin is 77", "77"])
def test_the_hash_of_a_secret_is_neither_shown_nor_kept(text):
    seal = hashlib.sha256(text.encode()).hexdigest()
    lab, place = a_shelf("77", text=text), Place()
    planned = [place.plan(lab)]
    assert place.carry_out(lab, planned[0]).ok
    assert place.plan(lab).idle
    # Neither as what is there when the secret was changed, or is no longer used, or somebody wrote over it.
    for secret, later in (("88", "88"), ("88", "none")):
        planned.append(place.plan(a_shelf(secret, text=later)))
        assert told(planned[-1])[1] == "update page: text differs"
    assert seal not in repr(place.ledger.held)
    shown = repr([change.fields for plan in planned for change in plan.changes])
    assert seal not in shown
    assert hashlib.sha256(b"88").hexdigest() not in shown


def test_the_hash_of_anything_else_is_kept():
    lab, place = a_shelf("77", text="hello"), Place()
    assert place.apply(lab).ok
    assert place.remembered(lab)["page"].outputs["seen"] == hashlib.sha256(b"hello").hexdigest()


def test_of_a_field_that_is_left_alone_the_secret_of_before_is_not_kept():
    place = Place()
    first = lab_of(declare("net", Box, label="hunter-two"), secrets=frozenset({"hunter-two"}))
    assert place.apply(first).ok
    own = declare("net", Box, label="hunter-three", size=2, ignore_changes=frozenset({"label"}))
    assert place.apply(lab_of(own, secrets=frozenset({"hunter-three"}))).ok
    assert place.remembered(first)["net"].outputs["size"] == 2
    assert "hunter" not in repr(place.ledger.held)


def test_the_history_keeps_the_first_paragraph_of_an_error():
    place = Place()
    place.cloud.faults["create", "net"] = ["long"]
    place.apply(two())
    [event] = [event for event in place.ledger.history("toy@here") if event.address == "net"]
    assert event.detail == "it says:\n  this\n  that"


def test_stop_finishes_what_is_in_flight_and_starts_nothing_new():
    place, stop = Place(), threading.Event()
    place.cloud.hold = lambda verb, address: stop.set()
    planned = place.plan(two())
    report = place.carry_out(two(), planned, stop=stop, parallel=1)
    assert done(report) == ["create net done", "create top interrupted", "create aside interrupted"]
    assert report.interrupted
    place.cloud.hold = lambda verb, address: None
    assert place.apply(two()).ok


def test_a_ledger_that_cannot_be_written_stops_the_run_before_anything_is_made():
    place = Place()
    planned = place.plan(two())
    place.ledger.broken = LabctlError("the disk is full")
    with pytest.raises(LabctlError, match="the disk is full"):
        place.carry_out(two(), planned)
    assert place.cloud.things == {}


def test_secrets_stay_out_of_errors_events_and_the_ledger():
    lab = replace(two(label="hunter2hunter2"), secrets=frozenset({"hunter2hunter2"}))
    place = Place()
    place.cloud.faults["create", "net"] = ["differs"]
    report = place.apply(lab)
    assert "hunter2" not in repr([place.ledger.held, place.ledger.events, done(report)])
    assert "hush hush" not in repr(place.ledger.held)


def test_outputs_are_filled_and_unknown_ones_say_so():
    lab = replace(
        two(),
        outputs={
            "net": Template("{{ net.id }}"),
            "top": Template("{{ top.id }}"),
        },
    )
    place = Place()
    place.cloud.faults["create", "top"] = ["fails"]
    outputs = place.apply(lab).outputs
    assert outputs["net"].startswith("i-")
    assert isinstance(outputs["top"], Unknown)


def test_a_run_that_changes_nothing_writes_nothing():
    place = Place()
    place.apply(a_lab())
    before = place.ledger.writes
    assert place.apply(a_lab()).ok
    assert place.ledger.writes == before


def test_independent_steps_run_side_by_side_and_each_starts_when_its_needs_are_done():
    place = Place()
    together = threading.Barrier(3, timeout=5)
    place.cloud.hold = lambda verb, address: together.wait() and None
    lab = lab_of(*(declare(name, Box) for name in "abc"))
    assert place.apply(lab).ok


def test_a_host_made_anew_after_others_deleted_it_is_met_as_a_stranger():
    place = Place()
    place.apply(a_lab())
    place.cloud.things.pop(place.cloud.of("toy@here", "host")[0].id)
    before = place.hosts.specs["host"]
    forgotten = []
    place.hosts.forget = forgotten.append
    assert place.apply(a_lab()).ok
    assert forgotten == ["host"]
    assert place.hosts.specs["host"].machine != before.machine
    assert place.plan(a_lab()).idle


def test_the_history_tells_who_ran_what():
    place = Place()
    place.carry_out(two(), place.plan(two()), story="labctl apply toy.yml, by ana@laptop")
    first, *_ = place.ledger.history("toy@here")
    assert first.detail == "labctl apply toy.yml, by ana@laptop: 3 to create"


# -- a cloud that shows what was made only after a while


def test_what_was_made_may_take_a_moment_to_show():
    place = Place()
    place.cloud.slow = 3
    report = place.carry_out(two(), place.plan(two()), patience=10)
    assert report.ok, done(report)
    place.cloud.slow, other = 3, Place()
    other.cloud.slow = 1000
    [failed, *_] = other.carry_out(two(), other.plan(two())).results
    assert failed.error == "it was made, and is not there when read again"


def test_a_create_just_killed_is_looked_for_until_it_had_time_to_show():
    place = Place()
    place.cloud.faults["create", "net"] = ["killed"]
    place.cloud.slow = 3
    with pytest.raises(Killed):
        place.apply(two())
    planned = place.plan(two())
    assert told(planned)[0] == "create net: its creation was never confirmed"
    place.cloud.slow = 0
    assert place.carry_out(two(), planned, patience=60).ok
    assert len(place.cloud.of("toy@here", "net")) == 1
