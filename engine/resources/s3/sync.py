"""Folders in S3 buckets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from pydantic import field_validator

from engine.aws.errors import AwsError
from engine.by_hand import options, word
from engine.local_files import LocalFolder, hash_of
from engine.refs import Unknown, holds_unknown
from engine.resource import Fixed, Id, Output, Place, Resource, Unread, Values
from engine.resources.aws import _prices
from engine.resources.aws._aws import finish, iam_actions
from engine.resources.s3._s3 import monthly, region_of, side_by_side, split, url_of
from engine.resources.s3._upload import (
    Progress,
    Source,
    content_type,
    delete_keys,
    head,
    is_ours,
    marks,
    owner_of,
    put,
    put_ours,
    taken,
)

if TYPE_CHECKING:
    from engine.world import World

INDEX: Final = ".labctl-sync.json"
"""The object below the prefix that says which of the others labctl has put there."""
_SHORT: Final = 16
"""Hexadecimal digits of a file's hash that tell one content from another."""
_LISTED: Final = 5
"""The most files that a difference names."""

Files = dict[str, dict[str, str]]
"""By name below the prefix, `sha256` and, once it is put, S3's `etag`."""


class S3Sync(Resource):
    """The files of a folder as objects in a bucket, uploaded side by side; only what differs is sent again.

    An object `.labctl-sync.json` beside them says which ones labctl has put there: no others are written over
    or deleted.
    """

    kind: ClassVar[str] = "s3_sync"
    actions: ClassVar[Sequence[str]] = iam_actions(
        "s3",
        "ListBucket ListBucketVersions GetObject PutObject DeleteObject DeleteObjectVersion "
        "AbortMultipartUpload",
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("BUCKET/PREFIX"),
        "arn": Output("arn:aws:s3:::BUCKET/PREFIX*, all of its objects, for policies"),
        "url": Output("where it begins on the web, https://…/"),
        "uri": Output("s3://BUCKET/PREFIX"),
        "files": Output("how many files are there"),
        "size": Output("bytes of all of them"),
        "monthly_usd": Output("USD per month for keeping them, without requests and traffic"),
    }

    bucket: Fixed[Id]
    """The bucket's name."""
    file_root: LocalFolder
    """A folder beside the playbook or in templates/; what its `.dockerignore` names is left out."""
    key_prefix: Fixed[str] = ""
    """What all keys begin with, `site/`; empty for the whole bucket."""
    cache_control: Unread[str | None] = None
    """How long browsers and proxies may keep them, `max-age=3600`."""
    storage_class: Unread[
        Literal["STANDARD", "INTELLIGENT_TIERING", "STANDARD_IA", "ONEZONE_IA", "GLACIER_IR"]
    ] = "STANDARD"
    """Cheaper ones cost something to read from."""

    @field_validator("key_prefix")
    @classmethod
    def _prefix(cls, value: str) -> str:
        if isinstance(value, Unknown) or not value:
            return value
        if value.startswith("/"):
            raise ValueError("a key does not begin with a slash: leave it out")
        return value if value.endswith("/") else f"{value}/"

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """The folder is compared by the hashes of its files."""
        values = super().wanted(also)
        if isinstance(self.file_root, LocalFolder):
            values["file_root"] = {name: _short(each.sha256) for name, each in self._sources().items()}
        return values

    def _sources(self) -> dict[str, Source]:
        return {
            name: Source(path, hash_of(path), path.stat().st_size)
            for name, path in self.file_root.members()
            if path.is_file()
        }

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """How many files differ, and some of them by name."""
        if name != "file_root" or not isinstance(wanted, dict):
            return None
        there = there or {}
        sorts = {
            "new": [each for each in wanted if each not in there],
            "changed": [each for each in wanted if each in there and there[each] != wanted[each]],
            "no longer wanted": [each for each in there if each not in wanted],
        }
        return "; ".join(f"{len(names)} {sort}: {_some(names)}" for sort, names in sorts.items() if names)

    @classmethod
    def unsettles(cls, changed: frozenset[str]) -> frozenset[str]:
        """Other files are another number and size of them."""
        return frozenset({"files", "size", "monthly_usd"}) if "file_root" in changed else frozenset()

    def foreseen(self) -> str | None:
        """BUCKET/PREFIX."""
        unknown = holds_unknown([self.bucket, self.key_prefix])
        return None if unknown else f"{self.bucket}/{self.key_prefix}"

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """What is below the prefix; of the bucket the list of what is in it."""
        if holds_unknown([self.bucket, self.key_prefix]):
            return {}
        bucket = f"arn:{place.partition}:s3:::{self.bucket}"
        inside = f"{bucket}/{self.key_prefix}*"
        listing = {"s3:ListBucket", "s3:ListBucketVersions"}
        return {action: [bucket if action in listing else inside] for action in self.actions}

    def create(self, world: World) -> str:
        """PutObject of the index, refused where there is one already; then the files, several at a time."""
        id = f"{self.bucket}/{self.key_prefix}"
        try:
            _write(world, id, {}, new=True)
        except AwsError as error:
            if error.code != "PreconditionFailed":
                raise
            raise taken(self.bucket, self.key_prefix + INDEX) from None
        finish(world, id, lambda: self._bring_round(world, id, {}, again=False))
        return id

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """What differs is uploaded, what is no longer wanted deleted; new settings are for all files."""
        self._bring_round(world, id, _read(world, id).files, again=bool(changed - {"file_root"}))

    def _bring_round(self, world: World, id: str, there: Files, *, again: bool) -> None:
        wanted = self._sources()
        present = _present(there, _etags(world, id))
        due = {
            name: source
            for name, source in wanted.items()
            if again or present.get(name, {}).get("sha256") != source.sha256
        }
        gone = [name for name in there if name not in wanted]
        # What may be there from now on is written down first: a run that is cut short forgets nothing.
        _write(world, id, {**{name: {} for name in due}, **there}, new=False)
        if gone:
            delete_keys(world, self.bucket, [self.key_prefix + name for name in gone], self.key_prefix)
        sent = self._upload(world, due)
        kept = {name: held for name, held in there.items() if name in wanted}
        _write(world, id, {**kept, **sent}, new=False)

    def _upload(self, world: World, due: Mapping[str, Source]) -> Files:
        total = sum(source.size for source in due.values())
        progress = Progress(world, total, f"{len(due)} files")

        def send(item: tuple[str, Source]) -> tuple[str, dict[str, str]]:
            name, source = item
            settings = self._settings(name) | {"Metadata": marks(world, source.sha256)}
            answer = put_ours(world, self.bucket, self.key_prefix + name, source, settings, progress)
            return name, {"sha256": source.sha256, "etag": answer["ETag"]}

        return dict(side_by_side(due.items(), send))

    def _settings(self, name: str) -> dict[str, Any]:
        given = {"CacheControl": self.cache_control, "StorageClass": self.storage_class}
        asked = {key: value for key, value in given.items() if value is not None}
        return {"ContentType": content_type(name), **asked}

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """For each folder its index and a listing of what is there (GetObject, ListObjectsV2)."""
        ids = list(dict.fromkeys(ids))
        found = side_by_side(ids, lambda id: _seen(world, id))
        return {id: values for id, values in zip(ids, found, strict=True) if values is not None}

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """Every version of what the index names, and of the index in the end."""
        index = _read(world, id)
        bucket, prefix = split(id)
        if index.found:
            delete_keys(world, bucket, [prefix + name for name in _ours(world, id, index)], prefix)
        delete_keys(world, bucket, [prefix + INDEX], prefix + INDEX)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By the index, if it bears the marks that it was put with."""
        id = world.job.foreseen
        there = head(world, split(id)[0], split(id)[1] + INDEX) if id else None
        return [id] if there is not None and is_ours(world, there) else []

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws s3 sync`, or `aws s3 rm`."""
        if action == "delete":
            put_there = [*self._beside.there.get("file_root", {}), INDEX]
            return [f"aws s3 rm {word(f's3://{id}{name}')}" for name in put_there]
        where = f"s3://{word(self.bucket)}/{word(self.key_prefix) if self.key_prefix else ''}"
        given = options(
            cache_control=self.cache_control,
            storage_class=self.storage_class if "storage_class" in self.model_fields_set else None,
            delete=action == "update",
        )
        folder = self.file_root.path if isinstance(self.file_root, LocalFolder) else self.file_root
        return [f"aws s3 sync {word(folder)} {where} {given}".rstrip()]

    def price(self) -> float | None:
        """Keeping them; requests and traffic are not foreseen."""
        if not isinstance(self.file_root, LocalFolder) or isinstance(self.storage_class, Unknown):
            return None
        cost = monthly(sum(source.size for source in self._sources().values()), self.storage_class)
        return None if cost is None else cost / _prices.HOURS_A_MONTH


