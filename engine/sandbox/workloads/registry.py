"""A registry of images behind ECR: the OCI distribution API, as far as pushing and pulling need it.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md. Names are `REGION/REPOSITORY`. Which
repositories and images there are, ECR's own API says; the blobs are kept here.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Protocol

from werkzeug.wrappers import Request, Response

from engine.sandbox.workloads.blobs import Blobs, digest_of, is_digest
from engine.sandbox.workloads.images import MANIFEST_TYPE

_CHUNK: Final = 1 << 20
_ROUTE: Final = re.compile(
    r"/v2/(?P<name>[a-z0-9-]+/[a-z0-9._/-]+?)/"
    r"(?:blobs/uploads/(?P<upload>[0-9a-f-]*)|blobs/(?P<blob>[^/]+)|manifests/(?P<reference>[^/]+)"
    r"|tags/(?P<tags>list))"
)


class RefusedError(Exception):
    """The registry refuses a request, with a code of the specification."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class Shelf(Protocol):
    """What the registry asks of ECR; each may raise RefusedError."""

    def need(self, name: str) -> None:
        """Raises RefusedError (NAME_UNKNOWN) where there is no repository `REGION/REPOSITORY`."""

    def manifest(self, name: str, reference: str) -> tuple[bytes, str] | None:
        """Manifest and media type of a tag or digest."""

    def put(self, name: str, reference: str, manifest: bytes, media_type: str) -> None:
        """Keeps an image under a tag or digest."""

    def tags(self, name: str) -> list[str]:
        """The tags there are."""


