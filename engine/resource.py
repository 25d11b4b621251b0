"""What a kind is: the base class of everything in `engine/resources/`, and the types of its fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError, field_validator

from engine.refs import Unknown, holds_unknown

if TYPE_CHECKING:
    from pydantic import ValidatorFunctionWrapHandler

    from engine.world import World

T = TypeVar("T")

Values = dict[str, Any]
"""What is there, in the playbook's words: field and output names to plain values."""


@dataclass(frozen=True)
class Mark:
    """A word about a field, carried in its annotation."""

    name: str


FIXED = Mark("fixed")
SECRET = Mark("secret")
UNREAD = Mark("unread")

Fixed = Annotated[T, FIXED]
"""A field whose change replaces the resource."""

Secret = Annotated[T, SECRET]
"""A field never shown nor kept; changes are seen by a keyed hash in the ledger."""

Unread = Annotated[T, UNREAD]
"""A field that a list call does not give back; changes are seen by a keyed hash in the ledger."""

Id = Annotated[str, Mark("id")]
"""The id of another resource, as a reference gives it."""


@dataclass(frozen=True)
class Output:
    """Something a resource tells once it is made: what it means, and whether it must be masked."""

    description: str
    sensitive: bool = False


class Files(Protocol):
    """The controller's files that a playbook may read; handed to validation as context `files`."""

    def find(self, path: str, *, folder: bool = False) -> Path:
        """The readable file or folder that `path` names, inside the playbook's own folders.

        Raises ValueError with words for the user where there is none or it lies outside.
        """

    def fill(self, path: Path) -> str | Unknown:
        """The text of the template at `path`, filled in with what is known."""


