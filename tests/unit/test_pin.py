from __future__ import annotations

from dataclasses import replace

import pytest

from engine.errors import Invalid
from engine.pin import pin
from engine.refs import Template
from engine.render.plan import plan_data, plan_text
from tests.fakes import Box, Place, declare, lab_of


def lab(tmp_path, *labels):
    boxes = [declare(f"box{at}", Box, label=label) for at, label in enumerate(labels)]
    return replace(lab_of(*boxes), lock_file=tmp_path / "toy.lock.yml", names={"system": "ubuntu"})


def labels(pinned):
    return [declared.fields["label"] for declared in pinned.resources.values()]


def test_a_name_is_asked_once_and_stays_until_newer_is_asked(tmp_path):
    place = Place()
    toy = lab(tmp_path, "ubuntu", "ubuntu", "id-7", "{{ system }}")
    first = pin(toy, place.world(toy))
    assert labels(first) == ["id-ubuntu-1", "id-ubuntu-1", "id-7", "id-ubuntu-1"]
    assert place.cloud.log == [("resolve", "ubuntu")]
    assert toy.lock_file.read_text().endswith("us-east-1:\n  ubuntu: id-ubuntu-1\n")
    assert labels(pin(toy, place.world(toy))) == labels(first)
    assert place.cloud.log == [("resolve", "ubuntu")]
    assert labels(pin(toy, place.world(toy), newer=True))[0] == "id-ubuntu-2"
    assert labels(pin(toy, place.world(toy)))[0] == "id-ubuntu-2"


def test_what_others_pinned_meanwhile_stays(tmp_path):
    place = Place()
    toy = lab(tmp_path, "ubuntu")
    pin(toy, place.world(toy))
    other = lab(tmp_path, "debian")
    pin(other, place.world(other))
    assert toy.lock_file.read_text().endswith("us-east-1:\n  debian: id-debian-2\n  ubuntu: id-ubuntu-1\n")


def test_what_hangs_on_something_not_made_is_left_for_later(tmp_path):
    toy = lab(tmp_path, "id-1", "{{ box0.id }}")
    assert isinstance(labels(pin(toy, Place().world(toy)))[1], Template)


@pytest.mark.parametrize("text", ["us-east-1: [", "- a list", "us-east-1: text"])
def test_a_broken_lock_file_is_told(tmp_path, text):
    toy = lab(tmp_path, "ubuntu")
    toy.lock_file.write_text(text)
    with pytest.raises(Invalid) as caught:
        pin(toy, Place().world(toy))
    assert caught.value.problems[0].where.file == str(toy.lock_file)


def test_the_plan_tells_the_name_that_an_id_stands_for(tmp_path):
    place = Place()
    toy = lab(tmp_path, "ubuntu", "id-7")
    planned = place.plan(pin(toy, place.world(toy)))
    named, plain = (change.fields for change in planned.changes)
    assert [(item.wanted, item.alias) for item in (*named, *plain)] == [
        ("id-ubuntu-1", "ubuntu"),
        ("id-7", ""),
    ]
    assert "label  id-ubuntu-1 (ubuntu)\n" in plan_text(planned)
    assert "(ubuntu)" not in str(plan_data(planned))
    place.carry_out(toy, planned)
    again = place.plan(pin(toy, place.world(toy), newer=True))
    assert "label  id-ubuntu-1 → id-ubuntu-4 (ubuntu)  # forces replacement" in plan_text(again)
