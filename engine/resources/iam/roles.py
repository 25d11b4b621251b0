"""Rights that services and people take on: IAM roles and instance profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from engine.by_hand import aws, json_word, told, word
from engine.errors import StepFailed
from engine.refs import Unknown
from engine.resource import Fixed, Id, Output, Place, Values, plain
from engine.resources.aws._aws import finish, iam_actions
from engine.resources.aws._tagging import Tagging
from engine.resources.iam._by_hand import arn_by_hand, boundary_by_hand, delete_by_hand, policies_by_hand
from engine.resources.iam._iam import (
    Bearer,
    IamPath,
    InIam,
    InlinePolicies,
    ManagedPolicies,
    Name64,
    Name128,
    as_json,
    ask,
    attached,
    boundary_in,
    details,
    fits,
    inline_in,
    make,
    policy_arn,
    quietly,
    read_document,
    settled,
    tagging_of,
    tags_sent,
    trust_policy,
)

if TYPE_CHECKING:
    from engine.world import World


class IamRole(InIam):
    """An IAM role: rights that a service, an instance or a person takes on for a while."""

    kind: ClassVar[str] = "iam_role"
    actions: ClassVar[Sequence[str]] = iam_actions(
        "iam",
        """
        AttachRolePolicy CreateRole DeleteRole DeleteRolePermissionsBoundary DeleteRolePolicy DetachRolePolicy
        GetAccountAuthorizationDetails GetPolicy GetRole ListAttachedRolePolicies ListInstanceProfilesForRole
        ListRolePolicies ListRoles PutRolePermissionsBoundary PutRolePolicy TagRole UntagRole
        UpdateAssumeRolePolicy UpdateRole
        """,
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the role's name"),
        "arn": Output("its ARN"),
        "role_id": Output("the id that is never given twice, AROA…"),
    }
    tagging: ClassVar[Tagging] = tagging_of("role", "RoleName")
    _sort: ClassVar[str] = "role"

    name: Fixed[Name64]
    """1 to 64 letters, digits and _ + = , . @ -; one of its kind in the account."""
    assume_role_policy_document: dict[str, Any]
    """Who may take it on, as YAML or JSON."""
    path: Fixed[IamPath] = "/"
    """A folder in which roles are kept apart, like /lambda/."""
    description: str | None = Field(default=None, max_length=1000)
    """What it is for."""
    boundary: str | None = None
    """The managed policy beyond which nothing is allowed, by name or ARN."""
    managed_policies: ManagedPolicies | None = None
    """Managed policies attached to it, by name (`AmazonS3ReadOnlyAccess`) or ARN."""
    inline_policies: InlinePolicies | None = None
    """Policies of the role's own, by name."""
    purge_policies: bool = True
    """Managed policies that others attached are taken away."""
    max_session_duration: int | None = Field(default=None, ge=3600, le=43200)
    """Seconds that whoever takes it on may keep it; AWS's default is an hour."""

    @field_validator("assume_role_policy_document", mode="before")
    @classmethod
    def _trust(cls, value: Any) -> Any:
        return fits(trust_policy(value), 4096, "a trust policy")

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """The values asked for; a last entry `others: stay` where policies of others are left alone."""
        return self._note_purges(super().wanted(also), {"managed_policies": "purge_policies"})

    def create(self, world: World) -> str:
        """CreateRole with tags, then what is attached to it."""
        more: dict[str, Any] = {}
        if self.description is not None:
            more["Description"] = self.description
        if self.max_session_duration is not None:
            more["MaxSessionDuration"] = self.max_session_duration
        if self.boundary:
            more["PermissionsBoundary"] = policy_arn(world, self.boundary)
        make(
            world,
            "create_role",
            RoleName=self.name,
            Path=self.path,
            AssumeRolePolicyDocument=as_json(self.assume_role_policy_document),
            Tags=tags_sent(world),
            **more,
        )
        finish(world, self.name, lambda: Bearer("role", self.name).give(world, self.wanted()))
        return self.name

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """GetAccountAuthorizationDetails for all roles, and ListRoles for what that leaves out."""
        found = {role["RoleName"]: role for role in details(world, "Role") if role["RoleName"] in ids}
        listed = world.aws.pages("iam", "list_roles", "Roles", MaxItems=1000) if found else []
        more = {role["RoleName"]: role for role in listed}
        return {name: cls._values({**more.get(name, {}), **role}) for name, role in found.items()}

    @classmethod
    def _values(cls, role: Mapping[str, Any]) -> Values:
        return {
            "id": role["RoleName"],
            "name": role["RoleName"],
            "arn": role["Arn"],
            "role_id": role["RoleId"],
            "path": role["Path"],
            "assume_role_policy_document": read_document(role["AssumeRolePolicyDocument"]),
            "description": role.get("Description") or "",
            "boundary": boundary_in(role),
            "managed_policies": attached(role),
            "inline_policies": inline_in(role, "RolePolicyList"),
            "max_session_duration": role.get("MaxSessionDuration", 3600),
            "tags": cls.shown_tags(role.get("Tags")),
        }

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """UpdateAssumeRolePolicy, UpdateRole; policies by their own calls."""
        if "assume_role_policy_document" in changed:
            text = as_json(self.assume_role_policy_document)
            make(world, "update_assume_role_policy", RoleName=id, PolicyDocument=text)
        more: dict[str, Any] = {}
        if "description" in changed:
            more["Description"] = self.description or ""
        if "max_session_duration" in changed:
            more["MaxSessionDuration"] = self.max_session_duration or 3600
        if more:
            ask(world, "update_role", RoleName=id, **{**self._as_it_is(world, id), **more})
        Bearer("role", id).bring(world, self.wanted(sorted(changed)), changed)

    @staticmethod
    def _as_it_is(world: World, id: str) -> dict[str, Any]:
        """What UpdateRole would otherwise set back to its defaults."""
        role = ask(world, "get_role", RoleName=id)["Role"]
        return {
            "Description": role.get("Description") or "",
            "MaxSessionDuration": role.get("MaxSessionDuration", 3600),
        }

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteRole, after its policies are taken off; refused while an instance profile holds it."""
        if quietly(world, "get_role", RoleName=id) is None:
            return
        profiles = world.aws.pages("iam", "list_instance_profiles_for_role", "InstanceProfiles", RoleName=id)
        if profiles:
            names = ", ".join(profile["InstanceProfileName"] for profile in profiles)
            raise StepFailed(
                f"the role {id} is not deleted: the instance profile {names} holds it, "
                "and instances may be using that",
                "delete that instance profile if nobody needs it, then run the same command again",
            )
        Bearer("role", id).strip(world)
        quietly(world, "delete_role", RoleName=id)

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """Nearly all of it about this role alone."""
        arn = self.foretold(place).get("arn")
        general = {"iam:GetAccountAuthorizationDetails", "iam:GetPolicy", "iam:ListRoles"}
        return {action: [arn] for action in self.actions if action not in general} if arn else {}

    def foretold(self, place: Place) -> Values:
        """Its ARN."""
        if isinstance(self.name, Unknown) or isinstance(self.path, Unknown):
            return {}
        return {"id": self.name, "arn": place.arn("iam", f"role{self.path}{self.name}", regional=False)}

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws iam create-role`, then a command for each policy."""
        if action == "delete":
            return delete_by_hand("role", self._beside.there, id)
        lines, touched, there = [], self.model_fields_set, self._beside.there
        trust = f"{json_word(plain(self.assume_role_policy_document))}"
        if action == "create":
            command = aws(
                "create-role",
                service="iam",
                role_name=self.name,
                path=None if self.path == "/" else self.path,
                description=self.description,
                max_session_duration=self.max_session_duration,
                permissions_boundary=arn_by_hand(self.boundary),
            )
            lines.append(f"{command} --assume-role-policy-document {trust}")
        else:
            touched = set(changed)
            lines += self._update_by_hand(changed, trust)
        lines += policies_by_hand("role", self, touched, there)
        asked = aws("get-role", service="iam", role_name=self.name)
        queries = {"id": "Role.RoleName", "arn": "Role.Arn", "role_id": "Role.RoleId"}
        return [*lines, *told(self, asked, queries)]

    def _update_by_hand(self, changed: frozenset[str], trust: str) -> list[str]:
        lines = []
        if "assume_role_policy_document" in changed:
            command = aws("update-assume-role-policy", service="iam", role_name=self.name)
            lines.append(f"{command} --policy-document {trust}")
        if changed & {"description", "max_session_duration"}:
            # UpdateRole sets back what it is not told.
            told = {
                field: getattr(self, field) if field in changed else self._beside.there.get(field)
                for field in ("description", "max_session_duration")
            }
            lines.append(aws("update-role", service="iam", role_name=self.name, **told))
        if "boundary" in changed:
            lines.append(boundary_by_hand("role", self.name, self.boundary))
        return lines


