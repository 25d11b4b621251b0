"""Services of ECS: so many tasks that are kept running."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from engine.aws.errors import AwsError
from engine.aws.tags import is_made_by, readable, told_tags
from engine.by_hand import assign, itself, json_word, told, word
from engine.errors import StepFailed
from engine.refs import Unknown
from engine.resource import Fields, Fixed, Id, Output, Place, Unread, Values, plain
from engine.resources.aws._aws import finish, seconds, service_linked_role, set_ones
from engine.resources.ecs._deployments import SETTLES, addresses_of, described, until_stable
from engine.resources.ecs._ecs import (
    CapacityProviderStrategyItem,
    InEcs,
    Name,
    NetworkConfiguration,
    ask,
    cluster_of,
    clusters,
    definition_differs,
    in_cluster,
    listed,
    network_differs,
    network_request,
    network_words,
    new_tags,
    once_settled,
    short,
    strategy_request,
    strategy_words,
    token,
)

if TYPE_CHECKING:
    from engine.world import World


class LoadBalancer(Fields):
    """A target group in which the tasks are registered."""

    target_group_arn: Id
    """Of target type ip for tasks with network_mode awsvpc; a listener must forward to it already."""
    container_name: str
    """The container that answers."""
    container_port: int = Field(ge=1, le=65535)
    """Its port."""


class CircuitBreaker(Fields):
    """What happens to a deployment whose tasks do not come up."""

    enable: bool = True
    """It ends as failed."""
    rollback: bool = False
    """The last one that worked comes back."""


class DeploymentConfiguration(Fields):
    """How many tasks there are while one deployment takes the place of another."""

    maximum_percent: int = Field(default=200, ge=0, le=200)
    """At most, of the desired count."""
    minimum_healthy_percent: int = Field(default=100, ge=0, le=200)
    """At least, of the desired count."""
    deployment_circuit_breaker: CircuitBreaker | None = None
    """What happens to a deployment whose tasks do not come up."""


class EcsService(InEcs):
    """An ECS service: keeps so many tasks of a definition running, and replaces them when that changes."""

    kind: ClassVar[str] = "ecs_service"
    runs_code: ClassVar[bool] = True
    actions: ClassVar[Sequence[str]] = (
        "ecs:CreateService",
        "ecs:DescribeServices",
        "ecs:ListServices",
        "ecs:ListClusters",
        "ecs:UpdateService",
        "ecs:DeleteService",
        "ecs:ListTasks",
        "ecs:DescribeTasks",
        "ecs:TagResource",
        "ecs:UntagResource",
        "ec2:DescribeNetworkInterfaces",
        "iam:CreateServiceLinkedRole",
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the service's ARN"),
        "arn": Output("the same as id"),
        "running_count": Output("how many of its tasks run"),
        "public_ip": Output("the public address of one of its tasks, where they have any"),
    }

    name: Fixed[Name]
    """Letters, digits, _ and -; unique in the cluster."""
    cluster: Fixed[Id] = "default"
    """The name or ARN of its cluster."""
    task_definition: Id
    """What its tasks are; a new revision replaces them one by one."""
    desired_count: int = Field(default=1, ge=0, le=5000)
    """How many tasks are to run."""
    launch_type: Fixed[Literal["FARGATE", "EC2", "EXTERNAL"] | None] = None
    """Fargate needs no machines of one's own; as the cluster says where left out."""
    capacity_provider_strategy: list[CapacityProviderStrategyItem] | None = None
    """In place of launch_type: FARGATE_SPOT is cheaper, and AWS may take tasks away at any time."""
    platform_version: str | None = None
    """Of Fargate; LATEST where left out."""
    network_configuration: NetworkConfiguration | None = None
    """Where its tasks stand; needed for network_mode awsvpc."""
    load_balancers: list[LoadBalancer] | None = None
    """The target groups in which its tasks are registered. The service must come after the load balancer
    that forwards to them: `depends_on`."""
    health_check_grace_period_seconds: int | None = Field(default=None, ge=0, le=2147483647)
    """Seconds after a start in which the load balancer's opinion does not count."""
    deployment_configuration: DeploymentConfiguration | None = None
    """How many tasks there are while new ones take the place of old ones."""
    scheduling_strategy: Fixed[Literal["REPLICA", "DAEMON"]] = "REPLICA"
    """`DAEMON`: one task on each instance of the cluster."""
    enable_execute_command: bool | None = None
    """`aws ecs execute-command` opens a shell in a task; its task role needs ssmmessages."""
    propagate_tags: Literal["SERVICE", "TASK_DEFINITION"] | None = None
    """Whose tags its tasks bear."""
    force_new_deployment: Unread[str | None] = None
    """Any text; when it changes, all tasks are replaced, say because an image has changed under its tag."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.launch_type is not None and self.capacity_provider_strategy is not None:
            raise ValueError("give launch_type or capacity_provider_strategy, not both")
        if self.launch_type == "FARGATE" and self.network_configuration is None:
            raise ValueError("tasks on Fargate need network_configuration with subnets")
        if self.health_check_grace_period_seconds is not None and not self.load_balancers:
            raise ValueError("health_check_grace_period_seconds is for services with load_balancers")
        return self

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Clusters by name, definitions by what is given of them, lists in any order."""
        if isinstance(wanted, Unknown) or there is None:
            return super().differs(name, wanted, there)
        if name == "cluster":
            return bool(short(wanted) != there)
        if name == "task_definition":
            return definition_differs(wanted, there)
        if name == "network_configuration":
            return network_differs(wanted, there)
        if name == "load_balancers":
            return sorted(map(_as_text, wanted)) != sorted(map(_as_text, there))
        if name == "capacity_provider_strategy":
            return bool(strategy_words(strategy_request(wanted)) != there)
        if name == "deployment_configuration":
            return any(there.get(key) != value for key, value in wanted.items())
        return super().differs(name, wanted, there)

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """This service alone; lists, and what its tasks are asked for, are of all."""
        cluster = short(self.cluster) if isinstance(self.cluster, str) else "*"
        linked = service_linked_role(place, "ecs", "ECS")
        if isinstance(self.name, Unknown):
            return linked
        own = [place.arn("ecs", f"service/{cluster}/{self.name}")]
        verbs = ("CreateService", "DescribeServices", "UpdateService", "DeleteService", "TagResource")
        return {**{f"ecs:{verb}": own for verb in (*verbs, "UntagResource")}, **linked}

    @classmethod
    def unsettles(cls, changed: frozenset[str]) -> frozenset[str]:
        """New tasks have other addresses."""
        if changed & {"task_definition", "network_configuration", "force_new_deployment", "desired_count"}:
            return frozenset({"public_ip", "running_count"})
        return frozenset()

    def create(self, world: World) -> str:
        """CreateService with a token and all tags; returns once its tasks run, by one deployment."""
        answer = once_settled(world, lambda: self._create(world))
        id = str(answer["service"]["serviceArn"])
        finish(world, id, lambda: until_stable(world, id))
        return id

    def _create(self, world: World) -> dict[str, Any]:
        try:
            return ask(
                world, "create_service", clientToken=token(world), tags=new_tags(world), **self._request()
            )
        except AwsError as error:
            raise _explained(error, self.name) from None

    def _request(self) -> dict[str, Any]:
        """What CreateService is sent, but for token and tags."""
        request = {
            "cluster": self.cluster,
            "serviceName": self.name,
            "launchType": self.launch_type,
            "schedulingStrategy": self.scheduling_strategy,
            **dict(self._settings().values()),
        }
        return set_ones(request)

    def _settings(self) -> dict[str, tuple[str, Any]]:
        """By field, what CreateService and UpdateService take alike: name and value there."""
        count = None if self.scheduling_strategy == "DAEMON" else self.desired_count
        return {
            "task_definition": ("taskDefinition", self.task_definition),
            "desired_count": ("desiredCount", count),
            "capacity_provider_strategy": (
                "capacityProviderStrategy",
                strategy_request(plain(self.capacity_provider_strategy)),
            ),
            "platform_version": ("platformVersion", self.platform_version),
            "network_configuration": (
                "networkConfiguration",
                network_request(plain(self.network_configuration)),
            ),
            "load_balancers": ("loadBalancers", _balancers_request(plain(self.load_balancers))),
            "health_check_grace_period_seconds": (
                "healthCheckGracePeriodSeconds",
                self.health_check_grace_period_seconds,
            ),
            "deployment_configuration": (
                "deploymentConfiguration",
                _deployment_request(plain(self.deployment_configuration)),
            ),
            "enable_execute_command": ("enableExecuteCommand", self.enable_execute_command),
            "propagate_tags": ("propagateTags", self.propagate_tags),
        }

    def _changes(self, changed: frozenset[str]) -> dict[str, Any]:
        """What UpdateService is sent for the fields `changed`."""
        request = {key: value for name, (key, value) in self._settings().items() if name in changed}
        if "load_balancers" in changed:
            request["loadBalancers"] = request["loadBalancers"] or []
        if changed & {"force_new_deployment", "capacity_provider_strategy", "enable_execute_command"}:
            # These take effect on new tasks only.
            request["forceNewDeployment"] = True
        return set_ones(request)

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeServices, 10 at a time in each cluster; where tasks have public addresses, these too."""
        services = [one for one in described(world, ids) if one.get("status") == "ACTIVE"]
        addresses = addresses_of(world, services)
        return {
            str(one["serviceArn"]): {**_values(one), "public_ip": addresses.get(str(one["serviceArn"]))}
            for one in services
        }

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """UpdateService; returns once the new deployment is complete."""
        where = {"cluster": cluster_of(id), "service": id}
        request = self._changes(changed)
        try:
            once_settled(world, lambda: ask(world, "update_service", **where, **request))
        except AwsError as error:
            raise _explained(error, self.name) from None
        until_stable(world, id)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteService with its tasks; waits until they have stopped and their interfaces are free."""
        where = {"cluster": cluster_of(id), "service": id}
        try:
            ask(world, "delete_service", force=True, **where)
        except AwsError as error:
            if not error.not_found and error.code != "ServiceNotActiveException":
                raise

        def gone() -> bool | None:
            states = {one.get("status") for one in described(world, [id])}
            return True if states <= {"INACTIVE"} else None

        what = "the service's tasks to stop"
        world.aws.poll(gone, what=what, timeout=seconds(world, SETTLES), say=world.job.say)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By the tags that CreateService was sent with, in all clusters."""
        arns = [
            arn
            for cluster in clusters(world)
            for arn in listed(world, cluster, "list_services", "serviceArns")
        ]
        return [
            str(one["serviceArn"])
            for one in described(world, arns)
            if one.get("status") == "ACTIVE" and is_made_by(world, told_tags(one.get("tags")))
        ]

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws ecs create-service`, `update-service`, `delete-service`, and `wait` for each."""
        if action == "delete":
            at = in_cluster(id or "")
            return [
                f"aws ecs delete-service{at} --service {word(id)} --force",
                f"aws ecs wait services-inactive{at} --services {word(id)}",
            ]
        own = itself(self, id)
        if action == "create":
            command = f"aws ecs create-service --cli-input-json {json_word(self._request())}"
            first = assign(self._address, f"{command} --query service.serviceArn --output text")
        else:
            request = {"cluster": self.cluster, "service": own, **self._changes(changed)}
            first = f"aws ecs update-service --cli-input-json {json_word(request)}"
        at = f"--cluster {word(self.cluster)} --services {word(own)}"
        queries = {"arn": "services[0].serviceArn", "running_count": "services[0].runningCount"}
        stable = f"aws ecs wait services-stable {at}"
        return [first, stable, *told(self, f"aws ecs describe-services {at}", queries)]

    def price(self) -> float | None:
        """What Fargate costs depends on the task definition, which says it in words: unknown here."""
        return None if self.launch_type != "EC2" else 0.0


