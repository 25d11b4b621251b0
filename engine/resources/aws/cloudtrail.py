"""CloudTrail: who did what in an account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from pydantic import Field, model_validator

from engine.aws.tags import is_made_by, narrow, tag_list, tags_for, told_tags
from engine.by_hand import aws, told, word
from engine.refs import Unknown
from engine.resource import Fixed, Id, Output, Place, Values
from engine.resources.aws._aws import finish, iam_actions, insist
from engine.resources.aws._services import InService, ask, given, quietly
from engine.resources.aws._tagging import Tagging

if TYPE_CHECKING:
    from engine.world import World

_SETTLES: Final = 60.0
"""Seconds that a bucket's or key's policy, just changed, is given to be seen by CloudTrail."""
_LATE: Final = frozenset(
    {
        "InsufficientS3BucketPolicyException",
        "InsufficientEncryptionPolicyException",
        "InsufficientSnsTopicPolicyException",
        "InvalidCloudWatchLogsRoleArnException",
        "InvalidCloudWatchLogsLogGroupArnException",
        "S3BucketDoesNotExistException",
    }
)
_TAGS_A_REQUEST: Final = 20


class Cloudtrail(InService):
    """A trail: CloudTrail writes who did what in the account to a bucket."""

    kind: ClassVar[str] = "cloudtrail"
    actions: ClassVar[Sequence[str]] = iam_actions(
        "cloudtrail",
        """
        AddTags CreateTrail DeleteTrail DescribeTrails GetTrailStatus ListTags RemoveTags StartLogging
        StopLogging UpdateTrail
        """,
    ) + iam_actions("iam", "PassRole")
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("its ARN"),
        "arn": Output("the same as id"),
        "home_region": Output("the region in which it can be changed"),
    }
    tagging: ClassVar[Tagging] = Tagging(
        "cloudtrail", "add_tags", "remove_tags", "ResourceId", "TagsList", "TagsList", whole=True
    )

    name: Fixed[str] = Field(min_length=3, max_length=128, pattern=r"^[A-Za-z0-9](?:[._-]?[A-Za-z0-9])*$")
    """3 to 128 letters and digits, with single . _ or - between them."""
    s3_bucket_name: Id
    """The bucket that it writes to; its policy must let cloudtrail.amazonaws.com do so."""
    s3_key_prefix: str | None = Field(default=None, max_length=200)
    """What the keys of its files begin with."""
    is_multi_region_trail: bool = False
    """What happens in all regions."""
    include_global_events: bool = True
    """Events of services without a region (IAM), too."""
    enable_log_file_validation: bool = False
    """With digests that tell whether a file was changed."""
    enable_logging: bool = True
    """False: it is there and writes nothing."""
    kms_key_id: str | None = None
    """The key that files are encrypted with."""
    sns_topic_name: str | None = Field(default=None, max_length=256)
    """The topic that is told of each file, by name or ARN."""
    cloudwatch_logs_log_group_arn: Id | None = None
    """The log group that events are sent to as well; its ARN ends in `:*`."""
    cloudwatch_logs_role_arn: Id | None = None
    """The role that CloudTrail takes on for that."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.cloudwatch_logs_log_group_arn is None) != (self.cloudwatch_logs_role_arn is None):
            raise ValueError("cloudwatch_logs_log_group_arn and cloudwatch_logs_role_arn go together")
        if self.is_multi_region_trail is True and self.include_global_events is False:
            raise ValueError("a trail of all regions has global events, too")
        return self

    def foreseen(self) -> str | None:
        """Its name, in which its ARN ends."""
        return self.name

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """A key by id or ARN, a topic by name or ARN."""
        if name in ("kms_key_id", "sns_topic_name") and isinstance(wanted, str) and isinstance(there, str):
            return wanted != there and not there.endswith((f":{wanted}", f"/{wanted}"))
        return super().differs(name, wanted, there)

    def _settings(self) -> dict[str, Any]:
        return given(
            Name=self.name,
            S3BucketName=self.s3_bucket_name,
            S3KeyPrefix=self.s3_key_prefix,
            SnsTopicName=self.sns_topic_name,
            IncludeGlobalServiceEvents=self.include_global_events,
            IsMultiRegionTrail=self.is_multi_region_trail,
            EnableLogFileValidation=self.enable_log_file_validation,
            CloudWatchLogsLogGroupArn=self.cloudwatch_logs_log_group_arn,
            CloudWatchLogsRoleArn=self.cloudwatch_logs_role_arn,
            KmsKeyId=self.kms_key_id,
        )

    def create(self, world: World) -> str:
        """CreateTrail with tags, then StartLogging."""
        tags = tag_list(narrow(tags_for(world)))
        answer = _patiently(world, "create_trail", retry=False, **self._settings(), TagsList=tags)
        id = str(answer["TrailARN"])
        if self.enable_logging:
            finish(world, id, lambda: ask(world, "cloudtrail", "start_logging", Name=id))
        return id

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeTrails and ListTags for all, GetTrailStatus for each."""
        wanted = list(dict.fromkeys(ids))
        about = {"trailNameList": wanted, "includeShadowTrails": False}
        trails = {
            one["TrailARN"]: one for one in ask(world, "cloudtrail", "describe_trails", **about)["trailList"]
        }
        tags = _tags(world, [id for id in wanted if id in trails])
        found = {}
        for id in wanted:
            status = quietly(world, "cloudtrail", "get_trail_status", Name=id) if id in trails else None
            if status is not None:
                values = _values(trails[id])
                found[id] = {
                    **values,
                    "enable_logging": bool(status["IsLogging"]),
                    "tags": cls.shown_tags(tags.get(id)),
                }
        return found

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """UpdateTrail with all settings; StartLogging or StopLogging."""
        if changed - {"enable_logging"}:
            _patiently(world, "update_trail", **{**self._settings(), "Name": id})
        if "enable_logging" in changed:
            ask(world, "cloudtrail", "start_logging" if self.enable_logging else "stop_logging", Name=id)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteTrail; what it wrote stays in the bucket."""
        quietly(world, "cloudtrail", "delete_trail", Name=id)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """The one of the name that the create was for, if its tags say that this create made it."""
        name = world.job.foreseen
        if not name:
            return []
        about = {"trailNameList": [name], "includeShadowTrails": False}
        arns = [one["TrailARN"] for one in ask(world, "cloudtrail", "describe_trails", **about)["trailList"]]
        tags = _tags(world, arns)
        return [arn for arn in arns if is_made_by(world, told_tags(tags.get(arn)))]

    def foretold(self, place: Place) -> Values:
        """Its ARN."""
        if isinstance(self.name, Unknown):
            return {}
        arn = place.arn("cloudtrail", f"trail/{self.name}")
        return {"id": arn, "arn": arn}

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """This trail alone; a role is passed on for CloudWatch only."""
        arn = self.foretold(place).get("arn")
        general = {"cloudtrail:DescribeTrails", "iam:PassRole"}
        own = {action: [arn] for action in self.actions if action not in general} if arn else {}
        role = self.cloudwatch_logs_role_arn
        return own if isinstance(role, Unknown) else {**own, "iam:PassRole": [role] if role else []}

    def price(self) -> float | None:
        """The first trail of an account costs nothing; what it writes costs as S3 has it."""
        return 0.0

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws cloudtrail create-trail`, `start-logging`."""
        if action == "delete":
            return [f"aws cloudtrail delete-trail --name {word(id)}"]
        verb = "create-trail" if action == "create" else "update-trail"
        lines = [
            aws(
                verb,
                service="cloudtrail",
                name=self.name,
                s3_bucket_name=self.s3_bucket_name,
                s3_key_prefix=self.s3_key_prefix,
                is_multi_region_trail=self.is_multi_region_trail,
                enable_log_file_validation=self.enable_log_file_validation,
                kms_key_id=self.kms_key_id,
                sns_topic_name=self.sns_topic_name,
            )
        ]
        if self.enable_logging and (action == "create" or "enable_logging" in changed):
            lines.append(aws("start-logging", service="cloudtrail", name=self.name))
        asked = aws("get-trail", service="cloudtrail", name=self.name)
        return [*lines, *told(self, asked, {"id": "Trail.TrailARN", "arn": "Trail.TrailARN"})]


def _values(trail: Mapping[str, Any]) -> Values:
    return {
        "id": trail["TrailARN"],
        "arn": trail["TrailARN"],
        "name": trail["Name"],
        "home_region": trail.get("HomeRegion"),
        "s3_bucket_name": trail["S3BucketName"],
        "s3_key_prefix": trail.get("S3KeyPrefix") or None,
        "is_multi_region_trail": bool(trail.get("IsMultiRegionTrail")),
        "include_global_events": bool(trail.get("IncludeGlobalServiceEvents")),
        "enable_log_file_validation": bool(trail.get("LogFileValidationEnabled")),
        "kms_key_id": trail.get("KmsKeyId") or None,
        "sns_topic_name": trail.get("SnsTopicARN") or trail.get("SnsTopicName") or None,
        "cloudwatch_logs_log_group_arn": trail.get("CloudWatchLogsLogGroupArn") or None,
        "cloudwatch_logs_role_arn": trail.get("CloudWatchLogsRoleArn") or None,
    }


def _patiently(world: World, operation: str, *, retry: bool = True, **params: Any) -> dict[str, Any]:
    return insist(
        world,
        lambda: world.aws.call("cloudtrail", operation, retry=retry, **params),
        lambda error: error.code in _LATE,
        what="CloudTrail to see the policies just made",
        timeout=_SETTLES,
    )


def _tags(world: World, arns: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for start in range(0, len(arns), _TAGS_A_REQUEST):
        chunk = list(arns[start : start + _TAGS_A_REQUEST])
        tagged = world.aws.pages("cloudtrail", "list_tags", "ResourceTagList", ResourceIdList=chunk)
        found |= {one["ResourceId"]: one.get("TagsList") for one in tagged}
    return found
