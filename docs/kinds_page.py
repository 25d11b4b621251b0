"""Makes kinds.md, the page of kinds. Run by `make docs`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from engine.kinds import kinds
from engine.load import load
from engine.refs import Unknown
from engine.render.kinds_page import Example, kinds_page
from engine.templating import construct, scope_of

DOCS = Path(__file__).parent


class Desk:
    """What loading may ask of the world, answered as on the sandbox."""

    def my_ip(self) -> str | Unknown:
        """The caller's address there."""
        return "203.0.113.7/32"

    def environment(self) -> Mapping[str, str]:
        """No variables."""
        return {}

    def secret(self, source: Mapping[str, str]) -> str | Unknown:
        """Nothing: the examples have no secrets."""
        return Unknown()


def examples() -> dict[str, Example]:
    """The entries of the playbooks in examples/ by kind. Raises Invalid with what is wrong in them."""
    found: dict[str, Example] = {}
    for book in sorted((DOCS / "examples").glob("*.yml")):
        found |= _examples_in(book)
    return found


def _examples_in(book: Path) -> dict[str, Example]:
    inventory = DOCS.parent / "inventory" / "sandbox.yml"
    [lab] = load(book, inventory, variables={}, student=None, outside=Desk())
    scope = scope_of(lab, {})
    texts = dict(_entries(book.read_text("utf-8")))
    return {
        declared.kind.kind: Example(texts[address], construct(declared, scope))
        for address, declared in lab.resources.items()
    }


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """The name and the lines of each entry of a playbook's resources."""
    lines = text.splitlines()
    root: Any = yaml.compose(text, yaml.SafeLoader)
    [entries] = [value for key, value in root.value if key.value == "resources"]
    for entry in entries.value:
        [name] = [value.value for key, value in entry.value if key.value == "name"]
        own = lines[entry.start_mark.line : entry.end_mark.line]
        yield name, "\n".join(line.removeprefix("  ") for line in own).strip()


def page() -> str:
    """What docs/kinds.md must hold."""
    return kinds_page(kinds(), examples())


if __name__ == "__main__":
    (DOCS / "kinds.md").write_text(page(), "utf-8")
    sys.stdout.write("docs/kinds.md is up to date\n")
