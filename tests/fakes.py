"""A cloud and hosts in memory, kinds that live there, and a ledger in a list; faults are put in by hand."""

from __future__ import annotations

import base64
import hashlib
import itertools
import shlex
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, Self, cast

from engine.change import Change, Entry, Observation, Plan, Report, StepEvent
from engine.errors import HalfMade, HostUnreachable, LostAnswer, StepFailed, Where
from engine.execute import execute
from engine.hosts import HostSpec, Ran
from engine.lab import Declared, Lab, Need, Ssh, Target
from engine.ledger import Event, Holder
from engine.lookups import answered
from engine.on_host import OnHost, Upload
from engine.plan import plan
from engine.recover import Found as Recovered
from engine.recover import as_found, recover, to_take_on
from engine.refresh import refresh
from engine.refs import Template
from engine.resource import Fixed, Id, Machine, Output, Resource, Secret, Unread, Values
from engine.schedule import schedule
from engine.templating import references
from engine.world import World


class Killed(BaseException):
    """The process ends here."""


# -- the cloud ------


@dataclass
class Thing:
    """One thing in the fake cloud."""

    id: str
    kind: str
    lab: str
    address: str
    token: str
    values: Values
    tags: dict[str, str] = field(default_factory=dict)
    disk: dict[str, str] = field(default_factory=dict)
    """What lies on it, for machines: path to `owner text`."""

    def refers_to(self) -> set[str]:
        return {*self.values.get("uses", ()), *self.values.get("pins", ())}


@dataclass
class Cloud:
    """Things by id, what was done to them, and what shall go wrong.

    (verb, address) to faults, used up in turn.
    """

    things: dict[str, Thing] = field(default_factory=dict)
    log: list[tuple[str, str]] = field(default_factory=list)
    reads: list[tuple[str, int]] = field(default_factory=list)
    faults: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    slow: int = 0
    """How many reads do not show a new thing yet."""
    hidden: dict[str, int] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    turn: threading.RLock = field(default_factory=threading.RLock)
    hold: Callable[[str, str], None] = lambda verb, address: None
    """Called before each verb; tests wait here."""

    def pages(self, service: str, operation: str, key: str, **params: Any) -> list[Any]:
        """What the tagging API tells of a lab's things."""
        assert (service, operation) == ("resourcegroupstaggingapi", "get_resources")
        [lab] = params["TagFilters"][0]["Values"]
        return [
            {"ResourceARN": f"arn:{t.id}", "Tags": [{"Key": "labctl:address", "Value": t.address}]}
            for t in self.things.values()
            if t.lab == lab
        ]

    def of(self, lab: str, address: str) -> list[Thing]:
        return [thing for thing in self.things.values() if (thing.lab, thing.address) == (lab, address)]

    def shows(self, id: str) -> bool:
        self.hidden[id] = self.hidden.get(id, 0) - 1
        return self.hidden[id] < 0

    def fault(self, verb: str, address: str) -> str:
        faults = self.faults.get((verb, address), [])
        return faults.pop(0) if faults else ""

    def check_there(self, what: str, ids: Sequence[str]) -> None:
        for id in ids:
            if id not in self.things:
                self.violations.append(f"{what} before {id} is there")

    def check_unused(self, id: str) -> None:
        for other in self.things.values():
            if id in other.refers_to() and other.id != id:
                self.violations.append(f"{id} deleted although {other.address} ({other.id}) uses it")


def cloud_of(world: World) -> Cloud:
    return cast(Cloud, world.aws)


def _strike(made: Thing, fault: str) -> None:
    """What goes wrong after a thing was made."""
    sizes = {"lost in the middle": None, "half": -1, "differs": -2}
    if fault in sizes:
        made.values["size"] = sizes[fault]
    if fault == "killed":
        raise Killed
    if fault.startswith("lost"):
        raise LostAnswer("no answer")
    if fault == "half":
        raise HalfMade(made.id, "not all of it")


