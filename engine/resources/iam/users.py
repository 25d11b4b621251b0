"""IAM users."""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from pydantic import Field, model_validator

from engine.aws.tags import narrow, tag_list
from engine.by_hand import aws, told
from engine.errors import StepFailed
from engine.refs import Unknown
from engine.resource import Fixed, Id, Output, Place, Secret, Unread, Values
from engine.resources.aws import _secret_files
from engine.resources.aws._aws import finish, iam_actions
from engine.resources.aws._tagging import Tagging
from engine.resources.iam._by_hand import (
    boundary_by_hand,
    delete_by_hand,
    list_by_hand,
    path_by_hand,
    policies_by_hand,
)
from engine.resources.iam._iam import (
    KEY_NOTES,
    Bearer,
    IamPath,
    InIam,
    InlinePolicies,
    ManagedPolicies,
    Name64,
    ask,
    attached,
    boundary_in,
    compared,
    details,
    inline_in,
    listed,
    make,
    policy_arn,
    quietly,
    settled,
    tagging_of,
    tags_read,
    tags_sent,
)

if TYPE_CHECKING:
    from engine.world import World

_PASSWORD_FILE: Final = "labctl:password_file"
"""Where a generated password was written: looking and deleting know nothing but the name."""
_PASSWORD_LENGTH: Final = 24
_PUNCTUATION: Final = "!@#$%^&*()_+-=[]{}|'"
"""What IAM counts as not alphanumeric in a password."""


