"""Objects in S3 buckets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from engine.aws.errors import AwsError
from engine.by_hand import options, told, word
from engine.local_files import LocalFile, TemplateFile
from engine.refs import Unknown, holds_unknown
from engine.resource import Fixed, Id, Output, Place, Resource, Unread, Values
from engine.resources.aws import _prices
from engine.resources.aws._aws import iam_actions
from engine.resources.s3._s3 import ask, monthly, region_of, side_by_side, split, url_of
from engine.resources.s3._upload import (
    LARGEST,
    Source,
    abort_all,
    content_type,
    delete_keys,
    hash_in,
    head,
    is_ours,
    marks,
    others_in,
    put,
    taken,
)

if TYPE_CHECKING:
    from engine.world import World

Class = Literal[
    "STANDARD",
    "INTELLIGENT_TIERING",
    "STANDARD_IA",
    "ONEZONE_IA",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
    "REDUCED_REDUNDANCY",
]
_HOLDS: Final = ("src", "content", "template")
_HEADERS: Final = {
    "content_type": "ContentType",
    "cache_control": "CacheControl",
    "content_disposition": "ContentDisposition",
    "content_encoding": "ContentEncoding",
    "content_language": "ContentLanguage",
    "storage_class": "StorageClass",
    "encryption_mode": "ServerSideEncryption",
    "encryption_kms_key_id": "SSEKMSKeyId",
}


class S3Object(Resource):
    """An object in a bucket, with the content of a file, a template or a text; put anew when that changes.

    Whose it is stands in its metadata (`labctl-owner`), as labels say it of containers.
    """

    kind: ClassVar[str] = "s3_object"
    any_text: ClassVar[frozenset[str]] = frozenset({"content"})
    actions: ClassVar[Sequence[str]] = iam_actions(
        "s3",
        "ListBucket ListBucketVersions ListBucketMultipartUploads GetObject PutObject PutObjectAcl "
        "DeleteObject DeleteObjectVersion AbortMultipartUpload",
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("BUCKET/KEY"),
        "key": Output("the same as object"),
        "arn": Output("arn:aws:s3:::BUCKET/KEY, for policies"),
        "url": Output("where it is on the web for those who may read it, https://…"),
        "uri": Output("s3://BUCKET/KEY"),
        "size": Output("bytes"),
        "etag": Output("S3's tag of this content"),
        "version_id": Output("the version, where the bucket keeps versions"),
        "sha256": Output("hash of its content, in hex"),
        "monthly_usd": Output("USD per month for keeping it, without requests and traffic"),
    }

    bucket: Fixed[Id]
    """The bucket's name."""
    object: Fixed[str]
    """Its key: a name, with slashes if you like."""
    src: LocalFile | None = None
    """A file beside the playbook or in templates/; above 16 MiB it goes in parts."""
    content: str | None = None
    """The text itself."""
    template: TemplateFile | None = None
    """A Jinja2 template beside the playbook or in templates/, filled in."""
    content_type: str | None = Field(default=None, min_length=1)
    """Guessed from the key where left out."""
    cache_control: str | None = None
    """How long browsers and proxies may keep it, `max-age=3600`."""
    content_disposition: str | None = None
    """`attachment; filename=…` for a download."""
    content_encoding: str | None = None
    """`gzip` where the content is compressed."""
    content_language: str | None = None
    """`en`, `vi`, …"""
    metadata: dict[str, str] = Field(default={})
    """More to be kept with it: names in small letters, and ASCII texts; 2 KB in all."""
    storage_class: Class = "STANDARD"
    """Cheaper ones cost something to read from."""
    encryption_mode: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = None
    """As the bucket says where left out."""
    encryption_kms_key_id: Id | None = None
    """The KMS key (id or ARN) for aws:kms."""
    permission: Unread[
        Literal["private", "public-read", "authenticated-read", "bucket-owner-full-control"] | None
    ] = None
    """Its ACL; only for buckets with ACLs (object_ownership other than BucketOwnerEnforced)."""
    adopt: bool = False
    """Take on an object that is there already under this key, and give it this content; it is not deleted."""

    @field_validator("object")
    @classmethod
    def _key(cls, value: str) -> str:
        if isinstance(value, Unknown):
            return value
        if not value or len(value.encode()) > 1024:
            raise ValueError("a key has 1 to 1024 bytes")
        if value.startswith("/"):
            raise ValueError("a key does not begin with a slash: leave it out")
        return value

    @field_validator("metadata")
    @classmethod
    def _small_letters(cls, value: dict[str, str]) -> dict[str, str]:
        if isinstance(value, Unknown):
            return value
        for name, text in value.items():
            if name != name.lower() or name.startswith("labctl-") or not name.isascii():
                raise ValueError(f"{name!r}: names are in small letters, and do not begin with labctl-")
            if isinstance(text, str) and not text.isascii():
                raise ValueError(f"{name!r}: S3 keeps ASCII texts only")
        return value

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(getattr(self, name) is not None for name in _HOLDS) != 1:
            raise ValueError("needs one of `src` (a file), `template` or `content` (a text)")
        if self.encryption_kms_key_id is not None and self.encryption_mode in (None, "AES256"):
            raise ValueError("encryption_kms_key_id is for encryption_mode: aws:kms")
        if isinstance(self.src, LocalFile) and self.src.size > LARGEST:
            raise ValueError("S3 takes objects of at most 50 TB")
        return self

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """The content is compared by its hash."""
        values = super().wanted(also)
        values.pop("adopt", None)
        for name in _HOLDS:
            values.pop(name, None)
            held = getattr(self, name)
            if held is not None:
                values[name] = self._hash()
        return values

    def _hash(self) -> str | Unknown:
        if isinstance(self.src, LocalFile):
            return f"sha256:{self.src.sha256}"
        text = self._text()
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}" if isinstance(text, str) else text

    def _text(self) -> str | Unknown:
        """The text it is to hold; nothing for a file."""
        if self.template is not None:
            return self.template if isinstance(self.template, Unknown) else self.template.text
        return self.src if isinstance(self.src, Unknown) else self.content or ""

    def in_full(self) -> Values:
        """The text behind its hash."""
        text = self.src.text() if isinstance(self.src, LocalFile) else self._text()
        if not isinstance(text, str):
            return {}
        held = [name for name in _HOLDS if getattr(self, name) is not None]
        return dict.fromkeys((*held, "sha256", "etag"), text)

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """A KMS key by its id or its ARN."""
        if name == "encryption_kms_key_id" and isinstance(wanted, str) and isinstance(there, str):
            return wanted.rpartition("/")[2] != there.rpartition("/")[2]
        return super().differs(name, wanted, there)

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """Hashes say little: the content differs."""
        return "its content differs" if name in _HOLDS else None

    @classmethod
    def unsettles(cls, changed: frozenset[str]) -> frozenset[str]:
        """A new content is a new version."""
        told = {"etag", "version_id"}
        return frozenset(told | {"size", "sha256", "monthly_usd"} if changed & set(_HOLDS) else told)

    def foreseen(self) -> str | None:
        """BUCKET/KEY."""
        return None if holds_unknown([self.bucket, self.object]) else f"{self.bucket}/{self.object}"

    def adopts(self, world: World) -> str | None:
        """The object under this key, if the playbook says `adopt` (HeadObject)."""
        if not self.adopt:
            return None
        return self.foreseen() if head(world, self.bucket, self.object) is not None else None

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """The object; of the bucket the list of what is in it."""
        if holds_unknown([self.bucket, self.object]):
            return {}
        bucket = f"arn:{place.partition}:s3:::{self.bucket}"
        inside = f"{bucket}/{self.object}"
        listing = {"s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads"}
        return {action: [bucket if action in listing else inside] for action in self.actions}

    def create(self, world: World) -> str:
        """PutObject or a multipart upload, refused by S3 itself where there is an object already."""
        try:
            self._put(world, new=True)
        except AwsError as error:
            if error.code != "PreconditionFailed":
                raise
            raise taken(self.bucket, self.object) from None
        return f"{self.bucket}/{self.object}"

    def _put(self, world: World, *, new: bool) -> None:
        source = self._source()
        settings = self._settings() | {"Metadata": {**self.metadata, **marks(world, source.sha256)}}
        put(world, self.bucket, self.object, source, settings, new=new)

    def _source(self) -> Source:
        if isinstance(self.src, LocalFile):
            return Source(self.src.path, self.src.sha256, self.src.size)
        body = str(self._text()).encode()
        return Source(body, hashlib.sha256(body).hexdigest(), len(body))

    def _settings(self) -> dict[str, Any]:
        given = {key: getattr(self, name) for name, key in _HEADERS.items()}
        given["ACL"] = self.permission
        given["ContentType"] = self.content_type or content_type(self.object)
        return {key: value for key, value in given.items() if value is not None}

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """HeadObject for each, side by side: S3 has no call that tells this of several."""
        ids = list(dict.fromkeys(ids))
        answers = side_by_side(ids, lambda id: head(world, *split(id)))
        found = {id: answer for id, answer in zip(ids, answers, strict=True) if answer is not None}
        return {id: _values(id, answer, region_of(world, split(id)[0])) for id, answer in found.items()}

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """Put anew: what is kept with an object cannot be changed otherwise. Only its ACL can."""
        if changed == {"permission"}:
            acl = self.permission or "private"
            ask(world, "put_object_acl", Bucket=self.bucket, Key=self.object, ACL=acl)
        else:
            self._put(world, new=False)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """Every version of it, delete markers, and uploads of it that were cut short."""
        bucket, key = split(id)
        delete_keys(world, bucket, [key], key)
        abort_all(world, bucket, key)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By its key, if it bears the marks that it was put with."""
        id = world.job.foreseen
        there = head(world, *split(id)) if id else None
        return [id] if there is not None and is_ours(world, there) else []

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws s3 cp`, or `aws s3 rm`."""
        if action == "delete":
            return [f"aws s3 rm {word(f's3://{id}')}"]
        where = f"s3://{word(self.bucket)}/{word(self.object)}"
        given = options(
            content_type=self.content_type or content_type(str(self.object)),
            cache_control=self.cache_control,
            content_disposition=self.content_disposition,
            content_encoding=self.content_encoding,
            content_language=self.content_language,
            storage_class=self.storage_class if "storage_class" in self.model_fields_set else None,
            sse=self.encryption_mode,
            sse_kms_key_id=self.encryption_kms_key_id,
            acl=self.permission,
        )
        if isinstance(self.src, LocalFile):
            made = f"aws s3 cp {word(self.src.path)} {where} {given}"
        else:
            made = f"printf %s {word(self._text())} | aws s3 cp - {where} {given}"
        return [made, *self._told()]

    def _told(self) -> list[str]:
        asked = f"aws s3api head-object --bucket {word(self.bucket)} --key {word(self.object)}"
        return told(self, asked, {"etag": "ETag", "size": "ContentLength", "version_id": "VersionId"})

    def price(self) -> float | None:
        """Keeping it; requests and traffic are not foreseen."""
        if isinstance(self.src, LocalFile):
            size = self.src.size
        else:
            text = self._text()
            # A text not known yet costs next to nothing, whatever it will be.
            size = len(text.encode()) if isinstance(text, str) else 0
        cost = monthly(size, self.storage_class)
        return None if cost is None else cost / _prices.HOURS_A_MONTH


