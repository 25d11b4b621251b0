"""What the sandbox's IAM users and roles may do: what a policy of theirs allows.

Of a policy its actions count; what is denied counts where it is denied for everything (`Resource: "*"`).
Resources, conditions and permissions boundaries are not looked at otherwise.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, unquote

import botocore.session
import moto.backends

from engine.aws.actions import actions_of
from engine.sandbox.aws import ACCOUNT
from engine.sandbox.aws.environ import body_of
from engine.sandbox.aws.patterns import like

_REST: Final = {
    "s3": ("s3",),
    "lambda": ("lambda",),
    "route53": ("route53",),
    "elasticfilesystem": ("efs",),
    "eks": ("eks",),
    "apigateway": ("apigatewayv2", "apigateway"),
    "sagemaker": ("sagemaker-runtime",),
}
"""Services that say by path and method what is asked, and the names of botocore's models of them."""


@dataclass(frozen=True)
class Caller:
    """Whose access key it is, and its secret; `policies` are all that say what they may do."""

    arn: str
    secret: str
    policies: tuple[str, ...]


def caller_of(key: str) -> Caller | None:
    """Whose active access key `key` is, of a user or of a role taken on; None where nobody's."""
    iam = moto.backends.get_backend("iam")[ACCOUNT]["aws"]
    for user in list(iam.users.values()):
        for one in user.access_keys:
            if one.access_key_id == key and one.status == "Active":
                bearers = [user, *iam.get_groups_for_user(user.name)]
                return Caller(user.arn, one.secret_access_key, _policies(bearers))
    sts = moto.backends.get_backend("sts")[ACCOUNT]["aws"]
    for taken in list(sts.assumed_roles):
        if taken.access_key_id == key:
            name = taken.role_arn.rpartition("/")[2]
            roles = [role for role in list(iam.roles.values()) if role.name == name]
            return Caller(taken.arn, taken.secret_access_key, _policies(roles))
    return None


def _policies(bearers: list[Any]) -> tuple[str, ...]:
    found: list[str] = []
    for bearer in bearers:
        inline = bearer.policies
        found += inline.values() if isinstance(inline, Mapping) else ()
        found += [_default(policy) for policy in bearer.managed_policies.values()]
    return tuple(found)


def _default(policy: Any) -> str:
    [document] = [version.document for version in policy.versions if version.is_default]
    return str(document)


def missing(caller: Caller, service: str, environ: dict[str, Any]) -> str | None:
    """The action that a request (a WSGI environment) needs and `caller` may not do; None where all is well.

    A request whose operation cannot be told is let in.
    """
    told = _operation(service, environ)
    if told is None:
        return None
    operation, method = told
    for action in sorted(actions_of(service, operation, method)):
        if not _may(caller, action):
            return action
    return None


def _may(caller: Caller, action: str) -> bool:
    allowed = False
    for statement in _statements(caller.policies):
        if not _about(statement, action):
            continue
        if statement.get("Effect") == "Allow":
            allowed = True
        elif "*" in _many(statement.get("Resource", ())) and not statement.get("Condition"):
            return False
    return allowed


def _statements(documents: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    for text in documents:
        document = json.loads(text)
        statements = document.get("Statement", [])
        yield from [statements] if isinstance(statements, Mapping) else statements


def _about(statement: Mapping[str, Any], action: str) -> bool:
    def named(patterns: Any) -> bool:
        return any(like(action.lower(), pattern.lower()) for pattern in _many(patterns))

    if "NotAction" in statement:
        return not named(statement["NotAction"])
    return named(statement.get("Action", ()))


def _many(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


# -- which operation a request is for ------------------------------------------------------------------------


def _operation(service: str, environ: dict[str, Any]) -> tuple[str, str] | None:
    """The operation as its API calls it, and its HTTP method; None where it cannot be told."""
    method = str(environ["REQUEST_METHOD"])
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        return target.rpartition(".")[2], method
    found = re.search(r"/service/\w+/operation/(\w+)$", environ.get("PATH_INFO", ""))
    if found:
        return found[1], method
    if service in _REST:
        name = _by_path(service, environ, method)
        return (name, method) if name else None
    given = parse_qs(environ.get("QUERY_STRING", "")) or parse_qs(body_of(environ).decode("latin-1"))
    return (given["Action"][0], method) if "Action" in given else None


@dataclass(frozen=True)
class _Route:
    operation: str
    method: str
    path: re.Pattern[str]
    fixed: int
    """Letters of the path that are always the same: the more, the better it fits."""
    query: frozenset[str]
    """What must stand in the query: always the same, or required."""
    headers: frozenset[str]
    """What must stand in the header, as WSGI writes it."""


@functools.cache
def _routes(service: str) -> tuple[_Route, ...]:
    session = botocore.session.Session()
    found = []
    for model in _REST[service]:
        operations = session.get_service_model(model)
        for name in operations.operation_names:
            operation = operations.operation_model(name)
            http = operation.http
            path, _, query = http["requestUri"].partition("?")
            fixed = re.sub(r"\{[^}]*\}", "", path)
            keys = frozenset(part.partition("=")[0] for part in query.split("&") if part)
            keys |= _required(operation, "querystring")
            headers = {f"HTTP_{key.upper().replace('-', '_')}" for key in _required(operation, "header")}
            found.append(_Route(name, http["method"], _pattern(path), len(fixed), keys, frozenset(headers)))
    return tuple(found)


def _required(operation: Any, place: str) -> frozenset[str]:
    """The names under which what an operation needs stands in a part of its requests."""
    shape = operation.input_shape
    if shape is None:
        return frozenset()
    told = [shape.members[name].serialization for name in shape.required_members]
    return frozenset(str(one["name"]) for one in told if one.get("location") == place)


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"(\{[^}]*\})", path.rstrip("/"))
    words = [
        (r".+" if part.endswith("+}") else r"[^/]+") if part.startswith("{") else re.escape(part)
        for part in parts
    ]
    return re.compile("".join(words) + "/?")


def _by_path(service: str, environ: dict[str, Any], method: str) -> str | None:
    path = unquote(environ.get("PATH_INFO", "/"))
    asked = {part.partition("=")[0] for part in environ.get("QUERY_STRING", "").split("&") if part}
    fitting = [
        route
        for route in _routes(service)
        if route.method == method
        and route.query <= asked
        and route.path.fullmatch(path)
        and route.headers <= environ.keys()
    ]
    best = max(fitting, key=lambda route: (len(route.query) + len(route.headers), route.fixed), default=None)
    return best.operation if best else None
