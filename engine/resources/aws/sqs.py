"""SQS queues."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from engine.aws.tags import is_made_by, narrow, tags_for, told_tags
from engine.by_hand import JsonText, assign, aws, itself, json_word, told, word
from engine.errors import StepFailed
from engine.refs import Unknown
from engine.resource import Fields, Fixed, Id, Output, Place, Values, plain
from engine.resources.aws._aws import as_text, iam_actions, insist
from engine.resources.aws._messaging import check_name
from engine.resources.aws._policy import Policy, canonical
from engine.resources.aws._services import InService, given, quietly, settled
from engine.resources.aws._tagging import Tagging

if TYPE_CHECKING:
    from engine.world import World

_DELETED_LATELY: Final = 75.0
"""Seconds until SQS takes the name of a queue that was deleted (it says 60)."""


class Redrive(Fields):
    """Where messages go that nobody could handle."""

    dead_letter_target_arn: Id
    """The ARN of the queue that takes them, of the same type."""
    max_receive_count: int = Field(default=5, ge=1, le=1000)
    """After so many receives a message goes there."""


_NUMBERS: Final = {
    "default_visibility_timeout": "VisibilityTimeout",
    "message_retention_period": "MessageRetentionPeriod",
    "maximum_message_size": "MaximumMessageSize",
    "delay_seconds": "DelaySeconds",
    "receive_message_wait_time_seconds": "ReceiveMessageWaitTimeSeconds",
    "kms_data_key_reuse_period_seconds": "KmsDataKeyReusePeriodSeconds",
}


class SqsQueue(InService):
    """An SQS queue: messages wait in it until a program takes them out."""

    kind: ClassVar[str] = "sqs_queue"
    actions: ClassVar[Sequence[str]] = iam_actions(
        "sqs",
        """
        CreateQueue DeleteQueue GetQueueAttributes GetQueueUrl ListQueueTags SetQueueAttributes TagQueue
        UntagQueue
        """,
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("its URL"),
        "queue_url": Output("the same as id"),
        "queue_arn": Output("its ARN"),
        "messages": Output("about how many messages wait in it"),
    }
    tagging: ClassVar[Tagging] = Tagging("sqs", "tag_queue", "untag_queue", "QueueUrl", form="map")

    name: Fixed[str]
    """1 to 80 letters, digits, - and _; a FIFO queue's ends in .fifo."""
    queue_type: Fixed[Literal["standard", "fifo"]] = "standard"
    """`fifo`: in order and exactly once."""
    default_visibility_timeout: int | None = Field(default=None, ge=0, le=43200)
    """Seconds that a message taken out is hidden from others; AWS's default is 30."""
    message_retention_period: int | None = Field(default=None, ge=60, le=1209600)
    """Seconds that messages are kept; AWS's default is 4 days."""
    maximum_message_size: int | None = Field(default=None, ge=1024, le=1048576)
    """Bytes."""
    delay_seconds: int | None = Field(default=None, ge=0, le=900)
    """Seconds until a message can be taken out."""
    receive_message_wait_time_seconds: int | None = Field(default=None, ge=0, le=20)
    """Seconds that a receive waits for a message; 20 is the cheapest."""
    policy: Policy | None = None
    """Who may send and receive, as YAML or JSON; where left out, the account alone."""
    redrive_policy: Redrive | None = None
    """Where messages go that nobody could handle."""
    kms_master_key_id: str | None = None
    """The key that messages are encrypted with; where left out, SQS's own."""
    kms_data_key_reuse_period_seconds: int | None = Field(default=None, ge=60, le=86400)
    """Seconds that a data key is used before KMS is asked for another."""
    content_based_deduplication: bool | None = None
    """A FIFO queue tells repeated messages by their content."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        check_name(self.name, 80, self.queue_type)
        if self.queue_type == "standard" and self.content_based_deduplication is not None:
            raise ValueError("content_based_deduplication is for queue_type: fifo")
        return self

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Policies by what they mean."""
        if name == "policy":
            return bool(canonical(wanted) != canonical(there))
        return super().differs(name, wanted, there)

    def foreseen(self) -> str | None:
        """Its name, in which its URL ends."""
        return self.name

    def create(self, world: World) -> str:
        """CreateQueue with attributes and tags; a name used within the last minute is waited for."""
        attributes = self._attributes()
        if self.queue_type == "fifo":
            attributes["FifoQueue"] = "true"
        tags = narrow(tags_for(world))
        # SQS gives the queue of the name if its attributes are the same, whoever made it.
        if self._there(world) is not None:
            raise StepFailed(
                f"a queue {self.name} is there already, and this lab did not make it",
                "choose another name, or delete that queue if nobody needs it",
            )
        answer = insist(
            world,
            lambda: world.aws.call(
                "sqs", "create_queue", QueueName=self.name, Attributes=attributes, tags=tags
            ),
            lambda error: error.code.endswith("QueueDeletedRecently"),
            what="SQS to take the name of a queue deleted a moment ago",
            timeout=_DELETED_LATELY,
        )
        return str(answer["QueueUrl"])

    def _there(self, world: World) -> str | None:
        answer = quietly(world, "sqs", "get_queue_url", QueueName=self.name)
        if answer is None or type(self)._made(world, str(answer["QueueUrl"])):
            return None
        return str(answer["QueueUrl"])

    @classmethod
    def _made(cls, world: World, url: str) -> bool:
        answer = quietly(world, "sqs", "list_queue_tags", QueueUrl=url)
        return answer is not None and is_made_by(world, told_tags(answer.get("Tags")))

    def _attributes(self, as_json: Callable[[Any], Any] = json.dumps) -> dict[str, Any]:
        """The attributes, documents among them as `as_json` gives them."""
        redrive: Any = self.redrive_policy
        if isinstance(redrive, Redrive):
            target = plain(redrive.dead_letter_target_arn)
            redrive = {"deadLetterTargetArn": target, "maxReceiveCount": redrive.max_receive_count}
        return given(
            **{held: as_text(getattr(self, name)) for name, held in _NUMBERS.items()},
            Policy=None if self.policy is None else as_json(plain(self.policy)),
            KmsMasterKeyId=self.kms_master_key_id,
            ContentBasedDeduplication=as_text(self.content_based_deduplication),
            RedrivePolicy=None if redrive is None else as_json(redrive),
        )

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """GetQueueAttributes and ListQueueTags for each: no call of SQS tells these of many queues."""
        found = {}
        for id in dict.fromkeys(ids):
            answer = quietly(world, "sqs", "get_queue_attributes", QueueUrl=id, AttributeNames=["All"])
            tags = quietly(world, "sqs", "list_queue_tags", QueueUrl=id) if answer else None
            if answer is None or tags is None:
                continue
            held = answer["Attributes"]
            redrive = json.loads(held["RedrivePolicy"]) if held.get("RedrivePolicy") else None
            found[id] = {
                "id": id,
                "queue_url": id,
                "queue_arn": held["QueueArn"],
                "messages": int(held.get("ApproximateNumberOfMessages", 0)),
                "name": held["QueueArn"].rpartition(":")[2],
                "queue_type": "fifo" if held.get("FifoQueue") == "true" else "standard",
                **{name: int(held[key]) for name, key in _NUMBERS.items() if key in held},
                "policy": json.loads(held["Policy"]) if held.get("Policy") else None,
                "redrive_policy": redrive
                and {
                    "dead_letter_target_arn": redrive["deadLetterTargetArn"],
                    "max_receive_count": int(redrive["maxReceiveCount"]),
                },
                "kms_master_key_id": held.get("KmsMasterKeyId"),
                "content_based_deduplication": held.get("ContentBasedDeduplication") == "true",
                "tags": cls.shown_tags(tags.get("Tags")),
            }
        return found

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """SetQueueAttributes, all in one request."""
        settled(world, "sqs", "set_queue_attributes", QueueUrl=id, Attributes=self._attributes())

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteQueue, its messages with it; SQS takes up to a minute until it is gone."""
        if quietly(world, "sqs", "delete_queue", QueueUrl=id) is None:
            return
        name = id.rpartition("/")[2]
        world.aws.poll(
            lambda: True if quietly(world, "sqs", "get_queue_url", QueueName=name) is None else None,
            what="SQS to delete the queue",
            timeout=_DELETED_LATELY,
            say=world.job.say,
        )

    @classmethod
    def find(cls, world: World) -> list[str]:
        """The one of the name that the create was for, if its tags say that this create made it."""
        name = world.job.foreseen
        answer = quietly(world, "sqs", "get_queue_url", QueueName=name) if name else None
        return [str(answer["QueueUrl"])] if answer and cls._made(world, str(answer["QueueUrl"])) else []

    def foretold(self, place: Place) -> Values:
        """Its ARN."""
        return {} if isinstance(self.name, Unknown) else {"queue_arn": place.arn("sqs", self.name)}

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """This queue alone."""
        arn = self.foretold(place).get("queue_arn")
        return {action: [arn] for action in self.actions} if arn else {}

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws sqs create-queue`, `set-queue-attributes`."""
        own = word(itself(self, id))
        if action == "delete":
            return [f"aws sqs delete-queue --queue-url {own}"]
        attributes = self._attributes(JsonText)
        if action == "update":
            return [f"aws sqs set-queue-attributes --queue-url {own} --attributes {json_word(attributes)}"]
        if self.queue_type == "fifo":
            attributes["FifoQueue"] = "true"
        command = aws("create-queue", service="sqs", queue_name=self.name)
        if attributes:
            command += f" --attributes {json_word(attributes)}"
        asked = f"aws sqs get-queue-attributes --attribute-names QueueArn --queue-url {own}"
        return [
            assign(self._address, f"{command} --query QueueUrl --output text"),
            *told(self, asked, {"queue_arn": "Attributes.QueueArn"}),
        ]
