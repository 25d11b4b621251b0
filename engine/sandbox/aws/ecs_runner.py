"""What runs the containers of tasks: each is a workload of the sandbox's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import moto.backends

from engine.sandbox.aws.addresses import PublicAddresses
from engine.sandbox.aws.ecs_tasks import REMEMBER_SECONDS, START_SECONDS, Task
from engine.sandbox.aws.tenants import give_back, interfaces_of, lease
from engine.sandbox.network import SOMEWHERE, Forwards, seen_as
from engine.sandbox.workloads.images import Image, NoSuchImage
from engine.sandbox.workloads.running import Workload, Workloads

if TYPE_CHECKING:
    from moto.logs.models import LogsBackend

_NO_WAY_OUT: Final = (
    "ResourceInitializationError: unable to pull secrets or registry auth: The task cannot pull registry "
    "auth from Amazon ECR: There is a connection issue between the task and Amazon ECR. Check your task "
    "network configuration. RequestError: send request failed caused by: Post "
    '"https://api.ecr.{region}.amazonaws.com/": dial tcp: i/o timeout'
)
_NO_WAY_TO_HUB: Final = (
    "CannotPullContainerError: pull image manifest has been retried 5 time(s): failed to resolve ref "
    '{image}: failed to do request: Head "https://registry-1.docker.io/v2/": dial tcp: i/o timeout'
)
_NO_LOG_GROUP: Final = (
    "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: "
    "failed to create Cloudwatch log stream: operation error CloudWatch Logs: CreateLogStream, "
    "ResourceNotFoundException: The specified log group does not exist. : exit status 1"
)
_GRACE_SECONDS: Final = 2.0
_LOG_SECONDS: Final = 1.0
"""Between two looks at what a task has printed."""
_KILLED: Final = 128


class _CannotStart(Exception):
    """Why a task cannot be started, in ECS's words."""


