"""cloud-init: how its first boot went, and what a `#cloud-config` asks for."""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from engine.sandbox.machines.command import Call, Command
from engine.sandbox.machines.place import Place
from engine.sandbox.machines.shell import Run, execute


async def cloud_init(call: Call) -> int:
    """cloud-init status [--wait] [--long]."""
    state = call.place.state.get("cloud_init", "done")
    if call.args[:1] != ["status"]:
        return call.complain("usage: cloud-init status [--wait] [--long]", 2)
    call.say(f"status: {state}")
    if "--long" in call.args or "-l" in call.args:
        call.say(
            "detail:\nDataSourceEc2Local"
            if state == "done"
            else "detail:\n('scripts_user', RuntimeError('Runparts: 1 failures'))"
        )
    return 1 if state == "error" else 0


async def cloud_config(place: Place, text: str) -> tuple[int, str]:
    """Do what a `#cloud-config` asks for: write_files, packages, runcmd; exit status and the log."""
    try:
        asked = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        return 1, f"Failed loading yaml blob. {error}\n"
    for file in asked.get("write_files", []):
        place.disk.write(
            file["path"], str(file.get("content", "")), int(str(file.get("permissions", "0644")), 8)
        )
    lines = []
    if asked.get("package_update") or asked.get("packages"):
        lines.append("apt-get update")
    if asked.get("packages"):
        lines.append(f"apt-get install -y {' '.join(map(str, asked['packages']))}")
    for command in [*asked.get("bootcmd", []), *asked.get("runcmd", [])]:
        lines.append(command if isinstance(command, str) else " ".join(f"'{word}'" for word in command))
    log, status = "", 0
    for line in lines:
        result = await execute(Run(place, place.login("root"), line, cwd="/"))
        log += (result.stdout + result.stderr).decode(errors="replace")
        status = status or result.status
    return status, log


COMMANDS: Mapping[str, Command] = {"cloud-init": cloud_init}
