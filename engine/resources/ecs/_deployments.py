"""Services as ECS tells of them: their deployments, the tasks these start, and why they do not stay up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from engine.aws.errors import AwsError
from engine.errors import StepFailed
from engine.resources.aws._aws import seconds
from engine.resources.ecs._ecs import (
    ask,
    by_cluster,
    cluster_of,
    in_chunks,
    listed,
    network_words,
    public_addresses,
    short,
    why_stopped,
)

if TYPE_CHECKING:
    from engine.world import World

SETTLES: Final = 900.0
"""Seconds that the tasks of a service are given to start or to stop."""
_A_REQUEST: Final = 10
"""The most services that DescribeServices takes."""
_TASKS_A_REQUEST: Final = 100
_GROUP: Final = "service:"
"""What the group of a service's task begins with."""
_FAILED_TASKS: Final = 3
"""So many tasks that a deployment has lost are enough to say that it does not work."""


def described(world: World, arns: Sequence[str]) -> list[dict[str, Any]]:
    """The services of these ARNs that are there; those of a cluster that is gone are gone, too."""
    found: list[dict[str, Any]] = []
    for cluster, those in by_cluster(arns).items():
        for chunk in in_chunks(those, _A_REQUEST):
            try:
                answer = ask(world, "describe_services", cluster=cluster, services=chunk, include=["TAGS"])
            except AwsError as error:
                if not error.not_found:
                    raise
                break
            found += answer["services"]
    return found


def addresses_of(world: World, services: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """By ARN, the public address of one task of each service whose tasks have any."""
    public = [
        one
        for one in services
        if (network_words(one.get("networkConfiguration")) or {}).get("assign_public_ip")
        and one.get("runningCount")
    ]
    found: dict[str, str] = {}
    for cluster, arns in by_cluster(str(one["serviceArn"]) for one in public).items():
        tasks = list(_tasks(world, cluster))
        addresses = public_addresses(world, tasks)
        by_service: dict[str, str] = {}
        for task in sorted(tasks, key=lambda task: str(task["taskArn"])):
            if task["taskArn"] in addresses and str(task.get("group", "")).startswith(_GROUP):
                by_service.setdefault(task["group"].removeprefix(_GROUP), addresses[task["taskArn"]])
        found |= {arn: by_service[name] for arn in arns if (name := str(short(arn))) in by_service}
    return found


def _tasks(world: World, cluster: str) -> Iterator[dict[str, Any]]:
    """The tasks that run in a cluster (ListTasks, DescribeTasks)."""
    arns = listed(world, cluster, "list_tasks", "taskArns", desiredStatus="RUNNING")
    for chunk in in_chunks(arns, _TASKS_A_REQUEST):
        for task in ask(world, "describe_tasks", cluster=cluster, tasks=chunk)["tasks"]:
            if task.get("lastStatus") == "RUNNING":
                yield task


def until_stable(world: World, id: str) -> None:
    """Wait until one deployment is left and all its tasks run; tells ECS's events meanwhile.

    Raises StepFailed with why tasks stop where they do so again and again.
    """
    last = ""

    def stable() -> bool | None:
        nonlocal last
        for service in described(world, [id]):
            deployments = service.get("deployments") or []
            newest: dict[str, Any] = next((one for one in deployments if one.get("status") == "PRIMARY"), {})
            event = str((service.get("events") or [{}])[0].get("message", ""))
            if event and event != last:
                world.job.say(event)
                last = event
            if newest.get("rolloutState") == "FAILED" or newest.get("failedTasks", 0) >= _FAILED_TASKS:
                raise _does_not_work(world, id, newest)
            alone = len(deployments) == 1 and newest.get("rolloutState") in (None, "COMPLETED")
            if alone and service.get("runningCount") == service.get("desiredCount"):
                return True
        return None

    try:
        world.aws.poll(
            stable, what="the service's tasks to run", timeout=seconds(world, SETTLES), say=world.job.say
        )
    except StepFailed as error:
        if not last or "gave up" not in error.message:
            raise
        raise StepFailed(f"{error.message}; ECS says: {last}", error.remedy) from None


def _does_not_work(world: World, id: str, deployment: Mapping[str, Any]) -> StepFailed:
    """Why the tasks of a service do not stay up."""
    cluster = cluster_of(id)
    arns = world.aws.pages(
        "ecs", "list_tasks", "taskArns", cluster=cluster, serviceName=str(short(id)), desiredStatus="STOPPED"
    )
    reasons: list[str] = []
    for chunk in in_chunks(arns, _TASKS_A_REQUEST)[:1]:
        for task in ask(world, "describe_tasks", cluster=cluster, tasks=chunk)["tasks"]:
            if deployment.get("id") in (None, task.get("startedBy")):
                reasons.append(why_stopped(task))
    said = deployment.get("rolloutStateReason") if not reasons else ""
    causes = "; ".join(dict.fromkeys(reasons)) or said or "ECS gives no reason"
    return StepFailed(
        f"the service's tasks do not stay up: {causes}",
        "mend what they say (image, command, role, log group, subnet without a way out), then apply again; "
        "what a container printed is in its log group",
    )
