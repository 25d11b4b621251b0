"""Tasks of ECS as AWS has them: they take their time, have addresses, run what their images say, and end.

moto's move on towards STOPPED each time they are looked at. A task here is a plain object that is kept with
the cloud; the processes behind its containers are the runner's, and begin anew when the sandbox does.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

START_SECONDS: Final = 0.3
"""From RunTask until containers are started; some 20 to 60 seconds at AWS."""
REMEMBER_SECONDS: Final = 3600.0
"""How long ECS still shows a task that has stopped."""


class Task:
    """One task: what DescribeTasks tells of it, and what it is to run."""

    def __init__(
        self,
        *,
        cluster: Any,
        definition: Any,
        group: str,
        launch_type: str,
        account: str,
        region: str,
        overrides: Mapping[str, Any] | None = None,
        started_by: str = "",
        tags: list[dict[str, str]] | None = None,
        network: Mapping[str, Any] | None = None,
        platform_version: str | None = None,
        capacity_provider: str | None = None,
        execute_command: bool = False,
    ) -> None:
        self.id = uuid.uuid4().hex
        self.region_name = region
        self.definition = definition
        self.network = network
        self.cluster_name = cluster.name
        self.cluster_arn = cluster.arn
        self.task_arn = f"arn:aws:ecs:{region}:{account}:task/{cluster.name}/{self.id}"
        self.task_definition_arn = definition.arn
        self.group = group
        self.launch_type = launch_type
        self.overrides = dict(overrides or {})
        self.started_by = started_by
        self.tags = tags or []
        self.capacity_provider_name = capacity_provider
        self.enable_execute_command = execute_command
        self.cpu, self.memory = definition.cpu, definition.memory
        fargate = launch_type == "FARGATE"
        self.platform_version = (platform_version or "LATEST").replace("LATEST", "1.4.0") if fargate else None
        self.platform_family = "Linux" if fargate else None
        self.attachments: list[dict[str, Any]] = []
        self.availability_zone: str | None = None
        self.connectivity: str | None = None
        self.desired_status = "RUNNING"
        self.last_status = "PROVISIONING"
        self.health_status = "UNKNOWN"
        self.since = time.time()
        """When the status became what it is."""
        self.created_at = self.since
        self.started_at: float | None = None
        self.stopping_at: float | None = None
        self.stopped_at: float | None = None
        self.stop_code: str | None = None
        self.stopped_reason: str | None = None
        self.container_instance_arn: str | None = None
        self.version = 1
        self.listens = False
        """Whether one of its containers has begun to listen on a port."""
        self.seen_ended = False
        """Whether the service it belongs to has taken note of its end."""
        self.targets: list[tuple[str, str, int]] = []
        """Target group, address and port of each registration."""
        self.containers = [self._container(one, account) for one in definition.container_definitions]

    def _container(self, given: Mapping[str, Any], account: str) -> dict[str, Any]:
        path = f"container/{self.cluster_name}/{self.id}/{uuid.uuid4()}"
        return {
            "containerArn": f"arn:aws:ecs:{self.region_name}:{account}:{path}",
            "taskArn": self.task_arn,
            "name": given["name"],
            "image": given["image"],
            "lastStatus": "PENDING",
            "networkInterfaces": [],
            "healthStatus": "UNKNOWN",
            "cpu": str(given.get("cpu", 0)),
        }

    @property
    def arn(self) -> str:
        """The same as `task_arn`, as tagging asks for it."""
        return self.task_arn

    def becomes(self, status: str) -> None:
        """Takes on another status."""
        self.last_status, self.since = status, time.time()
        self.version += 1

    def attach(self, nic: Any) -> None:
        """Takes on its network interface."""
        details = {
            "subnetId": nic.subnet.id,
            "networkInterfaceId": nic.id,
            "macAddress": nic.mac_address,
            "privateIPv4Address": nic.private_ip_address,
        }
        attachment = str(uuid.uuid4())
        self.attachments = [
            {
                "id": attachment,
                "type": "ElasticNetworkInterface",
                "status": "ATTACHED",
                "details": [{"name": name, "value": value} for name, value in details.items()],
            }
        ]
        self.availability_zone = nic.subnet.availability_zone
        for container in self.containers:
            container["networkInterfaces"] = [
                {"attachmentId": attachment, "privateIpv4Address": nic.private_ip_address}
            ]

    @property
    def address(self) -> str | None:
        """Its private address."""
        for container in self.containers:
            for interface in container["networkInterfaces"]:
                return str(interface["privateIpv4Address"])
        return None

    @property
    def live(self) -> bool:
        """Whether it has not stopped yet."""
        return self.last_status != "STOPPED"

    def definition_of(self, name: str) -> dict[str, Any]:
        """The definition of a container of it, with what this task has otherwise."""
        [given] = [one for one in self.definition.container_definitions if one["name"] == name]
        whole = dict(given)
        for override in self.overrides.get("containerOverrides") or ():
            if override.get("name") == name:
                own = {one["name"]: one for one in override.get("environment") or ()}
                there = [one for one in whole.get("environment") or () if one["name"] not in own]
                whole |= {key: override[key] for key in ("command", "cpu", "memory") if override.get(key)}
                whole["environment"] = [*there, *own.values()]
        return whole

    def is_to_stop(self, reason: str, code: str) -> None:
        """Asks it to stop; the first reason is the one that is told."""
        if self.desired_status != "STOPPED":
            self.desired_status = "STOPPED"
            self.stopped_reason, self.stop_code = reason, code
            self.stopping_at = time.time()

    def has_stopped(self) -> None:
        """It is over."""
        self.desired_status = "STOPPED"
        self.stopped_at = time.time()
        self.connectivity = "DISCONNECTED"
        for container in self.containers:
            container["lastStatus"] = "STOPPED"
        for attachment in self.attachments:
            attachment["status"] = "DELETED"
        self.becomes("STOPPED")

    def told(self, *, tags: bool) -> dict[str, Any]:
        """The task as DescribeTasks tells it."""
        names = {
            "taskArn": self.task_arn,
            "clusterArn": self.cluster_arn,
            "taskDefinitionArn": self.task_definition_arn,
            "group": self.group,
            "launchType": self.launch_type,
            "capacityProviderName": self.capacity_provider_name,
            "platformVersion": self.platform_version,
            "platformFamily": self.platform_family,
            "cpu": self.cpu,
            "memory": self.memory,
            "overrides": self.overrides,
            "startedBy": self.started_by or None,
            "attachments": self.attachments,
            "availabilityZone": self.availability_zone,
            "connectivity": self.connectivity,
            "containers": self.containers,
            "desiredStatus": self.desired_status,
            "lastStatus": self.last_status,
            "healthStatus": self.health_status,
            "enableExecuteCommand": self.enable_execute_command,
            "stopCode": self.stop_code,
            "stoppedReason": self.stopped_reason,
            "version": self.version,
            "tags": self.tags if tags else None,
            "createdAt": moment(self.created_at),
            "startedAt": moment(self.started_at),
            "stoppingAt": moment(self.stopping_at),
            "stoppedAt": moment(self.stopped_at),
        }
        return {name: value for name, value in names.items() if value is not None}


def moment(seconds: float | None) -> datetime | None:
    """A time (seconds since the epoch) as moto's answers take it."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
