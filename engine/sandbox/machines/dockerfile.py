"""Dockerfiles: reading them, what they set in an image's configuration, and what a build may copy."""

from __future__ import annotations

import fnmatch
import io
import json
import posixpath
import re
import shlex
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_KNOWN = frozenset(
    {
        "FROM",
        "ARG",
        "ENV",
        "RUN",
        "COPY",
        "ADD",
        "WORKDIR",
        "EXPOSE",
        "VOLUME",
        "CMD",
        "ENTRYPOINT",
        "LABEL",
        "USER",
        "HEALTHCHECK",
        "SHELL",
        "STOPSIGNAL",
        "ONBUILD",
        "MAINTAINER",
    }
)


class DockerfileError(ValueError):
    """The Dockerfile is wrong; the message is Docker's."""


@dataclass(frozen=True)
class Instruction:
    """One instruction: its word, what follows, and its line."""

    word: str
    rest: str
    line: int
    document: str = ""
    """The text of a here-document."""

    @property
    def list(self) -> list[str] | None:
        """The words of the exec form `["a", "b"]`; None for the shell form."""
        if not self.rest.startswith("["):
            return None
        try:
            words = json.loads(self.rest)
        except json.JSONDecodeError:
            return None
        return words if all(isinstance(word, str) for word in words) else None


