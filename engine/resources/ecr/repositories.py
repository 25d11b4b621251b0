"""Repositories of ECR, which hold container images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from engine.aws.errors import AwsError
from engine.aws.tags import is_made_by, narrow, readable, tag_list, tags_for, told_tags
from engine.by_hand import aws, json_word, options, told, variable, word
from engine.errors import StepFailed
from engine.refs import Unknown
from engine.resource import Fields, Fixed, Id, Output, Place, Values
from engine.resources.aws._aws import finish, iam_actions, ours
from engine.resources.aws._policy import Policy, canonical
from engine.resources.aws._tagging import TaggedByArn, Tagging
from engine.resources.ecr._ecr import ask, or_nothing, quietly, repositories

if TYPE_CHECKING:
    from engine.world import World

FORCE: Final = "labctl:force"
"""The tag of a repository whose images may be deleted with it."""
_NAME: Final = r"^(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*$"


class EncryptionConfiguration(Fields):
    """How images are encrypted at rest."""

    encryption_type: Literal["AES256", "KMS"] = "AES256"
    """S3's own keys, or a key of KMS."""
    kms_key: Id | None = None
    """The key's ARN; AWS's own key for ECR where left out."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kms_key is not None and self.encryption_type == "AES256":
            raise ValueError("a kms_key needs encryption_type: KMS")
        return self


class EcrRepository(TaggedByArn):
    """A repository of container images in ECR, the account's private registry."""

    kind: ClassVar[str] = "ecr_repository"
    tagging: ClassVar[Tagging] = Tagging(
        "ecr", "tag_resource", "untag_resource", "resourceArn", "tags", "tagKeys"
    )
    actions: ClassVar[Sequence[str]] = iam_actions(
        "ecr",
        "CreateRepository DeleteLifecyclePolicy DeleteRepository DeleteRepositoryPolicy "
        "DescribeRepositories GetLifecyclePolicy GetRepositoryPolicy ListImages ListTagsForResource "
        "PutImageScanningConfiguration PutImageTagMutability PutLifecyclePolicy SetRepositoryPolicy "
        "TagResource UntagResource",
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the repository's name"),
        "arn": Output("the repository's ARN"),
        "repository_uri": Output("where images are pushed to and pulled from, without a tag"),
        "images": Output("how many images are in it"),
    }

    name: Fixed[str] = Field(min_length=2, max_length=256, pattern=_NAME)
    """`admission` or `team/admission`; small letters, digits and . _ - /."""
    image_tag_mutability: Literal["mutable", "immutable"] = "mutable"
    """Whether a tag may be pushed again for another image."""
    scan_on_push: bool = False
    """Images are scanned for known vulnerabilities when they are pushed."""
    encryption_configuration: Fixed[EncryptionConfiguration | None] = None
    """How images are encrypted; with S3's own keys where left out."""
    lifecycle_policy: dict[str, Any] | None = None
    """Which images expire: `{rules: [{rulePriority: 1, selection: {…}, action: {type: expire}}]}`."""
    policy: Policy | None = None
    """Who else may use it: a policy document whose statements have no Resource."""
    force_absent: bool = False
    """Deleting it deletes the images that are in it; without this, it stays as long as there are any."""

    @field_validator("lifecycle_policy", mode="before")
    @classmethod
    def _rules(cls, value: Any) -> Any:
        return None if value is None else _lifecycle(value)

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Policies are compared by what they mean; of the encryption, what is asked for."""
        if name == "policy" and wanted and there:
            return bool(canonical(wanted) != canonical(there))
        if name == "encryption_configuration" and isinstance(wanted, dict) and isinstance(there, dict):
            return any(there.get(key) != value for key, value in wanted.items())
        return bool((wanted or None) != (there or None)) if name.endswith("policy") else bool(wanted != there)

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """Policies and what may happen to images, in words."""
        if name in ("policy", "lifecycle_policy"):
            what = "its policy" if name == "policy" else "its lifecycle policy"
            return f"{what} differs" if wanted else f"{what} is no longer wanted"
        if name == "force_absent":
            return "its images may go with it" if wanted else "its images must not go with it"
        return None

    @classmethod
    def lost_with(cls, there: Values) -> Sequence[str]:
        """The images that go with it, or that keep it from going."""
        count = int(there.get("images") or 0)
        if not count:
            return ()
        many = f"{count} image{'' if count == 1 else 's'}"
        if there.get("force_absent"):
            return (f"{many} in it: deleted with it",)
        return (f"{many} in it: it can go only once these are gone (force_absent: true deletes them)",)

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """This repository alone."""
        own = [place.arn("ecr", f"repository/{self.name}")]
        return {action: own for action in self.actions if action != "ecr:DescribeRepositories"}

    def foretold(self, place: Place) -> Values:
        """Its name, and the ARN that follows from it."""
        return {"id": self.name, "name": self.name, "arn": place.arn("ecr", f"repository/{self.name}")}

    def foreseen(self) -> str | None:
        """Its name."""
        return self.name

    def create(self, world: World) -> str:
        """CreateRepository, then its policies; one of that name that others made is left alone."""
        encryption = self.encryption_configuration
        given: dict[str, Any] = {}
        if encryption is not None:
            given["encryptionConfiguration"] = {
                "encryptionType": encryption.encryption_type,
                **({"kmsKey": encryption.kms_key} if encryption.kms_key else {}),
            }
        tags = {**tags_for(world), **({FORCE: "true"} if self.force_absent else {})}
        try:
            ask(
                world,
                "create_repository",
                repositoryName=self.name,
                imageTagMutability=self.image_tag_mutability.upper(),
                imageScanningConfiguration={"scanOnPush": self.scan_on_push},
                tags=tag_list(narrow(tags)),
                **given,
            )
        except AwsError as error:
            if error.code != "RepositoryAlreadyExistsException":
                raise
            self._refuse_another(world)
        finish(world, self.name, lambda: self._set_policies(world, frozenset({"policy", "lifecycle_policy"})))
        return self.name

    def _refuse_another(self, world: World) -> None:
        """An earlier try whose answer got lost may have made it: its tags tell."""
        for repository in repositories(world, [self.name]):
            if not is_made_by(world, _tags(world, repository["repositoryArn"])):
                raise StepFailed(
                    f"a repository called {self.name} is there already, and this resource did not make it",
                    "choose another name, or delete that repository if nobody needs its images",
                )

    def _set_policies(self, world: World, names: frozenset[str]) -> None:
        own = {"repositoryName": self.name}
        if "policy" in names and self.policy:
            ask(world, "set_repository_policy", policyText=json.dumps(self.policy), **own)
        if "lifecycle_policy" in names and self.lifecycle_policy:
            ask(world, "put_lifecycle_policy", lifecyclePolicyText=json.dumps(self.lifecycle_policy), **own)

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeRepositories; tags, policies and images ECR tells of one repository at a time only."""
        return {found["repositoryName"]: _values(world, found) for found in repositories(world, ids)}

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """Each setting by its own request."""
        own = {"repositoryName": id}
        if "image_tag_mutability" in changed:
            mutability = self.image_tag_mutability.upper()
            ask(world, "put_image_tag_mutability", imageTagMutability=mutability, **own)
        if "scan_on_push" in changed:
            scanning = {"scanOnPush": self.scan_on_push}
            ask(world, "put_image_scanning_configuration", imageScanningConfiguration=scanning, **own)
        if "policy" in changed and not self.policy:
            quietly(world, "delete_repository_policy", **own)
        if "lifecycle_policy" in changed and not self.lifecycle_policy:
            quietly(world, "delete_lifecycle_policy", **own)
        self._set_policies(world, changed)
        if "force_absent" in changed:
            [found] = repositories(world, [id])
            self.tagging.retag(
                world, [found["repositoryArn"]], {FORCE: "true" if self.force_absent else None}
            )

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteRepository; with `force_absent` with its images. Raises StepFailed where there are any."""
        for found in repositories(world, [id]):
            force = _tags(world, found["repositoryArn"]).get(FORCE) == "true"
            try:
                quietly(world, "delete_repository", repositoryName=id, force=force)
            except AwsError as error:
                if error.code != "RepositoryNotEmptyException":
                    raise
                raise StepFailed(
                    f"repository {id} still holds images that this lab did not push: it stays",
                    "delete them, or set `force_absent: true` on it, apply that, and destroy again",
                ) from None

    @classmethod
    def find(cls, world: World) -> list[str]:
        """The repository of the foreseen name, where its tags are those of the create."""

        def tags_of(name: str) -> dict[str, str] | None:
            found = repositories(world, [name])
            return _tags(world, found[0]["repositoryArn"]) if found else None

        return ours(world, tags_of)

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws ecr create-repository`, and what its settings need."""
        if action == "delete":
            force = " --force" if self._beside.there.get("force_absent") else ""
            return [f"aws ecr delete-repository --repository-name {word(id)}{force}"]
        lines = []
        if action == "create":
            lines.append(
                aws(
                    "create-repository",
                    service="ecr",
                    repository_name=self.name,
                    image_tag_mutability=word(self.image_tag_mutability).upper(),
                )
                + f" --image-scanning-configuration scanOnPush={word(self.scan_on_push)}"
                + self._encryption_by_hand()
            )
            lines += [f"{variable(self._address)}={word(self.name)}"] if "id" in self._beside.needed else []
            changed = frozenset({"policy", "lifecycle_policy"} & self.model_fields_set)
        lines += self._settings_by_hand(changed)
        asked = f"aws ecr describe-repositories --repository-names {word(self.name)}"
        queries = {"repository_uri": "repositories[0].repositoryUri", "arn": "repositories[0].repositoryArn"}
        return [*lines, *told(self, asked, queries)]

    def _encryption_by_hand(self) -> str:
        given = self.encryption_configuration
        if given is None or isinstance(given, Unknown):
            return ""
        key = f",kmsKey={word(given.kms_key)}" if given.kms_key else ""
        return f" --encryption-configuration encryptionType={given.encryption_type}{key}"

    def _settings_by_hand(self, changed: frozenset[str]) -> list[str]:
        own = options(repository_name=self.name)
        lines = []
        if "image_tag_mutability" in changed:
            mutability = word(self.image_tag_mutability).upper()
            lines.append(f"aws ecr put-image-tag-mutability {own} --image-tag-mutability {mutability}")
        if "scan_on_push" in changed:
            scanning = f"--image-scanning-configuration scanOnPush={word(self.scan_on_push)}"
            lines.append(f"aws ecr put-image-scanning-configuration {own} {scanning}")
        if "policy" in changed:
            text = f"aws ecr set-repository-policy {own} --policy-text {json_word(self.policy)}"
            lines.append(text if self.policy else f"aws ecr delete-repository-policy {own}")
        if "lifecycle_policy" in changed:
            text = f"--lifecycle-policy-text {json_word(self.lifecycle_policy)}"
            put = f"aws ecr put-lifecycle-policy {own} {text}"
            lines.append(put if self.lifecycle_policy else f"aws ecr delete-lifecycle-policy {own}")
        if "force_absent" in changed:
            lines.append(f"# its images {'may' if self.force_absent else 'must not'} be deleted with it")
        return lines

    def price(self) -> float | None:
        """Nothing by the hour: 0.10 USD per GB and month of images."""
        return 0.0


