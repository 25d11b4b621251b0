"""The manual's page of kinds, docs/kinds.md, from what the kinds say of themselves."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from engine.language.documentation import documentation
from engine.local_files import LocalFile, LocalFolder, TemplateFile
from engine.on_host import OnHost
from engine.refs import UNKNOWN
from engine.resource import SECRET, UNREAD, Fields, Mark, Resource, plain

_HEAD: Final = """\
# Kinds

<!-- Made by `make docs` from the kinds in engine/resources/ and from docs/examples/: change those. -->

Each resource of a playbook is of one kind. A template `{{ … }}` may stand for any value. A field that is left
out, or given as nothing, is not looked at. Its default says how a thing is made.

What a change of a field does to a thing that is already there:

- **in place**: it is changed as it stands.
- **replaced**: it is deleted and made again, and so is what stands on it.
- **nothing**: the field says how the thing is made or compared; changing it alone changes nothing.
- **unread**: the target does not tell the value. A change in the playbook is seen, one made by hand is not.
- **secret**: unread, and never shown or kept.
- **asked anew**: a lookup makes nothing; it is asked at every plan.

Whatever the kind, `{{ name.field }}` gives a field of a resource and `{{ name.output }}` one of its outputs.
The examples of a file in [examples](examples) are a playbook together.
"""

_PLAIN_TYPES: Final[Mapping[Any, str]] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "`true` or `false`",
    Any: "anything",
    LocalFile: "path of a file",
    LocalFolder: "path of a folder",
    TemplateFile: "path of a template",
}


@dataclass(frozen=True)
class Example:
    """A resource of each kind: as a playbook writes it, and as it was understood."""

    text: str
    resource: Resource


def kinds_page(kinds: Mapping[str, type[Resource]], examples: Mapping[str, Example]) -> str:
    """The whole page in Markdown. Raises KeyError with the kind's name for a kind without an example."""
    lookups = [name for name, kind in kinds.items() if kind.lookup]
    at_aws = [name for name, kind in kinds.items() if not issubclass(kind, OnHost) and not kind.lookup]
    on_hosts = [name for name, kind in kinds.items() if issubclass(kind, OnHost)]
    parts = [_HEAD]
    groups = {
        "In the cloud, and machines": at_aws,
        "On a host (`host: …`)": on_hosts,
        "Lookups, which make nothing": lookups,
    }
    for title, names in groups.items():
        parts.append(f"**{title}**\n")
        parts.append("".join(f"- [{name}](#{name}): {_sentence(kinds[name])}\n" for name in names))
    parts += [_section(name, kinds[name], examples[name]) for name in (*at_aws, *on_hosts, *lookups)]
    return "\n".join(parts)


def _section(name: str, kind: type[Resource], example: Example) -> str:
    lines = [f"## {name}", "", inspect.cleandoc(kind.__doc__ or ""), ""]
    documented = documentation(kind)
    rows = []
    groups: dict[type[Fields], list[str]] = {}
    for field, info in kind.model_fields.items():
        effect, about = _effect(field, example.resource), _about(info, field, documented)
        rows.append((f"`{field}`", _type(info), _default(info), effect, about))
        for group in groups_of(info.annotation):
            groups.setdefault(group, []).append(f"`{field}`")
    if rows:
        lines += _table(("field", "type", "default", "a change", "what it is"), rows)
    for group, fields in groups.items():
        lines += ["", f"In {_either(fields, 'and')}: {_first_small(_sentence(group))}.", "", *_group(group)]
    outputs = [f"- `{output}`: {told.description}" for output, told in kind.outputs.items()]
    lines += ["", "Outputs:", "", *outputs] if outputs else []
    lines += (
        ["", f"IAM actions: {', '.join(f'`{action}`' for action in kind.actions)}."] if kind.actions else []
    )
    return "\n".join([*lines, "", "```yaml", example.text.rstrip(), "```", ""])


def _group(group: type[BaseModel]) -> list[str]:
    """The table of a group of fields within a field."""
    documented = documentation(group)
    rows = [
        (f"`{field}`", _type(info), _default(info), _about(info, field, documented))
        for field, info in group.model_fields.items()
    ]
    return _table(("field", "type", "default", "what it is"), rows)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _sentence(model: type[BaseModel]) -> str:
    return inspect.cleandoc(model.__doc__ or "").split("\n\n")[0].replace("\n", " ")


def _first_small(text: str) -> str:
    return (text[:1].lower() + text[1:]).rstrip(".")


def _about(info: FieldInfo, field: str, documented: Mapping[str, str]) -> str:
    text = (info.description or documented.get(field, "")).rstrip(".").replace("\n", " ")
    return text[:1].upper() + text[1:]


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "**required**"
    value = plain(info.get_default(call_default_factory=True, validated_data={}))
    return "" if value in (None, "") else f"`{json.dumps(value) if not isinstance(value, str) else value}`"


def _effect(field: str, resource: Resource) -> str:
    """What a change of `field` does, as the kind itself decides it."""
    if resource.lookup:
        return "asked anew"
    before = resource.wanted()
    other = resource.model_copy(update={field: UNKNOWN})
    after = other.wanted()
    changed = [name for name in after if name not in before or before[name] != after[name]]
    if not changed:
        return "" if field in after else "nothing"  # a field that has one value only cannot change
    marks = [mark for name in changed for mark in type(resource).model_fields[name].metadata]
    secrecy = ", secret" if SECRET in marks else ", unread" if UNREAD in marks else ""
    return ("replaced" if any(other.replaces(name, {}) for name in changed) else "in place") + secrecy


def _type(info: FieldInfo) -> str:
    """The type of a field in the words of a playbook."""
    return _words(info.annotation, info.metadata)


def _words(annotation: Any, metadata: Any = ()) -> str:
    if get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        metadata = [*more, *metadata]
    if any(isinstance(mark, Mark) and mark.name == "id" for mark in metadata):
        return "id"
    for mark in metadata:
        if isinstance(mark, BeforeValidator) and mark.json_schema_input_type is not PydanticUndefined:
            annotation = mark.json_schema_input_type
    return _bare(annotation) + _bounds(metadata)


def _bare(annotation: Any) -> str:
    if annotation in _PLAIN_TYPES:
        return _PLAIN_TYPES[annotation]
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return _either([f"`{json.dumps(part) if not isinstance(part, str) else part}`" for part in parts])
    if origin in (Union, UnionType):
        words = dict.fromkeys(_words(part) for part in parts if part is not type(None))
        return _either(sorted(words, key=lambda text: text.startswith("list")))
    if origin is list:
        return "list" if get_origin(parts[0]) in (Union, UnionType) else f"list of {_words(parts[0])}"
    return "mapping"


def _either(words: list[str], last: str = "or") -> str:
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _bounds(metadata: Any) -> str:
    """`, 1 to 64` and the like, for numbers that have bounds."""
    low = next((mark.ge for mark in metadata if isinstance(mark, Ge)), None)
    high = next((mark.le for mark in metadata if isinstance(mark, Le)), None)
    more = next((mark.gt for mark in metadata if isinstance(mark, Gt)), None)
    less = next((mark.lt for mark in metadata if isinstance(mark, Lt)), None)
    if low is not None and high is not None:
        return f", {low} to {high}"
    words = {"at least": low, "at most": high, "more than": more, "less than": less}
    return "".join(f", {word} {bound}" for word, bound in words.items() if bound is not None)


def groups_of(annotation: Any) -> Iterator[type[Fields]]:
    """The groups of fields in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, Fields):
        yield annotation
    for part in get_args(annotation):
        yield from groups_of(part)
