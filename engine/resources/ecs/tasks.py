"""Tasks of ECS that are run by themselves, without a service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from engine.aws.errors import AwsError
from engine.aws.tags import is_made_by, readable, told_tags
from engine.by_hand import assign, filled, itself, json_word, told, word
from engine.errors import StepFailed
from engine.resource import Fields, Fixed, Id, Output, Place, Unread, Values, plain
from engine.resources.aws._aws import finish, seconds, service_linked_role, set_ones
from engine.resources.ecs._ecs import (
    CapacityProviderStrategyItem,
    InEcs,
    NetworkConfiguration,
    Texts,
    ask,
    by_cluster,
    cluster_of,
    clusters,
    definition_differs,
    in_chunks,
    in_cluster,
    listed,
    network_request,
    new_tags,
    once_settled,
    private_address_of,
    public_addresses,
    short,
    strategy_request,
    why_stopped,
)

if TYPE_CHECKING:
    from engine.world import World

_A_REQUEST: Final = 100
"""The most tasks that DescribeTasks takes."""
_STARTS: Final = 600.0
_ENDS: Final = 3600.0
_STOPS: Final = 180.0
_OUR_REASON: Final = "Deleted by labctl"
"""What a task that was deleted says of its end, as long as ECS still shows it (about an hour)."""


class ContainerOverride(Fields):
    """What is otherwise than in the task definition, for one container."""

    name: str
    """The container's name in the task definition."""
    command: list[str] | None = None
    """In place of its command."""
    environment: Texts | None = None
    """Variables beside, or in place of, its own."""
    cpu: int | None = Field(default=None, ge=0)
    """In place of its CPU units."""
    memory: int | None = Field(default=None, ge=6)
    """In place of its MiB."""


