"""How moto is mended: members of its classes and modules replaced, loudly where they have moved."""

from __future__ import annotations

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