class InCloud(Resource):
    """What all fake kinds of the cloud do."""

    tagged: ClassVar[bool] = True

    size: int = 1
    label: Fixed[str] = "a"
    uses: list[Id] = []
    pins: Fixed[list[Id]] = []
    password: Secret[str | None] = None
    script: Unread[str | None] = None

    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("its id"),
        "place": Output("where it is"),
        "key": Output("secret", sensitive=True),
    }

    def create(self, world: World) -> str:
        cloud, job = cloud_of(world), world.job
        cloud.hold("create", job.address)
        with cloud.turn:
            fault = cloud.fault("create", job.address)
            if fault == "fails":
                raise StepFailed("refused by the cloud", "ask for less")
            if fault == "long":
                raise StepFailed("it says:\n  this\n  that\n\nand much more")
            if fault == "killed before":
                raise Killed
            if fault == "bug":
                raise ZeroDivisionError("in a kind")
            if fault == "lost before":
                raise LostAnswer("no answer")
            cloud.check_there(f"{job.address} made", [*self.uses, *self.pins])
            kept = {
                name: value for name, value in self.model_dump().items() if name not in ("password", "script")
            }
            number = next(cloud.numbers)
            tags = dict(job.tags)
            made = Thing(f"i-{number}", type(self).kind, world.lab, job.address, job.token, kept, tags)
            cloud.things[made.id] = made
            cloud.hidden[made.id] = cloud.slow
            cloud.log.append(("create", job.address))
            _strike(made, fault)
            return made.id

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        cloud = cloud_of(world)
        with cloud.turn:
            cloud.reads.append((cls.kind, len(ids)))
            found = {id: cloud.things[id] for id in ids if id in cloud.things and cloud.shows(id)}
            return {
                id: {
                    **thing.values,
                    "id": id,
                    "place": f"place-{id}-{thing.values['size']}",
                    "key": "hush hush",
                    "tags": dict(thing.tags),
                }
                for id, thing in found.items()
            }

    @classmethod
    def unsettles(cls, changed: frozenset[str]) -> frozenset[str]:
        return frozenset({"place"}) if "size" in changed else frozenset()

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        cloud, job = cloud_of(world), world.job
        cloud.hold("update", job.address)
        with cloud.turn:
            if cloud.fault("update", job.address) == "fails":
                raise StepFailed("refused by the cloud")
            cloud.check_there(f"{job.address} changed", [*self.uses, *self.pins])
            if id not in cloud.things:
                raise StepFailed(f"{id} is not there")
            for name in changed - {"password", "script"}:
                cloud.things[id].values[name] = self.model_dump()[name]
            cloud.log.append(("update", job.address))

    @classmethod
    def retag(cls, world: World, id: str, there: Values, tags: Mapping[str, str | None]) -> None:
        cloud, job = cloud_of(world), world.job
        with cloud.turn:
            if cloud.fault("retag", job.address) == "fails":
                raise StepFailed("refused by the cloud")
            kept = {key: text for key, text in cloud.things[id].tags.items() if key not in tags}
            cloud.things[id].tags = {**kept, **{key: text for key, text in tags.items() if text is not None}}
            cloud.log.append(("retag", job.address))

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        cloud, job = cloud_of(world), world.job
        cloud.hold("delete", job.address)
        with cloud.turn:
            fault = cloud.fault("delete", job.address)
            if fault == "fails":
                raise StepFailed("still in use")
            if fault == "killed before":
                raise Killed
            if id in cloud.things:
                cloud.check_unused(id)
                del cloud.things[id]
                cloud.log.append(("delete", job.address))
            if fault == "killed":
                raise Killed

    @classmethod
    def find(cls, world: World) -> list[str]:
        cloud, job = cloud_of(world), world.job
        with cloud.turn:
            cloud.log.append(("find", job.address))
            return [
                t.id
                for t in cloud.of(world.lab, job.address)
                if t.kind == cls.kind and job.token in ("", t.token) and cloud.shows(t.id)
            ]


class Box(InCloud):
    """A thing whose replacement deletes first."""

    kind: ClassVar[str] = "box"
    pinned: ClassVar[frozenset[str]] = frozenset({"label"})

    @classmethod
    def resolve(cls, world: World, field: str, name: str) -> str:
        if name.startswith("id-"):
            return name
        cloud_of(world).log.append(("resolve", name))
        return f"id-{name}-{next(cloud_of(world).numbers)}"


class Twin(InCloud):
    """A thing whose replacement is made first."""

    kind: ClassVar[str] = "twin"
    create_first: ClassVar[bool] = True


class Found(InCloud):
    """A thing that is taken on when somebody else made one with its label."""

    kind: ClassVar[str] = "found"

    def adopts(self, world: World) -> str | None:
        for thing in cloud_of(world).things.values():
            if thing.lab == "" and thing.values["label"] == self.label:
                return thing.id
        return None


