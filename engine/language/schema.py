"""The JSON Schema of playbooks, made from the kinds: editors complete and check with it as one types."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema

from engine.language.documentation import documentation
from engine.language.entries import SSH_KEYS
from engine.language.secrets import SOURCES
from engine.language.variables import TYPES
from engine.on_host import OnHost
from engine.resource import FIXED, SECRET, Resource

Schema = dict[str, Any]

_TEMPLATE: Final[Schema] = {"$ref": "#/$defs/labctl.template"}
_TEXT: Final[Schema] = {"type": "string"}
_NAME: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_]*$", "maxLength": 64}
_TRUTH: Final[Schema] = {"anyOf": [{"type": "boolean"}, _TEMPLATE]}
_TIME: Final[Schema] = {"type": ["number", "string"]}
_LIST_OR_TEMPLATE: Final[Schema] = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}
_MAPPING: Final[Schema] = {"type": "object"}


def schema(kinds: Mapping[str, type[Resource]]) -> Schema:
    """The JSON Schema (2020-12) of a playbook with these kinds; a template may stand wherever a value may."""
    definitions: Schema = {
        "labctl.template": {"type": "string", "pattern": r"\{[{%]", "description": "a template: {{ … }}"},
        "labctl.variable": _variable(),
        "labctl.check": _check(),
        "labctl.uses": _uses(),
    }
    for name, kind in kinds.items():
        made = kind.model_json_schema(
            ref_template=f"#/$defs/{name}.{{model}}", schema_generator=_Generator, mode="validation"
        )
        for inner, definition in made.pop("$defs", {}).items():
            definitions[f"{name}.{inner}"] = _accepting_templates(definition)
        definitions[name] = _kind(kind, made)
    definitions["labctl.entry"] = _entry(kinds)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "labctl playbook",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "name": {**_TEXT, "description": "what the playbook is called; part of each lab's name"},
            "description": _TEXT,
            "vars": {"type": "object", "additionalProperties": {"$ref": "#/$defs/labctl.variable"}},
            "uses": {"$ref": "#/$defs/labctl.uses"},
            "resources": {"type": "array", "items": {"$ref": "#/$defs/labctl.entry"}},
            "outputs": {**_MAPPING, "description": "what is printed in the end, by name"},
            "checks": {"type": "array", "items": {"$ref": "#/$defs/labctl.check"}},
        },
        "$defs": definitions,
    }


class _Generator(GenerateJsonSchema):
    """Pydantic's, with anything allowed where a type has no schema of its own."""

    ignored_warning_types: Any = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012  as in the base class

    def handle_invalid_for_json_schema(self, schema: CoreSchema, error_info: str) -> JsonSchemaValue:
        return {}


def _kind(kind: type[Resource], made: Schema) -> Schema:
    found = _accepting_templates(made)
    documented = documentation(kind)
    for name, info in kind.model_fields.items():
        words = info.description or documented.get(name, "")
        marks = [text for mark, text in _MARKS if mark in info.metadata]
        described = ". ".join(each for each in (words.rstrip("."), *marks) if each)
        if described:
            found["properties"][name]["description"] = described
    outputs = "\n".join(f"- {name}: {output.description}" for name, output in kind.outputs.items())
    about = inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0]
    found["description"] = f"{about}\n\nOutputs:\n{outputs}" if outputs else about
    found.pop("title", None)
    # An entry without fields is written `ec2_eip: {}`, or with nothing at all.
    return (
        found
        if found.get("required")
        else {"anyOf": [found, {"type": "null"}], "description": found["description"]}
    )


_MARKS = ((FIXED, "A change replaces the resource"), (SECRET, "Secret: give it by a variable"))


def _accepting_templates(made: Schema) -> Schema:
    """The schema of an object or value, with templates accepted within."""
    found = dict(made)
    if "properties" in found:
        found["properties"] = {name: _or_template(each) for name, each in found["properties"].items()}
    for word in ("items", "additionalProperties"):
        if isinstance(found.get(word), dict):
            found[word] = _or_template(found[word])
    for word in ("anyOf", "oneOf"):
        if word in found:
            found[word] = [_accepting_templates(each) for each in found[word]]
    return found


def _or_template(made: Schema) -> Schema:
    """The schema of a value, or a template in its place."""
    inner = _accepting_templates(made)
    inner.pop("title", None)
    if _takes_any_text(inner):
        return inner
    about: Schema = {word: inner.pop(word) for word in ("description", "default") if word in inner}
    choices = inner["anyOf"] if set(inner) == {"anyOf"} else [inner]
    return {"anyOf": [*choices, _TEMPLATE], **about}


def _takes_any_text(made: Schema) -> bool:
    if "anyOf" in made:
        return any(_takes_any_text(each) for each in made["anyOf"])
    narrowed = {"pattern", "enum", "const", "format", "maxLength"} & set(made)
    return not narrowed and (made.get("type") == "string" or not set(made) - {"description", "default"})


