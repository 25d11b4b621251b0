"""`docker build` in the sandbox: from a Dockerfile and its context to an image of real layers.

Of the base image nothing is unpacked: what runs later runs with the Python of this machine. COPY brings
files, `RUN pip install` packages, other RUNs run as workloads; what changes only the system is left out.
"""

from __future__ import annotations

import gzip
import io
import posixpath
import re
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

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
from engine.sandbox.workloads import packages
from engine.sandbox.workloads.blobs import digest_of
from engine.sandbox.workloads.images import OUR_PYTHON, Images, Layer, NoSuchImage
from engine.sandbox.workloads.running import Workloads

CREATED: Final = "1970-01-01T00:00:00Z"
"""So that the same content is the same image."""
_RUN_SECONDS: Final = 300.0
_SITE: Final = f"/usr/local/lib/python{OUR_PYTHON}/site-packages"
_OF_THE_SYSTEM: Final = re.compile(
    r"(sudo )?(apt-get|apt|apk|yum|dnf|microdnf|useradd|adduser|groupadd|addgroup|usermod|chown|chmod"
    r"|ldconfig|update-ca-certificates|locale-gen|rm -r?f?r? */var/|set -|export DEBIAN_FRONTEND)"
)
_EMPTY: Final[Mapping[str, Any]] = {
    "Env": [],
    "Cmd": None,
    "Entrypoint": None,
    "WorkingDir": "",
    "User": "",
    "Labels": None,
}


class BuildError(Exception):
    """The build fails; the message is for who builds."""


@dataclass
class Stage:
    """One stage as far as it has come."""

    config: dict[str, Any]
    layers: list[Layer] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    """What ARG and ENV have set."""
    files: dict[str, bytes | Path] = field(default_factory=dict)
    """What is new in it, by path."""


@dataclass(frozen=True)
class Built:
    """A finished image: the digest of its configuration, and its layers."""

    id: str
    layers: tuple[Layer, ...]


