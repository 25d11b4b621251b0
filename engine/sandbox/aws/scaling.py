"""Auto Scaling groups as AWS has them: instances launched as any other, refreshed, gone with the group.

moto's have instances that no check has passed and no system runs on, and cannot refresh them.
"""

from __future__ import annotations

import itertools
import time
import uuid
from typing import Any

import moto.backends
from moto.autoscaling.exceptions import AutoscalingClientError
from moto.autoscaling.models import AutoScalingBackend, FakeAutoScalingGroup, InstanceState
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.launch_templates import LaunchTemplate
from moto.ec2.utils import parse_user_data

from engine.sandbox.aws import balancing, launches
from engine.sandbox.aws.ecs_tasks import moment
from engine.sandbox.aws.guard import Check
from engine.sandbox.aws.mending import add, replace, take_on

_turns = itertools.count()
_ALL = 1_000_000


def _launch(group: Any, count: int, propagated: dict[str, str]) -> None:
    """Launches instances as RunInstances does with the group's launch template, in each subnet in turn."""
    template = group.ec2_launch_template
    if template is None:
        raise AutoscalingClientError(
            "ValidationError", "The sandbox launches instances of launch templates only."
        )
    data = template.get_version(group.launch_template_version).data
    for _ in range(count):
        try:
            instance = _one(group, dict(data), {**propagated, "aws:autoscaling:groupName": group.name})
        except EC2ClientError as error:
            _note(group, "Failed", f"{error.message} Launching EC2 instance failed.")
            return
        instance.autoscaling_group = group
        state = InstanceState(instance, protected_from_scale_in=group.new_instances_protected_from_scale_in)
        group.instance_states.append(state)
        _note(group, "Successful", f"Launching a new EC2 instance: {instance.id}")


def _one(group: Any, data: dict[str, Any], tags: dict[str, str]) -> Any:
    ec2 = group.ec2_backend
    subnets = (group.vpc_zone_identifier or "").split(",")
    params = {
        **data,
        "MinCount": 1,
        "MaxCount": 1,
        "TagSpecifications": [
            *(data.get("TagSpecifications") or ()),
            {"ResourceType": "instance", "Tags": [{"Key": key, "Value": tags[key]} for key in tags]},
        ],
    }
    if data.get("UserData") is not None:
        params["UserData"] = str(data["UserData"])
    subnet = subnets[next(_turns) % len(subnets)] or None
    nics = [dict(nic) for nic in data.get("NetworkInterfaces") or ()]
    if nics:
        params["NetworkInterfaces"] = nics
        if subnet:
            nics[0]["SubnetId"] = subnet
    elif subnet:
        params["SubnetId"] = subnet
    elif group.availability_zones:
        params["Placement"] = {"AvailabilityZone": group.availability_zones[0]}
    launches.prepare(ec2, params)
    reservation = ec2.run_instances(
        params.get("ImageId"),
        1,
        parse_user_data(params.get("UserData")),
        [],
        instance_type=params.get("InstanceType", "m1.small"),
        is_instance_type_default=not params.get("InstanceType"),
        placement=None,
        region_name=group.region,
        subnet_id=params.get("SubnetId"),
        key_name=params.get("KeyName"),
        security_group_ids=list(params.get("SecurityGroupIds") or ()),
        nics=nics,
        tags={"instance": tags},
        ebs_optimized=params.get("EbsOptimized") or False,
        metadata_options=params.get("MetadataOptions") or {},
        instance_market_options=(params.get("InstanceMarketOptions") or {}).get("MarketType") or {},
        block_device_mappings=[_disk(one) for one in params["BlockDeviceMappings"]],
    )
    launches.launched(ec2, params, reservation)
    [instance] = reservation.instances
    profile = data.get("IamInstanceProfile") or {}
    if profile:
        ec2.associate_iam_instance_profile(
            instance_id=instance.id,
            iam_instance_profile_name=profile.get("Name"),
            iam_instance_profile_arn=profile.get("Arn"),
        )
    return instance


