"""The names that the templates of one lab see: variables, built-in names, and the labs that it uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from engine.addresses import joined
from engine.errors import Invalid
from engine.lab import Lab, Use, UsedLab
from engine.language.document import Node
from engine.language.entries import Included
from engine.language.playbook import Playbook
from engine.language.problems import Problems
from engine.language.secrets import Outside
from engine.language.variables import Given, Names, Settings, filled_early, resolve
from engine.language.views import UsedOutputs
from engine.local_files import shown
from engine.refs import UNKNOWN, Unknown, leaves


@dataclass(frozen=True)
class Naming:
    """Gives the playbook of a lab, and those that it includes, their names."""

    lab: str
    inventory: str
    """The inventory's name: where another lab's name does not tell one, this is meant."""
    ledger: str
    builtin: Mapping[str, Callable[[], Any]]
    outside: Outside
    problems: Problems
    secrets: set[str] = field(default_factory=set)
    """The values of secrets, as they become known."""
    used: dict[str, UsedLab | Unknown] = field(default_factory=dict)
    """The labs that are used, by what they are called: `base`, `net.base` in an included playbook."""
    views: dict[str, UsedOutputs] = field(default_factory=dict)
    """By the same names, what templates see of them."""

    def own(self, book: Playbook, given: Mapping[str, Given], missing: str) -> Names:
        """The names of the lab's own playbook; `missing` says what to do about a variable without a value."""
        return self._names("", book, given, missing)

    def included(self, path: str, entry: Included, given: Mapping[str, Given]) -> Names:
        """The names of an included playbook."""
        assert entry.book is not None
        where = next(iter(entry.given.keys.values()), entry.where)
        missing = f"set `{{name}}` under `vars` of the include at {where.file}:{where.line}"
        return self._names(path, entry.book, given, missing)

    def _names(self, path: str, book: Playbook, given: Mapping[str, Given], missing: str) -> Names:
        settings = Settings(
            variables=book.variables,
            given=given,
            builtin=self.builtin,
            outside=self.outside,
            missing=missing,
            secrets=self.secrets,
            space=path,
            uses={
                called: partial(self._view, joined(path, called), node) for called, node in book.uses.items()
            },
        )
        names = resolve(settings, self.problems)
        self.problems.hide(self.secrets)
        return names

    # -- other labs ------------------------------------------------------------------------------------------

    def _view(self, called: str, node: Node, names: Names) -> UsedOutputs:
        self.used[called] = self._found(node, names)
        lab = self.used[called]
        if not isinstance(lab, Unknown):
            ask = partial(self._asked, lab)
            lab = UsedLab(lab.name, lab.outputs, lab.sensitive, lab.hosts, lab.uses, ask)
        self.views[called] = UsedOutputs(lab)
        return self.views[called]

    def _asked(self, lab: UsedLab, output: str) -> Any:
        """A sensitive output of another lab; from now on no message shows it."""
        value = lab.ask(output)
        if not isinstance(value, Unknown):
            self.secrets.update(leaf for leaf in leaves(value) if isinstance(leaf, str))
            self.problems.hide(self.secrets)
        return value

    def _found(self, node: Node, names: Names) -> UsedLab | Unknown:
        """The lab that `node` names; UNKNOWN, and a problem, where there is none to be used."""
        name = self._name(node, names)
        if name is None:
            return UNKNOWN
        if name == self.lab:
            self.problems.add(node.where, f"`{name}` is this lab: it cannot use itself")
            return UNKNOWN
        lab = self.outside.used_lab(self.ledger, name)
        if lab is None:
            words = f"the lab `{name}` was never applied here (ledger {shown(Path(self.ledger))})"
            self.problems.add(node.where, words, f"apply it first{_command(name, Path(node.where.file))}")
            return UNKNOWN
        if not isinstance(lab, Unknown) and self.lab in lab.uses:
            words = f"`{name}` uses this lab, or uses one that does: two labs cannot use each other"
            self.problems.add(node.where, words, "let one of the two do without the other")
        return lab

    def _name(self, node: Node, names: Names) -> str | None:
        try:
            value = filled_early(node, names)
        except Invalid as invalid:
            self.problems.extend_elsewhere(invalid.problems)
            return None
        if not isinstance(value, str) or not value:
            self.problems.add(node.where, "the name of the lab is not known before anything is made")
            return None
        return value if "@" in value else f"{value}@{self.inventory}"

    def used_hosts(self) -> dict[str, tuple[str, str]]:
        """By what a `via` calls it, the lab and the address of each host of another lab."""
        return {
            f"{called}.{host}": (lab.name, host)
            for called, lab in self.used.items()
            if not isinstance(lab, Unknown)
            for host in sorted(lab.hosts)
        }

    def uses(self, lab: Lab) -> tuple[Use, ...]:
        """What `lab`, once everything in it was looked at, uses of other labs."""
        found: dict[str, Use] = {}
        vias = {each.ssh.via for each in lab.resources.values() if each.ssh is not None and each.ssh.via}
        for called, used in self.used.items():
            if isinstance(used, Unknown):
                continue
            before = found.get(used.name, Use(used.name))
            hosts = {host for host in used.hosts if f"{called}.{host}" in vias}
            outputs = self.views[called].read_of
            found[used.name] = Use(used.name, before.outputs | outputs, before.hosts | hosts)
        return tuple(found.values())


def _command(name: str, beside: Path) -> str:
    """The command that applies the lab `name`, where its playbook lies beside the one that uses it."""
    playbook, _, inventory = name.partition("@")
    path = beside.with_name(f"{playbook}.yml")
    if not path.is_file():
        return ""
    inventory, _, student = inventory.partition("/")
    words = ["labctl apply", str(path), *([f"-i {inventory}"] if inventory != "sandbox" else [])]
    return f": {' '.join([*words, *([f'--student {student}'] if student else [])])}"
