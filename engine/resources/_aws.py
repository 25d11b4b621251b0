"""What all kinds of AWS share: insisting while AWS settles, finishing what was half made, and tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from engine.aws.errors import AwsError
from engine.errors import HalfMade, LabctlError, StepFailed

if TYPE_CHECKING:
    from engine.world import World

T = TypeVar("T")


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


def finish(world: World, id: str, step: Callable[[], object]) -> None:
    """The second half of a create: when it fails, the thing `id` is there all the same (HalfMade)."""
    try:
        step()
    except LabctlError as error:
        raise HalfMade(id, error.message, error.remedy) from error


def seconds(world: World, default: float) -> float:
    """How long a step may wait: what the playbook allows it, else `default`."""
    return world.job.timeout or default


def sorted_out(tags: Mapping[str, str | None]) -> tuple[dict[str, str], list[str]]:
    """The tags to set, and the keys of those to take away."""
    wanted = {key: text for key, text in tags.items() if text is not None}
    return wanted, [key for key in tags if key not in wanted]
