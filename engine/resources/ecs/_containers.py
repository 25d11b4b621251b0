"""What a task definition of ECS holds: fields, ECS's requests, and what ECS tells of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from engine.resource import Fields, Id, Values
from engine.resources.aws._aws import set_ones
from engine.resources.ecs._ecs import Name, Texts


def _units(value: Any) -> Any:
    """CPU units or MiB out of `1 vCPU`, `.5 vCPU`, `2 GB`, `512`."""
    found = re.fullmatch(r"\s*(\d*\.?\d+)\s*(vcpu|gb)?\s*", str(value), re.IGNORECASE)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return value
    if found is None:
        raise ValueError(f"{value!r} is no size: write 256 or .25 vCPU for cpu, 512 or 0.5 GB for memory")
    return round(float(found[1]) * (1024 if found[2] else 1))


Units = Annotated[int, BeforeValidator(_units, json_schema_input_type=int | str)]
"""CPU units or MiB; `1 vCPU` and `2 GB` are both 1024 times so many."""


class PortMapping(Fields):
    """A port that the container listens on."""

    container_port: int = Field(ge=1, le=65535)
    """With network_mode awsvpc, the port at which the task answers."""
    host_port: int | None = Field(default=None, ge=0, le=65535)
    """Of the instance, with network_mode bridge; 0 is any."""
    protocol: Literal["tcp", "udp"] = "tcp"
    """`tcp` or `udp`."""
    name: str | None = Field(default=None, pattern=r"^[a-z0-9_][a-z0-9_-]{0,63}$")
    """For Service Connect."""


class ContainerHealthCheck(Fields):
    """A command that tells whether the container is well."""

    command: list[str] = Field(min_length=1)
    """`[CMD-SHELL, "curl -f http://localhost:5000/ || exit 1"]`"""
    interval: int = Field(default=30, ge=5, le=300)
    """Seconds between two runs."""
    timeout: int = Field(default=5, ge=2, le=120)
    """Seconds that one run may take."""
    retries: int = Field(default=3, ge=1, le=10)
    """So many failures in a row make it unhealthy."""
    start_period: int = Field(default=0, ge=0, le=300)
    """Seconds after the start in which failures do not count."""


class LogConfiguration(Fields):
    """Where goes what the container prints."""

    log_driver: Literal[
        "awslogs", "awsfirelens", "splunk", "fluentd", "gelf", "json-file", "journald", "syslog"
    ]
    """`awslogs` is CloudWatch."""
    options: Texts = Field(default_factory=dict)
    """For awslogs: awslogs-group, awslogs-region and, on Fargate, awslogs-stream-prefix."""
    secret_options: dict[str, str] | None = None
    """Options whose values are in Secrets Manager or SSM: their ARNs."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = [name for name in ("awslogs-group", "awslogs-region") if name not in self.options]
        if self.log_driver == "awslogs" and missing and isinstance(self.options, dict):
            raise ValueError(f"options of awslogs need {' and '.join(missing)}")
        return self


class ContainerDependency(Fields):
    """Another container that must have come so far before this one starts."""

    container: str
    """Its name."""
    condition: Literal["START", "COMPLETE", "SUCCESS", "HEALTHY"] = "START"
    """How far."""


class MountPoint(Fields):
    """A volume of the task in the container."""

    source_volume: str
    """The volume's name."""
    container_path: str
    """Where the container sees it."""
    read_only: bool = False
    """The container cannot write there."""


class Container(Fields):
    """One container of the task."""

    name: Name
    """Letters, digits, _ and -."""
    image: str = Field(min_length=1)
    """`httpd:2.4`, or the uri of an image in ECR."""
    cpu: int | None = Field(default=None, ge=0)
    """Units of the task's that are kept for it; 1024 are one vCPU."""
    memory: int | None = Field(default=None, ge=6)
    """MiB at most: a container that takes more is killed."""
    memory_reservation: int | None = Field(default=None, ge=6)
    """MiB that are kept for it."""
    essential: bool = True
    """The task stops when it stops."""
    port_mappings: list[PortMapping | int] = Field(default_factory=list)
    """Ports it listens on; a plain number is one of TCP."""
    environment: Texts = Field(default_factory=dict)
    """Variables and their values; nothing secret."""
    secrets: dict[str, str] = Field(default_factory=dict)
    """Variables, and the ARNs of the SSM parameters or secrets that hold their values."""
    entry_point: list[str] | None = None
    """In place of the image's ENTRYPOINT."""
    command: list[str] | None = None
    """In place of the image's CMD."""
    working_directory: str | None = None
    """In place of the image's WORKDIR."""
    user: str | None = None
    """In place of the image's USER."""
    readonly_root_filesystem: bool = False
    """It can write to volumes only."""
    log_configuration: LogConfiguration | None = None
    """Where goes what it prints."""
    health_check: ContainerHealthCheck | None = None
    """A command that tells whether it is well."""
    depends_on: list[ContainerDependency] = Field(default_factory=list)
    """Containers of the task that come first."""
    mount_points: list[MountPoint] = Field(default_factory=list)
    """Volumes of the task that it sees."""
    start_timeout: int | None = Field(default=None, ge=2, le=120)
    """Seconds to wait for what it depends on."""
    stop_timeout: int | None = Field(default=None, ge=0, le=120)
    """Seconds from SIGTERM to SIGKILL; 30 where left out."""

    @field_validator("port_mappings")
    @classmethod
    def _ports(cls, value: list[PortMapping | int]) -> list[PortMapping | int]:
        for port in value:
            if isinstance(port, int) and not 1 <= port <= 65535:
                raise ValueError(f"{port} is no port: 1 to 65535")
        return value


