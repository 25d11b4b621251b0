"""What topics and queues share: how they are named."""

from __future__ import annotations

import re
from typing import Any

from engine.refs import Unknown


def check_name(name: Any, longest: int, sort: Any) -> None:
    """Raises ValueError in words where SNS or SQS does not take the name."""
    if isinstance(name, Unknown) or isinstance(sort, Unknown):
        return
    if (sort == "fifo") != name.endswith(".fifo"):
        raise ValueError("the name of a FIFO one, and of no other, ends in .fifo")
    if not re.fullmatch(rf"[A-Za-z0-9_-]{{1,{longest}}}", name.removesuffix(".fifo")) or len(name) > longest:
        raise ValueError(f"AWS allows 1 to {longest} letters, digits, - and _ in the name")
