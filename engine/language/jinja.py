"""Templates: a bounded Jinja2 sandbox, each text compiled once, and what a template refers to.

A string is taken apart into pieces of text and `{{ }}` expressions, so that each expression is evaluated by
itself: one that is not known yet does not hide what the others use, and a lone one keeps its type.
"""

from __future__ import annotations

import base64
import functools
import json
import posixpath
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, UndefinedError, meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import pass_context
from jinja2.visitor import NodeTransformer

from engine.language.budget import CALL, ITEM, MOST, ROUND, Budget, product
from engine.refs import Ref

_MOST = 1_000_000
"""The longest text, and the largest repetition or width, that a template may make."""
_BUDGET: Final = "labctl_budget"
_ROUNDS: Final = "labctl_rounds"
_JOINED: Final = "labctl_joined"
"""Names under which the budget and what watches over it are there when a template runs."""


class NotKnown(Exception):
    """An expression needs to look into a value that is not known yet."""


class Wrong(Exception):
    """A template is wrong, in words for the user; `line` counts within the template."""

    def __init__(self, what: str, remedy: str = "", line: int | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.line = line


class Failed(Wrong):
    """An expression could not be evaluated, given the values it met."""


class Later:
    """Stands in an expression for a value not known yet: it can be passed on, but not looked into."""

    __slots__ = ("refs", "text")

    def __init__(self, refs: frozenset[Ref], text: str | None = None) -> None:
        self.refs = refs
        self.text = text
        """The template that it comes from, where that is not the one at hand."""

    def _stop(self, *_: Any, **__: Any) -> Any:
        raise NotKnown

    __str__ = __repr__ = __len__ = __iter__ = __bool__ = __hash__ = __call__ = __contains__ = __int__ = (
        __float__
    ) = _stop
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __neg__ = __pos__ = __abs__ = __index__ = _stop
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _stop
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = __format__ = __round__ = _stop


class View:
    """Something that templates see through `name.output`: reading an attribute asks `read`."""

    __slots__ = ()

    def read(self, name: str) -> Any:
        """The value of attribute `name`."""
        raise NotImplementedError

    def whole(self) -> Wrong:
        """What is wrong with using it as a value."""
        raise NotImplementedError

    def __str__(self) -> str:
        raise self.whole()

    __repr__ = __str__


class Environment(View):
    """Environment variables as `env.NAME`; as a whole, with all that is secret in it, it cannot be had."""

    __slots__ = ("_values",)

    def __init__(self, values: Callable[[], Mapping[str, str]]) -> None:
        self._values = values

    def read(self, name: str) -> Any:
        """The variable `name`."""
        values = self._values()
        if name in values:
            return values[name]
        return _Absent(f"the environment variable `{name}` is not set", name=name)

    def whole(self) -> Wrong:
        """That one variable is meant."""
        return Wrong("`env` is not a value", "write `env.NAME`")


class _Absent(StrictUndefined):
    """Something that is not there; words of its own."""


class Skipped(StrictUndefined):
    """A resource whose `when` is false: not defined, and so is all that it would have."""


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(["*", "**", "%", "+"])

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, View):
            return obj.read(attribute)
        if isinstance(obj, Later | Skipped):
            return obj
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return self._there(super().getattr(obj, attribute), obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, View) and isinstance(argument, str):
            return obj.read(argument)
        if isinstance(obj, Later | Skipped):
            return obj
        if isinstance(argument, Later):
            raise NotKnown
        return self._there(super().getitem(obj, argument), obj, argument)

    def _there(self, found: Any, obj: Any, name: Any) -> Any:
        if not isinstance(found, Undefined) or found._undefined_exception is SecurityError:
            return found
        if isinstance(obj, Undefined):
            return found
        if isinstance(obj, Mapping):
            there = ", ".join(f"`{key}`" for key in list(obj)[:12]) or "nothing"
            return _Absent(f"`{name}` is not there; there is {there}", name=str(name))
        if isinstance(obj, Sequence) and isinstance(name, int):
            return _Absent(f"there is no [{name}] in a list of {len(obj)}", name=str(name))
        return _Absent(f"`{name}` is not there", name=str(name))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        _bound(operator, left, right)
        return _paid(_budget_of(context), super().call_binop(context, operator, left, right))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        # What these make of a text can be a million times as long.
        if isinstance(obj, str) and attr in ("expandtabs", "translate", "maketrans"):
            return False
        return super().is_safe_attribute(obj, attr, value)

    def call(self, context: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:
        budget = _budget_of(context)
        budget.spend(CALL)
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, str):
            if any(isinstance(each, int) and abs(each) > _MOST for each in args):
                raise SecurityError(f"a number above {_MOST}")
            if getattr(obj, "__name__", "") == "join" and args:
                args = (list(args[0]), *args[1:])
            _bound_product(obj, owner, args)
        return _paid(budget, super().call(context, obj, *args, **kwargs))

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        return _Absent(f"`{attribute}`", name=attribute, obj=obj, exc=SecurityError)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        wrapped = super().wrap_str_format(value)
        if wrapped is not None:
            _bound_widths(value.__self__)
            # A width given as a value (`{:{n}}`) cannot be seen beforehand.
            if re.search(r"\{[^{}]*\{", value.__self__):
                raise SecurityError("a width that is itself a field")
        return wrapped


