"""Docker networks on hosts: `docker_network`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import Field, field_validator

from engine.by_hand import word
from engine.resource import Fields, Fixed, Output, Values, plain
from engine.resources.hosts import _docker
from engine.resources.hosts._docker import LAB
from engine.resources.hosts._labelled import Labelled, driver_options
from engine.resources.hosts._shell import Environment, known, quote


class AddressPool(Fields):
    """Addresses of a Docker network."""

    subnet: str = Field(pattern=r"^[0-9a-fA-F.:]+/\d+$", description="as in 10.9.0.0/24")
    gateway: str | None = Field(default=None, description="the host's address in it")
    iprange: str | None = Field(default=None, description="the part of it that containers get addresses from")


class DockerNetwork(Labelled):
    """A Docker network on a host, in which containers find each other by name."""

    kind: ClassVar[str] = "docker_network"
    outputs: ClassVar[Mapping[str, Output]] = {"id": Output("its id")}

    driver: Fixed[str] = Field(default="bridge", description="`bridge`, `macvlan`, `ipvlan` …")
    internal: Fixed[bool] = Field(default=False, description="without a way out")
    attachable: Fixed[bool] = Field(default=False, description="containers started by hand may join")
    enable_ipv6: Fixed[bool] = Field(default=False, description="with IPv6")
    ipam_config: Fixed[list[AddressPool] | None] = Field(default=None, description="its addresses")
    driver_options: Fixed[Environment | None] = Field(default=None, description="options of the driver")

    @field_validator("name")
    @classmethod
    def _not_docker_s_own(cls, value: str) -> str:
        if value in ("bridge", "host", "none", "default"):
            raise ValueError(f"`{value}` is one of Docker's own networks; choose another name")
        return value

    @classmethod
    def look(cls, id: str, wanted: Self | None) -> str:
        """Prints what Docker says of it."""
        return _docker.look(f"network inspect -f '{{{{json .}}}}' {quote(id)}")

    @classmethod
    def parse(cls, id: str, status: int, output: bytes) -> Values | None:
        """Its settings, in the playbook's words."""
        found = [thing for thing in _docker.read(output) if thing.get("Name") == id]
        if not found:
            return None
        thing = found[0]
        pools = [
            {"subnet": pool["Subnet"], "gateway": pool.get("Gateway"), "iprange": pool.get("IPRange")}
            for pool in (thing.get("IPAM") or {}).get("Config") or []
        ]
        return {
            "name": id,
            "id": thing["Id"],
            "driver": thing.get("Driver"),
            "internal": bool(thing.get("Internal")),
            "attachable": bool(thing.get("Attachable")),
            "enable_ipv6": bool(thing.get("EnableIPv6")),
            "ipam_config": [{key: value for key, value in pool.items() if value} for pool in pools],
            "driver_options": thing.get("Options") or {},
            "labels": _docker.own_labels(thing.get("Labels")),
            "owner": (thing.get("Labels") or {}).get(LAB),
        }

    def _options(self, quoted: Any) -> str:
        flags = [
            ("--internal", self.internal),
            ("--attachable", self.attachable),
            ("--ipv6", self.enable_ipv6),
        ]
        options = [f"--driver {quoted(self.driver)}"] + [flag for flag, on in flags if on is True]
        for pool in plain(self.ipam_config) or [] if known(self.ipam_config) else []:
            names = {"subnet": "--subnet", "gateway": "--gateway", "iprange": "--ip-range"}
            options += [f"{names[key]} {quoted(value)}" for key, value in pool.items()]
        return " ".join([*options, *driver_options(self.driver_options, quoted)])

    def commands(self, there: Values | None, changed: frozenset[str]) -> str:
        """`docker network create`."""
        return _docker.creation("network", self.name, self._options(quote), self.labels)

    @classmethod
    def removal(cls, id: str, there: Values | None) -> str:
        """`docker network rm`."""
        return _docker.removal("network", id, f"docker network rm {quote(id)}")

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`docker network create`, or `rm`."""
        if action == "delete":
            return [f"sudo docker network rm {word(id)}"]
        return [f"sudo docker network create {self._options(word)} {word(self.name)}"]
