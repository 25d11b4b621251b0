"""Task definitions: which containers a task of ECS has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from engine.aws.errors import AwsError
from engine.aws.tags import is_made_by, narrow, readable, told_tags
from engine.by_hand import assign, aws, filled, json_word, told, word
from engine.errors import StepFailed
from engine.refs import Unknown, holds_unknown
from engine.resource import Fixed, Id, Output, Place, Values, plain
from engine.resources.aws._aws import set_ones
from engine.resources.ecs._containers import (
    Container,
    RuntimePlatform,
    Units,
    Volume,
    container_differs,
    container_request,
    container_words,
    container_words_of_difference,
    volume_request,
    volume_words,
    whole_volume,
)
from engine.resources.ecs._ecs import InEcs, Name, ask, new_tags, once_settled
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
        volumes = [] if isinstance(self.volumes, Unknown) else self.volumes
        if any(not isinstance(volume, Unknown) and plain(volume).get("host_path") for volume in volumes):
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
                container_differs(one, other) for one, other in zip(wanted, there, strict=True)
            )
        if name == "volumes":
            return [whole_volume(one) for one in wanted] != [whole_volume(one) for one in there or ()]
        if name == "runtime_platform":
            usual = {name: value for name, (_, value) in _PLATFORM.items()}
            return {**usual, **wanted} != {**usual, **(there or {})}
        return super().differs(name, wanted, there)

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """This family alone, where ECS can tell it, and the roles that are passed on."""
        if isinstance(self.family, Unknown):
            return {}
        own = [place.arn("ecs", f"task-definition/{self.family}:*")]
        verbs = ("RegisterTaskDefinition", "DeleteTaskDefinitions", "TagResource", "UntagResource")
        found: dict[str, Sequence[str]] = {f"ecs:{verb}": own for verb in verbs}
        roles = [self.execution_role_arn, self.task_role_arn]
        if not any(isinstance(role, Unknown) for role in roles):
            found["iam:PassRole"] = [role for role in roles if role is not None]
        return found

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """Which containers differ, and in what."""
        if name != "containers" or not isinstance(wanted, list) or not isinstance(there, list):
            return None
        return ", ".join(container_words_of_difference(wanted, there)) or None

    def create(self, world: World) -> str:
        """RegisterTaskDefinition, again while ECS does not know a role made a moment ago."""
        request = self._request()
        answer = once_settled(
            world,
            lambda: world.aws.call("ecs", "register_task_definition", tags=new_tags(world), **request),
        )
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def _request(self) -> dict[str, Any]:
        platform = plain(self.runtime_platform)
        request = {
            "family": self.family,
            "containerDefinitions": [container_request(plain(one)) for one in self.containers],
            "requiresCompatibilities": [self.launch_type],
            "networkMode": self.network_mode or ("awsvpc" if self.launch_type == "FARGATE" else None),
            "cpu": None if self.cpu is None else str(self.cpu),
            "memory": None if self.memory is None else str(self.memory),
            "executionRoleArn": self.execution_role_arn,
            "taskRoleArn": self.task_role_arn,
            "volumes": [volume_request(plain(one)) for one in self.volumes] or None,
            "runtimePlatform": platform
            and {key: platform.get(name, usual) for name, (key, usual) in _PLATFORM.items()},
            "ephemeralStorage": None
            if self.ephemeral_storage is None
            else {"sizeInGiB": self.ephemeral_storage},
        }
        return set_ones(request)

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
        own = word(filled(self))
        asked = aws("describe-task-definition", service="ecs") + f" --task-definition {own}"
        queries = {"arn": "taskDefinition.taskDefinitionArn", "revision": "taskDefinition.revision"}
        return [assign(self._address, f"{command} {query}"), *told(self, asked, queries)]


_PLATFORM: Final = {
    "cpu_architecture": ("cpuArchitecture", "X86_64"),
    "operating_system_family": ("operatingSystemFamily", "LINUX"),
}
"""What ECS calls the machine and system, and what they are where nothing is said."""


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
        "containers": [container_words(one) for one in given.get("containerDefinitions") or ()],
        "launch_type": "FARGATE" if "FARGATE" in compatible else "EC2",
        "network_mode": given.get("networkMode"),
        "cpu": int(given["cpu"]) if given.get("cpu") else None,
        "memory": int(given["memory"]) if given.get("memory") else None,
        "execution_role_arn": given.get("executionRoleArn"),
        "task_role_arn": given.get("taskRoleArn"),
        "runtime_platform": {name: platform.get(key, usual) for name, (key, usual) in _PLATFORM.items()},
        "volumes": [volume_words(one) for one in given.get("volumes") or ()],
        "ephemeral_storage": (given.get("ephemeralStorage") or {}).get("sizeInGiB"),
        "tags": readable(tags),
    }
