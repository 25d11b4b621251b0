"""Every resource type of AWS that has no kind of its own here, through the Cloud Control API."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from engine.aws.errors import AwsError
from engine.aws.tags import is_made_by, readable, tags_for, tags_in
from engine.by_hand import assign, json_word, variable, word
from engine.resource import Fixed, Output, Resource, Secret, Values, plain
from engine.resources._documents import holds, merged, without_none
from engine.resources.aws._aws import iam_actions
from engine.resources.aws._cloud_control import (
    Refused,
    TypeFacts,
    ask,
    at,
    described,
    facts,
    finished,
    patch,
    unlike,
    with_untold,
)

if TYPE_CHECKING:
    from engine.world import World


_TYPE = re.compile(r"[A-Za-z0-9]{2,64}(::[A-Za-z0-9]{2,64}){2}")


class AwsResource(Resource):
    """Any resource type of AWS (`AWS::Logs::LogGroup`), with the properties that its reference names."""

    kind: ClassVar[str] = "aws_resource"
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("its primary identifier"),
        "attributes": Output("all its properties as AWS tells them, `{{ it.attributes.Arn }}`"),
        "create_only": Output("the properties whose change replaces it, as JSON pointers"),
    }
    tagged: ClassVar[bool] = True
    actions: ClassVar[Sequence[str]] = iam_actions(
        "cloudformation",
        """
        CreateResource DeleteResource DescribeType GetResource GetResourceRequestStatus
        ListResourceRequests UpdateResource
        """,
    )

    type: Fixed[str]
    """The type's name, `AWS::Service::Thing`."""
    properties: dict[str, Any] = Field(default_factory=dict)
    """Its properties as AWS's reference of the type names them; null for one that must not be set."""
    secret_properties: Secret[dict[str, Any] | None] = None
    """More properties, which AWS never gives back or nobody may see (passwords)."""
    role_arn: str | None = Field(default=None, min_length=20, max_length=2048)
    """The role that Cloud Control uses to act; the caller's own permissions where left out."""

    @field_validator("type")
    @classmethod
    def _named(cls, value: str) -> str:
        if isinstance(value, str) and not _TYPE.fullmatch(value):
            raise ValueError(f"`{value}` is not the name of a type: write it as AWS::Service::Thing")
        return value

    @field_validator("properties")
    @classmethod
    def _not_tags(cls, value: dict[str, Any]) -> dict[str, Any]:
        if isinstance(value, dict) and "Tags" in value:
            raise ValueError("tags are not set in properties: write `tags:` beside `aws_resource:`")
        return value

    def create(self, world: World) -> str:
        """CreateResource with tags and a client token, then GetResourceRequestStatus until it has ended."""
        known = facts(world, self.type)
        answer = ask(
            world,
            "create_resource",
            TypeName=self.type,
            DesiredState=json.dumps(self._desired(world, known)),
            **self._role(),
            **_token(world),
        )
        event = finished(world, answer["ProgressEvent"], lambda identifier: f"{self.type}/{identifier}")
        return f"{self.type}/{event['Identifier']}"

    def _desired(self, world: World, known: TypeFacts) -> dict[str, Any]:
        wanted = {**plain(self.properties), **plain(self.secret_properties or {})}
        if known.tags_in is not None:
            wanted[known.tags_in] = known.tags(tags_for(world))
        desired: dict[str, Any] = without_none(wanted)
        return desired

    def _role(self) -> dict[str, str]:
        return {"RoleArn": self.role_arn} if self.role_arn else {}

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """GetResource for each, as the API's lists give only identifiers; DescribeType for each type."""
        found = {}
        for id in sorted(set(ids)):
            type_name, identifier = _parts(id)
            there = described(world, type_name, identifier)
            if there is not None:
                found[id] = _values(type_name, identifier, there, facts(world, type_name))
        return found

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Of the properties, only those that the playbook sets; of these, what they hold and perhaps more."""
        if name == "properties":
            return not holds(there, wanted)
        return name != "role_arn" and bool(wanted != there)

    @classmethod
    def counted(cls, name: str, wanted: Any, there: Any) -> Any:
        """Of the properties, those that the playbook sets."""
        if name != "properties" or not isinstance(there, Mapping):
            return there
        return {key: value for key, value in there.items() if key in wanted}

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """Each property that differs: what it is and what it should be."""
        if name != "properties" or not isinstance(there, Mapping):
            return None
        return ", ".join(
            f"{key} is {json.dumps(there.get(key))} instead of {json.dumps(wanted[key])}"
            for key in unlike(there, wanted)
        )

    def replaces(self, name: str, there: Values) -> bool:
        """Another type does, and a property that can be set at creation only."""
        if name != "properties":
            return super().replaces(name, there)
        now, then = there.get("properties", {}), merged(there.get("properties", {}), plain(self.properties))
        return any(not holds(at(now, path), at(then, path)) for path in there.get("create_only", ()))

    @classmethod
    def unsettles(cls, changed: frozenset[str]) -> frozenset[str]:
        """What AWS derives from the properties may change with them."""
        return frozenset({"attributes"}) if changed & {"properties", "secret_properties"} else frozenset()

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """UpdateResource with a patch of the properties that differ."""
        type_name, identifier = _parts(id)
        there = described(world, type_name, identifier) or {}
        wanted = plain(self.properties)
        names = list(unlike(there, wanted)) if "properties" in changed else []
        operations = patch(there, wanted, names)
        if "secret_properties" in changed and self.secret_properties:
            hidden = plain(self.secret_properties)
            operations += patch(there, hidden, list(hidden))
        self._patch(world, type_name, identifier, operations, **self._role())

    @classmethod
    def _patch(
        cls, world: World, type_name: str, identifier: str, operations: list[dict[str, Any]], **role: str
    ) -> None:
        if not operations:
            return
        answer = ask(
            world,
            "update_resource",
            TypeName=type_name,
            Identifier=identifier,
            PatchDocument=json.dumps(operations),
            **role,
        )
        finished(world, answer["ProgressEvent"], lambda found: f"{type_name}/{found}")

    @classmethod
    def retag(cls, world: World, id: str, there: Values, tags: Mapping[str, str | None]) -> None:
        """UpdateResource of the property that holds the tags."""
        type_name, identifier = _parts(id)
        known = facts(world, type_name)
        now = described(world, type_name, identifier) or {}
        if known.tags_in is None:
            return
        own = {**tags_in(now.get(known.tags_in)), **tags}
        wanted = known.tags({key: text for key, text in own.items() if text is not None})
        cls._patch(
            world, type_name, identifier, [{"op": "add", "path": f"/{known.tags_in}", "value": wanted}]
        )

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteResource, until it has ended; one that is gone already is fine."""
        type_name, identifier = _parts(id)
        try:
            answer = ask(world, "delete_resource", TypeName=type_name, Identifier=identifier)
            finished(world, answer["ProgressEvent"], lambda found: f"{type_name}/{found}")
        except AwsError as error:
            if not error.not_found:
                raise
        except Refused as refused:
            if refused.code != "NotFound":
                raise

    @classmethod
    def find(cls, world: World) -> list[str]:
        """Of the creates of the last days (ListResourceRequests), what bears the job's tags."""
        events = world.aws.pages(
            "cloudcontrol",
            "list_resource_requests",
            "ResourceRequestStatusSummaries",
            ResourceRequestStatusFilter={
                "Operations": ["CREATE"],
                "OperationStatuses": ["IN_PROGRESS", "SUCCESS"],
            },
        )
        made = {(event["TypeName"], event["Identifier"]) for event in events if event.get("Identifier")}
        return [f"{type_name}/{id}" for type_name, id in sorted(made) if _is_ours(world, type_name, id)]

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws cloudcontrol create-resource`, `update-resource`, `delete-resource`, and `wait`."""
        if action == "create":
            return self._created_by_hand()
        if action == "delete":
            return _sent_by_hand(id or "", "delete-resource")
        there, wanted = self._beside.there.get("properties", {}), plain(self.properties)
        operations = patch(there, wanted, list(unlike(there, wanted)))
        return _sent_by_hand(id or "", "update-resource", f"--patch-document {json_word(operations)}")

    def _created_by_hand(self) -> list[str]:
        wanted = {**plain(self.properties), **dict.fromkeys(plain(self.secret_properties or {}), "…")}
        token = variable(self._address, "request")
        create = f"create-resource --type-name {word(self.type)} --desired-state {json_word(wanted)}"
        status = f'get-resource-request-status --request-token "${token}"'
        return [
            f"{token}=$(aws cloudcontrol {create} --query ProgressEvent.RequestToken --output text)",
            f'aws cloudcontrol wait resource-request-success --request-token "${token}"',
            assign(
                self._address, f"aws cloudcontrol {status} --query ProgressEvent.Identifier --output text"
            ),
        ]

    @classmethod
    def retag_by_hand(cls, id: str, there: Values, tags: Mapping[str, str | None]) -> list[str]:
        """`aws cloudcontrol update-resource` of the tags."""
        own = {key: text for key, text in {**there.get("tags", {}), **tags}.items() if text is not None}
        listed = [{"Key": key, "Value": text} for key, text in own.items()]
        operations = [{"op": "add", "path": "/Tags", "value": listed}]
        type_name, identifier = _parts(id)
        named = f"--type-name {word(type_name)} --identifier {word(identifier)}"
        return [f"aws cloudcontrol update-resource {named} --patch-document {json_word(operations)}"]

    def price(self) -> float | None:
        """Not known."""
        return None


def _token(world: World) -> dict[str, str]:
    return {"ClientToken": world.job.token} if world.job.token else {}


def _parts(id: str) -> tuple[str, str]:
    """The type and the identifier in an id; identifiers may have slashes of their own."""
    type_name, _, identifier = id.partition("/")
    return type_name, identifier


def _sent_by_hand(id: str, command: str, *more: str) -> list[str]:
    type_name, identifier = _parts(id)
    words = [command, f"--type-name {word(type_name)} --identifier {word(identifier)}", *more]
    return [
        f"request=$(aws cloudcontrol {' '.join(words)} --query ProgressEvent.RequestToken --output text)",
        'aws cloudcontrol wait resource-request-success --request-token "$request"',
    ]


def _is_ours(world: World, type_name: str, identifier: str) -> bool:
    there, known = described(world, type_name, identifier), facts(world, type_name)
    if there is None or known.tags_in is None:
        return False
    return is_made_by(world, tags_in(there.get(known.tags_in)))


def _values(type_name: str, identifier: str, there: dict[str, Any], known: TypeFacts) -> Values:
    values: Values = {
        "id": identifier,
        "type": type_name,
        "properties": with_untold(there, known.unread),
        "attributes": there,
        "create_only": list(known.create_only),
    }
    if known.tags_in is not None:
        values["tags"] = readable(tags_in(there.get(known.tags_in)))
    return values
