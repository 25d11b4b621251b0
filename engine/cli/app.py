"""The commands of `labctl` by name; what a command needs is imported when it is called."""

from __future__ import annotations

import difflib
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
    "inventory": ("examining", "the lab's hosts as a dynamic inventory of Ansible"),
    "doctor": ("examining", "why a host cannot be worked with, and what mends it"),
    "iam-policy": ("permitting", "the least IAM policy that does all this, as JSON"),
    "schema": ("keeping", "the JSON Schema of playbooks, for editors"),
    "init": ("keeping", "copy a playbook that ships with its templates and inventories"),
    "use": ("keeping", "use an inventory by default in this directory"),
    "recover": ("recovering", "write a lost ledger anew from the tags on what is there"),
    "unlock": ("keeping", "break the lock that another run holds on a lab"),
    "sandbox": ("keeping", "start, stop, look at or reset the embedded cloud"),
}


class _Lazy(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS:
            raise click.UsageError(f"There is no command {args[0]}.{_meant(args[0])}", ctx)
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"engine.cli.{_COMMANDS[name][0]}")
        found: click.Command = getattr(module, name.replace("-", "_"))
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in _COMMANDS.items()])


def _meant(word: str) -> str:
    """What was probably meant, as a sentence to add; empty where nobody can tell."""
    if word.endswith((".yml", ".yaml")):
        return f" A playbook comes after a command: labctl plan {word}"
    near = difflib.get_close_matches(word, _COMMANDS, 1)
    return f" Did you mean {near[0]}?" if near else ""


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Without -i everything happens on the embedded sandbox, where nothing is billed."
    "\n\nExit codes: 0 done, 1 some steps failed, 2 changes pending (--detailed-exitcode), 3 invalid,"
    " 4 locked, 5 target out of reach, 130 interrupted.",
)
@click.version_option(__version__, "-V", "--version", prog_name="labctl", message="%(prog)s %(version)s")
def app() -> None:
    """Declarative cloud labs: one playbook from the VPC to the container."""
