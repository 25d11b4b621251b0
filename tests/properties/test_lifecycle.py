"""Random labs, random changes, random faults.

What labctl remembers stays sound, and running again completes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import networkx as nx
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from engine.lab import Declared, Lab
from engine.schedule import schedule
from engine.tags import wanted_tags
from tests.fakes import Ask, Box, Computer, Item, Killed, Place, Rock, Twin, declare, done, lab_of, told

NAMES = ("a", "b", "c", "d", "e", "f")
CLOUD_KINDS = (Box, Box, Twin, Twin, Computer, Rock, Ask)


@dataclass(frozen=True)
class Sketch:
    """One resource before it is declared; needs point to earlier ones."""

    name: str
    kind: type
    size: int
    label: str
    uses: tuple[str, ...]
    pins: tuple[str, ...]
    after: tuple[str, ...]
    host: str | None = None
    team: str = ""

    def declared(self) -> Declared:
        tags = {"team": self.team} if self.team else {}
        uses = [f"{{{{ {name}.id }}}}" for name in self.uses]
        if self.kind is Item:
            return declare(
                self.name,
                Item,
                path=f"/{self.label}-{self.name}",
                text=str(self.size),
                uses=uses,
                host=self.host,
                after=self.after,
                tags=tags,
            )
        if self.kind is Ask:
            return declare(self.name, Ask, question=self.label, uses=uses, after=self.after)
        pins = [f"{{{{ {name}.id }}}}" for name in self.pins]
        return declare(
            self.name,
            self.kind,
            size=self.size,
            label=self.label,
            uses=uses,
            pins=pins,
            after=self.after,
            tags=tags,
        )


@st.composite
def labs(draw: st.DrawFn) -> Lab:
    names = draw(st.permutations(NAMES))[: draw(st.integers(0, len(NAMES)))]
    sketches: list[Sketch] = []
    for name in names:
        cloud = [s.name for s in sketches if s.kind not in (Item, Ask)]
        hosts = [s.name for s in sketches if s.kind in (Computer, Rock)]
        some = st.lists(st.sampled_from(cloud), max_size=2, unique=True) if cloud else st.just([])
        anything = [s.name for s in sketches]
        after = draw(st.lists(st.sampled_from(anything), max_size=1)) if anything else []
        on_host = bool(hosts) and draw(st.booleans())
        kind = Item if on_host else draw(st.sampled_from(CLOUD_KINDS))
        sketches.append(
            Sketch(
                # What was made under a name is not left behind for a lookup of that name.
                f"ask_{name}" if kind is Ask else name,
                kind,
                draw(st.integers(1, 2)),
                draw(st.sampled_from("xy")),
                tuple(draw(some)),
                () if on_host else tuple(draw(some)),
                tuple(after),
                draw(st.sampled_from(hosts)) if on_host else None,
                draw(st.sampled_from(["", "red", "blue"])),
            )
        )
    return lab_of(*(sketch.declared() for sketch in sketches))


FAULTS = ("fails", "lost", "lost before", "killed", "killed before", "half", "differs", "bug")


@st.composite
def faults(draw: st.DrawFn) -> dict[tuple[str, str], list[str]]:
    hit = draw(st.lists(st.sampled_from(NAMES), max_size=3, unique=True))
    return {
        (draw(st.sampled_from(["create", "create", "update", "retag", "delete", "put", "drop"])), name): [
            draw(st.sampled_from(FAULTS))
        ]
        for name in hit
    }


@dataclass
class Story:
    place: Place = field(default_factory=Place)

    def attempt(self, lab: Lab, **options: object) -> bool:
        """One run that may be killed; whether it was not."""
        planned = self.place.plan(lab, **options)
        graph = schedule(planned)
        note("\n".join(["", *sketched(lab), "plan:", *told(planned)]))
        assert nx.is_directed_acyclic_graph(graph)
        try:
            report = self.place.carry_out(lab, planned)
        except Killed:
            return False
        assert not self.place.cloud.violations, (self.place.cloud.violations, told(planned), done(report))
        return True

    def check_ledger(self, lab: Lab) -> None:
        """Everything that exists is remembered, by its id or by the token of a create still in doubt."""
        entries = self.place.ledger.entries(lab.name)
        ids = {entry.id for entry in entries}
        tokens = {entry.token for entry in entries if entry.id is None}
        forgotten = [t for t in self.place.cloud.things.values() if t.id not in ids and t.token not in tokens]
        assert not forgotten, (forgotten, entries)

    def finish(self, lab: Lab, **options: object) -> None:
        """Run again until nothing is left to do.

        Without faults twice must do (one too many goes in the second).
        """
        self.place.cloud.faults.clear()
        for _ in range(3):
            planned = self.place.plan(lab, **options)
            note("\n".join(["", *sketched(lab), "plan:", *told(planned)]))
            if planned.idle:
                break
            report = self.place.carry_out(lab, planned)
            assert report.ok, (told(planned), done(report))
            assert not self.place.cloud.violations, (self.place.cloud.violations, told(planned), done(report))
        assert planned.idle, told(planned)
        if not options:
            self.check_tags(lab)

    def check_tags(self, lab: Lab) -> None:
        """Everything in the cloud bears the tags that are wanted, and no other."""
        for address in lab.resources:
            for thing in self.place.cloud.of(lab.name, address):
                assert thing.tags == wanted_tags(lab, address), address


def sketched(lab: Lab) -> list[str]:
    """The lab in short, for reading what went wrong."""
    return [
        f"{d.address} {d.kind.kind} {' '.join(f'{need.sort} {need.address}' for need in sorted(d.needs))}"
        for d in lab.resources.values()
    ]


def check_like(story: Story, lab: Lab) -> None:
    """What exists is exactly what the lab says, and the ledger says the same."""
    entries = story.place.ledger.entries(lab.name)
    made = {address: d for address, d in lab.resources.items() if not d.kind.lookup}
    assert sorted(entry.address for entry in entries) == sorted(made)
    things = sorted(thing.address for thing in story.place.cloud.things.values())
    assert things == sorted(address for address, d in made.items() if d.host is None)
    assert {e.id for e in entries if e.host is None} == set(story.place.cloud.things)


SETTINGS = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@SETTINGS
@given(labs(), labs(), faults(), faults(), faults())
def test_any_change_of_labs_survives_any_faults(first, second, early, late, at_the_end):
    story = Story()
    story.place.cloud.faults = {key: list(value) for key, value in early.items()}
    story.attempt(first)
    story.check_ledger(first)
    story.finish(first)
    check_like(story, first)

    story.place.cloud.faults = {key: list(value) for key, value in late.items()}
    story.attempt(second)
    story.check_ledger(second)
    story.finish(second)
    check_like(story, second)

    story.place.cloud.faults = {key: list(value) for key, value in at_the_end.items()}
    story.attempt(second, destroy=True)
    story.check_ledger(second)
    story.finish(second, destroy=True)
    assert story.place.cloud.things == {}
    assert story.place.ledger.entries(second.name) == []


@SETTINGS
@given(labs(), labs(), labs(), faults(), faults())
def test_a_change_of_mind_half_way_is_no_trouble(first, second, third, early, late):
    """The second lab is never finished: faults cut it short, and a third is wanted then."""
    story = Story()
    story.place.cloud.faults = {key: list(value) for key, value in early.items()}
    story.attempt(first)
    story.place.cloud.faults |= {key: list(value) for key, value in late.items()}
    story.attempt(second)
    story.check_ledger(second)
    story.finish(third)
    check_like(story, third)


@SETTINGS
@given(labs(), labs())
def test_a_lost_ledger_is_written_anew(lab, other):
    """Whatever was there is remembered again, nothing is made twice, and destroying leaves nothing."""
    story = Story()
    story.finish(lab)
    there = dict(story.place.cloud.things)
    story.place.ledger.held.clear()
    story.place.recover(lab)
    story.check_ledger(lab)
    note("\n".join(["recovered:", *told(story.place.plan(lab))]))
    assert story.place.plan(lab).idle
    assert story.place.cloud.things == there
    story.finish(other)
    check_like(story, other)
    story.finish(lab_of())
    assert not story.place.cloud.things


@SETTINGS
@given(labs(), st.data())
def test_drift_is_seen_and_mended(lab, data):
    story = Story()
    story.finish(lab)
    things = sorted(story.place.cloud.things.values(), key=lambda thing: thing.address)
    for thing in data.draw(st.lists(st.sampled_from(things), max_size=2, unique_by=id)) if things else []:
        used = any(thing.id in other.refers_to() for other in things)
        if used or data.draw(st.booleans()):
            thing.values["size"] = 99
        else:
            del story.place.cloud.things[thing.id]
            things.remove(thing)
        if thing.disk and data.draw(st.booleans()):
            thing.disk.pop(sorted(thing.disk)[0])
    story.finish(lab)
    check_like(story, lab)
