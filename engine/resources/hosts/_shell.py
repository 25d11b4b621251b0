"""What the kinds on hosts share: field types with Unix's rules, quoting, small shell functions."""

from __future__ import annotations

import hashlib
import posixpath
import re
import shlex
from typing import Annotated, Any, Final

from pydantic import BeforeValidator

from engine.refs import Unknown, holds_unknown

FAIL: Final = """\
fail() {
  printf 'labctl: %s\\n' "$1" >&2
  [ $# -lt 2 ] || printf 'labctl-remedy: %s\\n' "$2" >&2
  exit 1
}
"""
"""A shell function that ends the script with words for the user, and a remedy."""

TELL: Final = """\
tell_user() { printf 'labctl-say: %s\\n' "$1" >&2; }
"""
"""A shell function that tells the user at once what the script is waiting for."""


def quote(value: Any) -> str:
    """`value` as one word of a shell script."""
    return shlex.quote(str(value))


def words(*values: Any) -> str:
    """`values` as words of a shell script."""
    return " ".join(quote(value) for value in values)


def known(value: Any) -> bool:
    """Whether `value` is set and nothing in it hangs on what is not made yet."""
    return value is not None and not holds_unknown(value)


def listed(value: Any) -> list[Any]:
    """The items of a list that may be left out; one that is not known yet stands for its items."""
    if value is None:
        return []
    return [value] if isinstance(value, Unknown) else list(value)


def pairs(value: Any) -> list[tuple[str, Any]]:
    """Names and values of a mapping; none where it is left out or not known yet."""
    return list(value.items()) if isinstance(value, dict) else []


def text_hash(text: str) -> str:
    """The value that stands for a text in plans: `sha256:` and the hash of its UTF-8 bytes."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _host_path(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/"):
        raise ValueError("must be a whole path on the host, such as /srv/www")
    if "\n" in value or "\0" in value:
        raise ValueError("a path has no line breaks")
    path = posixpath.normpath(value).replace("//", "/")
    if path == "/":
        raise ValueError("/ itself cannot be managed; name a path below it")
    return path


HostPath = Annotated[str, BeforeValidator(_host_path)]
"""A whole path on a host, without a slash at its end."""


def _mode(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"0?[0-7]{3,4}", value) and len(value.lstrip("0")) <= 4:
        return value.lstrip("0").zfill(4)
    raise ValueError('must be a file mode in octal digits and in quotes, such as "0644"')


Mode = Annotated[str, BeforeValidator(_mode)]
"""Permissions as four octal digits, `"0644"`."""


def _account(value: Any) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(text, str) and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\$?", text):
        return text
    raise ValueError("must be the name (or number) of a user or group: letters, digits, _ . and -")


Account = Annotated[str, BeforeValidator(_account)]
"""The name or number of a user or group on a host."""


def _words(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return shlex.split(value)
        except ValueError as error:
            raise ValueError(f"cannot be split into words as a shell does: {error}") from None
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return [str(item) for item in value]
    raise ValueError("must be a command line, or a list of its words")


Words = Annotated[list[str], BeforeValidator(_words, json_schema_input_type=list[str] | str)]
"""A command as a list of words; a string is split as a shell splits it."""


def _texts(value: Any) -> Any:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return [str(value)]
    return value


Texts = Annotated[list[str], BeforeValidator(_texts, json_schema_input_type=list[str] | str | float)]
"""A list of strings; one string alone is a list of one."""


def _environment(value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError("must be a mapping of names to values")
    for name in value:
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", name):
            raise ValueError(f"{name!r} is no name of an environment variable")
    return {name: _text(item) for name, item in value.items()}


def _variables(value: Any) -> Any:
    values = _environment(value)
    for name in values:
        if not re.fullmatch(r"\w+", name, re.ASCII):
            raise ValueError(f"{name!r} is no name that a shell can export: letters, digits and _")
    return values


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


Environment = Annotated[
    dict[str, str], BeforeValidator(_environment, json_schema_input_type=dict[str, str | bool | float])
]
"""Environment variables; numbers and booleans become text."""

Variables = Annotated[dict[str, str], BeforeValidator(_variables)]
"""Environment variables that a shell can export."""
