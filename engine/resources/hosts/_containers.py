"""Containers in Docker's forms: what a playbook may write of one, and what Docker tells, made comparable."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from engine.resource import Fields, Values, plain
from engine.resources.hosts import _docker
from engine.resources.hosts._docker import LAB, Duration

STARVED = "killed: it took more memory than it may"
"""What is read in place of `running` where the kernel ended it."""


def _port(value: Any) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    form = (
        r"(?:(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<four>\d+\.\d+\.\d+\.\d+)):)?"
        r"(?:(?P<host>\d+(?:-\d+)?)?:)?(?P<inside>\d+(?:-\d+)?)"
    )
    found = re.fullmatch(form + r"(?:/(?P<protocol>tcp|udp|sctp))?", text) if isinstance(text, str) else None
    if not found:
        raise ValueError('must be a port as Docker publishes it, such as "8003:80" or "127.0.0.1:53:53/udp"')
    for number in re.findall(r"\d+", f"{found['host'] or ''} {found['inside']}"):
        if not 1 <= int(number) <= 65535:
            raise ValueError(f"{number} is no port; ports go from 1 to 65535")
    if found["host"] and "-" in found["inside"] and _width(found["host"]) != _width(found["inside"]):
        raise ValueError("a range of ports is published on a range of the same length")
    address = f"[{found['six']}]" if found["six"] else found["four"]
    return _published(address, found["host"], found["inside"], found["protocol"])


def _width(ports: str) -> int:
    first, _, last = ports.partition("-")
    return int(last or first) - int(first) + 1


def _published(address: str | None, host: str | None, inside: str, protocol: str | None) -> str:
    """One published port in the form in which ports are compared."""
    outside = f"{host}:" if host else ":" if address else ""
    end = f"/{protocol}" if protocol and protocol != "tcp" else ""
    return f"{f'{address}:' if address else ''}{outside}{inside}{end}"


def _volume(value: Any) -> str:
    parts = value.split(":") if isinstance(value, str) else []
    if not 1 <= len(parts) <= 3 or not all(parts):
        raise ValueError("must be a volume as Docker takes it, such as /srv/www:/data:ro or name:/data")
    source, inside, options = _bind(parts)
    if not inside.startswith("/"):
        raise ValueError(f"{inside} is no whole path in the container")
    if source is not None and not source.startswith("/") and not re.fullmatch(r"[a-zA-Z0-9][\w.-]*", source):
        raise ValueError(f"{source} must be a whole path on the host or the name of a volume")
    return _mount(source, inside, options)


def _bind(parts: list[str]) -> tuple[str | None, str, str]:
    if len(parts) == 1:
        return None, parts[0], ""
    return parts[0], parts[1], parts[2] if len(parts) == 3 else ""


def _mount(source: str | None, inside: str, options: str) -> str:
    """One volume in the form in which volumes are compared."""
    kept = sorted(option for option in options.split(",") if option not in ("", "rw"))
    ends = [part if part == "/" else part.rstrip("/") for part in (source, inside) if part is not None]
    return ":".join([*ends, *([",".join(kept)] if kept else [])])


def _restart(value: Any) -> str:
    if value is False:  # YAML's `no`
        return "no"
    if isinstance(value, str) and re.fullmatch(r"no|always|unless-stopped|on-failure(:\d+)?", value):
        return value.removesuffix(":0")
    raise ValueError("must be no, always, unless-stopped, on-failure or on-failure:3")


def _capability(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"(?i)(CAP_)?[A-Z_]+", value):
        return value.upper().removeprefix("CAP_")
    raise ValueError("must be a capability, such as NET_ADMIN")


def _test(value: Any) -> Any:
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        first, rest = value[0], value[1:]
        if first == "NONE":
            return "NONE"
        return (
            rest[0]
            if first == "CMD-SHELL" and len(rest) == 1
            else shlex.join(rest if first == "CMD" else value)
        )
    return value


Port = Annotated[str, BeforeValidator(_port)]
"""A published port, as in `8003:80`."""
Volume = Annotated[str, BeforeValidator(_volume)]
"""A folder of the host or a volume, as in `/srv/www:/data:ro`."""
RestartPolicy = Annotated[str, BeforeValidator(_restart)]
"""When Docker starts it again: `no`, `always`, `on-failure:3` …"""
Capability = Annotated[str, BeforeValidator(_capability)]
"""A right beside the usual ones, NET_ADMIN."""


class Healthcheck(Fields):
    """How Docker finds out whether a container does its work."""

    test: Annotated[str, BeforeValidator(_test)] = Field(
        description="a line for the container's sh; `NONE` for none"
    )
    interval: Duration | None = Field(default=None, description="time between tests")
    timeout: Duration | None = Field(default=None, description="time for one test")
    start_period: Duration | None = Field(default=None, description="time in which failures do not count")
    retries: int | None = Field(default=None, ge=1, description="failures in a row that make it unhealthy")


def health_options(check: Any, quoted: Any) -> list[str]:
    """The options of `docker run` for a health check; `quoted` makes words of a shell of them."""
    if not isinstance(check, Healthcheck):
        return []
    if check.test == "NONE":
        return ["--no-healthcheck"]
    flags = {"test": "cmd", "interval": "interval", "timeout": "timeout", "start_period": "start-period"}
    values = plain(check)
    options = [f"--health-{flag} {quoted(values[name])}" for name, flag in flags.items() if name in values]
    return options + ([f"--health-retries {quoted(values['retries'])}"] if "retries" in values else [])


def each_port(published: str) -> list[str]:
    """The single ports that a range in the container stands for, as Docker tells them."""
    outside = r"(?P<outside>(?P<address>.*?)(?:(?P<host>\d+)-\d+)?:)?"
    found = re.fullmatch(outside + r"(?P<first>\d+)-(?P<last>\d+)(?P<end>/\w+)?", published)
    if not found:
        return [published]
    ports = []
    first, end = int(found["first"]), found["end"] or ""
    for number in range(first, int(found["last"]) + 1):
        host = int(found["host"]) + number - first if found["host"] else ""
        ports.append(f"{found['address']}{host}:{number}{end}" if found["outside"] else f"{number}{end}")
    return ports


def settings(
    container: Mapping[str, Any], images: list[dict[str, Any]], *, asked: str, entry: int, once: bool
) -> Values:
    """A container as `docker container inspect` tells of it, in the playbook's words, and its outputs.

    `images` are what is there of its own image and of the one `asked` for; `entry` is how many words the
    entry point has that is asked for; `once` says that it is to run to its end.
    """
    image = next((each for each in images if each.get("Id") == container.get("Image")), {})
    config, host, state = container["Config"], container["HostConfig"], container["State"]
    of_image = image.get("Config") or {}
    entrypoint, command = _argv(config, entry)
    networks = (container.get("NetworkSettings") or {}).get("Networks") or {}
    return {
        "id": container["Id"],
        "owner": (config.get("Labels") or {}).get(LAB),
        "image": _image(config.get("Image", ""), container.get("Image"), asked, _asked_for(images, image)),
        "command": command,
        "entrypoint": entrypoint,
        "env": _environment(config.get("Env"), of_image.get("Env")),
        "published_ports": _ports(host.get("PortBindings")),
        "volumes": _volumes(host.get("Binds"), config.get("Volumes"), of_image.get("Volumes")),
        "networks": sorted(networks),
        "restart_policy": _policy(host.get("RestartPolicy") or {}),
        "running": _runs(state, once=once),
        "interactive": bool(config.get("OpenStdin")),
        "tty": bool(config.get("Tty")),
        "hostname": config.get("Hostname"),
        "user": config.get("User") or "",
        "working_dir": config.get("WorkingDir") or "",
        "labels": _docker.own_labels(config.get("Labels")),
        "memory": _docker.size_text(host["Memory"]) if host.get("Memory") else None,
        "cpus": host["NanoCpus"] / 10**9 if host.get("NanoCpus") else None,
        "healthcheck": _healthcheck(config.get("Healthcheck")),
        "privileged": bool(host.get("Privileged")),
        "cap_add": sorted(_capability(name) for name in host.get("CapAdd") or ()),
        "ip": next((network["IPAddress"] for network in networks.values() if network.get("IPAddress")), None),
        "state": state.get("Status"),
        "exit_code": state.get("ExitCode"),
        "ports": _taken((container.get("NetworkSettings") or {}).get("Ports")),
    }


def _argv(config: Mapping[str, Any], count: int) -> tuple[list[str], list[str]]:
    """Entry point and command; `docker run` puts all but an entry point's first word before the command."""
    entrypoint, command = list(config.get("Entrypoint") or ()), list(config.get("Cmd") or ())
    moved = max(0, count - len(entrypoint)) if entrypoint else 0
    return entrypoint + command[:moved], command[moved:]


