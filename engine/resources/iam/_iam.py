"""What the IAM kinds share: insisting while IAM settles, managed and inline policies, names, tags."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, BeforeValidator

from engine.aws.tags import narrow, tag_list, tags_for, told_tags
from engine.errors import StepFailed
from engine.refs import holds_unknown
from engine.resource import Fixed, Values, plain
from engine.resources.aws._aws import insist, once_propagated, ours, unless_gone
from engine.resources.aws._policy import canonical, document
from engine.resources.aws._services import InService
from engine.resources.aws._tagging import Tagging

if TYPE_CHECKING:
    from engine.world import World

OTHERS_STAY: Final = "others: stay"
"""The last item of a list whose further items are left alone."""
AWS_POLICIES: Final = ("", "service-role/", "job-function/", "aws-service-role/")
"""Paths below which AWS keeps its own policies."""
KEY_NOTES: Final = "labctl:access-key:"
"""What the tags begin with in which access keys leave notes on their user."""
_SETTLES: Final = 30.0
"""Seconds that IAM is given to show everywhere what was just made."""
_NAME: Final = re.compile(r"[A-Za-z0-9_+=,.@-]+")
_ARN: Final = re.compile(r"arn:aws[a-z-]*:iam::(?:aws|\d{12}):policy/[\x21-\x7e]+")
_PATH: Final = re.compile(r"/|/[\x21-\x7e]+/")
_DETAILS: Final = {
    "User": "UserDetailList",
    "Group": "GroupDetailList",
    "Role": "RoleDetailList",
    "LocalManagedPolicy": "Policies",
}


def _checked_name(value: str, longest: int) -> str:
    if len(value) > longest or not _NAME.fullmatch(value):
        raise ValueError(f"IAM allows 1 to {longest} letters, digits and _ + = , . @ - in a name, no spaces")
    return value


def _checked_path(value: str) -> str:
    if len(value) > 512 or not _PATH.fullmatch(value):
        raise ValueError("a path begins and ends with a slash: write one like /students/")
    return value


def _checked_managed(value: list[str]) -> list[str]:
    for item in value:
        if _ARN.fullmatch(item):
            continue
        if item.startswith("arn:"):
            raise ValueError(f"{item} is no ARN of a managed policy (arn:aws:iam::aws:policy/NAME)")
        _checked_name(item.rpartition("/")[2], 128)
    return value


def _checked_inline(value: Any) -> Any:
    """Each a checked document, whether written as YAML or as JSON text."""
    if not isinstance(value, Mapping):
        return value
    for name in value:
        _checked_name(name, 128)
    return {name: identity_policy(policy) for name, policy in value.items()}


Name64 = Annotated[str, AfterValidator(partial(_checked_name, longest=64))]
"""A name of at most 64 characters that IAM takes."""
Name128 = Annotated[str, AfterValidator(partial(_checked_name, longest=128))]
"""A name of at most 128 characters that IAM takes."""
IamPath = Annotated[str, AfterValidator(_checked_path)]
"""A path that IAM takes."""
ManagedPolicies = Annotated[list[str], AfterValidator(_checked_managed)]
"""Names or ARNs of managed policies."""
InlinePolicies = Annotated[dict[str, Any], BeforeValidator(_checked_inline)]
"""Inline policies by name."""


def identity_policy(value: Any) -> Any:
    """A document that says what its bearer may do. Raises ValueError in words."""
    policy = document(value)
    for at, statement in enumerate(statements(policy)):
        what = f"statement {at + 1}"
        if "Principal" in statement or "NotPrincipal" in statement:
            raise ValueError(f"{what}: no Principal here, whoever the policy is attached to is meant")
        if ("Resource" in statement) == ("NotResource" in statement):
            raise ValueError(f"{what} needs either Resource or NotResource")
        _check_actions(statement, what)
    return policy


def trust_policy(value: Any) -> Any:
    """A document that says who may take on a role. Raises ValueError in words."""
    policy = document(value)
    for at, statement in enumerate(statements(policy)):
        what = f"statement {at + 1}"
        if "Principal" not in statement and "NotPrincipal" not in statement:
            raise ValueError(
                f"{what} needs a Principal: who may take on the role (`Service: ec2.amazonaws.com`)"
            )
        if "Resource" in statement or "NotResource" in statement:
            raise ValueError(f"{what}: no Resource here, the role itself is meant")
        _check_actions(statement, what)
    return policy


def statements(policy: Any) -> list[Mapping[str, Any]]:
    """The statements of a checked document that are known."""
    if not isinstance(policy, Mapping):
        return []
    given = policy.get("Statement", [])
    listed = given if isinstance(given, list) else [given]
    return [each for each in listed if isinstance(each, Mapping)]


def _check_actions(statement: Mapping[str, Any], what: str) -> None:
    given = statement.get("Action", statement.get("NotAction"))
    for action in given if isinstance(given, list) else [given]:
        if isinstance(action, str) and not re.fullmatch(r"\*|[A-Za-z0-9-]+:[A-Za-z0-9*?]+", action):
            raise ValueError(f"{what}: {action!r} is no action: write one like s3:GetObject or ec2:*")


def fits(policy: Any, most: int, what: str) -> Any:
    """A document no longer than IAM takes: characters without spaces. Raises ValueError in words."""
    if isinstance(policy, Mapping) and not holds_unknown(policy):
        size = len(as_json(policy))
        if size > most:
            raise ValueError(f"{what} may have {most} characters, this one has {size}: split it")
    return policy


def as_json(policy: Any) -> str:
    """A document as it is sent."""
    return json.dumps(plain(policy), separators=(",", ":"))


def read_document(given: Any) -> Any:
    """A document as IAM tells it."""
    return json.loads(given) if isinstance(given, str) else given


def same_policies(wanted: Any, there: Any) -> bool:
    """Whether the managed policies attached are those asked for, each by name or ARN."""
    missing, extra = compared(wanted, there)
    return not missing and not extra


def compared(wanted: Sequence[str], there: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is asked for and not there, and what is there unasked (nothing where others may stay)."""
    asked = [item for item in wanted if item != OTHERS_STAY]
    missing = [item for item in asked if not any(_is(item, arn) for arn in there)]
    extra = [arn for arn in there if not any(_is(item, arn) for item in asked)]
    return missing, [] if OTHERS_STAY in wanted else extra


