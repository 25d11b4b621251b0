"""The commands that machines and containers have alike."""

from __future__ import annotations

from collections.abc import Mapping

from engine.sandbox.machines import (
    apt,
    dnf,
    dpkg,
    filesystem,
    listing,
    network,
    sudo,
    system_commands,
    users,
)
from engine.sandbox.machines.command import Command

COMMANDS: Mapping[str, Command] = {
    **filesystem.COMMANDS,
    **listing.COMMANDS,
    **users.COMMANDS,
    **sudo.COMMANDS,
    **apt.COMMANDS,
    **dpkg.COMMANDS,
    **dnf.COMMANDS,
    **network.COMMANDS,
    **system_commands.COMMANDS,
}
