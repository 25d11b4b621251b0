"""How long a create insists while AWS does not see yet what it refers to, on a clock of its own."""

from __future__ import annotations

from typing import Any

import pytest

from engine.aws import Aws
from engine.aws.errors import AwsError
from engine.resources.ec2._ec2 import make
from engine.world import Job, World

PROFILE = "Value (lab) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
LATE_PROFILE = AwsError("RunInstances", "InvalidParameterValue", PROFILE)
LATE_GROUP = AwsError("RunInstances", "InvalidGroup.NotFound", "The security group does not exist")
OTHER = AwsError("RunInstances", "InvalidParameterValue", "Value (x) for parameter userData is invalid")


class Slow(Aws):
    """Refuses every request with an error until a time on its own clock."""

    def __init__(self, refusal: AwsError, until: float) -> None:
        super().__init__(region="us-east-1", clock=lambda: self.now, sleep=self._pass)
        self.now, self.refusal, self.until = 0.0, refusal, until

    def _pass(self, seconds: float) -> None:
        self.now += seconds

    def call(
        self, service: str, operation: str, *, retry: bool | None = None, **params: Any
    ) -> dict[str, Any]:
        if self.now < self.until:
            raise self.refusal
        return {"done": self.now}


def made(aws: Aws, said: list[str]) -> dict[str, Any]:
    job = Job(address="it", tags={}, say=said.append)
    return make(World("toy@here", aws, None, job), "run_instances")  # type: ignore[arg-type]


def test_an_instance_profile_made_a_moment_ago_has_a_minute() -> None:
    said: list[str] = []
    assert 45 <= made(Slow(LATE_PROFILE, 45), said)["done"] < 60
    assert said == ["waiting for IAM to show EC2 the instance profile"]


@pytest.mark.parametrize(("refusal", "seconds"), [(LATE_PROFILE, 60), (LATE_GROUP, 15), (OTHER, 0)])
def test_what_stays_refused_is_told_in_aws_words(refusal: AwsError, seconds: float) -> None:
    aws = Slow(refusal, 1000)
    with pytest.raises(AwsError) as caught:
        made(aws, [])
    assert caught.value is refusal
    assert aws.now == pytest.approx(seconds)
