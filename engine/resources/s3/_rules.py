"""The settings of a bucket that are lists and groups: what the playbook writes, and how S3 has it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from engine.refs import Unknown, holds_unknown
from engine.resource import Fields, plain

Colder = Literal["STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"]


class PublicAccess(Fields):
    """What S3 keeps from the public, whatever ACLs and policies say; what is left out is kept."""

    block_public_acls: bool = True
    """Refuses ACLs that grant the public anything."""
    ignore_public_acls: bool = True
    """Takes no notice of such ACLs where they are."""
    block_public_policy: bool = True
    """Refuses bucket policies that grant the public anything."""
    restrict_public_buckets: bool = True
    """Lets only this account and AWS's services in, where the policy is public."""


_ACCESS: Final = {
    "block_public_acls": "BlockPublicAcls",
    "ignore_public_acls": "IgnorePublicAcls",
    "block_public_policy": "BlockPublicPolicy",
    "restrict_public_buckets": "RestrictPublicBuckets",
}


def access_sent(access: PublicAccess) -> dict[str, bool]:
    """PublicAccessBlockConfiguration."""
    return {key: getattr(access, name) for name, key in _ACCESS.items()}


def access_read(configuration: Mapping[str, Any]) -> dict[str, bool]:
    """The same read, in the playbook's words; nothing is blocked where there is none."""
    return {name: bool(configuration.get(key)) for name, key in _ACCESS.items()}


class Transition(Fields):
    """A move to a cheaper storage class."""

    storage_class: Colder
    """Where to."""
    transition_days: int | None = Field(default=None, ge=0)
    """So many days after an object was made."""
    transition_date: str | None = None
    """Or on this day, `2030-01-31`."""

    @field_validator("transition_date", mode="before")
    @classmethod
    def _day(cls, value: Any) -> Any:
        return _day(value)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.transition_days is None) == (self.transition_date is None):
            raise ValueError("a transition needs either transition_days or transition_date")
        return self


class NoncurrentTransition(Fields):
    """A move of versions that are no longer the current one."""

    storage_class: Colder
    """Where to."""
    transition_days: int = Field(ge=0)
    """So many days after another version took its place."""


class LifecycleRule(Fields):
    """What happens to objects as they grow old."""

    rule_id: str = Field(min_length=1, max_length=255)
    """Its name, different from those of the other rules."""
    status: Literal["enabled", "disabled"] = "enabled"
    """`disabled`: kept, and not followed."""
    prefix: str = Field(default="", max_length=1024)
    """Of the keys that it is for; empty for all."""
    expiration_days: int | None = Field(default=None, ge=1)
    """Objects go so many days after they were made."""
    expiration_date: str | None = None
    """Or on this day, `2030-01-31`."""
    expire_object_delete_marker: bool | None = None
    """Delete markers go that have no version below them any more."""
    noncurrent_version_expiration_days: int | None = Field(default=None, ge=1)
    """Versions go so many days after another took their place."""
    noncurrent_version_keep_newer: int | None = Field(default=None, ge=1, le=100)
    """So many of these are kept all the same."""
    abort_incomplete_multipart_upload_days: int | None = Field(default=None, ge=1)
    """Uploads that nobody has finished go after so many days."""
    transitions: list[Transition] | None = None
    """Moves to cheaper storage classes."""
    noncurrent_version_transitions: list[NoncurrentTransition] | None = None
    """The same for versions that are no longer current."""

    @field_validator("expiration_date", mode="before")
    @classmethod
    def _day(cls, value: Any) -> Any:
        return _day(value)

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if holds_unknown(self):
            return self
        ends = [self.expiration_days, self.expiration_date, self.expire_object_delete_marker]
        if sum(end is not None for end in ends) > 1:
            words = "expiration_days, expiration_date and expire_object_delete_marker"
            raise ValueError(f"only one of {words} can be said in one rule")
        if self.noncurrent_version_keep_newer and not self.noncurrent_version_expiration_days:
            raise ValueError("noncurrent_version_keep_newer needs noncurrent_version_expiration_days")
        if not any(getattr(self, name) for name in _ACTIONS):
            raise ValueError(f"the rule does nothing: it needs one of {', '.join(_ACTIONS)}")
        return self


_ACTIONS: Final = (
    "expiration_days",
    "expiration_date",
    "expire_object_delete_marker",
    "noncurrent_version_expiration_days",
    "abort_incomplete_multipart_upload_days",
    "transitions",
    "noncurrent_version_transitions",
)


def _day(value: Any) -> Any:
    """YAML reads 2030-01-31 as a date; S3 takes midnight UTC."""
    if value is None or isinstance(value, Unknown):
        return value
    text = value.isoformat() if isinstance(value, date) else str(value)
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError(f"{text!r} is no day: write one like 2030-01-31") from None


def rule_sent(rule: LifecycleRule) -> dict[str, Any]:
    """A Rule of PutBucketLifecycleConfiguration."""
    expiration = _given(
        Days=rule.expiration_days,
        Date=_midnight(rule.expiration_date),
        ExpiredObjectDeleteMarker=rule.expire_object_delete_marker,
    )
    old = _given(
        NoncurrentDays=rule.noncurrent_version_expiration_days,
        NewerNoncurrentVersions=rule.noncurrent_version_keep_newer,
    )
    abort = _given(DaysAfterInitiation=rule.abort_incomplete_multipart_upload_days)
    return {
        "ID": rule.rule_id,
        "Status": rule.status.capitalize(),
        "Filter": {"Prefix": rule.prefix},
        **_given(
            Expiration=expiration or None,
            NoncurrentVersionExpiration=old or None,
            AbortIncompleteMultipartUpload=abort or None,
            Transitions=[
                _given(
                    StorageClass=move.storage_class,
                    Days=move.transition_days,
                    Date=_midnight(move.transition_date),
                )
                for move in rule.transitions or ()
            ]
            or None,
            NoncurrentVersionTransitions=[
                {"StorageClass": move.storage_class, "NoncurrentDays": move.transition_days}
                for move in rule.noncurrent_version_transitions or ()
            ]
            or None,
        ),
    }