def _as_text(balancer: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(balancer.get(key)) for key in ("target_group_arn", "container_name", "container_port"))


def _balancers_request(given: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]] | None:
    if given is None:
        return None
    return [
        {
            "targetGroupArn": one["target_group_arn"],
            "containerName": one["container_name"],
            "containerPort": one["container_port"],
        }
        for one in given
    ]


def _deployment_request(given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if given is None:
        return None
    request: dict[str, Any] = {
        "maximumPercent": given.get("maximum_percent", 200),
        "minimumHealthyPercent": given.get("minimum_healthy_percent", 100),
    }
    breaker = given.get("deployment_circuit_breaker")
    if breaker is not None:
        request["deploymentCircuitBreaker"] = {
            "enable": breaker.get("enable", True),
            "rollback": breaker.get("rollback", False),
        }
    return request


def _values(given: Mapping[str, Any]) -> Values:
    deployment = given.get("deploymentConfiguration") or {}
    breaker = deployment.get("deploymentCircuitBreaker")
    return {
        "id": given["serviceArn"],
        "arn": given["serviceArn"],
        "name": given["serviceName"],
        "cluster": short(given["clusterArn"]),
        "task_definition": given.get("taskDefinition"),
        "desired_count": given.get("desiredCount"),
        "running_count": given.get("runningCount"),
        "launch_type": given.get("launchType"),
        "capacity_provider_strategy": strategy_words(given.get("capacityProviderStrategy")),
        "platform_version": given.get("platformVersion"),
        "network_configuration": network_words(given.get("networkConfiguration")),
        "load_balancers": [
            {
                "target_group_arn": one.get("targetGroupArn"),
                "container_name": one.get("containerName"),
                "container_port": one.get("containerPort"),
            }
            for one in given.get("loadBalancers") or ()
        ],
        "health_check_grace_period_seconds": given.get("healthCheckGracePeriodSeconds"),
        "deployment_configuration": {
            "maximum_percent": deployment.get("maximumPercent", 200),
            "minimum_healthy_percent": deployment.get("minimumHealthyPercent", 100),
            **({"deployment_circuit_breaker": dict(breaker)} if breaker else {}),
        },
        "scheduling_strategy": given.get("schedulingStrategy", "REPLICA"),
        "enable_execute_command": bool(given.get("enableExecuteCommand")),
        "propagate_tags": None if given.get("propagateTags") == "NONE" else given.get("propagateTags"),
        "tags": readable(told_tags(given.get("tags"))),
    }


def _explained(error: AwsError, name: str) -> AwsError | StepFailed:
    """A refusal of CreateService or UpdateService in words."""
    if "does not have an associated load balancer" in error.said:
        return StepFailed(
            f"no listener forwards to the service's target group yet: {error.said}",
            "let the service come after the load balancer: `depends_on: [NAME_OF_THE_LOAD_BALANCER]`",
        )
    if "Creation of service was not idempotent" in error.said:
        return StepFailed(
            f"a service called {name} is there already in this cluster, and this resource did not make it",
            "choose another name, or delete that service if nobody needs it",
        )
    return error
