"""iam-policy: what credentials must be allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from engine.cli.options import Asked, greet, lab_options, resolve
from engine.cli.terminal import Terminal


@click.command("iam-policy")
@lab_options
@click.option("--json", "as_json", is_flag=True, help="Say nothing else; it is JSON anyway.")
def iam_policy(terminal: Terminal, asked: Asked, *, as_json: bool) -> int:
    """Print the least IAM policy, as JSON, that plans, applies, checks and destroys the playbook.

    Nobody is asked. Where the inventory names no account, the policy holds for any.
    """
    from engine.outside import Offline
    from engine.permissions import MANAGED_MOST, permissions, size
    from engine.refs import Unknown

    class Noting(Offline):
        """Offline, noting which secrets would be asked for at AWS."""

        def __init__(self) -> None:
            self.secrets: list[Mapping[str, str]] = []

        def secret(self, source: Mapping[str, str]) -> str | Unknown:
            """Unknown: nobody is asked."""
            self.secrets.append(source)
            return super().secret(source)

    request, outside = resolve(asked, terminal), Noting()
    labs = request.labs(outside)
    greet(terminal, labs)
    policy: dict[str, Any] = permissions(labs, outside.secrets)
    terminal.json(policy)
    length = size(policy)
    if not as_json and length > MANAGED_MOST:
        terminal.say(
            f"\nThis policy counts {length} characters, and a managed policy may have {MANAGED_MOST}: "
            "put its statements into two, or into a group's own policies."
        )
    return 0
