"""Images in ECR: built by a Docker Engine on this machine, and pushed."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from pydantic import Field, field_validator

from engine.by_hand import options, told, variable, word
from engine.docker import Docker, Login
from engine.errors import StepFailed, Unreachable
from engine.local_files import LocalFolder
from engine.refs import UNKNOWN, Unknown, holds_unknown
from engine.resource import Fields, Fixed, Id, Output, Place, Resource, Values
from engine.resources._archives import InFolder, tar_of
from engine.resources.aws._aws import iam_actions, unless_gone
from engine.resources.ecr._ecr import ask, quietly, repositories

if TYPE_CHECKING:
    from engine.world import World

_TAG: Final = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$"
_OURS: Final = re.compile(r"labctl-(?P<place>[0-9a-f]{10})-(?P<token>[0-9a-f]{8})-(?P<build>[0-9a-f]{64})")
_BUILT: Final = "labctl:sha256"
"""The label of an image that tells what it was built from."""
_HASHED: Final = "sha256:"


class ImageBuild(Fields):
    """How an image is built: from a folder beside the playbook, by a Docker Engine on this machine."""

    path: LocalFolder
    """The folder with the Dockerfile; what its .dockerignore names stays out."""
    dockerfile: InFolder = "Dockerfile"
    """The Dockerfile, relative to `path`."""
    args: dict[str, str] | None = None
    """Build arguments. They can be read from the image: no place for secrets."""
    target: str | None = None
    """The stage to build."""
    platform: Literal["linux/amd64", "linux/arm64"] = "linux/amd64"
    """What it is to run on, whatever this machine is."""

    def digest(self) -> str:
        """The hash of all that goes into it, 64 hexadecimal digits."""
        parts = [self.path.sha256, self.dockerfile, self.args, self.target, self.platform]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class EcrImage(Resource):
    """An image in ECR: built from a folder beside the playbook, pushed, and built anew when that changes.

    Besides its tag it carries one of labctl's own, `labctl-…`, which tells what it was built from.
    """

    kind: ClassVar[str] = "ecr_image"
    runs_code: ClassVar[bool] = True
    actions: ClassVar[Sequence[str]] = iam_actions(
        "ecr",
        "BatchCheckLayerAvailability BatchDeleteImage CompleteLayerUpload DescribeImages "
        "DescribeRepositories GetAuthorizationToken InitiateLayerUpload PutImage UploadLayerPart",
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("repository and tag, admission:latest"),
        "uri": Output("the image by its digest: what it names never changes"),
        "tagged_uri": Output("the image by its tag"),
        "digest": Output("the image's digest, sha256:…"),
        "size": Output("bytes in the repository, compressed"),
    }

    repository: Fixed[Id]
    """The name of the repository."""
    tag: Fixed[str] = Field(default="latest", pattern=_TAG)
    """The tag; in a repository with immutable tags it must change with what is built."""
    build: ImageBuild
    """What it is built from."""

    @field_validator("tag")
    @classmethod
    def _not_ours(cls, value: str) -> str:
        if value.startswith("labctl-"):
            raise ValueError("tags that begin with labctl- are labctl's own")
        return value

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """A build is compared by the hash of all that goes into it."""
        values = super().wanted(also)
        values["build"] = UNKNOWN if holds_unknown(self.build) else _HASHED + self.build.digest()
        return values

    def in_full(self) -> Values:
        """The arguments behind the hash of a build."""
        return {} if isinstance(self.build, Unknown) else {"build": [self.build.args, self.build.target]}

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """Hashes say little."""
        if name != "build":
            return None
        return "what it is built from has changed" if there else "its tag is on an image of others"

    @classmethod
    def unsettles(cls, changed: frozenset[str]) -> frozenset[str]:
        """Another build is another image."""
        return frozenset({"uri", "digest", "size"}) if "build" in changed else frozenset()

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """Its repository alone, but for what ECR allows of all or none."""
        if isinstance(self.repository, Unknown):
            return {}
        own = [place.arn("ecr", f"repository/{self.repository}")]
        everywhere = {"ecr:GetAuthorizationToken", "ecr:DescribeRepositories"}
        return {action: own for action in self.actions if action not in everywhere}

    def foreseen(self) -> str | None:
        """Repository and tag."""
        return None if holds_unknown([self.repository, self.tag]) else f"{self.repository}:{self.tag}"

    def create(self, world: World) -> str:
        """GetAuthorizationToken, then build, log in and push, as `docker` does it."""
        id = f"{self.repository}:{self.tag}"
        for image in _images(world, self.repository):
            mark = _mark(image)
            if self.tag in image.get("imageTags", ()) and (mark is None or mark["place"] != _place(world)):
                raise StepFailed(
                    f"{id} is there already, and this resource did not push it",
                    "choose another tag, or delete that image if nobody needs it",
                )
        self._push(world)
        return id

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """Builds and pushes anew; the image that had the tag goes, where labctl pushed it."""
        before = [
            image for image in _images(world, self.repository) if self.tag in image.get("imageTags", ())
        ]
        digest = self._push(world)
        old = [image["imageDigest"] for image in before if _mark(image) and image["imageDigest"] != digest]
        _delete_images(world, self.repository, old)

    def _push(self, world: World) -> str:
        """The digest of the image that was built and pushed."""
        engine = world.docker or Docker()
        repository = _uri(world, self.repository)
        own = f"labctl-{_place(world)}-{_short(world.job.token, 8)}-{self.build.digest()}"
        # With its hash as a label, no two builds are the same image, even where an argument changes nothing.
        labels = {"labctl:lab": world.lab, "labctl:address": world.job.address, _BUILT: self.build.digest()}
        name, marked = f"{repository}:{self.tag}", f"{repository}:{own}"
        engine.build(
            tar_of(self.build.path),
            name=name,
            dockerfile=self.build.dockerfile,
            args=self.build.args,
            platform=self.build.platform,
            target=self.build.target,
            labels=labels,
            say=world.job.say,
        )
        engine.name(name, marked)
        login = _login(world)
        world.job.say(f"pushing {name}")
        # Its own tag first: what was pushed without the other one is found again.
        digest = engine.push(marked, login)
        engine.remove(marked)
        try:
            return engine.push(name, login)
        except StepFailed as error:
            if "immutable" not in error.message:
                raise
            _delete_images(world, self.repository, [digest])
            words = "write another `tag`, such as one from a variable, or image_tag_mutability: mutable"
            raise StepFailed(error.message, words) from None

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeRepositories, and DescribeImages of each repository."""
        by_repository: dict[str, set[str]] = defaultdict(set)
        for id in ids:
            repository, _, tag = id.rpartition(":")
            by_repository[repository].add(tag)
        found: dict[str, Values] = {}
        for there in repositories(world, list(by_repository)):
            name = there["repositoryName"]
            for image in _images(world, name):
                for tag in by_repository[name].intersection(image.get("imageTags", ())):
                    found[f"{name}:{tag}"] = _image_values(there, tag, image)
        return found

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """BatchDeleteImage, unless the tag is on an image that others pushed."""
        repository, _, tag = id.rpartition(":")
        for there in repositories(world, [repository]):
            ours = [
                image["imageDigest"]
                for image in _images(world, repository)
                if tag in image.get("imageTags", ()) and _mark(image)
            ]
            _delete_images(world, repository, ours)
            try:
                (world.docker or Docker()).remove(f"{there['repositoryUri']}:{tag}")
            except Unreachable:
                world.job.say("no Docker Engine answers here: what it keeps of the image stays")

    @classmethod
    def find(cls, world: World) -> list[str]:
        """The foreseen image, where its own tag is the one that this create has pushed."""
        repository, _, tag = (world.job.foreseen or "").rpartition(":")
        if not repository:
            return []
        wanted = {"place": _place(world), "token": _short(world.job.token, 8)}
        for image in _images(world, repository):
            mark = _mark(image)
            if mark and wanted.items() <= mark.groupdict().items() and tag in image.get("imageTags", ()):
                return [f"{repository}:{tag}"]
        return []

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`docker login`, `build` and `push`, as ECR's console shows them."""
        if action == "delete":
            repository, _, tag = (id or "").rpartition(":")
            ids = f"--image-ids imageTag={word(tag)}"
            return [f"aws ecr batch-delete-image --repository-name {word(repository or id)} {ids}"]
        uri = f"{variable(self._address, 'repository')}_URI"
        asked = f"aws ecr describe-repositories --repository-names {word(self.repository)}"
        name = f'"${uri}":{word(self.tag)}'
        return [
            f"{uri}=$({asked} --query 'repositories[0].repositoryUri' --output text)",
            f'aws ecr get-login-password | docker login --username AWS --password-stdin "${{{uri}%%/*}}"',
            # Newer Dockers push a list of images with a note of how they were built, which Lambda and
            # SageMaker refuse; older ones do not know the option against that, but mind no variable.
            f"BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker build {self._build_by_hand()} -t {name} "
            f"{_path_by_hand(self.build)}",
            f"docker push {name}",
            *self._told(uri),
        ]

    def _build_by_hand(self) -> str:
        build = self.build
        if isinstance(build, Unknown):
            return "--platform linux/amd64"
        args = [f"--build-arg {key}={word(value)}" for key, value in _pairs(build.args)]
        more = [options(target=build.target)] if build.target else []
        if build.dockerfile != "Dockerfile" and isinstance(build.path, LocalFolder):
            more.append(f"-f {word(build.path.path / build.dockerfile)}")
        return " ".join([f"--platform {word(build.platform)}", *args, *more])

    def _told(self, uri: str) -> list[str]:
        asked = (
            f"aws ecr describe-images --repository-name {word(self.repository)} "
            f"--image-ids imageTag={word(self.tag)}"
        )
        lines = told(self, asked, {"digest": "imageDetails[0].imageDigest"})
        if "tagged_uri" in self._beside.needed:
            lines.append(f'{variable(self._address, "tagged_uri")}="${uri}":{word(self.tag)}')
        if "uri" in self._beside.needed:
            digest = f"$({asked} --query 'imageDetails[0].imageDigest' --output text)"
            lines.append(f'{variable(self._address, "uri")}="${uri}@{digest}"')
        return lines

    def price(self) -> float | None:
        """Nothing by the hour: 0.10 USD per GB and month."""
        return 0.0


