"""Progress while steps run: live lines in a terminal, plain lines in a pipe, JSON where asked for."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from engine.cli.terminal import Terminal
from engine.render.paint import seconds, shorten
from engine.render.report import doing, event_data, event_line

if TYPE_CHECKING:
    from engine.change import StepEvent

_ROWS = 15
FINISHING = "finishing what is in flight… (^C again stops at once)"


class Progress(Protocol):
    """Hears of every step while an apply runs."""

    def tell(self, lab: str, event: StepEvent) -> None:
        """Something happened to a step of `lab`; called from several threads."""


class Lines:
    """A plain line for each thing that happens."""

    def __init__(self, terminal: Terminal, several: bool) -> None:
        self._terminal = terminal
        self._several = several

    def tell(self, lab: str, event: StepEvent) -> None:
        """Print it; of what only changes the ledger, no more than that it is done."""
        if _quiet(event) or (event.sort == "started" and event.verb in ("adopt", "forget")):
            return
        paint = self._terminal.message_paint
        self._terminal.say(event_line(event, paint=paint, lab=lab if self._several else ""))


def _quiet(event: StepEvent) -> bool:
    """Whether an event says no more than the report will: a step that was never started."""
    return event.result is not None and event.result.outcome == "interrupted"


class JsonLines:
    """A JSON object a line on stdout for each thing that happens."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._lock = threading.Lock()

    def tell(self, lab: str, event: StepEvent) -> None:
        """Print it."""
        with self._lock:
            self._terminal.json(event_data(event, lab), indent=None)


class Live:
    """One line for each running step, redrawn in place, above which steps that ended are listed."""

    def __init__(self, terminal: Terminal, several: bool, stop: threading.Event) -> None:
        from rich.console import Console
        from rich.live import Live as RichLive

        self._terminal = terminal
        self._several = several
        self._stop = stop
        self._lock = threading.Lock()
        self._running: dict[tuple[str, str, str], tuple[float, str, str]] = {}
        self._console = Console(file=sys.stderr, no_color=not terminal.message_paint.on, highlight=False)
        self._live = RichLive(
            get_renderable=self._lines, console=self._console, transient=True, refresh_per_second=8
        )

    def __enter__(self) -> Live:
        self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._live.__exit__(*error)

    def tell(self, lab: str, event: StepEvent) -> None:
        """Change the line of a running step, or list it as ended."""
        from rich.text import Text

        key = (lab, event.address, event.verb)
        name = f"{lab}: {event.address}" if self._several else event.address
        with self._lock:
            if event.result is None:
                began = self._running.get(key, (time.monotonic(), "", ""))[0]
                self._running[key] = (began, f"{name}  {doing(event.verb)}", event.text)
                return
            self._running.pop(key, None)
        if _quiet(event):
            return
        line = event_line(event, paint=self._terminal.message_paint, lab=lab if self._several else "")
        self._console.print(Text.from_ansi(self._terminal.masked(line)), soft_wrap=True)

    def _lines(self) -> Any:
        from rich.text import Text

        now = time.monotonic()
        with self._lock:
            running = list(self._running.values())
        width = self._console.width - 1
        lines = []
        for began, what, text in running[:_ROWS]:
            waiting = f"  {text}" if text else ""
            end = f"  {seconds(now - began)}"
            lines.append(shorten(self._terminal.masked(what + waiting), width - len(end)) + end)
        if len(running) > _ROWS:
            lines.append(f"and {len(running) - _ROWS} more")
        if self._stop.is_set():
            lines.append(FINISHING)
        return Text("\n".join(lines), style="dim")


@contextlib.contextmanager
def progress(terminal: Terminal, *, json: bool, several: bool, stop: threading.Event) -> Iterator[Progress]:
    """The progress that fits where messages go, with ^C taken care of: the first sets `stop`."""
    how: Progress
    with contextlib.ExitStack() as stack:
        if json:
            how = JsonLines(terminal)
        elif terminal.live:
            how = stack.enter_context(Live(terminal, several, stop))
        else:
            how = Lines(terminal, several)
        stack.enter_context(interrupts(stop, announce=not isinstance(how, Live)))
        yield how


@contextlib.contextmanager
def interrupts(
    stop: threading.Event, *, announce: bool, leave: Callable[[int], None] = os._exit
) -> Iterator[None]:
    """While open, the first ^C (or SIGTERM) sets `stop`, and a second one ends the process at once."""

    def hit(number: int, frame: FrameType | None) -> None:
        # Printing is not safe in a signal handler, a plain write is.
        if stop.is_set():
            words = "\x1b[?25h" if sys.stderr.isatty() else ""
            words += "\nStopped at once. Nothing is lost: run the same command again to go on.\n"
            os.write(2, words.encode())
            leave(130)
            return
        stop.set()
        if announce:
            os.write(2, f"\n{FINISHING}\n".encode())

    before = {number: signal.signal(number, hit) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        # Once interrupted, a late second ^C still leaves at once, without a traceback.
        for number, handler in before.items():
            if not stop.is_set():
                signal.signal(number, handler)
