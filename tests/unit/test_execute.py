from __future__ import annotations

from tests.fakes import Box, Computer, Item, Place, Twin, declare, done, lab_of, told


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
