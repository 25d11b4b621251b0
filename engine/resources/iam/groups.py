"""IAM groups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote

from engine.by_hand import aws, told
from engine.refs import Unknown
from engine.resource import Fixed, Id, Output, Place, Values
from engine.resources.aws._aws import finish, iam_actions
from engine.resources.iam._by_hand import delete_by_hand, list_by_hand, policies_by_hand
from engine.resources.iam._iam import (
    Bearer,
    IamPath,
    InIam,
    InlinePolicies,
    ManagedPolicies,
    Name128,
    attached,
    compared,
    details,
    inline_in,
    listed,
    make,
    quietly,
    settled,
)

if TYPE_CHECKING:
    from engine.world import World


class IamGroup(InIam):
    """An IAM group: users that are given the same rights."""

    kind: ClassVar[str] = "iam_group"
    actions: ClassVar[Sequence[str]] = iam_actions(
        "iam",
        """
        AddUserToGroup AttachGroupPolicy CreateGroup DeleteGroup DeleteGroupPolicy DetachGroupPolicy
        GetAccountAuthorizationDetails GetGroup GetPolicy ListAttachedGroupPolicies ListGroupPolicies
        ListGroups PutGroupPolicy RemoveUserFromGroup
        """,
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the group's name"),
        "arn": Output("its ARN"),
        "group_id": Output("the id that is never given twice, AGPA…"),
    }
    tagged: ClassVar[bool] = False
    _sort: ClassVar[str] = "group"

    name: Fixed[Name128]
    """1 to 128 letters, digits and _ + = , . @ -; one of its kind in the account."""
    path: Fixed[IamPath] = "/"
    """A folder in which groups are kept apart. Below it comes one of labctl's, as groups bear no tags."""
    users: list[Id] | None = None
    """The names of its users."""
    purge_users: bool = False
    """Users that others put into the group are taken out of it."""
    managed_policies: ManagedPolicies | None = None
    """Managed policies attached to the group, by name (`AdministratorAccess`) or ARN."""
    inline_policies: InlinePolicies | None = None
    """Policies of the group's own, by name."""
    purge_policies: bool = True
    """Managed policies that others attached are taken away."""

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """The values asked for; a last entry `others: stay` where those of others are left alone."""
        purges = {"managed_policies": "purge_policies", "users": "purge_users"}
        return self._note_purges(super().wanted(also), purges)

    def create(self, world: World) -> str:
        """CreateGroup below a path that tells the lab, then what is attached to it, then its users."""
        make(world, "create_group", GroupName=self.name, Path=self.path + marked_path(world))
        finish(world, self.name, lambda: self._complete(world))
        return self.name

    def _complete(self, world: World) -> None:
        Bearer("group", self.name).give(world, self.wanted())
        for user in self.users or ():
            settled(world, "add_user_to_group", UserName=user, GroupName=self.name)

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """GetAccountAuthorizationDetails for all groups, and for all users, who tell which they are in."""
        groups = {group["GroupName"]: group for group in details(world, "Group") if group["GroupName"] in ids}
        members: dict[str, list[str]] = defaultdict(list)
        for user in details(world, "User") if groups else ():
            for group in user.get("GroupList", ()):
                members[group].append(user["UserName"])
        return {
            name: {
                "id": name,
                "name": name,
                "arn": group["Arn"],
                "group_id": group["GroupId"],
                "path": unmarked_path(group["Path"]),
                "users": sorted(members[name]),
                "managed_policies": attached(group),
                "inline_policies": inline_in(group, "GroupPolicyList"),
            }
            for name, group in groups.items()
        }

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """Policies and members by their own calls."""
        Bearer("group", id).bring(world, self.wanted(sorted(changed)), changed)
        if "users" in changed:
            there = _members(world, id)
            missing, extra = compared(self.wanted(["users"]).get("users") or [], there)
            for user in missing:
                settled(world, "add_user_to_group", UserName=user, GroupName=id)
            for user in extra:
                quietly(world, "remove_user_from_group", UserName=user, GroupName=id)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteGroup, after its users are taken out of it and its policies off it."""
        for user in _members(world, id):
            quietly(world, "remove_user_from_group", UserName=user, GroupName=id)
        Bearer("group", id).strip(world)
        quietly(world, "delete_group", GroupName=id)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """The one of the name that the create was for, if its path says that this create made it."""
        name = world.job.foreseen
        answer = quietly(world, "get_group", GroupName=name, MaxItems=1) if name else None
        made = answer is not None and marked_path(world) in str(answer["Group"]["Path"])
        return [name] if made else []

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """Nearly all of it about this group alone."""
        if isinstance(self.name, Unknown) or isinstance(self.path, Unknown):
            return {}
        own = [place.arn("iam", f"group{self.path}labctl/*/{self.name}", regional=False)]
        general = {"GetAccountAuthorizationDetails", "GetPolicy", "ListGroups"}
        return {action: own for action in self.actions if action.removeprefix("iam:") not in general}

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws iam create-group`, then a command for each thing attached and each user."""
        if action == "delete":
            return delete_by_hand("group", self._beside.there, id)
        path = None if self.path == "/" else self.path
        lines = (
            [aws("create-group", service="iam", group_name=self.name, path=path)]
            if action == "create"
            else []
        )
        touched = self.model_fields_set if action == "create" else changed
        there = self._beside.there
        lines += policies_by_hand("group", self, touched, there)
        missing, extra = list_by_hand(self, "users", touched, there)
        for verb, users in (("add-user-to-group", missing), ("remove-user-from-group", extra)):
            lines += [aws(verb, service="iam", user_name=user, group_name=self.name) for user in users]
        asked = aws("get-group", service="iam", group_name=self.name)
        queries = {"id": "Group.GroupName", "arn": "Group.Arn", "group_id": "Group.GroupId"}
        return [*lines, *told(self, asked, queries)]


def marked_path(world: World) -> str:
    """The end of a path that tells whose a thing is that bears no tags: lab, address, token."""
    words = ["labctl", world.lab, world.job.address, *filter(None, [world.job.token])]
    return "/".join(quote(word, safe="@+=,.").replace("%", "=") for word in words) + "/"


def unmarked_path(path: str) -> str:
    """The path as the playbook says it."""
    return path.partition("labctl/")[0]


def _members(world: World, group: str) -> list[str]:
    return [str(user["UserName"]) for user in listed(world, "get_group", "Users", GroupName=group)]
