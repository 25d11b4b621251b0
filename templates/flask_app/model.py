"""A small real model: the chance of admission by a linear regression, its coefficients in model.json."""

from __future__ import annotations

import json
import math
from pathlib import Path

MODEL = json.loads(Path(__file__).with_name("model.json").read_text("utf-8"))


class BadInput(ValueError):
    """What is wrong with the applicant's numbers, in words."""


def read(given: object) -> list[float]:
    """The model's inputs, in its order. Raises BadInput with everything that is wrong."""
    if not isinstance(given, dict):
        raise BadInput("send a JSON object such as " + json.dumps(example()))
    wrong, values = [], []
    for feature in MODEL["features"]:
        name = feature["name"]
        value = _number(given.get(name))
        if name not in given:
            wrong.append(f"{name} is missing: {feature['what']}")
        elif value is None or not feature["from"] <= value <= feature["to"]:
            wrong.append(f"{name} must be {feature['what']}, not {given[name]!r}")
        else:
            values.append(value)
    names = [feature["name"] for feature in MODEL["features"]]
    wrong += [f"{name} is not known; known are {', '.join(names)}" for name in given if name not in names]
    if wrong:
        raise BadInput("; ".join(wrong))
    return values


def _number(value: object) -> float | None:
    if isinstance(value, str):
        words = {"yes": 1.0, "no": 0.0}
        if value.strip().lower() in words:
            return words[value.strip().lower()]
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, (int, float)) and math.isfinite(value):
        return float(value)
    return None


def predict(given: object) -> dict[str, float]:
    """The chance of admission, 0 to 1. Raises BadInput."""
    values = read(given)
    weights = [feature["coefficient"] for feature in MODEL["features"]]
    chance = MODEL["intercept"] + sum(weight * value for weight, value in zip(weights, values, strict=True))
    return {"chance_of_admission": round(min(max(chance, 0.0), 1.0), 4)}


def example() -> dict[str, object]:
    """An applicant."""
    return {feature["name"]: feature["example"] for feature in MODEL["features"]}
