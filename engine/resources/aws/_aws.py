"""What all kinds of AWS share: insisting while AWS settles, finishing what was half made, and tags."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import AfterValidator

from engine.aws.errors import AwsError
from engine.aws.tags import is_made_by
from engine.errors import HalfMade, LabctlError, StepFailed
from engine.refs import Unknown

if TYPE_CHECKING:
    from engine.resource import Place
    from engine.world import World

T = TypeVar("T")

_IAM_SETTLES: Final = 60.0
"""Seconds that IAM is given to show a role made a moment ago to the services that take it on."""
_LATE_ROLE_CODES: Final = frozenset(
    {
        "InvalidParameterValueException",  # Lambda, ECS, EKS
        "InvalidParameterValue",  # EC2, RDS
        "InvalidParameterException",  # ECS, ECR, Logs
        "InvalidRequestException",  # EKS
        "ValidationException",  # SageMaker, Step Functions
        "ValidationError",  # Auto Scaling, CloudFormation
        "ClientException",  # ECS
        "InvalidInput",
        "MalformedPolicyDocument",  # a principal that IAM does not know yet
        "MalformedPolicy",  # S3
        "AccessDeniedException",
    }
)
_LATE_ROLE_WORDS: Final = (
    "cannot be assumed",  # Lambda
    "unable to assume",  # ECS, EC2
    "could not assume",  # SageMaker
    "not authorized to perform: sts:assumerole",
    "is not authorized to assume",
    "no permission to assume",
    "does not exist or is not attachable",
    "invalid iam instance profile",
    "invalid iaminstanceprofile",
    "role is invalid or cannot be assumed",
    "invalid principal in policy",
    "verify that the iam role",
    "not authorized to call sts:assumerole",
    "role with arn",
)
"""What services say, in small letters, of a role that they cannot see or assume (yet)."""


def iam_actions(service: str, names: str) -> tuple[str, ...]:
    """IAM's actions of a service by name, for `Resource.actions`: `ec2`, `RunInstances StopInstances`."""
    return tuple(f"{service}:{name}" for name in sorted(names.split()))


def propagating(error: AwsError) -> bool:
    """Whether a service was refused a role (or profile) that IAM may have made a moment ago.

    Each service says it in its own words; IAM shows new roles everywhere after some seconds.
    """
    said = error.said.lower()
    return error.code in _LATE_ROLE_CODES and any(words in said for words in _LATE_ROLE_WORDS)


def once_propagated(world: World, act: Callable[[], T]) -> T:
    """What `act` gives, tried again for a minute while its role is not yet known where it is needed."""
    return insist(world, act, propagating, what="IAM to show the role everywhere", timeout=_IAM_SETTLES)


def insist(
    world: World, act: Callable[[], T], passing: Callable[[AwsError], bool], *, what: str, timeout: float
) -> T:
    """What `act` gives, tried again while AWS refuses for a `passing` reason; its last refusal in the end."""
    refusals: list[AwsError] = []

    def attempt() -> tuple[T] | None:
        try:
            return (act(),)
        except AwsError as error:
            if not passing(error):
                raise
            refusals.append(error)
            return None

    try:
        return world.aws.poll(attempt, what=what, timeout=timeout, say=world.job.say)[0]
    except AwsError:
        raise
    except StepFailed as error:
        raise (refusals[-1] if refusals else error) from None


def unless_gone(act: Callable[[], T], *codes: str) -> T | None:
    """What `act` gives; None where what it is about is not there, or where the refusal is one of `codes`."""
    try:
        return act()
    except AwsError as error:
        if not error.not_found and error.code not in codes:
            raise
        return None


def ours(world: World, tags_of: Callable[[str], Mapping[str, str] | None]) -> list[str]:
    """For `find` of what has a name: the foreseen one, where its tags say that this create made it.

    `tags_of` is asked for the tags of what has that name; None where there is nothing.
    """
    name = world.job.foreseen
    tags = tags_of(name) if name else None
    return [name] if tags is not None and is_made_by(world, tags) else []


def finish(world: World, id: str, step: Callable[[], object]) -> None:
    """The second half of a create: when it fails, the thing `id` is there all the same (HalfMade)."""
    try:
        step()
    except LabctlError as error:
        raise HalfMade(id, error.message, error.remedy) from error


def seconds(world: World, default: float) -> float:
    """How long a step may wait: what the playbook allows it, else `default`."""
    return world.job.timeout or default


def set_ones(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a request that are set: None, which AWS does not take, leaves one out."""
    return {name: value for name, value in params.items() if value is not None}


def sorted_out(tags: Mapping[str, str | None]) -> tuple[dict[str, str], list[str]]:
    """The tags to set, and the keys of those to take away."""
    wanted = {key: text for key, text in tags.items() if text is not None}
    return wanted, [key for key in tags if key not in wanted]


def as_text(value: Any) -> Any:
    """A setting in the texts that many APIs want; what is left out or not known yet stays as it is."""
    if value is None or isinstance(value, Unknown):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)


def service_linked_role(place: Place, service: str, name: str) -> dict[str, list[str]]:
    """For `Resource.reach`: the one role that a service makes for itself when it is first used."""
    role = f"role/aws-service-role/{service}.amazonaws.com/AWSServiceRoleFor{name}"
    return {"iam:CreateServiceLinkedRole": [place.arn("iam", role, regional=False)]}


def shaped(pattern: str, words: str) -> AfterValidator:
    """For a field's type: texts of another form are refused with `words` about what it must be."""
    form = re.compile(pattern)

    def check(value: str) -> str:
        if not form.fullmatch(value):
            raise ValueError(f"{value!r} will not do: {words}")
        return value

    return AfterValidator(check)
