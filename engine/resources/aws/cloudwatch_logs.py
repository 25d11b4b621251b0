"""Log groups of CloudWatch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from engine.aws.errors import AwsError
from engine.aws.tags import is_made_by, narrow, readable, tags_for, told_tags
from engine.by_hand import aws, told, variable, word
from engine.errors import StepFailed
from engine.refs import Unknown
from engine.resource import Fixed, Id, Output, Place, Values
from engine.resources.aws._aws import finish, ours, shaped, unless_gone
from engine.resources.aws._tagging import TaggedByArn, Tagging

if TYPE_CHECKING:
    from engine.world import World

GroupName = Annotated[
    str, shaped(r"[.\-_/#A-Za-z0-9]{1,512}", "1 to 512 letters, digits and the signs . - _ / #")
]
Days = Literal[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653
]
_ALL_STREAMS: Final = ":*"


class CloudwatchLogGroup(TaggedByArn):
    """A log group of CloudWatch Logs: what containers and functions print goes into its streams."""

    kind: ClassVar[str] = "cloudwatch_log_group"
    tagging: ClassVar[Tagging] = Tagging(
        "logs", "tag_resource", "untag_resource", "resourceArn", "tags", "tagKeys", form="map"
    )
    actions: ClassVar[Sequence[str]] = (
        "logs:CreateLogGroup",
        "logs:DescribeLogGroups",
        "logs:PutRetentionPolicy",
        "logs:DeleteRetentionPolicy",
        "logs:AssociateKmsKey",
        "logs:DisassociateKmsKey",
        "logs:DeleteLogGroup",
        "logs:ListTagsForResource",
        "logs:TagResource",
        "logs:UntagResource",
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the group's name"),
        "arn": Output("the group's ARN"),
    }

    log_group_name: Fixed[GroupName]
    """`/ecs/flask`; letters, digits and . - _ / #."""
    retention: Days | None = None
    """Days after which lines are deleted; never where left out."""
    kms_key_id: Id | None = None
    """The ARN of a KMS key that encrypts it; CloudWatch's own where left out."""

    def create(self, world: World) -> str:
        """CreateLogGroup, then PutRetentionPolicy; one of that name that others made is left alone."""
        given = {"kmsKeyId": self.kms_key_id} if self.kms_key_id else {}
        try:
            _ask(
                world,
                "create_log_group",
                logGroupName=self.log_group_name,
                tags=narrow(tags_for(world)),
                **given,
            )
        except AwsError as error:
            if error.code != "ResourceAlreadyExistsException":
                raise
            self._refuse_another(world)
        finish(world, self.log_group_name, lambda: self._retain(world))
        return self.log_group_name

    def _refuse_another(self, world: World) -> None:
        """An earlier try whose answer got lost may have made it: its tags tell."""
        for group in _described(world, [self.log_group_name]):
            if not is_made_by(world, _tags(world, _arn(group))):
                raise StepFailed(
                    f"a log group called {self.log_group_name} is there already, and this resource did not "
                    "make it",
                    "choose another log_group_name, or delete that group if nobody needs what is in it",
                )

    def _retain(self, world: World) -> None:
        if self.retention is not None:
            _ask(
                world,
                "put_retention_policy",
                logGroupName=self.log_group_name,
                retentionInDays=self.retention,
            )

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeLogGroups of what their names have in common, and ListTagsForResource for each."""
        return {str(group["logGroupName"]): _values(world, group) for group in _described(world, ids)}

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """PutRetentionPolicy or DeleteRetentionPolicy; AssociateKmsKey or DisassociateKmsKey."""
        if "retention" in changed:
            if self.retention is None:
                _ask(world, "delete_retention_policy", logGroupName=id)
            self._retain(world)
        if "kms_key_id" in changed:
            if self.kms_key_id is None:
                _ask(world, "disassociate_kms_key", logGroupName=id)
            else:
                _ask(world, "associate_kms_key", logGroupName=id, kmsKeyId=self.kms_key_id)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteLogGroup: with all that was logged."""
        unless_gone(lambda: _ask(world, "delete_log_group", logGroupName=id))

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """This group alone; lists are of all."""
        if isinstance(self.log_group_name, Unknown):
            return {}
        own = [
            place.arn("logs", f"log-group:{self.log_group_name}"),
            place.arn("logs", f"log-group:{self.log_group_name}:*"),
        ]
        return {action: own for action in self.actions if action != "logs:DescribeLogGroups"}

    def foretold(self, place: Place) -> Values:
        """Its name and ARN."""
        if isinstance(self.log_group_name, Unknown):
            return {}
        return {"id": self.log_group_name, "arn": place.arn("logs", f"log-group:{self.log_group_name}")}

    def foreseen(self) -> str | None:
        """Its name."""
        return self.log_group_name

    @classmethod
    def find(cls, world: World) -> list[str]:
        """The group of the foreseen name, where its tags are those that CreateLogGroup was sent with."""

        def tags_of(name: str) -> dict[str, str] | None:
            groups = _described(world, [name])
            return _tags(world, _arn(groups[0])) if groups else None

        return ours(world, tags_of)

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws logs create-log-group`, `put-retention-policy`, `delete-log-group`."""
        if action == "delete":
            return [f"aws logs delete-log-group --log-group-name {word(id)}"]
        name = word(self.log_group_name)
        lines = []
        if action == "create":
            command = aws("create-log-group", service="logs", log_group_name=self.log_group_name)
            lines.append(command + (f" --kms-key-id {word(self.kms_key_id)}" if self.kms_key_id else ""))
            if "id" in self._beside.needed:
                lines.append(f"{variable(self._address)}={name}")
        if self.retention is not None and (action == "create" or "retention" in changed):
            days = f"--retention-in-days {word(self.retention)}"
            lines.append(f"aws logs put-retention-policy --log-group-name {name} {days}")
        changed = frozenset() if action == "create" else changed
        return [*lines, *self._changed_by_hand(name, changed), *self._told(name)]

    def _changed_by_hand(self, name: str, changed: frozenset[str]) -> list[str]:
        lines = []
        if "retention" in changed and self.retention is None:
            lines.append(f"aws logs delete-retention-policy --log-group-name {name}")
        if "kms_key_id" in changed:
            verb = "disassociate-kms-key" if self.kms_key_id is None else "associate-kms-key"
            key = "" if self.kms_key_id is None else f" --kms-key-id {word(self.kms_key_id)}"
            lines.append(f"aws logs {verb} --log-group-name {name}{key}")
        return lines

    def _told(self, name: str) -> list[str]:
        asked = f"aws logs describe-log-groups --log-group-name-prefix {name}"
        return told(self, asked, {"arn": "logGroups[0].logGroupArn"})

    def price(self) -> float | None:
        """Nothing by the hour: 0.50 USD per GB that comes in, 0.03 per GB and month that is kept."""
        return 0.0


def _ask(world: World, operation: str, **params: Any) -> dict[str, Any]:
    """A request to CloudWatch Logs: all of them may be sent twice, a group is known by its name."""
    return world.aws.call("logs", operation, retry=True, **params)


def _described(world: World, names: Sequence[str]) -> list[dict[str, Any]]:
    """The groups of these names that are there."""
    if not names:
        return []
    prefix = _in_common(min(names), max(names))
    given = {"logGroupNamePrefix": prefix} if prefix else {}
    groups = world.aws.pages("logs", "describe_log_groups", "logGroups", **given)
    return [group for group in groups if group["logGroupName"] in names]


def _in_common(first: str, last: str) -> str:
    """What all names begin with that stand between `first` and `last` in order."""
    same = 0
    while same < min(len(first), len(last)) and first[same] == last[same]:
        same += 1
    return first[:same]


def _arn(group: Mapping[str, Any]) -> str:
    """The ARN as tagging wants it: without the streams."""
    return str(group.get("logGroupArn") or group["arn"]).removesuffix(_ALL_STREAMS)


def _tags(world: World, arn: str) -> dict[str, str]:
    return told_tags(_ask(world, "list_tags_for_resource", resourceArn=arn).get("tags"))


def _values(world: World, group: Mapping[str, Any]) -> Values:
    return {
        "id": group["logGroupName"],
        "log_group_name": group["logGroupName"],
        "arn": _arn(group),
        "retention": group.get("retentionInDays"),
        "kms_key_id": group.get("kmsKeyId"),
        "tags": readable(_tags(world, _arn(group))),
    }