class EfsVolume(Fields):
    """A file system of EFS as a volume."""

    file_system_id: Id
    """The file system, fs-…"""
    root_directory: str = "/"
    """The folder in it that is mounted."""
    transit_encryption: Literal["ENABLED", "DISABLED"] = "DISABLED"
    """Encrypted on the way."""


class Volume(Fields):
    """A volume that containers of the task can mount."""

    name: Name
    """What mount points call it."""
    efs_volume_configuration: EfsVolume | None = None
    """A file system of EFS; an empty folder that lives as long as the task where left out."""
    host_path: str | None = None
    """A folder of the instance; not on Fargate."""


class RuntimePlatform(Fields):
    """What machine and system the task runs on."""

    cpu_architecture: Literal["X86_64", "ARM64"] = "X86_64"
    """That of the image; ARM64 is cheaper."""
    operating_system_family: Literal[
        "LINUX",
        "WINDOWS_SERVER_2019_CORE",
        "WINDOWS_SERVER_2019_FULL",
        "WINDOWS_SERVER_2022_CORE",
        "WINDOWS_SERVER_2022_FULL",
    ] = "LINUX"
    """That of the image."""


_PLAIN: Final = {
    "name": "name",
    "image": "image",
    "cpu": "cpu",
    "memory": "memory",
    "memory_reservation": "memoryReservation",
    "essential": "essential",
    "entry_point": "entryPoint",
    "command": "command",
    "working_directory": "workingDirectory",
    "user": "user",
    "readonly_root_filesystem": "readonlyRootFilesystem",
    "start_timeout": "startTimeout",
    "stop_timeout": "stopTimeout",
}
"""Settings of a container that are the same in ECS's words but for their names."""
_HEALTH: Final = {
    "command": "command",
    "interval": "interval",
    "timeout": "timeout",
    "retries": "retries",
    "start_period": "startPeriod",
}
_HEALTH_DEFAULTS: Final = {"interval": 30, "timeout": 5, "retries": 3}


def container_request(given: Mapping[str, Any]) -> dict[str, Any]:
    """A container definition for ECS, from plain values in the playbook's words."""
    request = {key: given[name] for name, key in _PLAIN.items() if given.get(name) not in (None, False)}
    request["essential"] = given.get("essential", True)
    health = given.get("health_check")
    log = given.get("log_configuration")
    parts: dict[str, Any] = {
        "portMappings": [_port_request(port) for port in given.get("port_mappings") or ()],
        "environment": _pairs(given.get("environment"), "value"),
        "secrets": _pairs(given.get("secrets"), "valueFrom"),
        "healthCheck": health and {key: health[name] for name, key in _HEALTH.items() if health.get(name)},
        "logConfiguration": log and _log_request(log),
        "dependsOn": [
            {"containerName": one["container"], "condition": one.get("condition", "START")}
            for one in given.get("depends_on") or ()
        ],
        "mountPoints": [
            {
                "sourceVolume": one["source_volume"],
                "containerPath": one["container_path"],
                "readOnly": one.get("read_only", False),
            }
            for one in given.get("mount_points") or ()
        ],
    }
    return request | {name: value for name, value in parts.items() if value}


def _port_request(port: Any) -> dict[str, Any]:
    if not isinstance(port, Mapping):
        return {"containerPort": port, "protocol": "tcp"}
    request = {
        "containerPort": port["container_port"],
        "hostPort": port.get("host_port"),
        "protocol": port.get("protocol", "tcp"),
        "name": port.get("name"),
    }
    return set_ones(request)


def _pairs(given: Any, value: str) -> list[dict[str, Any]]:
    return [{"name": name, value: text} for name, text in (given or {}).items()]


def _log_request(given: Mapping[str, Any]) -> dict[str, Any]:
    request = {
        "logDriver": given["log_driver"],
        "options": given.get("options") or None,
        "secretOptions": _pairs(given.get("secret_options"), "valueFrom") or None,
    }
    return set_ones(request)


