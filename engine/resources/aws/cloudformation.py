"""CloudFormation stacks: a whole template as one resource."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from engine.aws.errors import AwsError
from engine.aws.tags import is_made_by, readable, tag_list, tags_for, tags_in
from engine.by_hand import json_word, told, word
from engine.errors import HalfMade, StepFailed
from engine.local_files import LocalFile
from engine.refs import Unknown, holds_unknown
from engine.resource import Fixed, Output, Resource, Unread, Values, plain
from engine.resources.aws._aws import iam_actions, insist, seconds

if TYPE_CHECKING:
    from engine.world import World

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}")
_LARGEST: Final = 51_200
"""Bytes of a template that travels in the request itself."""
_TAKES: Final = 3600.0
_BUSY_TAKES: Final = 600.0
_DEAD: Final = frozenset({"CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED"})
"""States in which a stack can only be deleted."""
_GONE: Final = "DELETE_COMPLETE"
_HIDDEN: Final = "****"
"""What AWS tells of a parameter with NoEcho."""


class CloudformationStack(Resource):
    """A stack made from a CloudFormation template, with everything in it as one thing."""

    kind: ClassVar[str] = "cloudformation_stack"
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the stack's id, arn:aws:cloudformation:…"),
        "stack_outputs": Output("the outputs of its template, `{{ it.stack_outputs.Url }}`"),
        "status": Output("CREATE_COMPLETE and the like"),
    }
    tagged: ClassVar[bool] = True
    actions: ClassVar[Sequence[str]] = iam_actions(
        "cloudformation",
        """
        CreateStack DeleteStack DescribeStackEvents DescribeStacks TagResource UntagResource UpdateStack
        UpdateTerminationProtection
        """,
    )

    stack_name: Fixed[str]
    """One of its kind in the account and region."""
    template: Unread[LocalFile | None] = None
    """The file with the template, beside the playbook or in templates/; at most 51,200 bytes."""
    template_body: Unread[dict[str, Any] | None] = None
    """The template itself, in place of a file."""
    template_url: Unread[str | None] = Field(default=None, max_length=5120)
    """Where the template lies in S3, in place of a file."""
    template_parameters: dict[str, str | bool | int | float | list[str]] = Field(default_factory=dict)
    """Values for the template's parameters; those left out keep the template's defaults."""
    capabilities: Unread[
        list[Literal["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]] | None
    ] = None
    """What the template may do besides, such as making roles."""
    on_create_failure: Unread[Literal["DELETE", "ROLLBACK", "DO_NOTHING"]] = "DELETE"
    """What becomes of a stack that cannot be made; all but DELETE leave it there to be looked at."""
    termination_protection: bool = False
    """AWS refuses to delete it until this is false again."""
    role_arn: str | None = Field(default=None, min_length=20, max_length=2048)
    """The role that CloudFormation uses to act; the caller's own permissions where left out."""
    notification_arns: list[str] = Field(default_factory=list, max_length=5)
    """SNS topics that are told of its events."""
    create_timeout: Unread[int | None] = Field(default=None, ge=1)
    """Minutes that AWS gives the create; without it there is no end."""

    @field_validator("stack_name")
    @classmethod
    def _named(cls, value: str) -> str:
        if isinstance(value, str) and not _NAME.fullmatch(value):
            raise ValueError(
                f"`{value}` cannot name a stack: a letter, then letters, digits and -, at most 128"
            )
        return value

    @field_validator("template")
    @classmethod
    def _small(cls, value: LocalFile | None) -> LocalFile | None:
        if isinstance(value, LocalFile) and value.size > _LARGEST:
            raise ValueError(
                f"a template of {value.size} bytes is too large (51,200): put it into S3 with an s3_object, "
                "and write template_url"
            )
        return value

    @model_validator(mode="after")
    def _one_template(self) -> Self:
        given = [name for name in _TEMPLATES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("write one of template, template_body and template_url")
        return self

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """The template's file stands for its contents."""
        values = super().wanted(also)
        if isinstance(self.template, LocalFile):
            values["template"] = f"sha256:{self.template.sha256}"
        if "template_parameters" in values:
            values["template_parameters"] = _texts(self.template_parameters)
        return values

    def in_full(self) -> Values:
        """The text of the template's file."""
        return {"template": self.template.text()} if isinstance(self.template, LocalFile) else {}

    def foreseen(self) -> str | None:
        """Its name."""
        return None if isinstance(self.stack_name, Unknown) else self.stack_name

    def create(self, world: World) -> str:
        """CreateStack with tags and a client token, then DescribeStacks until it has ended."""
        token = {"ClientRequestToken": world.job.token} if world.job.token else {}
        timeout = {"TimeoutInMinutes": self.create_timeout} if self.create_timeout else {}
        answer = world.aws.call(
            "cloudformation",
            "create_stack",
            retry=bool(token),
            StackName=self.stack_name,
            Tags=tag_list(tags_for(world)),
            OnFailure=self.on_create_failure,
            EnableTerminationProtection=self.termination_protection,
            **self._asked(),
            **timeout,
            **token,
        )
        id = str(answer["StackId"])
        status = _ended(world, id, "CREATE")
        if status != "CREATE_COMPLETE":
            words = f"the stack could not be made ({status}): {_reasons(world, id)}"
            raise StepFailed(words) if status == _GONE else HalfMade(id, words)
        return id

    def _asked(self) -> dict[str, Any]:
        """What CreateStack and UpdateStack take alike."""
        asked: dict[str, Any] = {
            "Parameters": [
                {"ParameterKey": key, "ParameterValue": text}
                for key, text in _texts(self.template_parameters).items()
            ],
            "Capabilities": plain(self.capabilities or []),
            "NotificationARNs": plain(self.notification_arns),
        }
        if self.role_arn:
            asked["RoleARN"] = self.role_arn
        if self.template_url:
            return {**asked, "TemplateURL": self.template_url}
        return {**asked, "TemplateBody": self._body()}

    def _body(self) -> str:
        if isinstance(self.template, LocalFile):
            return self.template.path.read_text("utf-8")
        return json.dumps(plain(self.template_body))

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeStacks: of one stack, or all pages of it."""
        ids = sorted(set(ids))
        if len(ids) == 1:
            there = _described(world, ids[0])
            stacks = [there] if there else []
        else:
            stacks = world.aws.pages("cloudformation", "describe_stacks", "Stacks")
        found = {stack["StackId"]: stack for stack in stacks if stack["StackStatus"] != _GONE}
        return {id: _values(found[id]) for id in ids if id in found}

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Of the parameters, those that the playbook sets; one with NoEcho is never told."""
        if name == "template_parameters":
            return any((there or {}).get(key) not in (text, _HIDDEN) for key, text in wanted.items())
        return bool(wanted != there)

    @classmethod
    def counted(cls, name: str, wanted: Any, there: Any) -> Any:
        """Of the parameters, those that the playbook sets."""
        if name != "template_parameters" or not isinstance(there, Mapping):
            return there
        return {key: text for key, text in there.items() if key in wanted}

    def replaces(self, name: str, there: Values) -> bool:
        """A stack whose create failed can only be deleted."""
        return there.get("status") in _DEAD or super().replaces(name, there)

    @classmethod
    def unsettles(cls, changed: frozenset[str]) -> frozenset[str]:
        """A changed template or parameter may change every output."""
        return frozenset({"stack_outputs", "status"}) if changed - {"termination_protection"} else frozenset()

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """UpdateTerminationProtection; UpdateStack, until it has ended. What fails is rolled back by AWS."""
        if "termination_protection" in changed:
            world.aws.call(
                "cloudformation",
                "update_termination_protection",
                retry=True,
                StackName=id,
                EnableTerminationProtection=self.termination_protection,
            )
        if changed - {"termination_protection", "on_create_failure", "create_timeout"}:
            _update(world, id, self._asked())

    @classmethod
    def retag(cls, world: World, id: str, there: Values, tags: Mapping[str, str | None]) -> None:
        """UpdateStack with the template and parameters it has."""
        stack = _described(world, id) or {}
        own = {**tags_in(stack.get("Tags")), **tags}
        kept = {
            "UsePreviousTemplate": True,
            "Capabilities": stack.get("Capabilities", []),
            "Parameters": [
                {"ParameterKey": parameter["ParameterKey"], "UsePreviousValue": True}
                for parameter in stack.get("Parameters", ())
            ],
        }
        _update(world, id, {**kept, "Tags": tag_list({key: text for key, text in own.items() if text})})

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteStack, until everything in it is gone."""
        there = _described(world, id)
        if there is None or there["StackStatus"] == _GONE:
            return
        if there.get("EnableTerminationProtection"):
            raise StepFailed(
                "the stack is protected against being deleted",
                "set termination_protection: false and apply, then destroy",
            )
        world.aws.call("cloudformation", "delete_stack", retry=True, StackName=id)
        status = _ended(world, id, "DELETE")
        if status != _GONE:
            raise StepFailed(f"the stack cannot be deleted ({status}): {_reasons(world, id)}")

    @classmethod
    def find(cls, world: World) -> list[str]:
        """The stack of the foreseen name, where it bears the job's tags."""
        there = _described(world, world.job.foreseen) if world.job.foreseen else None
        if there is None or there["StackStatus"] == _GONE:
            return []
        return [there["StackId"]] if is_made_by(world, tags_in(there.get("Tags"))) else []

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws cloudformation create-stack`, `update-stack`, `delete-stack`, and `wait`."""
        name = word(id) if id else word(self.stack_name)
        if action != "delete":
            lines = [self._sent_by_hand(f"{action}-stack", name)]
            lines.append(f"aws cloudformation wait stack-{action}-complete --stack-name {name}")
            asked = f"aws cloudformation describe-stacks --stack-name {name}"
            return [*lines, *told(self, asked, {"id": "Stacks[0].StackId"})]
        return [
            f"aws cloudformation delete-stack --stack-name {name}",
            f"aws cloudformation wait stack-delete-complete --stack-name {name}",
        ]

    def _sent_by_hand(self, command: str, name: str) -> str:
        parts = [f"aws cloudformation {command} --stack-name {name}"]
        if isinstance(self.template, LocalFile):
            parts.append(f"--template-body {word(f'file://{self.template.path}')}")
        elif self.template_body is not None:
            parts.append(f"--template-body {json_word(plain(self.template_body))}")
        else:
            parts.append(f"--template-url {word(self.template_url)}")
        if self.template_parameters:
            texts = _texts(self.template_parameters)
            listed = [{"ParameterKey": key, "ParameterValue": text} for key, text in texts.items()]
            parts.append(f"--parameters {json_word(listed)}")
        if self.capabilities:
            parts.append(f"--capabilities {' '.join(map(word, self.capabilities))}")
        return " ".join(parts)

    @classmethod
    def retag_by_hand(cls, id: str, there: Values, tags: Mapping[str, str | None]) -> list[str]:
        """`aws cloudformation update-stack --tags`."""
        own = {key: text for key, text in {**there.get("tags", {}), **tags}.items() if text is not None}
        kept = f"--stack-name {word(id)} --use-previous-template"
        return [f"aws cloudformation update-stack {kept} --tags {json_word(tag_list(own))}"]

    def price(self) -> float | None:
        """Not known: what is in the template."""
        return None


_TEMPLATES: Final = ("template", "template_body", "template_url")


def _texts(parameters: Any) -> Any:
    """Parameters as AWS gives them back: all texts, lists with commas."""
    if isinstance(parameters, Unknown):
        return parameters
    return {key: _text(value) for key, value in parameters.items()}


def _text(value: Any) -> Any:
    if holds_unknown(value):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _described(world: World, name: str) -> dict[str, Any] | None:
    """DescribeStacks of one stack, by id (then also for months after it is gone) or name."""
    try:
        stacks = world.aws.call("cloudformation", "describe_stacks", StackName=name)["Stacks"]
    except AwsError as error:
        if error.code == "ValidationError" and "does not exist" in error.said:
            return None
        raise
    return dict(stacks[0]) if stacks else None


def _values(stack: Mapping[str, Any]) -> Values:
    return {
        "id": stack["StackId"],
        "stack_name": stack["StackName"],
        "status": stack["StackStatus"],
        "template_parameters": {
            parameter["ParameterKey"]: parameter.get("ParameterValue", "")
            for parameter in stack.get("Parameters", ())
        },
        "termination_protection": stack.get("EnableTerminationProtection", False),
        "role_arn": stack.get("RoleARN"),
        "notification_arns": list(stack.get("NotificationARNs", ())),
        "stack_outputs": {
            output["OutputKey"]: output.get("OutputValue", "") for output in stack.get("Outputs", ())
        },
        "tags": readable(tags_in(stack.get("Tags"))),
    }


def _ended(world: World, id: str, verb: str) -> str:
    """The status in which a stack comes to rest."""

    def look() -> str | None:
        there = _described(world, id)
        status = there["StackStatus"] if there else _GONE
        return None if status.endswith("_IN_PROGRESS") else str(status)

    what = f"AWS to {verb.lower()} the stack"
    return world.aws.poll(look, what=what, timeout=seconds(world, _TAKES), say=world.job.say)


def _update(world: World, id: str, asked: Mapping[str, Any]) -> None:
    """UpdateStack; that there is nothing to update is fine."""

    def send() -> bool:
        try:
            world.aws.call("cloudformation", "update_stack", retry=True, StackName=id, **asked)
        except AwsError as error:
            if error.code == "ValidationError" and "No updates are to be performed" in error.said:
                return False
            raise
        return True

    def busy(error: AwsError) -> bool:
        return error.code == "ValidationError" and "_IN_PROGRESS state" in error.said

    sent = insist(world, send, busy, what="AWS to finish what it does now", timeout=_BUSY_TAKES)
    if not sent:
        return
    status = _ended(world, id, "UPDATE")
    if status != "UPDATE_COMPLETE":
        raise StepFailed(
            f"the stack was not changed, and is as it was before ({status}): {_reasons(world, id)}"
        )


def _reasons(world: World, id: str) -> str:
    """Why the last change failed, by the first resources that did (DescribeStackEvents, newest first)."""
    events = world.aws.call("cloudformation", "describe_stack_events", StackName=id)["StackEvents"]
    failed = [
        f"{event['LogicalResourceId']} ({event['ResourceType']}): {event.get('ResourceStatusReason', '')}"
        for event in events
        if event["ResourceStatus"].endswith("_FAILED")
        and event["PhysicalResourceId"] != id
        and "cancelled" not in event.get("ResourceStatusReason", "")
    ]
    return "; ".join(reversed(failed[-3:])) or "AWS gives no reason"
