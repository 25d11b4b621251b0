"""The roster: a CSV with one student a row, and what the columns give their labs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.errors import Where
from engine.language.builtins import slug_of
from engine.language.document import decoded
from engine.language.problems import Problems
from engine.language.words import did_you_mean

_SAFE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?\Z")


@dataclass(frozen=True)
class Student:
    """One row: the student's name, and the variables that its filled cells give."""

    name: str
    where: Where
    values: Mapping[str, str]


def read_roster(path: Path, asked_at: Where, variables: Collection[str], problems: Problems) -> list[Student]:
    """The students in the CSV at `path`, named by the inventory at `asked_at`. Raises Invalid."""
    if not path.is_file():
        remedy = "`students` is a path relative to the inventory"
        problems.add(asked_at, f"there is no roster `{path}`", remedy)
        return []
    text = decoded(path)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((reader.line_num, [cell.strip() for cell in cells]))
    except csv.Error as error:
        problems.add(Where(str(path), reader.line_num), f"is not CSV: {error}")
        return []
    if not rows:
        problems.add(Where(str(path)), "the roster is empty", "its first line names the columns: name, …")
        return []
    line, header = rows[0]
    if not _check_header(header, Where(str(path), line), variables, problems):
        return []
    if len(rows) == 1:
        problems.add(Where(str(path)), "the roster has no students", "write one line for each")
    students = [_student(header, cells, Where(str(path), line), problems) for line, cells in rows[1:]]
    return _told_apart([student for student in students if student is not None], problems)


def _check_header(header: list[str], where: Where, variables: Collection[str], problems: Problems) -> bool:
    if "name" not in header:
        other = next((mark for mark in ";\t|" if mark in header[0]), None)
        if other is not None:
            problems.add(
                where, "the columns are not separated by commas", "save the roster as comma-separated CSV"
            )
        else:
            problems.add(
                where, "the roster has no column `name`", did_you_mean("name", header, "its columns are")
            )
        return False
    for column in dict.fromkeys(header):
        if header.count(column) > 1:
            problems.add(where, f"the column `{column}` is there twice")
        if column != "name" and column not in variables:
            remedy = did_you_mean(column, [*variables, "name"], "the playbook's variables are")
            problems.add(where, f"the column `{column}` is no variable of the playbook", remedy)
    return True


def _student(header: list[str], cells: list[str], where: Where, problems: Problems) -> Student | None:
    if len(cells) != len(header):
        problems.add(where, f"this row has {len(cells)} cells, the header has {len(header)}")
        return None
    row = dict(zip(header, cells, strict=True))
    name = row.pop("name")
    if not _SAFE.match(name):
        remedy = "use letters, digits, `.`, `_` and `-`; it becomes part of names at AWS"
        problems.add(where, f"`{name}` cannot name a lab" if name else "the student has no name", remedy)
        return None
    return Student(name, where, {column: cell for column, cell in row.items() if cell})


def _told_apart(students: list[Student], problems: Problems) -> list[Student]:
    seen: dict[str, Student] = {}
    for student in students:
        first = seen.setdefault(slug_of(student.name), student)
        if first is student:
            continue
        if first.name == student.name:
            problems.add(
                student.where, f"`{student.name}` is there twice; the first is on line {first.where.line}"
            )
        else:
            what = f"`{student.name}` cannot be told from `{first.name}` on line {first.where.line}"
            problems.add(student.where, what, "names at AWS keep only small letters, digits and dashes")
    return list(seen.values())
