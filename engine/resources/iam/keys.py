"""Access keys of IAM users."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pydantic import Field

from engine.aws.tags import narrow, tag_list
from engine.by_hand import aws, word
from engine.errors import LabctlError
from engine.refs import Unknown
from engine.resource import Fixed, Id, Output, Place, Resource, Unread, Values
from engine.resources.aws import _secret_files
from engine.resources.aws._aws import finish, iam_actions
from engine.resources.iam._by_hand import path_by_hand
from engine.resources.iam._iam import KEY_NOTES, details, listed, quietly, settled, tags_read

if TYPE_CHECKING:
    from engine.world import World

_ID: Final = "aws_access_key_id = "


class IamAccessKey(Resource):
    """An access key of an IAM user; its secret is written to a file once and is nowhere else.

    Access keys bear no tags: while one is made, a tag on its user notes for whom, and where the file is.
    """

    kind: ClassVar[str] = "iam_access_key"
    create_first: ClassVar[bool] = True
    actions: ClassVar[Sequence[str]] = iam_actions(
        "iam",
        """
        CreateAccessKey DeleteAccessKey GetAccountAuthorizationDetails GetUser ListAccessKeys TagUser
        UntagUser UpdateAccessKey
        """,
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the user's name and the key's id, alice/AKIA…"),
        "access_key_id": Output("the key's id, AKIA…; not secret by itself"),
        "create_date": Output("when it was made (ISO 8601, UTC)"),
    }

    user_name: Fixed[Id]
    """The user whose key it is; AWS allows two for each."""
    credentials_file: Fixed[str] = Field(min_length=1, max_length=120)
    """Where it is written, in the form of AWS's credentials files (mode 0600, never over another file)."""
    profile: Fixed[Unread[str]] = Field(default="default", pattern=r"^[A-Za-z0-9_.@-]+$")
    """The profile's name in that file."""
    active: bool = True
    """False: AWS refuses it until it is true again."""
    rotation: Fixed[Unread[str | None]] = None
    """Any text; another one makes a new key, and deletes the old one after it."""

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """That the secret is no longer in its file."""
        if name == "credentials_file" and isinstance(wanted, str) and there is None:
            return f"{wanted} does not hold its secret (AWS cannot tell it again)"
        return None

    def create(self, world: World) -> str:
        """CreateAccessKey and the file; before it, a note on the user of the keys that are there already."""
        with _secret_files.reserve(self.credentials_file, _secret_files.mark_of(world)) as write:
            before = [str(key["AccessKeyId"]) for key in _keys(world, self.user_name)]
            note = {_note(world): " ".join([world.job.token, *before])}
            settled(world, "tag_user", UserName=self.user_name, Tags=tag_list(narrow(note)))
            answer = world.aws.call("iam", "create_access_key", UserName=self.user_name)["AccessKey"]
            key = str(answer["AccessKeyId"])
            id = f"{self.user_name}/{key}"
            try:
                write(
                    f"[{self.profile}]\n{_ID}{key}\naws_secret_access_key = {answer['SecretAccessKey']}\n"
                    f"region = {world.aws.region}"
                )
            except (OSError, LabctlError):
                # Nobody will ever have this secret: the key is of no use.
                type(self).delete(world, id)
                raise
        finish(world, id, lambda: self._complete(world, key))
        return id

    def _complete(self, world: World, key: str) -> None:
        note = tag_list(narrow({_file_note(key): self.credentials_file}))
        settled(world, "tag_user", UserName=self.user_name, Tags=note)
        if not self.active:
            self.update(world, f"{self.user_name}/{key}", frozenset({"active"}))

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """ListAccessKeys and GetUser for each user; the file counts if it holds the same key."""
        found = {}
        for user in dict.fromkeys(id.partition("/")[0] for id in ids):
            notes = _notes(world, user)
            for key in _keys(world, user):
                id = f"{user}/{key['AccessKeyId']}"
                if id not in ids:
                    continue
                file = notes.get(_file_note(key["AccessKeyId"]))
                held = file and _secret_files.holds(file, f"{_ID}{key['AccessKeyId']}\n")
                found[id] = {
                    "id": id,
                    "access_key_id": key["AccessKeyId"],
                    "create_date": key["CreateDate"].strftime("%Y-%m-%dT%H:%M:%SZ"),
                    "user_name": user,
                    "active": key["Status"] == "Active",
                    "credentials_file": file if held else None,
                }
        return found

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """UpdateAccessKey: active or not."""
        user, _, key = id.partition("/")
        status = "Active" if self.active else "Inactive"
        settled(world, "update_access_key", UserName=user, AccessKeyId=key, Status=status)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteAccessKey; the file that labctl wrote goes too, if it still holds that key."""
        user, _, key = id.partition("/")
        notes = _notes(world, user)
        file = notes.get(_file_note(key))
        if file:
            _secret_files.remove(file, f"{_ID}{key}\n")
        quietly(world, "delete_access_key", UserName=user, AccessKeyId=key)
        gone = [name for name in (_file_note(key), _note(world)) if name in notes]
        if gone:
            keys = list(narrow(dict.fromkeys(gone, "")))
            quietly(world, "untag_user", UserName=user, TagKeys=keys)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By the note on the user: the keys that were not there before the create."""
        found = []
        for user in details(world, "User"):
            token, *before = (tags_read(user).get(_note(world)) or "").split(" ")
            if token and token == (world.job.token or token):
                keys = [str(key["AccessKeyId"]) for key in _keys(world, user["UserName"])]
                found += [f"{user['UserName']}/{key}" for key in keys if key not in before]
        return found

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """The keys of this user alone."""
        if isinstance(self.user_name, Unknown):
            return {}
        own = place.named("iam", "user", self.user_name)
        return {action: own for action in self.actions if action != "iam:GetAccountAuthorizationDetails"}

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws iam create-access-key` into a file."""
        user, _, key = (id or "").partition("/")
        if action == "delete":
            whose = f"--access-key-id {word(key or id)}"
            named = f"--user-name {word(user)} " if key else ""
            return [f"aws iam delete-access-key {named}{whose}"]
        if action == "update":
            status = "Active" if self.active else "Inactive"
            given = {"user_name": self.user_name, "access_key_id": key, "status": status}
            return [aws("update-access-key", service="iam", **given)]
        query = "AccessKey.[AccessKeyId,SecretAccessKey]"
        command = aws("create-access-key", service="iam", query=query, user_name=self.user_name)
        form = rf"[{self.profile}]\n{_ID}%s\naws_secret_access_key = %s\n"
        file = path_by_hand(self.credentials_file)
        folder = f'mkdir -p "$(dirname {file})"'
        return [f"(umask 077; {folder} && printf {word(form)} $({command}) > {file})"]


def _note(world: World) -> str:
    """The key of the tag that notes for whom a key is made; an address may be longer than a tag's key."""
    whose = hashlib.sha256(f"{world.lab}\0{world.job.address}".encode()).hexdigest()[:24]
    return f"{KEY_NOTES}{whose}"


def _file_note(key: str) -> str:
    return f"{KEY_NOTES}{key}"


def _notes(world: World, user: str) -> dict[str, str]:
    answer = quietly(world, "get_user", UserName=user)
    return tags_read(answer["User"]) if answer else {}


def _keys(world: World, user: str) -> list[dict[str, Any]]:
    """The access keys of a user, none where there is no such user."""
    return listed(world, "list_access_keys", "AccessKeyMetadata", UserName=user)