class Runner:
    """Brings tasks on their way; to be called under the cloud's lock."""

    def __init__(self, pool: PublicAddresses) -> None:
        self.workloads: Callable[[], Workloads | None] = lambda: None
        """What runs processes; where there is nothing, containers are said to run and do not answer."""
        self.forwards: Forwards = lambda instance: False
        self._pool = pool
        self._running: dict[str, dict[str, Workload]] = {}
        self._stopping: set[str] = set()
        self._told: dict[str, int] = {}
        """By id of the workload, up to when (ms) what it has printed is in its log stream."""
        self._read_at: dict[str, float] = {}
        """By ARN of the task, when what it has printed was read last."""

    def place(self, ec2: Any, task: Task) -> None:
        """Gives a task its network interface. Raises EC2's errors."""
        network = (task.network or {}).get("awsvpcConfiguration")
        if not network:
            return
        nic = lease(
            ec2,
            self._pool,
            tenant=task.task_arn,
            subnet=network["subnets"][0],
            groups=network.get("securityGroups") or (),
            description=f"arn:aws:ecs:{task.region_name}:{ec2.account_id}:attachment/{task.id}",
            public=network.get("assignPublicIp") == "ENABLED",
        )
        task.attach(nic)

    def advance(self, ec2: Any, task: Task) -> bool:
        """Brings a task as far as it has come by now; whether anything of it has changed."""
        before = task.version
        if task.last_status in ("PROVISIONING", "PENDING"):
            self._begin(ec2, task)
        elif task.last_status == "RUNNING":
            self._watch(ec2, task)
        if task.desired_status == "STOPPED" and task.live:
            self._end(ec2, task)
        return task.version != before

    def forget(self, task: Task) -> bool:
        """Whether a task ended so long ago that ECS no longer tells of it."""
        return task.stopped_at is not None and time.time() - task.stopped_at > REMEMBER_SECONDS

    def workload(self, task: str, port: int) -> Workload | None:
        """What listens on `port` of the task of that ARN."""
        for workload in self._running.get(task, {}).values():
            if port in workload.ports():
                return workload
        return None

    def _begin(self, ec2: Any, task: Task) -> None:
        if task.desired_status == "STOPPED":
            return
        passed = time.time() - task.since
        if task.last_status == "PROVISIONING" and passed >= START_SECONDS / 2:
            task.becomes("PENDING")
        elif task.last_status == "PENDING" and passed >= START_SECONDS / 2:
            try:
                self._start(ec2, task)
            except _CannotStart as reason:
                task.is_to_stop(str(reason), "TaskFailedToStart")
                return
            task.started_at, task.connectivity = time.time(), "CONNECTED"
            for container in task.containers:
                container["lastStatus"] = "RUNNING"
            task.becomes("RUNNING")

    def _start(self, ec2: Any, task: Task) -> None:
        workloads = self.workloads()
        definitions = [task.definition_of(one["name"]) for one in task.containers]
        for given in definitions:
            self._has_its_log_group(task, given)
        self._has_a_way_out(ec2, task)
        if workloads is None or not workloads.enabled:
            return
        images = {given["name"]: _pulled(workloads, given["image"]) for given in definitions}
        self._running[task.task_arn] = {
            given["name"]: _started(workloads, images[given["name"]], task, given) for given in definitions
        }

    @staticmethod
    def _has_its_log_group(task: Task, given: Mapping[str, Any]) -> None:
        log = given.get("logConfiguration") or {}
        if log.get("logDriver") != "awslogs":
            return
        options = log.get("options") or {}
        if options.get("awslogs-create-group") == "true":
            _logs(task).ensure_log_group(options["awslogs-group"])
        if options.get("awslogs-group") not in _logs(task).groups:
            raise _CannotStart(_NO_LOG_GROUP)

    def _has_a_way_out(self, ec2: Any, task: Task) -> None:
        for nic in interfaces_of(ec2, task.task_arn):
            if seen_as(ec2, nic, self.forwards, SOMEWHERE, 443) is None:
                image = task.containers[0]["image"]
                words = _NO_WAY_OUT if ".dkr.ecr." in image or "/" in image else _NO_WAY_TO_HUB
                raise _CannotStart(words.format(region=task.region_name, image=image))

    def _watch(self, ec2: Any, task: Task) -> None:
        """Looks which containers have ended; begins them anew where the sandbox itself has."""
        if task.task_arn not in self._running:
            self._resume(ec2, task)
            return
        for name, workload in self._running[task.task_arn].items():
            container = _container(task, name)
            if workload.exit_code is None or container["lastStatus"] == "STOPPED":
                continue
            self._has_ended(task, container, workload)
            if task.definition_of(name).get("essential", True):
                could = not workload.reason
                words = "Essential container in task exited" if could else workload.reason
                task.is_to_stop(words, "EssentialContainerExited" if could else "TaskFailedToStart")
        task.listens = task.listens or any(one.ports() for one in self._running[task.task_arn].values())
        if time.monotonic() - self._read_at.get(task.task_arn, 0.0) >= _LOG_SECONDS:
            self._pass_on_logs(task)

    def _resume(self, ec2: Any, task: Task) -> None:
        workloads = self.workloads()
        if workloads is None or not workloads.enabled:
            return
        try:
            self._start(ec2, task)
        except _CannotStart as reason:
            task.is_to_stop(str(reason), "TaskFailedToStart")

    def _has_ended(self, task: Task, container: dict[str, Any], workload: Workload) -> None:
        code = workload.exit_code or 0
        container["lastStatus"] = "STOPPED"
        if workload.reason:
            container["reason"] = workload.reason
        else:
            container["exitCode"] = code if code >= 0 else _KILLED - code
        task.version += 1

    def _end(self, ec2: Any, task: Task) -> None:
        """Stops the containers, which takes a moment, and then lets go of the network interface."""
        workloads = list(self._running.get(task.task_arn, {}).values())
        if any(one.exit_code is None for one in workloads):
            if task.task_arn not in self._stopping:
                self._stopping.add(task.task_arn)
                threading.Thread(target=_stop, args=(workloads,), daemon=True).start()
                task.becomes("STOPPING")
            return
        for name, workload in self._running.get(task.task_arn, {}).items():
            container = _container(task, name)
            if container["lastStatus"] != "STOPPED":
                self._has_ended(task, container, workload)
        self._pass_on_logs(task)
        for workload in workloads:
            self._told.pop(workload.id, None)
            workload.remove()
        self._running.pop(task.task_arn, None)
        self._read_at.pop(task.task_arn, None)
        self._stopping.discard(task.task_arn)
        give_back(ec2, task.task_arn)
        task.has_stopped()

    def _pass_on_logs(self, task: Task) -> None:
        """Puts what containers have printed into their streams of CloudWatch Logs."""
        self._read_at[task.task_arn] = time.monotonic()
        for name, workload in self._running.get(task.task_arn, {}).items():
            log = task.definition_of(name).get("logConfiguration") or {}
            options = log.get("options") or {}
            lines = (
                workload.lines(self._told.get(workload.id, 0)) if log.get("logDriver") == "awslogs" else []
            )
            group = options.get("awslogs-group")
            if not lines or group not in _logs(task).groups:
                continue
            prefix = options.get("awslogs-stream-prefix")
            stream = f"{prefix}/{name}/{task.id}" if prefix else task.id
            if stream not in _logs(task).groups[group].streams:
                _logs(task).create_log_stream(group, stream)
            events = [{"timestamp": line.time, "message": line.text} for line in lines]
            _logs(task).put_log_events(group, stream, events)
            self._told[workload.id] = lines[-1].time + 1


def _logs(task: Task) -> LogsBackend:
    account = task.task_arn.split(":")[4]
    return moto.backends.get_backend("logs")[account][task.region_name]


def _container(task: Task, name: str) -> dict[str, Any]:
    [container] = [one for one in task.containers if one["name"] == name]
    return container


def _pulled(workloads: Workloads, image: str) -> Image:
    try:
        return workloads.images.find(image)
    except NoSuchImage as error:
        raise _CannotStart(str(error)) from None
    except OSError as error:  # a layer is missing on this machine's disk, or the disk is full
        raise _CannotStart(f"CannotPullContainerError: {image}: {error}") from None


def _started(workloads: Workloads, image: Image, task: Task, given: Mapping[str, Any]) -> Workload:
    return workloads.start(
        image,
        name=f"task/{task.id}/{given['name']}",
        command=given.get("command") or None,
        entrypoint=given.get("entryPoint") or None,
        environment={one["name"]: one.get("value", "") for one in given.get("environment") or ()},
        memory_mb=int(given.get("memory") or task.memory or 0) or None,
        workdir=given.get("workingDirectory"),
    )


def _stop(workloads: list[Workload]) -> None:
    for workload in workloads:
        workload.stop(_GRACE_SECONDS)