def parse(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile. Raises DockerfileError."""
    lines, found, number = text.splitlines(), list[Instruction](), 0
    while number < len(lines):
        first, line = number + 1, lines[number].strip()
        number += 1
        if not line or line.startswith("#"):
            continue
        parts = []
        while line.endswith("\\"):
            parts.append(line[:-1].rstrip())
            while number < len(lines) and (
                not lines[number].strip() or lines[number].strip().startswith("#")
            ):
                number += 1
            line = lines[number].strip() if number < len(lines) else ""
            number += 1
        word, _, rest = " ".join([*parts, line]).partition(" ")
        document, number = _document(rest, lines, number)
        found.append(Instruction(word.upper(), rest.strip(), first, document))
    _check(found)
    return found


def _document(rest: str, lines: list[str], number: int) -> tuple[str, int]:
    match = re.search(r"<<-?['\"]?(\w+)['\"]?", rest)
    if not match:
        return "", number
    body = []
    while number < len(lines) and lines[number].strip() != match[1]:
        body.append(lines[number])
        number += 1
    return "\n".join(body), number + 1


def _check(found: list[Instruction]) -> None:
    if not found:
        raise DockerfileError("failed to solve: the Dockerfile cannot be empty")
    for instruction in found:
        if instruction.word not in _KNOWN:
            raise DockerfileError(
                f"dockerfile parse error on line {instruction.line}: unknown instruction: {instruction.word}"
            )
        if not instruction.rest and instruction.word not in ("CMD", "ENTRYPOINT"):
            raise DockerfileError(
                f"dockerfile parse error on line {instruction.line}: {instruction.word} "
                f"requires at least one argument"
            )
    if next((each.word for each in found if each.word != "ARG"), "") != "FROM":
        raise DockerfileError(
            f"dockerfile parse error on line {found[0].line}: no build stage in current context"
        )


def expand(text: str, names: Mapping[str, str]) -> str:
    """`$NAME`, `${NAME}`, `${NAME:-word}` filled in; a backslash keeps the dollar."""

    def fill(match: re.Match[str]) -> str:
        if match[0].startswith("\\"):
            return match[0][1:]
        name, sign, word = match[1] or match[2], match[3], match[4] or ""
        value = names.get(name, "")
        if sign == ":-":
            return value or word
        return (word if value else "") if sign == ":+" else value

    return re.sub(r"\\\$|\$(?:(\w+)|\{(\w+)(?:(:[-+])([^}]*))?\})", fill, text)


def pairs(rest: str) -> dict[str, str]:
    """`A=1 B="two words"`, or the old form `A the rest`."""
    if "=" not in rest.split(" ")[0]:
        name, _, value = rest.partition(" ")
        return {name: value.strip()}
    return dict(word.partition("=")[::2] for word in shlex.split(rest))


def configure(config: dict[str, Any], names: dict[str, str], step: Instruction) -> None:
    """What an instruction sets in an image's configuration; `names` are what ARG and ENV have set so far."""
    rest = expand(step.rest, names)
    if step.word == "ENV":
        given = {key: expand(value, names) for key, value in pairs(step.rest).items()}
        config["Env"] = [f"{key}={value}" for key, value in {**environment(config), **given}.items()]
        names.update(given)
    elif step.word == "LABEL":
        given = {key: expand(value, names) for key, value in pairs(step.rest).items()}
        config["Labels"] = {**(config["Labels"] or {}), **given}
    elif step.word == "WORKDIR":
        config["WorkingDir"] = posixpath.normpath(posixpath.join(config["WorkingDir"] or "/", rest))
    elif step.word == "USER":
        config["User"] = rest
    elif step.word == "EXPOSE":
        ports = {port if "/" in port else f"{port}/tcp": dict[str, Any]() for port in rest.split()}
        config["ExposedPorts"] = {**(config.get("ExposedPorts") or {}), **ports}
    elif step.word == "VOLUME":
        paths = {path: dict[str, Any]() for path in step.list or rest.split()}
        config["Volumes"] = {**(config.get("Volumes") or {}), **paths}
    elif step.word in ("CMD", "ENTRYPOINT"):
        config[step.word.capitalize()] = step.list or ["/bin/sh", "-c", step.rest]
        if step.word == "ENTRYPOINT":
            config["Cmd"] = None
    elif step.word == "HEALTHCHECK":
        config["Healthcheck"] = {"Test": _test(step)}


def _test(step: Instruction) -> list[str]:
    if step.rest == "NONE":
        return ["NONE"]
    command = step.rest.partition("CMD")[2].strip()
    words = Instruction("CMD", command, step.line).list
    return ["CMD", *words] if words else ["CMD-SHELL", command]


def environment(config: Mapping[str, Any]) -> dict[str, str]:
    """The variables of an image's configuration."""
    return dict(item.partition("=")[::2] for item in config.get("Env") or ())


def unshared(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration of its own, to be changed by `configure`."""
    return {
        key: dict(value) if isinstance(value, dict) else list(value) if isinstance(value, list) else value
        for key, value in config.items()
    }


def number_of(stages: Mapping[str, object]) -> str:
    """What the next stage is called besides its name: how many stages came before it."""
    return str(sum(name.isdigit() for name in stages))


class Context:
    """The files that a build may copy from."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        ignore = files.get(".dockerignore", b"").decode(errors="replace").splitlines()
        rules = [line.strip() for line in ignore if line.strip() and not line.startswith("#")]
        self.every = dict(files)
        self.files = {name: data for name, data in files.items() if not _ignored(name, rules)}

    @classmethod
    def from_tar(cls, data: bytes) -> Context:
        """A context that came as a tar archive. Raises tarfile.TarError."""
        files = {}
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive.getmembers():
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None:
                    files[posixpath.normpath(member.name).removeprefix("./")] = content.read()
        return cls(files)

    def match(self, pattern: str) -> dict[str, bytes]:
        """Files that a COPY's source means, by their path below the target (empty: the file itself)."""
        name = posixpath.normpath(pattern).lstrip("/").removeprefix("./")
        if name in self.files:
            return {"": self.files[name]}
        if name in (".", ""):
            return dict(self.files)
        below = {
            path[len(name) + 1 :]: data for path, data in self.files.items() if path.startswith(f"{name}/")
        }
        if below:
            return below
        return {
            posixpath.basename(path): data for path, data in self.files.items() if fnmatch.fnmatch(path, name)
        }


def _ignored(name: str, rules: list[str]) -> bool:
    hidden = False
    for rule in rules:
        pattern = rule.lstrip("!").strip("/")
        parts = name.split("/")
        heads = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        hit = any(fnmatch.fnmatch(head, pattern) for head in heads) or (
            pattern.startswith("**/") and any(fnmatch.fnmatch(head, pattern[3:]) for head in [*heads, *parts])
        )
        if hit:
            hidden = not rule.startswith("!")
    return hidden
