"""Patterns as AWS writes them: `*` and `?`, and nothing else that means anything."""

from __future__ import annotations

from fnmatch import fnmatchcase


def like(text: str, pattern: str) -> bool:
    """Whether all of `text` fits a pattern."""
    return fnmatchcase(text, pattern.replace("[", "[[]"))
