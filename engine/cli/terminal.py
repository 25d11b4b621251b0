"""Where text goes: results to stdout, progress and messages to stderr, everything masked."""

from __future__ import annotations

import codecs
import getpass
import io
import json
import linecache
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from engine.errors import Invalid, LabctlError, Problem, Where
from engine.render.paint import Paint

_PLAIN = {"…": "...", "→": "->", "·": "-", "“": '"', "”": '"', "’": "'", "–": "-", "—": "-"}
"""For terminals that know ASCII only."""


def make_writable() -> None:
    """See to it that stdout and stderr are there and take any text, whatever the locale is."""
    codecs.register_error("labctl", _in_plain)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(nowhere, "r" if name == "stdin" else "w", encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="labctl")


def source_line(where: Where) -> str | None:
    """The line of the user's file that a problem stands in."""
    return linecache.getline(where.file, where.line) or None


def _in_plain(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that cannot be written."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    piece = error.object[error.start : error.end]
    return "".join(_PLAIN.get(character, "?") for character in piece), error.end


class Terminal:
    """One command's way to talk. `mask` takes secrets out of every text; it is set once they are known."""

    def __init__(self) -> None:
        self.no_color = False
        self.verbose = False
        self._greeted = False
        self._held: list[str] = []
        self._mask: Callable[[str], str] = str
        self._mask_value: Callable[[Any], Any] = lambda value: value

    def hide(self, secrets: Iterable[str]) -> None:
        """Mask the values of `secrets` in everything from now on."""
        from engine.masking import Masker

        masker = Masker(secrets)
        self._mask, self._mask_value = masker.text, masker.value

    @property
    def width(self) -> int:
        """Columns to fill: the terminal's, between 60 and 120; 80 where there is none."""
        return min(max(shutil.get_terminal_size((80, 24)).columns, 60), 120)

    @property
    def paint(self) -> Paint:
        """Colours for results."""
        return Paint(self._colours(sys.stdout))

    @property
    def message_paint(self) -> Paint:
        """Colours for messages."""
        return Paint(self._colours(sys.stderr))

    @property
    def live(self) -> bool:
        """Whether messages go to a terminal that can redraw lines."""
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def _colours(self, stream: TextIO) -> bool:
        return stream.isatty() and not self.no_color and not os.environ.get("NO_COLOR")

    def out(self, text: str, *, secret: bool = False) -> None:
        """A result; with `secret` as it is, because it was asked for by name."""
        sys.stdout.write((text if secret else self._mask(text)) + "\n")
        sys.stdout.flush()

    def greet(self, text: str) -> None:
        """The first line, which says where the command acts; then what was to be said after it."""
        held, self._held = self._held, []
        self._greeted = True
        for line in (text, *held):
            self.say(line)

    def after_greeting(self, text: str) -> None:
        """A message that waits for the first line to be out."""
        if self._greeted:
            self.say(text)
        else:
            self._held.append(text)

    def say(self, text: str) -> None:
        """A message."""
        sys.stderr.write(self._mask(text) + "\n")
        sys.stderr.flush()

    def error(self, error: LabctlError) -> None:
        """What is wrong, and what to do about it, as a message."""
        from engine.render.problems import error_text

        self.say(error_text(error, paint=self.message_paint))

    def json(self, document: Any, *, indent: int | None = 2, secret: bool = False) -> None:
        """A JSON document as the result; with `indent=None` on one line."""
        from engine.render.values import as_data

        data = as_data(document)
        shown = data if secret else self._mask_value(data)
        self.out(json.dumps(shown, indent=indent, ensure_ascii=False), secret=True)

    def masked(self, text: str) -> str:
        """`text` without secrets."""
        return self._mask(text)

    def passphrase(self, question: str) -> str | None:
        """What the user types, unseen; None where nobody sits at a terminal, or says nothing."""
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return None
        try:
            return getpass.getpass(question, sys.stderr) or None
        except EOFError:
            return None

    def ask(self, question: str, answer: str) -> bool:
        """Whether the user types `answer`. Raises Invalid where nobody can be asked."""
        sys.stderr.write(f"{question} ")
        sys.stderr.flush()
        given = sys.stdin.readline()
        if not given:
            sys.stderr.write("\n")
            raise Invalid(
                [Problem(None, "Nobody is there to answer.", "Add --yes to go ahead without asking.")]
            )
        return given.strip() == answer