def _runs(state: Mapping[str, Any], *, once: bool) -> bool | str:
    """Whether it runs, or has ended well where it is to run `once`; words where its memory was not enough."""
    if once:
        runs = state.get("Status") == "exited" and state.get("ExitCode") == 0
    else:
        runs = bool(state.get("Running")) and not state.get("Restarting")
    return runs or (STARVED if state.get("OOMKilled") is True else False)


def _asked_for(images: list[dict[str, Any]], own: dict[str, Any]) -> str | None:
    """The id of the image asked for; `images` are what is there of the container's `own` and of that one."""
    rest = list(images)
    if own:
        rest.remove(own)
    return rest[0].get("Id") if rest else None


def _image(name: str, id: str | None, asked: str, there: str | None) -> str:
    """The image as the playbook names it if it is that one, else what it was made from."""
    if there is not None and there == id:
        return asked
    # The image asked for is not on the host: the name it was made from decides.
    if asked and there is None:
        return name
    return f"an older {name}" if asked == name else name


def _environment(env: list[str] | None, of_image: list[str] | None) -> dict[str, str]:
    own = [line for line in env or () if line not in (of_image or ())]
    return {name: value for name, _, value in (line.partition("=") for line in own)}


def _ports(bindings: Mapping[str, list[dict[str, str]] | None] | None) -> list[str]:
    made = []
    for inside, places in (bindings or {}).items():
        port, _, protocol = inside.partition("/")
        for place in places or ():
            address = place.get("HostIp") or None
            shown = f"[{address}]" if address and ":" in address else address
            made.append(_published(shown, place.get("HostPort") or None, port, protocol))
    return sorted(set(made))


