"""Services of ECS: so many tasks are kept running, and replaced when their definition changes.

moto's start nothing. What ECS does by itself is done here by `keep`, which looks at a service and takes the
next step; it is called again and again.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from engine.sandbox.aws.ecs_tasks import Task, moment

PAUSE_SECONDS: Final = 0.5
"""After a task that failed, before the next one; doubled with each further one."""
STEADY_SECONDS: Final = 3.0
"""So long a task must have run to count, unless it listens already: many that cannot work end soon."""
LONGEST_PAUSE_SECONDS: Final = 30.0
BREAKER_TASKS: Final = 3
"""So many failed tasks trip the circuit breaker of a deployment."""
_MOST_EVENTS: Final = 100
Health = Callable[[str, str, int], str]
"""How the target of a target group (ARN), address and port is: `healthy`, `initial`, `unhealthy`, …"""


class Deployment:
    """One way the tasks of a service are made; while it is replaced there are two."""

    def __init__(self, definition: Any, network: Mapping[str, Any] | None) -> None:
        self.id = f"ecs-svc/{uuid.uuid4().int % 10**19:019d}"
        self.definition = definition
        self.network = network
        self.created = time.time()
        self.failed_tasks = 0
        self.failed_in_a_row = 0
        self.retry_at = 0.0
        self.rollout = "IN_PROGRESS"
        self.reason = f"ECS deployment {self.id} in progress."


class Service:
    """One service: what DescribeServices tells of it."""

    def __init__(
        self,
        *,
        cluster: Any,
        name: str,
        account: str,
        region: str,
        definition: Any,
        given: Mapping[str, Any],
    ) -> None:
        self.cluster_name, self.cluster_arn = cluster.name, cluster.arn
        self.name = name
        self.region_name = region
        self.arn = f"arn:aws:ecs:{region}:{account}:service/{cluster.name}/{name}"
        self.given = dict(given)
        """The request that made it; the same request makes it again without harm."""
        self.status = "ACTIVE"
        self.definition = definition
        self.desired_count = int(given.get("desiredCount") or 0)
        self.launch_type: str | None = given.get("launchType")
        self.strategy: list[dict[str, Any]] = given.get("capacityProviderStrategy") or []
        self.platform_version = given.get("platformVersion")
        self.network: Mapping[str, Any] | None = given.get("networkConfiguration")
        self.load_balancers: list[dict[str, Any]] = given.get("loadBalancers") or []
        self.grace_seconds = given.get("healthCheckGracePeriodSeconds")
        self.deployment_configuration: dict[str, Any] = given.get("deploymentConfiguration") or {}
        self.scheduling_strategy = given.get("schedulingStrategy") or "REPLICA"
        self.tags: list[dict[str, str]] = given.get("tags") or []
        self.propagate_tags = given.get("propagateTags") or "NONE"
        self.execute_command = bool(given.get("enableExecuteCommand"))
        self.created_at = time.time()
        self.deployments = [Deployment(definition, self.network)]
        self.events: list[dict[str, Any]] = []
        self.steady = False
        self.running_count = self.pending_count = 0
        self.task_sets: list[Any] = []

    @property
    def physical_resource_id(self) -> str:
        """Its ARN, as moto's tagging asks for it."""
        return self.arn

    @property
    def fargate(self) -> bool:
        """Whether its tasks run on Fargate."""
        providers = {one.get("capacityProvider") for one in self.strategy}
        return self.launch_type == "FARGATE" or bool(providers & {"FARGATE", "FARGATE_SPOT"})

    def redeploy(self) -> None:
        """Begins another deployment: the tasks there are will be replaced."""
        self.deployments.insert(0, Deployment(self.definition, self.network))
        self.steady = False

    def say(self, text: str) -> None:
        """Adds an event, newest first."""
        event = {"id": str(uuid.uuid4()), "createdAt": moment(time.time()), "message": text}
        self.events = [event, *self.events][:_MOST_EVENTS]

    def told(self, *, tags: bool) -> dict[str, Any]:
        """The service as DescribeServices tells it."""
        breaker = self.deployment_configuration.get("deploymentCircuitBreaker")
        names = {
            "serviceArn": self.arn,
            "serviceName": self.name,
            "clusterArn": self.cluster_arn,
            "status": self.status,
            "desiredCount": self.desired_count,
            "runningCount": self.running_count,
            "pendingCount": self.pending_count,
            "launchType": self.launch_type,
            "capacityProviderStrategy": self.strategy or None,
            "platformVersion": (self.platform_version or "LATEST") if self.fargate else None,
            "platformFamily": "Linux" if self.fargate else None,
            "taskDefinition": self.definition.arn,
            "loadBalancers": self.load_balancers,
            "serviceRegistries": [],
            "deploymentConfiguration": {
                "maximumPercent": self.deployment_configuration.get("maximumPercent", 200),
                "minimumHealthyPercent": self.deployment_configuration.get("minimumHealthyPercent", 100),
                "deploymentCircuitBreaker": breaker or {"enable": False, "rollback": False},
            },
            "deploymentController": {"type": "ECS"},
            "deployments": [self._deployment(one) for one in self.deployments],
            "events": self.events,
            "networkConfiguration": self.network,
            "healthCheckGracePeriodSeconds": self.grace_seconds,
            "schedulingStrategy": self.scheduling_strategy,
            "propagateTags": self.propagate_tags,
            "enableExecuteCommand": self.execute_command,
            "createdAt": moment(self.created_at),
            "tags": self.tags if tags else None,
        }
        return {name: value for name, value in names.items() if value is not None}

    def _deployment(self, one: Deployment) -> dict[str, Any]:
        primary = one is self.deployments[0]
        names = {
            "id": one.id,
            "status": "PRIMARY" if primary else "ACTIVE",
            "taskDefinition": one.definition.arn,
            "desiredCount": self.desired_count if primary else 0,
            "runningCount": self.running_count if primary else 0,
            "pendingCount": self.pending_count if primary else 0,
            "failedTasks": one.failed_tasks,
            "createdAt": moment(one.created),
            "updatedAt": moment(one.created),
            "launchType": self.launch_type,
            "networkConfiguration": one.network,
            "rolloutState": one.rollout,
            "rolloutStateReason": one.reason,
        }
        return {name: value for name, value in names.items() if value is not None}


