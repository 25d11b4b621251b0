"""Templates: each text compiled once, and what a template refers to.

A string is taken apart into pieces of text and `{{ }}` expressions, so that each expression is evaluated by
itself: one that is not known yet does not hide what the others use, and a lone one keeps its type.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from jinja2 import TemplateError, TemplateSyntaxError, UndefinedError, meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Undefined
from jinja2.visitor import NodeTransformer

from engine.language.bounded import BUDGET, ENVIRONMENT, GLOBALS, JOINED, ROUNDS, VALUE
from engine.language.budget import Budget
from engine.language.evaluation import Failed, Wrong


@dataclass(frozen=True)
class Use:
    """A name as a template uses it, with the constant steps after it: `worker[0].ip` → worker, (0, "ip")."""

    name: str
    steps: tuple[str | int, ...]
    line: int
    indirect: bool = False
    """More follows that only evaluation can tell, such as `[loop_index]`."""


Lookup = Callable[[str], Any]
"""From a name to what stands for it in an expression; raises Wrong for an unknown name."""

_FAILURES = (
    TemplateError,
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    RuntimeError,
    AssertionError,
    MemoryError,
)


class Expression:
    """One `{{ }}`, or a whole text where statements (`{% %}`) make it one."""

    def __init__(self, source: nodes.Template | nodes.Expr, text: str) -> None:
        self._source = source
        self._text = text
        self._compiled: Any = None
        self._chain = _chain(source)
        self.uses = tuple(_uses(source))
        self.names = frozenset(use.name for use in self.uses)

    @property
    def is_statements(self) -> bool:
        """Whether it is a whole text with statements."""
        return isinstance(self._source, nodes.Template)

    def value(self, lookup: Lookup) -> Any:
        """What it gives; may hold Later. Raises NotKnown, or Wrong in words."""
        try:
            if self._chain is not None:
                return self._follow(lookup)
            return self._run({name: lookup(name) for name in self.names if name not in GLOBALS})
        except Wrong as wrong:
            wrong.line = wrong.line or _line_of(wrong) or (self.uses[0].line if self.uses else None)
            raise
        except _FAILURES as error:
            raise _explained(error) from None

    def _follow(self, lookup: Lookup) -> Any:
        assert self._chain is not None
        name, steps = self._chain
        found = lookup(name)
        for step in steps:
            found = (
                ENVIRONMENT.getitem(found, step[0]) if step[1] else ENVIRONMENT.getattr(found, str(step[0]))
            )
        return found

    def _run(self, values: dict[str, Any]) -> Any:
        if self._compiled is None:
            self._compiled = ENVIRONMENT.from_string(_program(self._source))
        budget = Budget()
        context = self._compiled.new_context({**values, BUDGET: budget})
        pieces = list(self._compiled.root_render_func(context))
        if self.is_statements:
            return "".join(pieces)
        value = context.vars[VALUE]
        budget.weigh(value)
        return value


def defined(value: Any) -> Any:
    """`value`, unless it stands for something that is not there: then Wrong is raised."""
    if isinstance(value, Undefined):
        try:
            str(value)
        except _FAILURES as error:
            raise _explained(error) from None
    return value


def _program(source: nodes.Template | nodes.Expr) -> nodes.Template:
    if isinstance(source, nodes.Template):
        return source
    assign = nodes.Assign(nodes.Name(VALUE, "store"), source, lineno=1)
    program = nodes.Template([assign], lineno=1)
    program.set_environment(ENVIRONMENT)
    return program


def _line_of(error: Exception) -> int | None:
    """The line of the template that `error` comes from, where a compiled one is involved."""
    line = None
    trace = error.__traceback__
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            line = template.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    return line


def _explained(error: Exception) -> Wrong:
    line = _line_of(error)
    message = str(error).strip() or type(error).__name__
    if isinstance(error, SecurityError):
        return Wrong(f"this is not allowed in a template: {message}", line=line)
    if isinstance(error, UndefinedError):
        return Wrong(message.replace("'", "`"), line=line)
    return Failed(f"this cannot be evaluated: {message}", line=line)


@dataclass(frozen=True)
class Compiled:
    """A template taken apart: pieces of plain text and expressions, in order."""

    pieces: tuple[str | Expression, ...]

    @property
    def expressions(self) -> Iterator[Expression]:
        """The expressions among the pieces."""
        return (piece for piece in self.pieces if isinstance(piece, Expression))

    @property
    def native(self) -> Expression | None:
        """The expression whose value keeps its type, where the template is nothing else."""
        only = self.pieces[0] if len(self.pieces) == 1 else ""
        return only if isinstance(only, Expression) and not only.is_statements else None

    @functools.cached_property
    def uses(self) -> tuple[Use, ...]:
        """Every name it uses."""
        return tuple(use for expression in self.expressions for use in expression.uses)


@functools.lru_cache(maxsize=20_000)
def compiled(text: str) -> Compiled:
    """The template `text`, taken apart. Raises Wrong where its syntax is."""
    try:
        tree = ENVIRONMENT.parse(text)
        _refuse_other_files(tree)
        _Watched().visit(tree)
        if all(isinstance(node, nodes.Output) for node in tree.body):
            return Compiled(_pieces(tree, text))
        whole = Expression(tree, text)
        # What only the compiler notices: unknown filters and tests.
        ENVIRONMENT.compile(tree)
        return Compiled((whole,))
    except TemplateSyntaxError as error:
        raise _syntax(error) from None
    except RecursionError:
        raise Wrong("the template is nested too deeply") from None


def _pieces(tree: nodes.Template, text: str) -> tuple[str | Expression, ...]:
    pieces: list[str | Expression] = []
    for output in tree.body:
        assert isinstance(output, nodes.Output)
        for node in output.nodes:
            if isinstance(node, nodes.TemplateData):
                if pieces and isinstance(pieces[-1], str):
                    pieces[-1] += node.data
                else:
                    pieces.append(node.data)
            else:
                _refuse_unknown_words(node)
                pieces.append(Expression(node, text))
    return tuple(pieces)


class _Watched(NodeTransformer):
    """Rewrites what the sandbox does not see by itself: rounds of loops, and `~`."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802 (named by jinja2)
        self.generic_visit(node)
        text = sum(len(data.data) for data in node.find_all(nodes.TemplateData))
        node.iter = self._filter(node.iter, ROUNDS, [nodes.Const(text)])
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:  # noqa: N802
        self.generic_visit(node)
        first, *rest = node.nodes
        return self._filter(first, JOINED, rest)

    @staticmethod
    def _filter(node: nodes.Node, name: str, args: list[nodes.Expr]) -> nodes.Filter:
        made = nodes.Filter(cast("nodes.Expr", node), name, args, [], None, None, lineno=node.lineno)
        made.set_environment(ENVIRONMENT)
        return made