class Fields(BaseModel):
    """A group of typed fields in a playbook; any of them may be unknown until apply."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True
    )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Set last and under a name of its own, so that it stands around all other validators of the class.
        name = f"_let_unknown_pass_{cls.__qualname__}"
        setattr(cls, name, field_validator("*", mode="wrap")(classmethod(_let_unknown_pass)))


def _let_unknown_pass(cls: type[Fields], value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    if isinstance(value, Unknown):
        return value
    try:
        return handler(value)
    except ValidationError as error:
        if all(holds_unknown(problem["input"]) for problem in error.errors()):
            return value
        raise


@dataclass(frozen=True)
class Beside:
    """What commands to run by hand go by besides the resource itself."""

    there: Values = field(default_factory=dict)
    """What was last read of it; empty where it is not there."""
    needed: frozenset[str] = frozenset()
    """Its outputs that later commands take from variables."""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """The kind of each resource of the lab, by address."""


@dataclass(frozen=True)
class Place:
    """Where things at AWS are, for the names (ARNs) that policies call them by; `*` where not known."""

    region: str = "*"
    account: str = "*"
    partition: str = "aws"

    def named(self, service: str, sort: str, name: str) -> list[str]:
        """The ARNs of what has a name, below whatever path (IAM's roles, users and groups)."""
        ways = (f"{sort}/{name}", f"{sort}/*/{name}")
        return [self.arn(service, way, regional=False) for way in ways]

    def arn(self, service: str, resource: str, *, regional: bool = True, account: bool = True) -> str:
        """The ARN of `resource` (`role/worker`); without region or account where it has none."""
        region = self.region if regional else ""
        return f"arn:{self.partition}:{service}:{region}:{self.account if account else ''}:{resource}"


class Resource(Fields):
    """One thing of a lab. A kind is a subclass; the contract is in docs/architecture.md and CONTRIBUTING.md.

    `Values` of a kind are one flat namespace: the fields it can read back under their own names, and outputs.
    """

    kind: ClassVar[str] = ""
    outputs: ClassVar[Mapping[str, Output]] = {}
    create_first: ClassVar[bool] = False
    """Replacement makes the new one before the old one goes (its name must allow two at once)."""
    is_host: ClassVar[bool] = False
    """Others can live on it: it tells a `Machine`."""
    already_there: ClassVar[bool] = False
    """It is there without any cloud, and the user's own SSH settings may say how to reach it."""
    runs_code: ClassVar[bool] = False
    """What it runs is the playbook's own code: a task, a function, an image that is built."""
    takes_along: ClassVar[bool] = False
    """What lives on it vanishes with it, so it need not be deleted piece by piece."""

    lookup: ClassVar[bool] = False
    """It makes nothing: `look_up` tells its outputs, and it is in no ledger."""

    actions: ClassVar[Sequence[str]] = ()
    """The IAM actions that its verbs and reads need, `ec2:RunInstances`, as the Service Authorization
    Reference names them."""

    _address: str = PrivateAttr(default="")
    """Its address in the lab, where told by `at`; commands to run by hand name their variables after it."""
    _beside: Beside = PrivateAttr(default_factory=lambda: Beside())
    """What else commands to run by hand go by, where told by `at`."""

    tagged: ClassVar[bool] = False
    """`read_many` gives its tags as `tags`, and `retag` changes them in place."""

    pinned: ClassVar[frozenset[str]] = frozenset()
    """Fields whose names (`ubuntu-22.04`) are looked up once and pinned in the lock file."""

    @classmethod
    def resolve(cls, world: World, field: str, name: str) -> str:
        """The id that `name` stands for now in a `pinned` field; ids come back as they are, unasked.

        Raises StepFailed with what to write instead where nothing answers to the name.
        """
        return name

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """By action, the ARNs to which this resource needs it; all (`*`) of those not named here.

        An empty sequence says that this resource does not need the action. Wildcards may stand in an ARN.
        """
        return {}

    def foretold(self, place: Place) -> Values:
        """Outputs that follow from its name and place alone, like the ARN; what refers to it may use them."""
        return {}

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """The values the playbook asks for: fields it sets, and `also` (fields it set last time)."""
        names = self.model_fields_set | {name for name in also if name in type(self).model_fields}
        return {name: plain(getattr(self, name)) for name in type(self).model_fields if name in names}

    def in_full(self) -> Values:
        """What stands behind values that are only a hash of it (`sha256:…`), by the names of these values.

        Where that holds a secret of the lab, the hash is neither shown nor kept: a short one can be guessed.
        """
        return {}

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Whether field `name` is not as wanted; both in the playbook's words."""
        return bool(wanted != there)

    @classmethod
    def counted(cls, name: str, wanted: Any, there: Any) -> Any:
        """What of the value `there` of field `name` counts beside `wanted`, and is shown in plans."""
        return there

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """The difference in field `name` in words (`tcp 8003 from 0.0.0.0/0 is missing`), or None."""
        return None

    def replaces(self, name: str, there: Values) -> bool:
        """Whether bringing field `name` to what is wanted needs a new resource."""
        return name in type(self).model_fields and FIXED in type(self).model_fields[name].metadata

    @classmethod
    def unsettles(cls, changed: frozenset[str]) -> frozenset[str]:
        """The outputs that an update of the fields `changed` may change."""
        return frozenset()

    @classmethod
    def lost_with(cls, there: Values) -> Sequence[str]:
        """Remarks on what is lost when the thing that reads `there` is deleted, or keeps it from going."""
        return ()

    def adopts(self, world: World) -> str | None:
        """The id of a thing not made by labctl that the playbook asks to take on as it is."""
        return None

    def foreseen(self) -> str | None:
        """The id that its create will give, where the playbook says it: for things known by their name.

        `find` is told it as `world.job.foreseen`: a create never confirmed is then found without searching.
        """
        return None

    def look_up(self, world: World) -> Values:
        """The outputs of a `lookup`, read now. Raises StepFailed with a remedy where nothing is found."""
        raise NotImplementedError(type(self).kind)

    def create(self, world: World) -> str:
        """Make it, with `world.job`'s tags and token in the create call itself; its id.

        Returns once it exists and can be used by what needs it. Raises LostAnswer where it may exist.
        """
        raise NotImplementedError(type(self).kind)

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """What is there of `ids`, in as few requests as the API allows; one that is missing is gone."""
        raise NotImplementedError(cls.kind)

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """Bring the fields `changed` of the thing `id` to what this says."""
        raise NotImplementedError(type(self).kind)

    @classmethod
    def retag(cls, world: World, id: str, there: Values, tags: Mapping[str, str | None]) -> None:
        """Set `tags` on the thing `id`, which reads `there`; None takes one away. For kinds with `tagged`."""
        raise NotImplementedError(cls.kind)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """Delete it and wait until it no longer stands in the way of others; quiet if gone already."""
        raise NotImplementedError(cls.kind)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """The ids of what a create for `world.job` (lab, address, token, foreseen) may have made."""
        raise NotImplementedError(cls.kind)

    def at(self, address: str, beside: Beside | None = None) -> Self:
        """The same resource, knowing its address, and what commands to run by hand go by besides."""
        copy = self.model_copy()
        copy._address = address
        copy._beside = beside or Beside()
        return copy

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """Shell commands that do the same by hand; `action` is create, update or delete."""
        return []

    @classmethod
    def retag_by_hand(cls, id: str, there: Values, tags: Mapping[str, str | None]) -> list[str]:
        """Shell commands that do the same as `retag` by hand."""
        return []

    def price(self) -> float | None:
        """What it costs in USD per hour while it runs; None where unknown, 0 where free."""
        return 0.0

    @classmethod
    def machine(cls, world: World, id: str, values: Values) -> Machine:
        """How to contact the machine behind a host; for kinds with `is_host`."""
        raise NotImplementedError(cls.kind)


@dataclass(frozen=True)
class Finding:
    """What was found at one stage of the way to a machine."""

    stage: str
    """`instance`, `address`, `port`, …: one word or two."""
    well: bool | None
    """None where it was not looked at, or does not matter."""
    what: str
    remedy: str = ""
    """The command, or else the words, that mend it."""
    about: str | None = None
    """The id of the resource that is not as it must be: where the lab's plan changes it, that mends it."""


@dataclass(frozen=True)
class Approach:
    """Where a connection to a machine comes from."""

    port: int = 22
    source: str | None = None
    """The private address of the host it is reached through; None for the user's own address."""


def _nothing(approach: Approach) -> list[Finding]:
    return []


@dataclass(frozen=True)
class Machine:
    """What a host kind tells about the machine behind it, for contacting it over SSH."""

    public_address: str | None
    private_address: str | None
    port: int = 22
    not_ready: Callable[[], str | None] = lambda: None
    """Why it cannot be contacted yet (`pending`, `status checks initializing`), asked anew at each call."""
    host_keys: Callable[[], list[str]] = list
    """Its public host keys (`ssh-ed25519 AAAA…`) where the platform tells them, asked at first contact."""
    explain: Callable[[], list[str]] = list
    """Why the network may not let the caller in, one line a cause, asked only after a failed contact."""
    shut_out: Callable[[], str | None] = lambda: None
    """What in the network certainly keeps the caller out, as it is now; asked now and then while waiting."""
    already_there: bool = False
    """The user's own SSH settings may say how to reach it."""
    examine: Callable[[Approach], list[Finding]] = _nothing
    """Every stage of the way to it as its platform tells, well or not; asked when the user wants to know."""


def plain(value: Any) -> Any:
    """`value` as plain data: models become dicts without what they leave unset, tuples become lists."""
    if isinstance(value, BaseModel):
        return {
            name: plain(getattr(value, name))
            for name in type(value).model_fields
            if getattr(value, name) is not None
        }
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
