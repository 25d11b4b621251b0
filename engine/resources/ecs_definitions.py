"""Task definitions: which containers a task of ECS has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, field_validator, model_validator

from engine.aws.errors import AwsError
from engine.aws.tags import is_made_by, narrow, readable
from engine.by_hand import assign, aws, json_word, told, variable, word
from engine.errors import StepFailed
from engine.refs import Unknown, holds_unknown
from engine.resource import Fields, Fixed, Id, Output, Values, plain
from engine.resources._ecs import InEcs, Texts, ask, new_tags, once_settled, told_tags
from engine.tags import ADDRESS, LAB

if TYPE_CHECKING:
    from engine.world import World

_FARGATE: Final[dict[int, tuple[int, ...]]] = {
    256: (512, 1024, 2048),
    512: tuple(range(1024, 4097, 1024)),
    1024: tuple(range(2048, 8193, 1024)),
    2048: tuple(range(4096, 16385, 1024)),
    4096: tuple(range(8192, 30721, 1024)),
    8192: tuple(range(16384, 61441, 4096)),
    16384: tuple(range(32768, 122881, 8192)),
}
"""MiB of memory that Fargate has for so many CPU units (ECS Developer Guide, "Task size")."""

_ECR: Final = re.compile(r"\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/")
_NAME: Final = r"^[A-Za-z0-9_-]{1,255}$"
Name = Annotated[str, StringConstraints(pattern=_NAME)]


def _units(value: Any) -> Any:
    """CPU units or MiB out of `1 vCPU`, `.5 vCPU`, `2 GB`, `512`."""
    found = re.fullmatch(r"\s*(\d*\.?\d+)\s*(vcpu|gb)?\s*", str(value), re.IGNORECASE)
    if isinstance(value, bool) or not isinstance(value, str | int) or found is None:
        return value
    return round(float(found[1]) * (1024 if found[2] else 1))


Units = Annotated[int, BeforeValidator(_units)]


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


class EcsTaskDefinition(InEcs):
    """A task definition: the containers of a task, its size and roles; each change is a new revision."""

    kind: ClassVar[str] = "ecs_taskdefinition"
    create_first: ClassVar[bool] = True
    actions: ClassVar[Sequence[str]] = (
        "ecs:RegisterTaskDefinition",
        "ecs:DescribeTaskDefinition",
        "ecs:DeregisterTaskDefinition",
        "ecs:DeleteTaskDefinitions",
        "ecs:TagResource",
        "ecs:UntagResource",
        "iam:PassRole",
        "tag:GetResources",
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the revision's ARN"),
        "arn": Output("the same as id"),
        "revision": Output("the number of the revision"),
    }

    family: Fixed[Name]
    """Its name; each change makes another revision of it."""
    containers: Fixed[list[Container]] = Field(min_length=1, max_length=10)
    """One to ten containers, which share network and volumes."""
    launch_type: Fixed[Literal["FARGATE", "EC2"]] = "FARGATE"
    """What it must be able to run on: `FARGATE` (no machines of one's own), or `EC2`."""
    network_mode: Fixed[Literal["awsvpc", "bridge", "host", "none"] | None] = None
    """`awsvpc` (the only one on Fargate, and its default): each task has an address of its own."""
    cpu: Fixed[Units | None] = Field(default=None, ge=128)
    """CPU units of the whole task, 1024 are one vCPU (`256`, `.25 vCPU`); needed on Fargate."""
    memory: Fixed[Units | None] = Field(default=None, ge=6)
    """MiB of the whole task (`512`, `0.5 GB`); needed on Fargate."""
    execution_role_arn: Fixed[Id | None] = None
    """The role with which ECS fetches the image and writes the log."""
    task_role_arn: Fixed[Id | None] = None
    """The role that what runs in the containers has."""
    runtime_platform: Fixed[RuntimePlatform | None] = None
    """Linux on X86_64 where left out."""
    volumes: Fixed[list[Volume]] = Field(default_factory=list)
    """Volumes that containers can mount."""
    ephemeral_storage: Fixed[int | None] = Field(default=None, ge=21, le=200)
    """GiB of disk on Fargate; 20 where left out."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        known = not holds_unknown(plain([self.cpu, self.memory, self.network_mode]))
        if self.launch_type == "FARGATE" and known:
            self._fits_fargate()
        if isinstance(self.containers, list) and not holds_unknown(plain(self.containers)):
            self._fits_together()
        return self

    def _fits_fargate(self) -> None:
        if self.cpu is None or self.memory is None:
            raise ValueError(
                "needs cpu and memory on Fargate: write cpu: 256 and memory: 512 for the smallest"
            )
        if self.cpu not in _FARGATE:
            sizes = ", ".join(map(str, _FARGATE))
            raise ValueError(f"cpu: Fargate has no {self.cpu} units: one of {sizes}")
        if self.memory not in _FARGATE[self.cpu]:
            fit = _FARGATE[self.cpu]
            known = (
                ", ".join(map(str, fit))
                if len(fit) < 5
                else f"{fit[0]} to {fit[-1]} in steps of {fit[1] - fit[0]}"
            )
            raise ValueError(f"memory: with cpu {self.cpu} Fargate has {known} MiB, not {self.memory}")
        if self.network_mode not in (None, "awsvpc"):
            raise ValueError("network_mode: Fargate has only awsvpc")
        if any(not isinstance(volume, Unknown) and plain(volume).get("host_path") for volume in self.volumes):
            raise ValueError("volumes: there is no host_path on Fargate")

    def _fits_together(self) -> None:
        containers = [plain(one) for one in self.containers]
        names = [one["name"] for one in containers]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"containers: two of them are called {name!r}")
        if not any(one.get("essential", True) for one in containers):
            raise ValueError("containers: one of them must be essential")
        if self.launch_type == "EC2" and self.memory is None:
            for one in containers:
                if one.get("memory") is None and one.get("memory_reservation") is None:
                    raise ValueError(
                        f"container {one['name']} needs memory or memory_reservation: the task has none"
                    )
        if self.launch_type == "FARGATE" and self.execution_role_arn is None:
            self._needs_a_role(containers)

    @staticmethod
    def _needs_a_role(containers: Sequence[Mapping[str, Any]]) -> None:
        for one in containers:
            reasons = {
                f"fetch {one['image']}": bool(_ECR.match(str(one["image"]))),
                "write its log": (one.get("log_configuration") or {}).get("log_driver") == "awslogs",
                "read its secrets": bool(one.get("secrets")),
            }
            for reason, needed in reasons.items():
                if needed:
                    raise ValueError(
                        f"execution_role_arn is needed on Fargate to {reason}: an iam_role that "
                        "ecs-tasks.amazonaws.com may assume, with AmazonECSTaskExecutionRolePolicy"
                    )

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Containers and volumes are compared as ECS completes them; platforms likewise."""
        if name == "containers" and isinstance(there, list):
            return len(wanted) != len(there) or any(
                _container_differs(one, other) for one, other in zip(wanted, there, strict=True)
            )
        if name == "volumes":
            return [_whole_volume(one) for one in wanted] != [_whole_volume(one) for one in there or ()]
        if name == "runtime_platform":
            return {**_PLATFORM, **wanted} != {**_PLATFORM, **(there or {})}
        return super().differs(name, wanted, there)

    def create(self, world: World) -> str:
        """RegisterTaskDefinition, again while ECS does not know a role made a moment ago."""
        request = self._request()
        answer = once_settled(
            world,
            lambda: world.aws.call("ecs", "register_task_definition", tags=new_tags(world), **request),
        )
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def _request(self) -> dict[str, Any]:
        platform = plain(self.runtime_platform) if self.runtime_platform is not None else None
        request = {
            "family": self.family,
            "containerDefinitions": [_container_request(plain(one)) for one in self.containers],
            "requiresCompatibilities": [self.launch_type],
            "networkMode": self.network_mode or ("awsvpc" if self.launch_type == "FARGATE" else None),
            "cpu": None if self.cpu is None else str(self.cpu),
            "memory": None if self.memory is None else str(self.memory),
            "executionRoleArn": self.execution_role_arn,
            "taskRoleArn": self.task_role_arn,
            "volumes": [_volume_request(plain(one)) for one in self.volumes] or None,
            "runtimePlatform": platform
            and {
                "cpuArchitecture": platform.get("cpu_architecture", "X86_64"),
                "operatingSystemFamily": platform.get("operating_system_family", "LINUX"),
            },
            "ephemeralStorage": None
            if self.ephemeral_storage is None
            else {"sizeInGiB": self.ephemeral_storage},
        }
        return {name: value for name, value in request.items() if value is not None}

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeTaskDefinition for each, as ECS has no other; what is deregistered is gone."""
        found = {}
        for id in sorted(set(ids)):
            answer = _described(world, id)
            if answer is not None:
                found[id] = _values(answer["taskDefinition"], told_tags(answer.get("tags")))
        return found

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeregisterTaskDefinition, then DeleteTaskDefinitions; running tasks go on with it to their end."""
        if _described(world, id) is not None:
            try:
                ask(world, "deregister_task_definition", taskDefinition=id)
            except AwsError as error:
                if "inactive" not in error.said.lower() and not error.not_found:
                    raise
        answer = ask(world, "delete_task_definitions", taskDefinitions=[id])
        for failure in answer.get("failures") or ():
            reason = str(failure.get("reason", ""))
            if "does not exist" not in reason and "in progress" not in reason.lower():
                raise StepFailed(f"ECS does not delete {id}: {reason}", "run the same command again")

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By the tags that RegisterTaskDefinition was sent with (Resource Groups Tagging GetResources)."""
        wanted = narrow({LAB: world.lab, ADDRESS: world.job.address})
        filters = [{"Key": key, "Values": [value]} for key, value in wanted.items()]
        things = world.aws.pages(
            "resourcegroupstaggingapi",
            "get_resources",
            "ResourceTagMappingList",
            ResourceTypeFilters=["ecs:task-definition"],
            TagFilters=filters,
        )
        arns = [str(one["ResourceARN"]) for one in things if is_made_by(world, told_tags(one.get("Tags")))]
        return [arn for arn in arns if _described(world, arn) is not None]

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws ecs register-task-definition`; to delete, `deregister-` and `delete-task-definition`."""
        if action == "delete":
            return [
                f"aws ecs deregister-task-definition --task-definition {word(id)}",
                f"aws ecs delete-task-definitions --task-definitions {word(id)}",
            ]
        given = json_word(self._request())
        command = f"aws ecs register-task-definition --cli-input-json {given}"
        query = "--query taskDefinition.taskDefinitionArn --output text"
        own = f'"${variable(self._address)}"'
        asked = aws("describe-task-definition", service="ecs") + f" --task-definition {own}"
        queries = {"arn": "taskDefinition.taskDefinitionArn", "revision": "taskDefinition.revision"}
        return [assign(self._address, f"{command} {query}"), *told(self, asked, queries)]


_PLATFORM: Final = {"cpu_architecture": "X86_64", "operating_system_family": "LINUX"}


def _described(world: World, id: str) -> dict[str, Any] | None:
    """What DescribeTaskDefinition tells of an active revision; None where there is none."""
    try:
        answer = ask(world, "describe_task_definition", taskDefinition=id, include=["TAGS"])
    except AwsError as error:
        if error.code == "ClientException" and "Unable to describe" in error.said:
            return None
        raise
    return answer if answer["taskDefinition"].get("status") == "ACTIVE" else None


def _values(given: Mapping[str, Any], tags: Mapping[str, str]) -> Values:
    platform = given.get("runtimePlatform") or {}
    compatible = given.get("requiresCompatibilities") or ["EC2"]
    return {
        "id": given["taskDefinitionArn"],
        "arn": given["taskDefinitionArn"],
        "revision": given["revision"],
        "family": given["family"],
        "containers": [_container_words(one) for one in given.get("containerDefinitions") or ()],
        "launch_type": "FARGATE" if "FARGATE" in compatible else "EC2",
        "network_mode": given.get("networkMode"),
        "cpu": int(given["cpu"]) if given.get("cpu") else None,
        "memory": int(given["memory"]) if given.get("memory") else None,
        "execution_role_arn": given.get("executionRoleArn"),
        "task_role_arn": given.get("taskRoleArn"),
        "runtime_platform": {
            "cpu_architecture": platform.get("cpuArchitecture", "X86_64"),
            "operating_system_family": platform.get("operatingSystemFamily", "LINUX"),
        },
        "volumes": [_volume_words(one) for one in given.get("volumes") or ()],
        "ephemeral_storage": (given.get("ephemeralStorage") or {}).get("sizeInGiB"),
        "tags": readable(tags),
    }


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


def _container_request(given: Mapping[str, Any]) -> dict[str, Any]:
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
    return {name: value for name, value in request.items() if value is not None}


def _pairs(given: Any, value: str) -> list[dict[str, Any]]:
    return [{"name": name, value: text} for name, text in (given or {}).items()]


def _log_request(given: Mapping[str, Any]) -> dict[str, Any]:
    request = {
        "logDriver": given["log_driver"],
        "options": given.get("options") or None,
        "secretOptions": _pairs(given.get("secret_options"), "valueFrom") or None,
    }
    return {name: value for name, value in request.items() if value is not None}


def _container_words(given: Mapping[str, Any]) -> Values:
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
    return {name: value for name, value in words.items() if value is not None}


def _log_words(given: Mapping[str, Any]) -> Values:
    words: Values = {"log_driver": given["logDriver"], "options": dict(given.get("options") or {})}
    if given.get("secretOptions"):
        words["secret_options"] = {one["name"]: one["valueFrom"] for one in given["secretOptions"]}
    return words


def _container_differs(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Whether two containers in the playbook's words are not the same once ECS has completed them."""
    one, other = _whole_container(wanted), _whole_container(there)
    ours, theirs = one.pop("port_mappings"), other.pop("port_mappings")
    if len(ours) != len(theirs) or one != other:
        return True
    # Where the playbook leaves out the host's port, ECS fills in one.
    return any({**port, **mine} != port for mine, port in zip(ours, theirs, strict=True))


def _whole_container(given: Mapping[str, Any]) -> dict[str, Any]:
    """A container as ECS completes it, so that two can be compared."""
    whole = _container_words(_container_request(given))
    if "health_check" in whole:
        whole["health_check"] = {**_HEALTH_DEFAULTS, **whole["health_check"]}
    if "log_configuration" in whole:
        options = whole["log_configuration"]["options"]
        whole["log_configuration"] = {**whole["log_configuration"], "options": dict(options)}
    whole.setdefault("port_mappings", [])
    return whole


def _volume_request(given: Mapping[str, Any]) -> dict[str, Any]:
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


def _volume_words(given: Mapping[str, Any]) -> Values:
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


def _whole_volume(given: Mapping[str, Any]) -> Values:
    return _volume_words(_volume_request(given))
