"""Small graph questions over addresses, answered in linear time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping


def in_order(needs: Mapping[str, Iterable[str]]) -> list[str]:
    """The keys of `needs`, each after what it needs and else in their own order.

    A ring is cut where it closes.
    """
    done: dict[str, None] = {}
    begun: set[str] = set()
    for start in needs:
        stack = [] if start in begun else [(start, iter(needs[start]))]
        begun.add(start)
        while stack:
            address, rest = stack[-1]
            following = next((need for need in rest if need in needs and need not in begun), None)
            if following is None:
                done[address] = None
                stack.pop()
            else:
                begun.add(following)
                stack.append((following, iter(needs[following])))
    return list(done)


def closure(starts: Iterable[str], following: Callable[[str], Iterable[str]]) -> set[str]:
    """Everything reached from `starts` through `following`, `starts` included."""
    reached = set(starts)
    waiting = list(reached)
    while waiting:
        for address in following(waiting.pop()):
            if address not in reached:
                reached.add(address)
                waiting.append(address)
    return reached
