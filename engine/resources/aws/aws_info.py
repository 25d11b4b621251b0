"""Lookups about the account: who is asking, and parameters of Systems Manager. They make nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from engine.aws.errors import AwsError
from engine.by_hand import aws, told
from engine.errors import StepFailed
from engine.resource import Output, Place, Resource, Values
from engine.resources.aws._aws import iam_actions

if TYPE_CHECKING:
    from engine.world import World


class AwsCallerInfo(Resource):
    """Looks up whose credentials these are."""

    kind: ClassVar[str] = "aws_caller_info"
    lookup: ClassVar[bool] = True
    actions: ClassVar[Sequence[str]] = iam_actions("iam", "ListAccountAliases")
    outputs: ClassVar[Mapping[str, Output]] = {
        "account": Output("the account's id, twelve digits"),
        "account_alias": Output("the account's name at the sign-in page, where it has one and may be read"),
        "arn": Output("who is asking, arn:aws:iam::…:user/alice"),
        "user_id": Output("the same as an id that is never used again"),
        "region": Output("the lab's region"),
    }

    def foretold(self, place: Place) -> Values:
        """Account and region, which names are often made of."""
        return {"account": place.account, "region": place.region}

    def look_up(self, world: World) -> Values:
        """STS GetCallerIdentity, IAM ListAccountAliases for those who may; once for all labs of a command."""
        told: Values = world.aws.remember("aws_caller_info", lambda: _caller(world))
        return told

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws sts get-caller-identity`."""
        asked = aws("get-caller-identity", service="sts")
        return told(self, asked, {"account": "Account", "arn": "Arn", "user_id": "UserId"}) or [asked]


def _caller(world: World) -> Values:
    caller = world.aws.call("sts", "get_caller_identity")
    try:
        aliases = world.aws.pages("iam", "list_account_aliases", "AccountAliases")
    except AwsError as error:
        if not error.code.startswith("AccessDenied"):
            raise
        aliases = []
    return {
        "account": caller["Account"],
        "account_alias": aliases[0] if aliases else None,
        "arn": caller["Arn"],
        "user_id": caller["UserId"],
        "region": world.aws.region,
    }


class AwsSsmParameterInfo(Resource):
    """Looks up a parameter of Systems Manager, one's own or one that AWS or Canonical publishes."""

    kind: ClassVar[str] = "aws_ssm_parameter_info"
    lookup: ClassVar[bool] = True
    actions: ClassVar[Sequence[str]] = iam_actions("ssm", "GetParameter")
    outputs: ClassVar[Mapping[str, Output]] = {
        "value": Output("its value; a StringList as one text with commas"),
        "values": Output("the same as a list"),
        "type": Output("String or StringList"),
        "version": Output("grows by one with each change"),
        "arn": Output("its ARN"),
    }

    name: str = Field(min_length=1, max_length=2048)
    """`/aws/service/canonical/ubuntu/server/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id`, or one's own."""

    def look_up(self, world: World) -> Values:
        """SSM GetParameter. Raises StepFailed for an encrypted one: what it holds must not be shown."""
        try:
            parameter = world.aws.call("ssm", "get_parameter", Name=self.name)["Parameter"]
        except AwsError as error:
            if error.code != "ParameterNotFound":
                raise
            raise StepFailed(
                f"there is no parameter {self.name} in {world.aws.region}",
                "check its name, which begins with a slash if it has any others in it",
            ) from None
        if parameter["Type"] == "SecureString":
            raise StepFailed(
                f"the parameter {self.name} is encrypted, and what a lookup tells is shown and kept",
                "make it a variable of type secret that is read from SSM (docs/playbooks.md)",
            )
        return {
            "value": parameter["Value"],
            "values": parameter["Value"].split(","),
            "type": parameter["Type"],
            "version": parameter["Version"],
            "arn": parameter.get("ARN"),
        }

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws ssm get-parameter`."""
        asked = aws("get-parameter", service="ssm", name=self.name)
        return told(self, asked, {"value": "Parameter.Value", "arn": "Parameter.ARN"}) or [asked]
