"""What ECS does by itself for a service: starts, replaces, gives up, rolls back. On plain objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from engine.sandbox.aws.ecs_services import Deployment, Keeper, Service
from engine.sandbox.aws.ecs_tasks import Task


@dataclass(frozen=True)
class Named:
    """A cluster or a task definition."""

    name: str
    arn: str
    cpu: str = "256"
    memory: str = "512"
    container_definitions: tuple[dict[str, Any], ...] = ({"name": "web", "image": "httpd:2.4"},)


CLUSTER = Named("lab", "arn:aws:ecs:us-east-1:1:cluster/lab")
FIRST, SECOND = (
    Named(f"app:{number}", f"arn:aws:ecs:us-east-1:1:task-definition/app:{number}") for number in (1, 2)
)
GROUP = "arn:group"


@dataclass
class Bench:
    """A service, its tasks, and what its target group says of them."""

    service: Service
    tasks: list[Task] = field(default_factory=list)
    targets: set[str] = field(default_factory=set)
    health: str = "healthy"

    def launch(self, service: Service, deployment: Deployment) -> Task:
        task = Task(
            cluster=CLUSTER,
            definition=deployment.definition,
            group=f"service:{service.name}",
            launch_type="FARGATE",
            account="1",
            region="us-east-1",
            started_by=deployment.id,
        )
        task.containers[0]["networkInterfaces"] = [{"privateIpv4Address": f"10.0.0.{len(self.tasks) + 10}"}]
        self.tasks.append(task)
        return task

    def keep(self) -> None:
        """One look at the service, as if the pause after a failure were over."""
        keeper = Keeper(
            self.launch,
            lambda group, address, port: self.targets.add(address),
            lambda group, address, port: self.targets.discard(address),
            lambda group, address, port: self.health,
        )
        for deployment in self.service.deployments:
            deployment.retry_at = 0.0
        keeper.keep(self.service, self.tasks)

    def run(self) -> None:
        """All that is to start has run for a while, all that is to stop has stopped."""
        for task in self.tasks:
            if task.live and task.desired_status == "STOPPED":
                task.has_stopped()
            elif task.live:
                task.last_status = "RUNNING"
                task.since = task.started_at = 1.0

    def fail(self) -> None:
        """All that is to run ends at once."""
        for task in self.tasks:
            if task.live:
                task.is_to_stop("Essential container in task exited", "EssentialContainerExited")
                task.has_stopped()

    @property
    def live(self) -> list[Task]:
        return [task for task in self.tasks if task.live and task.desired_status == "RUNNING"]


def a_bench(count: int = 2, **given: Any) -> Bench:
    request = {"desiredCount": count, "launchType": "FARGATE", **given}
    service = Service(
        cluster=CLUSTER, name="web", account="1", region="us-east-1", definition=FIRST, given=request
    )
    return Bench(service)


def said(bench: Bench) -> str:
    return "\n".join(event["message"] for event in bench.service.events)


def steady(bench: Bench) -> None:
    for _ in range(3):
        bench.keep()
        bench.run()
    bench.keep()
    assert bench.service.deployments[0].rollout == "COMPLETED"


def test_it_starts_as_many_as_are_wanted_and_settles() -> None:
    bench = a_bench(2)
    bench.keep()
    assert len(bench.live) == 2
    assert bench.service.deployments[0].rollout == "IN_PROGRESS"
    steady(bench)
    assert said(bench).count("has started 1 tasks") == 2
    assert "has reached a steady state" in said(bench)
    assert bench.service.running_count == 2


@pytest.mark.parametrize(("before", "after"), [(3, 1), (1, 3)])
def test_it_is_scaled(before: int, after: int) -> None:
    bench = a_bench(before)
    steady(bench)
    bench.service.desired_count = after
    for _ in range(3):
        bench.keep()
        bench.run()
    bench.keep()
    assert len(bench.live) == bench.service.running_count == after


def test_another_definition_replaces_tasks_once_the_new_ones_are_well() -> None:
    bench = a_bench(2, loadBalancers=[{"targetGroupArn": GROUP, "containerPort": 80}])
    steady(bench)
    old = list(bench.live)
    bench.service.definition = SECOND
    bench.service.redeploy()
    bench.health = "initial"
    for _ in range(3):
        bench.keep()
        bench.run()
    assert all(task.live for task in old), "the new ones are not well yet"
    assert len(bench.service.deployments) == 2
    bench.health = "healthy"
    for _ in range(3):
        bench.keep()
        bench.run()
    bench.keep()
    assert {task.task_definition_arn for task in bench.live} == {SECOND.arn}
    assert [one.definition for one in bench.service.deployments] == [SECOND]
    assert bench.targets == {task.address for task in bench.live}


def test_what_ends_is_started_again_and_counted() -> None:
    bench = a_bench(1)
    for failures in (1, 2, 3):
        bench.keep()
        bench.fail()
        bench.keep()
        assert bench.service.deployments[0].failed_tasks == failures
    assert "has stopped: Essential container in task exited" in said(bench)


def test_a_circuit_breaker_gives_up() -> None:
    bench = a_bench(
        1, deploymentConfiguration={"deploymentCircuitBreaker": {"enable": True, "rollback": False}}
    )
    for _ in range(10):  # a task, its end, the pause after it
        bench.keep()
        bench.fail()
    assert bench.service.deployments[0].rollout == "FAILED"
    assert len(bench.tasks) == 3


def test_a_circuit_breaker_rolls_back() -> None:
    breaker = {"enable": True, "rollback": True}
    bench = a_bench(1, deploymentConfiguration={"deploymentCircuitBreaker": breaker})
    steady(bench)
    [old] = bench.live
    bench.service.definition = SECOND
    bench.service.redeploy()
    for _ in range(10):  # a task, its end, the pause after it
        bench.keep()
        for task in bench.live:
            if task is not old:
                task.is_to_stop("Essential container in task exited", "EssentialContainerExited")
                task.has_stopped()
    assert bench.live == [old]
    assert bench.service.definition == FIRST
    assert [one.definition for one in bench.service.deployments] == [FIRST]
    assert "rolling back" in said(bench)


def test_what_its_load_balancer_finds_unwell_is_replaced() -> None:
    bench = a_bench(1, loadBalancers=[{"targetGroupArn": GROUP, "containerPort": 80}])
    steady(bench)
    [old] = bench.live
    bench.health = "unhealthy"
    bench.keep()
    assert old.desired_status == "STOPPED"
    assert "failed ELB health checks" in str(old.stopped_reason)
    assert bench.targets == set()
    bench.health = "healthy"
    steady(bench)
    assert bench.live != [old]


def test_deleted_it_drains_and_is_gone() -> None:
    bench = a_bench(2)
    steady(bench)
    bench.service.status = "DRAINING"
    bench.keep()
    assert bench.live == []
    assert bench.service.status == "DRAINING"
    bench.run()
    bench.keep()
    assert bench.service.status == "INACTIVE"
