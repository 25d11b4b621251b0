"""Addresses taken apart: `net.worker[0]` is a member of the loop `net.worker`, which is part of `net`."""

from __future__ import annotations

import re
from collections.abc import Iterator

MEMBER = re.compile(r"(?P<name>.+)\[(?P<key>[^\[\]]+)\]\Z")
"""The address of one member of a loop."""
_PART = re.compile(r"(?P<name>[^\[\].]+)(?:\[[^\[\]]*\])?(?:\.|\Z)")


def joined(path: str, name: str) -> str:
    """The address of what the playbook included as `path` calls `name`; `path` is empty for a lab's own."""
    return f"{path}.{name}" if path else name


def around(address: str) -> Iterator[str]:
    """Every name that `address` is part of, itself last: `net`, `net[0]`, `net[0].vpc`."""
    start = 0
    while (part := _PART.match(address, start)) is not None:
        if part.end("name") != len(address):
            yield address[: part.end("name")]
        start = part.end()
        whole = address[:start].removesuffix(".")
        if whole.endswith("]") and whole != address:
            yield whole
        if start == len(address):
            break
    yield address


def is_part(address: str, name: str) -> bool:
    """Whether `address` is what `name` names, a member of its loop, or something that it includes."""
    return address == name or address.startswith((f"{name}[", f"{name}."))
