"""What the kinds of EKS share: asking, waiting, tags, names and prices."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pydantic import field_validator

from engine.aws.errors import AwsError
from engine.aws.tags import narrow, readable, tags_for, told_tags
from engine.by_hand import json_word, word
from engine.errors import HalfMade, StepFailed
from engine.refs import Unknown
from engine.resource import Fixed, Id, Values, plain
from engine.resources.aws._aws import iam_actions, insist, once_propagated, ours, seconds, unless_gone
from engine.resources.aws._tagging import TaggedByArn, Tagging, kebab

if TYPE_CHECKING:
    from engine.world import World

TAKES: Final = 2400.0
"""Seconds that a cluster or its nodes may take; AWS needs about a quarter of an hour for most."""
_BUSY_TAKES: Final = 900.0
_NAME: Final = re.compile(r"[0-9A-Za-z][A-Za-z0-9_-]*")
_BUSY: Final = frozenset({"ResourceInUseException", "InvalidRequestException"})
_BUSY_WORDS: Final = (
    "currently",
    "in progress",
    "cannot create more than",
    "creating",
    "deleting",
    "updating",
)


def checked_name(value: str, most: int) -> str:
    """A name in EKS. Raises ValueError in words."""
    if not (len(value) <= most and _NAME.fullmatch(value)):
        raise ValueError(f"`{value}` cannot be a name in EKS: letters, digits, - and _, at most {most}")
    return value


class InEks(TaggedByArn):
    """What all kinds of EKS have in common: a status, an ARN, tags that change in place."""

    tagging: ClassVar[Tagging] = Tagging(
        "eks", "tag_resource", "untag_resource", "resourceArn", "tags", "tagKeys", form="map"
    )
    noun: ClassVar[str] = ""
    """What requests call it: `cluster`, `nodegroup`, `fargate_profile`."""
    answer: ClassVar[str] = ""
    """What answers call it: `cluster`, `nodegroup`, `fargateProfile`."""

    @classmethod
    def named(cls, id: str) -> dict[str, str]:
        """The parameters that name the thing `id`."""
        raise NotImplementedError(cls.kind)

    @classmethod
    def seen(cls, described: Mapping[str, Any]) -> Values:
        """What a describe call gave, in the playbook's words."""
        raise NotImplementedError(cls.kind)

    @classmethod
    def described(cls, world: World, id: str) -> dict[str, Any] | None:
        """DescribeNOUN of one; None where there is none."""
        answer = unless_gone(lambda: ask(world, f"describe_{cls.noun}", **cls.named(id)))
        return None if answer is None else dict(answer[cls.answer])

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeNOUN for each: the API's lists give names only."""
        found = {}
        for id in sorted(set(ids)):
            described = cls.described(world, id)
            if described is not None and described["status"] != "DELETING":
                arn = described["arn" if cls.noun == "cluster" else f"{cls.answer}Arn"]
                tags = readable(told_tags(described.get("tags")))
                found[id] = {"id": id, "arn": arn, **cls.seen(described), "tags": tags}
        return found

    def made(self, world: World, id: str, **params: Any) -> str:
        """CreateNOUN with tags and a token, until it is active. Roles of a moment ago are waited for."""
        asked = {**self.named(id), **params, "tags": narrow(tags_for(world)), **token(world)}

        def send() -> object:
            # One profile at a time is made in a cluster; another waits for it.
            return insist(
                world,
                lambda: world.aws.call("eks", f"create_{self.noun}", retry=bool(token(world)), **asked),
                _is_busy,
                what="EKS to finish what it does with the cluster now",
                timeout=_BUSY_TAKES,
            )

        once_propagated(world, send)
        status = self.at_rest(world, id)
        if status != "ACTIVE":
            raise HalfMade(id, f"the {words(self.noun)} is {status}: {self.trouble(world, id)}")
        return id

    @classmethod
    def at_rest(cls, world: World, id: str) -> str | None:
        """The status it comes to rest in; None where it is gone."""

        def look() -> tuple[str | None] | None:
            described = cls.described(world, id)
            status = described["status"] if described else None
            return None if status in {"CREATING", "UPDATING", "DELETING", "PENDING"} else (status,)

        what = f"the {words(cls.noun)} to be ready"
        return world.aws.poll(look, what=what, timeout=seconds(world, TAKES), say=world.job.say)[0]

    @classmethod
    def trouble(cls, world: World, id: str) -> str:
        """What EKS says of its health."""
        issues = ((cls.described(world, id) or {}).get("health") or {}).get("issues") or []
        return (
            "; ".join(f"{issue.get('message')} ({issue.get('code')})" for issue in issues)
            or "no reason given"
        )

    @classmethod
    def updated(cls, world: World, id: str, operation: str, **params: Any) -> None:
        """An update, until DescribeUpdate says that it was successful."""
        request = {"retry": bool(token(world)), **params, **token(world)}
        answer = _once_idle(world, lambda: world.aws.call("eks", operation, **request))
        asked = {"name": params.get("name") or params["clusterName"], "updateId": answer["update"]["id"]}
        if "nodegroupName" in params:
            asked["nodegroupName"] = params["nodegroupName"]

        def look() -> dict[str, Any] | None:
            update: dict[str, Any] = ask(world, "describe_update", **asked)["update"]
            return None if update["status"] == "InProgress" else update

        what = f"the {words(cls.noun)} to change"
        update = world.aws.poll(look, what=what, timeout=seconds(world, TAKES), say=world.job.say)
        if update["status"] != "Successful":
            why = "; ".join(error.get("errorMessage", "") for error in update.get("errors") or ())
            raise StepFailed(
                f"the change of the {words(cls.noun)} is {update['status']}: {why or 'no reason given'}"
            )

    @classmethod
    def removed(cls, world: World, id: str) -> None:
        """DeleteNOUN, until it is gone; quiet where it is gone already."""
        operation, named = f"delete_{cls.noun}", cls.named(id)
        if unless_gone(lambda: _once_idle(world, lambda: ask(world, operation, **named))) is None:
            return
        status = cls.at_rest(world, id)
        if status is not None:
            raise StepFailed(f"the {words(cls.noun)} cannot be deleted ({status}): {cls.trouble(world, id)}")

    @classmethod
    def find(cls, world: World) -> list[str]:
        """What bears the foreseen name, where it bears the job's tags."""

        def tags_of(id: str) -> dict[str, str] | None:
            described = cls.described(world, id)
            return None if described is None else told_tags(described.get("tags"))

        return ours(world, tags_of)


