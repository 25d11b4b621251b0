"""docker build: from a Dockerfile and a context to an image whose id follows from its content."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from engine.sandbox.machines.command import Failed, State
from engine.sandbox.machines.dockerfile import (
    Context,
    DockerfileError,
    Instruction,
    configure,
    environment,
    expand,
    number_of,
    parse,
    unshared,
)
from engine.sandbox.machines.images import digest

if TYPE_CHECKING:
    from engine.sandbox.machines.engine import DockerEngine


@dataclass
class Stage:
    """One stage of a build as far as it has come."""

    image: State
    names: dict[str, str] = field(default_factory=dict)
    """What ARG and ENV have set."""
    history: list[Any] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    """What COPY has brought, and RUN has written."""

    @property
    def config(self) -> State:
        """The image's configuration, changed in place."""
        found: State = self.image["Config"]
        return found


class Build:
    """One run of `docker build`."""

    def __init__(
        self, engine: DockerEngine, context: Context, args: Mapping[str, str], labels: Mapping[str, str]
    ) -> None:
        self.engine, self.context, self.args, self.labels = engine, context, args, labels
        self.stages: dict[str, Stage] = {}
        self.steps: list[str] = []
        self.globals: dict[str, str] = {}

    async def run(self, text: str, name: str, target: str = "") -> State:
        """Build the image. Raises Failed with BuildKit's words."""
        try:
            instructions = parse(text)
        except DockerfileError as error:
            message = str(error)
            raise Failed(
                f"ERROR: {message if message.startswith('failed') else 'failed to solve: ' + message}"
            ) from error
        stage: Stage | None = None
        for number, instruction in enumerate(instructions, 1):
            if instruction.word == "ARG" and stage is None:
                key, _, value = instruction.rest.partition("=")
                self.globals[key] = self.args.get(key, value)
                continue
            if instruction.word == "FROM":
                if target and stage is not None and self.stages.get(target) is stage:
                    break
                stage = self._from(instruction)
            elif stage is not None:
                self.steps.append(f"[{number}/{len(instructions)}] {instruction.word} {instruction.rest}")
                await self._step(stage, instruction)
        if stage is None:
            raise Failed("ERROR: failed to solve: the Dockerfile cannot be empty")
        return self._finish(stage, name)

    def _from(self, instruction: Instruction) -> Stage:
        words = [word for word in expand(instruction.rest, self.globals).split() if not word.startswith("--")]
        reference = words[0]
        self.steps.append(f"FROM {reference}")
        if reference in self.stages:
            old = self.stages[reference]
            stage = Stage(_copy(old.image), dict(old.names), list(old.history), dict(old.files))
        else:
            image = self._base(reference)
            files = {path: _data(content) for path, content in image.get("Files", {}).items()}
            stage = Stage(_copy(image), environment(image["Config"]), [image["Id"]], files)
        self.stages[number_of(self.stages)] = stage
        if len(words) > 2 and words[1].lower() == "as":
            self.stages[words[2]] = stage
        return stage

    def _base(self, reference: str) -> State:
        if reference == "scratch":
            return {
                "Id": "",
                "Config": {
                    "Env": [],
                    "Cmd": None,
                    "Entrypoint": None,
                    "WorkingDir": "",
                    "User": "",
                    "ExposedPorts": None,
                    "Volumes": None,
                    "Labels": None,
                },
                "System": "alpine-3.22",
                "Base": "scratch",
                "Files": {},
                "Size": 0,
                "Layers": [],
            }
        local = self.engine.image(reference)
        if local is not None:
            return local
        try:
            return self.engine.pull(reference)[0]
        except Failed as error:
            plain = error.message.removeprefix("Error response from daemon: ")
            if "manifest" in plain:
                plain = f"docker.io/library/{reference}: not found"
            elif "pull access denied" in plain:
                plain = (
                    "pull access denied, repository does not exist or may require "
                    "authorization: server message: insufficient_scope: authorization failed"
                )
            else:
                plain = (
                    f"failed to do request: Head "
                    f'"https://registry-1.docker.io/v2/library/{reference}": dial tcp: lookup '
                    f"registry-1.docker.io: i/o timeout"
                )
            raise Failed(
                f"ERROR: failed to solve: {reference}: failed to resolve source metadata "
                f"for docker.io/library/{reference}: {plain}"
            ) from error

    async def _step(self, stage: Stage, instruction: Instruction) -> None:
        stage.history.append((instruction.word, instruction.rest, instruction.document))
        if instruction.word in ("COPY", "ADD"):
            self._copy_in(stage, instruction)
        elif instruction.word == "RUN":
            await self._run(stage, instruction)
        elif instruction.word == "ARG":
            key, _, value = instruction.rest.partition("=")
            stage.names[key] = self.args.get(
                key, expand(value.strip('"'), stage.names) or self.globals.get(key, "")
            )
        else:
            configure(stage.config, stage.names, instruction)

    def _copy_in(self, stage: Stage, instruction: Instruction) -> None:
        rest = expand(instruction.rest, stage.names)
        flags = [word for word in rest.split() if word.startswith("--")]
        inner = Instruction("COPY", " ".join(word for word in rest.split() if not word.startswith("--")), 0)
        words = inner.list or inner.rest.split()
        target = posixpath.join(stage.config["WorkingDir"] or "/", words[-1])
        source = next(
            (
                self.stages[flag[7:]]
                for flag in flags
                if flag.startswith("--from=") and flag[7:] in self.stages
            ),
            None,
        )
        for pattern in words[:-1]:
            if source is not None:
                below = pattern.rstrip("/") + "/"
                found = {
                    path[len(below) :]: data for path, data in source.files.items() if path.startswith(below)
                }
                found |= {"": source.files[pattern]} if pattern in source.files else {}
            elif pattern.startswith(("http://", "https://")) or any(
                flag.startswith("--from=") for flag in flags
            ):
                found = {posixpath.basename(pattern): b""}
            else:
                found = self.context.match(pattern)
                if not found:
                    raise Failed(
                        f"ERROR: failed to solve: failed to compute cache key: failed to "
                        f'calculate checksum of ref: "/{pattern.strip("./")}": not found'
                    )
            for name, data in found.items():
                into = words[-1].endswith("/") or words[-1] in (".", "..") or len(words) > 2
                inside = posixpath.join(target, posixpath.basename(pattern)) if into else target
                path = posixpath.normpath(posixpath.join(target, name) if name else inside)
                stage.files[path] = data
                stage.history.append((path, digest(data)))

    async def _run(self, stage: Stage, instruction: Instruction) -> None:
        from engine.sandbox.machines.docker_create import new_container

        words = instruction.list
        script = " ".join(f"'{word}'" for word in words) if words else instruction.rest
        while script.startswith("--"):
            script = script.partition(" ")[2].strip()
        if instruction.document:
            script = instruction.document
        image = {**stage.image, "Files": {path: data.decode("latin-1") for path, data in stage.files.items()}}
        place = _place(self.engine, new_container(image, "/build"), image, stage)
        env = dict(stage.names)
        result = await place.run(script, env=env, user=stage.config["User"] or "")
        output = (result.stdout + result.stderr).decode(errors="replace")
        self.steps.extend(f"    {line}" for line in output.splitlines()[-40:])
        if result.status:
            tail = "\n".join(output.splitlines()[-10:])
            raise Failed(
                f" > [{instruction.word} {instruction.rest}]:\n{tail}\n------\nERROR: "
                f"failed to solve: process "
                f'"/bin/sh -c {script}" did not complete successfully: exit code: {result.status}'
            )
        kept = {
            path: place.disk.read(path) for path, data in place.disk.walk() if data["file_type"] == "file"
        }
        stage.files = {path: data for path, data in kept.items() if not path.startswith(("/tmp/", "/run/"))}
        stage.image["State"] = {**place.state}

    def _finish(self, stage: Stage, name: str) -> State:
        config = stage.config
        config["Labels"] = {**(config["Labels"] or {}), **self.labels} or None
        id = self.engine.content_id(stage.history, config)
        image = self.engine.images.get(id)
        if image is None:
            size = stage.image.get("Size", 0) + sum(len(data) for data in stage.files.values())
            image = {
                **stage.image,
                "Id": id,
                "Digest": "",
                "Created": _now(),
                "Size": size,
                "Config": config,
                "RepoTags": [],
                "RepoDigests": [],
                "Files": {path: data.decode("latin-1") for path, data in stage.files.items()},
                "Latin": True,
                "Layers": [*stage.image.get("Layers", []), digest(id)],
            }
            self.engine.images[id] = image
        if name:
            self.engine.tag(image, name)
        return image


def _now() -> str:
    from engine.sandbox.machines.engine import now

    return now()


def _copy(image: State) -> State:
    return {**image, "Config": unshared(image["Config"])}


def _data(content: str) -> bytes:
    try:
        return content.encode("latin-1")
    except UnicodeEncodeError:
        return content.encode()


def _place(engine: DockerEngine, container: State, image: State, stage: Stage) -> Any:
    from engine.sandbox.machines.processes import ContainerPlace

    container["Sandbox"]["state"] = dict(stage.image.get("State", {}))
    return ContainerPlace(engine, container, image)
