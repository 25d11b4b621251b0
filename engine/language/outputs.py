"""The `outputs` of a playbook as written, before any of them is filled in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from engine.language import reading
from engine.language.document import Node, content
from engine.language.problems import Problems
from engine.language.words import NAME

_LONG: Final = ("value", "sensitive", "description")


@dataclass(frozen=True)
class WrittenOutput:
    """One output: its value with templates, and whether the playbook says that it must be masked."""

    name: str
    value: Any
    sensitive: bool


def read_outputs(outputs: Node | None, problems: Problems) -> Iterator[WrittenOutput]:
    """The outputs that a playbook declares."""
    node = reading.mapping(outputs, "`outputs`", problems)
    for name, where, item in node.items() if node is not None else ():
        if not NAME.match(name):
            remedy = "use letters, digits and _, a letter first"
            problems.add(where, f"`{name}` cannot name an output", remedy)
            continue
        is_long = item.is_mapping and "value" in item.value
        if is_long:
            reading.known_keys(item, _LONG, f"the output `{name}`", problems)
        value = content(item.value["value"] if is_long else item)
        yield WrittenOutput(name, value, is_long and _said(item.get("sensitive"), problems))


def written_outputs(outputs: Node | None, problems: Problems) -> tuple[dict[str, Any], frozenset[str]]:
    """The outputs by name, and the names of those that the playbook calls sensitive."""
    found = list(read_outputs(outputs, problems))
    return {one.name: one.value for one in found}, frozenset(one.name for one in found if one.sensitive)


def _said(node: Node | None, problems: Problems) -> bool:
    if node is None:
        return False
    try:
        return reading.truth(node.value)
    except ValueError as error:
        problems.add(node.where, f"`sensitive` {error}")
        return False
