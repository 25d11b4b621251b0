"""Things that take time on AWS: instances boot and stop, NAT gateways come and go.

moto has them ready at once. Here a state is set as before, and read as its transitional state until
its time is over; nothing ticks, the clock alone decides.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar

from moto.ec2.models import instances, nat_gateways
from moto.ec2.models.instances import Instance, InstanceState
from moto.ec2.models.nat_gateways import NatGateway

from engine.sandbox.aws.mending import add, replace

STOPPING_SECONDS = 0.3
TERMINATING_SECONDS = 0.3
NAT_SECONDS = 0.5
_CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}


class TimedState(InstanceState):
    """An instance's state: what it is on its way to, and since when."""

    boot_seconds: ClassVar[float] = 1.0
    ssh_seconds: ClassVar[float] = 1.0

    def __init__(self, name: str = "pending", code: int = 0) -> None:
        self.aim = name
        self.since = time.time()
        self.reboots = 0

    @property
    def name(self) -> str:
        """The state now, in AWS's words."""
        passed = time.time() - self.since
        if self.aim == "running":
            return "running" if passed >= self.boot_seconds else "pending"
        if self.aim == "stopped":
            return "stopped" if passed >= STOPPING_SECONDS else "stopping"
        if self.aim == "terminated":
            return "terminated" if passed >= TERMINATING_SECONDS else "shutting-down"
        return self.aim

    @name.setter
    def name(self, aim: str) -> None:
        if aim != self.aim:
            self.aim = aim
            self.since = time.time()

    @property
    def code(self) -> int:
        """The state's number in the API."""
        return _CODES[self.name]

    @code.setter
    def code(self, code: int) -> None:
        """Follows from the name; moto sets both."""

    def __copy__(self) -> InstanceState:
        """The state as it is now; moto keeps one as the previous state of an answer."""
        return InstanceState(self.name, self.code)

    @property
    def ready_at(self) -> float:
        """The time (seconds since the epoch) at which SSH answers and status checks pass."""
        return self.since + self.boot_seconds + self.ssh_seconds


def state_of(instance: Instance) -> TimedState:
    """The timed state of `instance`."""
    state = instance._state
    if not isinstance(state, TimedState):
        raise TypeError(f"{instance.id} was made before its states were timed")
    return state


def _checks(instance: Instance) -> dict[str, Any]:
    state = state_of(instance)
    if state.name != "running":
        return {"Status": "not-applicable"}
    passed = time.time() >= state.ready_at
    word, detail = ("ok", "passed") if passed else ("initializing", "initializing")
    return {"Details": [{"Name": "reachability", "Status": detail}], "Status": word}


def _reboot(instance: Instance) -> None:
    """A reboot leaves the instance `running`; its machine is down for a moment (see fleet)."""
    state_of(instance).reboots += 1


def turn(instance: Instance, how: str) -> None:
    """What EC2 does when the system on an instance does a `reboot` or `poweroff` by itself.

    InstanceInitiatedShutdownBehavior decides between stopping and terminating it.
    """
    if state_of(instance).aim != "running":
        return
    if how == "reboot":
        _reboot(instance)
    elif instance.instance_initiated_shutdown_behavior == "terminate":
        instance.terminate()
    else:
        instance.stop()


def _nat_state(gateway: NatGateway) -> str:
    aim, since = gateway.__dict__["aim"]
    transitional = {"available": "pending", "deleted": "deleting"}.get(aim, aim)
    return str(aim if time.time() - since >= NAT_SECONDS else transitional)


def _set_nat_state(gateway: NatGateway, aim: str) -> None:
    gateway.__dict__["aim"] = (aim, time.time())


def mend(*, boot_seconds: float, ssh_seconds: float) -> None:
    """Gives instances and NAT gateways the states between states."""
    TimedState.boot_seconds, TimedState.ssh_seconds = boot_seconds, ssh_seconds
    replace(instances, InstanceState=TimedState)
    replace(Instance, instance_status=property(_checks), system_status=property(_checks), reboot=_reboot)
    replace(nat_gateways, random_private_ip=lambda: None)  # its interface takes one of the subnet's
    add(NatGateway, state=property(_nat_state, _set_nat_state))
