"""Whether a request is signed with the sandbox's credentials, or those of a user or role that it knows.

Refused as AWS refuses where not, and where the user or role may not do what is asked.

Signature Version 4, checked with botocore's own signer. An access key that begins with EXPIRED stands
for temporary credentials that have run out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from engine.sandbox import CREDENTIALS
from engine.sandbox.aws.environ import body_of, header
from engine.sandbox.aws.failures import document
from engine.sandbox.aws.permissions import caller_of, missing

ACCESS_KEY, SECRET_KEY = CREDENTIALS
_XML = frozenset(
    {
        "s3",
        "iam",
        "sts",
        "sns",
        "rds",
        "route53",
        "elasticloadbalancing",
        "autoscaling",
        "cloudformation",
        "monitoring",
    }
)
"""Services whose refusals are XML, and called AccessDenied."""
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<date>\d+)/(?P<region>[^/]+)/(?P<service>[^/]+)"
    r"/aws4_request,\s*SignedHeaders=(?P<headers>[^,]+),\s*Signature=(?P<signature>[0-9a-f]+)"
)


@dataclass(frozen=True)
class Refusal:
    """Why a request is not let in: AWS's code, message and HTTP status, and the service it was for."""

    service: str
    code: str
    message: str
    status: int


def refusal(environ: dict[str, Any]) -> Refusal | None:
    """Why the signed request in the WSGI `environ` is refused; None where it is in order or not signed."""
    signed = environ.get("HTTP_AUTHORIZATION", "")
    if not signed:
        return None
    found = _AUTHORIZATION.match(signed)
    if not found:
        return Refusal("s3", "InvalidRequest", "The authorization mechanism is not supported.", 400)
    service, key = found["service"], found["key"]
    if key.startswith("EXPIRED"):
        return _expired(service)
    caller = None if key == ACCESS_KEY else caller_of(key)
    if key != ACCESS_KEY and caller is None:
        return _unknown(service)
    if _signature(environ, found, caller.secret if caller else SECRET_KEY) != found["signature"]:
        return _mismatch(service)
    action = missing(caller, service, environ) if caller else None
    return _denied(service, caller.arn, action) if caller and action else None


def _expired(service: str) -> Refusal:
    if service == "ec2":
        return Refusal(service, "RequestExpired", "Request has expired.", 400)
    code = "ExpiredTokenException" if service == "ssm" else "ExpiredToken"
    return Refusal(service, code, "The security token included in the request is expired", 403)


def _denied(service: str, who: str, action: str) -> Refusal:
    words = f"User: {who} is not authorized to perform: {action} because no identity-based policy allows it"
    if service == "ec2":
        return Refusal(service, "UnauthorizedOperation", f"You are not authorized. {words}", 403)
    code = "AccessDenied" if service in _XML else "AccessDeniedException"
    return Refusal(service, code, words, 403)


def _unknown(service: str) -> Refusal:
    if service == "ec2":
        return _auth_failure()
    if service == "s3":
        message = "The AWS Access Key Id you provided does not exist in our records."
        return Refusal(service, "InvalidAccessKeyId", message, 403)
    code = "UnrecognizedClientException" if service == "ssm" else "InvalidClientTokenId"
    return Refusal(service, code, "The security token included in the request is invalid.", 403)


def _mismatch(service: str) -> Refusal:
    if service == "ec2":
        return _auth_failure()
    code = "InvalidSignatureException" if service == "ssm" else "SignatureDoesNotMatch"
    message = "The request signature we calculated does not match the signature you provided. Check your key."
    return Refusal(service, code, message, 403)


def _auth_failure() -> Refusal:
    return Refusal("ec2", "AuthFailure", "AWS was not able to validate the provided access credentials", 401)


def _signature(environ: dict[str, Any], found: re.Match[str], secret: str) -> str:
    body = body_of(environ)
    query = environ.get("QUERY_STRING", "")
    sent = environ.get("RAW_URI", "").partition("?")[0]
    path = sent if sent.startswith("/") else quote(environ.get("PATH_INFO", "/").encode("latin-1"), safe="/~")
    url = f"http://{environ.get('HTTP_HOST', '')}{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method=environ["REQUEST_METHOD"], url=url, data=body)
    for name in found["headers"].split(";"):
        request.headers[name] = header(environ, name)
    request.context["timestamp"] = environ.get("HTTP_X_AMZ_DATE", "")
    signer = SigV4Auth(Credentials(found["key"], secret), found["service"], found["region"])
    digest = environ.get("HTTP_X_AMZ_CONTENT_SHA256") or hashlib.sha256(body).hexdigest()
    canonical = "\n".join(
        [
            request.method or "",
            # All but S3 have the path encoded once more.
            path if found["service"] == "s3" else signer._normalize_url_path(path),
            signer.canonical_query_string(request),
            signer.canonical_headers(signer.headers_to_sign(request)) + "\n",
            found["headers"],
            digest,
        ]
    )
    return str(signer.signature(signer.string_to_sign(request, canonical), request))


def answer(refused: Refusal, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """The WSGI answer that tells `refused` in the form its service uses."""
    as_json = "json" in environ.get("CONTENT_TYPE", "")
    text, content_type = document(refused.service, refused.code, refused.message, json_body=as_json)
    body = text.encode()
    words = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}
    headers = [("Content-Type", content_type), ("Content-Length", str(len(body)))]
    start_response(f"{refused.status} {words[refused.status]}", headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
