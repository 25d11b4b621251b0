"""Whose turn it is: steps whose needs are done, in the schedule's order, and on each host one at a time."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping

from engine.change import Step


class Turns:
    """The steps of a schedule that have not begun. `schedule` has for each those that must wait for it."""

    def __init__(self, schedule: Mapping[Step, Collection[Step]]) -> None:
        self._schedule = schedule
        self._steps = list(schedule)
        self._order = {step: at for at, step in enumerate(self._steps)}
        self._waits_for = dict.fromkeys(schedule, 0)
        for step in schedule:
            for following in schedule[step]:
                self._waits_for[following] += 1
        self._ready = [self._order[step] for step, count in self._waits_for.items() if count == 0]
        heapq.heapify(self._ready)
        self._busy: set[str] = set()
        """Hosts on which a step has begun and not ended."""
        self._blocked: dict[str, list[int]] = {}
        """By busy host, what is ready but for that."""

    def next(self) -> Step | None:
        """The step that may begin now; None where there is none."""
        while self._ready:
            step = self._steps[self._ready[0]]
            host = busy_host(step)
            if host is None or host not in self._busy:
                return step
            heapq.heappush(self._blocked.setdefault(host, []), heapq.heappop(self._ready))
        return None

    def begin(self, step: Step) -> None:
        """The step that `next` gave begins."""
        heapq.heappop(self._ready)
        host = busy_host(step)
        if host is not None:
            self._busy.add(host)

    def end(self, step: Step, *, done: bool) -> None:
        """The step has ended; only where it is `done` may what waits for it begin."""
        host = busy_host(step)
        if host is not None:
            self._busy.discard(host)
            if self._blocked.get(host):
                heapq.heappush(self._ready, heapq.heappop(self._blocked[host]))
        if not done:
            return
        for following in self._schedule[step]:
            self._waits_for[following] -= 1
            if self._waits_for[following] == 0:
                heapq.heappush(self._ready, self._order[following])

    def blocked_on(self, host: str) -> Step | None:
        """The first step that only waits for what runs on the host to end."""
        waiting = self._blocked.get(host)
        return self._steps[waiting[0]] if waiting else None


def busy_host(step: Step) -> str | None:
    """The host that the step keeps busy.

    Scripts on one host run in turn, so others need not wait for a slot.
    """
    if step.verb in ("adopt", "forget"):
        return None
    if step.verb == "delete":
        return step.change.there.entry.host if step.change.there else None
    return step.change.declared.host if step.change.declared else None