def _disk(given: dict[str, Any]) -> dict[str, Any]:
    volume = {"Encrypted": False, "DeleteOnTermination": True, **(given.get("Ebs") or {})}
    return {"DeviceName": given["DeviceName"], "Ebs": volume}


def _note(group: Any, status: str, words: str) -> None:
    """Adds a scaling activity, newest first."""
    now = moment(time.time())
    activity = {
        "ActivityId": str(uuid.uuid4()),
        "AutoScalingGroupName": group.name,
        "Description": words,
        "Cause": "an instance was needed to keep the desired capacity",
        "StartTime": now,
        "EndTime": now,
        "StatusCode": status,
        "StatusMessage": words if status == "Failed" else None,
        "Progress": 100,
    }
    activities = group.__dict__.setdefault("sandbox_activities", [])
    activities.insert(0, {name: value for name, value in activity.items() if value is not None})


def _in_use(group: Any) -> list[Any]:
    """Those that count: launched and not on standby."""
    return [one for one in group.instance_states if one.__dict__["stage"] == "InService"]


def _stage(state: Any) -> str:
    """Where an instance is in its life: pending until EC2 says that it runs."""
    kept = str(state.__dict__["stage"])
    return "Pending" if kept == "InService" and state.instance._state.name != "running" else kept


def _set_stage(state: Any, stage: str) -> None:
    state.__dict__["stage"] = stage


def _balance(backend: Any, name: str) -> None:
    """Registers the group's instances in its target groups, and takes out those that are gone."""
    group = backend.autoscaling_groups[name]
    balancers = moto.backends.get_backend("elbv2")[backend.account_id][backend.region_name]
    wanted = {
        (arn, one.instance.id) for arn in group.target_group_arns or () for one in group.instance_states
    }
    held: set[tuple[str, str]] = group.__dict__.setdefault("sandbox_targets", set())
    for arn, instance in held - wanted:
        balancing.deregister(balancers, arn, instance, 0)
    for arn, instance in wanted - held:
        found = balancers.target_groups.get(arn)
        if found is not None:
            balancing.register(balancers, arn, instance, int(found.port))
    group.sandbox_targets = wanted


def mend() -> None:
    """Puts moto's groups right."""
    create, update = (
        AutoScalingResponse.create_auto_scaling_group,
        AutoScalingResponse.update_auto_scaling_group,
    )
    remove = AutoScalingResponse.delete_auto_scaling_group

    def new_group(request: Any) -> Any:
        name = request._get_param("AutoScalingGroupName")
        if name in request.autoscaling_backend.autoscaling_groups:
            words = (
                f"AutoScalingGroup by this name already exists - A group with the name {name} already exists"
            )
            raise AutoscalingClientError("AlreadyExists", words)
        answer = create(request)
        _settings(request)
        return answer

    def change_group(request: Any) -> Any:
        answer = update(request)
        _settings(request)
        return answer

    def delete_group(request: Any) -> Any:
        group = request.autoscaling_backend.autoscaling_groups.get(request._get_param("AutoScalingGroupName"))
        if group is not None and group.instance_states and not request._get_bool_param("ForceDelete"):
            words = "You cannot delete an AutoScalingGroup while there are instances still in the group."
            raise AutoscalingClientError("ResourceInUse", words)
        return remove(request)

    def let_go(backend: Any, name: str, arns: list[str]) -> None:
        group = backend.autoscaling_groups[name]
        group.target_group_arns = [one for one in group.target_group_arns if one not in arns]
        _balance(backend, name)

    replace(
        AutoScalingResponse,
        create_auto_scaling_group=new_group,
        update_auto_scaling_group=change_group,
        delete_auto_scaling_group=delete_group,
        describe_scaling_activities=_activities,
    )
    add(
        AutoScalingResponse,
        start_instance_refresh=_start_refresh,
        describe_instance_refreshes=_refreshes,
    )
    replace(
        AutoScalingBackend,
        update_attached_target_groups=_balance,
        detach_load_balancer_target_groups=let_go,
    )
    replace(FakeAutoScalingGroup, replace_autoscaling_group_instances=_launch, active_instances=_in_use)
    add(InstanceState, lifecycle_state=property(_stage, _set_stage))
    add(LaunchTemplate, tags=property(lambda template: template.get_tags(), lambda template, tags: None))


