"""Machines that are already there: nothing is created at the other end, they are only logged in to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from engine.resource import Fixed, Machine, Output, Resource, Values

if TYPE_CHECKING:
    from engine.world import World


class SshHost(Resource):
    """A machine that is already there and can be logged in to over SSH."""

    kind: ClassVar[str] = "ssh_host"
    is_host: ClassVar[bool] = True
    already_there: ClassVar[bool] = True
    outputs: ClassVar[Mapping[str, Output]] = {
        "public_ip": Output("its address, as given in hostname"),
        "private_ip": Output("the same, for use behind another host"),
    }

    hostname: Fixed[Annotated[str, Field(min_length=1, pattern=r"^[^\s@/]+$")]]
    """A name or an address, as seen from the host it is reached through (`ssh: {via: …}`) or from here."""
    port: Fixed[Annotated[int, Field(ge=1, le=65535)]] = 22
    """Where its SSH server listens."""

    def adopts(self, world: World) -> str | None:
        """Its id: it is there already, and is never created or deleted."""
        return self._id()

    def create(self, world: World) -> str:
        """Its id; nothing is made."""
        return self._id()

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """What the ids say; whether the machines answer is found out by logging in to them."""
        found = {}
        for id in ids:
            hostname, _, port = id.rpartition(":")
            found[id] = {
                "hostname": hostname,
                "port": int(port),
                "public_ip": hostname,
                "private_ip": hostname,
            }
        return found

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """Nothing to do: its fields replace."""

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """Nothing to do: the machine stays as it is."""

    @classmethod
    def find(cls, world: World) -> list[str]:
        """Nothing: what was never made need not be looked for."""
        return []

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """How to see that it can be logged in to."""
        return [f"ssh -p {self.port} {self.hostname} true"] if action == "create" else []

    @classmethod
    def machine(cls, world: World, id: str, values: Values) -> Machine:
        """Where it answers."""
        hostname, _, port = id.rpartition(":")
        return Machine(public_address=hostname, private_address=hostname, port=int(port), already_there=True)

    def _id(self) -> str:
        return f"{self.hostname}:{self.port}"