class IamUser(InIam):
    """An IAM user: a person or program with a name and rights of its own in the account."""

    kind: ClassVar[str] = "iam_user"
    actions: ClassVar[Sequence[str]] = iam_actions(
        "iam",
        """
        AddUserToGroup AttachUserPolicy CreateLoginProfile CreateUser DeactivateMFADevice DeleteLoginProfile
        DeleteUser DeleteUserPermissionsBoundary DeleteUserPolicy DeleteVirtualMFADevice DetachUserPolicy
        GetAccountAuthorizationDetails GetLoginProfile GetPolicy GetUser ListAccessKeys
        ListAttachedUserPolicies ListGroupsForUser ListMFADevices ListSSHPublicKeys
        ListServiceSpecificCredentials ListSigningCertificates ListUserPolicies PutUserPermissionsBoundary
        PutUserPolicy RemoveUserFromGroup TagUser UntagUser UpdateLoginProfile UpdateUser
        """,
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the user's name"),
        "arn": Output("its ARN"),
        "user_id": Output("the id that is never given twice, AIDA…"),
        "console_url": Output("where the user signs in with the password"),
    }
    own_tags: ClassVar[frozenset[str]] = frozenset({_PASSWORD_FILE})
    tagging: ClassVar[Tagging] = tagging_of("user", "UserName")
    _sort: ClassVar[str] = "user"

    name: Fixed[Name64]
    """1 to 64 letters, digits and _ + = , . @ -; one of its kind in the account."""
    path: IamPath = "/"
    """A folder in which users are kept apart, like /students/."""
    boundary: str | None = None
    """The managed policy beyond which nothing is allowed, by name or ARN."""
    managed_policies: ManagedPolicies | None = None
    """Managed policies attached to the user, by name (`AdministratorAccess`) or ARN."""
    purge_policies: bool = True
    """Managed policies that others attached are taken away."""
    inline_policies: InlinePolicies | None = None
    """Policies of the user's own, by name."""
    groups: list[Id] | None = None
    """The groups the user is in, by name."""
    purge_groups: bool = True
    """Taken out of groups that others put the user in."""
    password: Secret[str | None] = Field(default=None, min_length=1, max_length=128)
    """For signing in to the console; a variable of type secret."""
    password_file: str | None = None
    """A password is generated and written there (mode 0600, never over another file)."""
    password_reset_required: Unread[bool] = True
    """At the first sign-in the user must choose another password."""

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.password is not None and self.password_file is not None:
            raise ValueError("write either password (one you have) or password_file (one is generated)")
        return self

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """The values asked for; a last entry `others: stay` where those of others are left alone."""
        purges = {"managed_policies": "purge_policies", "groups": "purge_groups"}
        return self._note_purges(super().wanted(also), purges)

    @classmethod
    def shown_tags(cls, given: Any) -> dict[str, str]:
        """The tags that the kind reads: without the notes about access keys, too."""
        shown = super().shown_tags(given)
        return {key: text for key, text in shown.items() if not key.startswith(KEY_NOTES)}

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """That the password is no longer in its file, too."""
        if name == "password_file" and isinstance(wanted, str) and there is None:
            return f"{wanted} does not hold its password (AWS cannot tell it again: a new one is made)"
        return super().describe_difference(name, wanted, there)

    def create(self, world: World) -> str:
        """CreateUser with tags, then what is attached to it, then the login profile."""
        more: dict[str, Any] = {}
        if self.boundary:
            more["PermissionsBoundary"] = policy_arn(world, self.boundary)
        note = {_PASSWORD_FILE: self.password_file} if self.password_file else {}
        make(world, "create_user", UserName=self.name, Path=self.path, Tags=tags_sent(world, note), **more)
        finish(world, self.name, lambda: self._complete(world))
        return self.name

    def _complete(self, world: World) -> None:
        Bearer("user", self.name).give(world, self.wanted())
        for group in self.groups or ():
            settled(world, "add_user_to_group", UserName=self.name, GroupName=group)
        if self.password or self.password_file:
            self._set_password(world, "create_login_profile")

    def _set_password(self, world: World, operation: str) -> None:
        """Give the user a password; what is generated is nowhere but in its file."""
        reset = self.password_reset_required
        if self.password is not None:
            _login(world, operation, self.name, self.password, reset)
            return
        with _secret_files.reserve(str(self.password_file), _secret_files.mark_of(world)) as write:
            password = generated_password()
            write(
                f"# sign in at {console_url(world.aws.account_id())}\nuser: {self.name}\npassword: {password}"
            )
            _login(world, operation, self.name, password, reset)

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """GetAccountAuthorizationDetails for all users, and GetLoginProfile for each of `ids`."""
        found = {user["UserName"]: user for user in details(world, "User") if user["UserName"] in ids}
        return {name: cls._values(world, found[name]) for name in ids if name in found}

    @classmethod
    def _values(cls, world: World, user: Mapping[str, Any]) -> Values:
        name = str(user["UserName"])
        account = str(user["Arn"]).split(":")[4]
        login = quietly(world, "get_login_profile", UserName=name) is not None
        file = tags_read(user).get(_PASSWORD_FILE)
        kept = bool(login and file and _secret_files.holds(file, f"user: {name}\n", "password: "))
        return {
            "id": name,
            "name": name,
            "arn": user["Arn"],
            "user_id": user["UserId"],
            "path": user["Path"],
            "boundary": boundary_in(user),
            "managed_policies": attached(user),
            "inline_policies": inline_in(user, "UserPolicyList"),
            "groups": sorted(user.get("GroupList", ())),
            "password_file": file if kept else None,
            "console_url": console_url(account) if login else None,
            "tags": cls.shown_tags(user.get("Tags")),
        }

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """UpdateUser for the path; policies, groups and the password by their own calls."""
        if "path" in changed:
            ask(world, "update_user", UserName=id, NewPath=self.path)
        Bearer("user", id).bring(world, self.wanted(sorted(changed)), changed)
        if "groups" in changed:
            self._set_groups(world, id)
        if changed & {"password", "password_file"} and (self.password or self.password_file):
            self._change_password(world, id)

    def _change_password(self, world: World, id: str) -> None:
        there = quietly(world, "get_login_profile", UserName=id)
        before = tags_read(ask(world, "get_user", UserName=id)["User"]).get(_PASSWORD_FILE)
        if self.password_file:
            note = tag_list(narrow({_PASSWORD_FILE: self.password_file}))
            ask(world, "tag_user", UserName=id, Tags=note)
        self._set_password(world, "update_login_profile" if there else "create_login_profile")
        if before and before != self.password_file:
            _secret_files.remove(before, f"user: {id}\n", "password: ")

    def _set_groups(self, world: World, id: str) -> None:
        there = _groups_of(world, id)
        missing, extra = compared(self.wanted(["groups"]).get("groups") or [], there)
        for group in missing:
            settled(world, "add_user_to_group", UserName=id, GroupName=group)
        for group in extra:
            quietly(world, "remove_user_from_group", UserName=id, GroupName=group)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteUser, after its password, MFA devices, policies and memberships.

        Refused in words while it has access keys, SSH keys or certificates that labctl did not make: some
        program may be using them.
        """
        answer = quietly(world, "get_user", UserName=id)
        if answer is None:
            return
        _refuse_credentials(world, id)
        file = tags_read(answer["User"]).get(_PASSWORD_FILE)
        if file:
            # First: once the user is gone nothing tells any more which file was its.
            _secret_files.remove(file, f"user: {id}\n", "password: ")
        quietly(world, "delete_login_profile", UserName=id)
        for device in world.aws.pages("iam", "list_mfa_devices", "MFADevices", UserName=id):
            quietly(world, "deactivate_mfa_device", UserName=id, SerialNumber=device["SerialNumber"])
            if ":mfa/" in device["SerialNumber"]:
                quietly(world, "delete_virtual_mfa_device", SerialNumber=device["SerialNumber"])
        for group in _groups_of(world, id):
            quietly(world, "remove_user_from_group", UserName=id, GroupName=group)
        Bearer("user", id).strip(world)
        quietly(world, "delete_user", UserName=id)

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """Nearly all of it about this user alone."""
        if isinstance(self.name, Unknown) or isinstance(self.path, Unknown):
            return {}
        own = [place.arn("iam", f"user{self.path}{self.name}", regional=False)]
        general = {"AddUserToGroup", "RemoveUserFromGroup", "GetAccountAuthorizationDetails", "GetPolicy"}
        general |= {"DeleteVirtualMFADevice"}
        return {action: own for action in self.actions if action.removeprefix("iam:") not in general}

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws iam create-user`, then a command for each thing attached."""
        if action == "delete":
            return delete_by_hand("user", self._beside.there, id)
        lines = []
        if action == "create":
            path = None if self.path == "/" else self.path
            lines.append(aws("create-user", service="iam", user_name=self.name, path=path))
        elif "path" in changed:
            lines.append(aws("update-user", service="iam", user_name=self.name, new_path=self.path))
        touched = self.model_fields_set if action == "create" else changed
        there = self._beside.there
        if "boundary" in touched and (self.boundary or action == "update"):
            lines.append(boundary_by_hand("user", self.name, self.boundary))
        lines += policies_by_hand("user", self, touched, there)
        missing, extra = list_by_hand(self, "groups", touched, there)
        for verb, groups in (("add-user-to-group", missing), ("remove-user-from-group", extra)):
            lines += [aws(verb, service="iam", user_name=self.name, group_name=group) for group in groups]
        lines += self._password_by_hand(touched, there)
        asked = aws("get-user", service="iam", user_name=self.name)
        return [
            *lines,
            *told(self, asked, {"id": "User.UserName", "arn": "User.Arn", "user_id": "User.UserId"}),
        ]

    def _password_by_hand(self, touched: Set[str], there: Values) -> list[str]:
        if not touched & {"password", "password_file"} or not (self.password or self.password_file):
            return []
        verb = "update" if there.get("console_url") else "create"
        reset = "" if self.password_reset_required else "no-"
        command = aws(f"{verb}-login-profile", service="iam", user_name=self.name)
        login = f'{command} --password "$PASSWORD" --{reset}password-reset-required'
        if self.password_file is None:
            return ["# PASSWORD is the secret of the playbook", login]
        random = aws(
            "get-random-password",
            service="secretsmanager",
            query="RandomPassword",
            password_length=_PASSWORD_LENGTH,
            require_each_included_type=True,
        )
        file = path_by_hand(self.password_file)
        kept = f'(umask 077; mkdir -p "$(dirname {file})" && echo "$PASSWORD" > {file})'
        return [f"PASSWORD=$({random})", login, kept]


