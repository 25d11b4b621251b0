"""SageMaker's notebook instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from pydantic import Field

from engine.by_hand import word
from engine.errors import HalfMade, StepFailed
from engine.resource import Fixed, Id, Output, Values, plain
from engine.resources.aws._aws import iam_actions, set_ones
from engine.resources.aws._tagging import kebab
from engine.resources.sagemaker._sagemaker import (
    InSagemaker,
    InstanceType,
    RoleArn,
    actions,
    ask,
    price,
)

if TYPE_CHECKING:
    from engine.world import World

_TAKES: Final = 1200.0
"""Seconds that a notebook instance may take to start or stop."""
_MOVING: Final = ("Pending", "Stopping", "Deleting", "Updating")
_SETTINGS: Final[Mapping[str, str]] = {
    "instance_type": "InstanceType",
    "volume_size": "VolumeSizeInGB",
    "role_arn": "RoleArn",
    "default_code_repository": "DefaultCodeRepository",
    "root_access": "RootAccess",
    "lifecycle_config_name": "LifecycleConfigName",
}
"""What UpdateNotebookInstance changes, while the instance is stopped."""

_NONE_OF_IT: Final[Mapping[str, str]] = {
    "DefaultCodeRepository": "DisassociateDefaultCodeRepository",
    "LifecycleConfigName": "DisassociateLifecycleConfig",
}


class SagemakerNotebook(InSagemaker):
    """A notebook instance: a machine with Jupyter, ready for SageMaker."""

    kind: ClassVar[str] = "sagemaker_notebook"
    noun: ClassVar[str] = "notebook_instance"
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("its name"),
        "arn": Output("its ARN"),
        "url": Output("where Jupyter answers, for who is logged in at AWS"),
        "status": Output("InService, Stopped, Failed …"),
    }
    actions: ClassVar[Sequence[str]] = (
        actions("NotebookInstance", "StartNotebookInstance StopNotebookInstance UpdateNotebookInstance")
        + iam_actions("iam", "PassRole")
        + iam_actions("ec2", "CreateNetworkInterface DescribeSecurityGroups DescribeSubnets DescribeVpcs")
    )

    instance_type: InstanceType = "ml.t3.medium"
    """How large, `ml.t3.medium`; a change stops it for some minutes."""
    role_arn: RoleArn
    """The role that notebooks act with."""
    volume_size: int = Field(default=5, ge=5, le=16384)
    """GB of its disk; it can only grow."""
    subnet_id: Fixed[Id | None] = None
    """The subnet it stands in, instead of SageMaker's own network."""
    security_groups: Fixed[list[Id] | None] = Field(default=None, max_length=5)
    """Its security groups, with subnet_id."""
    direct_internet_access: Fixed[Literal["Enabled", "Disabled"]] = "Enabled"
    """`Disabled`: only through its subnet."""
    root_access: Literal["Enabled", "Disabled"] = "Enabled"
    """Whether who works in it is root there."""
    platform_identifier: Fixed[str | None] = Field(default=None, pattern=r"^notebook-al\d+-v\d+$")
    """The system it runs, `notebook-al2023-v1`; AWS's default where left out."""
    default_code_repository: str | None = Field(default=None, min_length=1, max_length=1024)
    """A Git repository that opens in it."""
    lifecycle_config_name: str | None = Field(default=None, max_length=63)
    """Scripts that run at creation and at each start."""
    kms_key_id: Fixed[str | None] = Field(default=None, max_length=2048)
    """The key its disk is encrypted with."""
    running: bool = True
    """false: stopped, which costs only its disk."""

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """That it runs (or does not) is always asked."""
        return {**super().wanted(also), "running": self.running}

    def replaces(self, name: str, there: Values) -> bool:
        """One that failed, and a disk that would shrink."""
        if name == "volume_size":
            return isinstance(self.volume_size, int) and self.volume_size < int(there.get("volume_size") or 0)
        return there.get("status") == "Failed" or super().replaces(name, there)

    def create(self, world: World) -> str:
        """CreateNotebookInstance, until it is InService; StopNotebookInstance where it is not to run."""
        name = self.made(world, **self._asked())
        self._reached(world, name, "InService", created=True)
        if not self.running:
            _stop(world, name)
        return name

    def _asked(self) -> dict[str, Any]:
        given = {
            **{key: plain(getattr(self, field)) for field, key in _SETTINGS.items()},
            "SubnetId": self.subnet_id,
            "SecurityGroupIds": plain(self.security_groups),
            "DirectInternetAccess": self.direct_internet_access,
            "PlatformIdentifier": self.platform_identifier,
            "KmsKeyId": self.kms_key_id,
        }
        return set_ones(given)

    def _reached(self, world: World, name: str, status: str, *, created: bool = False) -> None:
        reached = self.at_rest(world, name, _MOVING, _TAKES, f"the notebook instance to be {status}")
        if reached != status:
            words = f"the notebook instance is {reached}: {self.reason(world, name)}"
            raise HalfMade(name, words) if created else StepFailed(words)

    @classmethod
    def seen(cls, described: Mapping[str, Any]) -> Values:
        """DescribeNotebookInstance."""
        status = described["NotebookInstanceStatus"]
        return {
            "status": status,
            "url": described.get("Url"),
            "instance_type": described["InstanceType"],
            "role_arn": described["RoleArn"],
            "volume_size": described.get("VolumeSizeInGB"),
            "subnet_id": described.get("SubnetId"),
            "security_groups": described.get("SecurityGroups"),
            "direct_internet_access": described.get("DirectInternetAccess", "Enabled"),
            "root_access": described.get("RootAccess", "Enabled"),
            "platform_identifier": described.get("PlatformIdentifier"),
            "default_code_repository": described.get("DefaultCodeRepository"),
            "lifecycle_config_name": described.get("NotebookInstanceLifecycleConfigName"),
            "kms_key_id": described.get("KmsKeyId"),
            "running": status in {"InService", "Pending", "Updating"},
        }

    @classmethod
    def unsettles(cls, changed: frozenset[str]) -> frozenset[str]:
        """Its status."""
        return frozenset({"status"}) if changed else frozenset()

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """StopNotebookInstance, UpdateNotebookInstance, StartNotebookInstance where it is to run."""
        settings = self._settings(changed)
        if settings or not self.running:
            _stop(world, id)
        if settings:
            ask(world, "update_notebook_instance", NotebookInstanceName=id, **settings)
            self._reached(world, id, "Stopped")
        if self.running:
            ask(world, "start_notebook_instance", NotebookInstanceName=id)
            self._reached(world, id, "InService")

    def _settings(self, changed: frozenset[str]) -> dict[str, Any]:
        """UpdateNotebookInstance's parameters: what is set to nothing has a flag of its own."""
        given = {key: plain(getattr(self, field)) for field, key in _SETTINGS.items() if field in changed}
        return {
            (_NONE_OF_IT.get(key, key) if value is None else key): (True if value is None else value)
            for key, value in given.items()
        }

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """StopNotebookInstance, DeleteNotebookInstance, until it is gone."""
        described = cls.described(world, id)
        if described is None:
            return
        if described["NotebookInstanceStatus"] != "Deleting":
            _stop(world, id)
            cls.removed(world, id)
        cls.at_rest(world, id, ("Deleting",), _TAKES, "the notebook instance to be gone")

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws sagemaker create-notebook-instance` and so on, and `wait`."""
        name = f"--notebook-instance-name {word(id or self.name)}"
        stopped = [
            f"aws sagemaker stop-notebook-instance {name}",
            f"aws sagemaker wait notebook-instance-stopped {name}",
        ]
        ready = f"aws sagemaker wait notebook-instance-in-service {name}"
        if action == "create":
            return [*self.by_hand(action, id, self._asked), ready, *self.told_by_hand(url="Url")]
        if action == "delete":
            return [
                *stopped,
                *self.by_hand(action, id, dict),
                f"aws sagemaker wait notebook-instance-deleted {name}",
            ]
        words = [
            f"--{kebab(key)}" if value is True else f"--{kebab(key)} {word(value)}"
            for key, value in self._settings(changed).items()
        ]
        change = [f"aws sagemaker update-notebook-instance {name} {' '.join(words)}"] if words else []
        start = [f"aws sagemaker start-notebook-instance {name}", ready] if self.running else []
        return [*stopped, *change, *start]

    def price(self) -> float | None:
        """USD per hour while it runs; its disk is some cents a month."""
        return price(self.instance_type) if self.running else 0.0


def _stop(world: World, name: str) -> None:
    """StopNotebookInstance where it runs, until it stands."""
    kind = SagemakerNotebook
    moving = ("Pending", "Updating")
    if kind.at_rest(world, name, moving, _TAKES, "the notebook instance to come to rest") == "InService":
        ask(world, "stop_notebook_instance", NotebookInstanceName=name)
    kind.at_rest(world, name, ("Stopping", *moving), _TAKES, "the notebook instance to stop")