def _refuse_unknown_words(tree: nodes.Node) -> None:
    for node in tree.find_all((nodes.Filter, nodes.Test)):
        known = ENVIRONMENT.filters if isinstance(node, nodes.Filter) else ENVIRONMENT.tests
        if node.name not in known:
            sort = "filter" if isinstance(node, nodes.Filter) else "test"
            raise TemplateSyntaxError(f"No {sort} named '{node.name}'.", node.lineno)


def _refuse_other_files(tree: nodes.Template) -> None:
    outside = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
    for node in tree.find_all(outside):
        raise Wrong(
            "a template cannot take in other files", "write what you need in the file itself", node.lineno
        )


_SYNTAX = (
    (r"No (filter|test) named '(.*?)'", "there is no {0} `{1}`"),
    (r"unexpected end of template|Unexpected end of template", "the template ends too early"),
    (r"Encountered unknown tag '(.*?)'", "there is no tag `{0}`"),
    (r"unexpected '(.*)'", "`{0}` is not expected there"),
    (r"expected token '(.*)', got '(.*)'", "`{0}` is expected, not `{1}`"),
    (r"Expected an expression, got '(.*)'", "an expression is expected, not `{0}`"),
    (r"Missing end of (.*) (?:directive|tag)", "the {0} is never closed"),
)


def _syntax(error: TemplateSyntaxError) -> Wrong:
    said = error.message or ""
    for pattern, words in _SYNTAX:
        found = re.search(pattern, said)
        if found:
            what = words.format(*found.groups()).replace("end of print statement", "}}")
            return Wrong(f"this template is not right: {what}", line=error.lineno)
    return Wrong(f"this template is not right: {said}", line=error.lineno)


def _chain(source: nodes.Node) -> tuple[str, tuple[tuple[str | int, bool], ...]] | None:
    """`name.a['b'][0]` as its name and steps (step, whether in brackets); None for anything else."""
    steps: list[tuple[str | int, bool]] = []
    while True:
        match source:
            case nodes.Name(ctx="load") if source.name not in GLOBALS:
                return source.name, tuple(reversed(steps))
            case nodes.Getattr():
                steps.append((source.attr, False))
            case nodes.Getitem(arg=nodes.Const(value=str() | int() as value)):
                steps.append((value, True))
            case _:
                return None
        source = source.node


def _uses(source: nodes.Template | nodes.Expr) -> Iterator[Use]:
    program = _program(source)
    free = meta.find_undeclared_variables(program) - {VALUE}
    yield from _uses_below(source, free)


def _uses_below(node: nodes.Node, free: set[str]) -> Iterator[Use]:
    steps: list[str | int] = []
    indirect = False
    base = node
    inner: list[nodes.Node] = []
    while isinstance(base, nodes.Getattr | nodes.Getitem):
        if isinstance(base, nodes.Getattr):
            steps.append(base.attr)
        elif isinstance(base.arg, nodes.Const) and isinstance(base.arg.value, str | int):
            steps.append(base.arg.value)
        else:
            # `a[x].b`: what is after the unknown step says nothing about `a`.
            steps.clear()
            indirect = True
            inner.append(base.arg)
        base = base.node
    if isinstance(base, nodes.Name):
        if base.ctx == "load" and base.name in free:
            yield Use(base.name, tuple(reversed(steps)), base.lineno, indirect)
    else:
        inner.extend([base] if base is not node else list(node.iter_child_nodes()))
    for child in inner:
        yield from _uses_below(child, free)
