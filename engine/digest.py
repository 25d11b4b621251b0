"""Keyed hashes that stand in for values which are not kept."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from engine.resource import plain


def keyed_hash(key: bytes, value: Any) -> str:
    """A hash of `value` as plain data that tells nothing to who does not hold `key`.

    64 hexadecimal digits.
    """
    text = json.dumps(plain(value), sort_keys=True, default=str, ensure_ascii=False)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