class RegistryApp:
    """The registry as a WSGI application."""

    def __init__(self, folder: Path, blobs: Blobs, shelf: Shelf, allowed: Callable[[str, str], bool]) -> None:
        """`allowed` tells whether a user and password may come in."""
        self._uploads = folder / "uploads"
        shutil.rmtree(self._uploads, ignore_errors=True)
        self._blobs = blobs
        self._shelf = shelf
        self._allowed = allowed

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answers one request."""
        request = Request(environ)
        try:
            response = self._answer(request)
        except RefusedError as refused:
            response = _refusal(refused)
        response.headers["Docker-Distribution-Api-Version"] = "registry/2.0"
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        self._let_in(request)
        if request.path in ("/v2", "/v2/"):
            return Response("{}", content_type="application/json")
        found = _ROUTE.fullmatch(request.path)
        if found is None:
            raise RefusedError(
                404, "NAME_INVALID", f"there is no {request.path}: names are REGION/REPOSITORY"
            )
        name = found["name"]
        self._shelf.need(name)
        if found["blob"]:
            return self._blob(request, found["blob"])
        if found["reference"]:
            return self._manifest(request, name, found["reference"])
        if found["tags"]:
            return _json({"name": name, "tags": self._shelf.tags(name)})
        return self._upload(request, name, found["upload"])

    def _let_in(self, request: Request) -> None:
        given = request.authorization
        if given is None or given.type != "basic":
            raise RefusedError(401, "UNAUTHORIZED", "log in first: aws ecr get-login-password | docker login")
        if not self._allowed(given.username or "", given.password or ""):
            raise RefusedError(
                401, "DENIED", "Your authorization token has expired. Reauthenticate and try again."
            )

    def _blob(self, request: Request, digest: str) -> Response:
        if request.method not in ("GET", "HEAD"):
            raise RefusedError(405, "UNSUPPORTED", "blobs are deleted with their images")
        if not self._blobs.has(digest):
            raise RefusedError(404, "BLOB_UNKNOWN", f"there is no blob {digest}")
        headers = {
            "Docker-Content-Digest": digest,
            "Content-Length": str(self._blobs.size(digest)),
            "Content-Type": "application/octet-stream",
        }
        body = iter(()) if request.method == "HEAD" else _read(self._blobs.path(digest))
        return Response(body, headers=headers)

    def _upload(self, request: Request, name: str, upload: str) -> Response:
        if request.method == "POST":
            return self._begin(request, name)
        place = self._uploads / upload
        if not upload or not place.exists():
            raise RefusedError(404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload")
        if request.method == "DELETE":
            place.unlink()
            return Response(status=204)
        if request.method not in ("PATCH", "PUT", "GET"):
            raise RefusedError(405, "UNSUPPORTED", request.method)
        with place.open("ab") as file:
            if request.method != "GET":
                shutil.copyfileobj(request.stream, file, _CHUNK)
        if request.method == "PUT":
            return self._end(request, name, place)
        return _progress(name, upload, place, 204 if request.method == "GET" else 202)

    def _begin(self, request: Request, name: str) -> Response:
        mounted = request.args.get("mount", "")
        if self._blobs.has(mounted):
            return _created(f"/v2/{name}/blobs/{mounted}", mounted)
        upload = str(uuid.uuid4())
        self._uploads.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = self._uploads / upload
        place.touch()
        if "digest" in request.args:
            with place.open("ab") as file:
                shutil.copyfileobj(request.stream, file, _CHUNK)
            return self._end(request, name, place)
        return _progress(name, upload, place, 202)

    def _end(self, request: Request, name: str, place: Path) -> Response:
        wanted = request.args.get("digest", "")
        digest, _ = self._blobs.take(_read(place))
        place.unlink()
        if digest != wanted:
            raise RefusedError(400, "DIGEST_INVALID", f"what was sent is {digest}, not {wanted}")
        return _created(f"/v2/{name}/blobs/{digest}", digest)

    def _manifest(self, request: Request, name: str, reference: str) -> Response:
        if request.method == "PUT":
            return self._put_manifest(request, name, reference)
        if request.method not in ("GET", "HEAD"):
            raise RefusedError(405, "UNSUPPORTED", "images are deleted with ECR's BatchDeleteImage")
        found = self._shelf.manifest(name, reference)
        if found is None:
            raise RefusedError(404, "MANIFEST_UNKNOWN", "Requested image not found")
        manifest, media_type = found
        headers = {"Docker-Content-Digest": digest_of(manifest), "Content-Length": str(len(manifest))}
        body = b"" if request.method == "HEAD" else manifest
        return Response(body, headers=headers, content_type=media_type)

    def _put_manifest(self, request: Request, name: str, reference: str) -> Response:
        manifest = request.get_data()
        told = read_manifest(manifest)
        missing = [one for one in _parts(told) if not self._blobs.has(one)]
        if missing:
            raise RefusedError(404, "MANIFEST_BLOB_UNKNOWN", f"there is no blob {missing[0]}")
        digest = digest_of(manifest)
        if is_digest(reference) and reference != digest:
            raise RefusedError(400, "DIGEST_INVALID", f"what was sent is {digest}, not {reference}")
        kind = request.content_type or str(told.get("mediaType", MANIFEST_TYPE))
        self._shelf.put(name, reference, manifest, kind)
        return _created(f"/v2/{name}/manifests/{digest}", digest)


def read_manifest(manifest: bytes) -> dict[str, Any]:
    """An image manifest. Raises RefusedError for what is none: lists of them, other versions."""
    try:
        told = json.loads(manifest)
    except json.JSONDecodeError as error:
        raise RefusedError(400, "MANIFEST_INVALID", "it is not JSON") from error
    if not isinstance(told, dict) or not isinstance(told.get("config"), dict):
        raise RefusedError(
            400, "MANIFEST_INVALID", "the sandbox's registry takes images for one platform, no lists of them"
        )
    return told


def _parts(manifest: dict[str, Any]) -> list[str]:
    return [str(one["digest"]) for one in [manifest["config"], *manifest.get("layers", [])]]


def user_and_password(encoded: str) -> tuple[str, str]:
    """What a token of GetAuthorizationToken holds, or nothing."""
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _json(value: Any, status: int = 200) -> Response:
    return Response(json.dumps(value), status=status, content_type="application/json")


def _refusal(refused: RefusedError) -> Response:
    response = _json({"errors": [{"code": refused.code, "message": refused.message}]}, refused.status)
    if refused.status == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="the sandbox\'s ECR"'
    return response


def _created(location: str, digest: str) -> Response:
    return Response(status=201, headers={"Location": location, "Docker-Content-Digest": digest})


def _progress(name: str, upload: str, place: Path, status: int) -> Response:
    headers = {
        "Location": f"/v2/{name}/blobs/uploads/{upload}",
        "Range": f"0-{max(place.stat().st_size - 1, 0)}",
        "Docker-Upload-UUID": upload,
    }
    return Response(status=status, headers=headers)
