"""Typed variables: how a playbook declares them, and the values they get for one lab."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from engine.errors import Invalid, Where
from engine.lab import Handed, Lab, Target
from engine.language import reading
from engine.language.builtins import RESERVED
from engine.language.document import Node, content, parse
from engine.language.evaluation import Wrong
from engine.language.jinja import compiled
from engine.language.problems import Problems
from engine.language.secrets import Outside, read_source, source_of
from engine.language.words import NAME, did_you_mean, one_of, sort_of
from engine.refs import UNKNOWN, Unknown
from engine.templating import Scope, fill, templates

TYPES: Final = ("string", "int", "float", "bool", "list", "dict", "choice", "cidr", "port", "secret")
_LONG: Final = ("type", "default", "description", "choices", "min", "max", "from")


@dataclass(frozen=True)
class Variable:
    """One variable as the playbook declares it."""

    name: str
    type: str
    """One of TYPES, or `any` where a template is the default and no type is given."""
    where: Where
    default: Node | None = None
    description: str = ""
    choices: tuple[Any, ...] = ()
    least: float | None = None
    most: float | None = None
    source: Node | None = None
    """Of a secret: where its value comes from."""


@dataclass(frozen=True)
class Given:
    """A value for a variable from outside the playbook."""

    value: Any
    """Plain text from the command line or a roster, a Node of the inventory, Filled or Handed."""
    where: Where | None
    origin: str
    """How messages name it: `-e`, `the roster`, `the inventory`."""


@dataclass(frozen=True)
class Filled:
    """A value that the including playbook gives, filled in with that playbook's names."""

    value: Any
    literal: bool
    """Whether it stands there as it is, without any template."""


def declare(node: Node | None, problems: Problems) -> dict[str, Variable]:
    """The variables that a playbook's `vars` declares."""
    found = {}
    node = reading.mapping(node, "`vars`", problems)
    for name, where, value in node.items() if node is not None else ():
        if not NAME.match(name):
            problems.add(
                where, f"`{name}` cannot name a variable", "use letters, digits and _, a letter first"
            )
        elif name in RESERVED:
            problems.add(where, f"`{name}` has a meaning of its own in templates", "choose another name")
        else:
            found[name] = _declared(name, where, value, problems)
    return found


def _declared(name: str, where: Where, node: Node, problems: Problems) -> Variable:
    is_long = (
        node.is_mapping
        and node.value
        and (set(node.value) <= set(_LONG) or not {"type", "default"}.isdisjoint(node.value))
    )
    if not is_long:
        return Variable(name, _type_of(node), where, default=None if node.value is None else node)
    reading.known_keys(node, _LONG, f"the variable `{name}`", problems)
    default = node.get("default")
    default = None if default is None or default.value is None else default
    variable = Variable(
        name=name,
        type=_type_named(node, default, problems),
        where=where,
        default=default,
        description=reading.text(node.get("description"), "`description`", problems) or "",
        choices=_choices(node, problems),
        least=_limit(node.get("min"), "min", problems),
        most=_limit(node.get("max"), "max", problems),
        source=node.get("from"),
    )
    _check_secret(variable, problems)
    if variable.type == "choice" and not variable.choices:
        problems.add(where, f"the variable `{name}` is a choice without `choices`", "write `choices: [a, b]`")
    return variable


def _check_secret(variable: Variable, problems: Problems) -> None:
    if variable.type != "secret" and variable.source is not None:
        problems.add(
            variable.source.where, "only a variable of `type: secret` has `from`", "write `type: secret`"
        )
    elif variable.type == "secret" and variable.default is not None:
        remedy = "write `from: {env: NAME}`, or `file`, `ssm`, `secretsmanager`"
        problems.add(variable.default.where, "a secret does not belong in a playbook", remedy)
    elif variable.source is not None and not any(templates(content(variable.source))):
        source_of(content(variable.source), variable.source.where, problems, variable.name)


def _type_of(node: Node | None) -> str:
    value = content(node) if node is not None else None
    by_type = {
        bool: "bool",
        int: "int",
        float: "float",
        str: "string",
        list: "list",
        dict: "dict",
        type(None): "string",
    }
    return by_type.get(type(value), "any")


def _type_named(node: Node, default: Node | None, problems: Problems) -> str:
    named = node.get("type")
    if named is None:
        return (
            "secret" if "from" in node.value else "choice" if "choices" in node.value else _type_of(default)
        )
    if named.value in TYPES:
        return str(named.value)
    remedy = did_you_mean(str(named.value), TYPES, "there are")
    problems.add(named.where, f"there is no type `{named.value}`", remedy)
    return "any"


def _choices(node: Node, problems: Problems) -> tuple[Any, ...]:
    choices = node.get("choices")
    if choices is None:
        return ()
    if (
        choices.is_list
        and choices.value
        and all(isinstance(each.value, str | int | float) for each in choices.value)
    ):
        return tuple(each.value for each in choices.value)
    problems.add(choices.where, "`choices` must be a list of texts or numbers", "write `choices: [a, b]`")
    return ()


