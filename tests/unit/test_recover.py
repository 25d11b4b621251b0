"""Finding again what a lost ledger forgot, in a cloud in memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.lab import Target
from tests.fakes import Box, Computer, Item, Place, Twin, declare, done, lab_of, told


@pytest.fixture
def place() -> Place:
    return Place()


LAB = lab_of(
    declare("net", Box, size=1),
    declare("host", Computer, size=1, uses=["{{ net.id }}"]),
    declare("page", Item, host="host", path="/page", text="hello"),
)


def test_nothing_is_found_in_an_empty_cloud(place: Place) -> None:
    found = place.recover(LAB)
    assert (found.entries, found.surplus, found.strangers) == ((), (), ())
    assert place.remembered(LAB) == {}


def test_what_is_there_is_remembered_as_before(place: Place) -> None:
    place.apply(LAB)
    before = place.remembered(LAB)
    place.ledger.held.clear()
    found = place.recover(LAB)
    assert [entry.address for entry in found.entries] == ["net", "host"]
    after = place.remembered(LAB)
    assert {a: (e.id, e.needs, e.outputs, e.host) for a, e in after.items()} == {
        a: (e.id, e.needs, e.outputs, e.host) for a, e in before.items()
    }
    # Nothing on the host says who made the page: it is never deleted then.
    assert {a: e.adopted for a, e in after.items()} == {"net": False, "host": False, "page": True}
    assert place.plan(LAB).idle


def test_only_what_is_missing_is_looked_for(place: Place) -> None:
    place.apply(LAB)
    [net] = [entry for entry in place.ledger.entries(LAB.name) if entry.address == "net"]
    place.ledger.forget(LAB.name, net)
    place.cloud.log.clear()
    assert [entry.address for entry in place.recover(LAB).entries] == ["net"]
    assert [line for line in place.cloud.log if line[0] == "find"] == [("find", "net")]


def test_further_things_are_remembered_as_surplus(place: Place) -> None:
    lab = lab_of(declare("a", Twin, size=1))
    place.apply(lab)
    [first] = place.cloud.things.values()
    place.cloud.things["second"] = replace(first, id="second", token="other")
    place.ledger.held.clear()
    found = place.recover(lab)
    assert len(found.surplus) == 1
    [change] = [line for line in told(place.plan(lab)) if line.startswith("delete")]
    assert "one too many under this address" in change
    place.apply(lab)
    assert len(place.cloud.things) == 1


def test_what_the_playbook_no_longer_has_is_told_of(place: Place) -> None:
    place.apply(LAB)
    place.ledger.held.clear()
    smaller = lab_of(declare("net", Box, size=1))
    found = place.recover(smaller)
    assert [address for address, _ in found.strangers] == ["host"]
    assert list(place.remembered(smaller)) == ["net"]


def test_machines_of_ones_own_have_no_tags(place: Place) -> None:
    place.apply(LAB)
    lab = replace(lab_of(declare("net", Box, size=1)), target=Target("ssh"))
    assert place.recover(lab).strangers == ()


def test_what_differs_is_left_for_the_plan(place: Place) -> None:
    place.apply(LAB)
    place.ledger.held.clear()
    [net] = [thing for thing in place.cloud.things.values() if thing.address == "net"]
    net.values["size"] = 7
    place.recover(LAB)
    assert net.values["size"] == 7
    planned = place.plan(LAB)
    assert [change.address for change in planned.changes if change.action != "keep"] == ["net"]
    assert done(place.carry_out(LAB, planned)) == ["update net done"]
