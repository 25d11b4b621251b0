"""What the ledger remembers and what the checks found, as tables and as JSON documents."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from engine.change import Entry
from engine.lab import Use
from engine.ledger import Event
from engine.render.paint import PLAIN, Paint, columns, counted, shorten
from engine.render.values import as_data, compact


@dataclass(frozen=True)
class Ties:
    """What a lab uses of others, and who uses it."""

    uses: Sequence[Use] = ()
    users: Mapping[str, Use] = field(default_factory=dict)


def show_text(
    lab: str,
    entries: Sequence[Entry],
    ties: Ties | None = None,
    *,
    paint: Paint = PLAIN,
    verbose: bool = False,
) -> str:
    """Everything the ledger has of a lab, one line each; with `verbose` what was last read of each."""
    ties = ties or Ties()
    if not entries:
        nothing = f"{lab} has made nothing, or everything it made is gone."
        return "\n".join([nothing, *_ties(ties)])
    ordered = _by_host(entries)
    rows = [(("  " if one.host else "") + one.address, one.kind, _told(one)) for one in ordered]
    lines = columns([("address", "kind", "id"), *rows])
    told = [paint(lines[0], "bold")]
    host = None
    for entry, line in zip(ordered, lines[1:], strict=True):
        if entry.host != host:
            host = entry.host
            told.append(paint(f"on {host}", "dim"))
        told.append(line)
        if verbose:
            told += columns(
                [(name, shorten(compact(value), 100)) for name, value in entry.outputs.items()], indent=4
            )
    told += ["", f"{counted(len(entries), 'resource')} in {lab}.", *_ties(ties)]
    return "\n".join(told)


def _ties(ties: Ties) -> Iterator[str]:
    yield from (f"Uses {use.lab}{_what(use)}." for use in ties.uses)
    yield from (f"Used by {user}{_what(use)}." for user, use in ties.users.items())


def _what(use: Use) -> str:
    parts = []
    for word, names in (("host", use.hosts), ("output", use.outputs)):
        if names:
            parts.append(f"{word}{'s' if len(names) > 1 else ''} {', '.join(sorted(names))}")
    return f": {'; '.join(parts)}" if parts else ""


def _by_host(entries: Sequence[Entry]) -> list[Entry]:
    """Things of the cloud first, then what lives on each host; otherwise in the order they were made."""
    hosts = list(dict.fromkeys([None, *(entry.host for entry in entries)]))
    return sorted(entries, key=lambda entry: hosts.index(entry.host))


def _told(entry: Entry) -> str:
    remarks = _remarks(entry)
    return (entry.id or "(not confirmed)") + (f" ({remarks})" if remarks else "")


def _remarks(entry: Entry) -> str:
    words = []
    if entry.adopted:
        words.append("taken on")
    if entry.retain:
        words.append("retained")
    if entry.protect:
        words.append("protected")
    if entry.surplus:
        words.append("a second one, goes with the next apply")
    return ", ".join(words)


def show_data(lab: str, entries: Sequence[Entry], ties: Ties | None = None) -> dict[str, Any]:
    """The document of `show --json`."""
    ties = ties or Ties()
    return {
        "lab": lab,
        "uses": [_use_data(use.lab, use) for use in ties.uses],
        "used_by": [_use_data(user, use) for user, use in ties.users.items()],
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


def _use_data(lab: str, use: Use) -> dict[str, Any]:
    return {"lab": lab, "outputs": sorted(use.outputs), "hosts": sorted(use.hosts)}


def history_text(events: Sequence[Event], *, paint: Paint = PLAIN) -> str:
    """A lab's history as lines, runs set apart from each other."""
    if not events:
        return "Nothing has been done yet."
    width = max((len(event.address) for event in events if event.address), default=0)
    lines: list[str] = []
    run = None
    for event in events:
        if event.run != run and run is not None:
            lines.append("")
        run = event.run
        lines.append(_event(event, width, paint))
    return "\n".join(lines)


def _event(event: Event, width: int, paint: Paint) -> str:
    at = event.at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    colour = {"failed": "red", "done": "green"}.get(event.outcome, "dim")
    if event.address is None:
        return f"{at}  {_run_line(event, paint)}"
    cells = f"{at}    {event.verb:<7} {event.address:<{width}}  {paint(event.outcome, colour)}"
    if not event.detail or event.outcome != "failed":
        return cells
    first, *more = event.detail.splitlines()
    return "\n".join([f"{cells}  {first}", *(f"        {line}" for line in more)])


def _run_line(event: Event, paint: Paint) -> str:
    """How a run began or ended: `apply started: 9 to create  (apply-1a2b3c4d)`."""
    word = event.run.partition("-")[0] or "run"
    if event.verb == "run":
        told = f": {event.detail}" if event.detail else ""
        return f"{paint(f'{word} {event.outcome}', 'bold')}{told}  {paint(f'({event.run})', 'dim')}"
    if event.verb == "use":
        return paint(event.detail, "bold")
    detail = f", {event.detail}" if event.detail else ""
    return paint(f"{word} ended: {event.outcome}{detail}", "bold")


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


def checks_text(results: Sequence[Mapping[str, Any]], *, paint: Paint = PLAIN, width: int = 80) -> str:
    """A table of checks: what passed, what did not and why; what is too wide stands on lines of its own."""
    if not results:
        return "The playbook has no checks."
    pad = max(len(str(item["name"])) for item in results)
    lines = [line for item in results for line in _check(item, pad, width, paint)]
    failed = sum(not item["passed"] for item in results)
    words = f"{failed} of {counted(len(results), 'check')} failed." if failed else _all_passed(len(results))
    return "\n".join([*lines, "", paint(words, "red" if failed else "green")])


def _check(item: Mapping[str, Any], pad: int, width: int, paint: Paint) -> list[str]:
    mark = paint("passed", "green") if item["passed"] else paint("FAILED", "red")
    name, detail = str(item["name"]), str(item["detail"])
    if len("passed") + 2 + pad + 2 + len(detail) <= width:
        return [f"{mark}  {name.ljust(pad)}  {detail}"]
    return [f"{mark}  {name}", *textwrap.wrap(detail, width, initial_indent=" " * 8,
            subsequent_indent=" " * 8, break_long_words=False, break_on_hyphens=False)]  # fmt: skip


def _all_passed(number: int) -> str:
    return "The check passed." if number == 1 else f"All {number} checks passed."
