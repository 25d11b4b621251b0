"""What the ledger remembers and what the checks found, as tables and as JSON documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from engine.change import Entry
from engine.ledger import Event
from engine.render.paint import PLAIN, Paint, columns, counted, shorten
from engine.render.values import as_data, compact


def show_text(lab: str, entries: Sequence[Entry], *, paint: Paint = PLAIN, verbose: bool = False) -> str:
    """Everything the ledger has of a lab, one line each; with `verbose` what was last read of each."""
    if not entries:
        return f"{lab} has made nothing, or everything it made is gone."
    rows = [(entry.address, entry.kind, entry.id or "(not confirmed)", _remarks(entry)) for entry in entries]
    lines = columns([("address", "kind", "id", ""), *rows])
    told = [paint(lines[0], "bold")]
    for entry, line in zip(entries, lines[1:], strict=True):
        told.append(line)
        if verbose:
            told += columns(
                [(name, shorten(compact(value), 100)) for name, value in entry.outputs.items()], indent=4
            )
    told += ["", f"{counted(len(entries), 'resource')} in {lab}."]
    return "\n".join(told)


def _remarks(entry: Entry) -> str:
    words = []
    if entry.host:
        words.append(f"on {entry.host}")
    if entry.adopted:
        words.append("taken on, never deleted")
    if entry.retain:
        words.append("retained")
    if entry.protect:
        words.append("protected")
    if entry.surplus:
        words.append("a second one, goes with the next apply")
    return ", ".join(words)


def show_data(lab: str, entries: Sequence[Entry]) -> dict[str, Any]:
    """The document of `show --json`."""
    return {
        "lab": lab,
        "resources": [
            {
                "address": entry.address,
                "kind": entry.kind,
                "id": entry.id,
                "needs": [{"address": need.address, "sort": need.sort} for need in sorted(entry.needs)],
                "outputs": as_data(entry.outputs),
                "host": entry.host,
                "adopted": entry.adopted,
                "surplus": entry.surplus,
            }
            for entry in entries
        ],
    }


def history_text(events: Sequence[Event], *, paint: Paint = PLAIN) -> str:
    """A lab's history as lines, runs set apart from each other."""
    lines: list[str] = []
    run = None
    for event in events:
        if event.run != run and run is not None:
            lines.append("")
        run = event.run
        lines.append(_event(event, paint))
    return "\n".join(lines) if lines else "Nothing has been done yet."


def _event(event: Event, paint: Paint) -> str:
    at = event.at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    colour = {"failed": "red", "done": "green"}.get(event.outcome, "dim")
    if event.address is None:
        detail = f": {event.detail}" if event.detail else ""
        return f"{at}  {paint(f'{event.verb} {event.outcome}'.strip(), 'bold')}{detail}"
    detail = f"  {event.detail}" if event.detail else ""
    return f"{at}    {event.verb:<7} {event.address}  {paint(event.outcome, colour)}{detail}"


def history_data(events: Sequence[Event]) -> list[dict[str, Any]]:
    """The document of `history --json`, oldest first; times in ISO 8601."""
    return [
        {
            "at": _iso(event.at),
            "run": event.run,
            "address": event.address,
            "verb": event.verb,
            "outcome": event.outcome,
            "detail": event.detail,
        }
        for event in events
    ]


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def checks_text(results: Sequence[Mapping[str, Any]], *, paint: Paint = PLAIN) -> str:
    """A table of checks: what passed, what did not and why."""
    if not results:
        return "The playbook has no checks."
    rows = [
        ("passed" if item["passed"] else "FAILED", str(item["name"]), str(item["detail"])) for item in results
    ]
    lines = columns(rows)
    painted = [
        paint(line[:6], "green" if item["passed"] else "red") + line[6:]
        for line, item in zip(lines, results, strict=True)
    ]
    failed = sum(not item["passed"] for item in results)
    words = f"{failed} of {counted(len(results), 'check')} failed." if failed else _all_passed(len(results))
    return "\n".join([*painted, "", paint(words, "red" if failed else "green")])


def _all_passed(number: int) -> str:
    return "The check passed." if number == 1 else f"All {number} checks passed."
