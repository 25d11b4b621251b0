"""From failures to words and exit codes (design §5); no traceback reaches a user."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import tempfile
import threading
import traceback
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import click

from engine.cli.app import app
from engine.cli.terminal import Terminal, make_writable, source_line
from engine.errors import Invalid, LabctlError

INTERRUPTED = 130
INVALID = 3
FAILED = 1
_NOWHERE = dict.fromkeys((errno.ENOSPC, errno.EIO, errno.EDQUOT), "The output cannot be written: ")


def run(argv: list[str]) -> int:
    """Carry out one command line; its exit code."""
    make_writable()
    terminal = Terminal()
    _catch_bugs(terminal)
    try:
        return _run(argv, terminal)
    except BrokenPipeError:
        # Whoever read the output has had enough; nothing more can be told to them.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        place = f"{error.filename}: " if error.filename else _NOWHERE.get(error.errno or 0, "")
        with contextlib.suppress(OSError):
            terminal.say(f"Error: {place}{error.strerror or error}.")
        return FAILED


def _run(argv: list[str], terminal: Terminal) -> int:
    try:
        code = app.main(args=argv, prog_name="labctl", standalone_mode=False, obj=terminal)
    except click.UsageError as error:
        return _usage(error, terminal)
    except (KeyboardInterrupt, click.Abort):
        terminal.say("\nInterrupted; nothing was changed.")
        _leave(INTERRUPTED)
    except Invalid as error:
        from engine.render.problems import problems_text

        terminal.say(problems_text(error.problems, source_line, paint=terminal.message_paint))
        return INVALID
    except LabctlError as error:
        terminal.error(error)
        return error.exit_code
    return code if isinstance(code, int) else 0


def _usage(error: click.UsageError, terminal: Terminal) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        terminal.say(error.format_message())
        return INVALID
    terminal.say(f"Error: {error.format_message()}")
    if error.ctx is not None:
        terminal.say(f"  {error.ctx.command_path} --help says more.")
    return INVALID


def _leave(code: int) -> None:
    """Leave at once: threads that still wait for an answer do not hold the user up."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(code)


def _catch_bugs(terminal: Terminal) -> None:
    """Whatever nobody expected becomes a message that names a file with the details."""

    def bug(sort: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(sort, KeyboardInterrupt):
            _leave(INTERRUPTED)
        text = terminal.masked("".join(traceback.format_exception(sort, error, trace)))
        what = terminal.masked(f"{sort.__name__}: {error}".strip().splitlines()[0])
        sys.stderr.write(f"Error: this is a bug in labctl: {what}\n  Details: {_keep(text)}\n")

    def bug_in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            bug(args.exc_type, args.exc_value, args.exc_traceback)

    sys.excepthook = bug
    threading.excepthook = bug_in_thread


def _keep(text: str) -> str:
    name = f"bug-{datetime.now(UTC):%Y%m%d-%H%M%S}.log"
    for folder in (Path(".labctl"), Path(tempfile.gettempdir())):
        path = folder / name
        with contextlib.suppress(OSError):
            path.touch(mode=0o600)
            path.write_text(text, encoding="utf-8")
            return str(path)
    return "(no file could be written)\n" + text
