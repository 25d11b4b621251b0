"""What Docker's kinds share: field types in Docker's forms, its answers as values, its errors in words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator

from engine.errors import StepFailed
from engine.on_host import told
from engine.resources.hosts._apt import NO_INTERNET, no_internet
from engine.resources.hosts._shell import FAIL, quote

LAB, ADDRESS, OWN = "labctl:lab", "labctl:address", "labctl:own"
"""Labels: whose it is, its address, and the names of the labels that the playbook itself gives it."""

HAVE_DOCKER: Final = (
    "command -v docker >/dev/null 2>&1 || fail 'Docker is not installed on the host' "
    "'declare a docker_engine on this host, and name it in `depends_on`'\n"
)

_DOWN = re.compile(
    r"Cannot connect to the Docker daemon|permission denied while trying to connect|docker\.sock"
)


def _label_names(labels: dict[str, str]) -> dict[str, str]:
    for name in labels:
        if not name or set(name) & set(",=\r\n"):
            raise ValueError(
                f"{name!r} is no name of a label: it has a comma, `=` or line break, or is empty"
            )
        if name.startswith("labctl:"):
            raise ValueError(
                f"{name!r}: labels that begin with `labctl:` are labctl's own; choose another name"
            )
    return labels


Labels = Annotated[dict[str, str], AfterValidator(_label_names)]
"""Docker's labels, by names that can be told apart again when they are read."""


def look(*inspections: str) -> str:
    """A script that prints one line of JSON for each `docker …` inspection, or why Docker does not answer."""
    lines = ["command -v docker >/dev/null 2>&1 || exit 0\n"]
    for inspection in inspections:
        lines.append(f"said=$(docker {inspection} 2>&1) || {{ printf 'failed %s\\n' \"$said\"; exit 0; }}\n")
        lines.append("printf '%s\\n' \"$said\"\n")
    return "".join(lines)


def read(output: bytes) -> list[dict[str, Any]]:
    """The objects that `look` printed. Raises StepFailed where Docker does not answer."""
    found = []
    lines = output.decode(errors="replace").splitlines()
    for number, line in enumerate(lines):
        if line.startswith("{"):
            found.append(json.loads(line))
        elif line.startswith("failed "):
            # Older clients print an empty line first: the words may be on the next.
            said = " ".join(lines[number:]).removeprefix("failed ").strip()
            if _DOWN.search(said):
                remedy = "see why with: sudo systemctl status docker"
                raise StepFailed(f"Docker does not answer on the host: {said}", remedy)
    return found


def own_labels(labels: Mapping[str, str] | None) -> dict[str, str]:
    """Those of a thing's labels that the playbook gave it."""
    labels = labels or {}
    return {name: labels[name] for name in labels.get(OWN, "").split(",") if name in labels}


def label_options(labels: Mapping[str, str] | None) -> str:
    """`--label` options for labels that the playbook gives."""
    if not labels:
        return ""
    marked = {**labels, OWN: ",".join(sorted(labels))}
    return "".join(f" --label {quote(f'{name}={value}')}" for name, value in sorted(marked.items()))


def unless_ours(what: str, name: str) -> str:
    """A script that ends in words where there is a container, network or volume `name` of others.

    Where it is (a run that was killed left it), `$there` is yes.
    """
    text = f"there is already a {what} named {name} on the host, and this lab did not make it"
    return (
        "there=no\n"
        f"if owner=$(docker {what} inspect -f {quote(_owner(what))} {quote(name)} 2>/dev/null); then\n"
        f'  [ "$owner" = "$labctl_lab" ] || fail {quote(text)} '
        f"{quote(f'choose another `name`, or remove it: docker {what} rm {name}')}\n  there=yes\nfi\n"
    )


def creation(what: str, name: str, options: str, labels: Mapping[str, str] | None) -> str:
    """A script that makes a network or volume `name`; what a killed run left of it goes first."""
    return (
        f"{FAIL}{HAVE_DOCKER}{unless_ours(what, name)}"
        f'[ "$there" = no ] || docker {what} rm {quote(name)}\n'
        'eval "set -- $labctl_labels"\n'
        f'docker {what} create {options}{label_options(labels)} "$@" {quote(name)}\n'
    )


def _owner(what: str) -> str:
    labels = ".Config.Labels" if what == "container" else ".Labels"
    return f'{{{{index {labels} "{LAB}"}}}}'


