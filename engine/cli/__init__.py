"""The command line: argv, exit codes and prompts; the only place that prints or exits."""

from __future__ import annotations

import sys


def main() -> None:
    """What `labctl` runs. Little is imported until it is known what is asked for."""
    from engine.cli.guard import run

    sys.exit(run(sys.argv[1:]))
