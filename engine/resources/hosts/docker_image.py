"""Docker images on hosts, pulled or built: `docker_image`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from engine.by_hand import Fed, word
from engine.local_files import LocalFolder
from engine.on_host import OnHost, Upload
from engine.refs import UNKNOWN, Unknown, holds_unknown
from engine.resource import Fields, Fixed, Output, Values
from engine.resources._archives import InFolder, tar_of
from engine.resources.hosts import _docker
from engine.resources.hosts._docker import LAB, ImageName
from engine.resources.hosts._shell import FAIL, Variables, pairs, quote

_BUILT = "labctl:sha256"
"""The label of an image that tells what it was built from."""


class Build(Fields):
    """How an image is built: from a folder beside the playbook that travels to the host."""

    path: LocalFolder = Field(
        description="folder with the Dockerfile; what its .dockerignore names stays behind"
    )
    dockerfile: InFolder = Field(default="Dockerfile", description="the Dockerfile, relative to `path`")
    args: Variables | None = Field(default=None, description="build arguments")
    target: str | None = Field(default=None, description="the stage to build")

    def digest(self) -> str:
        """What stands for the build in plans: the hash of all that goes into it."""
        parts = {
            "path": self.path.sha256,
            "dockerfile": self.dockerfile,
            "args": self.args,
            "target": self.target,
        }
        return f"sha256:{hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()}"


class DockerImage(OnHost):
    """An image on a host, pulled from a registry or built from a folder beside the playbook."""

    kind: ClassVar[str] = "docker_image"
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("its id, sha256:…"),
        "digest": Output("its digest in the registry it was pulled from"),
        "size": Output("its size in bytes"),
    }

    name: Fixed[ImageName] = Field(description="its name, as in `httpd:2.4`; `:latest` if there is no tag")
    tag: Fixed[str | None] = Field(
        default=None, pattern=r"^\w[\w.-]{0,127}$", description="its tag, if not in `name`"
    )
    build: Build | None = Field(default=None, description="build it instead of pulling it")

    @model_validator(mode="after")
    def _one_tag(self) -> Self:
        if not holds_unknown([self.name, self.tag]):
            last = self.name.rpartition("/")[2]
            if self.tag is not None and (":" in last or "@" in last):
                raise ValueError("write the tag in `name` or in `tag`, not in both")
            if self.name.startswith("sha256:") or ("@" in self.name and self.build):
                raise ValueError("an image to pull or build needs a name, not an id")
        return self

    def natural_id(self) -> str:
        """Its name with a tag."""
        last = self.name.rpartition("/")[2]
        return self.name if ":" in last or "@" in last else f"{self.name}:{self.tag or 'latest'}"

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """A build is compared by the hash of all that goes into it."""
        values: Values = {"name": UNKNOWN if holds_unknown([self.name, self.tag]) else self.natural_id()}
        if self.build is not None:
            values["build"] = UNKNOWN if holds_unknown(self.build) else self.build.digest()
        return values

    def in_full(self) -> Values:
        """The arguments behind the hash of a build."""
        if self.build is None or isinstance(self.build, Unknown):
            return {}
        return {"build": [self.build.args, self.build.target]}

    @classmethod
    def unsettles(cls, changed: frozenset[str]) -> frozenset[str]:
        """After a build the name stands for another image: what runs under that name is not what it was."""
        return frozenset({"id", "name", "digest", "size"})

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """Hashes say little."""
        return "what it is built from has changed" if name == "build" else None

    @classmethod
    def look(cls, id: str, wanted: Self | None) -> str:
        """Prints whether it is built here, and what Docker says of it."""
        sort = "pulled" if wanted is not None and wanted.build is None else "built"
        return f"echo {sort}\n" + _docker.look(f"image inspect -f '{{{{json .}}}}' {quote(id)}")

    @classmethod
    def parse(cls, id: str, status: int, output: bytes) -> Values | None:
        """Its id, its digest and what it was built from."""
        found = _docker.read(output)
        if not found:
            return None
        labels = (found[0].get("Config") or {}).get("Labels") or {}
        digests = found[0].get("RepoDigests") or []
        values: Values = {
            "name": id,
            "id": found[0]["Id"],
            "digest": digests[0].partition("@")[2] if digests else None,
            "size": found[0].get("Size"),
            "build": labels.get(_BUILT),
        }
        # Labels of an image that was pulled tell who built it, not whose it is here.
        ours = output.startswith(b"built") and LAB in labels
        return {**values, "owner": labels[LAB]} if ours else values

    def commands(self, there: Values | None, changed: frozenset[str]) -> str:
        """`docker pull`, or `docker build` and removal of the image that had the name before."""
        name = quote(self.natural_id())
        if self.build is None:
            return f"{FAIL}{_docker.HAVE_DOCKER}docker pull -q {name}\n"
        build = self.build
        arguments = "".join(f" --build-arg {key}" for key in build.args or {})
        target = f" --target {quote(build.target)}" if build.target else ""
        exports = "".join(f"export {key}={quote(value)}; " for key, value in (build.args or {}).items())
        return (
            f"{FAIL}{_docker.HAVE_DOCKER}"
            f"old=$(docker image inspect -f '{{{{.Id}}}}' {name} 2>/dev/null) || old=\n"
            'eval "set -- $labctl_labels"\n'
            f'( {exports}docker build --force-rm "$@" --label {quote(f"{_BUILT}={build.digest()}")} '
            f'-t {name}{arguments}{target} -f {quote(build.dockerfile)} - <"$labctl_upload_1" )\n'
            f"new=$(docker image inspect -f '{{{{.Id}}}}' {name})\n"
            # A container may still run the old one; it goes with that container then.
            'if [ -n "$old" ] && [ "$old" != "$new" ]; then docker image rm "$old" >/dev/null 2>&1 || :; fi\n'
        )

    def uploads(self) -> Sequence[Upload]:
        """The folder to build from, as a tar archive."""
        return (Upload(tar_of(self.build.path)),) if self.build is not None else ()

    @classmethod
    def removal(cls, id: str, there: Values | None) -> str:
        """Removes the image unless a container still uses it."""
        return (
            "command -v docker >/dev/null 2>&1 || exit 0\n"
            f"said=$(docker image rm {quote(id)} 2>&1) || case $said in\n"
            "  *[Nn]'o such image'*) ;;\n"
            "  *'is being used by'*|*'is using its referenced image'*) printf '%s\\n' \"$said\" ;;\n"
            "  *) printf '%s\\n' \"$said\" >&2; exit 1 ;;\nesac\n"
        )

    @classmethod
    def explain_failure(cls, status: int, stderr: str) -> tuple[str, str] | None:
        """Docker's errors in words."""
        return _docker.explain(stderr)

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`docker pull`, `docker build` or `docker image rm`."""
        if action == "delete":
            return [f"sudo docker image rm {word(id)}"]
        name = word(self.name if isinstance(self.name, Unknown) else self.natural_id())
        if self.build is None:
            return [f"sudo docker pull {name}"]
        if isinstance(self.build, Unknown) or isinstance(self.build.path, Unknown):
            return [f"sudo docker build -t {name} ."]
        given = [f"--build-arg {key}={word(value)}" for key, value in pairs(self.build.args)]
        given += [f"--target {word(self.build.target)}"] if self.build.target else []
        given += [f"-f {word(self.build.dockerfile)}"] if self.build.dockerfile != "Dockerfile" else []
        build = " ".join(["sudo docker build -t", name, *given, "-"])
        return [Fed(build, f"tar -C {quote(self.build.path.path)} -c .")]
