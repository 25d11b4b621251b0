"""A plan as text (design §5) and as the JSON document that programs read."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from engine.change import Change, FieldChange, Plan
from engine.on_host import OnHost
from engine.render.paint import PLAIN, Paint, columns, counted, shorten
from engine.render.values import SENSITIVE, as_data, compact, lines_of
from engine.resource import plain

_SYMBOLS = {"create": "+", "update": "~", "replace": "-/+", "delete": "-", "keep": " "}
_COLOURS = {"create": "green", "update": "yellow", "replace": "magenta", "delete": "red", "keep": "dim"}
_WIDE = 10_000


def plan_text(
    plan: Plan, *, paint: Paint = PLAIN, verbose: bool = False, width: int = 80, destroy: bool = False
) -> str:
    """The plan for people: one block a change, then what it sums up to and what it costs.

    `destroy` says that it is the plan of destroying the lab, `width` is in characters; with `verbose`
    values are not cut and unchanged resources are listed.
    """
    shown = [change for change in plan.changes if _worth_showing(change, verbose)]
    room = _WIDE if verbose else width
    blocks = ["\n".join(_block(change, paint, room, verbose, destroy)) for change in shown]
    return "\n".join([*_spaced(blocks, shown), *_tail(plan, paint, verbose, bool(blocks), destroy)])


def _worth_showing(change: Change, verbose: bool) -> bool:
    silent = change.action == "keep" and not change.adopts and not change.forgets and not change.looks_up
    return verbose or not silent or bool(change.notes)


def _spaced(blocks: Sequence[str], shown: Sequence[Change]) -> Iterator[str]:
    """Blocks of several lines stand apart, runs of one-line blocks stand together."""
    for at, block in enumerate(blocks):
        if at and ("\n" in block or "\n" in blocks[at - 1]):
            yield ""
        yield block


def _tail(plan: Plan, paint: Paint, verbose: bool, blocks: bool, destroy: bool) -> Iterator[str]:
    if blocks:
        yield ""
    for note in plan.notes:
        yield f"Note: {note}"
    kept = sum(not _worth_showing(change, verbose) and not change.is_lookup for change in plan.changes)
    if kept and plan.pending:
        words = ("resource stays", "resources stay") if destroy else ("resource is", "resources are")
        yield paint(f"{counted(kept, *words)}{'' if destroy else ' as wanted'} (-v lists them).", "dim")
    if destroy and not plan.pending:
        yield paint(f"No changes. Nothing of {plan.lab} is there to destroy.", "bold")
        return
    yield paint(summary_line(plan), "bold")
    yield from cost_lines(plan)


def summary_line(plan: Plan) -> str:
    """`Plan: 9 to add, 0 to change, 0 to destroy.`, or that there is nothing to do."""
    adopted = sum(change.adopts for change in plan.changes)
    taken = f" {adopted} to take on as found." if adopted else ""
    if not plan.pending:
        unread = sum(
            change.there is not None and change.there.unreadable is not None for change in plan.changes
        )
        doubt = f" as far as it can be read: {counted(unread, 'resource')} cannot be" if unread else ""
        return f"No changes. {plan.lab} matches the playbook{doubt}.{taken}"
    replaced = plan.count("replace")
    add, destroy = plan.count("create") + replaced, plan.count("delete") + replaced
    again = f" {replaced} of them replaced." if replaced else ""
    return f"Plan: {add} to add, {plan.count('update')} to change, {destroy} to destroy.{again}{taken}"


def cost_lines(plan: Plan) -> Iterator[str]:
    """What the lab costs an hour once the plan is applied; nothing where all of it is free."""
    staying = [change for change in plan.changes if change.action != "delete"]
    hourly = sum(change.hourly or 0.0 for change in staying)
    unpriced = [change.address for change in staying if change.hourly is None]
    if 0 < hourly < 0.00005:
        yield "Cost once applied: less than 0.01 USD a day."
    elif hourly:
        yield f"Cost once applied: about {hourly:.4f} USD an hour, {hourly * 24:.2f} USD a day."
    if unpriced:
        yield f"Price unknown: {', '.join(unpriced)}."


def _block(change: Change, paint: Paint, width: int, verbose: bool, destroy: bool) -> Iterator[str]:
    colour = _COLOURS[change.action]
    symbol = _SYMBOLS[change.action]
    if change.action == "keep":
        symbol = "=" if change.adopts else "." if change.forgets else "?" if change.looks_up else symbol
    words, notes = _why(change, destroy), list(change.notes)
    if not words and symbol == ".":
        words = notes.pop(0) if notes else "is only forgotten"
    elif not words and symbol == "=":
        words = f"is taken on as found ({notes.pop(0)})" if notes else "is taken on as found"
    elif not words and symbol == "?":
        words = "is looked up during apply"
    head = f"{symbol.rjust(3)} {change.address} {change.kind}"
    painted = f"{paint(symbol.rjust(3), colour)} {paint(change.address, 'bold')} {change.kind}"
    # The cause is the plan's most useful word, so it is never cut.
    first, *more = _wrapped(words, width, taken=len(head) + 2)
    yield f"{painted}: {first}" if words else painted
    yield from more
    for note in notes:
        first, *more = _wrapped(f"({note})", width, taken=6)
        yield from (paint(line, "dim") for line in ("      " + first, *more))
    yield from _fields(change, paint, width, verbose)


def _wrapped(text: str, width: int, *, taken: int) -> list[str]:
    """`text` broken between words, after `taken` characters on the first line and indented on the others."""
    lines = textwrap.wrap(text, width, initial_indent=" " * taken, subsequent_indent=" " * 6,
                          break_long_words=False, break_on_hyphens=False)  # fmt: skip
    return [lines[0][taken:], *lines[1:]] if lines else [""]


def _why(change: Change, destroy: bool) -> str:
    """The cause; where a whole lab is destroyed it is the same for all, and goes without saying."""
    if change.action != "delete" or change.goes_with is None:
        return "" if destroy and change.action in ("delete", "keep") else change.cause
    with_host = f"goes with {change.goes_with}"
    return with_host if destroy or not change.cause else f"{change.cause}, {with_host}"


def _fields(change: Change, paint: Paint, width: int, verbose: bool) -> Iterator[str]:
    if change.action in ("delete", "keep"):
        return
    also = _told(change)
    pad = min(max((len(item.name) for item in (*also, *change.fields)), default=0), 24)
    for item in also:
        yield from _created(item, pad, paint, width, verbose)
    for item in change.fields:
        if change.action == "create" or (change.action == "replace" and not _differs(item)):
            if change.action == "create" or verbose:
                yield from _created(item, pad, paint, width, verbose)
        else:
            yield from _changed(item, pad, paint, width)


def _told(change: Change) -> tuple[FieldChange, ...]:
    """The fields that nobody compares and a reader wants to see (what a command runs)."""
    wanted = change.wanted
    if change.action in ("delete", "keep") or not isinstance(wanted, OnHost):
        return ()
    there = {item.name for item in change.fields}
    hide = change.declared is not None and change.declared.no_log
    return tuple(
        FieldChange(name, None, None, None if hide else plain(getattr(wanted, name)), secret=hide)
        for name in wanted.shown_in_plans
        if name not in there
    )


def _differs(item: FieldChange) -> bool:
    return item.secret or item.replaces or bool(item.is_ != item.wanted)


def _created(item: FieldChange, pad: int, paint: Paint, width: int, verbose: bool) -> Iterator[str]:
    head = f"      {item.name.ljust(pad)}  "
    lines = None if item.secret else lines_of(item.wanted)
    if not item.secret and _listed(item.wanted, width - len(head)):
        yield head.rstrip()
        yield from (f"        {shorten('- ' + compact(one, top=False), width - 8)}" for one in item.wanted)
    elif lines is None:
        text = SENSITIVE if item.secret else _wanted(item)
        yield head + shorten(text, max(width - len(head), 20))
    elif verbose:
        yield head.rstrip()
        yield from (f"        {paint('+ ' + line, 'green')}" for line in lines)
    else:
        rest = f" … ({len(lines)} lines)"
        yield head + shorten(lines[0], max(width - len(head) - len(rest), 20)) + rest


def _listed(value: Any, room: int) -> bool:
    """Whether a value reads better with one line for each of its items."""
    return isinstance(value, list) and len(value) > 1 and len(compact(value)) > room


def _changed(item: FieldChange, pad: int, paint: Paint, width: int) -> Iterator[str]:
    head = f"      {item.name.ljust(pad)}  "
    forces = paint("  # forces replacement", "magenta") if item.replaces else ""
    pieces = None if item.secret else _pieces(item.is_, item.wanted)
    if pieces is not None:
        yield head.rstrip() + forces
        for sign, text in pieces:
            colour = {"+": "green", "-": "red"}.get(sign, "dim")
            yield "        " + paint(shorten(f"{sign} {text}", max(width - 8, 20)), colour)
        if _drifted(item) and _short(item.was):
            yield paint(f"        was {compact(item.was)} when last applied", "dim")
        return
    yield head + _words(item) + forces


def _words(item: FieldChange) -> str:
    if item.secret:
        return f"{SENSITIVE} → {SENSITIVE}"
    if _drifted(item):
        return f"was {compact(item.was)}, is {compact(item.is_)}, wanted {_wanted(item)}"
    return f"{compact(item.is_)} → {_wanted(item)}"


def _wanted(item: FieldChange) -> str:
    return compact(item.wanted) + (f" ({item.alias})" if item.alias else "")


def _drifted(item: FieldChange) -> bool:
    return item.was is not None and bool(item.was != item.is_)


def _short(value: Any) -> bool:
    return lines_of(value) is None and len(compact(value)) <= 60


def _pieces(there: Any, wanted: Any) -> list[tuple[str, str]] | None:
    """The difference of two texts, lists or mappings piece by piece; None where one line says it better."""
    if lines_of(there) is not None or lines_of(wanted) is not None:
        return _line_diff(there, wanted)
    if isinstance(there, dict) and isinstance(wanted, dict):
        return _mapping_diff(there, wanted)
    if not isinstance(there, list) or not isinstance(wanted, list):
        return None
    if len(compact(there)) + len(compact(wanted)) < 40:
        return None
    gone = [("-", compact(item, top=False)) for item in there if item not in wanted]
    come = [("+", compact(item, top=False)) for item in wanted if item not in there]
    return gone + come or None


def _mapping_diff(there: dict[str, Any], wanted: dict[str, Any]) -> list[tuple[str, str]]:
    found = []
    for key in [*there, *(key for key in wanted if key not in there)]:
        if there.get(key) == wanted.get(key) and (key in there) == (key in wanted):
            continue
        if key in there:
            found.append(("-", f"{key}: {compact(there[key], top=False)}"))
        if key in wanted:
            found.append(("+", f"{key}: {compact(wanted[key], top=False)}"))
    return found


def _line_diff(there: Any, wanted: Any) -> list[tuple[str, str]] | None:
    if not all(isinstance(side, str) or side is None for side in (there, wanted)):
        return None
    old, new = (there or "").splitlines(), (wanted or "").splitlines()
    if old == new:
        return [("~", "only the line break at the end differs")]
    found = []
    for line in list(difflib.unified_diff(old, new, n=1, lineterm=""))[2:]:
        found.append(("…", "") if line.startswith("@@") else (line[0], line[1:]))
    return found[1:] if found and found[0][0] == "…" else found


def plan_data(plan: Plan) -> dict[str, Any]:
    """The plan as the document that `plan --json` gives; keeps included, secrets left out."""
    return {
        "format": 1,
        "lab": plan.lab,
        "changes": [_change_data(change) for change in plan.changes],
        "summary": {a: plan.count(a) for a in ("create", "update", "replace", "delete", "keep")},
        "notes": list(plan.notes),
    }


def _change_data(change: Change) -> dict[str, Any]:
    return {
        "address": change.address,
        "kind": change.kind,
        "action": change.action,
        "cause": change.cause,
        "fields": [_field_data(item) for item in (*_told(change), *change.fields)],
        "adopts": change.adopts,
        "notes": list(change.notes),
        "hourly_usd": change.hourly,
    }


def _field_data(item: FieldChange) -> dict[str, Any]:
    def side(value: Any) -> Any:
        return {"secret": True} if item.secret and value is not None else as_data(value)

    return {
        "name": item.name,
        "was": side(item.was),
        "is": side(item.is_),
        "wanted": side(item.wanted),
        "replaces": item.replaces,
    }


def drift_text(plan: Plan, *, paint: Paint = PLAIN) -> str:
    """What has changed outside labctl since the last apply, and nothing of what the playbook changes."""
    rows = [line for change in plan.changes for line in _drift(change, paint)]
    if not rows:
        return paint(f"No drift. What {plan.lab} made is as it was left.", "bold")
    count = sum(not row.startswith("      ") for row in rows)
    changed = counted(count, "resource was", "resources were")
    return "\n".join([*rows, "", paint(f"Drift: {changed} changed outside labctl.", "bold")])


def _drift(change: Change, paint: Paint) -> list[str]:
    there = change.there
    if there is None or there.new:
        return []
    head = f"{paint('  ~', 'yellow')} {paint(change.address, 'bold')} {change.kind}"
    if there.unreadable is not None:
        return [f"{paint('  ?', 'yellow')} {change.address} {change.kind}: {there.unreadable}"]
    if there.values is None:
        return [f"{paint('  -', 'red')} {change.address} {change.kind}: was deleted outside labctl"]
    moved = [item for item in change.fields if _drifted(item) and not item.secret]
    if not moved:
        return []
    rows = [(item.name, f"was {compact(item.was)}, is {compact(item.is_)}") for item in moved]
    return [head, *columns(rows, indent=6)]
