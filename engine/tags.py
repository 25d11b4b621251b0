"""Tags: which ones a thing of a lab bears, and what of them is missing, other or no longer wanted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from engine.lab import Lab

FIELD: Final = "tags"
"""Under this name a kind with `tagged` reads its tags, and a plan shows what differs in them."""
LAB: Final = "labctl:lab"
ADDRESS: Final = "labctl:address"
EXPIRES: Final = "labctl:expires"
NAME: Final = "Name"
"""What AWS's console lists a thing by. Where the playbook does not say it, others may change it."""

MOST: Final = 44
"""How many a playbook and its inventory may ask for: AWS allows 50 a thing, and labctl's own are 6."""


def wanted_tags(lab: Lab, address: str) -> dict[str, str]:
    """All tags of the resource at `address`: the lab's, its own, `labctl:address`."""
    declared = lab.resources.get(address)
    own = declared.tags if declared else {}
    return {**lab.tags, **own, ADDRESS: address}


def default_name(lab: str, address: str) -> str:
    """The tag `Name` of a thing that is given no other."""
    return f"{lab} {address}"


def owed(
    wanted: Mapping[str, str], there: Mapping[str, str], before: Collection[str]
) -> dict[str, str | None]:
    """By key, the tags to set where `there` are the tags read, and with None those to take away.

    Taken away are those of the keys `before`, which labctl set last time, that are wanted no more; tags of
    others stay. `labctl:expires` is nobody else's, also where a ledger does not tell what was set.
    """
    if NAME in before and NAME not in wanted:
        wanted = {NAME: default_name(wanted[LAB], wanted[ADDRESS]), **wanted}
    gone = sorted(key for key in {*before, EXPIRES} if key in there and key not in wanted)
    return {**{key: text for key, text in wanted.items() if there.get(key) != text}, **dict.fromkeys(gone)}