class Computer(InCloud):
    """A host that takes along what lives on it."""

    kind: ClassVar[str] = "computer"
    is_host: ClassVar[bool] = True
    takes_along: ClassVar[bool] = True

    @classmethod
    def machine(cls, world: World, id: str, values: Values) -> Machine:
        return Machine(id, None)


class Rock(Computer):
    """A host that is not the cloud's to take along."""

    kind: ClassVar[str] = "rock"
    takes_along: ClassVar[bool] = False


# -- hosts ------


class Ask(Resource):
    """A lookup: how many things of a size there are."""

    kind: ClassVar[str] = "ask"
    lookup: ClassVar[bool] = True
    outputs: ClassVar[Mapping[str, Output]] = {"answer": Output("what it was told"), "id": Output("the same")}

    question: str = "how many"
    uses: list[Id] = []

    def look_up(self, world: World) -> Values:
        cloud, job = cloud_of(world), world.job
        with cloud.turn:
            cloud.log.append(("look up", job.address))
            if cloud.fault("look up", job.address) == "fails":
                raise StepFailed("nothing is known of it", "ask otherwise")
            cloud.check_there(f"{job.address} asked", self.uses)
            return {
                "answer": f"{self.question}: {len(self.uses)}",
                "id": f"{self.question}: {len(self.uses)}",
            }


class Item(OnHost):
    """A thing on a host. Its scripts are in three words: `show PATH`, `put PATH TEXT`, `drop PATH`."""

    kind: ClassVar[str] = "item"
    outputs: ClassVar[Mapping[str, Output]] = {"seen": Output("what was read")}

    path: Fixed[str]
    text: str = ""
    uses: list[Id] = []

    def natural_id(self) -> str:
        return self.path

    @classmethod
    def look(cls, id: str, wanted: Self | None) -> str:
        return f"show {shlex.quote(id)}\n"

    @classmethod
    def parse(cls, id: str, status: int, output: bytes) -> Values | None:
        if status == 3:
            raise StepFailed("the shelf is locked")
        if status:
            return None
        owner, text, uses = shlex.split(output.decode())
        used = uses.split()
        return {"path": id, "text": text, "uses": used, "owner": owner, "seen": text.upper()}

    def commands(self, there: Values | None, changed: frozenset[str]) -> str:
        return f"put {shlex.join([self.path, self.text, ' '.join(self.uses)])}\n"

    @classmethod
    def removal(cls, id: str, there: Values | None) -> str:
        return f"drop {shlex.quote(id)}\n"


class Owned(Item):
    """An item that bears its owner's name and is nobody else's to take on."""

    kind: ClassVar[str] = "owned"
    adoptable: ClassVar[bool] = False


class Sealed(Item):
    """An item whose text is compared by its hash."""

    kind: ClassVar[str] = "sealed"

    def wanted(self, also: Sequence[str] = ()) -> Values:
        return {**super().wanted(also), "text": f"sha256:{hashlib.sha256(self.text.encode()).hexdigest()}"}

    def in_full(self) -> Values:
        return {"text": self.text, "seen": self.text}

    @classmethod
    def parse(cls, id: str, status: int, output: bytes) -> Values | None:
        values = super().parse(id, status, output)
        if values is None:
            return None
        seal = hashlib.sha256(values["text"].encode()).hexdigest()
        return {**values, "text": f"sha256:{seal}", "seen": seal}


KINDS: dict[str, type[Resource]] = {
    k.kind: k for k in (Box, Twin, Found, Computer, Rock, Item, Owned, Sealed, Ask)
}