def _volumes(
    binds: list[str] | None, volumes: Mapping[str, Any] | None, of_image: Mapping[str, Any] | None
) -> list[str]:
    made = [_mount(*_bind(bind.split(":"))) for bind in binds or ()]
    inside = {_bind(bind.split(":"))[1].rstrip("/") for bind in binds or ()}
    nameless = [
        path for path in volumes or () if path not in (of_image or ()) and path.rstrip("/") not in inside
    ]
    return sorted({*made, *(_mount(None, path, "") for path in nameless)})


def _policy(policy: Mapping[str, Any]) -> str:
    count = policy.get("MaximumRetryCount") or 0
    return (policy.get("Name") or "no") + (f":{count}" if count else "")


def _healthcheck(check: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not check:
        return None
    times = {"interval": "Interval", "timeout": "Timeout", "start_period": "StartPeriod"}
    values = {name: _docker.duration_text(check[key]) for name, key in times.items() if check.get(key)}
    retries = {"retries": check["Retries"]} if check.get("Retries") else {}
    return {"test": _test(list(check.get("Test") or ())), **values, **retries}


def _taken(ports: Mapping[str, list[dict[str, str]] | None] | None) -> dict[str, str]:
    return {inside: places[0]["HostPort"] for inside, places in (ports or {}).items() if places}
