"""What S3 lets people do who sign nothing: by public access block, bucket policy and ACL, as AWS decides it.

Requests come here before moto sees them, for moto does not ask the public access block, and lets anybody
list and write.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from engine.sandbox import CALLER
from engine.sandbox.aws.credentials import Refusal
from engine.sandbox.aws.patterns import like

HOST = re.compile(
    r"(?:(?P<bucket>[a-z0-9][a-z0-9.-]+)\.)?s3[.-](?:dualstack\.)?(?:[a-z]{2}(?:-[a-z]+)+-\d\.)?amazonaws\.com"
)
"""The names under which S3 answers; without a bucket in the name it is the first part of the path."""


@dataclass(frozen=True)
class Asked:
    """One request to S3: the bucket, the key (empty for the bucket itself), and the action's name."""

    bucket: str
    key: str
    action: str


def is_strangers(environ: Mapping[str, Any]) -> bool:
    """Whether a request is unsigned and for S3, which is what moto takes all for that says nothing else."""
    query = environ.get("QUERY_STRING", "")
    if environ.get("HTTP_AUTHORIZATION") or "Signature=" in query or environ.get("HTTP_X_AMZ_TARGET"):
        return False
    host = environ.get("HTTP_HOST", "").rpartition(":")[0] or environ.get("HTTP_HOST", "")
    if host.endswith("amazonaws.com"):
        return HOST.fullmatch(host) is not None
    path = environ.get("PATH_INFO", "")
    # Other services' requests are forms sent to the root.
    form = path == "/" and environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded")
    return not form and not path.startswith("/moto-api")


def asked(environ: Mapping[str, Any]) -> Asked:
    """What a request to S3 is about, in virtual-hosted style or with the bucket in the path."""
    host = environ.get("HTTP_HOST", "").partition(":")[0]
    path = path_of(environ)
    found = HOST.fullmatch(host)
    bucket = found["bucket"] if found else None
    if bucket is None:
        bucket, _, path = path.partition("/")
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    return Asked(bucket, path, _action(environ["REQUEST_METHOD"], path, query))


def path_of(environ: Mapping[str, Any]) -> str:
    """The path of a request, without the slash it begins with (WSGI hands it over as Latin-1)."""
    return str(environ.get("PATH_INFO", "/")).encode("latin-1").decode(errors="replace").removeprefix("/")


_ACTIONS = {
    ("GET", True): "s3:GetObject",
    ("HEAD", True): "s3:GetObject",
    ("PUT", True): "s3:PutObject",
    ("POST", True): "s3:PutObject",
    ("DELETE", True): "s3:DeleteObject",
    ("GET", False): "s3:ListBucket",
    ("HEAD", False): "s3:ListBucket",
    ("POST", False): "s3:PutObject",
    ("PUT", False): "s3:CreateBucket",
    ("DELETE", False): "s3:DeleteBucket",
}
_PARTS = {"acl": "Acl", "tagging": "Tagging", "policy": "Policy", "versioning": "Versioning", "cors": "CORS"}


def _action(method: str, key: str, query: Mapping[str, Any]) -> str:
    for name, part in _PARTS.items():
        if name in query:
            verb = {"GET": "Get", "HEAD": "Get", "DELETE": "Delete"}.get(method, "Put")
            return f"s3:{verb}{'Object' if key else 'Bucket'}{part}"
    if key and "versionId" in query and method in ("GET", "HEAD"):
        return "s3:GetObjectVersion"
    if not key and "versions" in query:
        return "s3:ListBucketVersions"
    return _ACTIONS.get((method, bool(key)), f"s3:{method}")


def refusal(environ: Mapping[str, Any], buckets: Mapping[str, Any]) -> Refusal | None:
    """Why S3 does not do what nobody has signed; None where anybody may. `buckets` are moto's, by name."""
    wanted = asked(environ)
    if environ["REQUEST_METHOD"] == "OPTIONS":
        return None  # a browser asking what the CORS rules say
    if not wanted.bucket:
        return _denied()
    bucket = buckets.get(wanted.bucket)
    if bucket is None:
        return Refusal("s3", "NoSuchBucket", "The specified bucket does not exist", 404)
    if not may(bucket, wanted, secure=False):
        return _denied()
    if wanted.action == "s3:GetObject" and not _is_there(bucket, wanted.key):
        listed = may(bucket, Asked(wanted.bucket, "", "s3:ListBucket"), secure=False)
        return Refusal("s3", "NoSuchKey", "The specified key does not exist.", 404) if listed else _denied()
    return None


def _denied() -> Refusal:
    return Refusal("s3", "AccessDenied", "Access Denied", 403)


def _is_there(bucket: Any, key: str) -> bool:
    return bucket.keys.get(key) is not None


