"""An example of each AWS kind: how it is made first, and what it is changed to in place.

One module a family, each with its `EXAMPLES`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable

from engine.resource import Resource
from tests.kinds.aws_stage import Stage

Example = Callable[[Stage], tuple[Resource, Resource | None]]
"""The resource as first wanted, and as wanted next; None where nothing of the kind changes in place."""


def all_examples() -> dict[str, Example]:
    """By kind, the examples of all modules here."""
    found: dict[str, Example] = {}
    for module in pkgutil.iter_modules(__path__):
        found |= importlib.import_module(f"{__name__}.{module.name}").EXAMPLES
    return found
