"""How moto is mended: members of its classes and modules replaced or added, loudly where they have moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def replace(owner: Any, **members: Any) -> None:
    """Puts `members` in place of those of the same names in `owner`, a class or module of moto's.

    Raises AttributeError where moto has no such member (any more), so that a new moto that moved it
    is noticed at once.
    """
    for name, member in members.items():
        if not hasattr(owner, name):
            raise AttributeError(f"moto has no {name} in {owner!r} to mend")
        setattr(owner, name, member)


def add(owner: type[Any], **members: Any) -> None:
    """Gives `owner`, a class of moto's, `members` that it lacks; properties stand for what its objects keep.

    Raises AttributeError where it has such a member by now: then moto does it by itself, or otherwise.
    """
    for name, member in members.items():
        if hasattr(owner, name):
            raise AttributeError(f"moto has {name} in {owner!r} by now: look whether this is still needed")
        setattr(owner, name, member)


def take_on(thing: Any, given: Callable[[str], Any], attributes: Mapping[str, str]) -> None:
    """Sets attributes of `thing` to what is `given` of a request; `attributes` names them by parameter."""
    for parameter, attribute in attributes.items():
        value = given(parameter)
        if value is not None:
            setattr(thing, attribute, value)
