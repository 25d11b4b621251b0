"""The first stage: a playbook and an inventory become labs, or every problem with them is told at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from engine.errors import Invalid, Where
from engine.kinds import kinds as all_kinds
from engine.lab import Declared, Lab
from engine.language.builtins import builtin_names, lab_names, slug_of
from engine.language.closing import Closing
from engine.language.expansion import Expander
from engine.language.inventory import Inventory, read_inventory
from engine.language.machines import on_own_machines
from engine.language.needs import Needs, in_order
from engine.language.playbook import Kinds, Playbook, read_playbook
from engine.language.problems import Problems
from engine.language.roster import Student, read_roster
from engine.language.secrets import Outside
from engine.language.static import check_playbook, check_values
from engine.language.variables import Given, Names, Settings, resolve
from engine.language.words import did_you_mean
from engine.local_files import PlaybookFiles
from engine.on_host import OnHost
from engine.refs import UNKNOWN, Ref
from engine.resource import Values
from engine.templating import Filling, Scope

__all__ = ["Outside", "load"]

_LEDGER = ".labctl/labctl.db"


def load(
    playbook: Path | None,
    inventory: Path,
    *,
    variables: Mapping[str, str],
    student: str | None,
    outside: Outside,
    kinds: Kinds | None = None,
) -> list[Lab]:
    """One lab per student of the inventory's roster (or the one asked for), else one.

    `variables` are those of `-e`. Without a playbook the labs are empty. Raises Invalid with every problem.
    """
    problems = Problems()
    given = book = None
    with problems.catching():
        given = read_inventory(inventory, problems)
    with problems.catching():
        book = _read_book(playbook, all_kinds() if kinds is None else kinds, problems)
    if given is None or book is None:
        problems.check()
    assert given is not None
    assert book is not None
    if book.name and given.target.sort == "ssh":
        book = on_own_machines(book, given.machines, all_kinds() if kinds is None else kinds, problems)
    check_playbook(book, problems)
    _check_given(book, given, variables, problems)
    students = _students(given, book, student, problems)
    loading = _Loading(book, given, variables, outside, problems)
    labs = [loading.lab(each) for each in students]
    problems.check()
    return labs


def _read_book(path: Path | None, kinds: Kinds, problems: Problems) -> Playbook:
    return Playbook(Path(), "", {}) if path is None else read_playbook(path, kinds, problems)


def _check_given(book: Playbook, given: Inventory, variables: Mapping[str, str], problems: Problems) -> None:
    if not book.name:
        return
    known = list(book.variables)
    for name in variables:
        if name not in book.variables:
            words = f"-e {name}=…: the playbook has no variable `{name}`"
            problems.add(None, words, did_you_mean(name, known, "its variables are"))
    for name in given.vars:
        if name not in book.variables:
            words = f"the playbook has no variable `{name}`"
            problems.add(given.vars_places[name], words, did_you_mean(name, known, "its variables are"))
    check_values(given.vars, book, problems)


def _students(
    given: Inventory, book: Playbook, asked: str | None, problems: Problems
) -> list[Student | None]:
    if given.students is None:
        if asked is not None:
            words = f"--student {asked}: the inventory `{given.path}` has no roster"
            problems.add(None, words, "write `students: FILE.csv` in it, or leave --student out")
        return [None]
    students: list[Student] = []
    with problems.catching():
        where = given.students_where or Where(str(given.path))
        students = read_roster(given.students, where, book.variables, problems)
    if asked is None:
        return list(students)
    found = [each for each in students if each.name == asked]
    if not found and students:
        names = [each.name for each in students]
        words = f"--student {asked}: there is no such student in `{given.students}`"
        problems.add(None, words, did_you_mean(asked, names, "there are"))
    return list(found)


@dataclass(frozen=True)
class _Loading:
    """Makes labs of one playbook and inventory."""

    book: Playbook
    given: Inventory
    variables: Mapping[str, str]
    outside: Outside
    problems: Problems

    def lab(self, student: Student | None) -> Lab:
        """The lab of one student, or the only one."""
        lab = self._bare(student)
        expansion = Expander(self.book, lab, self.problems).expand()
        # What refers to something broken is not wrong for that: it cannot be told yet.
        extra = {**dict.fromkeys(expansion.broken, UNKNOWN), **{name: [] for name in expansion.empty}}
        names = lab.names.extended(extra) if isinstance(lab.names, Names) and extra else lab.names
        lab = replace(lab, names=names, resources=expansion.declared, skipped=frozenset(expansion.skipped))
        uses, wrong = self._first_look(lab)
        lab = replace(lab, resources=Needs(expansion, lab, self.problems).with_needs(uses))
        known = self._second_look(lab, uses, wrong, in_order(lab.resources, self.problems))
        closing = Closing(self.book, lab, Scope(lab, known), self.problems)
        outputs, sensitive = closing.outputs()
        return replace(lab, outputs=outputs, sensitive_outputs=sensitive, checks=closing.checks())

    def _bare(self, student: Student | None) -> Lab:
        """The lab without its resources."""
        given = self.given
        name = "@".join(part for part in (self.book.name, given.path.stem) if part)
        name = f"{name}/{student.name}" if student is not None else name
        who = student.name if student is not None else None
        about = lab_names(
            name, who, given.expires, given.target.sort, given.target.region, given.machines.groups
        )
        settings = Settings(
            variables=self.book.variables,
            given=self._values(student),
            builtin=builtin_names(about, self.outside),
            outside=self.outside,
            missing=self._where_to_set(),
        )
        names = resolve(settings, self.problems)
        self.problems.hide(settings.secrets)
        return Lab(
            name=name,
            slug=slug_of(name),
            target=given.target,
            resources={},
            names=names,
            tags=_tags(given, name),
            files=_files(self.book.path),
            secrets=frozenset(settings.secrets),
            playbook=self.book.path if self.book.name else None,
            inventory=given.path,
            student=who,
            expires=given.expires,
            budget=given.budget,
            ledger=given.ledger or str(Path(_LEDGER).absolute()),
            lock_file=given.path.with_suffix(".lock.yml"),
        )

    def _values(self, student: Student | None) -> dict[str, Given]:
        values = {
            name: Given(node, self.given.vars_places.get(name, node.where), "the inventory")
            for name, node in self.given.vars.items()
        }
        if student is not None:
            values |= {
                name: Given(cell, student.where, "the roster") for name, cell in student.values.items()
            }
        return values | {name: Given(text, None, "-e") for name, text in self.variables.items()}

    def _where_to_set(self) -> str:
        given = self.given
        line = f":{given.vars_line}" if given.vars_line is not None else ""
        roster = f", in a column of {given.students}" if given.students is not None else ""
        return f"set `{{name}}` under `vars` in {given.path}{line}{roster}, or with -e {{name}}=…"

    def _first_look(self, lab: Lab) -> tuple[dict[str, set[Ref]], set[str]]:
        """What each resource uses, nothing being known of the others; and which are wrong."""
        uses: dict[str, set[Ref]] = {}
        wrong: set[str] = set()
        scope = Scope(lab, {})
        for address, declared in lab.resources.items():
            filling = Filling(scope, declared)
            try:
                filling.construct()
            except Invalid as invalid:
                self.problems.extend_elsewhere(invalid.problems)
                wrong.add(address)
            uses[address] = filling.touched
        return uses, wrong

    def _second_look(
        self, lab: Lab, uses: Mapping[str, set[Ref]], wrong: set[str], order: list[str]
    ) -> dict[str, Values]:
        """What is wanted of each resource, known to those that use it, so that they can be judged too."""
        known: dict[str, Values] = {}
        scope = Scope(lab, known)
        for address in order:
            if address in wrong:
                continue
            declared = lab.resources[address]
            with self.problems.catching():
                resource = Filling(scope, declared).construct()
                known[address] = resource.wanted()
                if isinstance(resource, OnHost):
                    self._check_natural_id(resource, declared)
        return known

    def _check_natural_id(self, resource: OnHost, declared: Declared) -> None:
        try:
            named = isinstance(resource.natural_id(), str)
        except (AttributeError, TypeError):
            named = False
        if not named:
            words = f"what `{declared.address}` is called on its host hangs on something not made yet"
            self.problems.add(
                declared.where, words, "use variables, or what the playbook says of other resources"
            )


def _tags(given: Inventory, name: str) -> dict[str, str]:
    tags = {**given.tags, "labctl:lab": name}
    return tags if given.expires is None else {**tags, "labctl:expires": given.expires.isoformat()}


def _files(playbook: Path) -> PlaybookFiles:
    folder = playbook.absolute().parent
    places = dict.fromkeys([folder, folder.parent / "templates", Path("templates").absolute()])
    return PlaybookFiles(tuple(places))
