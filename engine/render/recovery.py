"""What was found of a lab whose ledger was lost, as text and as a JSON document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from engine.render.paint import PLAIN, Paint, columns, counted

if TYPE_CHECKING:
    from engine.change import Change
    from engine.recovering import Recovery


def recovery_text(item: Recovery, *, paint: Paint = PLAIN, verbose: bool = False) -> str:
    """A line for each thing found, what is one too many, and what the playbook does not have."""
    return "\n".join(_lines(item, paint, verbose))


def _lines(item: Recovery, paint: Paint, verbose: bool) -> Iterator[str]:
    lab, found = item.site.lab.name, item.found
    taken = _taken(item)
    if item.empty:
        yield paint(f"Nothing is there that the ledger of {lab} does not have.", "bold")
    else:
        rows = [(change.address, change.kind, _id(change)) for change in taken]
        rows += [
            (e.address, e.kind, f"{e.id} (one too many: the next apply deletes it)") for e in found.surplus
        ]
        head, *lines = columns([("address", "kind", "id"), *rows])
        yield paint(head, "bold")
        yield from lines
        yield ""
        yield paint(f"{counted(len(rows), 'thing')} of {lab} found that its ledger does not have.", "bold")
    if verbose and item.missing:
        yield f"Not found: {', '.join(item.missing)}."
    elif item.missing:
        yield f"{counted(len(item.missing), 'resource')} of the playbook not found (-v lists them)."
    if found.strangers:
        yield ""
        yield f"Tagged for {lab}, but not in its playbook (deleted instances show for another hour):"
        yield from columns([(address, arn) for address, arn in sorted(found.strangers)], indent=2)


def _taken(item: Recovery) -> list[Change]:
    return [change for change in item.plan.changes if change.adopts]


def _id(change: Change) -> str:
    entry = change.there.entry if change.there is not None else None
    if entry is None:
        return ""
    on = f" on {entry.host}" if entry.host else ""
    return f"{entry.id}{on}{' (was there before labctl)' if entry.adopted else ''}"


def recovery_data(item: Recovery) -> dict[str, Any]:
    """The document of `recover --json`."""
    entries = [change.there.entry for change in _taken(item) if change.there is not None]
    return {
        "lab": item.site.lab.name,
        "found": [
            {"address": e.address, "kind": e.kind, "id": e.id, "host": e.host, "adopted": e.adopted}
            for e in entries
        ],
        "surplus": [{"address": e.address, "kind": e.kind, "id": e.id} for e in item.found.surplus],
        "missing": list(item.missing),
        "strangers": [{"address": address, "arn": arn} for address, arn in item.found.strangers],
    }