def container_words(given: Mapping[str, Any]) -> Values:
    """A container definition of ECS in the playbook's words, without what is not set."""
    words = {name: given[key] for name, key in _PLAIN.items() if given.get(key) not in (None, 0, False, [])}
    words["essential"] = given.get("essential", True)
    health, log = given.get("healthCheck"), given.get("logConfiguration")
    parts: Values = {
        "port_mappings": [_port_words(port) for port in given.get("portMappings") or ()],
        "environment": {one["name"]: one.get("value", "") for one in given.get("environment") or ()},
        "secrets": {one["name"]: one["valueFrom"] for one in given.get("secrets") or ()},
        "health_check": health and {name: health[key] for name, key in _HEALTH.items() if health.get(key)},
        "log_configuration": log and _log_words(log),
        "depends_on": [
            {"container": one["containerName"], "condition": one["condition"]}
            for one in given.get("dependsOn") or ()
        ],
        "mount_points": [
            {
                "source_volume": one.get("sourceVolume"),
                "container_path": one.get("containerPath"),
                "read_only": bool(one.get("readOnly")),
            }
            for one in given.get("mountPoints") or ()
        ],
    }
    return words | {name: value for name, value in parts.items() if value}


def _port_words(given: Mapping[str, Any]) -> Values:
    words = {
        "container_port": given["containerPort"],
        "host_port": given.get("hostPort"),
        "protocol": given.get("protocol", "tcp"),
        "name": given.get("name"),
    }
    return set_ones(words)


def _log_words(given: Mapping[str, Any]) -> Values:
    words: Values = {"log_driver": given["logDriver"], "options": dict(given.get("options") or {})}
    if given.get("secretOptions"):
        words["secret_options"] = {one["name"]: one["valueFrom"] for one in given["secretOptions"]}
    return words


def container_differs(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Whether two containers in the playbook's words are not the same once ECS has completed them."""
    one, other = _whole_container(wanted), _whole_container(there)
    ours, theirs = one.pop("port_mappings"), other.pop("port_mappings")
    if len(ours) != len(theirs) or one != other:
        return True
    # Where the playbook leaves out the host's port, ECS fills in one.
    return any({**port, **mine} != port for mine, port in zip(ours, theirs, strict=True))


def container_words_of_difference(
    wanted: Sequence[Mapping[str, Any]], there: Sequence[Mapping[str, Any]]
) -> list[str]:
    """For each container that is not as wanted, which of its settings differ."""
    held = {one["name"]: one for one in there}
    words = []
    for one in wanted:
        other = held.pop(one["name"], None)
        if other is None:
            words.append(f"container {one['name']} is missing")
        elif container_differs(one, other):
            ours, theirs = _whole_container(one), _whole_container(other)
            names = [
                name for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name)
            ]
            words.append(f"container {one['name']}: {' and '.join(names) or 'it'} differs")
    return words + [f"container {name} is no longer wanted" for name in held]


def _whole_container(given: Mapping[str, Any]) -> dict[str, Any]:
    """A container as ECS completes it, so that two can be compared."""
    whole = container_words(container_request(given))
    if "health_check" in whole:
        whole["health_check"] = {**_HEALTH_DEFAULTS, **whole["health_check"]}
    whole.setdefault("port_mappings", [])
    return whole


def volume_request(given: Mapping[str, Any]) -> dict[str, Any]:
    """A volume for ECS, from plain values in the playbook's words."""
    efs = given.get("efs_volume_configuration")
    request: dict[str, Any] = {"name": given["name"]}
    if efs:
        request["efsVolumeConfiguration"] = {
            "fileSystemId": efs["file_system_id"],
            "rootDirectory": efs.get("root_directory", "/"),
            "transitEncryption": efs.get("transit_encryption", "DISABLED"),
        }
    elif given.get("host_path"):
        request["host"] = {"sourcePath": given["host_path"]}
    return request


def volume_words(given: Mapping[str, Any]) -> Values:
    """A volume of ECS in the playbook's words."""
    words: Values = {"name": given["name"]}
    efs = given.get("efsVolumeConfiguration")
    if efs:
        words["efs_volume_configuration"] = {
            "file_system_id": efs["fileSystemId"],
            "root_directory": efs.get("rootDirectory", "/"),
            "transit_encryption": efs.get("transitEncryption", "DISABLED"),
        }
    elif (given.get("host") or {}).get("sourcePath"):
        words["host_path"] = given["host"]["sourcePath"]
    return words


def whole_volume(given: Mapping[str, Any]) -> Values:
    """A volume as ECS completes it, so that two can be compared."""
    return volume_words(volume_request(given))
