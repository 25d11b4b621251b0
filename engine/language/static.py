"""What can be told of templates without evaluating them: names, outputs, and what may be used where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from engine.errors import Problem
from engine.language.builtins import LAB, LOOP
from engine.language.document import Node, content
from engine.language.entries import Included, Written
from engine.language.evaluation import Wrong
from engine.language.jinja import Use
from engine.language.playbook import Playbook
from engine.language.problems import Problems
from engine.language.views import check_output
from engine.language.words import BUILTIN, did_you_mean
from engine.refs import Template
from engine.tags import FIELD as TAGS
from engine.templating import check_names, templates

_GROUP_METHODS = ("keys", "values", "items")


class KnownNames:
    """The names that a playbook's templates may use, and what can be said of a use."""

    def __init__(self, playbook: Playbook) -> None:
        self._entries = {part.name: part for part in playbook.parts}
        self.outer = frozenset({*playbook.variables, *playbook.uses, *BUILTIN})
        self.made = frozenset({*self._entries, *playbook.unread})
        """What is not known before anything is made: resources, and what is included."""
        self._all = self.outer | self.made

    def check(self, template: Template, *, looped: bool = False) -> Iterator[Problem]:
        """What is wrong with the names in a template that may use resources."""
        return check_names(template, self._all | LOOP if looped else self._all, self._use)

    def check_early(self, template: Template, what: str, *, looped: bool = False) -> Iterator[Problem]:
        """What is wrong with the names in a template that must be known before anything is made."""

        def no_resource(use: Use) -> None:
            if use.name in self.made:
                entry = self._entries.get(use.name)
                sort = "an included playbook" if isinstance(entry, Included) else "a resource"
                words = f"{what} must be known before anything is made, and `{use.name}` is {sort}"
                raise Wrong(words, "use variables only")
            self._use(use)

        return check_names(template, self._all | LOOP if looped else self._all, no_resource)

    def _use(self, use: Use) -> None:
        if use.name == "lab" and use.steps and use.steps[0] not in LAB:
            raise Wrong(f"`lab` has no `{use.steps[0]}`", did_you_mean(str(use.steps[0]), LAB, "it has"))
        entry = self._entries.get(use.name)
        if entry is not None:
            _use_of(entry, use.name, use.steps)


def _use_of(entry: Written | Included, name: str, steps: tuple[str | int, ...]) -> None:
    """Raise Wrong where `steps` lead nowhere from what the templates call `name`."""
    if not steps:
        return
    if isinstance(entry, Included):
        _use_of_include(entry, name, steps)
    elif entry.loop is None:
        _use_of_one(entry, name, steps[0])
    else:
        _use_of_loop(entry, name, steps)


def _use_of_include(entry: Included, name: str, steps: tuple[str | int, ...]) -> None:
    book = entry.book
    if book is None or (entry.loop is not None and steps[0] in _GROUP_METHODS):
        return
    first, there = steps[0], _told_by(book)
    if entry.loop is not None:
        if isinstance(first, str) and first in there:
            remedy = f"write `{name}[0].{first}`, or `{name} | map(attribute='{first}') | list`"
            raise Wrong(f"`{name}` is included in a loop, not once", remedy)
        name, steps = f"{name}[{first}]", steps[1:]
        if not steps:
            return
        first = steps[0]
    if isinstance(first, int):
        raise Wrong(f"`{name}` is included once, not in a loop", f"write `{name}.OUTPUT`")
    if first not in there:
        raise Wrong(f"`{name}` has no `{first}`", did_you_mean(first, there, "it has"))
    inner = there[first]
    if inner is not None:
        _use_of(inner, f"{name}.{first}", steps[1:])


def _told_by(book: Playbook) -> dict[str, Written | Included | None]:
    """What can be read of an included playbook: its outputs, of which no more is known, and its parts."""
    outputs = book.outputs.value if book.outputs is not None and book.outputs.is_mapping else {}
    return {
        **{part.name: part for part in book.parts},
        **dict.fromkeys(book.unread),
        **dict.fromkeys(outputs),
    }


def _use_of_one(entry: Written, name: str, step: str | int) -> None:
    if isinstance(step, int):
        raise Wrong(f"`{name}` is one resource, not a list", f"write `{name}.OUTPUT`")
    check_output(entry.kind, name, step)


def _use_of_loop(entry: Written, name: str, steps: tuple[str | int, ...]) -> None:
    first = steps[0]
    if isinstance(first, str) and (first in entry.kind.outputs or first in entry.kind.model_fields):
        remedy = f"write `{name}[0].{first}`, or `{name} | map(attribute='{first}') | list`"
        raise Wrong(f"`{name}` is a loop, not one resource", remedy)
    if len(steps) > 1 and isinstance(steps[1], str) and first not in _GROUP_METHODS:
        check_output(entry.kind, f"{name}[{first}]", steps[1])


def check_playbook(playbook: Playbook, problems: Problems) -> None:
    """Problems with the names in the templates of `playbook`, also in branches that no evaluation takes.

    Those of the playbooks that it includes, too.
    """
    for book in playbook.books():
        names = KnownNames(book)
        for variable in book.variables.values():
            for written in (variable.default, variable.source):
                _early(names, written, "a variable", problems)
        for node in book.uses.values():
            _early(names, node, "the name of a lab", problems)
        for entry in book.parts:
            _check_part(entry, names, problems)
        if book is not playbook:
            _check_outputs(book, names, problems)


def _check_outputs(book: Playbook, names: KnownNames, problems: Problems) -> None:
    """Those of an included playbook: others refer to them before they are looked at by themselves."""
    for template in templates(content(book.outputs)) if book.outputs is not None else ():
        problems.extend(names.check(template))


def _check_part(entry: Written | Included, names: KnownNames, problems: Problems) -> None:
    looped = entry.loop is not None
    _check_keywords(entry, names, problems, looped)
    if isinstance(entry, Included):
        _check_given(entry, names, problems, looped)
        return
    for part in (entry.fields, entry.keywords.get("ssh")):
        for template in templates(content(part)) if part is not None else ():
            problems.extend(names.check(template, looped=looped))
    _check_ignored(entry, problems)


def _check_given(entry: Included, names: KnownNames, problems: Problems, looped: bool) -> None:
    """The `vars` of an include: which there are, and the names in them."""
    for name, where, node in entry.given.items():
        if entry.book is not None and name not in entry.book.variables:
            words = f"the playbook `{entry.book.path}` has no variable `{name}`"
            problems.add(where, words, did_you_mean(name, entry.book.variables, "its variables are"))
        for template in templates(content(node)):
            problems.extend(names.check(template, looped=looped))


def _check_keywords(entry: Written | Included, names: KnownNames, problems: Problems, looped: bool) -> None:
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