def rule_read(rule: Mapping[str, Any]) -> dict[str, Any]:
    """The same read, in the playbook's words."""
    expiration = rule.get("Expiration") or {}
    old = rule.get("NoncurrentVersionExpiration") or {}
    abort = rule.get("AbortIncompleteMultipartUpload") or {}
    moves = [
        _given(
            storage_class=move["StorageClass"],
            transition_days=move.get("Days"),
            transition_date=_date_of(move.get("Date")),
        )
        for move in rule.get("Transitions") or ()
    ]
    late = [
        {"storage_class": move["StorageClass"], "transition_days": move.get("NoncurrentDays")}
        for move in rule.get("NoncurrentVersionTransitions") or ()
    ]
    return _given(
        rule_id=rule.get("ID", ""),
        status=rule["Status"].lower(),
        prefix=(rule.get("Filter") or {}).get("Prefix", rule.get("Prefix", "")) or "",
        expiration_days=expiration.get("Days"),
        expiration_date=_date_of(expiration.get("Date")),
        expire_object_delete_marker=expiration.get("ExpiredObjectDeleteMarker") or None,
        noncurrent_version_expiration_days=old.get("NoncurrentDays"),
        noncurrent_version_keep_newer=old.get("NewerNoncurrentVersions"),
        abort_incomplete_multipart_upload_days=abort.get("DaysAfterInitiation"),
        transitions=moves or None,
        noncurrent_version_transitions=late or None,
    )


def _midnight(day: str | None) -> str | None:
    return None if day is None else f"{day}T00:00:00Z"


def _date_of(value: Any) -> str | None:
    if value is None:
        return None
    return f"{value:%Y-%m-%d}" if isinstance(value, datetime) else str(value)[:10]


class Website(Fields):
    """A bucket as a website, over plain HTTP."""

    suffix: str | None = Field(default=None, min_length=1, max_length=1024)
    """The page that is shown for a folder, `index.html`."""
    error_key: str | None = Field(default=None, min_length=1, max_length=1024)
    """The page that is shown where there is none."""
    redirect_all_requests: str | None = None
    """Sends everybody elsewhere instead: a host, or `https://HOST`."""

    @field_validator("suffix")
    @classmethod
    def _no_slash(cls, value: str | None) -> str | None:
        if isinstance(value, str) and "/" in value:
            raise ValueError("is the name of a page in every folder, without a slash")
        return value

    @field_validator("redirect_all_requests")
    @classmethod
    def _a_host(cls, value: str | None) -> str | None:
        if isinstance(value, str) and not re.fullmatch(r"(https?://)?[A-Za-z0-9.:-]+", value):
            raise ValueError("is a host or http(s)://HOST, without a path")
        return value

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if self.redirect_all_requests is not None and (self.suffix or self.error_key):
            raise ValueError("redirect_all_requests stands alone: take suffix and error_key out")
        if self.error_key is not None and self.suffix is None:
            raise ValueError("a website needs a suffix: write `suffix: index.html`")
        return self


def website_sent(site: Website) -> dict[str, Any] | None:
    """WebsiteConfiguration; None where there is to be no website."""
    if site.redirect_all_requests is not None:
        protocol, _, host = site.redirect_all_requests.rpartition("://")
        return {"RedirectAllRequestsTo": _given(HostName=host, Protocol=protocol or None)}
    if site.suffix is None:
        return None
    error = None if site.error_key is None else {"Key": site.error_key}
    return _given(IndexDocument={"Suffix": site.suffix}, ErrorDocument=error)


def website_read(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The same read, in the playbook's words."""
    elsewhere = answer.get("RedirectAllRequestsTo") or {}
    protocol = elsewhere.get("Protocol")
    to = f"{protocol}://{elsewhere['HostName']}" if protocol else elsewhere.get("HostName")
    return _given(
        suffix=(answer.get("IndexDocument") or {}).get("Suffix"),
        error_key=(answer.get("ErrorDocument") or {}).get("Key"),
        redirect_all_requests=to,
    )


class CorsRule(Fields):
    """Who else's pages may use the bucket from a browser."""

    allowed_origins: list[str] = Field(min_length=1)
    """`https://example.com`, or `*`."""
    allowed_methods: list[Literal["GET", "PUT", "HEAD", "POST", "DELETE"]] = Field(min_length=1)
    """What they may do."""
    allowed_headers: list[str] | None = None
    """Headers that they may send, `*` for any."""
    expose_headers: list[str] | None = None
    """Headers of answers that they may see."""
    max_age_seconds: int | None = Field(default=None, ge=0)
    """How long a browser remembers that."""
    id: str | None = Field(default=None, max_length=255)
    """A name for the rule."""


_CORS: Final = {
    "allowed_origins": "AllowedOrigins",
    "allowed_methods": "AllowedMethods",
    "allowed_headers": "AllowedHeaders",
    "expose_headers": "ExposeHeaders",
    "max_age_seconds": "MaxAgeSeconds",
    "id": "ID",
}


def cors_sent(rule: CorsRule) -> dict[str, Any]:
    """A CORSRule."""
    given = plain(rule)
    return {key: given[name] for name, key in _CORS.items() if given.get(name) not in (None, [])}


def cors_read(rule: Mapping[str, Any]) -> dict[str, Any]:
    """The same read, in the playbook's words."""
    return {name: rule[key] for name, key in _CORS.items() if rule.get(key) not in (None, [])}


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
