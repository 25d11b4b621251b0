"""A plan as the shell commands that do the same by hand, in the order in which they must run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from engine.by_hand import Fed
from engine.change import Step


def commands_text(steps: Sequence[tuple[Step, Sequence[str]]], ssh_config: Path) -> str:
    """A shell script: each step's address and cause as a comment, then its commands.

    Commands of things that live on a host are wrapped in the `ssh` that brings them there.
    """
    blocks = ["\n".join(_block(step, commands, ssh_config)) for step, commands in steps]
    return "\n\n".join(blocks) if blocks else "# Nothing to do."


def _block(step: Step, commands: Sequence[str], ssh_config: Path) -> list[str]:
    change = step.change
    cause = f": {change.cause}" if change.cause else ""
    lines = [f"# {step.verb} {step.address} ({change.kind}){cause}"]
    if not commands:
        return [*lines, "# (nothing to run by hand)"]
    host = host_of(step)
    if host is None:
        return [*lines, *commands]
    return [*lines, *(_over_ssh(command, host, ssh_config) for command in commands)]


def host_of(step: Step) -> str | None:
    """The address of the host that a step's thing lives on; None for things of the cloud."""
    change = step.change
    if change.declared is not None and change.declared.host is not None:
        return change.declared.host
    return change.there.entry.host if change.there is not None else None


def _over_ssh(command: str, host: str, ssh_config: Path) -> str:
    if command.startswith("#"):
        return command
    config, name = f"ssh -F {shlex.quote(str(ssh_config))}", shlex.quote(host)
    prefix = f"{config} {name}"
    if isinstance(command, Fed):
        return f"{command.source} | {prefix} {shlex.quote(command)}"
    if "\n" not in command:
        # -n: what is pasted after it is not for the host.
        return f"{config} -n {name} {shlex.quote(command)}"
    return f"{prefix} sh -eu <<'END_OF_COMMANDS'\n{command}\nEND_OF_COMMANDS"