def _bound_product(method: Any, owner: str, args: tuple[Any, ...]) -> None:
    """Refuse a `replace` or `join` that would multiply text beyond the bound."""
    name = getattr(method, "__name__", "")
    by = 0
    if name == "replace" and len(args) > 1 and isinstance(args[1], str):
        by = len(args[1])
    elif name == "join" and args:
        by = len(args[0])
    if len(owner) * by > MOST:
        raise SecurityError("text too long")


def _budget_of(context: Context) -> Budget:
    budget = context.parent.get(_BUDGET)
    if not isinstance(budget, Budget):
        raise SecurityError(f"`{_BUDGET}` is a name of labctl's own")
    return budget


def _paid(budget: Budget, made: Any) -> Any:
    """`made` by one operation, paid for."""
    if isinstance(made, str | bytes):
        budget.spend(len(made))
    elif isinstance(made, list | tuple):
        budget.spend(ITEM * len(made))
    return made


@pass_context
def _rounds(context: Context, items: Any, text: int) -> Iterator[Any]:
    """The items of a loop whose body holds `text` characters, each round paid for."""
    budget = _budget_of(context)
    for item in items:
        budget.spend(ROUND + text)
        yield item


def _joined(*parts: Any) -> str:
    """What `a ~ b` makes."""
    return "".join([str(part) for part in parts])


@pass_context
def _shown(context: Context, value: Any) -> Any:
    """A value that becomes text within a template with statements."""
    _budget_of(context).weigh(value)
    return value


def _budgeted(name: str, function: Any) -> Any:
    """The filter `name`, what goes in and what comes out paid for."""
    first = {"context": lambda c: (c,), "eval_context": lambda c: (c.eval_ctx,)}
    first["environment"] = lambda c: (c.environment,)
    leading = first.get(getattr(getattr(function, "jinja_pass_arg", None), "name", ""), lambda c: ())

    @pass_context
    @functools.wraps(function)
    def paid(context: Context, *args: Any, **kwargs: Any) -> Any:
        budget = _budget_of(context)
        if name == "join" and args and not isinstance(args[0], Later):
            args = (list(args[0]), *args[1:])
        for each in (*args, *kwargs.values()):
            budget.weigh(each)
        _bound_filter(name, [*args, *kwargs.values()])
        return _paid(budget, function(*leading(context), *args, **kwargs))

    return paid


def _bound_filter(name: str, given: list[Any]) -> None:
    """Refuse filters that would multiply text beyond the bound."""
    sizes = [len(each) for each in given if isinstance(each, str | list | tuple)]
    if name == "replace":
        sizes = sizes[::2]
    elif name in ("indent", "wordwrap"):
        sizes += [each for each in given if isinstance(each, int)]
    elif name == "sum" and any(isinstance(each, str | list | tuple) for each in given[2:] + given[1:2]):
        # `sum(start=[])` copies what it has at each item.
        raise SecurityError("a sum of lists")
    elif name != "join":
        return
    if product(*sizes) > MOST:
        raise SecurityError("text too long")


