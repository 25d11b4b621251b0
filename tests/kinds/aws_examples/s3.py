"""An example of each kind of S3."""

from __future__ import annotations

from engine.resource import Resource
from engine.resources.s3 import S3Bucket
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


EXAMPLES: dict[str, Example] = {"s3_bucket": bucket}