def _is(item: str, arn: str) -> bool:
    return item == arn or (not item.startswith("arn:") and arn.endswith(f"/{item}"))


def difference(wanted: Any, there: Any, is_there: str, noun: str = "") -> str | None:
    """What is missing of a list and what is too much, in words."""
    if not isinstance(wanted, list) or not isinstance(there, list):
        return None
    missing, extra = compared(wanted, there)
    short = [arn.rpartition("/")[2] for arn in extra]
    words = [f"{item.rpartition('/')[2]} is not {is_there}" for item in missing]
    words += [f"{noun}{item} is {is_there} and not in the playbook" for item in short]
    return ", ".join(words) or None


def ask(world: World, operation: str, **params: Any) -> dict[str, Any]:
    """An IAM request that may be sent twice without harm; sent again while IAM is busy with the thing."""
    return insist(
        world,
        lambda: world.aws.call("iam", operation, retry=True, **params),
        lambda error: error.code in {"ConcurrentModification", "EntityTemporarilyUnmodifiable"},
        what="IAM to be done with an earlier request about it",
        timeout=_SETTLES,
    )


def make(world: World, operation: str, **params: Any) -> dict[str, Any]:
    """An IAM create. A principal it names may have been made a moment ago."""
    return once_propagated(world, lambda: world.aws.call("iam", operation, **params))


def settled(world: World, operation: str, **params: Any) -> dict[str, Any]:
    """A harmless request about something made a moment ago, which not all of IAM may have seen."""
    return insist(
        world,
        lambda: ask(world, operation, **params),
        lambda error: error.not_found,
        what="IAM to see what was just made",
        timeout=_SETTLES,
    )


def quietly(world: World, operation: str, **params: Any) -> dict[str, Any] | None:
    """A request about something that may be gone; None where it is."""
    return unless_gone(lambda: ask(world, operation, **params))


def listed(world: World, operation: str, key: str, **params: Any) -> list[dict[str, Any]]:
    """All that a list call tells below `key` of something that may be gone; nothing where it is."""
    return unless_gone(lambda: world.aws.pages("iam", operation, key, **params)) or []


