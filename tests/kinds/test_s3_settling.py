"""What S3 says while it settles, and what it says of other people's buckets; answers stand in the tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from engine.aws import Aws
from engine.aws.errors import AwsError
from engine.errors import HalfMade, LostAnswer, StepFailed
from engine.hosts import Hosts
from engine.resource import Resource
from engine.resources.s3.buckets import S3Bucket
from engine.resources.s3.objects import S3Object
from engine.world import Job, World
from tests.kinds.scripted_aws import check_request

Answer = dict[str, Any] | Exception


class Answering(Aws):
    """An AWS with answers for some operations; the last one serves from then on. All else gets an empty one.

    Each request must be one that S3's model allows.
    """

    def __init__(self, **answers: list[Answer]) -> None:
        now = iter(range(10**9))
        super().__init__(region="us-east-1", sleep=lambda seconds: None, clock=lambda: float(next(now)))
        self.answers = answers
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def call(
        self, service: str, operation: str, *, retry: bool | None = None, **params: Any
    ) -> dict[str, Any]:
        """The next answer to it."""
        check_request(service, operation, params)
        self.sent.append((operation, params))
        answers = self.answers.get(operation) or [{}]
        answer = answers[0] if len(answers) == 1 else answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def count(self, operation: str) -> int:
        """How often it was asked."""
        return [name for name, _ in self.sent].count(operation)

    def in_region(self, region: str) -> Aws:
        """The same answers are for all regions."""
        return self


def no(code: str, said: str = "no") -> AwsError:
    return AwsError("Operation", code, said)


def world(aws: Aws) -> World:
    tags = {"labctl:lab": "lab@here", "labctl:address": "thing"}
    return World("lab@here", aws, cast(Hosts, None), Job("thing", "token-1", tags=tags))


def made(resource: Resource, **answers: list[Answer]) -> Answering:
    aws = Answering(**answers)
    resource.create(world(aws))
    return aws


def failure(act: Callable[[], object]) -> StepFailed:
    with pytest.raises(StepFailed) as caught:
        act()
    return caught.value


GONE = no("404", "Not Found")


def test_a_name_that_was_just_freed_may_take_a_while() -> None:
    aws = made(
        S3Bucket(name="a-bucket"), head_bucket=[GONE], create_bucket=[no("OperationAborted")] * 3 + [{}]
    )
    assert aws.count("create_bucket") == 4


def test_what_create_bucket_is_sent() -> None:
    wish = S3Bucket(name="a-bucket", region="eu-west-3", force=True, object_lock_enabled=True)
    aws = made(wish, head_bucket=[GONE])
    [sent] = [params for name, params in aws.sent if name == "create_bucket"]
    tags = {tag["Key"]: tag["Value"] for tag in sent["CreateBucketConfiguration"].pop("Tags")}
    assert tags == {
        "Name": "lab@here thing",
        "labctl:lab": "lab@here",
        "labctl:address": "thing",
        "labctl:token": "token-1",
        "labctl:force": "true",
    }
    assert sent == {
        "Bucket": "a-bucket",
        "CreateBucketConfiguration": {"LocationConstraint": "eu-west-3"},
        "ObjectOwnership": "BucketOwnerEnforced",
        "ObjectLockEnabledForBucket": True,
    }


def test_a_bucket_of_another_account() -> None:
    aws = Answering(head_bucket=[no("403", "Forbidden")])
    error = failure(lambda: S3Bucket(name="a-bucket").create(world(aws)))
    assert (
        error.message == "another account has a bucket called a-bucket already, and this lab did not make it"
    )
    assert "adopt" not in error.remedy
    assert aws.count("create_bucket") == 0


def test_a_bucket_that_somebody_was_quicker_to_make() -> None:
    aws = Answering(head_bucket=[GONE], create_bucket=[no("BucketAlreadyExists")])
    error = failure(lambda: S3Bucket(name="a-bucket").create(world(aws)))
    assert "shared by all accounts of the world" in error.message
    assert "{{ lab.slug }}" in error.remedy


def test_a_lost_answer_is_told_as_such() -> None:
    aws = Answering(head_bucket=[GONE], create_bucket=[LostAnswer("no answer")])
    with pytest.raises(LostAnswer):
        S3Bucket(name="a-bucket").create(world(aws))
    assert aws.count("create_bucket") == 1


def test_a_new_bucket_may_not_be_seen_at_once() -> None:
    wish = S3Bucket(name="a-bucket", versioning=True)
    aws = made(wish, head_bucket=[GONE], put_bucket_versioning=[no("NoSuchBucket"), no("NoSuchBucket"), {}])
    assert aws.count("put_bucket_versioning") == 3


def test_the_block_may_hold_a_moment_longer() -> None:
    late = no(
        "AccessDenied",
        "because public policies are blocked by the BlockPublicPolicy block public access setting",
    )
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::a-bucket/*",
    }
    wish = S3Bucket.model_validate(
        {
            "name": "a-bucket",
            "public_access": {"block_public_policy": False},
            "policy": {"Version": "2012-10-17", "Statement": [statement]},
        }
    )
    aws = made(wish, head_bucket=[GONE], put_bucket_policy=[late, {}])
    order = [name for name, _ in aws.sent if name.startswith("put_")]
    assert order == ["put_public_access_block", "put_bucket_policy", "put_bucket_policy"]


def test_a_missing_permission_is_not_waited_for() -> None:
    wish = S3Bucket(name="a-bucket", versioning=True)
    aws = Answering(head_bucket=[GONE], put_bucket_versioning=[no("AccessDenied", "not authorized")])
    with pytest.raises(HalfMade, match="not allowed to do this"):
        wish.create(world(aws))
    assert aws.count("put_bucket_versioning") == 1


def test_what_a_retention_keeps_is_named() -> None:
    versions = {"Versions": [{"Key": "kept", "VersionId": "v1"}]}
    refused = {"Errors": [{"Key": "kept", "Code": "AccessDenied", "Message": "Access Denied"}]}
    aws = Answering(
        get_bucket_tagging=[{"TagSet": [{"Key": "labctl:force", "Value": "true"}]}],
        list_object_versions=[versions],
        delete_objects=[refused],
    )
    error = failure(lambda: S3Bucket.delete(world(aws), "a-bucket"))
    assert "1 objects of a-bucket cannot be deleted, kept for one: Access Denied" in error.message
    assert "retention" in error.remedy
    assert aws.count("delete_bucket") == 0


def test_a_delete_is_quiet_when_gone_and_waits_until_it_is() -> None:
    aws = Answering(get_bucket_tagging=[no("NoSuchBucket")])
    S3Bucket.delete(world(aws), "a-bucket")
    assert aws.count("delete_bucket") == 0
    aws = Answering(get_bucket_tagging=[no("NoSuchTagSet")], head_bucket=[{}, {}, GONE])
    S3Bucket.delete(world(aws), "a-bucket")
    assert aws.count("head_bucket") == 3


def test_two_puts_at_once_are_sorted_out() -> None:
    wish = S3Object(bucket="a-bucket", object="a", content="x")
    aws = made(wish, put_object=[no("ConditionalRequestConflict"), {"ETag": "e"}])
    assert [params["IfNoneMatch"] for name, params in aws.sent if name == "put_object"] == ["*", "*"]


def test_others_bucket_is_not_ours_though_it_has_the_name() -> None:
    told = Answering(get_bucket_tagging=[no("AccessDenied")])
    job = Job("thing", "token-1", foreseen="a-bucket")
    assert S3Bucket.find(world(told).on(job)) == []
