from __future__ import annotations

import time
from dataclasses import replace

from tests.fakes import Box, Place, declare, lab_of, told

LAB = lab_of(declare("net", Box), declare("top", Box, pins=["{{ net.id }}"]))


def applied() -> Place:
    place = Place()
    assert place.apply(LAB).ok
    place.cloud.reads.clear()
    return place


def test_one_read_tells_of_all_of_a_kind() -> None:
    place = applied()
    assert place.plan(LAB).idle
    assert place.cloud.reads == [("box", 2)]


def test_what_was_made_only_now_and_does_not_show_is_asked_once_more() -> None:
    place = applied()
    place.cloud.hidden[place.remembered(LAB)["net"].id or ""] = 1
    assert place.plan(LAB).idle
    assert place.cloud.reads == [("box", 2), ("box", 1)]


def test_what_does_not_show_then_either_is_gone() -> None:
    place = applied()
    place.cloud.hidden[place.remembered(LAB)["net"].id or ""] = 2
    assert told(place.plan(LAB))[0] == "create net: was deleted outside labctl"
    assert len(place.cloud.reads) == 2


def test_what_is_older_is_not_asked_again() -> None:
    place = applied()
    held = place.ledger.held[LAB.name]
    held[:] = [replace(entry, made=time.time() - 31) for entry in held]
    place.cloud.hidden[place.remembered(LAB)["net"].id or ""] = 1
    assert told(place.plan(LAB))[0] == "create net: was deleted outside labctl"
    assert place.cloud.reads == [("box", 2)]
