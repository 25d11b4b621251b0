"""A bucket as it is: S3 tells each of its settings in an answer of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from engine.aws.tags import readable
from engine.resource import Values
from engine.resources.aws._aws import unless_gone
from engine.resources.aws._policy import document
from engine.resources.s3 import _rules as rules
from engine.resources.s3._s3 import bucket_tags, count_of, domain, or_nothing, side_by_side, website_domain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.world import World

FORCE: Final = "labctl:force"
"""The tag that says that a bucket may go with what is in it: the playbook may be gone by then."""


def read_buckets(world: World, names: Sequence[str]) -> dict[str, Values]:
    """Every setting of each bucket that is there, all of them side by side."""
    names = list(dict.fromkeys(names))
    asked = [(name, field) for name in names for field in _READS]
    answers = side_by_side(asked, lambda one: _READS[one[1]](world, one[0]))
    read: dict[str, dict[str, Any]] = {name: {} for name in names}
    for (name, field), answer in zip(asked, answers, strict=True):
        read[name][field] = answer
    return {name: _values(name, seen) for name, seen in read.items() if None not in seen.values()}


# What each request gives: None where there is no such bucket, an empty mapping where nothing is set.


def _setting(operation: str, *unset: str) -> Callable[[World, str], dict[str, Any] | None]:
    def read(world: World, name: str) -> dict[str, Any] | None:
        return unless_gone(lambda: or_nothing(world, operation, *unset, Bucket=name) or {})

    return read


def _versions(world: World, name: str) -> dict[str, Any] | None:
    return unless_gone(lambda: {"Count": count_of(world, name)})


_READS: Final[Mapping[str, Callable[[World, str], dict[str, Any] | None]]] = {
    "tags": bucket_tags,
    "location": _setting("get_bucket_location"),
    "versioning": _setting("get_bucket_versioning"),
    "encryption": _setting("get_bucket_encryption", "ServerSideEncryptionConfigurationNotFoundError"),
    "public_access": _setting("get_public_access_block", "NoSuchPublicAccessBlockConfiguration"),
    "policy": _setting("get_bucket_policy", "NoSuchBucketPolicy"),
    "ownership": _setting("get_bucket_ownership_controls", "OwnershipControlsNotFoundError"),
    "lifecycle": _setting("get_bucket_lifecycle_configuration", "NoSuchLifecycleConfiguration"),
    "website": _setting("get_bucket_website", "NoSuchWebsiteConfiguration"),
    "cors": _setting("get_bucket_cors", "NoSuchCORSConfiguration"),
    "payer": _setting("get_bucket_request_payment"),
    "acceleration": _setting("get_bucket_accelerate_configuration", "MethodNotAllowed", "InvalidRequest"),
    "lock": _setting("get_object_lock_configuration", "ObjectLockConfigurationNotFoundError"),
    "versions": _versions,
}


def _values(name: str, seen: Mapping[str, dict[str, Any]]) -> Values:
    region = seen["location"].get("LocationConstraint") or "us-east-1"
    region = "eu-west-1" if region == "EU" else region
    encryption = (seen["encryption"].get("ServerSideEncryptionConfiguration") or {}).get("Rules") or [{}]
    default = encryption[0].get("ApplyServerSideEncryptionByDefault") or {}
    owners = (seen["ownership"].get("OwnershipControls") or {}).get("Rules") or [{}]
    tags = dict(seen["tags"])
    force = tags.pop(FORCE, "") == "true"
    lock = seen["lock"].get("ObjectLockConfiguration") or {}
    blocked = seen["public_access"].get("PublicAccessBlockConfiguration") or {}
    return {
        "id": name,
        "name": name,
        "arn": f"arn:aws:s3:::{name}",
        "region": region,
        "domain_name": domain(name, region),
        "website_endpoint": website_domain(name, region),
        "objects": seen["versions"]["Count"],
        "force": force,
        "versioning": seen["versioning"].get("Status") == "Enabled",
        "encryption": default.get("SSEAlgorithm", "AES256"),
        "encryption_key_id": default.get("KMSMasterKeyID"),
        "bucket_key_enabled": bool(encryption[0].get("BucketKeyEnabled")),
        "public_access": rules.access_read(blocked),
        "policy": document(seen["policy"]["Policy"]) if seen["policy"].get("Policy") else {},
        # Buckets from before ownership controls are as if it were ObjectWriter.
        "object_ownership": owners[0].get("ObjectOwnership", "ObjectWriter"),
        "lifecycle": [rules.rule_read(rule) for rule in seen["lifecycle"].get("Rules") or ()],
        "website": rules.website_read(seen["website"]),
        "cors": [rules.cors_read(rule) for rule in seen["cors"].get("CORSRules") or ()],
        "requester_pays": seen["payer"].get("Payer") == "Requester",
        "accelerate_enabled": seen["acceleration"].get("Status") == "Enabled",
        "object_lock_enabled": lock.get("ObjectLockEnabled") == "Enabled",
        "tags": readable(tags),
    }
