"""Buckets as AWS makes them today: closed to the public, owned by their account, with tags in the create.

What moto leaves out: the defaults of new buckets, tags in CreateBucket, who pays for requests, and what the
public access block and the ownership of objects forbid.
"""

from __future__ import annotations

import json
from typing import Any

import moto.backends
import xmltodict
from moto.s3.exceptions import S3ClientError
from moto.s3.models import FakeBucket, PublicAccessBlock, S3Backend
from moto.s3.responses import S3Response

from engine.sandbox.aws import ACCOUNT
from engine.sandbox.aws.mending import replace
from engine.sandbox.aws.strangers import decide, is_public

_PAYMENT = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<RequestPaymentConfiguration '
    'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Payer>{}</Payer></RequestPaymentConfiguration>'
)
_OWNERS_ONLY = ("", "private", "bucket-owner-full-control")
"""Canned ACLs that say nothing else than that the owner of the bucket owns what is in it."""


def every() -> dict[str, Any]:
    """All buckets of the account by name, wherever they are."""
    backends = moto.backends.get_backend("s3")[ACCOUNT]
    return dict(backends["aws"].buckets)


def mend() -> None:
    """Puts right what moto makes of buckets."""
    _mend_models()
    _mend_requests()
    replace(FakeBucket, get_permission=_permission)


def _mend_models() -> None:
    create, set_policy = S3Backend.create_bucket, S3Backend.put_bucket_policy

    def create_bucket(backend: S3Backend, bucket_name: str, *args: Any, **options: Any) -> FakeBucket:
        bucket: FakeBucket = create(backend, bucket_name, *args, **options)
        bucket.public_access_block = PublicAccessBlock("true", "true", "true", "true")
        # moto says it is a mapping, and keeps the name alone itself.
        vars(bucket)["ownership_rule"] = "BucketOwnerEnforced"
        return bucket

    def put_bucket_policy(backend: S3Backend, bucket_name: str, policy: bytes) -> None:
        _check_policy(backend.get_bucket(bucket_name), policy)
        set_policy(backend, bucket_name, policy)

    replace(S3Backend, create_bucket=create_bucket, put_bucket_policy=put_bucket_policy)


def _mend_requests() -> None:
    put, get = S3Response._bucket_response_put, S3Response._bucket_response_get
    send_key = S3Response._key_response

    def bucket_put(request: S3Response, http: Any, bucket_name: str, query: dict[str, Any]) -> Any:
        if "requestPayment" in query:
            asked = xmltodict.parse(request.body)["RequestPaymentConfiguration"]
            request.backend.get_bucket(bucket_name).payer = asked["Payer"]
            return 200, {}, ""
        if "acl" in query:
            _check_acl(request.backend.get_bucket(bucket_name), http.headers)
        new = not query and bucket_name not in request.backend.buckets
        answer = put(request, http, bucket_name, query)
        if new:
            _tag(request, bucket_name)
        return answer

    def bucket_get(request: S3Response, bucket_name: str, query: dict[str, Any]) -> Any:
        if "requestPayment" in query:
            return 200, {}, _PAYMENT.format(request.backend.get_bucket(bucket_name).payer)
        return get(request, bucket_name, query)

    def key_response(request: S3Response, http: Any, full_url: str) -> Any:
        bucket = request.backend.buckets.get(request.bucket_name)
        if bucket is not None and http.method in ("PUT", "POST"):
            _check_acl(bucket, http.headers)
        return send_key(request, http, full_url)

    replace(
        S3Response,
        _bucket_response_put=bucket_put,
        _bucket_response_get=bucket_get,
        _key_response=key_response,
    )


def _tag(request: S3Response, bucket_name: str) -> None:
    """The tags that CreateBucket carries; moto takes them only afterwards."""
    if not request.body:
        return
    body = xmltodict.parse(request.body, force_list={"Tag": True})["CreateBucketConfiguration"] or {}
    given = (body.get("Tags") or {}).get("Tag") or []
    if given:
        tags = {tag["Key"]: tag.get("Value") or "" for tag in given}
        request.backend.put_bucket_tagging(bucket_name, tags)


def _check_acl(bucket: Any, headers: Any) -> None:
    canned = headers.get("x-amz-acl", "")
    granted = any(name.lower().startswith("x-amz-grant-") for name, _ in headers.items())
    if bucket.ownership_rule == "BucketOwnerEnforced" and (canned not in _OWNERS_ONLY or granted):
        raise S3ClientError("AccessControlListNotSupported", "The bucket does not allow ACLs")
    if (
        canned.startswith("public")
        and bucket.public_access_block
        and bucket.public_access_block.block_public_acls
    ):
        raise S3ClientError("AccessDenied", "Access Denied")


def _check_policy(bucket: Any, policy: bytes) -> None:
    try:
        statements = json.loads(policy)["Statement"]
    except (ValueError, KeyError, TypeError):
        raise S3ClientError("MalformedPolicy", "Policies must be valid JSON and have a Statement") from None
    for statement in statements if isinstance(statements, list) else [statements]:
        if "Principal" not in statement and "NotPrincipal" not in statement:
            raise S3ClientError("MalformedPolicy", "Missing required field Principal")
        resources = statement.get("Resource", statement.get("NotResource", []))
        for resource in resources if isinstance(resources, list) else [resources]:
            name = str(resource).removeprefix("arn:aws:s3:::")
            if name != bucket.name and not name.startswith(f"{bucket.name}/"):
                raise S3ClientError("MalformedPolicy", "Policy has invalid resource")
    block = bucket.public_access_block
    if block is not None and block.block_public_policy and is_public(policy):
        raise S3ClientError(
            "AccessDenied",
            f"User: arn:aws:iam::{bucket.account_id}:root is not authorized to perform: s3:PutBucketPolicy "
            f'on resource: "arn:aws:s3:::{bucket.name}" because public policies are blocked by the '
            "BlockPublicPolicy block public access setting.",
        )


def _permission(bucket: Any, action: str, resource: str) -> Any:
    """What the bucket's policy says to the account's own people, conditions included; moto ignores them."""
    from moto.iam.access_control import PermissionResult

    # Who is not let in at all has been turned away before; requests to the API count as sent over TLS.
    said = decide(bucket.policy, action, resource, secure=True, owner=True)
    return PermissionResult.DENIED if said is False else PermissionResult.PERMITTED
