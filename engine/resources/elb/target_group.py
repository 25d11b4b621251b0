"""Target groups: what a load balancer forwards to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from engine.aws.errors import AwsError
from engine.aws.tags import readable
from engine.by_hand import assign, aws, filled, itself, json_word, variable, word
from engine.errors import StepFailed
from engine.refs import Unknown
from engine.resource import Fields, Fixed, Id, Output, Place, Unread, Values, plain
from engine.resources.aws._aws import finish, insist, seconds, set_ones, shaped
from engine.resources.elb._elb import (
    Described,
    InElb,
    Name,
    ask,
    attributes_request,
    make,
    of_ours,
    refuse_another,
)

if TYPE_CHECKING:
    from engine.world import World

_LETS_GO: Final = 120.0
"""Seconds that a load balancer which is going is given to let go of its target groups."""
_HEALTH: Final = {
    "health_check_protocol": "HealthCheckProtocol",
    "health_check_port": "HealthCheckPort",
    "health_check_path": "HealthCheckPath",
    "health_check_interval": "HealthCheckIntervalSeconds",
    "health_check_timeout": "HealthCheckTimeoutSeconds",
    "healthy_threshold_count": "HealthyThresholdCount",
    "unhealthy_threshold_count": "UnhealthyThresholdCount",
}
_ATTRIBUTES: Final = {
    "deregistration_delay_timeout": "deregistration_delay.timeout_seconds",
    "stickiness_enabled": "stickiness.enabled",
    "stickiness_type": "stickiness.type",
    "stickiness_lb_cookie_duration": "stickiness.lb_cookie.duration_seconds",
    "load_balancing_algorithm_type": "load_balancing.algorithm.type",
    "slow_start": "slow_start.duration_seconds",
}


PagePath = Annotated[str, shaped(r"/.{0,1023}", "a path that begins with /, as /ping")]
Codes = Annotated[str, shaped(r"\d{3}(-\d{3})?(,\d{3}(-\d{3})?)*", "write it like 200, 200,204 or 200-399")]


class Target(Fields):
    """Something that is forwarded to."""

    id: Id
    """The id of an instance, or an address, as target_type says."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """The group's where left out."""