class IamInstanceProfile(InIam):
    """An instance profile: how an instance is given a role."""

    kind: ClassVar[str] = "iam_instance_profile"
    actions: ClassVar[Sequence[str]] = iam_actions(
        "iam",
        """
        AddRoleToInstanceProfile CreateInstanceProfile DeleteInstanceProfile GetInstanceProfile PassRole
        RemoveRoleFromInstanceProfile TagInstanceProfile UntagInstanceProfile
        """,
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the profile's name"),
        "arn": Output("its ARN"),
        "instance_profile_id": Output("the id that is never given twice, AIPA…"),
    }
    tagging: ClassVar[Tagging] = tagging_of("instance_profile", "InstanceProfileName")
    _sort: ClassVar[str] = "instance_profile"

    name: Fixed[Name128]
    """1 to 128 letters, digits and _ + = , . @ -; one of its kind in the account."""
    path: Fixed[IamPath] = "/"
    """A folder in which profiles are kept apart."""
    role: Id | None = None
    """The name of the role that instances take on."""

    def create(self, world: World) -> str:
        """CreateInstanceProfile with tags, then AddRoleToInstanceProfile."""
        sent = tags_sent(world)
        make(world, "create_instance_profile", InstanceProfileName=self.name, Path=self.path, Tags=sent)
        if self.role:
            finish(world, self.name, lambda: self._add(world, self.name))
        return self.name

    def _add(self, world: World, id: str) -> None:
        settled(world, "add_role_to_instance_profile", InstanceProfileName=id, RoleName=self.role)

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """GetInstanceProfile for each: no call that lists them tells their tags."""
        found = {}
        for name in dict.fromkeys(ids):
            answer = quietly(world, "get_instance_profile", InstanceProfileName=name)
            if answer is None:
                continue
            profile = answer["InstanceProfile"]
            roles = profile.get("Roles", ())
            found[name] = {
                "id": name,
                "name": name,
                "arn": profile["Arn"],
                "instance_profile_id": profile["InstanceProfileId"],
                "path": profile["Path"],
                "role": roles[0]["RoleName"] if roles else None,
                "tags": cls.shown_tags(profile.get("Tags")),
            }
        return found

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """The role taken out and another put in: a profile holds one at most."""
        _empty(world, id)
        if self.role:
            self._add(world, id)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """RemoveRoleFromInstanceProfile, DeleteInstanceProfile."""
        _empty(world, id)
        quietly(world, "delete_instance_profile", InstanceProfileName=id)

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """This profile, and the role passed on to it."""
        if isinstance(self.name, Unknown) or isinstance(self.path, Unknown):
            return {}
        own = [place.arn("iam", f"instance-profile{self.path}{self.name}", regional=False)]
        found = {action: own for action in self.actions if action != "iam:PassRole"}
        if self.role is None or isinstance(self.role, Unknown):
            return found if self.role is not None else {**found, "iam:PassRole": []}
        return {**found, "iam:PassRole": place.named("iam", "role", self.role)}

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws iam create-instance-profile`, `add-role-to-instance-profile`."""
        there = self._beside.there.get("role")
        taken = f"aws iam remove-role-from-instance-profile --instance-profile-name {word(id or '')}"
        lines = [f"{taken} --role-name {word(there)}"] if there and action != "create" else []
        if action == "delete":
            return [*lines, f"aws iam delete-instance-profile --instance-profile-name {word(id)}"]
        whose = {"instance_profile_name": self.name}
        if action == "create":
            path = None if self.path == "/" else self.path
            lines.append(aws("create-instance-profile", service="iam", **whose, path=path))
        if self.role:
            lines.append(aws("add-role-to-instance-profile", service="iam", **whose, role_name=self.role))
        asked = aws("get-instance-profile", service="iam", **whose)
        profile = "InstanceProfile"
        queries = {
            "id": f"{profile}.InstanceProfileName",
            "arn": f"{profile}.Arn",
            "instance_profile_id": f"{profile}.InstanceProfileId",
        }
        return [*lines, *told(self, asked, queries)]


def _empty(world: World, profile: str) -> None:
    """Take its role out of an instance profile; quiet where either is gone."""
    answer = quietly(world, "get_instance_profile", InstanceProfileName=profile)
    for role in answer["InstanceProfile"].get("Roles", ()) if answer else ():
        whose = {"InstanceProfileName": profile, "RoleName": role["RoleName"]}
        quietly(world, "remove_role_from_instance_profile", **whose)
