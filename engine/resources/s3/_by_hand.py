"""The commands that set a bucket's settings by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engine.by_hand import json_word
from engine.refs import Unknown, holds_unknown
from engine.resource import plain
from engine.resources.s3 import _rules as rules

if TYPE_CHECKING:
    from engine.resources.s3.buckets import S3Bucket


def settings_by_hand(bucket: S3Bucket) -> dict[str, tuple[str, str, str | None]]:
    """By field, the command of `aws s3api` that sets it, its option and that option's value."""
    site = _or_plain(bucket.website, rules.website_sent)
    versions = "Enabled" if bucket.versioning else "Suspended"
    speed = "Enabled" if bucket.accelerate_enabled else "Suspended"
    payer = "Requester" if bucket.requester_pays else "BucketOwner"
    return {
        "object_ownership": (
            "put-bucket-ownership-controls",
            "ownership-controls",
            json_word({"Rules": [{"ObjectOwnership": bucket.object_ownership}]}),
        ),
        "public_access": (
            "put-public-access-block",
            "public-access-block-configuration",
            json_word(_or_plain(bucket.public_access, rules.access_sent)),
        ),
        "policy": ("put-bucket-policy", "policy", json_word(bucket.policy))
        if bucket.policy
        else ("delete-bucket-policy", "", None),
        "versioning": ("put-bucket-versioning", "versioning-configuration", f"Status={versions}"),
        "encryption": (
            "put-bucket-encryption",
            "server-side-encryption-configuration",
            json_word(bucket.encryption_sent()),
        ),
        "lifecycle": (
            "put-bucket-lifecycle-configuration",
            "lifecycle-configuration",
            json_word({"Rules": _each(bucket.lifecycle, rules.rule_sent)}),
        )
        if bucket.lifecycle
        else ("delete-bucket-lifecycle", "", None),
        "website": ("put-bucket-website", "website-configuration", json_word(site))
        if site
        else ("delete-bucket-website", "", None),
        "cors": (
            "put-bucket-cors",
            "cors-configuration",
            json_word({"CORSRules": _each(bucket.cors, rules.cors_sent)}),
        )
        if bucket.cors
        else ("delete-bucket-cors", "", None),
        "requester_pays": (
            "put-bucket-request-payment",
            "request-payment-configuration",
            f"Payer={payer}",
        ),
        "accelerate_enabled": (
            "put-bucket-accelerate-configuration",
            "accelerate-configuration",
            f"Status={speed}",
        ),
    }


def _each(values: Any, sent: Callable[[Any], Any]) -> Any:
    return values if isinstance(values, Unknown) else [_or_plain(value, sent) for value in values]


def _or_plain(value: Any, sent: Callable[[Any], Any]) -> Any:
    """As S3 is sent it; where something in it is unknown, as the playbook has it."""
    return plain(value) if holds_unknown(value) else sent(value)
