"""What the source of a kind says of its fields, for messages, editors and the manual."""

from __future__ import annotations

import ast
import functools
import inspect
from pathlib import Path

from pydantic import BaseModel


def documentation(model: type[BaseModel]) -> dict[str, str]:
    """What the source says below each field, in a string of its own; base classes included."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        source = (
            inspect.getsourcefile(each) if issubclass(each, BaseModel) and each is not BaseModel else None
        )
        if source is not None:
            found |= _documented(source).get(each.__qualname__, {})
    return found


@functools.cache
def _documented(source: str) -> dict[str, dict[str, str]]:
    """For each top-level class of a source file, the strings below its annotated names."""
    tree = ast.parse(Path(source).read_text("utf-8"))
    return {node.name: _strings(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _strings(node: ast.ClassDef) -> dict[str, str]:
    found = {}
    for statement, after in zip(node.body, node.body[1:], strict=False):
        text = (
            after.value.value
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            else None
        )
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(text, str)
        ):
            found[statement.target.id] = inspect.cleandoc(text)
    return found
