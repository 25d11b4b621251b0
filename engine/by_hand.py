"""Commands to run by hand: a shell with a variable for each output, `VPC_ID=$(aws ec2 create-vpc …)`."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any, Literal

from engine.change import Change
from engine.refs import Unknown
from engine.resource import Resource

_WHOLE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_REFERENCE = re.compile(r"^([A-Za-z_]\w*(?:\[[^\]]*\])*)\.([A-Za-z_]\w*)$")


def variable(address: str, output: str = "id") -> str:
    """The shell variable that holds an output: `public_sg`, `id` → `PUBLIC_SG_ID`."""
    return re.sub(r"\W+", "_", f"{address}_{output}").strip("_").upper()


def word(value: Any) -> str:
    """One word of a shell command: a quoted literal, or the variables that stand for what is not made yet."""
    if isinstance(value, Unknown):
        return '"' + _unknown(value) + '"'
    if isinstance(value, bool):
        return str(value).lower()
    return shlex.quote(str(value))


def json_word(value: Any) -> str:
    """A value as JSON in one word of a shell command, with variables for what is not made yet."""
    names: list[str] = []

    def hole(item: object) -> str:
        if not isinstance(item, Unknown):
            raise TypeError(type(item).__name__)
        names.append(_unknown(item))
        return f"\0{len(names) - 1}\0"

    text = shlex.quote(json.dumps(value, default=hole))
    # A variable inside a single-quoted word: close the quotes, name it in double ones, open them again.
    return re.sub(r"\\u0000(\d+)\\u0000", lambda match: f"'\"{names[int(match[1])]}\"'", text)


def assign(address: str, command: str, output: str = "id") -> str:
    """A command whose text output goes to the variable of an output."""
    return f"{variable(address, output)}=$({command})"


def options(**given: Any) -> str:
    """The options of an `aws` command; None leaves one out, True is the flag alone, lists several words."""
    words = []
    for name, value in given.items():
        flag = "--" + name.strip("_").replace("_", "-")
        if value is None or value is False:
            continue
        if value is True:
            words.append(flag)
        elif isinstance(value, list | tuple):
            words.append(" ".join([flag, *map(word, value)]))
        else:
            words.append(f"{flag} {word(value)}")
    return " ".join(words)


def aws(command: str, *, query: str | None = None, **given: Any) -> str:
    """`aws ec2 COMMAND --option value …`; with `query`, what it prints is that one value as text."""
    parts = ["aws ec2", command, options(**given)]
    if query is not None:
        parts.append(f"--query {shlex.quote(query)} --output text")
    return " ".join(part for part in parts if part)


def commands(
    verb: Literal["create", "update", "delete"], change: Change, kinds: Mapping[str, type[Resource]]
) -> list[str]:
    """The commands that do one verb of a change by hand; none where the kind knows none."""
    id = change.there.entry.id if change.there else None
    if verb == "delete" or change.wanted is None:
        # The playbook may no longer have it: deleting asks for nothing but the id.
        return kinds[change.kind].model_construct().at(change.address).as_commands("delete", id)
    changed = frozenset(field.name for field in change.fields)
    return change.wanted.at(change.address).as_commands(verb, id if verb == "update" else None, changed)


def _unknown(value: Unknown) -> str:
    """What stands inside double quotes for an unknown value."""
    if value.text is None:
        return (
            "".join(f"${variable(ref.address, ref.output or 'id')}" for ref in sorted(value.refs)[:1]) or "?"
        )
    return "".join(_pieces(value))


def _pieces(value: Unknown) -> list[str]:
    text, pieces, last = value.text or "", [], 0
    for match in _WHOLE.finditer(text):
        pieces.append(_inside_quotes(text[last : match.start()]))
        pieces.append(_named(match[1].strip(), value, alone=match[0] == text.strip()))
        last = match.end()
    pieces.append(_inside_quotes(text[last:]))
    return pieces


def _named(expression: str, value: Unknown, alone: bool) -> str:
    match = _REFERENCE.match(expression)
    if match:
        name = variable(match[1], match[2])
        return f"${name}" if alone else f"${{{name}}}"
    # An expression over a reference: the reference is the nearest thing a shell can say.
    named = [ref for ref in sorted(value.refs) if ref.output and str(ref) in expression]
    chosen = (named or sorted(value.refs))[:1]
    return "".join(f"${{{variable(ref.address, ref.output or 'id')}}}" for ref in chosen) or "?"


def _inside_quotes(text: str) -> str:
    return re.sub(r'([$`"\\])', r"\\\1", text)
