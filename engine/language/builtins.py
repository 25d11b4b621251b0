"""Names that templates have without declaring them, and what a lab is called."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Final

from engine.language.bounded import BUDGET, GLOBALS, VALUE
from engine.language.secrets import Outside
from engine.language.views import Environment
from engine.language.words import BUILTIN

LAB: Final = ("name", "slug", "student", "expires", "target", "region", "groups")
"""What `lab.` has."""

LOOP: Final = frozenset({"item", "loop_index"})

_JINJA = {
    "true",
    "false",
    "none",
    "True",
    "False",
    "None",
    "and",
    "or",
    "not",
    "in",
    "is",
    "if",
    "else",
    "loop",
    "self",
}
RESERVED: Final = frozenset({*BUILTIN, *LOOP, *GLOBALS, *_JINJA, BUDGET, VALUE, "caller", "super"})
"""Names that neither a variable nor a resource may have."""

_SLUG_LENGTH = 40


def slug_of(name: str) -> str:
    """`name` in small letters, digits and dashes, at most 40 of them; a hash tells cut ones apart."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")
    if len(slug) <= _SLUG_LENGTH and slug:
        return slug
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]
    return f"{slug[: _SLUG_LENGTH - 7].rstrip('-')}-{digest}".strip("-")


def builtin_names(lab: Mapping[str, Any], outside: Outside) -> dict[str, Callable[[], Any]]:
    """Makers of the names that are there without being declared; what needs the network is asked on use."""
    return {"lab": lambda: dict(lab), "env": lambda: Environment(outside.environment), "my_ip": outside.my_ip}


def lab_names(
    name: str,
    student: str | None,
    expires: date | None,
    target: str,
    region: str,
    groups: Mapping[str, list[str]] | None = None,
) -> dict[str, Any]:
    """What `lab.` stands for."""
    values = (
        name,
        slug_of(name),
        student,
        expires.isoformat() if expires else None,
        target,
        region,
        dict(groups or {}),
    )
    return dict(zip(LAB, values, strict=True))
