"""The commands of `labctl` by name; what a command needs is imported when it is called."""

from __future__ import annotations

import importlib

import click

from engine import __version__

_COMMANDS = {
    "validate": ("looking", "check a playbook and its inventory, without the cloud"),
    "plan": ("changing", "what would happen, and what it costs"),
    "apply": ("changing", "make it so; with nothing named, exactly the plan last printed here"),
    "destroy": ("changing", "leave nothing behind"),
    "show": ("looking", "what the ledger remembers having made"),
    "output": ("looking", "the lab's outputs, or one of them"),
    "history": ("looking", "what was done, when, and how it ended"),
    "check": ("looking", "look at the result as a stranger would"),
    "graph": ("looking", "the plan's steps and what comes before what, for Graphviz"),
    "ssh": ("looking", "log in to a host of the lab, or run a command there"),
    "schema": ("keeping", "the JSON Schema of playbooks, for editors"),
    "init": ("keeping", "copy a playbook that ships with its templates and inventories"),
    "use": ("keeping", "use an inventory by default in this directory"),
    "unlock": ("keeping", "break the lock that another run holds on a lab"),
    "sandbox": ("keeping", "start, stop, look at or reset the embedded cloud"),
}


class _Lazy(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"engine.cli.{_COMMANDS[name][0]}")
        found: click.Command = getattr(module, name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in _COMMANDS.items()])


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Without -i everything happens on the embedded sandbox, where nothing is billed.",
)
@click.version_option(__version__, "-V", "--version", prog_name="labctl", message="%(prog)s %(version)s")
def app() -> None:
    """Declarative cloud labs: one playbook from the VPC to the container."""