class OfCluster(InEks):
    """What belongs to a cluster; its id is CLUSTER/NAME."""

    called: ClassVar[str] = ""
    """The parameter that names it within its cluster: `nodegroupName`."""

    name: Fixed[str]
    """One of its kind in the cluster."""
    cluster_name: Fixed[Id]
    """The cluster that it belongs to."""

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        return checked_name(value, 63)

    @classmethod
    def named(cls, id: str) -> dict[str, str]:
        """By cluster and name."""
        cluster, _, name = id.partition("/")
        return {"clusterName": cluster, cls.called: name}

    def by_hand(self, action: str, id: str | None, request: Callable[[], Mapping[str, Any]]) -> list[str]:
        """`aws eks create-NOUN` with its whole request, or `delete-NOUN`, and `wait`."""
        noun, names = self.noun.replace("_", "-"), self.names_by_hand(id)
        if action == "delete":
            return [f"aws eks delete-{noun} {names}", f"aws eks wait {noun}-deleted {names}"]
        asked = {"clusterName": plain(self.cluster_name), self.called: plain(self.name), **request()}
        return [
            f"aws eks create-{noun} --cli-input-json {json_word(asked)}",
            f"aws eks wait {noun}-active {names}",
        ]

    def names_by_hand(self, id: str | None) -> str:
        """The options of `aws eks` that name it."""
        named = self.named(id) if id else {"clusterName": self.cluster_name, self.called: self.name}
        return " ".join(f"--{kebab(parameter)} {word(value)}" for parameter, value in named.items())

    def whole_name(self) -> str:
        """Cluster and name, as in its id."""
        return f"{self.cluster_name}/{self.name}"

    def foreseen(self) -> str | None:
        """Cluster and name."""
        unknown = isinstance(self.name, Unknown) or isinstance(self.cluster_name, Unknown)
        return None if unknown else self.whole_name()


def ask(world: World, operation: str, **params: Any) -> dict[str, Any]:
    """A request that may be sent twice without harm."""
    return world.aws.call("eks", operation, retry=True, **params)


def token(world: World) -> dict[str, str]:
    """The client token of a request."""
    return {"clientRequestToken": world.job.token} if world.job.token else {}


def words(noun: str) -> str:
    """A noun in words."""
    return {"nodegroup": "node group", "fargate_profile": "Fargate profile"}.get(noun, noun)


def actions(noun: str, more: str = "") -> tuple[str, ...]:
    """The IAM actions of a kind named so (`Cluster`), and `more` of EKS's."""
    own = f"Create{noun} Describe{noun} Delete{noun} TagResource UntagResource {more}"
    return iam_actions("eks", own) + iam_actions("iam", "CreateServiceLinkedRole GetRole PassRole")


def _once_idle(world: World, act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    what = "EKS to finish what it does with it now"
    return insist(world, act, _is_busy, what=what, timeout=_BUSY_TAKES)


def _is_busy(error: AwsError) -> bool:
    """Whether EKS is at work on the cluster, and will let others in after that."""
    said = error.said.lower()
    return error.code in _BUSY and any(part in said for part in _BUSY_WORDS) and "already exists" not in said
