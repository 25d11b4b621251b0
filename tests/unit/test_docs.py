"""What the manual says is what the code does: made pages are up to date, quotes and commands are real."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from docs import kinds_page, quotes
from engine.cli.app import app
from engine.kinds import kinds
from engine.language.documentation import documentation
from engine.render.kinds_page import groups_of

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
AGAIN = "{} is not what the code says: run `make docs`, read the difference and commit it"


def ids(path: Path) -> str:
    return path.name


def test_the_page_of_kinds_is_up_to_date() -> None:
    if kinds_page.page() != (ROOT / "docs" / "kinds.md").read_text("utf-8"):
        pytest.fail(AGAIN.format("docs/kinds.md"), pytrace=False)


def test_quotes_are_what_stands_in_the_files() -> None:
    text = quotes.PAGE.read_text("utf-8")
    assert text.count("<!-- engine/") >= 5
    if quotes.filled(text) != text:
        pytest.fail(AGAIN.format("CONTRIBUTING.md"), pytrace=False)


def test_every_kind_has_an_example() -> None:
    assert kinds_page.examples().keys() == kinds().keys()


def undescribed(model: type[BaseModel]) -> list[str]:
    documented = documentation(model)
    return [
        f"{model.__name__}.{name}"
        for name, info in model.model_fields.items()
        if not (info.description or documented.get(name))
    ]


@pytest.mark.parametrize("kind", kinds())
def test_every_field_says_what_it_is(kind: str) -> None:
    model = kinds()[kind]
    groups = [group for info in model.model_fields.values() for group in groups_of(info.annotation)]
    assert [name for each in (model, *groups) for name in undescribed(each)] == []
    assert all(output.description for output in model.outputs.values())


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"https?:", link)]
    headings = {heading.strip() for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    missing = [
        link
        for link in links
        if (link[1:] not in headings if link.startswith("#") else not (page.parent / link).exists())
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_commands_are_real(page: Path) -> None:
    """Every `labctl …` that a page quotes is a command with these options."""
    text = re.sub(r"\\\n\s*", " ", page.read_text("utf-8"))
    quoted = re.findall(r"(?:^|`|^\s+)(labctl(?: [^`\n#|]+)?)", text, re.MULTILINE)
    assert [line for line in quoted if not known(line.split())] == []


def known(words: list[str]) -> bool:
    command: click.Command = app
    context = click.Context(app)
    for word in words[1:]:
        if isinstance(command, click.Group) and not word.startswith("-"):
            found = command.get_command(context, word)
            if found is None:
                return False
            command = found
    options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"--help"}
    return all(word.split("=")[0] in options for word in words[1:] if word.startswith("-"))
