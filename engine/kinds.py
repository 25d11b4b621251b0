"""The kinds there are: every concrete class in `engine/resources/`, found by looking."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil

import engine.resources
from engine.resource import Resource


@functools.cache
def kinds() -> dict[str, type[Resource]]:
    """Every kind by name."""
    found: dict[str, type[Resource]] = {}
    for module in pkgutil.iter_modules(engine.resources.__path__, "engine.resources."):
        for _, thing in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(thing, Resource) and thing.kind and thing.__module__ == module.name:
                found[thing.kind] = thing
    return dict(sorted(found.items()))