def _tags(world: World, arn: str) -> dict[str, str]:
    return told_tags(or_nothing(world, "list_tags_for_resource", resourceArn=arn).get("tags"))


def _values(world: World, found: Mapping[str, Any]) -> Values:
    name = found["repositoryName"]
    tags = readable(_tags(world, found["repositoryArn"]))
    force = tags.pop(FORCE, "") == "true"
    policy = or_nothing(world, "get_repository_policy", repositoryName=name).get("policyText")
    rules = or_nothing(world, "get_lifecycle_policy", repositoryName=name).get("lifecyclePolicyText")
    images = world.aws.pages("ecr", "list_images", "imageIds", repositoryName=name)
    encryption = found.get("encryptionConfiguration") or {}
    configuration = {
        "encryption_type": encryption.get("encryptionType", "AES256"),
        **({"kms_key": encryption["kmsKey"]} if "kmsKey" in encryption else {}),
    }
    return {
        "id": name,
        "name": name,
        "arn": found["repositoryArn"],
        "repository_uri": found["repositoryUri"],
        "image_tag_mutability": found["imageTagMutability"].lower(),
        "scan_on_push": bool((found.get("imageScanningConfiguration") or {}).get("scanOnPush")),
        "encryption_configuration": configuration,
        "policy": json.loads(policy) if policy else None,
        "lifecycle_policy": json.loads(rules) if rules else None,
        "force_absent": force,
        "images": len({image["imageDigest"] for image in images}),
        "tags": tags,
    }


def _lifecycle(value: Any) -> Any:
    """A lifecycle policy written as YAML or JSON text, as a mapping. Raises ValueError in words."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"is no JSON: {error.msg} in line {error.lineno}") from None
    rules = value.get("rules") if isinstance(value, Mapping) else None
    if not isinstance(rules, list) or not rules:
        raise ValueError("a lifecycle policy is a mapping with `rules`, a list")
    wanted = {"rulePriority", "selection", "action"}
    for at, rule in enumerate(rules, 1):
        missing = sorted(wanted - set(rule)) if isinstance(rule, Mapping) else sorted(wanted)
        if missing:
            raise ValueError(f"rule {at} of the lifecycle policy needs {', '.join(missing)}")
    return value
