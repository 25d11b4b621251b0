"""Auto Scaling groups: so many instances that are kept running."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from engine.aws.errors import AwsError
from engine.aws.tags import is_made_by, made_by, tags_for, tags_in
from engine.by_hand import assign, json_word, variable, word
from engine.errors import StepFailed
from engine.refs import Unknown
from engine.resource import Fields, Fixed, Id, Output, Place, Resource, Unread, Values, plain
from engine.resources.aws._aws import (
    finish,
    insist,
    seconds,
    service_linked_role,
    set_ones,
    shaped,
    sorted_out,
)
from engine.resources.ec2._groups import alive, as_told, ask, described, until_in_service

if TYPE_CHECKING:
    from engine.world import World

GroupName = Annotated[str, shaped(r"[^:\r\n\t]{1,255}", "1 to 255 letters, digits and signs, no colon")]
_REFRESHES: Final = 3600.0
_ENDS: Final = 900.0
_SETTLES: Final = 60.0
_REFRESHING: Final = frozenset({"Pending", "InProgress", "Baking", "Cancelling", "RollbackInProgress"})
_SORT: Final = "auto-scaling-group"


class LaunchTemplateSpecification(Fields):
    """Which launch template, and which version of it."""

    launch_template_id: Id | None = None
    """The template's id; or its name."""
    launch_template_name: str | None = None
    """The template's name; or its id."""
    version: str | int = "$Default"
    """A number (`{{ template.latest_version }}`), `$Default` or `$Latest`."""

    @field_validator("version")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) else value

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        if (self.launch_template_id is None) == (self.launch_template_name is None):
            raise ValueError("give launch_template_id or launch_template_name")
        return self


