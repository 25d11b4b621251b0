"""An example of each kind that carries messages."""

from __future__ import annotations

from engine.resource import Resource
from engine.resources.aws.sns import SnsTopic
from engine.resources.aws.sqs import SqsQueue
from tests.kinds.aws_examples import Example
from tests.kinds.aws_stage import Stage


def a_queue(stage: Stage, name: str = "queue") -> str:
    return str(stage.make(SqsQueue(name=f"{stage.lab}-{name}"), name)["queue_arn"])


def topic(stage: Stage) -> tuple[Resource, Resource | None]:
    one, two = a_queue(stage, "one"), a_queue(stage, "two")
    name = f"{stage.lab}-news"
    first = {
        "name": name,
        "display_name": "News",
        "subscriptions": [{"protocol": "sqs", "endpoint": one}],
    }
    statement = {
        "Sid": "pay",
        "Effect": "Allow",
        "Principal": {"Service": "budgets.amazonaws.com"},
        "Action": "SNS:Publish",
        "Resource": "*",
    }
    second = {
        "name": name,
        "display_name": "Old news",
        "policy": {"Version": "2012-10-17", "Statement": [statement]},
        "subscriptions": [
            {"protocol": "sqs", "endpoint": two, "raw_message_delivery": True, "filter_policy": {"a": ["b"]}}
        ],
    }
    return SnsTopic.model_validate(first), SnsTopic.model_validate(second)


def queue(stage: Stage) -> tuple[Resource, Resource | None]:
    dead = a_queue(stage, "dead")
    name = f"{stage.lab}-work"
    first = SqsQueue(name=name, default_visibility_timeout=60, receive_message_wait_time_seconds=20)
    second = {
        "name": name,
        "default_visibility_timeout": 90,
        "message_retention_period": 3600,
        "redrive_policy": {"dead_letter_target_arn": dead, "max_receive_count": 3},
    }
    return first, SqsQueue.model_validate(second)


EXAMPLES: dict[str, Example] = {"sns_topic": topic, "sqs_queue": queue}
