"""Managed policies of an account's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pydantic import Field, field_validator

from engine.by_hand import assign, aws, itself, json_word, told, word
from engine.errors import StepFailed
from engine.refs import Unknown
from engine.resource import Fixed, Output, Place, Values, plain
from engine.resources.aws._aws import iam_actions, ours
from engine.resources.aws._tagging import Tagging
from engine.resources.iam._iam import (
    IamPath,
    InIam,
    Name128,
    as_json,
    ask,
    details,
    fits,
    identity_policy,
    make,
    partition,
    quietly,
    read_document,
    tagging_of,
    tags_read,
    tags_sent,
)

if TYPE_CHECKING:
    from engine.world import World

_MOST_VERSIONS: Final = 5


class IamManagedPolicy(InIam):
    """A managed policy: rights under a name, to be attached to users, groups and roles."""

    kind: ClassVar[str] = "iam_managed_policy"
    actions: ClassVar[Sequence[str]] = iam_actions(
        "iam",
        """
        CreatePolicy CreatePolicyVersion DeletePolicy DeletePolicyVersion GetAccountAuthorizationDetails
        GetPolicy ListEntitiesForPolicy ListPolicyTags ListPolicyVersions SetDefaultPolicyVersion TagPolicy
        UntagPolicy
        """,
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("its ARN"),
        "arn": Output("the same as id"),
        "policy_id": Output("the id that is never given twice, ANPA…"),
        "default_version_id": Output("the version in force, v1 to v…"),
        "attachment_count": Output("how many users, groups and roles it is attached to"),
    }
    tagging: ClassVar[Tagging] = tagging_of("policy", "PolicyArn")
    _sort: ClassVar[str] = "policy"

    name: Fixed[Name128]
    """1 to 128 letters, digits and _ + = , . @ -; one of its kind in the account."""
    policy: dict[str, Any]
    """What is allowed and denied, as YAML or JSON; each change is a new version, of which AWS keeps 5."""
    path: Fixed[IamPath] = "/"
    """A folder in which policies are kept apart."""
    description: Fixed[str | None] = Field(default=None, max_length=1000)
    """What it is for; AWS never lets it change."""
    only_version: bool = False
    """Versions that are no longer in force are deleted at each change."""

    @field_validator("policy", mode="before")
    @classmethod
    def _document(cls, value: Any) -> Any:
        return fits(identity_policy(value), 6144, "a managed policy")

    def foreseen(self) -> str | None:
        """Its path and name: the account stands in its ARN, which AWS alone tells."""
        return f"{self.path}{self.name}"

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """The values asked for; how many versions are kept is not read."""
        return {name: value for name, value in super().wanted(also).items() if name != "only_version"}

    def create(self, world: World) -> str:
        """CreatePolicy with tags."""
        more = {"Description": self.description} if self.description is not None else {}
        answer = make(
            world,
            "create_policy",
            PolicyName=self.name,
            Path=self.path,
            PolicyDocument=as_json(self.policy),
            Tags=tags_sent(world),
            **more,
        )
        return str(answer["Policy"]["Arn"])

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """GetAccountAuthorizationDetails for all own policies, and ListPolicyTags for each of `ids`."""
        found = {one["Arn"]: one for one in details(world, "LocalManagedPolicy") if one["Arn"] in ids}
        values = {}
        for arn, policy in found.items():
            tags = quietly(world, "list_policy_tags", PolicyArn=arn)
            if tags is None:
                continue
            versions = {version["VersionId"]: version for version in policy.get("PolicyVersionList", ())}
            values[arn] = {
                "id": arn,
                "arn": arn,
                "name": policy["PolicyName"],
                "path": policy["Path"],
                "policy_id": policy["PolicyId"],
                "description": policy.get("Description") or "",
                "default_version_id": policy["DefaultVersionId"],
                "attachment_count": policy.get("AttachmentCount", 0),
                "policy": read_document(versions[policy["DefaultVersionId"]]["Document"]),
                "tags": cls.shown_tags(tags.get("Tags")),
            }
        return values

    @classmethod
    def unsettles(cls, changed: frozenset[str]) -> frozenset[str]:
        """A new document is a new version."""
        return frozenset({"default_version_id"}) if "policy" in changed else frozenset()

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """CreatePolicyVersion as default; before that the oldest other one goes where there are five."""
        others = sorted(
            (version for version in _versions(world, id) if not version["IsDefaultVersion"]),
            key=lambda version: int(version["VersionId"].removeprefix("v").partition(".")[0]),
        )
        if len(others) >= _MOST_VERSIONS - 1:
            quietly(world, "delete_policy_version", PolicyArn=id, VersionId=others[0]["VersionId"])
        ask(
            world,
            "create_policy_version",
            PolicyArn=id,
            PolicyDocument=as_json(self.policy),
            SetAsDefault=True,
        )
        if self.only_version:
            _delete_others(world, id)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeletePolicy, after its other versions; refused in words while something has it attached."""
        if quietly(world, "get_policy", PolicyArn=id) is None:
            return
        holders = _holders(world, id)
        if holders:
            raise StepFailed(
                f"the policy {id.rpartition('/')[2]} is not deleted: it is attached to {', '.join(holders)}",
                "detach it there if that may lose these rights, then run the same command again",
            )
        _delete_others(world, id)
        quietly(world, "delete_policy", PolicyArn=id)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """The one of the path and name that the create was for, if its tags say that this create made it."""

        def arn(name: str) -> str:
            return f"arn:{partition(world)}:iam::{world.aws.account_id()}:policy{name}"

        def tags_of(name: str) -> dict[str, str] | None:
            answer = quietly(world, "get_policy", PolicyArn=arn(name))
            return tags_read(answer["Policy"]) if answer else None

        return [arn(name) for name in ours(world, tags_of)]

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """Nearly all of it about this policy alone."""
        arn = self.foretold(place).get("arn")
        general = {"iam:GetAccountAuthorizationDetails"}
        return {action: [arn] for action in self.actions if action not in general} if arn else {}

    def foretold(self, place: Place) -> Values:
        """Its ARN."""
        if isinstance(self.name, Unknown) or isinstance(self.path, Unknown):
            return {}
        arn = place.arn("iam", f"policy{self.path}{self.name}", regional=False)
        return {"id": arn, "arn": arn}

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws iam create-policy`, `create-policy-version`."""
        own = word(itself(self, id))
        if action == "delete":
            return [f"aws iam delete-policy --policy-arn {own}"]
        text = json_word(plain(self.policy))
        if action == "create":
            path = None if self.path == "/" else self.path
            command = aws(
                "create-policy", service="iam", policy_name=self.name, path=path, description=self.description
            )
            query = "--query Policy.Arn --output text"
            lines = [assign(self._address, f"{command} --policy-document {text} {query}")]
        else:
            command = f"aws iam create-policy-version --policy-arn {own} --set-as-default"
            lines = [f"{command} --policy-document {text}"]
        asked = f"aws iam get-policy --policy-arn {own}"
        queries = {
            "arn": "Policy.Arn",
            "policy_id": "Policy.PolicyId",
            "default_version_id": "Policy.DefaultVersionId",
            "attachment_count": "Policy.AttachmentCount",
        }
        return [*lines, *told(self, asked, queries)]


def _versions(world: World, arn: str) -> list[dict[str, Any]]:
    return world.aws.pages("iam", "list_policy_versions", "Versions", PolicyArn=arn)


def _delete_others(world: World, arn: str) -> None:
    for version in _versions(world, arn):
        if not version["IsDefaultVersion"]:
            quietly(world, "delete_policy_version", PolicyArn=arn, VersionId=version["VersionId"])


def _holders(world: World, arn: str) -> list[str]:
    """What the policy is attached to, in words (ListEntitiesForPolicy)."""
    found = []
    for what, key in (("user", "PolicyUsers"), ("group", "PolicyGroups"), ("role", "PolicyRoles")):
        things = world.aws.pages(
            "iam", "list_entities_for_policy", key, PolicyArn=arn, EntityFilter=what.title()
        )
        found += [f"the {what} {thing[what.title() + 'Name']}" for thing in things]
    return found