def _values(id: str, answer: Mapping[str, Any], region: str) -> Values:
    bucket, key = split(id)
    kept = answer.get("Metadata") or {}
    sha256 = hash_in(kept)
    size = int(answer.get("ContentLength") or 0)
    storage = answer.get("StorageClass") or "STANDARD"
    return {
        "id": id,
        "bucket": bucket,
        "object": key,
        "key": key,
        "arn": f"arn:aws:s3:::{id}",
        "url": url_of(bucket, key, region),
        "uri": f"s3://{id}",
        "size": size,
        "etag": str(answer.get("ETag", "")).strip('"'),
        "version_id": answer.get("VersionId"),
        "sha256": sha256,
        "monthly_usd": monthly(size, storage, region),
        **dict.fromkeys(_HOLDS, f"sha256:{sha256}" if sha256 else None),
        "content_type": answer.get("ContentType"),
        "cache_control": answer.get("CacheControl"),
        "content_disposition": answer.get("ContentDisposition"),
        "content_encoding": answer.get("ContentEncoding"),
        "content_language": answer.get("ContentLanguage"),
        "metadata": others_in(kept),
        "storage_class": storage,
        "encryption_mode": answer.get("ServerSideEncryption"),
        "encryption_kms_key_id": answer.get("SSEKMSKeyId"),
    }
