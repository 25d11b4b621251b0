"""From templates to values: what is known is filled in, what hangs on something not made yet is Unknown."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import GeneratorType
from typing import Any

from pydantic import ValidationError

from engine.addresses import MEMBER, joined
from engine.errors import Invalid, Problem, Where
from engine.lab import Declared, Handed, Lab
from engine.language.bounded import GLOBALS
from engine.language.evaluation import Failed, Later, NotKnown, Skipped, View, Wrong
from engine.language.jinja import Compiled, Expression, Use, compiled, defined
from engine.language.validation import problems_of
from engine.language.views import KeyedMembers, Members, ResourceView, SpaceView, members_view, whole_loop
from engine.language.words import BUILTIN, did_you_mean, nearest
from engine.local_files import PlaybookFiles, shown
from engine.refs import UNKNOWN, Ref, Template, Unknown, holds_unknown, leaves
from engine.resource import Files, Resource, Values


class Scope:
    """What templates may use now: the lab's names, and what is known of its resources.

    It keeps a reference to `known` and reads it at each use, so one Scope serves while `known` fills. `space`
    is the path of the included playbook whose names count, where no resource says it.
    """

    def __init__(self, lab: Lab, known: Mapping[str, Values], space: str = "") -> None:
        self.lab = lab
        self.known = known
        self.space = space

    @functools.cached_property
    def groups(self) -> dict[str, dict[str, str]]:
        """For each looped name: member key to address, in order."""
        return _groups(self.lab.resources)

    @functools.cached_property
    def space_groups(self) -> dict[str, dict[str, str]]:
        """For each playbook included in a loop: member key to path, in order."""
        return _groups(self.lab.spaces)


def _groups(addresses: Collection[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for address in addresses:
        member = MEMBER.match(address)
        if member is not None:
            found.setdefault(member["name"], {})[member["key"]] = address
    return found


def scope_of(lab: Lab, known: Mapping[str, Values], space: str = "") -> Scope:
    """What templates of `lab` may use, given what is known of its resources by address.

    A declared address that `known` lacks, or an output missing there, is Unknown. `space` is the path of the
    included playbook whose names count, where no resource says it.
    """
    return Scope(lab, known, space)


def fill(value: Any, scope: Scope, declared: Declared | None = None) -> Any:
    """`value` with the Templates in it, at any depth, replaced by their values; Unknown where not known.

    Raises Invalid with every template that is wrong.
    """
    filling = Filling(scope, declared)
    filled = filling.of(value)
    filling.check()
    return filled


def construct(declared: Declared, scope: Scope) -> Resource:
    """The resource that `declared` asks for, filled in with what is known; a field that is None is unset.

    Raises Invalid with every field that is wrong, at its place in the playbook.
    """
    return Filling(scope, declared).construct()


def references(value: Any, names: Collection[str]) -> frozenset[Ref]:
    """The uses of `names` in the Templates in `value`, at any depth, as they are written, evaluated or not.

    A use of a looped name with a constant key counts for that member (`worker[0]`), else for the name.
    """
    found: set[Ref] = set()
    for template in templates(value):
        try:
            uses = compiled(template.text).uses
        except Wrong as wrong:
            raise Invalid([_problem(wrong, template.where)]) from None
        found.update(_written_ref(use, names) for use in uses if use.name in names or _base(use) in names)
    return frozenset(found)


def templates(value: Any) -> Iterator[Template]:
    """The Templates in `value`, at any depth."""
    return (leaf for leaf in leaves(value) if isinstance(leaf, Template))


def _base(use: Use) -> str:
    return f"{use.name}[{use.steps[0]}]" if use.steps else use.name


def _written_ref(use: Use, names: Collection[str]) -> Ref:
    member = _base(use)
    if use.steps and (member in names or isinstance(use.steps[0], int)):
        return Ref(member, _text(use.steps, 1))
    return Ref(use.name, None if use.indirect else _text(use.steps, 0))


def _text(steps: Sequence[str | int], index: int) -> str | None:
    return str(steps[index]) if index < len(steps) and isinstance(steps[index], str) else None


class Filling:
    """One round of filling in: collects what is wrong, and which outputs were used."""

    def __init__(
        self,
        scope: Scope,
        declared: Declared | None = None,
        names: Mapping[str, Any] | None = None,
        space: str | None = None,
        trail: tuple[str, ...] = (),
    ) -> None:
        self.scope = scope
        self._trail = trail
        self.declared = declared
        said = declared.space if declared is not None else scope.space
        self._path = said if space is None else space
        self._space = scope.lab.space(self._path)
        self._own = names or (declared.names if declared is not None else {})
        self.touched: set[Ref] = set()
        """The outputs used, as far as evaluation tells; where it cannot tell, all that are written."""
        self.problems: list[Problem] = []
        self.sensitive = False
        """Whether an included playbook's output that must be masked was used."""
        self._handed_unknown = False

    def check(self) -> None:
        """Raise Invalid if anything was wrong."""
        if self.problems:
            raise Invalid(list(dict.fromkeys(self._masked(problem) for problem in self.problems)))

    def of(self, value: Any) -> Any:
        """`value` filled in; UNKNOWN in place of a template that is wrong."""
        if isinstance(value, Template):
            try:
                return self._template(value.text)
            except Wrong as wrong:
                self.problems.append(_problem(wrong, value.where))
                return UNKNOWN
        if isinstance(value, Mapping):
            return {key: self.of(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.of(item) for item in value]
        return value

    def construct(self) -> Resource:
        """The declared resource. Raises Invalid."""
        declared = self.declared
        assert declared is not None
        filled = self.of(declared.fields)
        values = {name: value for name, value in filled.items() if value is not None}
        try:
            resource = declared.kind.model_validate(values, context={"files": self._files()})
        except ValidationError as error:
            self.problems.extend(problems_of(error, declared, values))
        except Invalid as invalid:
            self.problems.extend(invalid.problems)
        self.check()
        return resource

    def _files(self) -> Files | None:
        files = self._space.files
        return PlaybookFiles(files.folders, self._file) if isinstance(files, PlaybookFiles) else files

    def _file(self, path: Path, text: str) -> str | Unknown:
        """The text of a template file, filled in."""
        try:
            filled = self._template(text, in_file=True)
        except Wrong as wrong:
            raise Invalid([_problem(wrong, Where(shown(path), wrong.line or 1))]) from None
        return filled if isinstance(filled, str | Unknown) else str(filled)

    def _template(self, text: str, *, in_file: bool = False) -> Any:
        taken = compiled(text)
        if taken.native is not None and not in_file:
            value = self._value(taken.native)
            if isinstance(value, Later):
                return Unknown(value.refs, value.text or text)
            return _leaving(value)
        return self._joined(taken, text)

    def _joined(self, taken: Compiled, text: str) -> str | Unknown:
        made: list[str] = []
        missing: frozenset[Ref] | None = None
        told = True
        for piece in taken.pieces:
            if isinstance(piece, str):
                made.append(piece)
                told = told and "{{" not in piece
                continue
            value = self._value(piece)
            try:
                made.append(str(_whole_text(value)))
            except NotKnown:
                refs = value.refs if isinstance(value, Later) else self._written(piece)
                missing = (missing or frozenset()) | refs
                made.append(_ref_text(refs) or "")
                told = told and bool(made[-1])
        if missing is None:
            return "".join(made)
        # Where that can be said, the text has only what is not known yet left in it.
        return Unknown(missing, "".join(made) if told else text)

    def _value(self, expression: Expression) -> Any:
        self._handed_unknown = False
        try:
            return expression.value(self._lookup)
        except NotKnown:
            pass
        except Failed:
            # Filters and methods stumble over what is not known, each in its own way.
            if not self._handed_unknown:
                raise
        # It looked into something unknown: which branches it would take cannot be told.
        written = self._written(expression)
        self.touched |= written
        return Later(frozenset(ref for ref in written if not self._is_known(ref)))

    def hand_out(self, value: Any, refs: frozenset[Ref] = frozenset()) -> Any:
        """`value` as expressions see it: what is unknown in it becomes Later, hanging on `refs`."""
        if not holds_unknown(value):
            return value
        self._handed_unknown = True
        return _with_later(value, refs)

    def _is_known(self, ref: Ref) -> bool:
        return ref.output is not None and ref.output in self.scope.known.get(ref.address, {})

    def _written(self, expression: Expression) -> frozenset[Ref]:
        """Every output that the expression mentions."""
        return frozenset(ref for use in expression.uses for ref in self._written_refs(use))

    def _written_refs(self, use: Use) -> Iterator[Ref]:
        name = use.name
        if name in self._space.names:
            handed = self._space.names[name]
            if isinstance(handed, Handed):
                yield from self._inside(joined(self._path, name), handed.space, handed.value, handed.own)[1]
            return
        yield from self._refs_below(joined(self._path, name), use.steps, use.indirect)

    def _refs_below(self, address: str, steps: Sequence[str | int], indirect: bool) -> Iterator[Ref]:
        """Every output that `address` with `steps` after it may mean."""
        lab = self.scope.lab
        if address in lab.resources:
            yield Ref(address, _text(steps, 0))
        for key, member in self.scope.groups.get(address, {}).items():
            if not steps or indirect or str(steps[0]) == key:
                yield Ref(member, _text(steps, 1))
        for key, path in self.scope.space_groups.get(address, {}).items():
            if not steps or str(steps[0]) == key:
                yield from self._refs_in_space(path, steps[1:], indirect)
            elif indirect:
                yield from self._refs_in_space(path, steps, indirect)
        if address in lab.spaces:
            yield from self._refs_in_space(address, steps, indirect)

    def _refs_in_space(self, path: str, steps: Sequence[str | int], indirect: bool) -> Iterator[Ref]:
        outputs = self.scope.lab.spaces[path].outputs
        if not steps:
            return
        if steps[0] in outputs:
            name = str(steps[0])
            yield from self._inside(joined(path, name), path, outputs[name], {})[1]
        else:
            yield from self._refs_below(joined(path, str(steps[0])), steps[1:], indirect)

    def _inside(self, what: str, path: str, value: Any, own: Mapping[str, Any]) -> tuple[Any, set[Ref]]:
        """`value`, which stands behind `what`, filled in with the names at `path`; and the outputs used."""
        if what in self._trail:
            ring = " → ".join([*self._trail[self._trail.index(what) :], what])
            raise Wrong(f"these hang on each other in a ring: {ring}")
        inner = Filling(self.scope, names=own, space=path, trail=(*self._trail, what))
        filled = inner.of(value)
        self.touched |= inner.touched
        self.problems += inner.problems
        self.sensitive |= inner.sensitive
        return filled, inner.touched

    def output(self, path: str, name: str) -> Any:
        """The output `name` of the playbook included as `path`."""
        space = self.scope.lab.spaces[path]
        self.sensitive |= name in space.sensitive
        filled, touched = self._inside(joined(path, name), path, space.outputs[name], {})
        return self._hand_on(filled, touched)

    def _hand_on(self, value: Any, touched: set[Ref]) -> Any:
        """A value of another playbook: where it is not known, what stands there tells of it."""
        if isinstance(value, Unknown):
            self._handed_unknown = True
            return Later(frozenset(touched), value.text)
        return self.hand_out(value, frozenset(touched))

    def _handed(self, name: str, handed: Handed) -> Any:
        """The value of a variable that the including playbook hands over."""
        what = joined(self._path, name)
        filled, touched = self._inside(what, handed.space, handed.value, handed.own)
        try:
            fitting = handed.fit(filled)
        except ValueError as error:
            raise Wrong(f"the variable `{name}` {error}") from None
        return self._hand_on(fitting, touched)

    def _lookup(self, name: str) -> Any:
        """What `name` stands for in an expression."""
        names = self._space.names
        if name in self._own:
            return self.hand_out(self._own[name])
        if name in names:
            value = names[name]
            return self._handed(name, value) if isinstance(value, Handed) else self.hand_out(value)
        found = self.thing(joined(self._path, name))
        if found is None:
            raise unknown_name(name, {*self._own, *names, *self._local_names()})
        return found

    def thing(self, address: str) -> Any:
        """The view of what has this address: a resource, a loop, an included playbook; None for nothing."""
        lab = self.scope.lab
        if address in lab.resources:
            return ResourceView(address, self)
        if address in lab.spaces:
            return SpaceView(address, self)
        if address in lab.skipped:
            return Skipped(f"`{address}` is skipped: its `when` is false", name=address)
        if address in self.scope.groups:
            return members_view(self.scope.groups[address], self, ResourceView)
        if address in self.scope.space_groups:
            return members_view(self.scope.space_groups[address], self, SpaceView)
        return None

    def _local_names(self) -> set[str]:
        """What this playbook calls its resources and what it includes."""
        lab, start = self.scope.lab, len(joined(self._path, ""))
        known = [*lab.resources, *self.scope.groups, *lab.spaces, *self.scope.space_groups]
        local = (address[start:] for address in known if address.startswith(joined(self._path, "")))
        return {name for name in local if "." not in name}

    def _masked(self, problem: Problem) -> Problem:
        what, remedy = problem.what, problem.remedy
        for secret in self.scope.lab.secrets:
            if len(secret) >= 4:
                what, remedy = what.replace(secret, "(secret)"), remedy.replace(secret, "(secret)")
        return Problem(problem.where, what, remedy)


def unknown_name(name: str, known: Collection[str]) -> Wrong:
    """What is wrong with a name that is not one of `known`."""
    near = nearest(name, known)
    there = [each for each in known if each not in BUILTIN and "[" not in each]
    return Wrong(
        f"there is no `{name}`", f"did you mean `{near}`?" if near else did_you_mean(name, there, "there are")
    )


def _whole_text(value: Any) -> Any:
    """`value`, about to become text."""
    if isinstance(value, Later):
        raise NotKnown
    return defined(value)


def _problem(wrong: Wrong, where: Where | None) -> Problem:
    return Problem(where, wrong.what, wrong.remedy)


def _with_later(value: Any, refs: frozenset[Ref]) -> Any:
    if isinstance(value, Unknown):
        return Later(value.refs or refs)
    if isinstance(value, Mapping):
        return {key: _with_later(item, refs) for key, item in value.items()}
    return [_with_later(item, refs) for item in value] if isinstance(value, list | tuple) else value


def _leaving(value: Any) -> Any:
    """The result of an expression as plain data; what is Later in it becomes Unknown."""
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return str(value)
        case Later():
            return Unknown(value.refs, _ref_text(value.refs))
        case View():
            raise value.whole()
        case Members() | KeyedMembers():
            raise whole_loop()
        case Mapping():
            return {str(key): _leaving(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset() | range() | GeneratorType() | map() | filter():
            return [_leaving(item) for item in value]
    defined(value)
    raise Wrong(
        "this gives something that is no value", "write an expression that gives text, a number or a list"
    )


def _ref_text(refs: frozenset[Ref]) -> str | None:
    return f"{{{{ {next(iter(refs))} }}}}" if len(refs) == 1 else None


def check_names(
    template: Template, names: Collection[str], check: Callable[[Use], None] | None = None
) -> Iterator[Problem]:
    """Every name in `template` that is not one of `names`, and whatever `check` raises Wrong about."""
    try:
        taken = compiled(template.text)
    except Wrong as wrong:
        yield _problem(wrong, template.where)
        return
    for use in taken.uses:
        if use.name in GLOBALS:
            continue
        try:
            if use.name not in names:
                raise unknown_name(use.name, names)
            if check is not None:
                check(use)
        except Wrong as wrong:
            yield _problem(wrong, template.where)