def _uri(world: World, name: str) -> str:
    for found in repositories(world, [name]):
        return str(found["repositoryUri"])
    raise StepFailed(
        f"there is no repository {name} to push to", "make it with ecr_repository, and refer to it"
    )


def _login(world: World) -> Login:
    """User and password for the registry, valid for 12 hours (GetAuthorizationToken)."""
    [given] = ask(world, "get_authorization_token")["authorizationData"]
    user, _, password = base64.b64decode(given["authorizationToken"]).decode().partition(":")
    return Login(user, password)


def _images(world: World, repository: str) -> list[dict[str, Any]]:
    """The images of a repository that have tags."""
    asked = {"repositoryName": repository, "filter": {"tagStatus": "TAGGED"}}
    return unless_gone(lambda: world.aws.pages("ecr", "describe_images", "imageDetails", **asked)) or []


def _mark(image: Mapping[str, Any]) -> re.Match[str] | None:
    """What labctl's own tag says of an image; None where others pushed it."""
    return next(filter(None, map(_OURS.fullmatch, image.get("imageTags", ()))), None)


def _place(world: World) -> str:
    return _short(f"{world.lab}\0{world.job.address}", 10)


def _short(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def _delete_images(world: World, repository: str, digests: Sequence[str]) -> None:
    if digests:
        ids = [{"imageDigest": digest} for digest in digests]
        quietly(world, "batch_delete_image", repositoryName=repository, imageIds=ids)


def _image_values(repository: Mapping[str, Any], tag: str, image: Mapping[str, Any]) -> Values:
    name, uri, mark = repository["repositoryName"], repository["repositoryUri"], _mark(image)
    return {
        "id": f"{name}:{tag}",
        "repository": name,
        "tag": tag,
        "build": _HASHED + mark["build"] if mark else None,
        "uri": f"{uri}@{image['imageDigest']}",
        "tagged_uri": f"{uri}:{tag}",
        "digest": image["imageDigest"],
        "size": image.get("imageSizeInBytes"),
    }


def _path_by_hand(build: ImageBuild | Unknown) -> str:
    if isinstance(build, Unknown) or isinstance(build.path, Unknown):
        return "."
    return word(build.path.path)


def _pairs(values: Any) -> list[tuple[str, Any]]:
    return list(values.items()) if isinstance(values, dict) else []