def _limit(node: Node | None, word: str, problems: Problems) -> float | None:
    if node is None or (isinstance(node.value, int | float) and not isinstance(node.value, bool)):
        return node.value if node is not None else None
    problems.add(node.where, f"`{word}` must be a number, not {sort_of(content(node))}")
    return None


# -- values ------------------------------------------------------------------------------------------------


class Names(Mapping[str, Any]):
    """What templates may use besides resources; a name's value is made when it is first asked for."""

    def __init__(self, makers: Mapping[str, Callable[[], Any]]) -> None:
        self._makers = dict(makers)
        self._made: dict[str, Any] = {}
        self._making: list[str] = []
        # Labs of a roster are worked on side by side.
        self._lock = threading.RLock()

    def extended(self, values: Mapping[str, Any]) -> Names:
        """The same names, and those in `values`."""
        other = Names(self._makers)
        other._made = self._made | dict(values)
        other._makers |= dict.fromkeys(values, lambda: None)
        return other

    def __contains__(self, name: object) -> bool:
        return name in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            with self._lock:
                self._make(name)
        return self._made[name]

    def _make(self, name: str) -> None:
        if name in self._made:
            return
        if name in self._making:
            ring = [*self._making[self._making.index(name) :], name]
            raise Wrong(f"these variables hang on each other in a ring: {' → '.join(ring)}")
        maker = self._makers[name]
        self._making.append(name)
        try:
            self._made[name] = maker()
        finally:
            self._making.remove(name)


@dataclass(frozen=True)
class Settings:
    """What giving variables their values needs to know."""

    variables: Mapping[str, Variable]
    given: Mapping[str, Given]
    builtin: Mapping[str, Callable[[], Any]]
    outside: Outside
    missing: str
    """What to do about a variable without a value; `{name}` stands for it."""
    uses: Mapping[str, Callable[[Names], Any]] = field(default_factory=dict)
    """Makers of what templates see of other labs; these are named by other names."""
    secrets: set[str] = field(default_factory=set)
    """The values of secrets, as they become known."""
    space: str = ""
    """The path of the included playbook whose variables they are; empty for the lab's own."""


def resolve(settings: Settings, problems: Problems) -> Names:
    """The names for one lab's templates, every variable among them with its value."""
    makers = dict(settings.builtin)
    names = Names({})
    for name, variable in settings.variables.items():
        makers[name] = _Maker(variable, settings, names, problems)
    makers |= {name: partial(make, names) for name, make in settings.uses.items()}
    names._makers.update(makers)
    for name in settings.variables:
        try:
            names[name]
        except Wrong as wrong:
            problems.add(settings.variables[name].where, wrong.what, wrong.remedy)
    for name in settings.uses:
        names[name]
    return names


@dataclass(frozen=True)
class _Maker:
    """Makes one variable's value. A wrong one is UNKNOWN, so that its problem is told once."""

    variable: Variable
    settings: Settings
    names: Names
    problems: Problems

    def __call__(self) -> Any:
        given = self.settings.given.get(self.variable.name)
        if self.variable.type == "secret":
            return self._secret(given)
        if given is None:
            if self.variable.default is None:
                remedy = self.settings.missing.format(name=self.variable.name)
                if self.variable.description:
                    remedy += f" ({self.variable.description})"
                self.problems.add(
                    self.variable.where, f"the variable `{self.variable.name}` has no value", remedy
                )
                return UNKNOWN
            given = Given(self.variable.default, self.variable.default.where, "its default")
            if self._hangs_on_handed(self.variable.default):
                value = content(self.variable.default)
                given = replace(given, value=handed(self.variable, value, self.settings.space, given.where))
        return self._converted(given)

    def _hangs_on_handed(self, node: Node) -> bool:
        """Whether a default uses a variable that hangs on the including playbook's resources."""
        if not self.settings.space:
            return False
        try:
            used = {use.name for each in templates(content(node)) for use in compiled(each.text).uses}
            return any(isinstance(self.names[name], Handed) for name in used if name in self.names)
        except Wrong:
            return False  # its evaluation tells the problem

    def _converted(self, given: Given) -> Any:
        value = given.value
        if isinstance(value, Handed):
            return value
        try:
            if isinstance(value, Filled):
                return convert(self.variable, value.value)
            if isinstance(value, Node):
                return convert(self.variable, filled_early(value, self.names))
            return convert(self.variable, _from_text(self.variable, value))
        except ValueError as error:
            self.problems.add(given.where, f"the variable `{self.variable.name}` {error} ({given.origin})")
        except Invalid as invalid:
            self.problems.extend_elsewhere(invalid.problems)
        return UNKNOWN

    def _secret(self, given: Given | None) -> Any:
        name = self.variable.name
        if given is None and self.variable.source is None:
            remedy = "write `from: {env: NAME}` here, or " + self.settings.missing.format(name=name)
            if self.variable.default is None:
                self.problems.add(self.variable.where, f"the secret `{name}` has no source", remedy)
            return UNKNOWN
        if given is None:
            assert self.variable.source is not None
            given = Given(self.variable.source, self.variable.source.where, "its `from`")
        if isinstance(given.value, Handed):
            return given.value
        if isinstance(given.value, Filled):
            return self._secret_filled(given, given.value)
        return self._secret_from(given, given.value)

    def _secret_filled(self, given: Given, filled: Filled) -> Any:
        """A secret of the including playbook, or a source that it names."""
        if filled.literal or not isinstance(filled.value, str):
            return self._secret_from(given, filled.value)
        self.settings.secrets.add(filled.value)
        return filled.value

    def _secret_from(self, given: Given, written: Any) -> Any:
        name = self.variable.name
        try:
            raw = filled_early(written, self.names) if isinstance(written, Node) else written
        except Invalid as invalid:
            self.problems.extend_elsewhere(invalid.problems)
            return UNKNOWN
        if isinstance(raw, dict) and set(raw) == {"from"}:
            raw = raw["from"]
        source = source_of(raw, given.where, self.problems, name=name)
        if source is None:
            return UNKNOWN
        folder = Path(given.where.file).parent if given.where is not None else Path()
        value = read_source(source, folder, name, given.where, self.settings.outside, self.problems)
        if isinstance(value, str):
            self.settings.secrets.add(value)
        return value


