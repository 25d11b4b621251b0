"""Putting objects into buckets: whole or in parts side by side, marked with whose they are."""

from __future__ import annotations

import hashlib
import math
import mimetypes
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from engine.aws.errors import AwsError
from engine.errors import LabctlError, LostAnswer, StepFailed
from engine.resources.aws._aws import unless_gone
from engine.resources.s3._s3 import (
    BATCH,
    abort,
    ask,
    delete_versions,
    or_nothing,
    settled,
    side_by_side,
    unhindered,
)

if TYPE_CHECKING:
    from engine.world import World

WHOLE: Final = 16 << 20
"""Bytes up to which an object goes in one request, and the size of a part above."""
MOST_PARTS: Final = 10_000
LARGEST: Final = 50 << 40
"""The most bytes that S3 takes in one object."""
_OWNER: Final = "labctl-owner"
_TOKEN: Final = "labctl-token"
_HASH: Final = "labctl-sha256"
_TYPES: Final = mimetypes.MimeTypes()
"""Python's own table: the system's differs from machine to machine."""


@dataclass(frozen=True)
class Source:
    """What an object is to hold: a file, or bytes; and its hash in hex."""

    content: Path | bytes
    sha256: str
    size: int


def content_type(name: str) -> str:
    """The content type that a name suggests; texts are taken to be UTF-8."""
    guessed, encoding = _TYPES.guess_type(name, strict=False)
    if guessed is None or encoding is not None:
        return "binary/octet-stream"
    return f"{guessed}; charset=utf-8" if guessed.startswith("text/") else guessed


def marks(world: World, sha256: str) -> dict[str, str]:
    """Metadata that say whose an object is and what it holds, as tags do of other things.

    Metadata are free and come with HeadObject; tags of objects are billed, and read one by one. Whoever may
    read an object sees its metadata, so they tell the lab and the address only by a hash.
    """
    held = {_OWNER: owner(world), _TOKEN: world.job.token, _HASH: sha256}
    return {name: text for name, text in held.items() if text}


def owner(world: World) -> str:
    """The mark of what the resource at `world.job`'s address has put."""
    return hashlib.sha256(f"{world.lab}\0{world.job.address}".encode()).hexdigest()[:32]


def owner_of(answer: Mapping[str, Any] | None) -> str | None:
    """That mark of what HeadObject or GetObject told of."""
    metadata: Mapping[str, str] = (answer or {}).get("Metadata", {})
    return metadata.get(_OWNER)


def hash_in(metadata: Mapping[str, str]) -> str | None:
    """The hash of its content that an object was put with."""
    return metadata.get(_HASH)


