"""The kinds there are: every concrete class in `engine/resources/`, found by looking."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import engine.resources
from engine.resource import Resource

_NAME: Final = re.compile(r'^    kind: ClassVar\[str\] = "(\w+)"$', re.MULTILINE)


@functools.cache
def kinds() -> Mapping[str, type[Resource]]:
    """Every kind by name, in the order of names.

    A lab uses few of them: which families have which is read from their text, and a family is imported when
    one of its kinds is first asked for.
    """
    return _Kinds()


class _Kinds(Mapping[str, type[Resource]]):
    def __init__(self) -> None:
        named = {
            name: ".".join(("engine.resources", *path.relative_to(folder).with_suffix("").parts))
            for folder in engine.resources.__path__
            for path in Path(folder).glob("*/*.py")
            for name in _NAME.findall(path.read_text(encoding="utf-8"))
        }
        self._modules = dict(sorted(named.items()))
        self._found: dict[str, type[Resource]] = {}

    def __getitem__(self, name: str) -> type[Resource]:
        if name not in self._found:
            module = self._modules[name]
            for _, thing in inspect.getmembers(importlib.import_module(module), inspect.isclass):
                if issubclass(thing, Resource) and thing.kind and thing.__module__ == module:
                    self._found[thing.kind] = thing
        return self._found[name]

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)
