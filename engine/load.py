"""The first stage: a playbook and an inventory become labs, or every problem with them is told at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from engine.errors import Invalid, Where
from engine.kinds import kinds as all_kinds
from engine.lab import Check, Declared, Lab
from engine.language.builtins import builtin_names, lab_names, slug_of
from engine.language.closing import Closing
from engine.language.entries import Kinds
from engine.language.expansion import Expander, Expansion
from engine.language.inventory import Inventory, read_inventory
from engine.language.machines import on_own_machines
from engine.language.naming import Naming
from engine.language.needs import Needs, in_order
from engine.language.playbook import Playbook, read_playbook
from engine.language.problems import Problems
from engine.language.roster import Student, read_roster
from engine.language.secrets import Outside
from engine.language.static import check_playbook, check_values
from engine.language.variables import Given
from engine.language.words import did_you_mean
from engine.on_host import OnHost
from engine.refs import Ref
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
        naming = self._naming(student)
        lab = self._bare(student, naming)
        expansion = Expander(self.book, lab, naming.included, self.problems).expand()
        lab = replace(
            lab,
            names=expansion.names_of("", lab.names),
            resources=expansion.declared,
            skipped=frozenset(expansion.skipped),
            spaces={
                path: replace(space, names=expansion.names_of(path, space.names))
                for path, space in expansion.spaces.items()
            },
            used_hosts=naming.used_hosts(),
        )
        uses, wrong = self._first_look(lab)
        needs = Needs(expansion, lab, self.problems, naming.used)
        lab = replace(lab, resources=needs.with_needs(uses))
        known = self._second_look(lab, uses, wrong, in_order(lab.resources, self.problems))
        self._check_handed(expansion, lab, known)
        lab = self._closed(expansion, lab, known)
        return replace(lab, secrets=frozenset(naming.secrets), uses=naming.uses(lab))

    def _naming(self, student: Student | None) -> Naming:
        given = self.given
        name = "@".join(part for part in (self.book.name, given.path.stem) if part)
        name = f"{name}/{student.name}" if student is not None else name
        who = student.name if student is not None else None
        about = lab_names(
            name, who, given.expires, given.target.sort, given.target.region, given.machines.groups
        )
        ledger = given.ledger or str(Path(_LEDGER).absolute())
        builtin = builtin_names(about, self.outside)
        return Naming(name, given.path.stem, ledger, builtin, self.outside, self.problems)

    def _bare(self, student: Student | None, naming: Naming) -> Lab:
        """The lab without its resources."""
        given = self.given
        return Lab(
            name=naming.lab,
            slug=slug_of(naming.lab),
            target=given.target,
            resources={},
            names=naming.own(self.book, self._values(student), self._where_to_set()),
            tags=_tags(given, naming.lab),
            files=self.book.files,
            secrets=frozenset(naming.secrets),
            playbook=self.book.path if self.book.name else None,
            inventory=given.path,
            student=student.name if student is not None else None,
            expires=given.expires,
            budget=given.budget,
            ledger=naming.ledger,
            lock_file=given.path.with_suffix(".lock.yml"),
        )

    def _closed(self, expansion: Expansion, lab: Lab, known: Mapping[str, Values]) -> Lab:
        """The lab with its outputs and checks, and those of all that it includes."""
        checks: list[Check] = []
        # The innermost first: what is sensitive there is so further out.
        for path in sorted(lab.spaces, key=lambda path: path.count("."), reverse=True):
            closing = Closing(expansion.books[path], lab, Scope(lab, known, path), self.problems)
            outputs, sensitive = closing.outputs()
            spaces = {**lab.spaces, path: replace(lab.spaces[path], outputs=outputs, sensitive=sensitive)}
            checks += closing.checks()
            lab = replace(lab, spaces=spaces)
        closing = Closing(self.book, lab, Scope(lab, known), self.problems)
        outputs, sensitive = closing.outputs()
        checks = [*closing.checks(), *checks]
        return replace(lab, outputs=outputs, sensitive_outputs=sensitive, checks=tuple(checks))

    def _check_handed(self, expansion: Expansion, lab: Lab, known: Mapping[str, Values]) -> None:
        """What includes hand over of their resources, against the types of the variables."""
        scope = Scope(lab, known)
        for _, name, handed in expansion.handed:
            filling = Filling(scope, names=handed.own, space=handed.space)
            value = filling.of(handed.value)
            self.problems.extend_elsewhere(filling.problems)
            try:
                handed.fit(value)
            except ValueError as error:
                self.problems.add(handed.where, f"the variable `{name}` {error}")

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