def _entry(kinds: Mapping[str, type[Resource]]) -> Schema:
    on_host = sorted(name for name, kind in kinds.items() if issubclass(kind, OnHost))
    properties: Schema = {
        "name": {**_NAME, "description": "its address; references and plans use it"},
        "host": {**_TEXT, "description": f"the host it lives on; for {', '.join(on_host)}"},
        "ssh": _ssh(),
        "when": {"type": ["boolean", "string"], "description": "it is part of the lab only if this is true"},
        "loop": {
            "type": ["integer", "array", "object", "string"],
            "description": "one resource for each; `item` and `loop_index` stand for the turn",
        },
        "depends_on": {**_LIST_OR_TEMPLATE, "description": "it comes after these"},
        "protect": {**_TRUTH, "description": "a plan that would delete or replace it is refused"},
        "retain": {**_TRUTH, "description": "on destroy it is left there and forgotten"},
        "ignore_changes": {"type": "array", "items": _TEXT, "description": "fields not compared"},
        "tags": {"type": "object", "additionalProperties": _TEXT},
        "timeout": {**_TIME, "description": "how long one step on it may take, such as `10m`"},
        "no_log": {**_TRUTH, "description": "what it prints is kept out of logs; its outputs are masked"},
        "block": {
            "type": "array",
            "items": {"$ref": "#/$defs/labctl.entry"},
            "description": "entries sharing keywords",
        },
    }
    properties |= {
        "include": {
            **_TEXT,
            "description": "a playbook whose resources become part of this one, as `net.vpc`",
        },
        "vars": {**_MAPPING, "description": "of an include: the values of that playbook's variables"},
    }
    choices = [{"required": ["name", kind]} for kind in [*kinds, "include"]]
    properties |= {kind: {"$ref": f"#/$defs/{kind}"} for kind in kinds}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "oneOf": [*choices, {"required": ["block"]}],
    }


def _ssh() -> Schema:
    sorts: Schema = {
        "port": {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 65535}, _TEMPLATE]},
        "forward_agent": _TRUTH,
    }
    about = {
        "user": "who to log in as; only an ssh_host can do without",
        "key": "the private key's file",
        "port": "22 if not given",
        "via": "the host that it is reached through",
        "forward_agent": "lend your SSH agent to what runs there",
        "host": "the address to contact, if not the resource's own",
    }
    return {
        "type": "object",
        "description": "this resource is a host, and how to log in",
        "additionalProperties": False,
        "properties": {key: {**sorts.get(key, _TEXT), "description": about[key]} for key in SSH_KEYS},
    }


def _variable() -> Schema:
    sources: Schema = {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
        "properties": dict.fromkeys(SOURCES, _TEXT),
    }
    return {
        "description": "a default, or a mapping with type, default, description, choices, min, max, from",
        "anyOf": [
            {"type": ["string", "number", "boolean", "array", "null"]},
            {
                "type": "object",
                "properties": {
                    "type": {"enum": list(TYPES)},
                    "default": {},
                    "description": _TEXT,
                    "choices": {"type": "array"},
                    "min": {"type": "number"},
                    "max": {"type": "number"},
                    "from": {**sources, "description": "where a secret comes from"},
                },
            },
        ],
    }


def _uses() -> Schema:
    return {
        "description": "other labs whose outputs and hosts it uses, by the names that it gives them",
        "anyOf": [
            _TEXT,
            {"type": "array", "items": _TEXT},
            {"type": "object", "additionalProperties": _TEXT},
        ],
    }


def _check() -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "name": _TEXT,
            "http": {**_TEXT, "description": "a web address that must answer"},
            "tcp": {**_TEXT, "description": "ADDRESS:PORT"},
            "command": {**_TEXT, "description": "a command that must succeed on `host`"},
            "aws": {**_TEXT, "description": "SERVICE.OPERATION, as boto3 names them, that must succeed"},
            "host": _TEXT,
            "method": {"enum": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]},
            "headers": {**_MAPPING, "description": "what is sent besides"},
            "json": {"description": "a value that is sent as JSON"},
            "body": {**_TEXT, "description": "text that is sent"},
            "params": {**_MAPPING, "description": "of the operation, as boto3 names them"},
            "error": {**_TEXT, "description": "the error code that AWS must answer with"},
            "status": {"type": "integer", "minimum": 100, "maximum": 599},
            "contains": {**_TEXT, "description": "what the answer must contain"},
            "expect": {"enum": ["reachable", "unreachable"]},
            "timeout": _TIME,
            "when": {"type": ["boolean", "string"]},
        },
        "oneOf": [{"required": [sort]} for sort in ("http", "tcp", "command", "aws")],
    }
