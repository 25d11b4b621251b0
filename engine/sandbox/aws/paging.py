"""Pages: describes that are asked for MaxResults give so many, and a token for the rest.

moto gives everything in most of them.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from moto.core.responses import ActionResult, PaginatedResult
from moto.ec2.exceptions import EC2ClientError

_PAGED_BY_MOTO = frozenset({"DescribeInstances", "DescribeInstanceTypeOfferings"})


def page(action: str, params: dict[str, Any], answer: ActionResult) -> None:
    """Cuts the one list in `answer` to the page asked for and puts in the token for the next.

    Raises InvalidParameterValue for a token that was not given out.
    """
    size, token = params.get("MaxResults"), params.get("NextToken")
    result = answer.result
    if not isinstance(result, dict) or isinstance(answer, PaginatedResult):
        return
    if action in _PAGED_BY_MOTO or not action.startswith("Describe") or (size is None and token is None):
        return
    names = [name for name, value in result.items() if isinstance(value, list)]
    if len(names) != 1:
        return
    start = _start(token)
    items = result[names[0]]
    end = start + int(size) if size is not None else len(items)
    result[names[0]] = items[start:end]
    result["NextToken"] = _token(end) if end < len(items) else None


def _token(start: int) -> str:
    return base64.urlsafe_b64encode(f"from:{start}".encode()).decode()


def _start(token: str | None) -> int:
    if token is None:
        return 0
    try:
        word, _, number = base64.urlsafe_b64decode(token).decode().partition(":")
        if word == "from":
            return int(number)
    except (binascii.Error, ValueError):
        pass
    raise EC2ClientError("InvalidParameterValue", f"Invalid value '{token}' for nextToken")
