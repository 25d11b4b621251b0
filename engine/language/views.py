"""What templates see: resources, loops, included playbooks, outputs of other labs, environment variables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.addresses import joined
from engine.language.evaluation import Absent, Later, View, Wrong
from engine.language.words import did_you_mean
from engine.refs import UNKNOWN, Ref, Unknown
from engine.resource import Resource

if TYPE_CHECKING:
    from engine.lab import UsedLab
    from engine.templating import Filling

Make = Callable[[str, "Filling"], View]
"""Makes the view of one member of a loop from its address."""


class ResourceView(View):
    """One resource in a template: `bastion.public_ip` asks `read`."""

    __slots__ = ("_address", "_filling")

    def __init__(self, address: str, filling: Filling) -> None:
        self._address = address
        self._filling = filling

    def read(self, name: str) -> Any:
        """The output or field `name`; what is not known yet can only be passed on."""
        scope = self._filling.scope
        check_output(scope.lab.resources[self._address].kind, self._address, name)
        ref = Ref(self._address, name)
        self._filling.touched.add(ref)
        values = scope.known.get(self._address)
        if values is None or name not in values:
            return self._filling.hand_out(UNKNOWN, frozenset([ref]))
        return self._filling.hand_out(values[name], frozenset([ref]))

    def whole(self) -> Wrong:
        """What is to be written instead of the whole."""
        return Wrong(f"`{self._address}` is a resource, not a value", f"write `{self._address}.OUTPUT`")


class SpaceView(View):
    """An included playbook in a template: `net.site` is an output of it, `net.vpc` a resource in it."""

    __slots__ = ("_filling", "_path")

    def __init__(self, path: str, filling: Filling) -> None:
        self._path = path
        self._filling = filling

    def read(self, name: str) -> Any:
        """The output `name` of the playbook, else what it calls so."""
        lab = self._filling.scope.lab
        outputs = lab.spaces[self._path].outputs
        if name in outputs:
            return self._filling.output(self._path, name)
        found = self._filling.thing(joined(self._path, name))
        if found is not None:
            return found
        start = len(self._path) + 1
        there = {a[start:].partition(".")[0] for a in lab.resources if a.startswith(f"{self._path}.")}
        raise Wrong(f"`{self._path}` has no `{name}`", did_you_mean(name, {*outputs, *there}, "it has"))

    def whole(self) -> Wrong:
        """What is to be written instead of the whole."""
        words = f"`{self._path}` is an included playbook, not a value"
        return Wrong(words, f"write `{self._path}.OUTPUT`")


class UsedOutputs(View):
    """Another lab in a template: its outputs, as it was last applied. It remembers which were read."""

    __slots__ = ("_lab", "read_of")

    def __init__(self, lab: UsedLab | Unknown) -> None:
        self._lab = lab
        self.read_of: set[str] = set()

    def read(self, name: str) -> Any:
        """The output `name` of the lab."""
        if isinstance(self._lab, Unknown):
            return Later(frozenset())
        self.read_of.add(name)
        lab = self._lab
        if name in lab.outputs:
            if isinstance(lab.outputs[name], Unknown):
                words = f"`{lab.name}` does not know its output `{name}` yet"
                raise Wrong(words, "apply that lab first, all of it")
            return lab.outputs[name]
        if name in lab.sensitive:
            return self._sensitive(name)
        words = f"`{lab.name}` has no output `{name}`"
        there = [*lab.outputs, *lab.sensitive]
        remedy = did_you_mean(name, there, "it has") if there else "what it puts out is kept as it is applied"
        raise Wrong(words, remedy)

    def is_sensitive(self, name: str) -> bool:
        """Whether the output `name` must be masked."""
        return not isinstance(self._lab, Unknown) and name in self._lab.sensitive

    def _sensitive(self, name: str) -> Any:
        assert not isinstance(self._lab, Unknown)
        value = self._lab.ask(name)
        return Later(frozenset()) if isinstance(value, Unknown) else value

    def whole(self) -> Wrong:
        """What is to be written instead of the whole."""
        name = "another lab" if isinstance(self._lab, Unknown) else f"the lab `{self._lab.name}`"
        return Wrong(f"{name} is not a value", "write `NAME.OUTPUT`")


class Members(Sequence[Any]):
    """The members of `loop: [..]` in a template: a list of resources or of included playbooks."""

    def __init__(self, members: Mapping[str, str], filling: Filling, make: Make) -> None:
        self._members = members
        self._filling = filling
        self._make = make
        self._length = 1 + max(int(key) for key in members)

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Any]:
        return (self._make(address, self._filling) for address in self._members.values())

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return list(self)[index]
        # A position is the one in the loop, also where `when` leaves some out.
        address = self._members.get(str(index if index >= 0 else self._length + index))
        if address is None:
            raise IndexError(index)
        return self._make(address, self._filling)

    def __str__(self) -> str:
        raise whole_loop()

    __repr__ = __str__


class KeyedMembers:
    """The members of `loop: {..}` in a template, by key; iterating gives the members."""

    def __init__(self, members: Mapping[str, str], filling: Filling, make: Make) -> None:
        self._members = members
        self._filling = filling
        self._make = make

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, key: object) -> bool:
        return key in self._members

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values())

    def __getitem__(self, key: str) -> Any:
        return self._make(self._members[key], self._filling)

    def keys(self) -> list[str]:
        """The keys of the loop."""
        return list(self._members)

    def values(self) -> list[Any]:
        """The members."""
        return [self._make(address, self._filling) for address in self._members.values()]

    def items(self) -> list[tuple[str, Any]]:
        """Key and member of each turn."""
        return list(zip(self.keys(), self.values(), strict=True))

    def __str__(self) -> str:
        raise whole_loop()

    __repr__ = __str__


def members_view(members: Mapping[str, str], filling: Filling, make: Make) -> Members | KeyedMembers:
    """The members of a loop, addresses by key, as a list or as a mapping."""
    numbered = all(key.isdecimal() for key in members)
    return Members(members, filling, make) if numbered else KeyedMembers(members, filling, make)


def whole_loop() -> Wrong:
    """What is wrong with using all members of a loop as a value."""
    remedy = "write `NAME[0].OUTPUT`, or `NAME | map(attribute='OUTPUT') | list`"
    return Wrong("a looped resource is not a value", remedy)


def check_output(kind: type[Resource], name: str, output: str) -> None:
    """Raise Wrong unless resources of `kind` have the field or output `output`; `name` is for the message."""
    if output not in kind.outputs and output not in kind.model_fields:
        known = [*kind.outputs, *kind.model_fields]
        raise Wrong(f"`{name}` ({kind.kind}) has no `{output}`", did_you_mean(output, known, "it has"))


class Environment(View):
    """Environment variables as `env.NAME`; as a whole, with all that is secret in it, it cannot be had."""

    __slots__ = ("_values",)

    def __init__(self, values: Callable[[], Mapping[str, str]]) -> None:
        self._values = values

    def read(self, name: str) -> Any:
        """The variable `name`."""
        values = self._values()
        if name in values:
            return values[name]
        return Absent(f"the environment variable `{name}` is not set", name=name)

    def whole(self) -> Wrong:
        """That one variable is meant."""
        return Wrong("`env` is not a value", "write `env.NAME`")
