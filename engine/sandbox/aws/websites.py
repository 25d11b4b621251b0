"""Buckets as websites, at BUCKET.s3-website-REGION.amazonaws.com: index pages, error pages, redirects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import xmltodict

from engine.sandbox.aws.strangers import Asked, may, path_of

HOST = re.compile(r"(?P<bucket>[a-z0-9][a-z0-9.-]+)\.s3-website[.-][a-z]{2}(?:-[a-z]+)+-\d\.amazonaws\.com")
_WORDS = {
    200: "OK",
    301: "Moved Permanently",
    302: "Found",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
}
_CODES = {403: "AccessDenied", 404: "NoSuchKey", 405: "MethodNotAllowed"}


@dataclass(frozen=True)
class Page:
    """An answer: HTTP status, body, and headers."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/html; charset=utf-8"),)


def is_for_website(environ: Mapping[str, Any]) -> bool:
    """Whether a request is for a website endpoint."""
    return HOST.fullmatch(environ.get("HTTP_HOST", "").partition(":")[0]) is not None


def answer(environ: Mapping[str, Any], start_response: Any, buckets: Mapping[str, Any]) -> Iterable[bytes]:
    """A WSGI answer; `buckets` are moto's, by name."""
    page = _page(environ, buckets)
    headers = [*page.headers, ("Content-Length", str(len(page.body)))]
    start_response(f"{page.status} {_WORDS[page.status]}", headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [page.body]


def _page(environ: Mapping[str, Any], buckets: Mapping[str, Any]) -> Page:
    found = HOST.fullmatch(environ.get("HTTP_HOST", "").partition(":")[0])
    bucket = buckets.get(found["bucket"]) if found else None
    if bucket is None:
        return _error(404, "NoSuchBucket", "The specified bucket does not exist")
    if not bucket.website_configuration:
        return _error(404, "NoSuchWebsiteConfiguration", "The bucket does not have a website configuration")
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return _error(405, _CODES[405], "The specified method is not allowed against this resource.")
    settings = xmltodict.parse(bucket.website_configuration)["WebsiteConfiguration"]
    path = path_of(environ)
    elsewhere = settings.get("RedirectAllRequestsTo")
    if elsewhere:
        to = f"{elsewhere.get('Protocol') or 'http'}://{elsewhere['HostName']}/{quote(path)}"
        return Page(301, headers=(("Location", to),))
    return _of_site(bucket, path, settings)


def _of_site(bucket: Any, path: str, settings: Mapping[str, Any]) -> Page:
    suffix = settings["IndexDocument"]["Suffix"]
    key = path + suffix if path == "" or path.endswith("/") else path
    page = _object(bucket, key)
    if page is not None:
        return page
    if not path.endswith("/") and path and bucket.keys.get(f"{path}/{suffix}") is not None:
        return Page(302, headers=(("Location", f"/{quote(path)}/"),))
    missing = bucket.keys.get(key) is None
    listed = may(bucket, Asked(bucket.name, "", "s3:ListBucket"), secure=False)
    status = 404 if missing and listed else 403
    own = (settings.get("ErrorDocument") or {}).get("Key")
    shown = _object(bucket, own) if own else None
    if shown is not None:
        return Page(status, shown.body, shown.headers)
    said = "The specified key does not exist." if status == 404 else "Access Denied"
    return _error(status, _CODES[status], said)


def _object(bucket: Any, key: str) -> Page | None:
    """The object, if it is there and anybody may read it."""
    there = bucket.keys.get(key)
    if there is None or not may(bucket, Asked(bucket.name, key, "s3:GetObject"), secure=False):
        return None
    given = {name.lower(): str(value) for name, value in there.metadata.items()}
    kept = [
        (name.title(), given[name])
        for name in ("cache-control", "content-disposition", "content-encoding", "content-language")
        if name in given
    ]
    sort = given.get("content-type", "binary/octet-stream")
    return Page(200, there.value, (("Content-Type", sort), ("ETag", there.etag), *kept))


def _error(status: int, code: str, said: str) -> Page:
    title = f"{status} {_WORDS[status]}"
    items = f"<ul><li>Code: {code}</li><li>Message: {said}</li></ul>"
    text = f"<html><head><title>{title}</title></head><body><h1>{title}</h1>{items}</body></html>\n"
    return Page(status, text.encode())
