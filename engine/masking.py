"""Secrets out of everything that leaves labctl.

Their values are replaced wherever and however they appear.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote, quote_plus

MASK: Final = "(sensitive)"
_SHORT: Final = 4


class Masker:
    """Replaces the values of secrets; ones shorter than 4 characters only where they are the whole value."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = {secret for secret in secrets if secret}
        self._whole = frozenset(known)
        # The longest first, so that a secret that holds another is masked whole.
        forms = sorted(
            {form for secret in known for form in _forms(secret)}, key=lambda form: (-len(form), form)
        )
        self._pattern = re.compile("|".join(re.escape(form) for form in forms)) if forms else None

    def text(self, text: str) -> str:
        """`text` without any secret, also in base64, URL-quoted or JSON-escaped form."""
        if text in self._whole:
            return MASK
        return self._pattern.sub(MASK, text) if self._pattern else text

    def value(self, value: Any) -> Any:
        """`value` with every string in it masked, at any depth."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes):
            return self.text(value.decode(errors="replace")).encode()
        if isinstance(value, dict):
            return {self.value(key): self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return type(value)(self.value(item) for item in value)
        if isinstance(value, int | float) and not isinstance(value, bool) and str(value) in self._whole:
            return MASK
        return value


def _forms(secret: str) -> Iterator[str]:
    if len(secret) < _SHORT:
        return
    yield secret
    yield from (line for line in secret.splitlines() if len(line.strip()) >= 2 * _SHORT)
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield quote(secret, safe="")
    yield quote(secret)
    yield quote_plus(secret)
    yield from _in_base64(secret.encode())


def _in_base64(secret: bytes) -> Iterator[str]:
    """What of `secret` shows in base64 at each of the three ways it can lie in what is encoded."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(secret).decode().rstrip("=")
        for shift in range(3):
            encoded = encode(b"\0" * shift + secret).decode().rstrip("=")
            # The first and last characters mix with the neighbours' bits.
            inner = encoded[-(-shift * 8 // 6) : len(encoded) - (0 if (shift + len(secret)) % 3 == 0 else 1)]
            if len(inner) >= 2 * _SHORT:
                yield inner
