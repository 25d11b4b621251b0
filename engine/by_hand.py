"""Commands to run by hand: a shell with a variable for each output, `VPC_ID=$(aws ec2 create-vpc …)`."""

from __future__ import annotations

import json
import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from engine.change import Change, FieldChange
from engine.refs import UNKNOWN, Ref, Unknown, holds_unknown, unknowns
from engine.resource import Beside, Resource
from engine.tags import FIELD as TAGS

_WHOLE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_REFERENCE = re.compile(r"^([A-Za-z_]\w*(?:\[[^\]]*\])*)\.([A-Za-z_]\w*)$")


def variable(address: str, output: str = "id") -> str:
    """The shell variable that holds an output: `public_sg`, `id` → `PUBLIC_SG_ID`.

    Only an id ends in `_ID`: `private.subnet_id` and `private_subnet.id` are two things.
    """
    if output != "id":
        output = output.removesuffix("_id")
    return re.sub(r"\W+", "_", f"{address}_{output}").strip("_").upper()


def word(value: Any) -> str:
    """One word of a shell command: a quoted literal, or the variables that stand for what is not made yet."""
    if isinstance(value, Unknown):
        return '"' + _unknown(value) + '"'
    if isinstance(value, bool):
        return str(value).lower()
    return shlex.quote(str(value))


@dataclass(frozen=True)
class JsonText:
    """A value that stands as a text, in JSON, within another one in JSON."""

    value: Any


def json_word(value: Any) -> str:
    """A value as JSON in one word of a shell command, with variables for what is not made yet."""
    names: list[str] = []

    def hole(item: object) -> str:
        if isinstance(item, JsonText):
            return json.dumps(item.value, default=hole)
        if not isinstance(item, Unknown):
            raise TypeError(type(item).__name__)
        names.append(_unknown(item))
        return f"\0{len(names) - 1}\0"

    text = shlex.quote(json.dumps(value, default=hole))
    # A variable inside a single-quoted word: close the quotes, name it in double ones, open them again.
    return re.sub(r"\\+u0000(\d+)\\+u0000", lambda match: f"'\"{names[int(match[1])]}\"'", text)


def assign(address: str, command: str, output: str = "id") -> str:
    """A command whose text output goes to the variable of an output."""
    return f"{variable(address, output)}=$({command})"


def filled(resource: Resource, output: str = "id") -> Unknown:
    """What stands for an output in `word` and `json_word`, once a command has put it into its variable."""
    return Unknown(frozenset({Ref(resource._address, output)}))


def itself(resource: Resource, id: str | None) -> str | Unknown:
    """The id of a resource; until there is one, the variable that the command which makes it fills."""
    return id or filled(resource)


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


def aws(command: str, *, service: str = "ec2", query: str | None = None, **given: Any) -> str:
    """`aws SERVICE COMMAND --option value …`; with `query`, what it prints is that one value as text."""
    parts = ["aws", service, command, options(**given)]
    if query is not None:
        parts.append(f"--query {shlex.quote(query)} --output text")
    return " ".join(part for part in parts if part)


class Fed(str):
    """A command on a host that is fed with what the command `source` prints here."""

    source: str

    def __new__(cls, command: str, source: str) -> Self:
        """`command` runs on the host, `source` here."""
        fed = super().__new__(cls, command)
        fed.source = source
        return fed


def told(resource: Resource, asked: str, queries: Mapping[str, str]) -> list[str]:
    """The command that puts outputs which later commands need into variables; none where none are needed.

    `asked` is the `aws` command that tells them, `queries` has the JMESPath of each output.
    """
    names = [name for name in queries if name in resource._beside.needed]
    if not names:
        return []
    if len(names) == 1:
        query = shlex.quote(queries[names[0]])
        return [assign(resource._address, f"{asked} --query {query} --output text", names[0])]
    query = shlex.quote(f"[{','.join(queries[name] for name in names)}]")
    variables = " ".join(variable(resource._address, name) for name in names)
    return [f'read -r {variables} <<< "$({asked} --query {query} --output text)"']


def needed(changes: Iterable[Change]) -> dict[str, frozenset[str]]:
    """By address, the outputs that commands for `changes` take from variables."""
    found: dict[str, set[str]] = defaultdict(set)
    for change in changes:
        if change.wanted is not None and (change.looks_up or change.action not in {"keep", "delete"}):
            for value in unknowns(change.wanted.wanted()):
                for ref in value.refs:
                    found[ref.address].add(ref.output or "id")
    return {address: frozenset(outputs) for address, outputs in found.items()}