class Keeper:
    """Does what ECS does by itself for services."""

    def __init__(
        self,
        launch: Callable[[Service, Deployment], Task],
        register: Callable[[str, str, int], None],
        deregister: Callable[[str, str, int], None],
        health: Health,
    ) -> None:
        """`launch` starts a task; the others are about targets of a target group (ARN, address, port)."""
        self._launch = launch
        self._register = register
        self._deregister = deregister
        self._health = health

    def keep(self, service: Service, tasks: Sequence[Task]) -> bool:
        """Takes the next step for a service that has these `tasks`; whether anything has changed."""
        before = (service.status, len(service.events), service.running_count, service.pending_count)
        live = [task for task in tasks if task.live]
        self._note_ends(service, tasks)
        if service.status == "DRAINING":
            self._drain(service, live)
        elif service.status == "ACTIVE":
            self._fill(service, live)
            self._balance(service, live)
            self._replace_old(service, live)
            self._settle(service, [task for task in tasks if task.live])
        self._leave(service, tasks)
        return before != (service.status, len(service.events), service.running_count, service.pending_count)

    def _note_ends(self, service: Service, tasks: Sequence[Task]) -> None:
        """Counts tasks that have ended by themselves, and pauses before the next one."""
        for task in tasks:
            if task.seen_ended or task.desired_status != "STOPPED":
                continue
            task.seen_ended = True
            if task.stop_code in ("UserInitiated", "ServiceSchedulerInitiated"):
                continue
            for deployment in service.deployments:
                if deployment.id == task.started_by:
                    deployment.failed_tasks += 1
                    deployment.failed_in_a_row += 1
                    pause = PAUSE_SECONDS * 2.0 ** (deployment.failed_in_a_row - 1)
                    deployment.retry_at = time.time() + min(LONGEST_PAUSE_SECONDS, pause)
                    service.steady = False
            service.say(f"(service {service.name}) (task {task.id}) has stopped: {task.stopped_reason}")

    def _drain(self, service: Service, live: Sequence[Task]) -> None:
        for task in live:
            task.is_to_stop("Service deleted", "ServiceSchedulerInitiated")
        service.running_count = sum(task.last_status == "RUNNING" for task in live)
        service.pending_count = 0
        if not live:
            service.status = "INACTIVE"
            service.running_count = 0

    def _fill(self, service: Service, live: Sequence[Task]) -> None:
        """Starts what is missing of the newest deployment, stops what is too many of it."""
        newest = service.deployments[0]
        own = [task for task in live if task.started_by == newest.id and task.desired_status == "RUNNING"]
        if len(own) > service.desired_count:
            for task in own[service.desired_count :]:
                _let_go(service, newest, task)
        missing = service.desired_count - len(own)
        if missing <= 0 or time.time() < newest.retry_at or newest.rollout == "FAILED":
            return
        service.steady = False
        if self._breaks(service, newest):
            return
        for _ in range(missing):
            task = self._launch(service, newest)
            service.say(f"(service {service.name}) has started 1 tasks: (task {task.id}).")

    def _breaks(self, service: Service, newest: Deployment) -> bool:
        breaker = service.deployment_configuration.get("deploymentCircuitBreaker") or {}
        if not breaker.get("enable") or newest.failed_in_a_row < BREAKER_TASKS:
            return False
        newest.rollout = "FAILED"
        newest.reason = "ECS deployment circuit breaker: tasks failed to start."
        service.say(
            f"(service {service.name}) (deployment {newest.id}) deployment failed: tasks failed to start."
        )
        if breaker.get("rollback") and len(service.deployments) > 1:
            last = service.deployments[1]
            service.deployments = [last, newest]
            service.definition, service.network = last.definition, last.network
            service.say(f"(service {service.name}) rolling back to (deployment {last.id}).")
        return True

    def _balance(self, service: Service, live: Sequence[Task]) -> None:
        """Registers tasks that run, and stops those that their load balancer finds unwell."""
        for task in live:
            if task.last_status != "RUNNING" or task.desired_status != "RUNNING" or not task.address:
                continue
            if not task.targets:
                for one in service.load_balancers:
                    target = (one["targetGroupArn"], task.address, int(one["containerPort"]))
                    self._register(*target)
                    task.targets.append(target)
                    service.say(
                        f"(service {service.name}) registered 1 targets in (target-group {target[0]})"
                    )
            self._look(service, task)

    def _look(self, service: Service, task: Task) -> None:
        running = time.time() - (task.started_at or time.time())
        for group, address, port in task.targets:
            if self._health(group, address, port) == "unhealthy" and running > (service.grace_seconds or 0):
                task.is_to_stop(
                    f"Task failed ELB health checks in (target-group {group})", "ServiceSchedulerInitiated"
                )
                service.say(
                    f"(service {service.name}) (port {port}) is unhealthy in (target-group {group}) due to "
                    "(reason Health checks failed)"
                )
                for deployment in service.deployments:
                    deployment.failed_tasks += deployment.id == task.started_by
                return

    def _replace_old(self, service: Service, live: Sequence[Task]) -> None:
        """Stops the tasks of older deployments once those of the newest are well."""
        newest = service.deployments[0]
        if len(service.deployments) > 1 and len(self._well(newest, live)) >= service.desired_count:
            for task in live:
                if task.started_by != newest.id and task.desired_status == "RUNNING":
                    _let_go(service, newest, task)
        there = {task.started_by for task in live}
        service.deployments = [newest, *(one for one in service.deployments[1:] if one.id in there)]

    def _well(self, deployment: Deployment, live: Sequence[Task]) -> list[Task]:
        return [
            task
            for task in live
            if task.started_by == deployment.id
            and task.last_status == "RUNNING"
            and (task.listens or time.time() - task.since >= STEADY_SECONDS)
            and task.desired_status == "RUNNING"
            and all(self._health(*target) in ("healthy", "unused") for target in task.targets)
        ]

    def _settle(self, service: Service, live: Sequence[Task]) -> None:
        newest = service.deployments[0]
        service.running_count = sum(task.last_status == "RUNNING" for task in live)
        service.pending_count = sum(task.last_status in ("PROVISIONING", "PENDING") for task in live)
        well = len(self._well(newest, live))
        only = len(service.deployments) == 1 and len(live) == service.desired_count
        if only and well == service.desired_count and not service.steady:
            service.steady = True
            newest.failed_in_a_row = 0
            newest.rollout, newest.reason = "COMPLETED", f"ECS deployment {newest.id} completed."
            service.say(f"(service {service.name}) has reached a steady state.")

    def _leave(self, service: Service, tasks: Sequence[Task]) -> None:
        """Takes tasks that stop out of their target groups."""
        for task in tasks:
            if task.desired_status == "STOPPED" and task.targets:
                for target in task.targets:
                    self._deregister(*target)
                task.targets = []


def _let_go(service: Service, newest: Deployment, task: Task) -> None:
    """Stops a task that is one too many, or of an older deployment."""
    task.is_to_stop(f"Scaling activity initiated by (deployment {newest.id})", "ServiceSchedulerInitiated")
    service.say(f"(service {service.name}) has stopped 1 running tasks: (task {task.id}).")