class ElbTargetGroup(InElb):
    """A target group: what a load balancer forwards to, and how it tells whether that is well."""

    kind: ClassVar[str] = "elb_target_group"
    described: ClassVar[Described] = Described(
        "describe_target_groups", "TargetGroups", "TargetGroupArn", "target group"
    )
    actions: ClassVar[Sequence[str]] = (
        "elasticloadbalancing:CreateTargetGroup",
        "elasticloadbalancing:DescribeTargetGroups",
        "elasticloadbalancing:DescribeTargetHealth",
        "elasticloadbalancing:DescribeTags",
        "elasticloadbalancing:ModifyTargetGroup",
        "elasticloadbalancing:ModifyTargetGroupAttributes",
        "elasticloadbalancing:RegisterTargets",
        "elasticloadbalancing:DeregisterTargets",
        "elasticloadbalancing:DeleteTargetGroup",
        "elasticloadbalancing:AddTags",
        "elasticloadbalancing:RemoveTags",
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the target group's ARN"),
        "arn": Output("the same as id"),
        "target_group_arn": Output("the same as id"),
    }

    name: Fixed[Name]
    """At most 32 letters, digits and hyphens."""
    protocol: Fixed[Literal["HTTP", "HTTPS"]] = "HTTP"
    """What is spoken with the targets."""
    port: Fixed[int] = Field(default=80, ge=1, le=65535)
    """At which targets answer that are given no other; tasks of ECS bring their own."""
    vpc_id: Fixed[Id]
    """The VPC the targets stand in."""
    target_type: Fixed[Literal["instance", "ip"]] = "instance"
    """What targets are: `instance` (ids), or `ip` (addresses; tasks with network_mode awsvpc)."""
    health_check_protocol: Literal["HTTP", "HTTPS"] | None = None
    """The group's protocol where left out."""
    health_check_port: str | int | None = None
    """`traffic-port`, the default, is the target's own."""
    health_check_path: PagePath | None = None
    """`/` where left out."""
    health_check_interval: int | None = Field(default=None, ge=5, le=300)
    """Seconds between two checks; 30 where left out."""
    health_check_timeout: int | None = Field(default=None, ge=2, le=120)
    """Seconds that an answer may take; 5 where left out."""
    healthy_threshold_count: int | None = Field(default=None, ge=2, le=10)
    """So many answers in a row make a target well; 5 where left out."""
    unhealthy_threshold_count: int | None = Field(default=None, ge=2, le=10)
    """So many failures in a row make it unwell; 2 where left out."""
    successful_response_codes: Codes | None = None
    """`200`, `200,204` or `200-399`; 200 where left out."""
    deregistration_delay_timeout: Unread[int | None] = Field(default=None, ge=0, le=3600)
    """Seconds that a target which goes has for what it has begun; 300 where left out."""
    stickiness_enabled: Unread[bool | None] = None
    """A client keeps its target."""
    stickiness_type: Unread[Literal["lb_cookie", "app_cookie"] | None] = None
    """By whose cookie."""
    stickiness_lb_cookie_duration: Unread[int | None] = Field(default=None, ge=1, le=604800)
    """Seconds."""
    load_balancing_algorithm_type: Unread[
        Literal["round_robin", "least_outstanding_requests", "weighted_random"] | None
    ] = None
    """Which target gets the next request."""
    slow_start: Unread[int | None] = Field(default=None, ge=0, le=900)
    """Seconds in which a new target gets fewer requests; 0, or 30 to 900."""
    targets: Unread[list[Target] | None] = None
    """What is forwarded to; others are taken away. Left out where ECS or an Auto Scaling group does it."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        interval, timeout = self.health_check_interval or 30, self.health_check_timeout or 5
        if isinstance(interval, int) and isinstance(timeout, int) and timeout >= interval:
            raise ValueError("health_check_timeout must be smaller than health_check_interval")
        port = self.health_check_port
        if isinstance(port, str | int) and port != "traffic-port" and not _is_port(port):
            raise ValueError("health_check_port must be traffic-port or a port, 1 to 65535")
        if isinstance(self.slow_start, int) and 0 < self.slow_start < 30:
            raise ValueError("slow_start must be 0, or 30 to 900 seconds")
        return self

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Ports of health checks as text."""
        if name == "health_check_port":
            return str(wanted) != str(there)
        return super().differs(name, wanted, there)

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """This target group alone; what is described is all."""
        if isinstance(self.name, Unknown):
            return {}
        own = [place.arn("elasticloadbalancing", f"targetgroup/{self.name}/*")]
        return {action: own for action in self.actions if ":Describe" not in action}

    def create(self, world: World) -> str:
        """CreateTargetGroup with all tags, then attributes and targets."""
        refuse_another(world, self.described, self.name)
        answer = make(world, "create_target_group", _late, **self._request())
        id = str(answer["TargetGroups"][0]["TargetGroupArn"])
        finish(world, id, lambda: self._complete(world, id))
        return id

    def _request(self) -> dict[str, Any]:
        return {
            "Name": self.name,
            "Protocol": self.protocol,
            "Port": self.port,
            "VpcId": self.vpc_id,
            "TargetType": self.target_type,
            **self._health(set(_HEALTH) | {"successful_response_codes"}),
        }

    def _health(self, names: set[str]) -> dict[str, Any]:
        request = {key: getattr(self, name) for name, key in _HEALTH.items() if name in names}
        if request.get("HealthCheckPort") is not None and not isinstance(request["HealthCheckPort"], Unknown):
            request["HealthCheckPort"] = str(request["HealthCheckPort"])
        if "successful_response_codes" in names and self.successful_response_codes is not None:
            request["Matcher"] = {"HttpCode": self.successful_response_codes}
        return set_ones(request)

    def _complete(self, world: World, id: str) -> None:
        self._set_attributes(world, id, _ATTRIBUTES.keys())
        self._register(world, id)

    def _register(self, world: World, id: str) -> None:
        """Registers the targets asked for, and takes away others."""
        if self.targets is None:
            return
        wanted = _targets_request(plain(self.targets))
        told = ask(world, "describe_target_health", TargetGroupArn=id)["TargetHealthDescriptions"]
        there = {
            (one["Target"]["Id"], one["Target"].get("Port"))
            for one in told
            if one.get("TargetHealth", {}).get("State") != "draining"
        }
        asked = {(one["Id"], one.get("Port") or self.port) for one in wanted}
        if asked - there:
            ask(world, "register_targets", TargetGroupArn=id, Targets=wanted)
        if extra := there - asked:
            targets = [{"Id": target, "Port": port} for target, port in sorted(extra)]
            ask(world, "deregister_targets", TargetGroupArn=id, Targets=targets)

    def _set_attributes(self, world: World, id: str, names: Set[str]) -> None:
        attributes = attributes_request(self, _ATTRIBUTES, names)
        if attributes:
            ask(world, "modify_target_group_attributes", TargetGroupArn=id, Attributes=attributes)

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeTargetGroups, DescribeTags."""
        groups = of_ours(world, cls.described, ids)
        return {str(group["TargetGroupArn"]): _values(group, tags) for group, tags in groups}

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """ModifyTargetGroup, ModifyTargetGroupAttributes, RegisterTargets and DeregisterTargets."""
        health = self._health(set(changed))
        if health:
            ask(world, "modify_target_group", TargetGroupArn=id, **health)
        self._set_attributes(world, id, changed)
        if "targets" in changed:
            self._register(world, id)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteTargetGroup; waits while a load balancer that is going still forwards to it."""
        try:
            insist(
                world,
                lambda: ask(world, "delete_target_group", TargetGroupArn=id),
                lambda error: error.code == "ResourceInUse",
                what="its load balancer to let go of it",
                timeout=seconds(world, _LETS_GO),
            )
        except AwsError as error:
            if error.code == "ResourceInUse":
                raise StepFailed(
                    f"the target group cannot be deleted: {error.message}",
                    "delete the listener or rule that forwards to it, then run the same command again",
                ) from None
            if not error.not_found:
                raise

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws elbv2 create-target-group`, `modify-target-group`, `register-targets`, and so on."""
        if action == "delete":
            return [f"aws elbv2 delete-target-group --target-group-arn {word(id)}"]
        own = f"--target-group-arn {word(itself(self, id))}"
        lines = []
        if action == "create":
            request = self._request()
            matcher = request.pop("Matcher", None)
            command = aws(
                "create-target-group",
                service="elbv2",
                **{_option(key): value for key, value in request.items()},
            )
            command += f" --matcher {json_word(matcher)}" if matcher else ""
            lines.append(
                assign(self._address, f"{command} --query 'TargetGroups[0].TargetGroupArn' --output text")
            )
            same = word(filled(self))
            lines += [
                f"{variable(self._address, name)}={same}"
                for name in ("arn", "target_group_arn")
                if name in self._beside.needed
            ]
        elif health := self._health(set(changed)):
            given = json_word({"TargetGroupArn": id, **health})
            lines.append(f"aws elbv2 modify-target-group --cli-input-json {given}")
        attributes = attributes_request(
            self, _ATTRIBUTES, _ATTRIBUTES.keys() if action == "create" else changed
        )
        if attributes:
            lines.append(
                f"aws elbv2 modify-target-group-attributes {own} --attributes {json_word(attributes)}"
            )
        if self.targets and (action == "create" or "targets" in changed):
            targets = json_word(_targets_request(plain(self.targets)))
            lines.append(f"aws elbv2 register-targets {own} --targets {targets}")
        return lines


def _late(error: AwsError) -> bool:
    return error.code == "ValidationError" and "is not found" in error.said


def _is_port(text: str | int) -> bool:
    return str(text).isdigit() and 1 <= int(text) <= 65535


def _option(key: str) -> str:
    """The option of the command line for a parameter: HealthCheckPath → health_check_path."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key).lstrip("_")


def _targets_request(given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"Id": one["id"], **({"Port": one["port"]} if one.get("port") is not None else {})} for one in given
    ]


def _values(group: Mapping[str, Any], tags: Mapping[str, str]) -> Values:
    return {
        "id": group["TargetGroupArn"],
        "arn": group["TargetGroupArn"],
        "target_group_arn": group["TargetGroupArn"],
        "name": group["TargetGroupName"],
        "protocol": group.get("Protocol"),
        "port": group.get("Port"),
        "vpc_id": group.get("VpcId"),
        "target_type": group.get("TargetType"),
        **{name: group.get(key) for name, key in _HEALTH.items()},
        "successful_response_codes": (group.get("Matcher") or {}).get("HttpCode"),
        "tags": readable(tags),
    }
