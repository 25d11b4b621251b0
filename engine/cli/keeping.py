"""schema, init, use, unlock and sandbox: what goes on around labs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.options import Asked, common_options, lab_options, offline, shown
from engine.cli.terminal import Terminal
from engine.errors import Invalid, LabctlError, Problem

if TYPE_CHECKING:
    from engine.sandbox import Running


@click.command()
@common_options
def schema(terminal: Terminal) -> int:
    """Print the JSON Schema of playbooks, for editors that complete and check while you type."""
    from engine.kinds import kinds
    from engine.language.schema import schema as schema_of

    terminal.json(schema_of(kinds()))
    return 0


@click.command()
@click.argument("name", required=False)
@common_options
def init(terminal: Terminal, name: str | None) -> int:
    """Copy the shipped playbook NAME, its templates and inventories into this folder; overwrites nothing."""
    from engine.starting import names, start, unanswered

    if name is None:
        terminal.out("Playbooks that ship: " + ", ".join(names()))
        return 0
    copied, kept = start(name, Path.cwd())
    for path in copied:
        terminal.out(f"  + {path}")
    for path in kept:
        terminal.out(f"    {path} was there already and is left as it is")
    playbook = Path("playbooks") / f"{name}.yml"
    given = "".join(f" -e {variable}=…" for variable in unanswered(playbook))
    terminal.say(f"\nNext: labctl plan {playbook}{given}")
    return 0


@click.command()
@click.argument("inventory", required=False)
@common_options
def use(terminal: Terminal, inventory: str | None) -> int:
    """Use INVENTORY (a file, or a name in inventory/) by default in this directory, or say which is."""
    from engine.here import Here
    from engine.outside import target_of
    from engine.target import place

    here = Here(Path.cwd())
    path = here.inventory(inventory, {})
    if inventory is not None:
        here.remember(inventory=str(path.resolve()))
    terminal.out(f"{shown(path)} · {place(target_of(path))}")
    return 0


@click.command()
@lab_options
@click.option("--yes", is_flag=True, help="Do not ask.")
def unlock(terminal: Terminal, asked: Asked, *, yes: bool) -> int:
    """Break the lock that another run holds on the lab. Only do so when that run is really over."""
    from engine.session import open_ledger

    for lab in offline(asked, terminal):
        question = (
            f"Break the lock on {lab.name}? A run that still goes on may then collide with yours. Type yes:"
        )
        if not yes and not terminal.ask(question, "yes"):
            terminal.say("Nothing was changed.")
            return 1
        holder = open_ledger(lab.ledger).unlock(lab.name)
        if holder is None:
            terminal.out(f"{lab.name} was not locked.")
        else:
            since = f"{holder.since.astimezone():%Y-%m-%d %H:%M}"
            terminal.out(f"{lab.name}: broke the lock of {holder.who} (process {holder.pid}, since {since}).")
    return 0


@click.group()
def sandbox() -> None:
    """The embedded cloud: an AWS, hosts and a network of its own on this machine."""


def _data(running: Running | None) -> dict[str, Any]:
    if running is None:
        return {"running": False}
    return {
        "running": True,
        "pid": running.pid,
        "aws_endpoint": running.aws_endpoint,
        "socks_proxy": running.socks_proxy,
        "docker_host": running.docker_host,
        "directory": str(running.directory),
    }


def _tell(terminal: Terminal, running: Running | None, as_json: bool) -> None:
    if as_json:
        terminal.json(_data(running))
    elif running is None:
        terminal.out("The sandbox is not running; it starts by itself when a lab needs it.")
    else:
        rows = [
            ("AWS API", f"{running.aws_endpoint}  (credentials labctl / sandbox)"),
            ("network", f"SOCKS5 at {running.socks_proxy}"),
            ("", f"curl --proxy socks5h://{running.socks_proxy} URL"),
            ("images", f"DOCKER_HOST={running.docker_host} builds and pushes them"),
            ("directory", str(running.directory)),
        ]
        from engine.render.paint import columns

        terminal.out("\n".join([f"The sandbox runs (process {running.pid}).", *columns(rows, indent=2)]))


@sandbox.command("start")
@click.option("-i", "--inventory", metavar="FILE", help="Take the sandbox's settings from this inventory.")
@click.option("--json", "as_json", is_flag=True, help="A JSON document instead of text.")
@common_options
def start(terminal: Terminal, *, inventory: str | None, as_json: bool) -> int:
    """Start it, unless it runs already."""
    import os

    from engine import sandbox as cloud
    from engine.here import Here
    from engine.outside import target_of

    target = target_of(Here(Path.cwd()).inventory(inventory, os.environ))
    if target.sort != "sandbox":
        raise Invalid([Problem(None, "This inventory is not for the sandbox.", "Name another one with -i.")])
    _tell(terminal, cloud.ensure(target.sandbox, terminal.say), as_json)
    return 0


@sandbox.command("stop")
@common_options
def stop(terminal: Terminal) -> int:
    """Stop it; what is in it stays for the next start."""
    from engine import sandbox as cloud

    terminal.out("The sandbox is stopped." if cloud.stop() else "The sandbox was not running.")
    return 0


@sandbox.command("status")
@click.option("--json", "as_json", is_flag=True, help="A JSON document instead of text.")
@common_options
def status(terminal: Terminal, *, as_json: bool) -> int:
    """Say whether it runs, and where it listens."""
    from engine import sandbox as cloud

    _tell(terminal, cloud.status(), as_json)
    return 0


@sandbox.command("reset")
@click.option("--yes", is_flag=True, help="Do not ask.")
@common_options
def reset(terminal: Terminal, *, yes: bool) -> int:
    """Stop it and throw away everything in it."""
    from engine import sandbox as cloud

    if not yes and not terminal.ask("Throw away everything in the sandbox? Type yes:", "yes"):
        raise LabctlError("Nothing was changed.")
    cloud.reset()
    terminal.out("The sandbox is empty; it starts by itself when a lab needs it.")
    return 0


@sandbox.command("image")
@common_options
def image(terminal: Terminal) -> int:
    """Build what `hosts: docker` needs: the image of a host, and stand-ins for what cannot be reached."""
    from engine.sandbox.containers.image import build

    names = build(terminal.say)
    terminal.out("The image of hosts is built: write `hosts: docker` in the inventory's `sandbox:`.")
    if names:
        terminal.out(f"Stand-ins answer for what cannot be reached from here: {', '.join(names)}.")
    return 0
