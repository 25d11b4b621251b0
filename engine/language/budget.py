"""How much one template may do: every loop, call and text is paid for, so that none can fill the machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from jinja2.exceptions import SecurityError

MOST: Final = 20_000_000
"""What one template may spend: a character of text costs 1."""
ITEM: Final = 10
"""What an item of a list or mapping costs."""
ROUND: Final = 100
"""What one round of a loop costs."""
CALL: Final = 200
"""What calling a macro, method or function costs."""


class Budget:
    """What is left for one evaluation of one template."""

    def __init__(self) -> None:
        self.left = MOST

    def spend(self, cost: int) -> None:
        """Take `cost` off what is left. Raises SecurityError where it is not enough."""
        self.left -= cost
        if self.left < 0:
            raise SecurityError("it does too much: loops or texts as long as these belong in a program")

    def weigh(self, value: Any) -> None:
        """Pay for `value` with all that is in it, as often as it is in it: that is what showing it takes."""
        left = [value]
        while left:
            item = left.pop()
            if isinstance(item, str | bytes):
                self.spend(len(item))
            elif isinstance(item, Mapping):
                self.spend(ITEM * len(item))
                left += item.keys()
                left += item.values()
            elif isinstance(item, list | tuple | set | frozenset):
                self.spend(ITEM * len(item))
                left += item
            elif isinstance(item, int):
                self.spend(item.bit_length() // 3)


def product(*lengths: int) -> int:
    """What a text costs that one text makes of others by repeating them."""
    made = 1
    for length in lengths:
        made *= max(length, 1)
    return made
