"""What databases cost: AWS's on-demand prices for MySQL and PostgreSQL in us-east-1, in USD, without taxes.

From aws.amazon.com/rds/pricing. Oracle and SQL Server cost more by their licences.
"""

from __future__ import annotations

from typing import Any, Final

_HOURS_A_MONTH: Final = 730.0
_CLASSES: Final = {
    "db.t3.micro": 0.017,
    "db.t3.small": 0.034,
    "db.t3.medium": 0.068,
    "db.t3.large": 0.136,
    "db.t4g.micro": 0.016,
    "db.t4g.small": 0.032,
    "db.t4g.medium": 0.065,
    "db.t4g.large": 0.129,
    "db.m5.large": 0.171,
    "db.m5.xlarge": 0.342,
    "db.m6g.large": 0.152,
    "db.m6g.xlarge": 0.304,
    "db.m6i.large": 0.171,
    "db.m7g.large": 0.168,
    "db.r5.large": 0.24,
    "db.r6g.large": 0.215,
}
"""USD per hour."""
_STORAGE: Final = {"gp2": 0.115, "gp3": 0.115, "io1": 0.125, "io2": 0.125, "standard": 0.10}
"""USD per GB and month."""


def hourly(name: Any, gib: Any, storage: Any, twice: Any) -> float | None:
    """USD per hour for a class and its storage; `twice` for one that stands by. None where not known."""
    if name not in _CLASSES or storage not in _STORAGE or not isinstance(gib, int):
        return None
    one = _CLASSES[name] + gib * _STORAGE[storage] / _HOURS_A_MONTH
    return one * 2 if twice is True else one