def details(world: World, sort: str) -> list[dict[str, Any]]:
    """All users, groups, roles or own policies of the account with what is attached to them, 100 a request.

    GetAccountAuthorizationDetails: the only call that tells policies and tags of many at once.
    """
    return world.aws.pages(
        "iam", "get_account_authorization_details", _DETAILS[sort], Filter=[sort], MaxItems=100
    )


def partition(world: World) -> str:
    """`aws`, or what AWS's regions in China and for governments begin their ARNs with."""
    region = world.aws.region
    return "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"


def policy_arn(world: World, name: str) -> str:
    """The ARN of a managed policy by its name: AWS's own, else the account's. Raises StepFailed."""
    if name.startswith("arn:"):
        return name
    beginning = f"arn:{partition(world)}:iam::"
    paths = ("",) if "/" in name else AWS_POLICIES
    candidates = [f"{beginning}aws:policy/{path}{name}" for path in paths]
    candidates.append(f"{beginning}{world.aws.account_id()}:policy/{name}")
    for arn in candidates:
        if quietly(world, "get_policy", PolicyArn=arn) is not None:
            return arn
    raise StepFailed(
        f"there is no managed policy {name}, neither of AWS nor in this account",
        "look it up with `aws iam list-policies --query 'Policies[].Arn'`; its ARN works, too",
    )


@dataclass(frozen=True)
class Bearer:
    """What policies can be attached to: a user, a group or a role, by name."""

    sort: Literal["user", "group", "role"]
    name: str

    @property
    def _whose(self) -> dict[str, str]:
        return {f"{self.sort.title()}Name": self.name}

    def bring(self, world: World, wanted: Values, changed: Set[str]) -> None:
        """Bring what of its boundary, managed and inline policies is `changed` to what is `wanted`."""
        if "boundary" in changed:
            self._set_boundary(world, wanted.get("boundary"))
        if "managed_policies" in changed:
            self._set_managed(world, wanted.get("managed_policies") or [])
        if "inline_policies" in changed:
            self._set_inline(world, wanted.get("inline_policies") or {})

    def give(self, world: World, wanted: Values) -> None:
        """Attach what is `wanted` to a thing made a moment ago, which bears nothing but its boundary."""
        given = {name for name in ("managed_policies", "inline_policies") if wanted.get(name)}
        self.bring(world, wanted, given)

    def _set_managed(self, world: World, wanted: Sequence[str]) -> None:
        """Attach what is missing, detach what is not wanted (unless others may stay)."""
        missing, extra = compared(wanted, self._managed(world))
        for item in missing:
            settled(world, f"attach_{self.sort}_policy", **self._whose, PolicyArn=policy_arn(world, item))
        for arn in extra:
            quietly(world, f"detach_{self.sort}_policy", **self._whose, PolicyArn=arn)

    def _managed(self, world: World) -> list[str]:
        """The ARNs of the managed policies attached to it."""
        operation = f"list_attached_{self.sort}_policies"
        found = world.aws.pages("iam", operation, "AttachedPolicies", **self._whose)
        return [str(policy["PolicyArn"]) for policy in found]

    def _set_inline(self, world: World, wanted: Mapping[str, Any]) -> None:
        """Put the inline policies that are wanted, take away the others."""
        for name, policy in wanted.items():
            put = {"PolicyName": name, "PolicyDocument": as_json(policy)}
            settled(world, f"put_{self.sort}_policy", **self._whose, **put)
        for name in self._inline(world):
            if name not in wanted:
                quietly(world, f"delete_{self.sort}_policy", **self._whose, PolicyName=name)

    def _inline(self, world: World) -> list[str]:
        """The names of its inline policies."""
        found = world.aws.pages("iam", f"list_{self.sort}_policies", "PolicyNames", **self._whose)
        return [str(name) for name in found]

    def _set_boundary(self, world: World, boundary: str | None) -> None:
        """Put its permissions boundary, or take it away."""
        if boundary:
            arn = policy_arn(world, boundary)
            settled(world, f"put_{self.sort}_permissions_boundary", **self._whose, PermissionsBoundary=arn)
        else:
            quietly(world, f"delete_{self.sort}_permissions_boundary", **self._whose)

    def strip(self, world: World) -> None:
        """Detach and delete all its policies; quiet where it is gone."""
        for arn in unless_gone(lambda: self._managed(world)) or ():
            quietly(world, f"detach_{self.sort}_policy", **self._whose, PolicyArn=arn)
        for name in unless_gone(lambda: self._inline(world)) or ():
            quietly(world, f"delete_{self.sort}_policy", **self._whose, PolicyName=name)


