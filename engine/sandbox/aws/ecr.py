"""ECR with a registry behind it: real digests and sizes, where to push, and a token to log in with.

moto has neither; it makes digests up, and a tag that moves on takes its image along.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import moto.backends
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult
from moto.ecr.exceptions import ImageAlreadyExistsException
from moto.ecr.models import ECRBackend, Image, Repository
from moto.ecr.responses import ECRResponse

from engine.sandbox.aws.mending import add, replace
from engine.sandbox.private import secret
from engine.sandbox.workloads.blobs import digest_of, is_digest
from engine.sandbox.workloads.registry import RefusedError

USER: Final = "AWS"
TOKEN_SECONDS: Final = 12 * 3600
ECR_HOST: Final = ".amazonaws.com"


class Keys:
    """Passwords for the registry, which hold for 12 hours, as ECR's do."""

    def __init__(self, path: Path) -> None:
        """The key that makes them is kept at `path`, so that they outlive the process."""
        self._key = secret(path).encode()

    def make(self) -> tuple[str, float]:
        """A password, and when it ends (seconds since the epoch)."""
        ends = int(time.time()) + TOKEN_SECONDS
        return f"{ends}.{self._sign(str(ends))}", ends

    def fits(self, user: str, password: str) -> bool:
        """Whether they let somebody in now."""
        ends, _, signed = password.partition(".")
        known = user == USER and ends.isdigit() and hmac.compare_digest(self._sign(ends), signed)
        return known and int(ends) > time.time()

    def _sign(self, ends: str) -> str:
        return hmac.new(self._key, ends.encode(), hashlib.sha256).hexdigest()


class EcrShelf:
    """moto's repositories as the registry asks for them."""

    def __init__(self, account: str, lock: threading.RLock, changed: Callable[[], None]) -> None:
        self._account = account
        self._lock = lock
        self._changed = changed

    def _repository(self, name: str) -> Any:
        region, _, repository = name.partition("/")
        backends = dict(moto.backends.get_backend("ecr")[self._account].items())
        backend = backends.get(region)
        found = backend.repositories.get(repository) if backend else None
        if found is None:
            raise RefusedError(
                404,
                "NAME_UNKNOWN",
                f"The repository with name '{repository}' does not exist in the registry with id "
                f"'{self._account}'",
            )
        return found

    def need(self, name: str) -> None:
        """Raises RefusedError where the repository is not there."""
        with self._lock:
            self._repository(name)

    def manifest(self, name: str, reference: str) -> tuple[bytes, str] | None:
        """Manifest and media type of a tag or digest."""
        with self._lock:
            image = _image(self._repository(name), reference)
            if image is None:
                return None
            return image.image_manifest.encode(), str(image.image_manifest_media_type)

    def put(self, name: str, reference: str, manifest: bytes, media_type: str) -> None:
        """PutImage. The same image under the same tag again is fine for who pushes."""
        region, _, repository = name.partition("/")
        # moto takes None for no tag, whatever it says.
        tag: Any = None if is_digest(reference) else reference
        with self._lock:
            there = _image(self._repository(name), reference)
            if there is not None and there.image_digest == digest_of(manifest):
                return
            backend = moto.backends.get_backend("ecr")[self._account][region]
            try:
                backend.put_image(repository, manifest.decode(), tag, media_type)
            except ImageAlreadyExistsException as refused:
                words = (
                    f"tag invalid: The image tag '{tag}' already exists in the '{repository}' repository and "
                    "cannot be overwritten because the tag is immutable."
                )
                raise RefusedError(400, "TAG_INVALID", words) from refused
            except ServiceException as refused:
                raise RefusedError(400, "TAG_INVALID", str(refused.message)) from refused
        self._changed()

    def tags(self, name: str) -> list[str]:
        """The tags there are."""
        with self._lock:
            return sorted(tag for image in self._repository(name).images for tag in image.image_tags)

    def manifests(self) -> list[bytes]:
        """The manifests of all images of all repositories."""
        with self._lock:
            regions = dict(moto.backends.get_backend("ecr")[self._account].items()).values()
            repositories = [one for backend in regions for one in backend.repositories.values()]
            return [image.image_manifest.encode() for one in repositories for image in one.images]

    def named(self, reference: str, host: str) -> bytes | None:
        """The manifest that an image's whole name means, `host` being the registry's own.

        ECR's real names (`123456789012.dkr.ecr.us-east-1.amazonaws.com/app:1`) are understood, too.
        """
        first, _, rest = reference.partition("/")
        parts = first.split(".")
        if parts[1:3] == ["dkr", "ecr"] and first.endswith(ECR_HOST):
            rest = f"{parts[3]}/{rest}"
        elif first != host:
            return None
        name, tag = _split(rest)
        try:
            found = self.manifest(name, tag)
        except RefusedError:
            return None
        return found[0] if found else None


def _split(rest: str) -> tuple[str, str]:
    if "@" in rest:
        name, _, digest = rest.partition("@")
        return name.partition(":")[0], digest
    name, _, tag = rest.partition(":")
    return name, tag or "latest"


def _image(repository: Any, reference: str) -> Any | None:
    for image in repository.images:
        if reference in image.image_tags or reference == image.image_digest:
            return image
    return None


def _digest(image: Image) -> str:
    return digest_of(image.image_manifest.encode())


def _size(image: Image) -> int:
    """The layers as they travel, compressed; without the configuration, as ECR counts."""
    return sum(int(layer.get("size", 0)) for layer in json.loads(image.image_manifest).get("layers", ()))


def mend(place: Callable[[], str], keys: Keys) -> None:
    """Gives repositories the registry at `place` (`127.0.0.1:5000`), and `keys` to log in with."""
    put_image = ECRBackend.put_image

    def put(
        backend: ECRBackend,
        repository_name: str,
        image_manifest: str,
        image_tag: Any,
        image_manifest_mediatype: str | None = None,
        digest: str | None = None,
    ) -> Image:
        repository = backend._get_repository(repository_name)
        holder = _image(repository, image_tag) if image_tag else None
        # A tag that moves on leaves its image behind without one.
        if (
            holder is not None
            and holder.image_manifest != image_manifest
            and not repository.is_tag_immutable()
        ):
            holder.remove_tag(image_tag)
        made: Image = put_image(
            backend,
            repository_name,
            image_manifest,
            image_tag,
            image_manifest_mediatype,
            digest,
        )
        return made

    def token(request: ECRResponse) -> ActionResult:
        password, ends = keys.make()
        encoded = base64.b64encode(f"{USER}:{password}".encode()).decode()
        when = datetime.fromtimestamp(ends, UTC)
        return ActionResult(
            {
                "authorizationData": [
                    {
                        "authorizationToken": encoded,
                        "expiresAt": when,
                        "proxyEndpoint": f"http://{place()}",
                    }
                ]
            }
        )

    def uri(repository: Repository) -> str:
        return f"{place()}/{repository.region_name}/{repository.name}"

    def keep(repository: Repository, uri: str) -> None:
        """It follows from the name."""

    replace(ECRBackend, put_image=put)
    replace(ECRResponse, get_authorization_token=token)
    replace(Image, get_image_digest=_digest, get_image_size_in_bytes=_size)
    add(Repository, uri=property(uri, keep))
