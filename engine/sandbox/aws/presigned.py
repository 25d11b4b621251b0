"""URLs that carry their own signature: whether it is right, and has not run out; moto asks neither.

Both of S3's sorts: Signature Version 4 in the query, and the older one that boto3 still makes for us-east-1.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from botocore.auth import HmacV1QueryAuth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from engine.sandbox.aws.credentials import ACCESS_KEY, SECRET_KEY, Refusal
from engine.sandbox.aws.environ import header
from engine.sandbox.aws.strangers import HOST

_CREDENTIALS = Credentials(ACCESS_KEY, SECRET_KEY)
_FORMAT = "%Y%m%dT%H%M%SZ"


def refusal(environ: Mapping[str, Any]) -> Refusal | None:
    """Why the request with a signature in its query is refused; None where it is in order or has none."""
    query = {name: values[-1] for name, values in _query(environ).items()}
    if environ.get("HTTP_AUTHORIZATION"):
        return None
    if "X-Amz-Signature" in query:
        return _version_4(environ, query)
    if "Signature" in query and "AWSAccessKeyId" in query:
        return _version_2(environ, query)
    if any(name.endswith("Signature") for name in query):
        return _denied("Access Denied")
    return None


def _query(environ: Mapping[str, Any]) -> dict[str, list[str]]:
    return parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)


def _version_4(environ: Mapping[str, Any], query: Mapping[str, str]) -> Refusal | None:
    try:
        key, _, region, service, _ = query["X-Amz-Credential"].split("/")
        signed = datetime.strptime(query["X-Amz-Date"], _FORMAT).replace(tzinfo=UTC)
        lasts = int(query["X-Amz-Expires"])
        names = query["X-Amz-SignedHeaders"].split(";")
    except (KeyError, ValueError):
        return Refusal("s3", "AuthorizationQueryParametersError", "The query is not a signed one.", 400)
    if key != ACCESS_KEY:
        return _unknown_key()
    if datetime.now(UTC) > signed + timedelta(seconds=lasts):
        return _denied("Request has expired")
    request = AWSRequest(method=environ["REQUEST_METHOD"], url=_url(environ, without="X-Amz-Signature"))
    for name in names:
        request.headers[name] = header(environ, name)
    request.context["timestamp"] = query["X-Amz-Date"]
    signer = S3SigV4QueryAuth(_CREDENTIALS, service, region)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    return _compared(signer.signature(text, request), query["X-Amz-Signature"])


def _version_2(environ: Mapping[str, Any], query: Mapping[str, str]) -> Refusal | None:
    if query["AWSAccessKeyId"] != ACCESS_KEY:
        return _unknown_key()
    expires = query.get("Expires", "")
    if not expires.isdecimal() or datetime.now(UTC).timestamp() > int(expires):
        return _denied("Request has expired")
    headers = {
        name: text for name, text in query.items() if name.startswith("x-amz-") or name == "content-type"
    }
    for name in ("content-type", "content-md5"):
        if header(environ, name):
            headers[name] = header(environ, name)
    request = AWSRequest(method=environ["REQUEST_METHOD"], url=_url(environ), headers=headers)
    split = urlsplit(request.url)
    signer = HmacV1QueryAuth(_CREDENTIALS)
    signer._get_date = lambda: expires  # the URL says itself until when it is good
    signature = signer.get_signature(
        request.method, split, request.headers, auth_path=_whole_path(environ, split.path)
    )
    return _compared(signature, query["Signature"])


def _url(environ: Mapping[str, Any], without: str = "") -> str:
    kept = [
        part for part in environ.get("QUERY_STRING", "").split("&") if part and part.split("=")[0] != without
    ]
    path = quote(str(environ.get("PATH_INFO", "/")).encode("latin-1"), safe="/~")
    return f"http://{environ.get('HTTP_HOST', '')}{path}?{'&'.join(kept)}"


def _whole_path(environ: Mapping[str, Any], path: str) -> str:
    """The path with the bucket in it, also where that stands in the host's name."""
    found = HOST.fullmatch(environ.get("HTTP_HOST", "").partition(":")[0])
    return f"/{found['bucket']}{path}" if found and found["bucket"] else path


def _compared(made: str, given: str) -> Refusal | None:
    if hmac.compare_digest(made, given):
        return None
    message = "The request signature we calculated does not match the signature you provided."
    return Refusal("s3", "SignatureDoesNotMatch", message, 403)


def _unknown_key() -> Refusal:
    message = "The AWS Access Key Id you provided does not exist in our records."
    return Refusal("s3", "InvalidAccessKeyId", message, 403)


def _denied(message: str) -> Refusal:
    return Refusal("s3", "AccessDenied", message, 403)
