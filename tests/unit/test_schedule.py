from __future__ import annotations

import networkx as nx

from engine.schedule import schedule
from tests.fakes import Box, Computer, Item, Place, Rock, Twin, declare, lab_of


def order(place, lab, **options):
    """Every `earlier < later` that the schedule asks for, as text."""
    graph = schedule(place.plan(lab, **options))
    assert nx.is_directed_acyclic_graph(graph)
    return sorted(f"{a.verb} {a.address} < {b.verb} {b.address}" for a, b in graph.edges)


def applied(lab):
    place = Place()
    assert place.apply(lab).ok
    return place


def test_made_after_needs_and_deleted_before_them():
    lab = lab_of(declare("a", Box), declare("b", Box, uses=["{{ a.id }}"]), declare("c", Box, after=["b"]))
    assert order(Place(), lab) == ["create a < create b", "create b < create c"]
    assert order(applied(lab), lab, destroy=True) == ["delete b < delete a", "delete c < delete b"]


def test_needs_reach_through_what_is_kept():
    def lab(size, *more):
        return lab_of(declare("a", Box, size=size), declare("b", Box, after=["a"]), *more)

    assert order(applied(lab(1)), lab(2, declare("c", Box, after=["b"]))) == ["update a < create c"]


def test_delete_first_and_create_first():
    def lab(kind, label):
        return lab_of(declare("a", kind, label=label), declare("b", Box, uses=["{{ a.id }}"]))

    assert order(applied(lab(Box, "a")), lab(Box, "b")) == [
        "create a < create b",
        "delete a < create a",
        "delete b < create b",
        "delete b < delete a",
    ]
    assert order(applied(lab(Twin, "a")), lab(Twin, "b")) == [
        "create a < delete a",
        "create a < update b",
        "update b < delete a",
    ]


def test_what_goes_with_its_host_is_forgotten_after_it_and_its_users_go_before():
    def lab(host):
        return lab_of(
            declare("h", host), declare("i", Item, path="/i", host="h"), declare("u", Box, after=["i"])
        )

    assert order(applied(lab(Computer)), lab(Computer), destroy=True) == [
        "delete h < forget i",
        "delete u < delete h",
        "delete u < forget i",
    ]
    assert order(applied(lab(Rock)), lab(Rock), destroy=True) == [
        "delete i < delete h",
        "delete u < delete i",
    ]


def test_what_stays_lets_go_before_the_old_goes():
    before = lab_of(declare("a", Box), declare("b", Box, uses=["{{ a.id }}"]))
    assert order(applied(before), lab_of(declare("b", Box))) == ["update b < delete a"]
