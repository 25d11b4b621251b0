"""Where templates run: Jinja2's sandbox, bounded in time and memory, with labctl's filters and words."""

from __future__ import annotations

import base64
import functools
import json
import posixpath
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from jinja2 import StrictUndefined
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import pass_context

from engine.language.budget import CALL, ITEM, MOST, ROUND, Budget, product
from engine.language.evaluation import Absent, Later, NotKnown, Skipped, View

_MOST = 1_000_000
"""The longest text, and the largest repetition or width, that a template may make."""
BUDGET: Final = "labctl_budget"
VALUE: Final = "labctl_value"
"""Variables that are there when a template runs: its budget, and what it gives."""
ROUNDS: Final = "labctl_rounds"
JOINED: Final = "labctl_joined"
"""Filters that watch over loops and `~`."""


class _Bounded(ImmutableSandboxedEnvironment):
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
            return Absent(f"`{name}` is not there; there is {there}", name=str(name))
        if isinstance(obj, Sequence) and isinstance(name, int):
            return Absent(f"there is no [{name}] in a list of {len(obj)}", name=str(name))
        return Absent(f"`{name}` is not there", name=str(name))

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
        return Absent(f"`{attribute}`", name=attribute, obj=obj, exc=SecurityError)

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
    budget = context.parent.get(BUDGET)
    if not isinstance(budget, Budget):
        raise SecurityError(f"`{BUDGET}` is a name of labctl's own")
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


def _environment() -> _Bounded:
    env = _Bounded(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True, cache_size=0)
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
        JOINED: _joined,
    }
    env.filters = {name: _budgeted(name, function) for name, function in env.filters.items()}
    env.filters[ROUNDS] = _rounds
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
