"""How an apply or destroy went: step by step while it runs, and summed up at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.change import Report, StepEvent, StepResult
from engine.render.paint import PLAIN, Paint, columns, seconds
from engine.render.values import SENSITIVE, as_data, compact

_DOING = {
    "create": ("creating", "created"),
    "update": ("updating", "updated"),
    "delete": ("deleting", "deleted"),
    "adopt": ("taking on", "taken on"),
    "forget": ("forgetting", "forgotten"),
    "look up": ("looking up", "looked up"),
}


def doing(verb: str) -> str:
    """The verb while it goes on: `creating`."""
    return _DOING[verb][0]


def event_line(event: StepEvent, *, paint: Paint = PLAIN, lab: str = "") -> str:
    """One plain line for one event of a step; `lab` goes in front where several labs run side by side."""
    name = f"{lab}: {event.address}" if lab else event.address
    if event.result is None:
        return f"{name}: {event.text or doing(event.verb) + '…'}"
    return ended_line(event.result, name, paint)


def ended_line(result: StepResult, name: str, paint: Paint) -> str:
    """`bastion: created in 12 s`, or why it was not."""
    verb = result.step.verb
    if result.outcome == "done" and result.step.change.goes_with:
        return f"{name}: {paint('gone', 'green')} with {result.step.change.goes_with}"
    if result.outcome == "done":
        return f"{name}: {paint(_DOING[verb][1], 'green')} in {seconds(result.seconds)}"
    if result.outcome == "skipped":
        return f"{name}: {paint('skipped', 'yellow')}{_because(result)}"
    if result.outcome == "interrupted":
        return f"{name}: {paint('not started', 'yellow')}"
    # The rest of a long message stands in the report at the end.
    return f"{name}: {paint(f'{verb} failed', 'red')}: {(result.error.splitlines() or [''])[0].rstrip(':')}"


def _because(result: StepResult) -> str:
    return f", because {result.because_of} failed" if result.because_of else ""


def report_text(report: Report, *, took: float | None = None, paint: Paint = PLAIN) -> str:
    """What was done, then every failed step with its remedy, then what was skipped and why."""
    blocks = [paint(_headline(report, took), "green" if report.ok else "red")]
    failed = [result for result in report.results if result.outcome == "failed"]
    blocks += ["\n".join(_failure(result, paint)) for result in failed]
    skipped = [result for result in report.results if result.outcome in ("skipped", "interrupted")]
    if skipped:
        rows = [(result.step.address, result.step.verb, _reason(result)) for result in skipped]
        blocks.append("\n".join(["Not done:", *columns(rows, indent=2)]))
    return "\n\n".join(blocks)


def _reason(result: StepResult) -> str:
    if result.outcome == "interrupted":
        return "interrupted before it started"
    return f"{result.because_of} failed" if result.because_of else result.error


def _headline(report: Report, took: float | None) -> str:
    counts = dict.fromkeys(("done", "failed", "skipped", "interrupted"), 0)
    for result in report.results:
        # A lookup that was answered has done nothing.
        counts[result.outcome] += result.step.verb != "look up" or result.outcome != "done"
    time = f" in {seconds(took)}" if took is not None else ""
    state = "interrupted" if report.interrupted else "complete" if report.ok else "not complete"
    told = [f"{counts['done']} done"]
    told += [f"{counts[name]} {word}" for name, word in (("failed", "failed"), ("skipped", "skipped"),
             ("interrupted", "not started")) if counts[name]]  # fmt: skip
    return f"{report.lab} {state}: {', '.join(told)}{time}."


def _failure(result: StepResult, paint: Paint) -> list[str]:
    first, *more = result.error.splitlines() or ["failed"]
    lines = [f"{paint(result.step.address, 'bold')} ({result.step.verb} failed): {first}"]
    lines += [f"  {line}" for line in more]
    lines += [f"  {line}" for line in result.remedy.splitlines()]
    return lines


def event_data(event: StepEvent, lab: str) -> dict[str, Any]:
    """One event as the JSON object that `apply --json` prints on a line."""
    data: dict[str, Any] = {
        "event": event.sort,
        "lab": lab,
        "address": event.address,
        "verb": event.verb,
        "kind": event.kind,
        "at": as_data(event.at),
    }
    if event.text:
        data["text"] = event.text
    if event.result is not None:
        data |= _result_data(event.result)
    return data


def _result_data(result: StepResult) -> dict[str, Any]:
    return {
        "outcome": result.outcome,
        "seconds": round(result.seconds, 3),
        "error": result.error or None,
        "remedy": result.remedy or None,
        "because_of": result.because_of,
    }


def report_data(report: Report, sensitive: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The report as the JSON object that ends `apply --json`; outputs in `sensitive` are not told."""
    return {
        "event": "report",
        "format": 1,
        "lab": report.lab,
        "ok": report.ok,
        "interrupted": report.interrupted,
        "steps": [
            {"address": result.step.address, "verb": result.step.verb, **_result_data(result)}
            for result in report.results
        ],
        "outputs": {
            name: {"secret": True} if name in sensitive else as_data(value)
            for name, value in report.outputs.items()
        },
    }


def outputs_text(
    outputs: Mapping[str, Any], sensitive: frozenset[str] = frozenset(), *, paint: Paint = PLAIN
) -> str:
    """Outputs as aligned lines, those in `sensitive` masked."""
    rows = [(name, SENSITIVE if name in sensitive else compact(value)) for name, value in outputs.items()]
    return "\n".join(columns(rows, indent=2))


def roster_table(reports: Mapping[str, Report | str], *, paint: Paint = PLAIN) -> str:
    """One line a lab: how it ended, or the words of what kept it from starting."""
    rows: list[Sequence[str]] = [("lab", "ended", "done", "failed", "not done")]
    for lab, report in reports.items():
        if isinstance(report, str):
            rows.append((lab, "failed", "0", "-", report.splitlines()[0]))
            continue
        outcomes = [result.outcome for result in report.results]
        rows.append(
            (
                lab,
                "interrupted" if report.interrupted else "ok" if report.ok else "failed",
                str(outcomes.count("done")),
                str(outcomes.count("failed")),
                str(outcomes.count("skipped") + outcomes.count("interrupted")),
            )
        )
    head, *rest = columns(rows)
    return "\n".join([paint(head, "bold"), *rest])
