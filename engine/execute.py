"""schedule + World + Ledger -> Report: acts, and decides nothing.

The thread that calls `execute` owns the queue, the ledger and what is known of each resource; workers only
call verbs. Before a create its intent is durable, after every verb its result is.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, cast

from engine import verbs
from engine.blame import Blame
from engine.bookkeeping import Books, new_token
from engine.change import Action, Change, Entry, Outcome, Plan, Report, Step, StepEvent, StepResult
from engine.diff import WHOLE, digests
from engine.errors import Interrupted, Invalid, LabctlError, StepFailed
from engine.host_scripts import Answer
from engine.jobs import job_of
from engine.lab import Declared, Lab
from engine.ledger import Ledger
from engine.on_host import OnHost
from engine.resource import Resource, Values
from engine.slots import Slots
from engine.turns import Turns, busy_host
from engine.verbs import Did, Settled, Task
from engine.world import World

_LOG: Final = logging.getLogger(__name__)


def execute(
    schedule: Mapping[Step, Collection[Step]],
    plan: Plan,
    lab: Lab,
    world: World,
    ledger: Ledger,
    kinds: Mapping[str, type[Resource]],
    *,
    parallel: int,
    tell: Callable[[StepEvent], None],
    stop: threading.Event,
    run: str,
    patience: float = 60.0,
    slots: Slots | None = None,
    story: str = "",
) -> Report:
    """Carry out `schedule`, at most `parallel` steps at a time, and tell `tell` how each goes.

    `schedule` has for each step those that must wait for it.

    Labs that run side by side share `slots`, so that it is that many steps for all of them together.

    `story` says in the history what is carried out, and by whom.

    Once `stop` is set what is in flight is finished, what only waits for a host's first contact is given up,
    and nothing new started. What fails takes only what needs it with it. `patience` is how many seconds
    something done may take to show when read again. Raises the ledger's LabctlError where it cannot be
    written (nothing new is started then, what was in flight has ended).
    """
    slots = slots or Slots(parallel)
    return _Run(
        schedule, plan, lab, world, ledger, kinds, parallel, tell, stop, run, patience, slots, story
    ).go()


@dataclass
class _Run:
    schedule: Mapping[Step, Collection[Step]]
    plan: Plan
    lab: Lab
    world: World
    ledger: Ledger
    kinds: Mapping[str, type[Resource]]
    parallel: int
    tell: Callable[[StepEvent], None]
    stop: threading.Event
    run: str
    patience: float
    slots: Slots
    story: str
    results: dict[Step, StepResult] = field(default_factory=dict)
    inbox: queue.SimpleQueue[Callable[[], None]] = field(default_factory=queue.SimpleQueue)
    """What workers have to say; carried out by the thread that owns everything."""
    running: dict[Step, float] = field(default_factory=dict)
    wants_slot: bool = False
    """Whether a step is ready and only waits for those of other labs."""
    seen: dict[str, tuple[Step, Answer]] = field(default_factory=dict)
    """By host, the step that was to come next, and the look at its thing that came with the step before."""

    def __post_init__(self) -> None:
        self.books = Books(self.lab, self.world, self.ledger, self.kinds, self.run)
        self.turns = Turns(self.schedule)

    def go(self) -> Report:
        """Everything, from what is known at the start to the outputs at the end."""
        self._begin()
        pool = ThreadPoolExecutor(self.parallel, thread_name_prefix=f"labctl {self.lab.name}")
        self.pool = pool
        try:
            self._start_what_is_ready()
            while self.running or self.wants_slot:
                self.inbox.get()()
                self._start_what_is_ready()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for _ in self.running:
                self.slots.give()
        if self.books.broken is not None:
            raise self.books.broken
        return self._end()

    # -- beginning and end -----------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self.schedule:
            actions: tuple[Action, ...] = ("create", "update", "replace", "delete")
            counted = [(self.plan.count(action), action) for action in actions]
            counts = ", ".join(f"{count} to {action}" for count, action in counted if count)
            self.books.note(None, "run", "started", ": ".join(part for part in (self.story, counts) if part))
        self.books.open(self.plan.changes)

    def _end(self) -> Report:
        for step in self.schedule:
            if step not in self.results:
                self._settle_result(StepResult(step, "interrupted"))
        results = tuple(self.results[step] for step in self.schedule)
        interrupted = any(result.outcome == "interrupted" for result in results)
        failed = sum(result.outcome == "failed" for result in results)
        if self.schedule:
            outcome = "interrupted" if interrupted else "failed" if failed else "done"
            self.books.note(None, "end", outcome, f"{failed} failed" if failed else "")
        if self.books.broken is not None:
            raise self.books.broken
        return Report(self.lab.name, results, interrupted, self.books.outputs())

    # -- the queue -------------------------------------------------------------------------------------------

    def _start_what_is_ready(self) -> None:
        self.wants_slot = False
        while len(self.running) < self.parallel:
            if self.stop.is_set() or self.books.broken is not None:
                return
            step = self.turns.next()
            if step is None:
                return
            if not self.slots.take(self._wake):
                self.wants_slot = True
                return
            self.turns.begin(step)
            host = busy_host(step)
            if host is not None and self.seen.get(host, (step,))[0] != step:
                del self.seen[host]
            self._start(step)

    def _wake(self) -> None:
        """Called when another lab's step has ended."""
        self.inbox.put(_nothing)

    def _start(self, step: Step) -> None:
        self.running[step] = time.monotonic()
        self._tell("started", step)
        try:
            with Blame(step.change.kind):
                _STARTS[step.verb](self, step)
        except LabctlError as error:
            self._fail(step, error)

    def _work(self, step: Step, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Have a worker do `work`, and then carry on here with what it gave."""
        future = self.pool.submit(work)
        future.add_done_callback(lambda done: self.inbox.put(partial(self._worked, step, done, then)))

    def _worked(self, step: Step, future: Future[Any], then: Callable[[Any], None]) -> None:
        error = future.exception()
        try:
            if error is None:
                with Blame(step.change.kind):
                    then(future.result())
                return
        except LabctlError as failure:
            error = failure
        if isinstance(error, LabctlError):
            self._fail(step, error)
        elif isinstance(error, Exception):
            self._fail(step, self._unexpected(step, error))
        elif error is not None:
            raise error

    def _unexpected(self, step: Step, error: Exception) -> StepFailed:
        detail = "".join(traceback.format_exception(error))
        _LOG.info("%s of %s: %s", step.verb, step.address, self.books.masker.text(detail))
        said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return StepFailed(
            f"a bug in labctl's kind {step.change.kind}: {said}",
            "please report it, with the run's log, which has the details; running again is safe",
        )

    def _fail(self, step: Step, error: LabctlError) -> None:
        if isinstance(error, Invalid):
            problem = error.problems[0]
            message, remedy = "; ".join(problem.what for problem in error.problems), problem.remedy
        else:
            message, remedy = error.message, error.remedy
        if isinstance(error, Interrupted):
            self._finish(step, "interrupted", note=message)
            return
        self._finish(
            step, "failed", error=self.books.masker.text(message), remedy=self.books.masker.text(remedy)
        )

    def _finish(
        self, step: Step, outcome: Outcome, *, error: str = "", remedy: str = "", note: str = ""
    ) -> None:
        seconds = time.monotonic() - self.running.pop(step)
        self.slots.give()
        self.turns.end(step, done=outcome == "done")
        detail = error or note or step.change.cause
        self.books.note(step.address, step.verb, outcome, _first_paragraph(detail))
        self._settle_result(StepResult(step, outcome, seconds, error, remedy, note=note))
        if outcome == "failed":
            self._skip_what_follows(step)

    def _settle_result(self, result: StepResult) -> None:
        self.results[result.step] = result
        self._tell("ended", result.step, result=result)

    def _skip_what_follows(self, failed: Step) -> None:
        waiting = [failed]
        while waiting:
            for step in self.schedule[waiting.pop()]:
                if step not in self.results:
                    self._settle_result(StepResult(step, "skipped", because_of=failed.address))
                    waiting.append(step)

    def _tell(self, sort: Any, step: Step, text: str = "", result: StepResult | None = None) -> None:
        now = datetime.now(UTC)
        self.tell(StepEvent(sort, step.address, step.verb, step.change.kind, now, text, result))

    def _say(self, step: Step, text: str) -> None:
        """Called by workers."""
        masked = self.books.masker.text(text)
        self.inbox.put(lambda: self._tell("waiting", step, masked) if step in self.running else None)

    # -- creating --------------------------------------------------------------------------------------------

    def _start_create(self, step: Step) -> None:
        declared, resource = self._wish(step.change)
        old = step.change.there.entry if step.change.there is not None else None
        if step.change.action == "replace":
            # The old one is gone by now, or goes later; either way this is a new generation.
            old = None
        task = self._task(
            step, resource, old or Entry(declared.address, declared.kind.kind, "", host=declared.host)
        )
        seen = self.seen.pop(declared.host or "", None)
        if seen is not None:
            self._create_settled(step, task, old, verbs.settle_seen(task, seen[1]))
        elif verbs.must_settle(declared.kind, old):
            self._work(step, partial(verbs.settle, task), partial(self._create_settled, step, task, old))
        else:
            self._create(step, task, old)

    def _create_settled(self, step: Step, task: Task, old: Entry | None, settled: Settled) -> None:
        """What is there already is taken on and brought to the wish; else it is made."""
        if not settled.ids:
            self._create(step, task, old)
            return
        declared, resource = _declared(step.change), cast(Resource, task.resource)
        adopted = settled.adopted and not self._was_ours(step.change, settled.ids[0])
        entry = (
            old if old is not None and old.id is None else Entry(declared.address, declared.kind.kind, None)
        )
        entry = replace(entry, id=settled.ids[0], token=entry.token or new_token(), host=declared.host)
        entry = replace(entry, adopted=adopted, needs=declared.needs)
        if old is not None and old.token != entry.token:
            self.books.forget(old)
        self.books.record(entry)
        self.books.record_surplus(entry, settled.ids[1:])
        task = replace(task, entry=entry, there=settled.values)
        then = partial(self._made, step, resource, entry)
        if settled.values is not None and not task.changed():
            then(Did(entry.id, settled.values))
        else:
            self._change(step, partial(verbs.alter, id=settled.ids[0]), task, then)

    def _was_ours(self, change: Change, id: str) -> bool:
        """Whether the thing found on a host is what labctl had made there before."""
        there = change.there
        if there is None or there.found or change.goes_with is not None:
            return False
        return there.entry.id == id and not there.entry.adopted

    def _create(self, step: Step, task: Task, old: Entry | None) -> None:
        declared, resource = _declared(step.change), cast(Resource, task.resource)
        wish = digests(resource, self.ledger.key)
        again = old is not None and old.id is None and old.token and old.digests.get(WHOLE) == wish.get(WHOLE)
        token = old.token if old is not None and again else new_token()
        id = resource.natural_id() if isinstance(resource, OnHost) else None
        entry = Entry(
            declared.address,
            declared.kind.kind,
            id,
            token,
            resource.foreseen() or "",
            needs=declared.needs,
            host=declared.host,
            # One with an id is looked at by the next plan, which must not take wishes for deeds.
            digests=wish if id is None else {},
            set_fields=tuple(sorted(resource.model_fields_set)),
            tags=self.books.tags(declared),
            retain=declared.retain,
            protect=declared.protect,
            ssh=self.books.login(declared.address),
            made=time.time(),
        )
        if old is not None and not again:
            self.books.forget(old)
        if declared.kind.is_host:
            # One of this name that others deleted has left its host keys and connection behind.
            self.world.hosts.forget(declared.address)
        self.books.intend(entry)
        job = replace(task.world.job, token=token, foreseen=entry.foreseen)
        task = replace(task, entry=entry, world=self.world.on(job))
        self._change(step, verbs.make, task, partial(self._made, step, resource, entry))

    def _change(
        self, step: Step, verb: Callable[[Task], Did], task: Task, then: Callable[[Did], None]
    ) -> None:
        """Have a worker carry out `verb`; on a host, the look at what comes next there goes along."""
        host = busy_host(step)
        following = self._next_on(host) if host is not None and issubclass(task.kind, OnHost) else None
        if following is None or host is None:
            self._work(step, partial(verb, task), then)
            return
        next_step, look = following

        def keep(did: Did) -> None:
            if did.ahead is not None:
                self.seen[host] = (next_step, did.ahead)
            then(did)

        self._work(step, partial(verb, replace(task, ahead=look)), keep)

    def _next_on(self, host: str) -> tuple[Step, str] | None:
        """The create that waits for a host to be free, and the look that it begins with."""
        step = self.turns.blocked_on(host)
        if step is None or step.verb != "create":
            return None
        declared = _declared(step.change)
        try:
            with Blame(declared.kind.kind, step.address):
                _, resource = self._wish(step.change)
                look = verbs.look_ahead(
                    self._task(step, resource, Entry(step.address, declared.kind.kind, ""))
                )
        except LabctlError:
            return None  # its own turn will tell
        return None if look is None else (step, look)

    def _made(self, step: Step, resource: Resource, entry: Entry, did: Did) -> None:
        """Remember what a create or update has done."""
        if did.id is None:
            self.books.forget(entry)
            raise did.error or StepFailed("nothing was made")
        change = step.change
        if change.create_first and change.there is not None:
            self.books.record(replace(change.there.entry, surplus=True))
        at = time.time() if step.verb == "create" else entry.made
        confirmed = replace(entry, id=did.id, made=at)
        made = self.books.entry(_declared(change), resource, confirmed, did.values)
        if did.error is not None:
            made = self._as_failed(entry, made)
        self.books.record(made)
        self.books.record_surplus(made, did.surplus)
        self.books.learn(change, resource, did.values or {})
        self.books.saw(step.address, did.values or made.outputs)
        if did.error is not None:
            raise did.error
        self._finish(step, "done", note=self._surplus_note(did.surplus))

    def _as_failed(self, before: Entry, made: Entry) -> Entry:
        """What is remembered of a thing whose verb failed: its wishes count as not yet applied."""
        digests_before = {} if before.id is None else before.digests
        tags = tuple(sorted({*made.tags, *before.tags}))
        return replace(made, digests=digests_before, needs=made.needs | before.needs, tags=tags)

    def _surplus_note(self, ids: Iterable[str]) -> str:
        surplus = list(ids)
        if not surplus:
            return ""
        return f"{len(surplus) + 1} found under this address; the next apply deletes {', '.join(surplus)}"

    # -- updating, taking on ---------------------------------------------------------------------------------

    def _start_update(self, step: Step) -> None:
        _, resource = self._wish(step.change)
        there = step.change.there
        assert there is not None
        task = replace(self._task(step, resource, there.entry), there=there.values)
        if there.values is None and issubclass(task.kind, OnHost):
            self._work(step, partial(verbs.look, task), partial(self._update_looked, step, task))
        else:
            self._update(step, task)

    def _update_looked(self, step: Step, task: Task, values: Values | None) -> None:
        self._update(step, replace(task, there=values))

    def _update(self, step: Step, task: Task) -> None:
        declared, resource, entry = _declared(step.change), cast(Resource, task.resource), task.entry
        if step.change.adopts:
            entry = replace(entry, token=entry.token or new_token())
        # What it uses from now on must outlive it even if this is cut short.
        under_way = replace(entry, needs=entry.needs | declared.needs)
        if step.change.adopts or under_way != entry:
            self.books.record(under_way)
        then = partial(self._made, step, resource, entry)
        if task.there is not None and not task.changed():
            then(Did(entry.id, task.there))
        else:
            self._change(step, partial(verbs.alter, id=entry.id or ""), task, then)

    def _start_adopt(self, step: Step) -> None:
        change = step.change
        there = change.there
        if there is None or change.wanted is None:
            raise StepFailed("there is nothing to take on")
        entry = replace(there.entry, token=there.entry.token or new_token())
        self.books.record(self.books.entry(_declared(change), change.wanted, entry, there.values))
        self._finish(step, "done")

    # -- looking up ------------------------------------------------------------------------------------------

    def _start_look_up(self, step: Step) -> None:
        declared, resource = self._wish(step.change)
        task = self._task(step, resource, Entry(declared.address, declared.kind.kind, None))
        self._work(step, partial(resource.look_up, task.world), partial(self._looked_up, step, resource))

    def _looked_up(self, step: Step, resource: Resource, values: Values) -> None:
        self.books.learn(step.change, resource, values)
        self._finish(step, "done")

    # -- deleting, forgetting --------------------------------------------------------------------------------

    def _start_delete(self, step: Step) -> None:
        there = step.change.there
        assert there is not None
        task = replace(self._task(step, None, there.entry), there=there.values)
        self._work(step, partial(verbs.remove, task), partial(self._removed, step))

    def _removed(self, step: Step, _: None) -> None:
        self._start_forget(step)

    def _start_forget(self, step: Step) -> None:
        there = step.change.there
        assert there is not None
        self.books.let_go(step.address, there.entry, surplus=step.surplus)
        self._finish(step, "done")

    # -- what steps are made of ------------------------------------------------------------------------------

    def _wish(self, change: Change) -> tuple[Declared, Resource]:
        """The resource filled in with what is known now, and what it was declared as."""
        declared = _declared(change)
        return declared, self.books.wish(declared)

    def _task(self, step: Step, resource: Resource | None, entry: Entry) -> Task:
        kind = self.kinds[entry.kind] if resource is None else type(resource)
        host = entry.host if resource is None else _declared(step.change).host
        if host is not None:
            self.books.know_host(host)
        job = job_of(self.lab, step.address, token=entry.token, foreseen=entry.foreseen, host=host)
        job = replace(job, say=partial(self._say, step), stopped=self.stop.is_set)
        ignore = step.change.declared.ignore_changes if step.change.declared else frozenset()
        world = self.world.on(job)
        return Task(kind, world, self.ledger.key, entry, resource, ignore=ignore, patience=self.patience)


def _nothing() -> None:
    """Only ends a wait."""


def _declared(change: Change) -> Declared:
    assert change.declared is not None
    return change.declared


_STARTS: Final[Mapping[str, Callable[[_Run, Step], None]]] = {
    "create": _Run._start_create,
    "update": _Run._start_update,
    "delete": _Run._start_delete,
    "adopt": _Run._start_adopt,
    "forget": _Run._start_forget,
    "look up": _Run._start_look_up,
}


def _first_paragraph(text: str) -> str:
    return text.partition("\n\n")[0]