def _bound(operator: str, left: Any, right: Any) -> None:
    sizes = [len(side) for side in (left, right) if isinstance(side, str | list | tuple)]
    numbers = [abs(side) for side in (left, right) if isinstance(side, int)]
    if operator == "*" and sizes and numbers and sizes[0] * numbers[0] > _MOST:
        raise SecurityError(f"more than {_MOST} repetitions")
    if operator == "*" and len(numbers) == 2 and numbers[0].bit_length() + numbers[1].bit_length() > 4096:
        raise SecurityError("a number too large")
    if operator == "+" and len(sizes) == 2 and sum(sizes) > _MOST * 4:
        raise SecurityError("text too long")
    if operator == "**" and len(numbers) == 2 and numbers[0].bit_length() * numbers[1] > 4096:
        raise SecurityError("a power too large")
    if operator == "%" and isinstance(left, str):
        _bound_widths(left)


def _bound_widths(pattern: str) -> None:
    if re.search(r"%[-#0 +]*\*|%[-#0 +\d]*\.\*", pattern) or any(
        int(digits[:9]) > 10_000 for digits in re.findall(r"\d{5,}", pattern)
    ):
        raise SecurityError("a width above 10000")


def _wrapped_test(test: Any) -> Any:
    @functools.wraps(test)
    def known_first(*args: Any) -> Any:
        if any(isinstance(each, Later) for each in args):
            raise NotKnown
        return test(*args)

    return known_first


def _wrapped_width(function: Any) -> Any:
    @functools.wraps(function)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        if any(isinstance(each, int) and each > 10_000 for each in (*args, *kwargs.values())):
            raise SecurityError("a width above 10000")
        return function(*args, **kwargs)

    return bounded


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, sort_keys=True)


def _environment() -> _Sandbox:
    env = _Sandbox(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True, cache_size=0)
    # What differs from run to run would make every plan differ.
    for name in ("random", "pprint", "xmlattr", "urlize"):
        env.filters.pop(name)
    env.finalize = _shown
    for name in ("center", "indent", "wordwrap", "round", "batch", "slice", "tojson"):
        env.filters[name] = _wrapped_width(env.filters[name])
    env.filters["format"] = _formatted
    env.filters |= {
        "to_json": _wrapped_width(_to_json),
        "b64encode": lambda text: base64.b64encode(str(text).encode()).decode(),
        "b64decode": lambda text: base64.b64decode(str(text)).decode(),
        "basename": lambda path: posixpath.basename(str(path)),
        "dirname": lambda path: posixpath.dirname(str(path)),
        "quote": lambda text: shlex.quote(str(text)),
        _JOINED: _joined,
    }
    env.filters = {name: _budgeted(name, function) for name, function in env.filters.items()}
    env.filters[_ROUNDS] = _rounds
    env.tests = {
        name: test
        if name in ("defined", "undefined") or hasattr(test, "jinja_pass_arg")
        else _wrapped_test(test)
        for name, test in env.tests.items()
    }
    env.globals = {name: env.globals[name] for name in ("range", "dict", "namespace")}
    return env


def _formatted(pattern: str, *args: Any, **kwargs: Any) -> str:
    _bound_widths(pattern)
    return str(pattern) % (kwargs or args)


ENVIRONMENT: Final = _environment()
GLOBALS: Final = frozenset(ENVIRONMENT.globals)


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
        context = self._compiled.new_context({**values, _BUDGET: budget})
        pieces = list(self._compiled.root_render_func(context))
        if self.is_statements:
            return "".join(pieces)
        value = context.vars["labctl_value"]
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
    assign = nodes.Assign(nodes.Name("labctl_value", "store"), source, lineno=1)
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
        node.iter = self._filter(node.iter, _ROUNDS, [nodes.Const(text)])
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:  # noqa: N802
        self.generic_visit(node)
        first, *rest = node.nodes
        return self._filter(first, _JOINED, rest)

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
    free = meta.find_undeclared_variables(program) - {"labctl_value"}
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
