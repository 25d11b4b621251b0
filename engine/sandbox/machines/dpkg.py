"""dpkg and dpkg-query: what is installed."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence

from engine.sandbox.machines.command import Call, Command, options
from engine.sandbox.machines.packages import installed
from engine.sandbox.machines.place import Place

_FIELD = re.compile(r"\$\{([^};]+)(?:;(-?\d+))?\}")


async def dpkg_query(call: Call) -> int:
    """dpkg-query -W [-f FORMAT] [NAME…], -s, -l, -L; dpkg too, with --print-architecture, --configure."""
    given = options(
        call.args,
        values={"-f"},
        same={
            "--showformat": "-f",
            "--show": "-W",
            "--status": "-s",
            "--list": "-l",
            "--listfiles": "-L",
            "--install": "-i",
        },
    )
    if "--print-architecture" in given:
        call.say("amd64")
        return 0
    if "--configure" in given or "--audit" in given:
        return 0
    if "-s" in given:
        return _status(call, given.rest)
    if "-l" in given:
        return _list(call, given.rest)
    if "-W" not in given:
        return call.complain(f"{call.name}: error: need an action option", 2)
    form = given.last("-f", "${binary:Package}\\t${Version}\\n").encode().decode("unicode_escape")
    status, found = 0, {}
    for pattern in given.rest or ["*"]:
        rows = _rows(call.place, pattern.partition(":")[0])
        found.update({_fill("${Package}", row): row for row in rows})
        if not rows:
            status = call.complain(f"dpkg-query: no packages found matching {pattern}")
    for _, row in sorted(found.items()):
        call.say(_fill(form, row), end="")
    return status


def _fill(form: str, row: Mapping[str, str]) -> str:
    return _FIELD.sub(lambda match: _pad(row.get(match[1], ""), match[2]), form)


def _pad(value: str, width: str | None) -> str:
    return (
        value
        if width is None
        else (value.ljust(-int(width)) if width.startswith("-") else value.rjust(int(width)))
    )


def _rows(place: Place, pattern: str) -> list[dict[str, str]]:
    left: dict[str, str] = place.state.get("configured", {})
    found = []
    for name, version in sorted({**left, **installed(place)}.items()):
        if fnmatch.fnmatch(name, pattern):
            there = name in installed(place)
            status = "install ok installed" if there else "deinstall ok config-files"
            found.append(
                {
                    "Package": name,
                    "binary:Package": name,
                    "Version": version,
                    "Status": status,
                    "Architecture": "amd64",
                    "db:Status-Status": status.split()[2],
                    "db:Status-Abbrev": "ii " if there else "rc ",
                    "db:Status-Want": status.split()[0],
                    "source:Package": name,
                }
            )
    return found


def _status(call: Call, names: Sequence[str]) -> int:
    status = 0
    for name in names:
        rows = _rows(call.place, name)
        if not rows:
            status = call.complain(
                f"dpkg-query: package '{name}' is not installed and no information is available"
            )
        for row in rows:
            call.say(
                f"Package: {name}\nStatus: {row['Status']}\nArchitecture: amd64\nVersion: {row['Version']}\n"
            )
    return status


def _list(call: Call, names: Sequence[str]) -> int:
    call.say(
        "Desired=Unknown/Install/Remove/Purge/Hold\n||/ Name           Version      "
        "Architecture "
        "Description\n"
        "+++-==============-============-============-================================="
    )
    status = 0
    for pattern in names or ["*"]:
        rows = _rows(call.place, pattern)
        for row in rows:
            call.say(
                f"{row['db:Status-Abbrev']} {row['Package']:14} {row['Version']:12} amd64 "
                f"       {row['Package']}"
            )
        if not rows:
            status = call.complain(f"dpkg-query: no packages found matching {pattern}")
    return status


async def dpkg(call: Call) -> int:
    """dpkg: what dpkg-query does; installing a file is refused with words."""
    if "-i" in call.args or "--install" in call.args:
        return call.complain(
            "dpkg: error: a simulated machine installs packages by name only; use apt-get install", 2
        )
    return await dpkg_query(call)


COMMANDS: Mapping[str, Command] = {"dpkg": dpkg, "dpkg-query": dpkg_query}
