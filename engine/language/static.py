"""What can be told of templates without evaluating them: names, outputs, and what may be used where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from engine.errors import Problem
from engine.language.builtins import LAB, LOOP
from engine.language.document import Node, content
from engine.language.jinja import Use, Wrong
from engine.language.playbook import Playbook, Written
from engine.language.problems import Problems
from engine.language.words import BUILTIN, did_you_mean
from engine.refs import Template
from engine.tags import FIELD as TAGS
from engine.templating import check_names, check_output, templates

_GROUP_METHODS = ("keys", "values", "items")


class KnownNames:
    """The names that a playbook's templates may use, and what can be said of a use."""

    def __init__(self, playbook: Playbook) -> None:
        self._entries = {entry.name: entry for entry in playbook.entries}
        self.outer = frozenset({*playbook.variables, *BUILTIN})
        self._resources = frozenset({*self._entries, *playbook.unread})
        self._all = self.outer | self._resources

    def check(self, template: Template, *, looped: bool = False) -> Iterator[Problem]:
        """What is wrong with the names in a template that may use resources."""
        return check_names(template, self._all | LOOP if looped else self._all, self._use)

    def check_early(self, template: Template, what: str, *, looped: bool = False) -> Iterator[Problem]:
        """What is wrong with the names in a template that must be known before anything is made."""

        def no_resource(use: Use) -> None:
            if use.name in self._resources:
                words = f"{what} must be known before anything is made, and `{use.name}` is a resource"
                raise Wrong(words, "use variables only")
            self._use(use)

        return check_names(template, self._all | LOOP if looped else self._all, no_resource)

    def _use(self, use: Use) -> None:
        if use.name == "lab" and use.steps and use.steps[0] not in LAB:
            raise Wrong(f"`lab` has no `{use.steps[0]}`", did_you_mean(str(use.steps[0]), LAB, "it has"))
        entry = self._entries.get(use.name)
        if entry is None or not use.steps:
            return
        if entry.loop is None:
            self._use_of_one(entry, use.steps[0])
        else:
            self._use_of_loop(entry, use.steps)

    def _use_of_one(self, entry: Written, step: str | int) -> None:
        if isinstance(step, int):
            raise Wrong(f"`{entry.name}` is one resource, not a list", f"write `{entry.name}.OUTPUT`")
        check_output(entry.kind, entry.name, step)

    def _use_of_loop(self, entry: Written, steps: tuple[str | int, ...]) -> None:
        name, first = entry.name, steps[0]
        if isinstance(first, str) and (first in entry.kind.outputs or first in entry.kind.model_fields):
            remedy = f"write `{name}[0].{first}`, or `{name} | map(attribute='{first}') | list`"
            raise Wrong(f"`{name}` is a loop, not one resource", remedy)
        if len(steps) > 1 and isinstance(steps[1], str) and first not in _GROUP_METHODS:
            check_output(entry.kind, f"{name}[{first}]", steps[1])


def check_playbook(playbook: Playbook, problems: Problems) -> None:
    """Problems with the names in the templates of `playbook`, also in branches that no evaluation takes."""
    names = KnownNames(playbook)
    for variable in playbook.variables.values():
        for written in (variable.default, variable.source):
            _early(names, written, "a variable", problems)
    for entry in playbook.entries:
        _check_entry(entry, names, problems)


def _check_entry(entry: Written, names: KnownNames, problems: Problems) -> None:
    looped = entry.loop is not None
    for node in entry.whens:
        problems.extend(
            names.check_early(when_template(node), "`when`", looped=looped) if _is_text(node) else ()
        )
    if entry.loop is not None and isinstance(entry.loop.value, str):
        _early(names, entry.loop, "`loop`", problems)
    elif entry.loop is not None:
        _early(names, entry.loop, "what a loop goes over", problems)
    for word, node in entry.keywords.items():
        if word != "ssh":
            _early(names, node, f"`{word}`", problems, looped=looped)
    for node in (*entry.depends, *entry.tags):
        _early(names, node, "this", problems, looped=looped)
    for part in (entry.fields, entry.keywords.get("ssh")):
        for template in templates(content(part)) if part is not None else ():
            problems.extend(names.check(template, looped=looped))
    _check_ignored(entry, problems)


def _is_text(node: Node) -> bool:
    return isinstance(node.value, str)


def when_template(node: Node) -> Template:
    """The template of a `when`, which may leave the braces out as Ansible's does."""
    value = content(node)
    return value if isinstance(value, Template) else Template(f"{{{{ {value} }}}}", node.where)


def _early(
    names: KnownNames, node: Node | None, what: str, problems: Problems, *, looped: bool = False
) -> None:
    for template in templates(content(node)) if node is not None else ():
        problems.extend(names.check_early(template, what, looped=looped))


def _check_ignored(entry: Written, problems: Problems) -> None:
    node = entry.keywords.get("ignore_changes")
    if node is None:
        return
    if not node.is_list:
        problems.add(
            node.where, "`ignore_changes` must be a list of fields", "write `ignore_changes: [FIELD]`"
        )
        return
    fields = [*entry.kind.model_fields, *([TAGS] if entry.kind.tagged else [])]
    for item in node.value:
        if item.value not in fields:
            remedy = did_you_mean(str(item.value), fields, "its fields")
            problems.add(item.where, f"{entry.kind.kind} has no field `{item.value}` to ignore", remedy)


def check_values(values: Mapping[str, Node], playbook: Playbook, problems: Problems) -> None:
    """Problems with names in the templates of an inventory's `vars`."""
    names = KnownNames(playbook)
    for node in values.values():
        _early(names, node, "a variable", problems)
