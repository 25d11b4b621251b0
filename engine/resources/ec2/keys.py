"""Key pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from engine.aws.tags import seen_tags, tag_specifications
from engine.by_hand import aws, told, word
from engine.errors import LabctlError
from engine.refs import Unknown
from engine.resource import Fixed, Output, Values
from engine.resources.aws._aws import iam_actions
from engine.resources.ec2 import _key_files
from engine.resources.ec2._ec2 import InEc2, described, found, make, quietly

if TYPE_CHECKING:
    from engine.world import World

_FILE_TAG = "labctl:private_key_file"
"""Where the private key was written: looking and deleting know nothing but the id."""


class Ec2Key(InEc2):
    """A key pair: AWS makes it and its private key is written to a file once, or a public key is imported."""

    kind: ClassVar[str] = "ec2_key"
    actions: ClassVar[Sequence[str]] = iam_actions(
        "ec2",
        """
        CreateKeyPair CreateTags DeleteKeyPair DeleteTags DescribeKeyPairs ImportKeyPair
        """,
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the key pair's id, key-…"),
        "fingerprint": Output("AWS's fingerprint of it"),
        "public_key": Output("the public key in OpenSSH's form"),
    }

    key_name: Fixed[str] = Field(min_length=1, max_length=255)
    """One of its kind in the account and region."""
    private_key_file: Fixed[str | None] = None
    """Where the private key goes when AWS makes the pair (mode 0600, never over another key)."""
    key_type: Fixed[Literal["ed25519", "rsa"]] = "ed25519"
    """Of the pair that AWS makes."""
    public_key_material: Fixed[str | None] = None
    """A public key to import (`ssh-ed25519 AAAA…`)."""
    public_key_file: str | None = None
    """A file with a public key to import."""

    @field_validator("public_key_material")
    @classmethod
    def _public(cls, value: str | None) -> str | None:
        return None if value is None else _key_files.checked_public(value, "public_key_material")

    @field_validator("public_key_file")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None:
            _key_files.read_public(value)
        return value

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        sources = ("private_key_file", "public_key_material", "public_key_file")
        if sum(getattr(self, name) is not None for name in sources) != 1:
            raise ValueError(
                "write one of private_key_file (AWS makes the key pair; where its private key goes), "
                "public_key_file or public_key_material (a key you have)"
            )
        return self

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """The values asked for; a public key from a file counts as given in the playbook."""
        values = super().wanted(also)
        path = values.pop("public_key_file", None)
        if path is not None:
            values["public_key_material"] = (
                path if isinstance(path, Unknown) else _key_files.read_public(path)
            )
        if self.private_key_file is None:
            values.pop("key_type", None)  # an imported key is of the type that it is
        return values

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Public keys are compared without their comments."""
        if name == "public_key_material" and isinstance(wanted, str) and isinstance(there, str):
            return wanted.split()[:2] != there.split()[:2]
        return super().differs(name, wanted, there)

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """That the private key is no longer in its file."""
        if name == "private_key_file" and isinstance(wanted, str) and there is None:
            return f"{wanted} does not hold its private key (AWS cannot give it again)"
        return None

    def create(self, world: World) -> str:
        """CreateKeyPair and the file, or ImportKeyPair. The private key is nowhere but in the file."""
        if self.private_key_file is None:
            return self._import(world)
        with _key_files.reserve(self.private_key_file, f"{world.lab} {world.job.address}") as write:
            answer = make(
                world,
                "create_key_pair",
                KeyName=self.key_name,
                KeyType=self.key_type,
                KeyFormat="pem",
                TagSpecifications=tag_specifications(
                    world, "key-pair", more={_FILE_TAG: self.private_key_file}
                ),
            )
            try:
                write(str(answer["KeyMaterial"]))
            except (OSError, LabctlError):
                # Nobody will ever have this private key: the pair is of no use.
                type(self).delete(world, str(answer["KeyPairId"]))
                raise
        return str(answer["KeyPairId"])

    def _import(self, world: World) -> str:
        material = self.public_key_material or _key_files.read_public(self.public_key_file or "")
        answer = make(
            world,
            "import_key_pair",
            KeyName=self.key_name,
            PublicKeyMaterial=material.encode(),
            TagSpecifications=tag_specifications(world, "key-pair"),
        )
        return str(answer["KeyPairId"])

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeKeyPairs with public keys; the private key's file counts if it holds the same key."""
        return {key["KeyPairId"]: cls._values(key) for key in _key_pairs(world, ids)}

    @staticmethod
    def _values(key: Mapping[str, Any]) -> Values:
        public = str(key.get("PublicKey") or "").strip() or None
        path = _file_of(key)
        return {
            "id": key["KeyPairId"],
            "key_name": key["KeyName"],
            "key_type": key.get("KeyType", "rsa"),
            "fingerprint": key.get("KeyFingerprint"),
            "public_key": public,
            "public_key_material": public,
            "private_key_file": path if path and public and _key_files.holds(path, public) else None,
            "tags": seen_tags(key),
        }

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteKeyPair by id; the file that labctl wrote goes too, if it still holds that key."""
        for key in _key_pairs(world, [id]):
            path = _file_of(key)
            if path:
                # First: once the pair is gone nothing tells any more which file was its.
                _key_files.remove(path, str(key.get("PublicKey") or ""))
        quietly(world, "delete_key_pair", KeyPairId=id)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By the tags that the create was sent with."""
        return found(world, "describe_key_pairs", "KeyPairs", "KeyPairId")

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws ec2 create-key-pair` into a file, or `import-key-pair`."""
        if action == "delete":
            file = self._beside.there.get("private_key_file")
            gone = [f"rm -f {_path(file)} {_path(f'{file}.pub')}"] if file else []
            return [f"aws ec2 delete-key-pair --key-pair-id {word(id)}", *gone]
        queries = {"id": "KeyPairId", "fingerprint": "KeyFingerprint", "public_key": "PublicKey"}
        asked = f"aws ec2 describe-key-pairs --include-public-key --key-names {word(self.key_name)}"
        tell = told(self, asked, {name: f"KeyPairs[0].{query}" for name, query in queries.items()})
        if self.private_key_file is None:
            material = self.public_key_material
            given = f"<(echo {word(material)})" if material else _path(self.public_key_file or "key.pub")
            command = aws("import-key-pair", key_name=self.key_name)
            return [f"{command} --public-key-material fileb://{given}", *tell]
        command = aws("create-key-pair", query="KeyMaterial", key_name=self.key_name, key_type=self.key_type)
        file = _path(self.private_key_file)
        return [f'(umask 077; mkdir -p "$(dirname {file})" && {command} > {file})', *tell]


def _path(path: Any) -> str:
    """A path as a word of the shell, which a quoted ~ would not lead home."""
    if isinstance(path, str) and path.startswith("~/"):
        return "~/" + word(path[2:])
    return word(path)


def _key_pairs(world: World, ids: Sequence[str]) -> list[dict[str, Any]]:
    return described(world, "describe_key_pairs", "KeyPairs", "key-pair-id", ids, IncludePublicKey=True)


def _file_of(key: Mapping[str, Any]) -> str | None:
    tags = {tag["Key"]: tag["Value"] for tag in key.get("Tags", ())}
    return tags.get(_FILE_TAG)
