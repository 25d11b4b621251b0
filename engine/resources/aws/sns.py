"""SNS topics."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from engine.aws.errors import AwsError
from engine.aws.tags import narrow, tag_list, tags_for, told_tags
from engine.by_hand import JsonText, assign, aws, itself, json_word, told, word
from engine.errors import StepFailed
from engine.refs import Unknown
from engine.resource import Fields, Fixed, Id, Output, Place, Values, plain
from engine.resources.aws._aws import as_text, finish, iam_actions, ours
from engine.resources.aws._messaging import check_name
from engine.resources.aws._policy import Policy, canonical
from engine.resources.aws._services import InService, ask, given, quietly, settled
from engine.resources.aws._tagging import Tagging

if TYPE_CHECKING:
    from engine.world import World


class Subscription(Fields):
    """Who gets what is published."""

    protocol: Literal[
        "email", "email-json", "sms", "sqs", "lambda", "http", "https", "application", "firehose"
    ]
    """How it is delivered."""
    endpoint: Id
    """Where to: an address of mail, a number, a URL, or the ARN of a queue or function."""
    raw_message_delivery: bool | None = None
    """The message alone, without SNS's envelope."""
    filter_policy: dict[str, Any] | None = None
    """Only messages with these attributes."""


_SETTABLE: Final[Mapping[str, str]] = {
    "display_name": "DisplayName",
    "policy": "Policy",
    "kms_master_key_id": "KmsMasterKeyId",
    "content_based_deduplication": "ContentBasedDeduplication",
}
"""The attributes that SetTopicAttributes takes, by field."""