@dataclass(frozen=True)
class _Index:
    found: bool
    files: Files
    owner: str | None


def _read(world: World, id: str) -> _Index:
    """The index of a folder (GetObject)."""
    bucket, prefix = split(id)
    try:
        answer, body = world.aws.body("s3", "get_object", Bucket=bucket, Key=prefix + INDEX)
    except AwsError as error:
        if not error.not_found:
            raise
        return _Index(False, {}, None)
    try:
        files = json.loads(body)["files"]
    except (ValueError, KeyError):
        files = {}  # somebody wrote over it: everything in the folder is sent again
    return _Index(True, dict(files), owner_of(answer))


def _write(world: World, id: str, files: Files, *, new: bool) -> None:
    bucket, prefix = split(id)
    body = json.dumps({"files": files}, sort_keys=True).encode()
    settings = {"ContentType": "application/json", "Metadata": marks(world, "")}
    put(world, bucket, prefix + INDEX, Source(body, "", len(body)), settings, new=new)


def _etags(world: World, id: str) -> dict[str, tuple[str, int]]:
    """By name below the prefix, S3's tag and the size of what is there (ListObjectsV2)."""
    bucket, prefix = split(id)
    listed = world.aws.pages("s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix=prefix)
    return {each["Key"].removeprefix(prefix): (each["ETag"], int(each["Size"])) for each in listed}


def _present(files: Files, etags: Mapping[str, tuple[str, int]]) -> Files:
    """Of what the index names, what is there as it was put."""
    return {name: held for name, held in files.items() if etags.get(name, ("", 0))[0] == held.get("etag")}


def _seen(world: World, id: str) -> Values | None:
    index = _read(world, id)
    if not index.found:
        return None
    bucket, prefix = split(id)
    etags = _etags(world, id)
    present = _present(index.files, etags)
    lost = {name: "differs" for name in index.files if name in etags and name not in present}
    size = sum(etags[name][1] for name in present)
    region = region_of(world, bucket)
    return {
        "id": id,
        "bucket": bucket,
        "key_prefix": prefix,
        "arn": f"arn:aws:s3:::{id}*",
        "url": url_of(bucket, prefix, region),
        "uri": f"s3://{id}",
        "file_root": {name: _short(held["sha256"]) for name, held in present.items()} | lost,
        "files": len(present) + len(lost),
        "size": size,
        "monthly_usd": monthly(size, "STANDARD", region),
    }


def _ours(world: World, id: str, index: _Index) -> Iterable[str]:
    """What of the index labctl has really put: of what it may not have come to, the object itself says it."""
    bucket, prefix = split(id)
    unsure = [name for name, held in index.files.items() if "etag" not in held]

    def ours(name: str) -> bool:
        return index.owner is not None and owner_of(head(world, bucket, prefix + name)) == index.owner

    certain = [name for name in index.files if name not in unsure]
    kept = side_by_side(unsure, ours)
    return [*certain, *(name for name, mine in zip(unsure, kept, strict=True) if mine)]


def _short(sha256: str) -> str:
    return sha256[:_SHORT]


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")
