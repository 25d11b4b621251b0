"""Single verbs: what they ask of the world around what a kind does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

import pytest

from engine import verbs
from engine.aws.errors import AwsError
from engine.change import Entry
from engine.errors import LabctlError, StepFailed
from engine.resource import Resource
from engine.world import Job, World


class Refused(Resource):
    """A kind whose create fails as told; what it made shows only later."""

    kind: ClassVar[str] = "refused"
    failure: ClassVar[LabctlError]
    looks: ClassVar[list[float]]

    def create(self, world: World) -> str:
        raise type(self).failure

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, dict[str, object]]:
        return {id: {} for id in ids}

    @classmethod
    def find(cls, world: World) -> list[str]:
        cls.looks.append(time.monotonic())
        return ["it"] if len(cls.looks) > 1 else []


def made(failure: LabctlError) -> verbs.Did:
    Refused.failure, Refused.looks = failure, []
    world = World(lab="toy@here", aws=None, hosts=None).on(Job(address="it", tags={}))  # type: ignore[arg-type]
    task = verbs.Task(Refused, world, b"key", Entry("it", "refused", None), Refused())
    return verbs.make(task)


def test_after_a_definite_refusal_nothing_is_waited_for() -> None:
    refused = AwsError("CreateSecurityGroup", "InvalidGroup.Duplicate", "it exists")
    did = made(refused)
    assert (did.id, did.error) == (None, refused)
    assert len(Refused.looks) == 1


@pytest.mark.parametrize(
    "failure", [StepFailed("the file cannot be written"), AwsError("CreateVpc", "InternalError", "sorry")]
)
def test_after_any_other_failure_what_was_made_has_time_to_show(failure: LabctlError) -> None:
    assert made(failure).id == "it"
    assert len(Refused.looks) == 2


class Overwritten(Refused):
    """A kind whose text is compared by a hash, and written over as soon as it is there."""

    kind: ClassVar[str] = "overwritten"
    text: str = "hush"

    def create(self, world: World) -> str:
        return "it"

    def in_full(self) -> dict[str, object]:
        return {"text": self.text}


def test_hashes_are_not_told_in_errors() -> None:
    job = Job(address="it", tags={})
    world = World(lab="toy@here", aws=None, hosts=None).on(job)  # type: ignore[arg-type]
    entry = Entry("it", "overwritten", None)
    did = verbs.make(verbs.Task(Overwritten, world, b"key", entry, Overwritten(text="hush"), patience=0))
    assert did.error is not None
    assert did.error.message == "it was changed, but text does not read as wanted"