def may(bucket: Any, wanted: Asked, *, secure: bool, source: str = CALLER) -> bool:
    """Whether anybody may: by the bucket's policy, else by ACL, as far as the public access block lets it."""
    arn = f"arn:aws:s3:::{wanted.bucket}" + (f"/{wanted.key}" if wanted.key else "")
    said = decide(bucket.policy, wanted.action, arn, secure=secure, source=source)
    if said is not None:
        blocked = (
            bucket.public_access_block is not None and bucket.public_access_block.restrict_public_buckets
        )
        return said and not (blocked and is_public(bucket.policy))
    return _by_acl(bucket, wanted)


def _by_acl(bucket: Any, wanted: Asked) -> bool:
    block = bucket.public_access_block
    if bucket.ownership_rule in (None, "BucketOwnerEnforced") or (block and block.ignore_public_acls):
        return False
    if wanted.action == "s3:GetObject":
        key = bucket.keys.get(wanted.key)
        return key is not None and bool(key.acl and key.acl.public_read)
    granted = {
        permission
        for grant in bucket.acl.grants
        for grantee in grant.grantees
        if str(grantee.uri).endswith("AllUsers")
        for permission in grant.permissions
    }
    needed = {"s3:ListBucket": "READ", "s3:PutObject": "WRITE", "s3:DeleteObject": "WRITE"}.get(wanted.action)
    return needed in granted or (needed is not None and "FULL_CONTROL" in granted)


def decide(
    policy: bytes | None, action: str, arn: str, *, secure: bool, source: str = CALLER, owner: bool = False
) -> bool | None:
    """What a bucket's policy says of an action: None where it says nothing, else whether it allows it.

    It is asked for everybody, or for the account's own people with `owner`.
    """
    action = "s3:GetObject" if action == "s3:HeadObject" else action
    said: bool | None = None
    context = {"aws:securetransport": str(secure).lower(), "aws:sourceip": source}
    for statement in _statements(policy):
        deny = statement.get("Effect") == "Deny"
        if not _is_for(statement, owner=owner) or not _covers(statement, action, arn):
            continue
        held = _conditions(statement.get("Condition") or {}, context, unknown=deny)
        if held and deny:
            return False
        said = said or (True if held else said)
    return said


def is_public(policy: bytes | None) -> bool:
    """Whether a policy grants anybody anything without a condition that says who."""
    return any(
        statement.get("Effect") == "Allow"
        and _is_for(statement, owner=False)
        and not statement.get("Condition")
        for statement in _statements(policy)
    )


def _statements(policy: bytes | None) -> list[dict[str, Any]]:
    found = json.loads(policy)["Statement"] if policy else []
    return found if isinstance(found, list) else [found]


def _is_for(statement: Mapping[str, Any], *, owner: bool) -> bool:
    """Whether a statement is about everybody; who else it may name is not told apart here."""
    if "NotPrincipal" in statement:
        return not owner
    principal = statement.get("Principal", {})
    named = principal.get("AWS", []) if isinstance(principal, dict) else principal
    return "*" in (named if isinstance(named, list) else [named])


def _covers(statement: Mapping[str, Any], action: str, arn: str) -> bool:
    actions = [each.lower() for each in _listed(statement.get("Action"))]
    excepted = [each.lower() for each in _listed(statement.get("NotAction"))]
    covered = _any(actions, action.lower()) if actions else not _any(excepted, action.lower())
    resources = _listed(statement.get("Resource"))
    return covered and (
        _any(resources, arn) if resources else not _any(_listed(statement.get("NotResource")), arn)
    )


def _listed(value: Any) -> list[str]:
    return [] if value is None else [str(item) for item in (value if isinstance(value, list) else [value])]


def _any(patterns: list[str], text: str) -> bool:
    return any(like(text, pattern) for pattern in patterns)


def _conditions(given: Mapping[str, Any], context: Mapping[str, str], *, unknown: bool) -> bool:
    """Whether all conditions hold; those that nobody can tell of here count as `unknown`."""
    return all(
        _holds(operator, context[key.lower()], _listed(values)) if key.lower() in context else unknown
        for operator, tests in given.items()
        for key, values in tests.items()
    )


def _holds(operator: str, there: str, values: list[str]) -> bool:
    operator = operator.removesuffix("IfExists").rpartition(":")[2]
    if operator in ("IpAddress", "NotIpAddress"):
        inside = any(
            ipaddress.ip_address(there) in ipaddress.ip_network(value, strict=False) for value in values
        )
        return inside == (operator == "IpAddress")
    matched = _any([value.lower() for value in values], there.lower())
    return matched != operator.startswith(("StringNot", "ArnNot"))
