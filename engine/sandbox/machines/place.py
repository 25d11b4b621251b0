"""Where commands run: a machine or a container, with its disk, its system and the commands it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine.sandbox.machines.command import Command, Handler, Login, Network, State
from engine.sandbox.machines.disk import Disk
from engine.sandbox.machines.systems import System

if TYPE_CHECKING:
    from engine.sandbox.machines.engine import DockerEngine
    from engine.sandbox.machines.services import Services

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Place:
    """What the commands of a machine and those of a container have in common."""

    services: Services | None = None
    """The init system; containers have none."""
    docker: DockerEngine | None = None
    """The Docker Engine, on machines."""

    def __init__(self, *, hostname: str, system: System, disk: Disk, network: Network, state: State) -> None:
        self.hostname = hostname
        self.system = system
        self.disk = disk
        self.network = network
        self.state: dict[str, Any] = state
        self.commands: Mapping[str, Command] = {}
        """Commands that need no package, by name."""
        self.packaged: Mapping[str, Command] = {}
        """Commands that a package brings; there once their file in the path is."""
        self.addresses: list[str] = ["127.0.0.1"]

    def env(self, login: Login) -> dict[str, str]:
        """The environment that a login starts with."""
        env = {
            "HOME": login.home,
            "USER": login.user,
            "LOGNAME": login.user,
            "SHELL": login.shell,
            "PATH": PATH,
            "LANG": "C.UTF-8",
        }
        if login.agent is not None:
            env["SSH_AUTH_SOCK"] = login.agent
        return env

    def login(self, user: str, agent: str | None = None) -> Login:
        """`user` as /etc/passwd and /etc/group have it now. Raises KeyError where it is not there."""
        from_passwd = {line.split(":")[0]: line.split(":") for line in self.lines("/etc/passwd")}
        name, _, uid, gid, _, home, shell = from_passwd[user]
        groups = [line.split(":") for line in self.lines("/etc/group")]
        group = next((fields[0] for fields in groups if fields[2] == gid), gid)
        others = [fields[0] for fields in groups if name in fields[3].split(",") and fields[0] != group]
        return Login(name, int(uid), int(gid), group, (group, *others), home, shell, agent)

    def listening(self) -> Mapping[int, Handler]:
        """The TCP ports that answer, with what serves them."""
        return {}

    def turn(self, how: str) -> None:
        """What runs here wants a `reboot` or `poweroff`; a container has no power of its own."""

    def lines(self, path: str) -> list[str]:
        """The lines of a table such as /etc/passwd, without empty ones."""
        return [line for line in self.disk.text(path).splitlines() if line.strip()]