@dataclass
class Build:
    """One run of a build; `say` is told each line of its output."""

    images: Images
    workloads: Workloads
    local: Callable[[str], Built | None]
    """An image that the Engine has by a name, or None."""
    say: Callable[[str], None]
    args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    platform: str = "linux/amd64"
    stages: dict[str, Stage] = field(default_factory=dict)
    globals: dict[str, str] = field(default_factory=dict)
    context: Context = field(default_factory=lambda: Context({}))

    def run(self, archive: bytes, dockerfile: str = "Dockerfile", target: str = "") -> Built:
        """Builds what the context, a tar archive, describes. Raises BuildError."""
        try:
            self.context = Context.from_tar(archive)
            text = self.context.every[posixpath.normpath(dockerfile)].decode(errors="replace")
            steps = parse(text)
        except tarfile.TarError as error:
            raise BuildError(f"the build context is no tar archive: {error}") from error
        except KeyError as error:
            raise BuildError(f"Cannot locate specified Dockerfile: {dockerfile}") from error
        except DockerfileError as error:
            raise BuildError(str(error)) from error
        stage = self._stages(steps, target)
        stage.config["Labels"] = {**(stage.config["Labels"] or {}), **self.labels}
        return self._finish(stage)

    def _stages(self, steps: list[Instruction], target: str) -> Stage:
        stage: Stage | None = None
        for number, step in enumerate(steps, 1):
            if step.word == "FROM" and target and stage is not None and self.stages.get(target) is stage:
                break
            self.say(f"Step {number}/{len(steps)} : {step.word} {step.rest}")
            if step.word == "FROM":
                stage = self._from(step)
            elif stage is None:  # an ARG before the first FROM
                key, _, value = step.rest.partition("=")
                self.globals[key] = self.args.get(key, value)
            else:
                self._step(stage, step)
        if stage is None or (target and self.stages.get(target) is not stage):
            raise BuildError(f"failed to reach build target {target} in Dockerfile")
        return stage

    def _from(self, step: Instruction) -> Stage:
        words = [word for word in expand(step.rest, self.globals).split() if not word.startswith("--")]
        reference = words[0]
        stage = self._base(reference)
        stage.names |= environment(stage.config)
        self.stages[number_of(self.stages)] = stage
        if len(words) > 2 and words[1].lower() == "as":
            self.stages[words[2]] = stage
        return stage

    def _base(self, reference: str) -> Stage:
        if reference in self.stages:
            old = self.stages[reference]
            return Stage(unshared(old.config), list(old.layers), dict(old.names), dict(old.files))
        if reference == "scratch":
            return Stage(dict(_EMPTY))
        own = self.local(reference)
        if own is not None:
            return Stage(unshared({**_EMPTY, **self.images.blobs.json(own.id)["config"]}), list(own.layers))
        try:
            image = self.images.find(reference)
        except NoSuchImage as error:
            raise BuildError(f"manifest for {reference} not found: manifest unknown") from error
        if image.base:
            self.say(
                f" ---> {image.base}: nothing of it but its settings; programs run with this machine's Python"
            )
        return Stage(unshared({**_EMPTY, **image.config}), list(image.layers))

    def _step(self, stage: Stage, step: Instruction) -> None:
        if step.word in ("COPY", "ADD"):
            self._copy_in(stage, step)
        elif step.word == "RUN":
            self._run(stage, step)
        elif step.word == "ARG":
            key, _, value = step.rest.partition("=")
            known = expand(value.strip('"'), stage.names) or self.globals.get(key, "")
            stage.names[key] = self.args.get(key, known)
        else:
            configure(stage.config, stage.names, step)

    def _copy_in(self, stage: Stage, step: Instruction) -> None:
        words = [word for word in expand(step.rest, stage.names).split() if not word.startswith("--")]
        source = re.search(r"--from=(\S+)", expand(step.rest, stage.names))
        words = Instruction("COPY", " ".join(words), 0).list or words
        into = words[-1].endswith("/") or words[-1] in (".", "..") or len(words) > 2
        target = posixpath.join(stage.config["WorkingDir"] or "/", words[-1])
        for pattern in words[:-1]:
            if pattern.startswith(("http://", "https://")):
                raise BuildError(
                    f"the sandbox's ADD does not fetch {pattern}: put the file beside the Dockerfile"
                )
            found = self._from_stage(source[1], pattern) if source else dict(self.context.match(pattern))
            if not found:
                raise BuildError(f"COPY failed: file not found in build context: {pattern}")
            single = posixpath.join(target, posixpath.basename(pattern)) if into else target
            for name, content in found.items():
                place = posixpath.join(target, name) if name else single
                stage.files[posixpath.normpath(place)] = content

    def _from_stage(self, name: str, pattern: str) -> dict[str, bytes | Path]:
        if name not in self.stages:
            raise BuildError(f"the sandbox copies from stages of this Dockerfile only, not from {name}")
        files = self._unpacked(self.stages[name])
        path = posixpath.normpath(f"/{pattern.lstrip('/')}")
        if path in files:
            return {"": files[path]}
        below = path.rstrip("/") + "/"
        return {place[len(below) :]: content for place, content in files.items() if place.startswith(below)}

    def _unpacked(self, stage: Stage) -> dict[str, bytes | Path]:
        built = self._finish(stage)
        root = self.images.unpacked("", built.id, built.layers).root
        return {f"/{path.relative_to(root)}": path for path in root.rglob("*") if path.is_file()}

    def _run(self, stage: Stage, step: Instruction) -> None:
        words = step.list
        script = step.document or (" ".join(f"'{word}'" for word in words) if words else step.rest)
        while script.startswith("--"):
            script = script.partition(" ")[2].strip()
        for command in pieces(script):
            try:
                asked = packages.read(command)
                if asked is not None:
                    self._install(stage, asked)
                elif _OF_THE_SYSTEM.match(command):
                    self.say(f" ---> left out, it concerns a system that is not there: {command}")
                else:
                    self._run_here(stage, command)
            except packages.PipError as error:
                raise BuildError(str(error)) from error

    def _install(self, stage: Stage, asked: packages.Asked) -> None:
        wanted = list(asked.requirements)
        for name in asked.files:
            path = posixpath.normpath(posixpath.join(stage.config["WorkingDir"] or "/", name))
            content = stage.files.get(path)
            if content is None:
                raise BuildError(f"Could not open requirements file: {name}")
            text = content if isinstance(content, bytes) else content.read_bytes()
            wanted += packages.lines_of(text.decode(errors="replace"))
        folder = packages.bring(wanted, self.images.folder / "packages", self.say)
        if folder is not None:
            for file in folder.rglob("*"):
                if file.is_file():
                    stage.files[f"{_SITE}/{file.relative_to(folder).as_posix()}"] = file

    def _run_here(self, stage: Stage, command: str) -> None:
        built = self._finish(stage)
        image = self.images.unpacked("build", built.id, built.layers)
        workload = self.workloads.start(
            image, name="build", entrypoint=["/bin/sh", "-c", command], environment=stage.names
        )
        try:
            status = workload.wait(_RUN_SECONDS)
            for line in workload.lines():
                self.say(line.text)
            if status != 0:
                told = "did not end in time" if status is None else f"returned a non-zero code: {status}"
                raise BuildError(f"The command '/bin/sh -c {command}' {told}")
            stage.files |= _written(workload.root, image.root)
        finally:
            workload.remove()

    def _finish(self, stage: Stage) -> Built:
        layers = [*stage.layers]
        if stage.files:
            layers.append(self._layer(stage.files))
        system, _, architecture = self.platform.partition("/")
        config = {
            "architecture": architecture.partition("/")[0] or "amd64",
            "os": system,
            "created": CREATED,
            "config": {key: value for key, value in stage.config.items() if value},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        }
        return Built(self.images.blobs.put_json(config), tuple(layers))

    def _layer(self, files: Mapping[str, bytes | Path]) -> Layer:
        plain = _tar(files)
        packed = gzip.compress(plain, 6, mtime=0)
        return Layer(self.images.blobs.put(packed), len(packed), digest_of(plain))


def pieces(script: str) -> list[str]:
    """The commands of a shell script that follow each other by `&&`, `;` or a line's end."""
    words = re.findall(r"'[^']*'|\"(?:\\.|[^\"\\])*\"|&&|[;\n]|\\.|[^'\"&;\n\\]+|.", script)
    found = [""]
    for word in words:
        if word in ("&&", ";", "\n"):
            found.append("")
        else:
            found[-1] += word
    return [piece.strip() for piece in found if piece.strip()]


def _written(root: Path, before: Path) -> dict[str, bytes | Path]:
    """The files below `root` that are not as they are below `before`."""
    found: dict[str, bytes | Path] = {}
    for path in root.rglob("*"):
        if path.is_symlink() or not path.is_file() or "__pycache__" in path.parts:
            continue
        content, name = path.read_bytes(), path.relative_to(root)
        old = before / name
        if not old.is_file() or old.read_bytes() != content:
            found[f"/{name}"] = content
    return found


def _tar(files: Mapping[str, bytes | Path]) -> bytes:
    """A tar archive that is the same for the same files."""
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in sorted(files.items()):
            data = content if isinstance(content, bytes) else content.read_bytes()
            info = tarfile.TarInfo(name.lstrip("/"))
            info.size = len(data)
            info.mode = 0o755 if data.startswith(b"#!") else 0o644
            archive.addfile(info, io.BytesIO(data))
    return into.getvalue()