@dataclass
class FakeHost:
    """Understands the scripts that `engine.host_scripts` puts together out of Item's words."""

    name: str
    thing: Thing
    cloud: Cloud
    runs: list[str]
    login: str = "ubuntu"

    def run(
        self,
        script: str,
        *,
        stdin: bytes = b"",
        files: Sequence[Upload] = (),
        timeout: float | None = None,
        user: str | None = "root",
        quiet: bool = False,
        say: Callable[[str], None] | None = None,
    ) -> Ran:
        self.runs.append(self.name)
        with self.cloud.turn:
            return self._run(script)

    def _run(self, script: str) -> Ran:
        if "\nset -eu\n" in script:
            body = script.split("\nset -eu\n")[1].split("\n) </dev/null >&2")[0]
            status = self._words(body)[0]
            if status:
                return Ran(status, b"", b"it went wrong\n")
        answers = b""
        if "| base64\n}\n" not in script:
            return Ran(0, b"", b"")
        words = shlex.split(script[script.index("| base64\n}\n") :].replace("\n) </dev/null >&2\n", "\n"))
        for at, word in enumerate(words):
            if word == "labctl_look":
                status, output = self._words(words[at + 3])
                encoded = base64.b64encode(output + b"\n" + str(status).encode())
                answers += b"== " + words[at + 1].encode() + b"\n" + encoded + b"\n"
        return Ran(0, answers, b"")

    def _words(self, body: str) -> tuple[int, bytes]:
        variables = dict(word.split("=", 1) for word in shlex.split(body) if word.startswith("labctl_"))
        address = variables["labctl_address"]
        verb, *words = next(shlex.split(line) for line in body.splitlines() if not line.startswith("labctl_"))
        path, disk = words[0], self.thing.disk
        if verb == "show":
            return (0, disk[path].encode()) if path in disk else (1, b"")
        if self.cloud.fault(verb, address):
            return 1, b""
        if verb == "put":
            self.cloud.check_there(f"{address} put", words[2].split())
            owner = variables["labctl_lab"] if address.startswith("own") else ""
            disk[path] = shlex.join([owner, *words[1:]])
        else:
            disk.pop(path, None)
        self.cloud.log.append((verb, address))
        return 0, b""


@dataclass
class FakeHosts:
    """The hosts of a fake cloud, whose addresses are their ids."""

    cloud: Cloud
    specs: dict[str, HostSpec] = field(default_factory=dict)
    unreachable: set[str] = field(default_factory=set)
    runs: list[str] = field(default_factory=list)

    def know(self, spec: HostSpec) -> None:
        self.specs[spec.name] = spec

    def host(self, name: str, **options: Any) -> FakeHost:
        spec = self.specs.get(name)
        thing = self.cloud.things.get(spec.machine.public_address or "") if spec else None
        if thing is None or name in self.unreachable:
            raise HostUnreachable(f"{name} does not answer")
        return FakeHost(name, thing, self.cloud, self.runs)

    def glance(self, name: str, *, timeout: float = 8) -> FakeHost:
        return self.host(name)

    def forget(self, name: str) -> None:
        self.specs.pop(name, None)


# -- the ledger ------


@dataclass
class FakeLedger:
    """A ledger in memory that behaves as the protocol says."""

    key: bytes = b"k" * 32
    held: dict[str, list[Entry]] = field(default_factory=dict)
    events: dict[str, list[Event]] = field(default_factory=dict)
    broken: Exception | None = None
    writes: int = 0

    def labs(self) -> list[str]:
        return sorted({*self.held, *self.events})

    def entries(self, lab: str) -> list[Entry]:
        return list(self.held.get(lab, []))

    def intend(self, lab: str, entry: Entry) -> None:
        self.record(lab, entry)

    def record(self, lab: str, entry: Entry) -> None:
        self._check()
        entries = self.held.setdefault(lab, [])
        for at, other in enumerate(entries):
            if self._same(other, entry):
                entries[at] = entry
                return
        entries.append(entry)

    def forget(self, lab: str, entry: Entry) -> None:
        self._check()
        self.held[lab] = [other for other in self.held.get(lab, []) if not self._same(other, entry)]

    def _same(self, one: Entry, other: Entry) -> bool:
        if other.token:
            return one.token == other.token
        return (one.address, one.kind, one.host, one.id) == (other.address, other.kind, other.host, other.id)

    def _check(self) -> None:
        self.writes += 1
        if self.broken is not None:
            raise self.broken

    @contextmanager
    def lock(self, lab: str, command: str) -> Iterator[None]:
        yield

    def unlock(self, lab: str) -> Holder | None:
        return None

    def note(self, lab: str, event: Event) -> None:
        self._check()
        self.events.setdefault(lab, []).append(event)

    def history(self, lab: str) -> Sequence[Event]:
        return self.events.get(lab, [])

    def keep_plan(self, lab: str, plan: Mapping[str, Any]) -> None: ...

    def last_plan(self, lab: str | None = None) -> Mapping[str, Any] | None:
        return None


# -- labs ------