def commands(
    verb: Literal["create", "update", "delete"],
    change: Change,
    kinds: Mapping[str, type[Resource]],
    *,
    needed: frozenset[str] = frozenset(),
    kinds_at: Mapping[str, str] | None = None,
) -> list[str]:
    """The commands that do one verb of a change by hand; none where the kind knows none.

    `needed` are its outputs that later commands take from variables, `kinds_at` tells what others are.
    """
    entry = change.there.entry if change.there else None
    id = entry.id if entry else None
    there = (change.there.values or change.there.entry.outputs) if change.there else {}
    if verb == "delete" or change.wanted is None:
        # The playbook may no longer have it: deleting goes by what is there alone.
        kind = kinds[entry.kind if entry else change.kind]
        return kind.model_construct().at(change.address, Beside(there)).as_commands("delete", id)
    changed = frozenset(field.name for field in change.fields)
    retag: list[str] = []
    if verb == "update" and change.wanted.tagged and TAGS in changed:
        retag = _retagged(change.wanted, id or "", there, change.fields)
        changed -= {TAGS}
        if not changed:
            return retag
    beside = Beside(there if verb == "update" else {}, needed, kinds_at or {})
    resource = change.wanted.at(change.address, beside)
    hidden = _hidden(resource)
    lines = [] if hidden else resource.as_commands(verb, id if verb == "update" else None, changed)
    if hidden or any(str(UNKNOWN) in line for line in lines):
        lines = [_not_yet(name, value) for name, value in (hidden or _unknown_in(resource)).items()]
    return [*retag, *lines]


def _hidden(resource: Resource) -> dict[str, Any]:
    """The fields that are not known yet, and that no variable of a shell can stand for."""
    return {
        name: value
        for name, value in _unknown_in(resource).items()
        if isinstance(value, Unknown) and not _fits_a_word(type(resource).model_fields[name].annotation)
    }


def _unknown_in(resource: Resource) -> dict[str, Any]:
    given = {name: getattr(resource, name) for name in type(resource).model_fields}
    return {name: value for name, value in given.items() if holds_unknown(value)}


def _not_yet(field: str, value: Any) -> str:
    """A comment in place of commands that nobody could type."""
    refs = sorted({ref for each in unknowns(value) for ref in each.refs})
    until = " and ".join(sorted({ref.address for ref in refs})) or "apply"
    return f"# {field} is not known before {until}; labctl plan --as-commands has the commands then"


def _fits_a_word(annotation: Any) -> bool:
    """Whether a type takes text or whole numbers, whatever else it may take."""
    origin = get_origin(annotation)
    if origin in (Union, UnionType, Annotated):
        parts = get_args(annotation)
        return any(map(_fits_a_word, parts[:1] if origin is Annotated else parts))
    return annotation in (str, int, bool, Any)


def _retagged(
    resource: Resource, id: str, there: Mapping[str, Any], fields: Iterable[FieldChange]
) -> list[str]:
    [change] = [field for field in fields if field.name == TAGS]
    tags = {**dict.fromkeys(change.is_ or {}), **(change.wanted or {})}
    return resource.retag_by_hand(id, dict(there), tags)


def reference(value: Unknown) -> Ref | None:
    """The one output that stands for `value` in a command; None where there is none."""
    match = _WHOLE.search(value.text or "")
    expression = match[1] if match else ""
    named = [ref for ref in sorted(value.refs) if str(ref) in expression]
    return next(iter(named or sorted(value.refs)), None)


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
        meant = Ref(match[1], match[2])
        # In an included playbook things have shorter names than in the lab.
        longer = [ref for ref in sorted(value.refs) if str(ref).endswith(f".{meant}")]
        ref = meant if meant in value.refs or not value.refs else [*longer, *sorted(value.refs)][0]
        name = variable(ref.address, ref.output or "id")
        return f"${name}" if alone else f"${{{name}}}"
    # An expression over references: the one that is named in it is the nearest thing a shell can say.
    named = [ref for ref in sorted(value.refs) if ref.output and str(ref) in expression]
    chosen = (named or sorted(value.refs))[:1]
    return "".join(f"${{{variable(ref.address, ref.output or 'id')}}}" for ref in chosen) or "?"


def _inside_quotes(text: str) -> str:
    return re.sub(r'([$`"\\])', r"\\\1", text)