def removal(what: str, name: str, remove: str) -> str:
    """A script that removes this lab's `name`; quiet where it is gone, or where others have made it anew."""
    return (
        "command -v docker >/dev/null 2>&1 || exit 0\n"
        f"said=$(docker {what} inspect -f {quote(_owner(what))} {quote(name)} 2>&1) || case $said in\n"
        "  *[Nn]'o such '*|*'not found'*) exit 0 ;;\n"
        "  *) printf '%s\\n' \"$said\" >&2; exit 1 ;;\nesac\n"
        '[ "$said" = "$labctl_lab" ] || exit 0\n'
        f"{remove}\n"
    )


def _name(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", value):
        return value
    raise ValueError("must be two or more letters, digits, _ . or -, beginning with a letter or digit")


DockerName = Annotated[str, BeforeValidator(_name)]
"""The name of a container, network or volume."""


def _image(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"sha256:[0-9a-f]{12,64}", value):
        return value
    form = (
        r"([a-zA-Z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+([._-]+[a-z0-9]+|/[a-z0-9]+)*"
        r"(:\w[\w.-]{0,127})?(@sha256:[0-9a-f]{64})?"
    )
    if isinstance(value, str) and re.fullmatch(form, value):
        return value
    raise ValueError("must be the name of an image, such as httpd:2.4 or quay.io/jupyter/base-notebook")


ImageName = Annotated[str, BeforeValidator(_image)]
"""The name of an image, with a tag or digest if one matters."""

_UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def size_text(count: int) -> str:
    """A number of bytes as Docker's options take it, in the largest unit that leaves it whole: `512m`."""
    fitting = [unit for unit, size in _UNITS.items() if count >= size and count % size == 0]
    return f"{count // _UNITS[fitting[-1]]}{fitting[-1]}" if fitting else "0"


def size_bytes(text: str) -> int:
    """The bytes of a size such as `512m`, `1.5GiB` or `1024`. Raises ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?", text.strip().lower())
    if not found:
        raise ValueError("must be a size, such as 512m or 1.5g")
    return int(float(found[1]) * _UNITS[found[2] or "b"])


def _size(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("must be a size, such as 512m or 1.5g")
    return size_text(size_bytes(str(value)))


Size = Annotated[str, BeforeValidator(_size)]
"""An amount of memory, `512m`."""

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def duration_text(nanoseconds: int) -> str:
    """A duration as Docker's options take it, in seconds or milliseconds: `90s`, `250ms`."""
    return f"{nanoseconds // 10**9}s" if nanoseconds % 10**9 == 0 else f"{nanoseconds // 10**6}ms"


def _duration(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return duration_text(round(value * 10**9))
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", value) if isinstance(value, str) else []
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise ValueError("must be a duration, such as 30s or 1m30s")
    return duration_text(round(sum(float(number) * _SECONDS[unit] for number, unit in parts) * 10**9))


Duration = Annotated[str, BeforeValidator(_duration)]
"""A length of time, `90s`; a number is seconds."""


def explain(stderr: str) -> tuple[str, str] | None:
    """Docker's errors in words."""
    if (said := told(stderr)) is not None:
        return said
    for pattern, message, remedy in _SAYINGS:
        if found := re.search(pattern, stderr):
            names = {name: value or "" for name, value in found.groupdict().items()}
            return message.format_map(names), remedy.format_map(names)
    return NO_INTERNET if no_internet(stderr) or re.search(_NO_REGISTRY, stderr) else None


_NO_REGISTRY = (
    r"(?:lookup|Get|Head) \S*(?:registry|auth|docker\.io|quay|ghcr).*"
    r"(?:i/o timeout|no such host|network is unreachable|Client\.Timeout|deadline exceeded"
    r"|server misbehaving)"
)

_SAYINGS: Final = (
    (
        r"\"/(?P<path>[^\"]*)\": not found|file not found in build context[^:]*: stat (?P<name>[^:]+)",
        "the image does not build: the folder that it is built from has no {path}{name}",
        "put the file there, or put right the Dockerfile (and .dockerignore)",
    ),
    (
        r"failed to solve: (?P<base>\S+): failed to resolve .*(?:pull access denied|insufficient_scope)"
        r"|pull access denied for (?P<image>[^\s,]+)|repository (?P<other>\S+) not found"
        r"|(?P<third>\S+): insufficient_scope",
        "there is no image {base}{image}{other}{third} in the registry, or it needs a login",
        "look for its name on https://hub.docker.com, or build it: docker_image, named in `depends_on`",
    ),
    (
        r"manifest for (?P<image>\S+) not found|(?P<other>[\w./:-]+): not found(?: |$)",
        "the registry has no {image}{other}",
        "look at the tags that the image has on https://hub.docker.com",
    ),
    (
        r"manifest unknown",
        "the registry has no image of that name and tag",
        "look at the tags that the image has on https://hub.docker.com",
    ),
    (
        r"The command '(?P<line>.+)' returned a non-zero code: (?P<code>\d+)",
        "the image does not build: `{line}` ended with exit status {code}",
        "see what it printed with -v or in the run's log, and put right the Dockerfile",
    ),
    (
        r'process "(?P<line>.+)" did not complete successfully: exit code: (?P<code>\d+)',
        "the image does not build: `{line}` ended with exit status {code}",
        "see what it printed with -v or in the run's log, and put right the Dockerfile",
    ),
    (
        r"(?i)dockerfile parse error (?:on )?(?P<what>line \d+: .+)",
        "the Dockerfile is wrong in {what}",
        "put right the Dockerfile",
    ),
    (
        r"no matching manifest for (?P<platform>\S+)",
        "the image is not made for this host's processor ({platform})",
        "choose another image, or an instance type with another processor",
    ),
    (
        r"toomanyrequests|You have reached your (?:unauthenticated )?pull rate limit",
        "Docker Hub gives this address no more images for now",
        "wait an hour, or pull from another registry",
    ),
    (
        r"Bind for (?P<bind>\S+) failed: port is already allocated",
        "the port {bind} of the host is already taken by another container",
        "see which one: docker ps; then publish another port",
    ),
    (
        r"(?:listen (?:tcp|udp)\S* (?P<bind>\S+): bind: "
        r"|failed to bind host port (?:for )?(?P<host>[^\s/]+?:\d+)(?::[\d.]+:\d+)?/(?:tcp|udp): )?"
        r"address already in use",
        "the port {bind}{host} of the host is already taken by another program",
        "see which one: sudo ss -ltnp; then publish another port",
    ),
    (
        r'[Cc]onflict\. The container name "/?(?P<name>[^"]+)" is already in use',
        "there is already a container named {name} on the host",
        "choose another `name`, or remove it: docker rm -f {name}",
    ),
    (
        r"no space left on device",
        "the host's disk is full",
        "give the host a larger volume, or: docker system prune",
    ),
    (
        r"Cannot connect to the Docker daemon|permission denied while trying to connect",
        "Docker does not run on the host",
        "see why with: sudo systemctl status docker; or name the docker_engine in `depends_on`",
    ),
    (
        r"network (?P<name>\S+) not found",
        "there is no Docker network {name} on the host",
        "declare it with docker_network, and name that in `depends_on`",
    ),
    (
        r"(?:network|error while removing network:?) .*has active endpoints",
        "containers that are not of this lab are still in the network",
        "see which: docker network inspect …; remove them, then run this again",
    ),
    (
        r"volume is in use - \[(?P<ids>[^\]]*)\]",
        "containers that are not of this lab still use the volume",
        "see which: docker ps -a --filter volume=…; remove them, then run this again",
    ),
    (
        r'exec: "?(?P<what>[^":]+)"?: (?:executable file not found|stat |permission denied)',
        "the image has no program {what}",
        "put right `command` or `entrypoint`",
    ),
    (
        r"(?:invalid reference format|repository name .* must be lowercase)",
        "that is no name of an image",
        "write it in small letters, as in httpd:2.4",
    ),
    (
        r"Pool overlaps with other one on this address space",
        "the subnet overlaps with another Docker network of the host",
        "choose another `subnet` in `ipam_config`",
    ),
    (
        r"Minimum memory limit allowed is (?P<least>\d+\w+)",
        "a container needs at least {least} of memory",
        "give it a larger `memory`",
    ),
    (
        r"(?i)range of CPUs is from [\d.]+ to (?P<most>[\d.]+)",
        "the host has only {most} processors",
        "lower `cpus`, or choose a larger instance type",
    ),
)