class AutoscalingGroup(Resource):
    """An Auto Scaling group: keeps so many instances of a launch template running."""

    kind: ClassVar[str] = "autoscaling_group"
    tagged: ClassVar[bool] = True
    actions: ClassVar[Sequence[str]] = (
        "autoscaling:CreateAutoScalingGroup",
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeScalingActivities",
        "autoscaling:UpdateAutoScalingGroup",
        "autoscaling:AttachLoadBalancerTargetGroups",
        "autoscaling:DetachLoadBalancerTargetGroups",
        "autoscaling:StartInstanceRefresh",
        "autoscaling:DescribeInstanceRefreshes",
        "autoscaling:DeleteAutoScalingGroup",
        "autoscaling:CreateOrUpdateTags",
        "autoscaling:DeleteTags",
        "ec2:DescribeInstances",
        "ec2:RunInstances",
        "ec2:CreateTags",
        "iam:CreateServiceLinkedRole",
        "iam:PassRole",
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the group's name"),
        "arn": Output("the group's ARN"),
        "instances": Output("the ids of its instances"),
        "in_service": Output("how many of them are in service"),
    }

    name: Fixed[GroupName]
    """At most 255 letters, digits and signs, but no colon; unique in the account and region."""
    launch_template: LaunchTemplateSpecification
    """How its instances are made."""
    min_size: int = Field(ge=0, le=10000)
    """It never has fewer."""
    max_size: int = Field(ge=0, le=10000)
    """It never has more."""
    desired_capacity: int | None = Field(default=None, ge=0, le=10000)
    """How many there are to be now; left alone where left out, and at first min_size."""
    vpc_zone_identifier: list[Id] | None = Field(default=None, min_length=1)
    """Subnets that instances are spread over."""
    availability_zones: list[str] | None = Field(default=None, min_length=1)
    """In place of subnets: the default subnets of these zones."""
    target_group_arns: list[Id] | None = None
    """Target groups in which its instances are registered."""
    health_check_type: Literal["EC2", "ELB"] = "EC2"
    """`ELB`: an instance is also replaced when its target group finds it unwell."""
    health_check_period: int | None = Field(default=None, ge=0)
    """Seconds after a start in which health does not count."""
    default_cooldown: int | None = Field(default=None, ge=0)
    """Seconds between two scalings; 300 where left out."""
    termination_policies: list[str] | None = None
    """Which instance goes first: Default, OldestInstance, NewestInstance, …"""
    capacity_rebalance: bool | None = None
    """Spot instances are replaced before AWS takes them away."""
    max_instance_lifetime: int | None = Field(default=None, ge=86400, le=31536000)
    """Seconds after which an instance is replaced: a day to a year."""
    replace_all_instances: Unread[bool] = True
    """When the launch template or its version changes, all instances are replaced at once."""
    min_healthy_percentage: Unread[int] = Field(default=90, ge=0, le=100)
    """So many percent stay in service while instances are replaced; 0 replaces all at once."""
    instance_warmup: Unread[int | None] = Field(default=None, ge=0)
    """Seconds until a new instance counts; health_check_period where left out."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        sizes = [self.min_size, self.max_size]
        if all(isinstance(size, int) for size in sizes):
            if self.min_size > self.max_size:
                raise ValueError(f"min_size ({self.min_size}) is larger than max_size ({self.max_size})")
            desired = self.desired_capacity
            if isinstance(desired, int) and not self.min_size <= desired <= self.max_size:
                raise ValueError(
                    f"desired_capacity ({desired}) must be between min_size ({self.min_size}) and max_size "
                    f"({self.max_size})"
                )
        if (self.vpc_zone_identifier is None) == (self.availability_zones is None):
            raise ValueError("give vpc_zone_identifier (subnets) or availability_zones")
        return self

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Subnets, zones and target groups in any order; templates by what is given of them."""
        if name in {"vpc_zone_identifier", "availability_zones", "target_group_arns"} and isinstance(
            there, list
        ):
            return {str(one) for one in wanted} != set(there)
        if name == "launch_template" and isinstance(wanted, dict) and isinstance(there, dict):
            given = {"version": "$Default", **wanted}
            return any(str(there.get(key)) != str(value) for key, value in given.items())
        return super().differs(name, wanted, there)

    @classmethod
    def unsettles(cls, changed: frozenset[str]) -> frozenset[str]:
        """Other instances."""
        if changed & {"launch_template", "min_size", "max_size", "desired_capacity"}:
            return frozenset({"instances", "in_service"})
        return frozenset()

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """This group alone; what is described is all."""
        if isinstance(self.name, Unknown):
            return {}
        own = [place.arn("autoscaling", f"autoScalingGroup:*:autoScalingGroupName/{self.name}")]
        changing = [one for one in self.actions if one.startswith("autoscaling") and ":Describe" not in one]
        linked = service_linked_role(place, "autoscaling", "AutoScaling")
        return {**dict.fromkeys(changing, own), **linked}

    def foreseen(self) -> str | None:
        """Its name."""
        return self.name

    def create(self, world: World) -> str:
        """CreateAutoScalingGroup with all tags; returns once all its instances are in service."""
        try:
            insist(
                world,
                lambda: ask(
                    world,
                    "create_auto_scaling_group",
                    Tags=_tags(self.name, tags_for(world)),
                    **self._request(),
                ),
                _late,
                what="AWS to see what was just made",
                timeout=_SETTLES,
            )
        except AwsError as error:
            if error.code != "AlreadyExists":
                raise
            self._refuse_another(world)
        finish(world, self.name, lambda: until_in_service(world, self.name))
        return self.name

    def _refuse_another(self, world: World) -> None:
        """An earlier try whose answer got lost may have made it: its tags tell."""
        for group in described(world, [self.name]):
            if not is_made_by(world, tags_in(group.get("Tags"))):
                raise StepFailed(
                    f"an Auto Scaling group called {self.name} is there already, and this resource did not "
                    "make it",
                    "choose another name, or delete that group if nobody needs it",
                )

    def _settings(self) -> dict[str, tuple[str, Any]]:
        """By field, name and value of what CreateAutoScalingGroup and UpdateAutoScalingGroup take alike."""
        subnets = self.vpc_zone_identifier
        return {
            "launch_template": ("LaunchTemplate", _template_request(plain(self.launch_template))),
            "min_size": ("MinSize", self.min_size),
            "max_size": ("MaxSize", self.max_size),
            "desired_capacity": ("DesiredCapacity", self.desired_capacity),
            "vpc_zone_identifier": ("VPCZoneIdentifier", subnets and _joined(subnets)),
            "availability_zones": ("AvailabilityZones", self.availability_zones),
            "health_check_type": ("HealthCheckType", self.health_check_type),
            "health_check_period": ("HealthCheckGracePeriod", self.health_check_period),
            "default_cooldown": ("DefaultCooldown", self.default_cooldown),
            "termination_policies": ("TerminationPolicies", self.termination_policies),
            "capacity_rebalance": ("CapacityRebalance", self.capacity_rebalance),
            "max_instance_lifetime": ("MaxInstanceLifetime", self.max_instance_lifetime),
        }

    def _request(self) -> dict[str, Any]:
        request = {"AutoScalingGroupName": self.name, "TargetGroupARNs": self.target_group_arns}
        request |= dict(self._settings().values())
        return set_ones(request)

    def _changes(self, changed: frozenset[str]) -> dict[str, Any]:
        """What UpdateAutoScalingGroup is sent for the fields `changed`; nothing where none are its own."""
        settings = {key: value for name, (key, value) in self._settings().items() if name in changed}
        given = set_ones(settings)
        # A size alone may lie outside the others that are there.
        return {"MinSize": self.min_size, "MaxSize": self.max_size, **given} if given else {}

    def _preferences(self) -> dict[str, Any]:
        """How StartInstanceRefresh replaces instances."""
        return set_ones(
            {"MinHealthyPercentage": self.min_healthy_percentage, "InstanceWarmup": self.instance_warmup}
        )

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeAutoScalingGroups, 50 at a time; one that is being deleted is gone."""
        return {
            str(group["AutoScalingGroupName"]): as_told(group)
            for group in described(world, ids)
            if not group.get("Status")
        }

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """UpdateAutoScalingGroup, its target groups, and an instance refresh where the template changed."""
        request = self._changes(changed)
        if request:
            ask(world, "update_auto_scaling_group", AutoScalingGroupName=id, **request)
        if "target_group_arns" in changed:
            self._attach(world, id)
        until_in_service(world, id)
        if "launch_template" in changed and self.replace_all_instances:
            self._refresh(world, id)

    def _attach(self, world: World, id: str) -> None:
        held = {arn for group in described(world, [id]) for arn in group.get("TargetGroupARNs") or ()}
        wanted = set(self.target_group_arns or ())
        for operation, arns in (
            ("attach_load_balancer_target_groups", wanted - held),
            ("detach_load_balancer_target_groups", held - wanted),
        ):
            if arns:
                ask(world, operation, AutoScalingGroupName=id, TargetGroupARNs=sorted(arns))

    def _refresh(self, world: World, id: str) -> None:
        """StartInstanceRefresh; waits until every instance has been replaced."""
        start = {"AutoScalingGroupName": id, "Preferences": self._preferences()}
        answer = insist(
            world,
            lambda: ask(world, "start_instance_refresh", **start),
            lambda error: error.code == "InstanceRefreshInProgress",
            what="the last replacement of instances to end",
            timeout=seconds(world, _REFRESHES),
        )
        refresh = answer["InstanceRefreshId"]

        def done() -> bool | None:
            for one in ask(
                world, "describe_instance_refreshes", AutoScalingGroupName=id, InstanceRefreshIds=[refresh]
            )["InstanceRefreshes"]:
                if one["Status"] == "Successful":
                    return True
                if one["Status"] not in _REFRESHING:
                    raise StepFailed(
                        f"not all instances could be replaced ({one['Status']}): "
                        f"{one.get('StatusReason') or 'no reason given'}",
                        "mend the launch template, then apply again",
                    )
                world.job.say(f"{one.get('PercentageComplete', 0)} % of the instances are replaced")
            return None

        what = "all instances to be replaced"
        world.aws.poll(done, what=what, timeout=seconds(world, _REFRESHES), say=world.job.say)

    @classmethod
    def retag(cls, world: World, id: str, there: Values, tags: Mapping[str, str | None]) -> None:
        """CreateOrUpdateTags, DeleteTags; instances launched from then on have them, too."""
        wanted, gone = sorted_out(tags)
        if wanted:
            ask(world, "create_or_update_tags", Tags=_tags(id, wanted))
        if gone:
            ask(world, "delete_tags", Tags=_keys(id, gone))

    @classmethod
    def retag_by_hand(cls, id: str, there: Values, tags: Mapping[str, str | None]) -> list[str]:
        """`aws autoscaling create-or-update-tags`, `delete-tags`."""
        wanted, gone = sorted_out(tags)
        lines = []
        if wanted:
            lines.append(f"aws autoscaling create-or-update-tags --tags {json_word(_tags(id, wanted))}")
        if gone:
            lines.append(f"aws autoscaling delete-tags --tags {json_word(_keys(id, gone))}")
        return lines

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteAutoScalingGroup by force; waits until it is gone and its instances are terminated."""
        launched = [
            str(one["InstanceId"]) for group in described(world, [id]) for one in group.get("Instances") or ()
        ]
        try:
            insist(
                world,
                lambda: ask(world, "delete_auto_scaling_group", AutoScalingGroupName=id, ForceDelete=True),
                lambda error: error.code in {"ScalingActivityInProgress", "ResourceInUse"},
                what="the group's last change to end",
                timeout=seconds(world, _ENDS),
            )
        except AwsError as error:
            if "not found" not in error.said.lower():
                raise

        def gone() -> bool | None:
            return None if described(world, [id]) or alive(world, launched) else True

        what = "the group's instances to be terminated"
        world.aws.poll(gone, what=what, timeout=seconds(world, _ENDS), say=world.job.say)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By the tags that CreateAutoScalingGroup was sent with."""
        groups = world.aws.pages(
            "autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups", Filters=made_by(world)
        )
        return [str(group["AutoScalingGroupName"]) for group in groups if not group.get("Status")]

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws autoscaling create-auto-scaling-group`, `update-…`, `start-instance-refresh`, `delete-…`."""
        if action == "delete":
            command = "aws autoscaling delete-auto-scaling-group --auto-scaling-group-name"
            return [f"{command} {word(id)} --force-delete"]
        own = word(self.name)
        if action == "create":
            lines = [
                f"aws autoscaling create-auto-scaling-group --cli-input-json {json_word(self._request())}"
            ]
            if "id" in self._beside.needed:
                lines.append(f"{variable(self._address)}={own}")
            return lines + self._told(own)
        request = self._changes(changed)
        lines = []
        if request:
            given = json_word({"AutoScalingGroupName": id, **request})
            lines.append(f"aws autoscaling update-auto-scaling-group --cli-input-json {given}")
        if "target_group_arns" in changed:
            lines += self._attached_by_hand(own)
        if "launch_template" in changed and self.replace_all_instances:
            command = f"aws autoscaling start-instance-refresh --auto-scaling-group-name {own}"
            lines.append(f"{command} --preferences {json_word(self._preferences())}")
        return lines + self._told(own)

    def _attached_by_hand(self, own: str) -> list[str]:
        held = {str(arn) for arn in self._beside.there.get("target_group_arns") or ()}
        lines = []
        more = [arn for arn in self.target_group_arns or () if isinstance(arn, Unknown) or arn not in held]
        for verb, arns in (
            ("attach", more),
            ("detach", sorted(held - {str(arn) for arn in self.target_group_arns or ()})),
        ):
            if arns:
                command = (
                    f"aws autoscaling {verb}-load-balancer-target-groups --auto-scaling-group-name {own}"
                )
                lines.append(f"{command} --target-group-arns {' '.join(map(word, arns))}")
        return lines

    def _told(self, own: str) -> list[str]:
        lines = []
        asked = f"aws autoscaling describe-auto-scaling-groups --auto-scaling-group-names {own}"
        queries = {"arn": "AutoScalingGroupARN", "instances": "Instances[].InstanceId"}
        for name, query in queries.items():
            if name in self._beside.needed:
                command = f"{asked} --query 'AutoScalingGroups[0].{query}' --output text"
                lines.append(assign(self._address, command, name))
        return lines

    def price(self) -> float | None:
        """What its instances cost is in the launch template: unknown here; nothing where there are none."""
        return 0.0 if self.max_size == 0 or self.desired_capacity == 0 else None


