"""S3 buckets."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from engine.aws.errors import AwsError
from engine.aws.tags import narrow, tag_list, tags_for
from engine.by_hand import aws, json_word, told, variable, word
from engine.errors import StepFailed
from engine.refs import Unknown, holds_unknown
from engine.resource import Fixed, Id, Output, Place, Resource, Values
from engine.resources.aws._aws import finish, iam_actions, ours, unless_gone
from engine.resources.aws._policy import canonical, document
from engine.resources.s3 import _rules as rules
from engine.resources.s3._by_hand import settings_by_hand
from engine.resources.s3._reading import FORCE, read_buckets
from engine.resources.s3._s3 import (
    ask,
    bucket_tags,
    checked_name,
    count_of,
    domain,
    empty,
    or_nothing,
    settled,
    unhindered,
    website_domain,
)

if TYPE_CHECKING:
    from engine.world import World


class S3Bucket(Resource):
    """An S3 bucket."""

    kind: ClassVar[str] = "s3_bucket"
    tagged: ClassVar[bool] = True
    actions: ClassVar[Sequence[str]] = iam_actions(
        "s3",
        "CreateBucket DeleteBucket ListBucket ListBucketVersions ListBucketMultipartUploads "
        "AbortMultipartUpload DeleteObject DeleteObjectVersion TagResource "
        "GetBucketTagging PutBucketTagging GetBucketLocation GetBucketObjectLockConfiguration "
        "GetBucketVersioning PutBucketVersioning GetEncryptionConfiguration PutEncryptionConfiguration "
        "GetBucketPublicAccessBlock PutBucketPublicAccessBlock GetBucketPolicy PutBucketPolicy "
        "DeleteBucketPolicy GetBucketOwnershipControls PutBucketOwnershipControls "
        "GetLifecycleConfiguration PutLifecycleConfiguration GetBucketWebsite PutBucketWebsite "
        "DeleteBucketWebsite GetBucketCORS PutBucketCORS GetBucketRequestPayment PutBucketRequestPayment "
        "GetAccelerateConfiguration PutAccelerateConfiguration PutBucketObjectLockConfiguration",
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the bucket's name"),
        "arn": Output("arn:aws:s3:::NAME, for policies"),
        "region": Output("where it is"),
        "domain_name": Output("where it answers over HTTP and HTTPS: NAME.s3.REGION.amazonaws.com"),
        "website_endpoint": Output("the name under which it answers as a website, over HTTP only"),
        "objects": Output("how many objects, versions and delete markers it holds, counted up to 1000"),
    }

    name: Fixed[str]
    """3 to 63 small letters, digits, hyphens and dots; no other bucket in the world may be called so."""
    region: Fixed[str | None] = None
    """Where it is to be; the lab's region where left out."""
    force: bool = False
    """Destroy it with whatever is in it; else a bucket that is not empty stays."""
    adopt: bool = False
    """Take on a bucket of this name that is there already in this account; it is never deleted then."""
    versioning: bool = False
    """Keep what was overwritten or deleted."""
    encryption: Literal["AES256", "aws:kms", "aws:kms:dsse"] = "AES256"
    """What objects are encrypted with where nobody says otherwise; S3 always encrypts."""
    encryption_key_id: Id | None = None
    """The KMS key (id or ARN) for aws:kms; AWS's own where left out."""
    bucket_key_enabled: bool = False
    """Fewer (and cheaper) requests to KMS."""
    public_access: rules.PublicAccess = rules.PublicAccess()
    """What is kept from the public whatever ACLs and policies say: everything, unless written here."""
    policy: dict[str, Any] = Field(default={})
    """The bucket's policy, as a mapping or as JSON text; empty for none."""
    object_ownership: Literal["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"] = (
        "BucketOwnerEnforced"
    )
    """Whose the objects are; ACLs count only where it is not BucketOwnerEnforced."""
    lifecycle: list[rules.LifecycleRule] = Field(default=[])
    """What happens to objects as they grow old."""
    website: rules.Website = rules.Website()
    """Answers as a website; empty for none."""
    cors: list[rules.CorsRule] = Field(default=[])
    """Who else's pages may use it from a browser."""
    requester_pays: bool = False
    """Who downloads pays for the traffic."""
    accelerate_enabled: bool = False
    """Transfer Acceleration, at a price per GB."""
    object_lock_enabled: Fixed[bool] = False
    """Retention can be set on objects; it needs versioning, and can never be switched off."""

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        return value if isinstance(value, Unknown) else checked_name(value)

    @field_validator("region")
    @classmethod
    def _region(cls, value: str | None) -> str | None:
        if isinstance(value, str) and not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d", value):
            raise ValueError(f"{value!r} is no region: write one like eu-west-1")
        return value

    @field_validator("policy", mode="before")
    @classmethod
    def _policy(cls, value: Any) -> Any:
        return value if value in ({}, "") else document(value)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.encryption_key_id is not None and self.encryption == "AES256":
            raise ValueError("encryption_key_id is for encryption: aws:kms")
        if self.object_lock_enabled is True and "versioning" in self.model_fields_set and not self.versioning:
            raise ValueError("object_lock_enabled needs versioning: true")
        if self.accelerate_enabled is True and isinstance(self.name, str) and "." in self.name:
            raise ValueError("accelerate_enabled does not go with dots in the name")
        names = [rule.rule_id for rule in self.lifecycle] if isinstance(self.lifecycle, list) else []
        twice = {str(name) for name in names if names.count(name) > 1 and not isinstance(name, Unknown)}
        if twice:
            raise ValueError(f"two lifecycle rules are called {', '.join(sorted(twice))}")
        return self

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """The values asked for; `adopt` only says what may be done, and an object lock keeps versions."""
        values = super().wanted(also)
        values.pop("adopt", None)
        if self.object_lock_enabled is True:
            values["versioning"] = True
        return values

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Policies by what they mean, lifecycle rules in any order, a KMS key by its id or ARN."""
        if holds_unknown(wanted):
            return True
        if name == "policy":
            return bool(canonical(wanted) != canonical(there))
        if name == "lifecycle":
            return _by_id(wanted) != _by_id(there or [])
        if name == "encryption_key_id" and there:
            return str(wanted).rpartition("/")[2] != str(there).rpartition("/")[2]
        return super().differs(name, wanted, there)

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """Who may read it, in words."""
        if name == "public_access" and isinstance(there, dict):
            opened = [key for key, blocked in wanted.items() if there.get(key) and not blocked]
            closed = [key for key, blocked in wanted.items() if blocked and not there.get(key)]
            told = [f"taken off: {', '.join(opened)}"] if opened else []
            return "; ".join(told + ([f"put on: {', '.join(closed)}"] if closed else []))
        if name == "policy":
            return "its policy is no longer wanted" if not wanted else "its policy differs"
        if name == "force":
            return "what is in it may go with it" if wanted else "what is in it must not go with it"
        return None

    @classmethod
    def lost_with(cls, there: Values) -> Sequence[str]:
        """The objects that go with it, or that keep it from going."""
        count = int(there.get("objects") or 0)
        if not count:
            return ()
        many = "1000 objects or more" if count >= 1000 else f"{count} object{'' if count == 1 else 's'}"
        if there.get("force"):
            return (f"{many} in it: deleted with it",)
        return (f"{many} in it: must be gone first (the lab's own go first); with force: true all go along",)

    def foreseen(self) -> str | None:
        """Its name."""
        return None if isinstance(self.name, Unknown) else self.name

    def foretold(self, place: Place) -> Values:
        """Its id and ARN follow from its name."""
        if not isinstance(self.name, str):
            return {}
        return {"id": self.name, "arn": f"arn:{place.partition}:s3:::{self.name}"}

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """The bucket itself; what is in it only where `force` says that it may go."""
        arn = self.foretold(place).get("arn")
        if arn is None:
            return {}
        inside = [f"{arn}/*"] if self.force else []
        of_objects = {"s3:DeleteObject", "s3:DeleteObjectVersion", "s3:AbortMultipartUpload"}
        return {action: inside if action in of_objects else [arn] for action in self.actions}

    def adopts(self, world: World) -> str | None:
        """The bucket of this name, if it is this account's and the playbook says `adopt` (HeadBucket)."""
        if not self.adopt:
            return None
        found = or_nothing(world, "head_bucket", "404", "403", Bucket=self.name)
        return None if found is None else self.name

    def create(self, world: World) -> str:
        """CreateBucket with all tags, then the settings that it does not take.

        In us-east-1 S3 answers the owner's second CreateBucket with success, so it is looked for first.
        """
        self._refuse_what_is_there(world)
        region = self.region or world.aws.region
        # us-east-1 is S3's default, and the one region that must not be named.
        place = {} if region == "us-east-1" else {"LocationConstraint": region}
        tags = narrow({**tags_for(world), **({FORCE: "true"} if self.force else {})})
        optional = {"ObjectLockEnabledForBucket": True} if self.object_lock_enabled else {}
        unhindered(
            world,
            lambda: world.aws.in_region(region).call(
                "s3",
                "create_bucket",
                Bucket=self.name,
                CreateBucketConfiguration={**place, "Tags": tag_list(tags)},
                ObjectOwnership=self.object_ownership,
                **optional,
            ),
        )
        asked = self.model_fields_set - {"name", "region", "force", "adopt", "object_ownership"}
        finish(world, self.name, lambda: self._set(world, self.name, asked))
        return self.name

    def _refuse_what_is_there(self, world: World) -> None:
        try:
            there = or_nothing(world, "head_bucket", "404", Bucket=self.name)
        except AwsError as error:
            if error.code == "403":
                raise _taken(self.name, "another account has") from None
            raise
        if there is not None:
            raise _taken(self.name, "this account has")

    def _set(self, world: World, name: str, changed: Collection[str]) -> None:
        """Bring settings to what is asked.

        A public policy is refused while public policies are blocked; taking one away needs no permission
        of that sort, so it goes first.
        """
        steps: dict[str, Callable[[World, str], None]] = {
            "object_ownership": self._set_ownership,
            "public_access": self._set_public_access,
            "policy": self._set_policy,
            "versioning": self._set_versioning,
            "encryption": self._set_encryption,
            "lifecycle": self._set_lifecycle,
            "website": self._set_website,
            "cors": self._set_cors,
            "requester_pays": self._set_payer,
            "accelerate_enabled": self._set_acceleration,
        }
        given = set(changed)
        if given & {"encryption_key_id", "bucket_key_enabled"}:
            given.add("encryption")
        if "policy" in given and not self.policy:
            self._set_policy(world, name)
            given.remove("policy")
        for field, step in steps.items():
            if field in given:
                step(world, name)

    def _set_ownership(self, world: World, name: str) -> None:
        rule = {"Rules": [{"ObjectOwnership": self.object_ownership}]}
        settled(world, "put_bucket_ownership_controls", Bucket=name, OwnershipControls=rule)

    def _set_public_access(self, world: World, name: str) -> None:
        blocked = rules.access_sent(self.public_access)
        settled(world, "put_public_access_block", Bucket=name, PublicAccessBlockConfiguration=blocked)

    def _set_policy(self, world: World, name: str) -> None:
        if not self.policy:
            settled(world, "delete_bucket_policy", Bucket=name)
            return
        try:
            settled(world, "put_bucket_policy", Bucket=name, Policy=_json(self.policy))
        except AwsError as error:
            if error.code != "AccessDenied" or "block public access" not in error.said:
                raise
            raise StepFailed(
                f"the policy lets the public in, and public policies are blocked: {error.message}",
                "write public_access: {block_public_policy: false, restrict_public_buckets: false}; if it is "
                "so already, the whole account blocks it (S3, Block Public Access settings for this account)",
            ) from None

    def _set_versioning(self, world: World, name: str) -> None:
        status = {"Status": "Enabled" if self.versioning or self.object_lock_enabled else "Suspended"}
        settled(world, "put_bucket_versioning", Bucket=name, VersioningConfiguration=status)

    def _set_encryption(self, world: World, name: str) -> None:
        settled(
            world,
            "put_bucket_encryption",
            Bucket=name,
            ServerSideEncryptionConfiguration=self.encryption_sent(),
        )

    def encryption_sent(self) -> dict[str, Any]:
        """ServerSideEncryptionConfiguration."""
        default: dict[str, Any] = {"SSEAlgorithm": self.encryption}
        if self.encryption_key_id is not None:
            default["KMSMasterKeyID"] = self.encryption_key_id
        rule = {"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": self.bucket_key_enabled}
        return {"Rules": [rule]}

    def _set_lifecycle(self, world: World, name: str) -> None:
        if not self.lifecycle:
            settled(world, "delete_bucket_lifecycle", Bucket=name)
            return
        sent = {"Rules": [rules.rule_sent(rule) for rule in self.lifecycle]}
        settled(world, "put_bucket_lifecycle_configuration", Bucket=name, LifecycleConfiguration=sent)

    def _set_website(self, world: World, name: str) -> None:
        sent = rules.website_sent(self.website)
        if sent is None:
            settled(world, "delete_bucket_website", Bucket=name)
        else:
            settled(world, "put_bucket_website", Bucket=name, WebsiteConfiguration=sent)

    def _set_cors(self, world: World, name: str) -> None:
        if not self.cors:
            settled(world, "delete_bucket_cors", Bucket=name)
            return
        sent = {"CORSRules": [rules.cors_sent(rule) for rule in self.cors]}
        settled(world, "put_bucket_cors", Bucket=name, CORSConfiguration=sent)

    def _set_payer(self, world: World, name: str) -> None:
        payer = {"Payer": "Requester" if self.requester_pays else "BucketOwner"}
        settled(world, "put_bucket_request_payment", Bucket=name, RequestPaymentConfiguration=payer)

    def _set_acceleration(self, world: World, name: str) -> None:
        status = {"Status": "Enabled" if self.accelerate_enabled else "Suspended"}
        settled(world, "put_bucket_accelerate_configuration", Bucket=name, AccelerateConfiguration=status)

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """S3 tells each setting of each bucket in an answer of its own: all of them side by side."""
        return read_buckets(world, ids)

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """Each setting by its own request."""
        if "force" in changed:
            _retag(world, id, {FORCE: "true" if self.force else None})
        self._set(world, id, changed - {"force"})

    @classmethod
    def retag(cls, world: World, id: str, there: Values, tags: Mapping[str, str | None]) -> None:
        """PutBucketTagging, which sets all tags at once: AWS's own and other people's are sent back."""
        _retag(world, id, tags)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteBucket; with `force` everything in it goes first. Raises StepFailed where it is not empty."""
        tags = bucket_tags(world, id)
        if tags is None:
            return
        if tags.get(FORCE) == "true":
            empty(world, id)
        try:
            unhindered(world, lambda: ask(world, "delete_bucket", Bucket=id))
        except AwsError as error:
            if error.code == "BucketNotEmpty":
                raise _not_empty(world, id) from None
            if not error.not_found:
                raise

        def gone() -> bool | None:
            return True if or_nothing(world, "head_bucket", "404", Bucket=id) is None else None

        world.aws.poll(gone, what=f"bucket {id} to be gone", timeout=120, say=world.job.say)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By its name, if it bears the tags that CreateBucket was sent with."""
        return ours(world, lambda name: unless_gone(lambda: bucket_tags(world, name), "AccessDenied", "403"))

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws s3api create-bucket`, and a `put-bucket-…` for each setting."""
        name = word(id or self.name) if action != "create" else word(self.name)
        if action == "delete":
            return self._deleted_by_hand(name)
        if action == "update":
            return [*self._set_by_hand(name, changed), *self._told(name)]
        region = self.region or "$(aws configure get region)"
        place = None if self.region in (None, "us-east-1") else f"LocationConstraint={region}"
        make = aws(
            "create-bucket",
            service="s3api",
            bucket=self.name,
            region=self.region,
            create_bucket_configuration=place,
            object_ownership=self.object_ownership,
            object_lock_enabled_for_bucket=self.object_lock_enabled is True,
        )
        asked = self.model_fields_set - {"name", "region", "force", "adopt", "object_ownership"}
        return [make, *self._set_by_hand(name, asked), *self._told(name)]

    def _deleted_by_hand(self, name: str) -> list[str]:
        there = self._beside.there
        emptied = []
        if there.get("force") and there.get("objects"):
            every = "{Objects: [Versions, DeleteMarkers][][].{Key: Key, VersionId: VersionId}}"
            listed = f"aws s3api list-object-versions --bucket {name} --max-items 1000 --query '{every}'"
            emptied = [f'aws s3api delete-objects --bucket {name} --delete "$({listed} --output json)"']
        return [*emptied, f"aws s3api delete-bucket --bucket {name}"]

    def _told(self, name: str) -> list[str]:
        known = {"id": name, "arn": f"arn:aws:s3:::{name}"}
        if self.region is not None:
            known |= {"domain_name": domain(name, self.region)}
            known |= {"website_endpoint": website_domain(name, self.region)}
        asked = f"aws s3api head-bucket --bucket {name}"
        return [
            *(
                f"{variable(self._address, output)}={text}"
                for output, text in known.items()
                if output in self._beside.needed
            ),
            *told(self, asked, {"region": "BucketRegion"}),
        ]

    def _set_by_hand(self, name: str, changed: Collection[str]) -> list[str]:
        lines = []
        for field, (command, option, value) in settings_by_hand(self).items():
            if field not in changed:
                continue
            start = f"aws s3api {command} --bucket {name}"
            lines.append(start if value is None else f"{start} --{option} {value}")
        if "force" in changed:
            lines.append(f"# what is in {name} {'may' if self.force else 'must not'} be deleted with it")
        # As `_set` does it: the block on public policies goes before one is put.
        return sorted(lines, key=lambda line: "put-bucket-policy" in line)

    @classmethod
    def retag_by_hand(cls, id: str, there: Values, tags: Mapping[str, str | None]) -> list[str]:
        """`aws s3api put-bucket-tagging`, which wants all tags at once."""
        wanted = narrow(_merged({**there.get("tags", {}), **_force_tag(there)}, tags))
        sent = json_word({"TagSet": tag_list(wanted)})
        return [f"aws s3api put-bucket-tagging --bucket {word(id)} --tagging {sent}"]


def _taken(name: str, who: str) -> StepFailed:
    error = StepFailed(
        f"{who} a bucket called {name} already, and this lab did not make it",
        "choose another name (names of buckets are shared by all accounts of the world; one with "
        "{{ lab.slug }} in it is likely to be free)"
        + ("; `adopt: true` takes on one of this account as it is" if who.startswith("this") else ""),
    )
    error.no_effect = True
    return error


def _not_empty(world: World, name: str) -> StepFailed:
    count = count_of(world, name)
    many = "1000 or more" if count >= 1000 else str(count)
    return StepFailed(
        f"bucket {name} still holds {many} object(s), versions and delete markers counted: it stays",
        "delete them, or set `force: true` on the bucket, apply that, and destroy again",
    )


def _retag(world: World, name: str, tags: Mapping[str, str | None]) -> None:
    wanted = _merged(bucket_tags(world, name) or {}, tags)
    if wanted:
        settled(world, "put_bucket_tagging", Bucket=name, Tagging={"TagSet": tag_list(narrow(wanted))})
    else:
        settled(world, "delete_bucket_tagging", Bucket=name)


def _merged(there: Mapping[str, str], tags: Mapping[str, str | None]) -> dict[str, str]:
    both = {**there, **tags}
    return {key: text for key, text in both.items() if text is not None}


def _force_tag(there: Values) -> dict[str, str]:
    return {FORCE: "true"} if there.get("force") else {}


def _by_id(listed: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {rule["rule_id"]: rule for rule in listed}


def _json(policy: Mapping[str, Any]) -> str:
    import json

    return json.dumps(policy)
