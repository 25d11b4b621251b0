"""An example of each kind of S3."""

from __future__ import annotations

import tempfile
from pathlib import Path

from engine.local_files import PlaybookFiles
from engine.resource import Resource
from engine.resources.s3.buckets import S3Bucket
from engine.resources.s3.objects import S3Object
from engine.resources.s3.sync import S3Sync
from tests.kinds.aws_examples import Example
from tests.kinds.aws_stage import Stage


def reading_for_all(bucket: str) -> dict[str, object]:
    statement = {
        "Sid": "read",
        "Effect": "Allow",
        "Principal": "*",
        "Action": ["s3:GetObject"],
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def a_bucket(stage: Stage, **fields: object) -> str:
    given = {"name": f"{stage.lab}-files", **fields}
    return str(stage.make(S3Bucket.model_validate(given), "bucket")["id"])


def bucket(stage: Stage) -> tuple[Resource, Resource | None]:
    name = f"{stage.lab}-first"
    first = S3Bucket.model_validate(
        {
            "name": name,
            "force": True,
            "versioning": True,
            "encryption": "AES256",
            "object_ownership": "BucketOwnerPreferred",
            "lifecycle": [
                {"rule_id": "old", "prefix": "logs/", "expiration_days": 30},
                {
                    "rule_id": "cold",
                    "transitions": [{"transition_days": 30, "storage_class": "STANDARD_IA"}],
                    "abort_incomplete_multipart_upload_days": 3,
                },
            ],
            "cors": [{"allowed_origins": ["*"], "allowed_methods": ["GET"], "max_age_seconds": 300}],
            "public_access": {},
        }
    )
    second = S3Bucket.model_validate(
        {
            "name": name,
            "force": False,
            "versioning": False,
            "encryption": "aws:kms",
            "bucket_key_enabled": True,
            "object_ownership": "BucketOwnerEnforced",
            "lifecycle": [],
            "cors": [],
            "website": {"suffix": "index.html", "error_key": "404.html"},
            "public_access": {"block_public_policy": False, "restrict_public_buckets": False},
            "policy": reading_for_all(name),
            "requester_pays": True,
            "accelerate_enabled": True,
        }
    )
    return first, second


def an_object(stage: Stage) -> tuple[Resource, Resource | None]:
    where = {"bucket": a_bucket(stage, versioning=True), "object": "notes/hello world.txt"}
    first = S3Object(**where, content="Hello.\n", metadata={"course": "w251"})
    second = S3Object(
        **where,
        content="Hello again.\n",
        cache_control="max-age=60",
        content_type="text/markdown",
        storage_class="STANDARD_IA",
        metadata={"course": "w251", "week": "2"},
        encryption_mode="AES256",
    )
    return first, second


def a_folder(**files: str) -> dict[str, object]:
    """Validation context, and `file_root`, of a folder with these files."""
    place = Path(tempfile.mkdtemp(prefix="labctl-sync-"))
    for name, text in files.items():
        path = place / "site" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".html").write_text(text)
    return {"files": PlaybookFiles((place,))}


def a_sync(stage: Stage) -> tuple[Resource, Resource | None]:
    given = {"bucket": a_bucket(stage, versioning=True), "file_root": "site", "key_prefix": "docs"}
    first = S3Sync.model_validate(
        given, context=a_folder(index="<h1>1</h1>", sub__page="one", old="gone soon")
    )
    second = S3Sync.model_validate(given, context=a_folder(index="<h1>2</h1>", sub__page="one", new="fresh"))
    return first, second


EXAMPLES: dict[str, Example] = {"s3_bucket": bucket, "s3_object": an_object, "s3_sync": a_sync}