def _settings(request: Any) -> None:
    """Settings that moto does not take."""
    group = request.autoscaling_backend.autoscaling_groups[request._get_param("AutoScalingGroupName")]
    attributes = {
        "TerminationPolicies": "termination_policies",
        "DefaultCooldown": "default_cooldown",
        "MaxInstanceLifetime": "max_instance_lifetime",
        "CapacityRebalance": "capacity_rebalance",
    }
    take_on(group, request._get_param, attributes)


def _group(request: Any) -> Any:
    name = request._get_param("AutoScalingGroupName")
    group = request.autoscaling_backend.autoscaling_groups.get(name)
    if group is None:
        raise AutoscalingClientError("ValidationError", "AutoScalingGroup name not found - null")
    return group


def _activities(request: Any) -> ActionResult:
    most = request._get_int_param("MaxRecords", 100)
    return ActionResult({"Activities": getattr(_group(request), "sandbox_activities", [])[:most]})


def _start_refresh(request: Any) -> ActionResult:
    """Launches as many new instances as there are, and terminates the old ones."""
    group = _group(request)
    kept = group.__dict__.setdefault("sandbox_refreshes", [])
    if kept and _told(group, kept[0])["Status"] == "InProgress":
        words = (
            "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh."
        )
        raise AutoscalingClientError("InstanceRefreshInProgress", words)
    old = [one.instance.id for one in group.instance_states]
    refresh = {"id": str(uuid.uuid4()), "started": time.time(), "old": old}
    kept.insert(0, refresh)
    group.instance_states = []
    group.replace_autoscaling_group_instances(len(old), group.get_propagated_tags())
    if old:
        group.ec2_backend.terminate_instances(old)
    request.autoscaling_backend.update_attached_target_groups(group.name)
    return ActionResult({"InstanceRefreshId": refresh["id"]})


def _refreshes(request: Any) -> ActionResult:
    group = _group(request)
    wanted = request._get_param("InstanceRefreshIds") or ()
    kept = getattr(group, "sandbox_refreshes", [])
    told = [_told(group, one) for one in kept if not wanted or one["id"] in wanted]
    return ActionResult({"InstanceRefreshes": told})


def _told(group: Any, refresh: dict[str, Any]) -> dict[str, Any]:
    new = [one for one in group.instance_states if one.instance.id not in refresh["old"]]
    running = sum(one.lifecycle_state == "InService" for one in new)
    wanted = int(group.desired_capacity or 0)
    told = {
        "InstanceRefreshId": refresh["id"],
        "AutoScalingGroupName": group.name,
        "Status": "InProgress",
        "StartTime": moment(refresh["started"]),
        "PercentageComplete": 100 * running // wanted if wanted else 100,
        "InstancesToUpdate": max(0, wanted - running),
        "Strategy": "Rolling",
    }
    if running >= wanted:
        told |= {"Status": "Successful", "EndTime": moment(time.time())}
    elif len(new) < wanted:
        reason = "instances could not be launched: see the group's scaling activities"
        told |= {"Status": "Failed", "StatusReason": reason, "EndTime": moment(time.time())}
    return told


def _all_templates(backend: Any, params: dict[str, Any]) -> None:
    """moto cuts its lists at MaxResults and gives no token for the rest: it is asked for everything."""
    params["MaxResults"] = _ALL


CHECKS: dict[str, tuple[Check, ...]] = {
    "DescribeLaunchTemplates": (_all_templates,),
    "DescribeLaunchTemplateVersions": (_all_templates,),
}
