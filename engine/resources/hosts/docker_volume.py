"""Docker volumes on hosts: `docker_volume`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import Field

from engine.by_hand import word
from engine.resource import Fixed, Output, Values
from engine.resources.hosts import _docker
from engine.resources.hosts._docker import LAB
from engine.resources.hosts._labelled import Labelled, driver_options
from engine.resources.hosts._shell import Environment, quote


class DockerVolume(Labelled):
    """A Docker volume on a host: data that outlives containers."""

    kind: ClassVar[str] = "docker_volume"
    outputs: ClassVar[Mapping[str, Output]] = {
        "mountpoint": Output("the folder on the host that holds the data")
    }

    driver: Fixed[str] = Field(default="local", description="the volume's driver")
    driver_options: Fixed[Environment | None] = Field(default=None, description="options of the driver")

    @classmethod
    def look(cls, id: str, wanted: Self | None) -> str:
        """Prints what Docker says of it."""
        return _docker.look(f"volume inspect -f '{{{{json .}}}}' {quote(id)}")

    @classmethod
    def parse(cls, id: str, status: int, output: bytes) -> Values | None:
        """Its settings, in the playbook's words."""
        found = _docker.read(output)
        if not found:
            return None
        return {
            "name": id,
            "driver": found[0].get("Driver"),
            "driver_options": found[0].get("Options") or {},
            "labels": _docker.own_labels(found[0].get("Labels")),
            "mountpoint": found[0].get("Mountpoint"),
            "owner": (found[0].get("Labels") or {}).get(LAB),
        }

    def _options(self, quoted: Any) -> str:
        return " ".join([f"--driver {quoted(self.driver)}", *driver_options(self.driver_options, quoted)])

    def commands(self, there: Values | None, changed: frozenset[str]) -> str:
        """`docker volume create`; one that a killed run left is made anew."""
        return _docker.creation("volume", self.name, self._options(quote), self.labels)

    @classmethod
    def removal(cls, id: str, there: Values | None) -> str:
        """`docker volume rm`: the data in it is gone."""
        return _docker.removal("volume", id, f"docker volume rm {quote(id)}")

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`docker volume create`, or `rm`."""
        if action == "delete":
            return [f"sudo docker volume rm {word(id)}"]
        return [f"sudo docker volume create {self._options(word)} {word(self.name)}"]
