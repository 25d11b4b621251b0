"""What the S3 kinds share: requests that insist while S3 settles, emptying, addresses on the web, prices."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote

from engine.aws.errors import AwsError
from engine.aws.tags import told_tags
from engine.errors import StepFailed
from engine.resources.aws._aws import insist

if TYPE_CHECKING:
    from engine.world import World

T = TypeVar("T")
R = TypeVar("R")

SIDE_BY_SIDE: Final = 10
"""Requests under way at a time, within one step."""
BATCH: Final = 1000
"""The most keys that S3 lists or deletes in one request."""
_SETTLES: Final = 20.0
"""Seconds that S3 is given to show a bucket made a moment ago, or settings it has just taken."""
_BUSY_CODES: Final = frozenset({"OperationAborted", "ConditionalRequestConflict"})
_BUSY: Final = 180.0
"""Seconds to wait while S3 is busy with an earlier request about a bucket (OperationAborted)."""
_DASHED: Final = frozenset(
    {
        "us-east-1",
        "us-west-1",
        "us-west-2",
        "ap-southeast-1",
        "ap-southeast-2",
        "ap-northeast-1",
        "eu-west-1",
        "sa-east-1",
    }
)
"""The older regions, whose website endpoints are s3-website-REGION instead of s3-website.REGION."""

_RESERVED: Final = re.compile(
    r"(xn--|sthree-|amzn-s3-demo-).*|.*(-s3alias|--ol-s3|\.mrap|--x-s3|--table-s3|-an)"
)
_LIKE_AN_ADDRESS: Final = re.compile(r"\d+\.\d+\.\d+\.\d+")


def checked_name(name: str) -> str:
    """A bucket's name by S3's rules (“General purpose bucket naming rules”). Raises ValueError in words."""
    if not 3 <= len(name) <= 63:
        raise ValueError(f"{name!r} has {len(name)} characters: S3 takes 3 to 63")
    if not re.fullmatch(r"[a-z0-9.-]+", name):
        raise ValueError(f"{name!r}: names of buckets have small letters, digits, hyphens and dots")
    if not re.fullmatch(r"[a-z0-9].*[a-z0-9]", name):
        raise ValueError(f"{name!r}: the name of a bucket begins and ends with a letter or digit")
    if ".." in name or _LIKE_AN_ADDRESS.fullmatch(name):
        raise ValueError(f"{name!r}: no two dots in a row, and nothing that looks like an IP address")
    if _RESERVED.fullmatch(name):
        raise ValueError(f"{name!r} begins or ends with something that S3 keeps for itself")
    return name


def ask(world: World, operation: str, **params: Any) -> dict[str, Any]:
    """An S3 request that may be sent twice without harm: reads, deletes, settings."""
    return world.aws.call("s3", operation, retry=True, **params)


def settled(world: World, operation: str, **params: Any) -> dict[str, Any]:
    """A harmless request about a bucket that S3 may not have seen everywhere, or is still busy with."""

    def send() -> dict[str, Any]:
        return insist(
            world,
            lambda: ask(world, operation, **params),
            lambda error: error.code == "NoSuchBucket" or _blocked(error),
            what="S3 to see what was just made",
            timeout=_SETTLES,
        )

    return unhindered(world, send)


def unhindered(world: World, act: Callable[[], T]) -> T:
    """What `act` gives once S3 is no longer busy with an earlier request about the bucket."""
    return insist(
        world,
        act,
        lambda error: error.code in _BUSY_CODES,
        what="S3 to be done with an earlier request about the bucket",
        timeout=_BUSY,
    )


def _blocked(error: AwsError) -> bool:
    """Whether a public access block that has just been taken off still works."""
    return error.code == "AccessDenied" and "block public access" in error.said


def or_nothing(world: World, operation: str, *codes: str, **params: Any) -> dict[str, Any] | None:
    """A read; None where S3 says by one of `codes` that there is no such thing."""
    try:
        return ask(world, operation, **params)
    except AwsError as error:
        if error.code not in codes:
            raise
        return None


def side_by_side(items: Iterable[T], work: Callable[[T], R]) -> list[R]:
    """`work` for every item, several at a time; raises what the first one that failed raised."""
    with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="s3") as pool:
        return list(pool.map(work, items))


def bucket_tags(world: World, name: str) -> dict[str, str] | None:
    """A bucket's tags, AWS's own included (GetBucketTagging); None where there is no such bucket."""
    try:
        answer = ask(world, "get_bucket_tagging", Bucket=name)
    except AwsError as error:
        if error.not_found:
            return None
        if error.code != "NoSuchTagSet":
            raise
        return {}
    return told_tags(answer["TagSet"])


def count_of(world: World, bucket: str) -> int:
    """How many objects, versions and delete markers a bucket holds, counted up to 1000."""
    listed = ask(world, "list_object_versions", Bucket=bucket, MaxKeys=BATCH)
    return len(listed.get("Versions", ())) + len(listed.get("DeleteMarkers", ()))


def empty(world: World, bucket: str) -> None:
    """Delete everything in a bucket: versions, delete markers, unfinished uploads; 1000 a request."""
    deleted = 0
    while True:
        listed = ask(world, "list_object_versions", Bucket=bucket, MaxKeys=BATCH)
        versions = [*listed.get("Versions", ()), *listed.get("DeleteMarkers", ())]
        if not versions:
            break
        delete_versions(world, bucket, versions)
        deleted += len(versions)
        world.job.say(f"{deleted} object{'' if deleted == 1 else 's'} deleted")
    uploads = world.aws.pages("s3", "list_multipart_uploads", "Uploads", Bucket=bucket)
    for upload in uploads:
        abort(world, bucket, upload["Key"], upload["UploadId"])


def abort(world: World, bucket: str, key: str, upload: str) -> None:
    """Forget an unfinished upload and the parts it has; quiet if it is gone (AbortMultipartUpload)."""
    try:
        ask(world, "abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload)
    except AwsError as error:
        if not error.not_found:
            raise


def delete_versions(world: World, bucket: str, versions: Sequence[Mapping[str, Any]]) -> None:
    """Delete versions for good, 1000 a request (DeleteObjects). Raises StepFailed for those that stay."""
    for start in range(0, len(versions), BATCH):
        chunk = versions[start : start + BATCH]
        objects = [{"Key": version["Key"], "VersionId": version["VersionId"]} for version in chunk]
        answer = ask(world, "delete_objects", Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        errors = answer.get("Errors") or []
        if errors:
            first = errors[0]
            raise StepFailed(
                f"{len(errors)} objects of {bucket} cannot be deleted, {first.get('Key')} for one: "
                f"{first.get('Message')} ({first.get('Code')})",
                "where a retention or a legal hold keeps them: wait until it ends, or take it off",
            )


def domain(bucket: str, region: str) -> str:
    """The name under which a bucket answers on the web."""
    return f"{bucket}.s3.{region}.amazonaws.com"


def split(id: str) -> tuple[str, str]:
    """Bucket and key of an id, BUCKET/KEY."""
    bucket, _, key = id.partition("/")
    return bucket, key


def region_of(world: World, bucket: str) -> str:
    """Where a bucket is (HeadBucket), asked once."""

    def asked() -> str:
        return str(ask(world, "head_bucket", Bucket=bucket).get("BucketRegion") or world.aws.region)

    return world.aws.remember(("s3 region", bucket), asked)


def url_of(bucket: str, key: str, region: str) -> str:
    """Where an object is on the web; the certificate does not cover names of buckets with dots."""
    path = quote(key, safe="/~")
    if "." in bucket:
        return f"https://s3.{region}.amazonaws.com/{bucket}/{path}"
    return f"https://{domain(bucket, region)}/{path}"


def website_domain(bucket: str, region: str) -> str:
    """The name under which a bucket answers as a website, if it is one."""
    return f"{bucket}.s3-website{'-' if region in _DASHED else '.'}{region}.amazonaws.com"


_GB_MONTH: Final = {
    "STANDARD": 0.023,
    "INTELLIGENT_TIERING": 0.023,
    "STANDARD_IA": 0.0125,
    "ONEZONE_IA": 0.01,
    "GLACIER_IR": 0.004,
    "GLACIER": 0.0036,
    "DEEP_ARCHIVE": 0.00099,
    "REDUCED_REDUNDANCY": 0.024,
}
"""USD per GB and month in us-east-1, for the first 50 TB. From aws.amazon.com/s3/pricing."""
_DEARER: Final = {
    "us-west-1": 0.026,
    "ca-central-1": 0.025,
    "eu-central-1": 0.0245,
    "eu-west-2": 0.024,
    "eu-west-3": 0.024,
    "ap-northeast-1": 0.025,
    "ap-northeast-2": 0.025,
    "ap-south-1": 0.025,
    "ap-southeast-1": 0.025,
    "ap-southeast-2": 0.025,
    "sa-east-1": 0.0405,
}
"""USD per GB and month of the class STANDARD, in regions that are not as cheap as us-east-1."""


def monthly(size: int, storage_class: str, region: str = "us-east-1") -> float | None:
    """USD per month for keeping `size` bytes, without requests and traffic; None for unknown classes."""
    price = _GB_MONTH.get(storage_class)
    if price is None:
        return None
    return size / 2**30 * price * _DEARER.get(region, 0.023) / 0.023
