"""The steps of a plan as a graph in Graphviz's language."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from engine.change import Step

_COLOURS = {
    "create": "#2e7d32",
    "update": "#b7950b",
    "delete": "#c0392b",
    "adopt": "#2471a3",
    "forget": "#7f8c8d",
    "look up": "#5b7b9a",
}


def graph_text(lab: str, steps: Sequence[Step], edges: Iterable[tuple[Step, Step]]) -> str:
    """A digraph; an arrow leads from a step to one that waits for it."""
    names = {step: f"s{at}" for at, step in enumerate(steps)}
    lines = [f"digraph {json.dumps(lab)} {{", "  rankdir=LR; node [shape=box, fontname=sans-serif];"]
    for step, name in names.items():
        label = json.dumps(f"{step.verb} {step.address}\n{step.change.kind}")
        lines.append(f'  {name} [label={label}, color="{_COLOURS[step.verb]}"];')
    lines += [f"  {names[first]} -> {names[second]};" for first, second in edges]
    return "\n".join([*lines, "}"])
