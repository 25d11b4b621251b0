"""What apply and destroy say at their end."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from engine.cli.terminal import Terminal
from engine.errors import LabctlError
from engine.render.paint import columns, counted
from engine.render.report import outputs_text, report_data, report_text, roster_table
from engine.render.values import is_url

if TYPE_CHECKING:
    from engine.change import Change
    from engine.commands import Applied
    from engine.lab import Lab
    from engine.saved import Request

Results = Mapping[str, "Applied | LabctlError"]


def conclude_json(terminal: Terminal, results: Results, request: Request) -> None:
    """The report as one JSON object on a line; of several labs, one object that holds their reports."""
    reports = []
    for lab, item in results.items():
        if isinstance(item, LabctlError):
            reports.append({"event": "report", "format": 1, "lab": lab, "ok": False, "error": item.message})
            continue
        document = report_data(item.report, item.planned.site.lab.sensitive_outputs)
        reports.append({**document, "left": list(item.left)} if request.destroy else document)
    one = {"event": "report", "format": 1, "ok": all(item["ok"] for item in reports), "labs": reports}
    terminal.json(reports[0] if len(reports) == 1 else one, indent=None)


def conclude(terminal: Terminal, results: Results, request: Request) -> None:
    """Every lab's report, outputs and what to try next; for several a table."""
    for lab, item in results.items():
        if isinstance(item, LabctlError):
            terminal.say(f"\n{lab}")
            terminal.error(item)
        else:
            _one(terminal, item, request, alone=len(results) == 1)
    if len(results) > 1:
        reports = {
            lab: item.message if isinstance(item, LabctlError) else item.report
            for lab, item in results.items()
        }
        _say_way(terminal, [item for item in results.values() if not isinstance(item, LabctlError)])
        terminal.out("\n" + roster_table(reports, paint=terminal.paint))


def _one(terminal: Terminal, item: Applied, request: Request, *, alone: bool) -> None:
    report, lab = item.report, item.planned.site.lab
    if report.results:
        terminal.out("\n" + report_text(report, took=item.seconds, paint=terminal.paint))
    if not report.ok:
        terminal.say(f"\nTo go on where this ended: {again(item.planned.site.lab, request)}")
        return
    if request.destroy:
        _proof(terminal, item, request)
        return
    if lab.outputs:
        text = outputs_text(report.outputs, lab.sensitive_outputs, paint=terminal.paint)
        terminal.out(f"\nOutputs{'' if alone else f' of {lab.name}'}:\n{text}")
    if alone:
        _say_way(terminal, [item])
    if alone and report.results:
        terminal.say("\nNext:\n" + "\n".join(columns(_next(item), indent=2)))


def _say_way(terminal: Terminal, applied: Sequence[Applied]) -> None:
    """How the URLs among outputs are opened where the way there is a proxy."""
    proxies = {
        item.planned.site.access.proxy
        for item in applied
        if item.report.ok and any(is_url(value) for value in item.report.outputs.values())
    }
    for proxy in sorted(filter(None, proxies)):
        terminal.say(f"\nURLs are opened through the proxy: curl --proxy socks5h://{proxy} URL")


def again(lab: Lab, request: Request) -> str:
    """The command line that applies (or destroys) what `request` says."""
    from engine.commands import typed

    if lab.playbook is None:
        return shlex.join(["labctl", "destroy", lab.name])
    return typed("destroy" if request.destroy else "apply", lab, request)


def _proof(terminal: Terminal, item: Applied, request: Request) -> None:
    site = item.planned.site
    lab = site.lab.name
    if item.left:
        terminal.out(f"\nStill there although deleted: {', '.join(item.left)}. Run labctl destroy again.")
        return
    read = f"{counted(item.gone, 'thing')} of the cloud read again, all gone" if item.gone else ""
    entries = site.ledger.entries(lab)
    kept = [
        c for c in item.planned.plan.changes if (c.forgets or c.action == "delete") and _only_forgotten(c)
    ]
    for change in kept:
        terminal.out(
            f"Left there: {change.address} ({change.kind} {change.there.entry.id if change.there else ''})"
        )
    if entries:
        terminal.out(f"\nDone{f': {read}' if read else ''}.\n{_stay(len(entries))} of {lab}.")
        return
    told = "; ".join(part for part in (read, "the ledger is empty") if part)
    retained = any(change.there and change.there.entry.retain for change in kept)
    terminal.out(f"\nNothing {'else ' if retained else ''}of {lab} is left: {told}.")
    if not (request.only or request.skip):
        terminal.say("labctl history tells what was done.")


def _stay(number: int) -> str:
    return "There still is 1 resource" if number == 1 else f"There still are {number} resources"


def _only_forgotten(change: Change) -> bool:
    there = change.there
    if there is None or there.values is None or change.goes_with is not None:
        return False
    return there.entry.adopted or there.entry.retain or there.theirs is not None


def _next(item: Applied) -> list[tuple[str, str]]:
    lab = item.planned.site.lab
    rows = []
    if lab.checks:
        rows.append(("labctl check", "look at the result as a stranger would"))
    hosts = [d.address for d in lab.resources.values() if d.ssh is not None and d.kind.is_host]
    if hosts:
        rows.append((f"labctl ssh {hosts[-1]}", "log in"))
    if lab.outputs:
        rows.append(("labctl output", "these outputs again"))
    if lab.sensitive_outputs:
        rows.append((f"labctl output {min(lab.sensitive_outputs)}", "the sensitive one"))
    rows.append(("labctl plan", "what differs since then"))
    rows.append(("labctl destroy", "leave nothing behind"))
    return rows