def _late(error: AwsError) -> bool:
    """Whether a refusal may pass by itself, when all that it names is seen everywhere."""
    said = error.said.lower()
    return error.code == "ValidationError" and (
        ("launch template" in said and "does not exist" in said) or "invalid iaminstanceprofile" in said
    )


def _joined(subnets: Sequence[Any]) -> Any:
    """Subnets as one text with commas, which is not known as long as one of them is not."""
    unknown = [one for one in subnets if isinstance(one, Unknown)]
    text = ",".join(one.text or "" if isinstance(one, Unknown) else one for one in subnets)
    return Unknown(frozenset().union(*(one.refs for one in unknown)), text) if unknown else text


def _tags(name: str, tags: Mapping[str, str]) -> list[dict[str, Any]]:
    """Tags in the form of Auto Scaling's requests; its instances get them, too."""
    return [
        {"ResourceId": name, "ResourceType": _SORT, "Key": key, "Value": value, "PropagateAtLaunch": True}
        for key, value in tags.items()
    ]


def _keys(name: str, keys: Sequence[str]) -> list[dict[str, str]]:
    """Tags to take away, in the form of Auto Scaling's requests."""
    return [{"ResourceId": name, "ResourceType": _SORT, "Key": key} for key in keys]


def _template_request(given: Mapping[str, Any]) -> dict[str, Any]:
    names = {
        "launch_template_id": "LaunchTemplateId",
        "launch_template_name": "LaunchTemplateName",
        "version": "Version",
    }
    return {key: given[name] for name, key in names.items() if given.get(name) is not None}
