"""References between resources: templates, the values they stand for, and values not known yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from engine.errors import Where


@dataclass(frozen=True, order=True)
class Ref:
    """A use of a resource's output (`bastion.public_ip`); `output` is None for the resource as a whole."""

    address: str
    output: str | None = None

    def __str__(self) -> str:
        """The reference as a playbook writes it."""
        return self.address if self.output is None else f"{self.address}.{self.output}"


@dataclass(frozen=True)
class Unknown:
    """A value that hangs on something not made yet: on `refs`; `text` is the template it comes from."""

    refs: frozenset[Ref] = field(default_factory=frozenset)
    text: str | None = None

    def __str__(self) -> str:
        """What plans show in its place."""
        return "(known after apply)"


UNKNOWN: Final = Unknown()


@dataclass(frozen=True)
class Template:
    """A string of a playbook that holds `{{ }}` and has not been filled in."""

    text: str
    where: Where | None = None


def leaves(value: Any) -> Iterator[Any]:
    """What stands in `value`, at any depth of mappings and lists; of one that is neither, itself."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def unknowns(value: Any) -> Iterator[Unknown]:
    """What is not known yet in `value`, at any depth of mappings and lists."""
    return (leaf for leaf in leaves(value) if isinstance(leaf, Unknown))


def holds_unknown(value: Any) -> bool:
    """Whether `value` is unknown or holds something unknown at any depth."""
    if isinstance(value, Unknown):
        return True
    if isinstance(value, dict):
        return any(holds_unknown(item) for item in value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return any(holds_unknown(item) for item in value)
    # A model (a rule of a security group, say) holds its fields.
    fields = getattr(type(value), "model_fields", None)
    return fields is not None and any(holds_unknown(getattr(value, name)) for name in fields)
