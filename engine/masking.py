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
_CUT: Final = "…"
"""What renderers put where they cut a long text."""
_SHORTEST_START: Final = 8
"""Characters of a secret before a cut that count as a part of it."""
_LONGEST_START: Final = 400

_ESCAPES: Final = {"\n": "n", "\r": "r", "\t": "t"}
_QUOTES: Final = frozenset("'\"\\")


class Masker:
    """Replaces the values of secrets; ones shorter than 4 characters only where they are the whole value."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = {secret for secret in secrets if secret}
        self._whole = frozenset(known)
        # The longest first, so that a secret that holds another is masked whole.
        pieces = sorted(
            {piece for secret in known for piece in _pieces(secret)}, key=lambda piece: (-len(piece), piece)
        )
        forms = dict.fromkeys(form for piece in pieces for form in _forms(piece))
        self._pattern = re.compile("|".join(forms)) if forms else None
        self._starts = tuple(piece for piece in pieces if len(piece) > _SHORTEST_START)

    def text(self, text: str) -> str:
        """`text` without any secret, also quoted for a shell, in base64, URL-quoted, escaped or cut short."""
        if text in self._whole:
            return MASK
        if self._pattern is None:
            return text
        masked = self._pattern.sub(MASK, text)
        return self._without_starts(masked) if _CUT in masked else masked

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

    def finds(self, value: Any) -> bool:
        """Whether a string in `value`, at any depth, holds a secret, however short or quoted it is."""
        if isinstance(value, dict):
            return any(self.finds(item) for pair in value.items() for item in pair)
        if isinstance(value, list | tuple):
            return any(self.finds(item) for item in value)
        text = str(value) if isinstance(value, str | int | float) else ""
        return any(secret in text for secret in self._whole) or self.text(text) != text

    def _without_starts(self, text: str) -> str:
        """`text` without the beginning of a secret whose rest was cut away."""
        shown, *rest = text.split(_CUT)
        parts = []
        for following in rest:
            parts.append(self._without_start(shown))
            shown = following
        return _CUT.join([*parts, shown])

    def _without_start(self, text: str) -> str:
        end = text[-_LONGEST_START:]
        for secret in self._starts:
            for length in range(min(len(secret), len(end)), _SHORTEST_START - 1, -1):
                if end.endswith(secret[:length]):
                    return text[:-length] + MASK
        return text


def _pieces(secret: str) -> Iterator[str]:
    """What is masked by itself: the secret, and its lines where they are long enough to tell."""
    if len(secret) < _SHORT:
        return
    yield secret
    yield from (line.strip() for line in secret.splitlines() if len(line.strip()) >= 2 * _SHORT)


def _forms(piece: str) -> Iterator[str]:
    """Regular expressions for how `piece` may appear."""
    yield _written(piece)
    for quoted in (quote(piece, safe=""), quote(piece), quote_plus(piece)):
        if quoted != piece:
            yield re.escape(quoted)
    shown = dict.fromkeys((piece, json.dumps(piece)[1:-1], json.dumps(piece, ensure_ascii=False)[1:-1]))
    for encoded in dict.fromkeys(form for text in shown for form in _in_base64(text.encode())):
        # What encodes may break its lines anywhere.
        yield r"\s{0,2}".join(re.escape(each) for each in encoded)


def _written(piece: str) -> str:
    """`piece` as it is, or quoted and escaped for shells, JSON or Python, however often, or wrapped."""
    if sum(each not in _QUOTES and not each.isspace() for each in piece) < _SHORT:
        return re.escape(piece)
    made: list[str] = []
    for run in re.findall(r"['\"\\]+|\s+|.", piece, re.DOTALL):
        if run[0] in _QUOTES:
            made.append(r"['\"\\]+")
        elif run.isspace():
            # At its ends a line may have lost them.
            made.append(_spaces(run))
        else:
            made.append(_character(run))
    return "".join(made)


def _spaces(run: str) -> str:
    escaped = "".join(rf"|\\+{letter}" for space, letter in _ESCAPES.items() if space in run)
    return rf"(?:\s{escaped})+"


def _character(character: str) -> str:
    plain = re.escape(character)
    if character.isalnum() and character.isascii():
        return plain
    if character.isascii():
        return rf"\\*{plain}"
    units = character.encode("utf-16-be").hex()
    escaped = "".join(rf"\\+u{units[at : at + 4]}" for at in range(0, len(units), 4))
    number = ord(character)
    in_python = rf"|\\+x{number:02x}" if number < 256 else rf"|\\+U{number:08x}"
    return f"(?:{plain}|{escaped}{in_python})"


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