def attached(detail: Mapping[str, Any]) -> list[str]:
    """The ARNs of the managed policies in a detail."""
    return sorted(str(policy["PolicyArn"]) for policy in detail.get("AttachedManagedPolicies", ()))


def inline_in(detail: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The inline policies in a detail, by name."""
    return {policy["PolicyName"]: read_document(policy["PolicyDocument"]) for policy in detail.get(key, ())}


def boundary_in(detail: Mapping[str, Any]) -> str | None:
    """The ARN of the permissions boundary in a detail."""
    arn = (detail.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn")
    return str(arn) if arn else None


def tags_sent(world: World, more: Mapping[str, str] | None = None) -> list[dict[str, str]]:
    """The tags of a create call, in the letters that IAM takes."""
    return tag_list(narrow(tags_for(world, more)))


def tags_read(thing: Mapping[str, Any]) -> dict[str, str]:
    """All tags of a thing as they were meant."""
    return told_tags(thing.get("Tags"))


def tagging_of(sort: str, whose: str) -> Tagging:
    """TagRole and UntagRole for the sort `role`, named by `RoleName`."""
    return Tagging("iam", f"tag_{sort}", f"untag_{sort}", whose, settles=_SETTLES)


class InIam(InService):
    """What the kinds of IAM that have a name, and bear policies or tags, have in common."""

    _sort: ClassVar[str] = ""
    """What IAM's operations call it: `role` in GetRole."""

    name: Fixed[str]

    def foreseen(self) -> str | None:
        """Its name."""
        return self.name

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Policies by name or ARN in any order; documents by what they mean."""
        if name in {"managed_policies", "groups", "users"} and isinstance(wanted, list):
            return not same_policies(wanted, there or [])
        if name == "boundary" and isinstance(wanted, str) and isinstance(there, str):
            return not _is(wanted, there)
        if name == "inline_policies" and isinstance(wanted, Mapping):
            return bool(changed_inline(wanted, there or {})) or bool((there or {}).keys() - wanted.keys())
        if name in {"assume_role_policy_document", "policy"}:
            return bool(canonical(wanted) != canonical(there))
        return super().differs(name, wanted, there)

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """Which policies or members are missing or too many."""
        if name == "managed_policies":
            return difference(wanted, there, "attached")
        if name == "groups":
            return difference(wanted, there, "one of its groups")
        if name == "users":
            return difference(wanted, there, "in the group")
        if name == "inline_policies" and isinstance(wanted, Mapping) and isinstance(there, Mapping):
            words = [f"the inline policy {item} differs" for item in changed_inline(wanted, there)]
            gone = sorted(there.keys() - wanted.keys())
            words += [f"the inline policy {item} is not in the playbook" for item in gone]
            return ", ".join(words) or None
        return super().describe_difference(name, wanted, there)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """The one of the name that the create was for, if its tags say that this create made it."""

        def tags_of(name: str) -> dict[str, str] | None:
            answer = quietly(world, f"get_{cls._sort}", **{cls.tagging.whose: name})
            if answer is None:
                return None
            (thing,) = (value for key, value in answer.items() if key != "ResponseMetadata")
            return tags_read(thing)

        return ours(world, tags_of)

    def _note_purges(self, values: Values, purges: Mapping[str, str]) -> Values:
        """The values asked for; a last item `others: stay` in lists whose other items are left alone."""
        for name, purge in purges.items():
            values.pop(purge, None)
            if getattr(self, purge) is False and isinstance(values.get(name), list):
                values[name] = [*values[name], OTHERS_STAY]
        return values


def changed_inline(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """The names of wanted inline policies that are missing or say something else."""
    return [name for name in wanted if canonical(wanted[name]) != canonical(there.get(name))]