class EcsTask(InEcs):
    """One task of ECS, run by itself: a server that goes on, or work that is done once."""

    kind: ClassVar[str] = "ecs_task"
    runs_code: ClassVar[bool] = True
    actions: ClassVar[Sequence[str]] = (
        "ecs:RunTask",
        "ecs:DescribeTasks",
        "ecs:ListTasks",
        "ecs:ListClusters",
        "ecs:StopTask",
        "ecs:TagResource",
        "ecs:UntagResource",
        "ec2:DescribeNetworkInterfaces",
        "iam:CreateServiceLinkedRole",
        "iam:PassRole",
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the task's ARN"),
        "arn": Output("the same as id"),
        "last_status": Output("RUNNING, STOPPED, …"),
        "public_ip": Output("its public address, if it has one"),
        "private_ip": Output("its private address"),
        "exit_code": Output("what its containers ended with: 0, or the first other; none while it runs"),
        "stopped_reason": Output("why it has stopped, in ECS's words"),
    }

    cluster: Fixed[Id] = "default"
    """The name or ARN of its cluster."""
    task_definition: Fixed[Id]
    """What it is; a new revision is a new task."""
    until: Literal["running", "stopped"] = "running"
    """`running`: a server; one that has stopped is run again. `stopped`: work that is done once: apply waits
    for its end, and fails where it ends with another exit code than 0."""
    launch_type: Fixed[Unread[Literal["FARGATE", "EC2", "EXTERNAL"] | None]] = None
    """Fargate needs no machines of one's own; as the cluster says where left out."""
    capacity_provider_strategy: Fixed[Unread[list[CapacityProviderStrategyItem] | None]] = None
    """In place of launch_type: FARGATE_SPOT is cheaper, and AWS may take the task away at any time."""
    platform_version: Fixed[Unread[str | None]] = None
    """Of Fargate; LATEST where left out."""
    network_configuration: Fixed[Unread[NetworkConfiguration | None]] = None
    """Where it stands; needed for network_mode awsvpc."""
    overrides: Fixed[Unread[list[ContainerOverride] | None]] = None
    """What is otherwise than in the task definition."""
    started_by: Fixed[Unread[str | None]] = Field(default=None, max_length=128)
    """A word for lists of tasks."""
    enable_execute_command: Fixed[Unread[bool | None]] = None
    """`aws ecs execute-command` opens a shell in it; its task role needs ssmmessages."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.launch_type is not None and self.capacity_provider_strategy is not None:
            raise ValueError("give launch_type or capacity_provider_strategy, not both")
        if self.launch_type == "FARGATE" and self.network_configuration is None:
            raise ValueError("a task on Fargate needs network_configuration with subnets")
        return self

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """Of roles, only the one that ECS makes for itself; a task's ARN is not known before it runs."""
        return service_linked_role(place, "ecs", "ECS")

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """The values asked for, and what is to become of it: what uses a server needs it to run."""
        return {**super().wanted(also), "until": self.until}

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Clusters and definitions by what is given; what ECS no longer tells of an old task is as it was."""
        if name == "cluster" and isinstance(wanted, str):
            return there is not None and bool(short(wanted) != short(there))
        if name == "task_definition" and isinstance(wanted, str):
            return there is not None and definition_differs(wanted, there)
        return super().differs(name, wanted, there)

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """What has become of it."""
        if name != "until":
            return None
        return {
            "running": "it still runs",
            "stopped": "it has stopped",
            "failed": "it has failed",
        }.get(str(there))

    def replaces(self, name: str, there: Values) -> bool:
        """One that has ended cannot be started again; one that still runs need only be waited for."""
        if name == "until":
            return there.get("until") != "running"
        return super().replaces(name, there)

    def create(self, world: World) -> str:
        """RunTask with a token and all tags; returns once it runs, or has ended well."""
        answer = once_settled(world, lambda: ask(world, "run_task", **self._request(world)))
        for failure in answer.get("failures") or ():
            raise _no_place(failure)
        id = str(answer["tasks"][0]["taskArn"])
        finish(world, id, lambda: self._wait(world, id))
        return id

    def _request(self, world: World | None) -> dict[str, Any]:
        request: dict[str, Any] = {
            "cluster": self.cluster,
            "taskDefinition": self.task_definition,
            "count": 1,
            "launchType": self.launch_type,
            "capacityProviderStrategy": strategy_request(plain(self.capacity_provider_strategy)),
            "platformVersion": self.platform_version,
            "networkConfiguration": network_request(plain(self.network_configuration)),
            "overrides": _overrides_request(plain(self.overrides)),
            "startedBy": self.started_by,
            "enableExecuteCommand": self.enable_execute_command,
        }
        if world is not None:
            request |= {"clientToken": world.job.token or None, "tags": new_tags(world)}
        return set_ones(request)

    def _wait(self, world: World, id: str) -> None:
        """Until it runs or has ended. Raises StepFailed with ECS's reason where it ended otherwise."""
        last = ""

        def reached() -> bool | None:
            nonlocal last
            for task in _described(world, [id]):
                status = str(task.get("lastStatus"))
                if status != last:
                    world.job.say(f"the task is {status}")
                    last = status
                if _state(task) == self.until:
                    return status in {"RUNNING", "STOPPED"} or None
                if status == "STOPPED":
                    raise StepFailed(
                        f"the task has stopped: {why_stopped(task)}",
                        "mend what it says (image, command, role, log group, subnet without a way out), then "
                        "apply again; what a container printed is in its log group",
                    )
            return None

        what = "the task to run" if self.until == "running" else "the task to end"
        timeout = seconds(world, _STARTS if self.until == "running" else _ENDS)
        world.aws.poll(reached, what=what, timeout=timeout, say=world.job.say)

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeTasks, 100 at a time in each cluster, and their public addresses.

        ECS forgets a task about an hour after its end: one that its cluster no longer knows has stopped. One
        that was deleted, or whose cluster is gone, is gone.
        """
        found: dict[str, Values] = {}
        running: list[dict[str, Any]] = []
        for cluster, arns in by_cluster(ids).items():
            tasks = _in(world, cluster, arns)
            if tasks is None:
                continue
            told = {str(task["taskArn"]) for task in tasks}
            found |= {arn: _forgotten(arn) for arn in arns if arn not in told}
            left = [task for task in tasks if not _is_deleted(task)]
            found |= {str(task["taskArn"]): _values(task) for task in left}
            running += [task for task in left if task.get("lastStatus") == "RUNNING"]
        for arn, address in public_addresses(world, running).items():
            found[arn]["public_ip"] = address
        return found

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """Waits for its end, where that is what is asked for now."""
        if "until" in changed:
            self._wait(world, id)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """StopTask; waits until it has stopped and its network interface is free."""
        where = {"cluster": cluster_of(id)}
        try:
            ask(world, "stop_task", task=id, reason=_OUR_REASON, **where)
        except AwsError as error:
            if not error.not_found and "task was not found" not in error.said:
                raise
            return

        def stopped() -> bool | None:
            states = {task.get("lastStatus") for task in _described(world, [id])}
            return True if states <= {"STOPPED"} else None

        world.aws.poll(stopped, what="the task to stop", timeout=seconds(world, _STOPS), say=world.job.say)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By the tags that RunTask was sent with, in all clusters."""
        arns = [
            arn
            for cluster in clusters(world)
            for status in ("RUNNING", "STOPPED")
            for arn in listed(world, cluster, "list_tasks", "taskArns", desiredStatus=status)
        ]
        return [
            str(task["taskArn"])
            for task in _described(world, arns)
            if is_made_by(world, told_tags(task.get("tags"))) and not _is_deleted(task)
        ]

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws ecs run-task`, `stop-task`, and `wait` for each."""
        if action == "delete":
            at = in_cluster(id or "")
            reason = word(_OUR_REASON)
            return [
                f"aws ecs stop-task{at} --task {word(id)} --reason {reason}",
                f"aws ecs wait tasks-stopped{at} --tasks {word(id)}",
            ]
        own = word(itself(self, id))
        at = f"--cluster {word(self.cluster)}"
        command = f"aws ecs run-task --cli-input-json {json_word(self._request(None))}"
        lines = [assign(self._address, f"{command} --query 'tasks[0].taskArn' --output text")]
        lines = lines if action == "create" else []
        lines.append(f"aws ecs wait tasks-{self.until} {at} --tasks {own}")
        asked = f"aws ecs describe-tasks {at} --tasks {own}"
        queries = {
            "arn": "tasks[0].taskArn",
            "last_status": "tasks[0].lastStatus",
            "exit_code": "tasks[0].containers[0].exitCode",
            "private_ip": "tasks[0].containers[0].networkInterfaces[0].privateIpv4Address",
        }
        lines += told(self, asked, queries)
        if "public_ip" in self._beside.needed:
            detail = "tasks[0].attachments[0].details[?name==`networkInterfaceId`].value"
            lines.append(assign(self._address, f"{asked} --query '{detail}' --output text", "interface"))
            interface = word(filled(self, "interface"))
            describe = f"aws ec2 describe-network-interfaces --network-interface-ids {interface}"
            query = "--query 'NetworkInterfaces[0].Association.PublicIp' --output text"
            lines.append(assign(self._address, f"{describe} {query}", "public_ip"))
        return lines

    def price(self) -> float | None:
        """What Fargate costs depends on the task definition: unknown here; what ends costs nothing then."""
        return None if self.until == "running" and self.launch_type != "EC2" else 0.0


def _overrides_request(given: Sequence[Mapping[str, Any]] | None) -> dict[str, Any] | None:
    if not given:
        return None
    containers = []
    for one in given:
        environment = one.get("environment")
        request = {
            "name": one["name"],
            "command": one.get("command"),
            "environment": environment
            and [{"name": name, "value": value} for name, value in environment.items()],
            "cpu": one.get("cpu"),
            "memory": one.get("memory"),
        }
        containers.append(set_ones(request))
    return {"containerOverrides": containers}


def _no_place(failure: Mapping[str, Any]) -> StepFailed:
    """Why RunTask could not place a task, in words."""
    reason = str(failure.get("reason") or "no reason given")
    remedy = "run the same command again"
    if reason.startswith("RESOURCE:") or "capacity" in reason.lower():
        remedy = "run it again later, choose other subnets, or give the cluster more instances"
    detail = f" ({failure['detail']})" if failure.get("detail") else ""
    return StepFailed(f"ECS has no place for the task: {reason}{detail}", remedy)


def _in(world: World, cluster: str, arns: Sequence[str]) -> list[dict[str, Any]] | None:
    """The tasks of these ARNs that ECS still knows; None where their cluster is gone."""
    found: list[dict[str, Any]] = []
    for chunk in in_chunks(arns, _A_REQUEST):
        try:
            found += ask(world, "describe_tasks", cluster=cluster, tasks=chunk, include=["TAGS"])["tasks"]
        except AwsError as error:
            if not error.not_found:
                raise
            return None
    return found


def _described(world: World, arns: Sequence[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for cluster, those in by_cluster(arns).items():
        found += _in(world, cluster, those) or ()
    return found


def _is_deleted(task: Mapping[str, Any]) -> bool:
    return task.get("desiredStatus") == "STOPPED" and task.get("stoppedReason") == _OUR_REASON


def _exit_code(task: Mapping[str, Any]) -> int | None:
    codes = [one["exitCode"] for one in task.get("containers") or () if one.get("exitCode") is not None]
    return next((code for code in codes if code != 0), codes[0] if codes else None)


def _state(task: Mapping[str, Any]) -> str:
    """`running` (or on its way there), `stopped` as it should, or `failed`."""
    if task.get("lastStatus") != "STOPPED" and task.get("desiredStatus") != "STOPPED":
        return "running"
    well = _exit_code(task) == 0 and task.get("stopCode") in (None, "EssentialContainerExited")
    return "stopped" if well else "failed"


def _values(task: Mapping[str, Any]) -> Values:
    stopped = task.get("desiredStatus") == "STOPPED"
    return {
        **_forgotten(str(task["taskArn"])),
        "cluster": short(task.get("clusterArn")),
        "task_definition": task.get("taskDefinitionArn"),
        "until": _state(task),
        "last_status": task.get("lastStatus"),
        "private_ip": private_address_of(task),
        "exit_code": _exit_code(task),
        "stopped_reason": why_stopped(task) if stopped else None,
        "tags": readable(told_tags(task.get("tags"))),
    }


def _forgotten(arn: str) -> Values:
    """What is known of a task that ECS no longer tells of: it has stopped."""
    return {
        "id": arn,
        "arn": arn,
        "cluster": cluster_of(arn),
        "task_definition": None,
        "until": "stopped",
        "last_status": "STOPPED",
        "public_ip": None,
        "private_ip": None,
        "exit_code": None,
        "stopped_reason": None,
    }
