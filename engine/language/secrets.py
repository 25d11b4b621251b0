"""Where the values of secrets come from, and finding those that somebody wrote where they do not belong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from engine.errors import Where
from engine.lab import UsedLab
from engine.language.document import Node
from engine.language.problems import Problems
from engine.language.words import did_you_mean
from engine.refs import UNKNOWN, Unknown

SOURCES: Final = ("env", "file", "ssm", "secretsmanager")
_REMEDY = "write {env: NAME}, {file: PATH}, {ssm: NAME} or {secretsmanager: NAME}"
_MOST_BYTES = 65_536

_LOOKS_SECRET: Final = (
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), "an AWS access key"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"), "a private key"),
    (re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36,}\b"), "a GitHub token"),
    (re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"), "a Slack token"),
)


class Outside(Protocol):
    """What loading may ask of the world, only when a playbook uses it."""

    def my_ip(self) -> str | Unknown:
        """The address that the world sees the user come from, as `203.0.113.7/32`."""

    def environment(self) -> Mapping[str, str]:
        """The environment variables."""

    def secret(self, source: Mapping[str, str]) -> str | Unknown:
        """The value of `{"ssm": name}` or `{"secretsmanager": name}`."""

    def used_lab(self, ledger: str, name: str) -> UsedLab | Unknown | None:
        """What the ledger at `ledger` remembers of another lab; None where it was never applied.

        Unknown where that need not be known now.
        """


def source_of(
    value: Any, where: Where | None, problems: Problems, name: str | None = None
) -> dict[str, str] | None:
    """The source that `value` names: a mapping with one of SOURCES, or the text `env:NAME`."""
    called = f"the secret `{name}`" if name else "`from`"
    if isinstance(value, str):
        sort, separator, rest = value.partition(":")
        if separator and sort in SOURCES and rest:
            return {sort: rest}
        remedy = "write env:NAME, file:PATH, ssm:NAME or secretsmanager:NAME" if where is None else _REMEDY
        problems.add(where, f"{called} is given in plain text", remedy)
        return None
    if not isinstance(value, Mapping) or len(value) != 1:
        problems.add(where, f"{called} must name one source", _REMEDY)
        return None
    [(sort, rest)] = value.items()
    if sort not in SOURCES:
        problems.add(where, f"there is no source `{sort}`", did_you_mean(sort, SOURCES, "there are"))
        return None
    if not isinstance(rest, str) or not rest:
        problems.add(where, f"{called}: `{sort}` must be text", _REMEDY)
        return None
    return {sort: rest}


def read_source(
    source: Mapping[str, str],
    folder: Path,
    name: str,
    where: Where | None,
    outside: Outside,
    problems: Problems,
) -> str | Unknown:
    """The value of a secret; UNKNOWN, and a problem, where it cannot be had. Paths start at `folder`."""
    [(sort, rest)] = source.items()
    if sort == "env":
        value = outside.environment().get(rest)
        if not value:
            remedy = f"export {rest}=…, or name another source"
            problems.add(
                where,
                f"the secret `{name}` comes from the environment variable `{rest}`, which is not set",
                remedy,
            )
            return UNKNOWN
        return value
    if sort == "file":
        return _read_file(folder / Path(rest).expanduser(), name, where, problems)
    return outside.secret(source)


def _read_file(path: Path, name: str, where: Where | None, problems: Problems) -> str | Unknown:
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MOST_BYTES + 1)
        text = raw.decode().removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        words = "it is not text" if isinstance(error, UnicodeDecodeError) else (error.strerror or "").lower()
        problems.add(where, f"the secret `{name}` comes from `{path}`, which cannot be read: {words}")
        return UNKNOWN
    if not text or len(raw) > _MOST_BYTES:
        problems.add(
            where, f"the secret `{name}` comes from `{path}`, which is {'too long' if text else 'empty'}"
        )
        return UNKNOWN
    return text


def find_written(node: Node | None, problems: Problems) -> None:
    """A problem for each text anywhere below `node` that looks like a credential."""
    if node is None:
        return
    if node.is_mapping:
        for _, _, item in node.items():
            find_written(item, problems)
    elif node.is_list:
        for item in node.value:
            find_written(item, problems)
    elif isinstance(node.value, str):
        for pattern, what in _LOOKS_SECRET:
            if pattern.search(node.value):
                remedy = "declare a variable of `type: secret` and use it; this one has been seen: replace it"
                problems.add(node.where, f"this looks like {what}", remedy)