def generated_password() -> str:
    """A random password that every password policy of IAM takes."""
    sorts = (string.ascii_lowercase, string.ascii_uppercase, string.digits, _PUNCTUATION)
    while True:
        password = "".join(secrets.choice("".join(sorts)) for _ in range(_PASSWORD_LENGTH))
        if all(any(letter in sort for letter in password) for sort in sorts):
            return password


def console_url(account: str) -> str:
    """Where users of an account sign in."""
    return f"https://{account}.signin.aws.amazon.com/console"


def _login(world: World, operation: str, name: str, password: str, reset: bool) -> None:
    settled(world, operation, UserName=name, Password=password, PasswordResetRequired=reset)


def _groups_of(world: World, user: str) -> list[str]:
    groups = listed(world, "list_groups_for_user", "Groups", UserName=user)
    return [str(group["GroupName"]) for group in groups]


def _refuse_credentials(world: World, user: str) -> None:
    """Raises StepFailed where the user has credentials that labctl did not make."""
    asked = {
        "access key": ("list_access_keys", "AccessKeyMetadata", "AccessKeyId"),
        "SSH key": ("list_ssh_public_keys", "SSHPublicKeys", "SSHPublicKeyId"),
        "certificate": ("list_signing_certificates", "Certificates", "CertificateId"),
    }
    held = []
    for what, (operation, key, id) in asked.items():
        held += [f"{what} {thing[id]}" for thing in world.aws.pages("iam", operation, key, UserName=user)]
    answer = ask(world, "list_service_specific_credentials", UserName=user)
    for thing in answer.get("ServiceSpecificCredentials", ()):
        held.append(f"password for {thing['ServiceName']}")
    if held:
        raise StepFailed(
            f"the user {user} is not deleted: it has credentials made outside this lab ({', '.join(held)}), "
            "and some program may be using them",
            f"delete them if nobody needs them (aws iam delete-access-key --user-name {user} …), "
            "then run the same command again",
        )
