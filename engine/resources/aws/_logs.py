"""The log groups that services write to: made beforehand, so that they have an owner and an end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from engine.aws.errors import AwsError
from engine.aws.tags import LAB, TOKEN, narrow, tags_for, told_tags
from engine.resources.aws._aws import unless_gone

if TYPE_CHECKING:
    from engine.world import World

Days = Literal[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653
]
"""The retentions that CloudWatch Logs knows."""


def make(world: World, name: str, retention: Days | None) -> None:
    """CreateLogGroup unless it is there, and its retention, where it is this lab's."""
    tags = {key: text for key, text in tags_for(world).items() if key != TOKEN}
    try:
        _ask(world, "create_log_group", logGroupName=name, tags=narrow(tags))
    except AwsError as error:
        if error.code != "ResourceAlreadyExistsException":
            raise
    if retention is None:
        _ask(world, "delete_retention_policy", logGroupName=name)
    else:
        _ask(world, "put_retention_policy", logGroupName=name, retentionInDays=retention)


def retentions(world: World, names: Sequence[str]) -> dict[str, int | None]:
    """The retention of those groups that are there, in days; asked for all at once."""
    if not names:
        return {}
    prefix = names[0].rpartition("/")[0] + "/" if len(set(names)) > 1 else names[0]
    groups = world.aws.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=prefix)
    return {
        str(group["logGroupName"]): group.get("retentionInDays")
        for group in groups
        if group["logGroupName"] in names
    }


def remove(world: World, name: str) -> None:
    """DeleteLogGroup, where this lab has made it."""
    for group in world.aws.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=name):
        if group["logGroupName"] != name:
            continue
        arn = str(group.get("logGroupArn") or group["arn"]).removesuffix(":*")
        told = _ask(world, "list_tags_for_resource", resourceArn=arn)
        if told_tags(told.get("tags")).get(LAB) == world.lab:
            _ask(world, "delete_log_group", logGroupName=name)


def _ask(world: World, operation: str, **params: Any) -> dict[str, Any]:
    """A request to CloudWatch Logs; that the thing is not there (any more) is fine."""
    return unless_gone(lambda: world.aws.call("logs", operation, retry=True, **params)) or {}
