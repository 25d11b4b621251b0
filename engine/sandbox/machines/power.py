"""Turning a machine off or starting it anew from inside: reboot, shutdown, poweroff, halt, systemctl."""

from __future__ import annotations

from collections.abc import Mapping

from engine.sandbox.machines.command import Call, Command, options


def ask(call: Call, how: str) -> int:
    """Has the machine `reboot` or `poweroff` a moment after this command."""
    if call.place.services is None:
        return call.complain("System has not been booted with systemd as init system (PID 1). Can't operate.")
    if not call.login.is_root:
        word = "Reboot" if how == "reboot" else "PowerOff"
        return call.complain(
            "Failed to set wall message, ignoring: Interactive authentication required.\n"
            f"Call to {word} failed: Interactive authentication required."
        )
    call.place.turn(how)
    return 0


async def reboot(call: Call) -> int:
    """reboot, poweroff, halt: now."""
    return ask(call, "reboot" if call.name == "reboot" else "poweroff")


async def shutdown(call: Call) -> int:
    """shutdown [-r | -h | -P | -c] [TIME] [MESSAGE…]; whatever the time, it is now."""
    given = options(call.args, same={"--reboot": "-r", "--poweroff": "-P", "--halt": "-H"})
    if "-c" in given:
        return 0
    return ask(call, "reboot" if "-r" in given else "poweroff")


COMMANDS: Mapping[str, Command] = {
    "reboot": reboot,
    "poweroff": reboot,
    "halt": reboot,
    "shutdown": shutdown,
}
