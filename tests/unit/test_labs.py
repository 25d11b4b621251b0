"""docs/labs.md lists every playbook and names what is in it; playbooks say at their top what they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.kinds import kinds
from engine.sandbox.aws.resource_types import schema

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "labs.md").read_text("utf-8")
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
LINK = re.compile(r"\]\(\.\./playbooks/(\w+)\.yml\)")
NAME = re.compile(r"[a-z][a-z0-9_]*")
NO_NAMES = {"aws", "boto3", "attach", "exit", "website", "algorithm", "region"}
"""Words in `this type` that are neither names of a playbook nor kinds."""


def ids(path: Path) -> str:
    return path.stem


@cache
def playbook(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "playbooks" / f"{name}.yml").read_text("utf-8"))
    return document


def declared(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for item in items:
        if "block" in item:
            yield from declared(item["block"])
        else:
            yield item


@cache
def names_in(name: str) -> frozenset[str]:
    """What a playbook has names for: resources, variables, outputs, checks."""
    document = playbook(name)
    checks = {str(check["name"]) for check in document.get("checks", ())}
    resources = {str(each["name"]) for each in declared(document["resources"])}
    return frozenset({*document.get("vars", {}), *document.get("outputs", {}), *checks, *resources})


@cache
def fields_in(name: str) -> frozenset[str]:
    """The fields that a playbook's resources are given."""
    return frozenset(
        str(field)
        for each in declared(playbook(name)["resources"])
        for value in each.values()
        if isinstance(value, dict)
        for field in value
    )


def header(path: Path) -> str:
    lines = path.read_text("utf-8").splitlines()
    return "\n".join(lines[: next(n for n, line in enumerate(lines) if not line.startswith("#"))])


def quoted() -> Iterator[tuple[str | None, str]]:
    """Each word of the page in `this type` and the playbook linked before it in the same cell, if any."""
    for cell in re.split(r"\||\n", PAGE):
        pieces = LINK.split(cell)
        for place, text in zip([None, *pieces[1::2]], pieces[::2], strict=True):
            for word in re.findall(r"`([^`]+)`", text):
                yield place, word


def of_kinds() -> frozenset[str]:
    return frozenset(field for kind in kinds().values() for field in kind.model_fields)


def test_every_playbook_is_listed() -> None:
    table = PAGE.partition("## The playbooks")[2].partition("\n## ")[0]
    assert sorted(LINK.findall(table)) == [path.stem for path in PLAYBOOKS]


def test_every_name_is_in_the_playbook_that_is_linked_before_it() -> None:
    found = [(place, word) for place, word in quoted() if place is not None and NAME.fullmatch(word)]
    assert len(found) > 100
    known = {*kinds(), *of_kinds(), *NO_NAMES}
    assert [
        (place, word)
        for place, word in found
        if word not in names_in(place) | fields_in(place) and word not in known
    ] == []


def test_lists_after_a_link_are_names_of_that_playbook() -> None:
    """`): a, b, output c` names things of the playbook itself, whatever kinds and fields are called."""
    between = r"(?:, | and |with |outputs? |variables? |checks? )*"
    lists = re.findall(rf"\]\(\.\./playbooks/(\w+)\.yml\): ((?:{between}`[^`]+`)+)", PAGE)
    words = [(place, word) for place, text in lists for word in re.findall(r"`([^`]+)`", text)]
    named = [(place, word) for place, word in words if not word.startswith("labctl ")]
    assert len(named) > 120
    assert [(place, word) for place, word in named if word not in names_in(place)] == []


def test_other_names_are_kinds_or_fields() -> None:
    found = [word for place, word in quoted() if place is None and NAME.fullmatch(word)]
    assert len(found) > 20
    assert [word for word in found if word not in {*kinds(), *of_kinds(), *NO_NAMES}] == []


def test_checks_are_quoted_as_they_are_named() -> None:
    named = re.findall(r"\]\(\.\./playbooks/(\w+)\.yml\)[^|]*?checks? `([^`]+)`", PAGE)
    assert len(named) >= 8
    assert [(place, check) for place, check in named if check not in names_in(place)] == []


def test_types_of_cloudformation_exist() -> None:
    types = set(re.findall(r"AWS::\w+::\w+", PAGE))
    assert len(types) > 5
    assert all(schema("us-east-1", each)["typeName"] == each for each in types)


def test_no_step_of_the_exercise_on_fargate_is_left_out() -> None:
    table = PAGE.partition("## What is AWS? Deploying a container")[2]
    steps = [
        step
        for first, last in re.findall(r"^\| (\d+)(?:–(\d+))? \|", table, re.MULTILINE)
        for step in range(int(first), int(last or first) + 1)
    ]
    assert steps == list(range(1, 58))
    assert re.findall(r"^\| Stop (\S+) \|", table, re.MULTILINE) == ["1–5", "6"]


def test_no_row_lacks_its_answer() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    assert len(rows) > 100
    assert [row for row in rows if not all(cell.strip() for cell in row.strip("|").split("|"))] == []


@pytest.mark.parametrize("path", PLAYBOOKS, ids=ids)
def test_a_playbook_says_what_it_teaches_what_it_costs_and_how_to_look(path: Path) -> None:
    text = header(path)
    assert re.search(r"^# (What it teaches|Teaches)", text, re.MULTILINE)
    assert re.search(r"^# (What it costs|Costs)", text, re.MULTILINE)
    assert re.search(r"USD|nothing", text.partition("osts")[2])
    assert re.search(r"labctl (output|check|ssh)", text)
    assert playbook(path.stem)["name"] == path.stem


def test_the_readme_lists_every_playbook() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert sorted(re.findall(r"^\| `(\w+)` \|", readme, re.MULTILINE)) == [path.stem for path in PLAYBOOKS]
    assert "](docs/labs.md)" in readme
