"""Auto Scaling groups as AWS tells of them, and waiting until their instances are in service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from engine.aws.tags import readable, tags_in
from engine.errors import StepFailed
from engine.resource import Values
from engine.resources.aws._aws import seconds
from engine.resources.ec2._ec2 import instances

if TYPE_CHECKING:
    from engine.world import World

_A_REQUEST: Final = 50
_STARTS: Final = 900.0


def ask(world: World, operation: str, **params: Any) -> dict[str, Any]:
    """A request that may be sent twice without harm: a group is known by its name."""
    return world.aws.call("autoscaling", operation, retry=True, **params)


def described(world: World, names: Sequence[str]) -> list[dict[str, Any]]:
    """The groups of these names that are there (DescribeAutoScalingGroups, 50 at a time)."""
    distinct = sorted(set(names))
    found: list[dict[str, Any]] = []
    for start in range(0, len(distinct), _A_REQUEST):
        chunk = distinct[start : start + _A_REQUEST]
        found += world.aws.pages(
            "autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups", AutoScalingGroupNames=chunk
        )
    return found


def as_told(group: Mapping[str, Any]) -> Values:
    """A group in the playbook's words."""
    template = group.get("LaunchTemplate") or {}
    instances = group.get("Instances") or ()
    return {
        "id": group["AutoScalingGroupName"],
        "name": group["AutoScalingGroupName"],
        "arn": group.get("AutoScalingGroupARN"),
        "launch_template": {
            "launch_template_id": template.get("LaunchTemplateId"),
            "launch_template_name": template.get("LaunchTemplateName"),
            "version": template.get("Version") or "$Default",
        },
        "min_size": group["MinSize"],
        "max_size": group["MaxSize"],
        "desired_capacity": group["DesiredCapacity"],
        "vpc_zone_identifier": sorted(filter(None, (group.get("VPCZoneIdentifier") or "").split(","))),
        "availability_zones": sorted(group.get("AvailabilityZones") or ()),
        "target_group_arns": sorted(group.get("TargetGroupARNs") or ()),
        "health_check_type": group.get("HealthCheckType"),
        "health_check_period": group.get("HealthCheckGracePeriod"),
        "default_cooldown": group.get("DefaultCooldown"),
        "termination_policies": list(group.get("TerminationPolicies") or ()),
        "capacity_rebalance": bool(group.get("CapacityRebalance")),
        "max_instance_lifetime": group.get("MaxInstanceLifetime"),
        "instances": sorted(str(one["InstanceId"]) for one in instances),
        "in_service": sum(one.get("LifecycleState") == "InService" for one in instances),
        "tags": readable(tags_in(group.get("Tags"))),
    }


def until_in_service(world: World, name: str) -> None:
    """Wait until as many instances as desired are in service, and no others are there.

    Raises StepFailed with Auto Scaling's reason where they cannot be launched.
    """

    def in_service() -> bool | None:
        for group in described(world, [name]):
            states = [one.get("LifecycleState") for one in group.get("Instances") or ()]
            if states.count("InService") == len(states) == group["DesiredCapacity"]:
                return True
            if states.count("InService") < group["DesiredCapacity"]:
                _look_at_activities(world, name)
        return None

    what = "the group's instances to be in service"
    world.aws.poll(in_service, what=what, timeout=seconds(world, _STARTS), say=world.job.say)


def _look_at_activities(world: World, name: str) -> None:
    """Raises StepFailed where the last launch has failed."""
    activities = ask(world, "describe_scaling_activities", AutoScalingGroupName=name, MaxRecords=1)[
        "Activities"
    ]
    for activity in activities:
        if activity.get("StatusCode") == "Failed":
            cause = activity.get("StatusMessage") or activity.get("Cause")
            raise StepFailed(
                f"an instance could not be launched: {cause}",
                "mend the launch template or the group, then apply again",
            )


def alive(world: World, ids: Sequence[str]) -> bool:
    """Whether any of these instances is not yet terminated."""
    return any(instance["State"]["Name"] != "terminated" for instance in instances(world, ids))