class SnsTopic(InService):
    """An SNS topic: what is published to it goes to all who subscribed."""

    kind: ClassVar[str] = "sns_topic"
    actions: ClassVar[Sequence[str]] = iam_actions(
        "sns",
        """
        CreateTopic DeleteTopic GetSubscriptionAttributes GetTopicAttributes ListSubscriptionsByTopic
        ListTagsForResource SetSubscriptionAttributes SetTopicAttributes Subscribe TagResource Unsubscribe
        UntagResource
        """,
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("its ARN"),
        "arn": Output("the same as id"),
        "subscriptions_pending": Output("how many subscribers have not confirmed yet"),
    }
    tagging: ClassVar[Tagging] = Tagging("sns", "tag_resource", "untag_resource", "ResourceArn")

    name: Fixed[str]
    """1 to 256 letters, digits, - and _; a FIFO topic's ends in .fifo."""
    topic_type: Fixed[Literal["standard", "fifo"]] = "standard"
    """`fifo`: in order and exactly once, to queues only."""
    display_name: str | None = Field(default=None, max_length=100)
    """Who messages by mail and SMS come from."""
    policy: Policy | None = None
    """Who may publish and subscribe, as YAML or JSON; where left out, the account alone."""
    kms_master_key_id: str | None = None
    """The key that messages are encrypted with; `alias/aws/sns` is AWS's."""
    content_based_deduplication: bool | None = None
    """A FIFO topic tells repeated messages by their content."""
    subscriptions: list[Subscription] | None = None
    """Who gets what is published. Mail must be confirmed by whoever gets it."""
    purge_subscriptions: bool = True
    """Subscriptions of others are taken away."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        check_name(self.name, 256, self.topic_type)
        if self.topic_type == "standard" and self.content_based_deduplication is not None:
            raise ValueError("content_based_deduplication is for topic_type: fifo")
        return self

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """The values asked for; whether others' subscriptions stay is not read."""
        values = super().wanted(also)
        values.pop("purge_subscriptions", None)
        if isinstance(values.get("subscriptions"), list) and self.purge_subscriptions is False:
            values["subscriptions"] = [*values["subscriptions"], {"others": "stay"}]
        return values

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Policies by what they mean; subscriptions in any order."""
        if name == "policy":
            return bool(canonical(wanted) != canonical(there))
        if name == "subscriptions" and isinstance(wanted, list) and isinstance(there, list):
            missing, other, extra = _compared(wanted, there)
            return bool(missing or other or extra)
        return super().differs(name, wanted, there)

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """Who is missing or not in the playbook."""
        if name != "subscriptions" or not isinstance(wanted, list) or not isinstance(there, list):
            return None
        missing, other, extra = _compared(wanted, there)
        words = [f"{item['endpoint']} has not subscribed" for item in missing]
        words += [f"the subscription of {item['endpoint']} differs" for item, _ in other]
        words += [f"{item['endpoint']} has subscribed and is not in the playbook" for item in extra]
        return ", ".join(words) or None

    def create(self, world: World) -> str:
        """CreateTopic with attributes and tags; the same topic again gives the same ARN."""
        tags = tag_list(narrow(tags_for(world)))
        try:
            answer = ask(
                world, "sns", "create_topic", Name=self.name, Attributes=self._attributes(), Tags=tags
            )
        except AwsError as error:
            if error.code == "InvalidParameter" and "already exists" in error.said:
                raise StepFailed(
                    f"a topic {self.name} is there already, and this lab did not make it: {error.said}",
                    "choose another name, or delete that topic if nobody needs it",
                ) from None
            raise
        id = str(answer["TopicArn"])
        finish(world, id, lambda: self._subscribe(world, id))
        return id

    def _attributes(self, as_json: Callable[[Any], Any] = json.dumps) -> dict[str, Any]:
        """The attributes, a document among them as `as_json` gives it."""
        return given(
            DisplayName=self.display_name,
            Policy=None if self.policy is None else as_json(plain(self.policy)),
            KmsMasterKeyId=self.kms_master_key_id,
            FifoTopic="true" if self.topic_type == "fifo" else None,
            ContentBasedDeduplication=as_text(self.content_based_deduplication),
        )

    def _subscribe(self, world: World, id: str) -> None:
        for one in self.subscriptions or ():
            item = plain(one)
            settled(
                world,
                "sns",
                "subscribe",
                TopicArn=id,
                Protocol=item["protocol"],
                Endpoint=item["endpoint"],
                Attributes=_subscription_attributes(item),
                ReturnSubscriptionArn=True,
            )

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """GetTopicAttributes, ListTagsForResource and ListSubscriptionsByTopic for each.

        No call of SNS tells these of many topics.
        """
        found = {}
        for id in dict.fromkeys(ids):
            answer = quietly(world, "sns", "get_topic_attributes", TopicArn=id)
            if answer is None:
                continue
            held = answer["Attributes"]
            subscriptions = _subscriptions(world, id)
            name = id.rpartition(":")[2]
            found[id] = {
                "id": id,
                "arn": id,
                "name": name,
                "topic_type": "fifo" if held.get("FifoTopic") == "true" else "standard",
                "display_name": held.get("DisplayName", ""),
                "policy": json.loads(held["Policy"]) if held.get("Policy") else None,
                "kms_master_key_id": held.get("KmsMasterKeyId"),
                "content_based_deduplication": held.get("ContentBasedDeduplication") == "true",
                "subscriptions": [_in_playbook(world, one) for one in subscriptions],
                "subscriptions_pending": int(held.get("SubscriptionsPending", 0)),
                "tags": cls.shown_tags(ask(world, "sns", "list_tags_for_resource", ResourceArn=id)["Tags"]),
            }
        return found

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """SetTopicAttributes, one a request; Subscribe and Unsubscribe."""
        attributes = self._attributes()
        for field, name in _SETTABLE.items():
            if field in changed:
                value = attributes.get(name, "")
                settled(
                    world,
                    "sns",
                    "set_topic_attributes",
                    TopicArn=id,
                    AttributeName=name,
                    AttributeValue=value,
                )
        if "subscriptions" in changed:
            self._mend_subscriptions(world, id)

    def _mend_subscriptions(self, world: World, id: str) -> None:
        held = _subscriptions(world, id)
        there = [_in_playbook(world, one) for one in held]
        missing, other, extra = _compared(self.wanted(["subscriptions"]).get("subscriptions") or [], there)
        arns = {(one["Protocol"], one["Endpoint"]): one["SubscriptionArn"] for one in held}
        for item, _ in other:
            for name, value in _subscription_attributes(item).items():
                about = {"AttributeName": name, "AttributeValue": value}
                arn = arns[item["protocol"], item["endpoint"]]
                ask(world, "sns", "set_subscription_attributes", SubscriptionArn=arn, **about)
        for item in extra:
            arn = arns[item["protocol"], item["endpoint"]]
            if arn.startswith("arn:"):  # one that is not confirmed goes by itself after two days
                quietly(world, "sns", "unsubscribe", SubscriptionArn=arn)
        if missing:
            asked = [item for item in self.subscriptions or () if plain(item) in missing]
            self.model_copy(update={"subscriptions": asked})._subscribe(world, id)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteTopic, its subscriptions with it."""
        quietly(world, "sns", "delete_topic", TopicArn=id)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """The one of the name that the create was for, if its tags say that this create made it."""

        def arn(name: str) -> str:
            return f"arn:aws:sns:{world.aws.region}:{world.aws.account_id()}:{name}"

        def tags_of(name: str) -> dict[str, str] | None:
            answer = quietly(world, "sns", "list_tags_for_resource", ResourceArn=arn(name))
            return told_tags(answer["Tags"]) if answer else None

        return [arn(name) for name in ours(world, tags_of)]

    def foreseen(self) -> str | None:
        """Its name, in which its ARN ends."""
        return self.name

    def foretold(self, place: Place) -> Values:
        """Its ARN."""
        if isinstance(self.name, Unknown):
            return {}
        arn = place.arn("sns", self.name)
        return {"id": arn, "arn": arn}

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """This topic alone; subscriptions' ARNs begin with it."""
        arn = self.foretold(place).get("arn")
        return {action: [arn, f"{arn}:*"] for action in self.actions} if arn else {}

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws sns create-topic`, `subscribe`, `set-topic-attributes`."""
        own = word(itself(self, id))
        if action == "delete":
            return [f"aws sns delete-topic --topic-arn {own}"]
        lines = []
        if action == "create":
            command = aws("create-topic", service="sns", name=self.name)
            attributes = self._attributes(JsonText)
            if attributes:
                command += f" --attributes {json_word(attributes)}"
            lines.append(assign(self._address, f"{command} --query TopicArn --output text"))
        told_of = isinstance(self.subscriptions, list) and (action == "create" or "subscriptions" in changed)
        for item in plain(self.subscriptions) if told_of else ():
            about = {"protocol": item["protocol"], "notification_endpoint": item["endpoint"]}
            lines.append(f"{aws('subscribe', service='sns', **about)} --topic-arn {own}")
        if action == "update":
            attributes = self._attributes(lambda policy: policy)
            for name in [name for field, name in _SETTABLE.items() if field in changed]:
                value = attributes.get(name, "")
                text = json_word(value) if isinstance(value, dict) else word(value)
                set_it = aws("set-topic-attributes", service="sns", attribute_name=name)
                lines.append(f"{set_it} --attribute-value {text} --topic-arn {own}")
        asked = f"aws sns get-topic-attributes --topic-arn {own}"
        return [*lines, *told(self, asked, {"arn": "Attributes.TopicArn"})]


def _subscriptions(world: World, topic: str) -> list[dict[str, Any]]:
    return world.aws.pages("sns", "list_subscriptions_by_topic", "Subscriptions", TopicArn=topic)


def _in_playbook(world: World, one: Mapping[str, Any]) -> dict[str, Any]:
    """A subscription in the playbook's words; what is not confirmed tells no attributes."""
    item = {"protocol": one["Protocol"], "endpoint": one["Endpoint"]}
    arn = str(one["SubscriptionArn"])
    answer = (
        quietly(world, "sns", "get_subscription_attributes", SubscriptionArn=arn)
        if arn.startswith("arn:")
        else None
    )
    if answer is None:
        return item
    attributes = answer["Attributes"]
    item["raw_message_delivery"] = attributes.get("RawMessageDelivery") == "true"
    if attributes.get("FilterPolicy"):
        item["filter_policy"] = json.loads(attributes["FilterPolicy"])
    return item


def _subscription_attributes(item: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    if item.get("raw_message_delivery") is not None:
        found["RawMessageDelivery"] = str(item["raw_message_delivery"]).lower()
    if item.get("filter_policy") is not None:
        found["FilterPolicy"] = json.dumps(item["filter_policy"])
    return found


_Items = list[dict[str, Any]]


def _compared(wanted: _Items, there: _Items) -> tuple[_Items, list[tuple[Any, Any]], _Items]:
    """Subscriptions that are missing, those that differ (as wanted, as there), those that are too many."""
    asked = {(item["protocol"], item["endpoint"]): item for item in wanted if "protocol" in item}
    held = {(item["protocol"], item["endpoint"]): item for item in there}
    missing = [item for key, item in asked.items() if key not in held]
    other = [
        (item, held[key])
        for key, item in asked.items()
        if key in held and any(held[key].get(name, value) != value for name, value in item.items())
    ]
    stay = {"others": "stay"} in wanted
    return missing, other, [] if stay else [item for key, item in held.items() if key not in asked]
