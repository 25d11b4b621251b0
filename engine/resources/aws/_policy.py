"""Policy documents (of IAM, S3, SQS, …): checked before they are sent, and compared by what they mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BeforeValidator

from engine.refs import Unknown, holds_unknown

_TOP: Final = frozenset({"Version", "Id", "Statement"})
_OF_STATEMENT: Final = frozenset(
    {
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    }
)
_VERSIONS: Final = ("2012-10-17", "2008-10-17")


def document(value: Any) -> Any:
    """A policy written as YAML or as JSON text, as a mapping. Raises ValueError in words.

    The grammar is IAM's (“Grammar of the IAM JSON policy language”); what is unknown is not looked at.
    """
    if isinstance(value, Unknown):
        return value
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"is no JSON: {error.msg} in line {error.lineno}") from None
    if not isinstance(value, Mapping):
        raise ValueError("a policy is a mapping with Version and Statement")
    given = {str(key): _dated(item) if key == "Version" else item for key, item in value.items()}
    _known(given, _TOP, "a policy")
    version = given.get("Version", _VERSIONS[0])
    if not isinstance(version, Unknown) and version not in _VERSIONS:
        raise ValueError(f"Version is {version!r}: write {_VERSIONS[0]!r}")
    statements = given.get("Statement")
    for at, statement in enumerate(statements if isinstance(statements, list) else [statements]):
        _check_statement(statement, f"statement {at + 1}")
    return given


Policy = Annotated[dict[str, Any], BeforeValidator(document)]
"""A policy, written as YAML or as JSON text."""


def _dated(version: Any) -> Any:
    """YAML reads 2012-10-17 without quotes as a date."""
    return version if isinstance(version, str | Unknown) else str(version)


def _known(given: Mapping[str, Any], names: frozenset[str], what: str) -> None:
    odd = [key for key in given if key not in names]
    if odd:
        near = {name.lower(): name for name in names}.get(odd[0].lower())
        remedy = f"did you mean {near}?" if near else f"it has {', '.join(sorted(names))}"
        raise ValueError(f"{what} has no {odd[0]}: {remedy}")


def _check_statement(statement: Any, what: str) -> None:
    if isinstance(statement, Unknown):
        return
    if not isinstance(statement, Mapping):
        raise ValueError("a policy needs a Statement: a list of mappings with Effect, Action and Resource")
    _known(statement, _OF_STATEMENT, what)
    effect = statement.get("Effect")
    if not isinstance(effect, Unknown) and effect not in ("Allow", "Deny"):
        raise ValueError(f"{what} needs Effect: Allow or Deny")
    if ("Action" in statement) == ("NotAction" in statement):
        raise ValueError(f"{what} needs either Action or NotAction")


def canonical(policy: Any) -> Any:
    """A policy in a form that is equal where the meaning is.

    One or a list of one are the same, the order of lists does not matter, nor whether everybody is `*` or
    `{AWS: *}`; an account is its root user.
    """
    if isinstance(policy, str):
        policy = json.loads(policy)
    if holds_unknown(policy) or not isinstance(policy, Mapping):
        return policy
    statements = policy.get("Statement", [])
    listed = statements if isinstance(statements, list) else [statements]
    return {
        "Version": str(policy.get("Version", "2008-10-17")),
        "Id": policy.get("Id"),
        "Statement": sorted((_statement(each) for each in listed), key=_text),
    }


def _statement(statement: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _ITEMS.get(key, _many)(value) for key, value in statement.items() if value not in ({}, None)}


def _many(value: Any) -> list[str]:
    return sorted({_scalar(item) for item in (value if isinstance(value, list) else [value])})


def _scalar(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _principal(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return {"AWS": _many(value)}
    return {
        key: sorted(_account(item) if key == "AWS" else item for item in _many(items))
        for key, items in value.items()
    }


def _account(principal: str) -> str:
    return f"arn:aws:iam::{principal}:root" if principal.isdecimal() and len(principal) == 12 else principal


def _condition(value: Mapping[str, Any]) -> dict[str, dict[str, list[str]]]:
    return {
        operator: {key.lower(): _many(items) for key, items in tests.items()}
        for operator, tests in value.items()
    }


_ITEMS: Final[Mapping[str, Any]] = {
    "Sid": _scalar,
    "Effect": _scalar,
    "Principal": _principal,
    "NotPrincipal": _principal,
    "Condition": _condition,
}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