def others_in(metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata without labctl's own."""
    return {name: text for name, text in metadata.items() if name not in (_OWNER, _TOKEN, _HASH)}


def head(world: World, bucket: str, key: str) -> dict[str, Any] | None:
    """HeadObject; None where there is no such object or bucket."""
    return or_nothing(world, "head_object", "404", "NoSuchBucket", "NoSuchKey", Bucket=bucket, Key=key)


def is_ours(world: World, answer: Mapping[str, Any]) -> bool:
    """Whether what HeadObject told of was put by a create for `world.job`."""
    token = answer.get("Metadata", {}).get(_TOKEN)
    return owner_of(answer) == owner(world) and (not world.job.token or token == world.job.token)


@dataclass
class Progress:
    """Tells how many bytes of how many have gone, in steps that are worth telling."""

    world: World
    total: int
    what: str
    sent: int = 0
    told: int = 0
    lock: Lock = field(default_factory=Lock)

    def add(self, size: int) -> None:
        """So many bytes more have arrived."""
        with self.lock:
            self.sent += size
            if self.total <= WHOLE or self.sent - self.told < self.total / 20:
                return
            self.told = self.sent
            share = 100 * self.sent // self.total
            self.world.job.say(f"{self.what}: {share} % of {self.total / 1e6:.0f} MB uploaded")


def put(
    world: World,
    bucket: str,
    key: str,
    source: Source,
    settings: Mapping[str, Any],
    *,
    new: bool,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Put an object; with `new` only if there is none under this key (PreconditionFailed where there is).

    Above 16 MiB it goes in parts, several at a time. Gives ETag and VersionId. Raises AwsError, and
    LostAnswer where a `new` one may be there.
    """
    progress = progress or Progress(world, source.size, key)
    condition = {"IfNoneMatch": "*"} if new else {}
    if source.size <= WHOLE:
        body = source.content if isinstance(source.content, bytes) else source.content.read_bytes()
        answer = _sent(world, "put_object", new, Bucket=bucket, Key=key, Body=body, **settings, **condition)
        progress.add(source.size)
        return answer
    return _in_parts(world, bucket, key, source, settings, condition, progress)


def _sent(world: World, operation: str, new: bool, **params: Any) -> dict[str, Any]:
    if new:
        return unhindered(world, lambda: world.aws.call("s3", operation, **params))
    return settled(world, operation, **params)


def _in_parts(
    world: World,
    bucket: str,
    key: str,
    source: Source,
    settings: Mapping[str, Any],
    condition: Mapping[str, str],
    progress: Progress,
) -> dict[str, Any]:
    begun = settled(
        world,
        "create_multipart_upload",
        Bucket=bucket,
        Key=key,
        ChecksumAlgorithm="CRC32",
        **settings,
    )
    upload = str(begun["UploadId"])

    def send(part: tuple[int, int, int]) -> dict[str, Any]:
        number, start, size = part
        body = _piece(source.content, start, size)
        params = {"Bucket": bucket, "Key": key, "UploadId": upload, "PartNumber": number}
        answer = ask(world, "upload_part", **params, Body=body, ChecksumAlgorithm="CRC32")
        progress.add(size)
        told = {"ETag": answer["ETag"], "PartNumber": number}
        return told | ({"ChecksumCRC32": answer["ChecksumCRC32"]} if "ChecksumCRC32" in answer else {})

    try:
        parts = side_by_side(_parts(source.size), send)
        return _sent(
            world,
            "complete_multipart_upload",
            bool(condition),
            Bucket=bucket,
            Key=key,
            UploadId=upload,
            MultipartUpload={"Parts": parts},
            **condition,
        )
    except LostAnswer:
        raise
    except (LabctlError, OSError):
        abort(world, bucket, key, upload)
        raise


def _parts(size: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and size of each part: at least 16 MiB, and at most 10,000 of them."""
    length = max(WHOLE, math.ceil(size / MOST_PARTS))
    for at, start in enumerate(range(0, size, length)):
        yield at + 1, start, min(length, size - start)


def _piece(content: Path | bytes, start: int, size: int) -> bytes:
    if isinstance(content, bytes):
        return content[start : start + size]
    with content.open("rb") as stream:
        stream.seek(start)
        return stream.read(size)


def put_ours(
    world: World,
    bucket: str,
    key: str,
    source: Source,
    settings: Mapping[str, Any],
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Put an object over one of this resource's own, or where there is none. Raises StepFailed elsewhere."""
    try:
        return put(world, bucket, key, source, settings, new=True, progress=progress)
    except AwsError as error:
        if error.code != "PreconditionFailed":
            raise
    if owner_of(head(world, bucket, key)) != owner(world):
        raise taken(bucket, key)
    return put(world, bucket, key, source, settings, new=False, progress=progress)


def taken(bucket: str, key: str) -> StepFailed:
    """The refusal to write over an object of somebody else's."""
    error = StepFailed(
        f"there is an object {key} in bucket {bucket} already, and this resource did not make it",
        "choose another key, or delete that object if nobody needs it",
    )
    error.no_effect = True
    return error


def abort_all(world: World, bucket: str, key: str) -> None:
    """Forget the unfinished uploads of an object, which are billed like it (ListMultipartUploads)."""
    listing = ("s3", "list_multipart_uploads", "Uploads")
    uploads = unless_gone(lambda: world.aws.pages(*listing, Bucket=bucket, Prefix=key))
    for upload in uploads or ():
        if upload["Key"] == key:
            abort(world, bucket, key, upload["UploadId"])


def delete_keys(world: World, bucket: str, keys: Iterable[str], prefix: str) -> None:
    """Delete objects for good, every version and delete marker of them; quiet where they or it are gone.

    All of `keys` begin with `prefix`, below which is looked (ListObjectVersions).
    """
    wanted = set(keys)
    onward: dict[str, Any] = {}
    while True:
        listed = or_nothing(
            world,
            "list_object_versions",
            "NoSuchBucket",
            Bucket=bucket,
            Prefix=prefix,
            MaxKeys=BATCH,
            **onward,
        )
        if listed is None:
            return
        versions = [*listed.get("Versions", ()), *listed.get("DeleteMarkers", ())]
        delete_versions(world, bucket, [version for version in versions if version["Key"] in wanted])
        if not listed.get("IsTruncated") or all(key < listed["NextKeyMarker"] for key in wanted):
            return
        onward = {"KeyMarker": listed["NextKeyMarker"]}
        if listed.get("NextVersionIdMarker"):
            onward["VersionIdMarker"] = listed["NextVersionIdMarker"]