def filled_early(node: Node, names: Mapping[str, Any]) -> Any:
    """`node` filled in before there is a lab, with nothing but `names`. Raises Invalid."""
    lab = Lab(name="", slug="", target=Target("sandbox"), resources={}, names=names)
    return fill(content(node), Scope(lab, {}))


def _from_text(variable: Variable, text: str) -> Any:
    """A value written on the command line or in a roster's cell."""
    if variable.type not in ("list", "dict"):
        return text
    if variable.type == "list" and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        node = parse(text, "")
    except Invalid as invalid:
        raise ValueError(f"cannot be read: {invalid.problems[0].what}") from None
    return content(node) if node is not None else None


def handed(
    variable: Variable,
    value: Any,
    space: str,
    where: Where | None,
    own: Mapping[str, Any] | None = None,
) -> Handed:
    """The value of a variable that can be filled in only as resources become known."""
    return Handed(value, space, partial(convert, variable), own or {}, where)


def convert(variable: Variable, value: Any) -> Any:
    """`value` as the type of `variable` has it. Raises ValueError in words that follow its name."""
    if isinstance(value, Unknown):
        return value
    made = _CONVERSIONS[variable.type](value)
    if variable.choices:
        return _chosen(variable.choices, made)
    if isinstance(made, int | float) and not isinstance(made, bool):
        if variable.least is not None and made < variable.least:
            raise ValueError(f"must be at least {variable.least}, not {made}")
        if variable.most is not None and made > variable.most:
            raise ValueError(f"must be at most {variable.most}, not {made}")
    return made


def _chosen(choices: tuple[Any, ...], value: Any) -> Any:
    for choice in choices:
        if value == choice or (not isinstance(value, bool) and str(value) == str(choice)):
            return choice
    raise ValueError(f"must be {one_of(choices)}, not {sort_of(value)}")


def _string(value: Any) -> Any:
    if isinstance(value, str):
        return value
    hint = f'; put it in quotes: "{value}"' if isinstance(value, int | float) else ""
    raise ValueError(f"must be text, not {sort_of(value)}{hint}")


def _int(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lstrip("+-").isdecimal() and len(value) < 100:
        return int(value)
    raise ValueError(f"must be a whole number, not {sort_of(value)}")


def _float(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    try:
        return float(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(f"must be a number, not {sort_of(value)}") from None


def _list(value: Any) -> Any:
    if isinstance(value, list):
        return value
    raise ValueError(f"must be a list, not {sort_of(value)}")


def _dict(value: Any) -> Any:
    if isinstance(value, dict):
        return value
    raise ValueError(f"must be a mapping, not {sort_of(value)}")


def _cidr(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError(f"must be a network such as `10.0.0.0/16`, not {sort_of(value)}")
    try:
        return str(ipaddress.ip_network(value.strip()))
    except ValueError:
        pass
    try:
        network = ipaddress.ip_network(value.strip(), strict=False)
    except ValueError:
        raise ValueError(f"must be a network such as `10.0.0.0/16`, not {sort_of(value)}") from None
    raise ValueError(f"must be a network: `{value}` is an address within `{network}`")


def _port(value: Any) -> Any:
    try:
        number = _int(value)
    except ValueError:
        number = 0
    if not 1 <= number <= 65535:
        raise ValueError(f"must be a port from 1 to 65535, not {sort_of(value)}")
    return number


_CONVERSIONS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "any": lambda value: value,
    "string": _string,
    "int": _int,
    "float": _float,
    "bool": reading.truth,
    "list": _list,
    "dict": _dict,
    "choice": lambda value: value,
    "cidr": _cidr,
    "port": _port,
    "secret": lambda value: value,
}
