"""What Docker's networks and volumes share: a name, labels of their own, options of their driver."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from engine.on_host import OnHost
from engine.resource import Fixed
from engine.resources.hosts import _docker
from engine.resources.hosts._docker import DockerName
from engine.resources.hosts._shell import pairs


class Labelled(OnHost):
    """What carries labels of its own from the moment it is made."""

    adoptable: ClassVar[bool] = False

    name: Fixed[DockerName] = Field(description="its name on the host")
    labels: Fixed[_docker.Labels | None] = Field(default=None, description="labels of its own")

    def natural_id(self) -> str:
        """Its name."""
        return self.name

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Whatever Docker filled in by itself does not count."""
        return bool(_only(wanted, there) != wanted)

    @classmethod
    def explain_failure(cls, status: int, stderr: str) -> tuple[str, str] | None:
        """Docker's errors in words."""
        return _docker.explain(stderr)


def _only(wanted: Any, there: Any) -> Any:
    """`there` without the keys that `wanted` does not have, in dicts at any depth."""
    if isinstance(wanted, dict) and isinstance(there, dict):
        return {key: _only(wanted[key], item) for key, item in there.items() if key in wanted}
    if isinstance(wanted, list) and isinstance(there, list) and len(wanted) == len(there):
        return [_only(first, second) for first, second in zip(wanted, there, strict=True)]
    return there


def driver_options(given: Any, quoted: Any) -> list[str]:
    """The options of `docker … create` that go to the driver; `quoted` makes words of a shell of them."""
    return [f"--opt {quoted(f'{key}={value}')}" for key, value in pairs(given)]