def declare(address: str, kind: type[Resource], *, after: Sequence[str] = (), **fields: Any) -> Declared:
    """A resource of a playbook; `{{ }}` in strings makes templates, needs follow from them."""
    keywords = {name: fields.pop(name) for name in list(fields) if name in _KEYWORDS}
    filled = {name: _templates(value) for name, value in fields.items()}
    needs = {Need(name, "after") for name in after}
    needs |= {Need(ref.address, "uses") for ref in references(filled, _Anything())}
    if keywords.get("host"):
        needs.add(Need(keywords["host"], "lives_on"))
    ssh = Ssh("root") if kind.is_host else None
    return Declared(address, kind, filled, Where("playbook.yml", 1, 1), frozenset(needs), ssh=ssh, **keywords)


_KEYWORDS = ("host", "protect", "retain", "ignore_changes", "tags", "timeout", "no_log")


class _Anything:
    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and "[" not in name

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _templates(value: Any) -> Any:
    if isinstance(value, str) and "{{" in value:
        return Template(value, Where("playbook.yml", 1, 1))
    if isinstance(value, list):
        return [_templates(item) for item in value]
    return value


def lab_of(*resources: Declared, name: str = "toy@here", **rest: Any) -> Lab:
    return Lab(
        name,
        name.replace("@", "-"),
        Target("sandbox"),
        {declared.address: declared for declared in resources},
        tags={"labctl:lab": name},
        **rest,
    )


@dataclass
class Place:
    """A world, a ledger, and the commands in short."""

    cloud: Cloud = field(default_factory=Cloud)
    ledger: FakeLedger = field(default_factory=FakeLedger)
    events: list[StepEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hosts = FakeHosts(self.cloud)

    def world(self, lab: Lab) -> World:
        return World(lab.name, cast(Any, self.cloud), cast(Any, self.hosts))

    def look(self, lab: Lab) -> tuple[Observation, ...]:
        return refresh(lab, self.ledger.entries(lab.name), self.world(lab), KINDS, pause=0.0)

    def plan(self, lab: Lab, **options: Any) -> Plan:
        make = partial(plan, lab, key=self.ledger.key, **options)
        return answered(make, self.look(lab), lab, self.world(lab))

    def recover(self, lab: Lab) -> Recovered:
        """Write into the ledger what it lost."""
        entries = self.ledger.entries(lab.name)
        found = recover(lab, entries, self.world(lab))
        seen = refresh(lab, [*entries, *found.entries], self.world(lab), KINDS, pause=0.0)
        made = plan(lab, as_found(seen, found), key=self.ledger.key)
        for entry in found.surplus:
            self.ledger.record(lab.name, replace(entry, token=f"surplus-{entry.id}"))
        self.carry_out(lab, to_take_on(lab, made))
        return found

    def carry_out(
        self,
        lab: Lab,
        planned: Plan,
        *,
        stop: threading.Event | None = None,
        parallel: int = 4,
        patience: float = 0.0,
        story: str = "",
    ) -> Report:
        return execute(
            schedule(planned),
            planned,
            lab,
            self.world(lab),
            self.ledger,
            KINDS,
            parallel=parallel,
            tell=self.events.append,
            stop=stop or threading.Event(),
            run="run-1",
            patience=patience,
            story=story,
        )

    def apply(self, lab: Lab, **options: Any) -> Report:
        return self.carry_out(lab, self.plan(lab, **options))

    def destroy(self, lab: Lab, **options: Any) -> Report:
        return self.apply(lab, destroy=True, **options)

    def remembered(self, lab: Lab) -> dict[str, Entry]:
        return {entry.address: entry for entry in self.ledger.entries(lab.name)}


def told(planned: Plan) -> list[str]:
    """A plan as lines: `action address: cause`, with what else there is to say."""
    return [_told(change) for change in planned.changes]


def _told(change: Change) -> str:
    action = f"{change.action} first" if change.create_first else change.action
    more = [f"goes with {change.goes_with}"] if change.goes_with else []
    more += ["adopts"] if change.adopts else []
    more += ["forgets"] if change.forgets else []
    more += list(change.notes)
    line = f"{action} {change.address}" + (f": {change.cause}" if change.cause else "")
    return line + (f" ({'; '.join(more)})" if more else "")


def done(report: Report) -> list[str]:
    """A report as lines: `verb address outcome`, with the error."""
    return [
        f"{r.step.verb} {r.step.address} {r.outcome}" + (f": {r.error}" if r.error else "")
        for r in report.results
    ]
