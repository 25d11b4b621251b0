"""What docker tells: ps, images, inspect, logs, version, info."""

from __future__ import annotations

import json
import re
import time
from calendar import timegm
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from engine.sandbox.machines.command import Call, Failed, Options, State, options
from engine.sandbox.machines.engine import DaemonError, DockerEngine
from engine.sandbox.machines.go_template import TemplateError, render
from engine.sandbox.machines.images import short, split
from engine.sandbox.machines.packages import installed
from engine.sandbox.machines.processes import words_of

Verb = Callable[[Call, DockerEngine, list[str]], Awaitable[int]]


def print_logs(call: Call, container: State, tail: int | None = None) -> None:
    """Write a container's log as docker does, each line to its stream."""
    rows = container["Sandbox"].get("log", [])
    lines = [(row[0], line) for row in rows for line in str(row[1]).splitlines(keepends=True)]
    for stream, line in lines if tail is None else lines[-tail:] if tail else []:
        (call.out if stream == "stdout" else call.err).extend(line.encode())


async def logs(call: Call, engine: DockerEngine, args: list[str]) -> int:
    """docker logs [--tail N]."""
    given = options(
        args,
        values={"-n", "--since", "--until"},
        same={"--tail": "-n", "--follow": "-f", "--timestamps": "-t"},
    )
    tail = given.last("-n", "all")
    print_logs(call, engine.container(given.rest[0]), None if tail == "all" else int(tail))
    return 0


def _ago(stamp: str) -> str:
    if stamp.startswith("0001"):
        return "ages"
    seconds = int(time.time() - timegm(time.strptime(stamp.split(".")[0].rstrip("Z"), "%Y-%m-%dT%H:%M:%S")))
    for size, name in (
        (31_536_000, "year"),
        (2_592_000, "month"),
        (604_800, "week"),
        (86_400, "day"),
        (3600, "hour"),
        (60, "minute"),
    ):
        if seconds >= 2 * size:
            return f"{seconds // size} {name}s"
    if seconds >= 3600:
        return "About an hour"
    if seconds >= 60:
        return "About a minute"
    return f"{seconds} seconds" if seconds > 1 else "1 second" if seconds == 1 else "Less than a second"


def _status_text(container: State) -> str:
    state = container["State"]
    if state["Status"] == "created":
        return "Created"
    if state["Restarting"]:
        return f"Restarting ({state['ExitCode']}) {_ago(state['FinishedAt'])} ago"
    if state["Running"]:
        health = state.get("Health", {}).get("Status", "")
        words = {"starting": "health: starting"}.get(health, health)
        words = "Paused" if state["Paused"] else words
        return f"Up {_ago(state['StartedAt'])}" + (f" ({words})" if words else "")
    return f"Exited ({state['ExitCode']}) {_ago(state['FinishedAt'])} ago"


def _ports_text(container: State) -> str:
    found = []
    if not container["State"]["Running"]:
        return ""
    for port, ends in container["NetworkSettings"]["Ports"].items():
        if not ends:
            found.append(port)
        for end in ends or ():
            found.append(f"{end['HostIp']}:{end['HostPort']}->{port}")
            if end["HostIp"] == "0.0.0.0":
                found.append(f"[::]:{end['HostPort']}->{port}")
    return ", ".join(found)


def _ps_row(container: State, whole: bool) -> dict[str, str]:
    command = " ".join(words_of(container))
    if not whole and len(command) > 20:
        command = command[:19] + "…"
    labels = container["Config"]["Labels"]
    return {
        "ID": container["Id"] if whole else container["Id"][:12],
        "Image": container["Config"]["Image"],
        "Command": f'"{command}"',
        "CreatedAt": container["Created"].replace("T", " ").split(".")[0] + " +0000 UTC",
        "RunningFor": f"{_ago(container['Created'])} ago",
        "Ports": _ports_text(container),
        "State": container["State"]["Status"],
        "Status": _status_text(container),
        "Names": container["Name"][1:],
        "Labels": ",".join(f"{key}={value}" for key, value in labels.items()),
        "LocalVolumes": "0",
        "Size": "0B",
        "Mounts": ",".join(mount.get("Name") or mount["Source"] for mount in container["Mounts"]),
        "Networks": ",".join(container["NetworkSettings"]["Networks"]),
    }


def _matches(container: State, filters: Sequence[str]) -> bool:
    by_key: dict[str, list[str]] = {}
    for word in filters:
        key, _, value = word.partition("=")
        by_key.setdefault(key, []).append(value)
    return all(_matches_one(container, key, values) for key, values in by_key.items())


def _matches_one(container: State, key: str, values: Sequence[str]) -> bool:
    if key == "label":
        return all(has_label(container["Config"]["Labels"], value) for value in values)
    tests: dict[str, Callable[[str], bool]] = {
        "name": lambda value: (
            re.search(value, container["Name"]) is not None
            or re.search(value, container["Name"][1:]) is not None
        ),
        "id": lambda value: container["Id"].startswith(value),
        "status": lambda value: container["State"]["Status"] == value,
        "ancestor": lambda value: (
            value
            in (container["Config"]["Image"], split(container["Config"]["Image"])[0], container["Image"])
        ),
        "exited": lambda value: (
            container["State"]["Status"] == "exited" and str(container["State"]["ExitCode"]) == value
        ),
        "network": lambda value: value in container["NetworkSettings"]["Networks"],
        "volume": lambda value: any(
            value in (mount.get("Name"), mount["Source"], mount["Destination"])
            for mount in container["Mounts"]
        ),
        "health": lambda value: container["State"].get("Health", {}).get("Status", "none") == value,
    }
    if key not in tests:
        raise DaemonError(f"invalid filter '{key}'")
    return any(tests[key](value) for value in values)


def has_label(labels: Mapping[str, str] | None, wanted: str) -> bool:
    """Whether labels hold `KEY` or `KEY=VALUE`."""
    key, equals, value = wanted.partition("=")
    return key in (labels or {}) and (not equals or (labels or {})[key] == value)


def print_table(
    call: Call, given: Options, rows: list[dict[str, Any]], columns: Sequence[tuple[str, str]]
) -> int:
    """Rows as a table, as JSON lines or by a template, as `--format` says."""
    form = given.last("--format")
    if form and form not in ("table",) and not form.startswith("table "):
        for row in rows:
            call.say(
                json.dumps(row, separators=(",", ":"), ensure_ascii=False)
                if form == "json"
                else _render(form, row)
            )
        return 0
    if form.startswith("table "):
        names = re.findall(r"\{\{\s*\.(\w+)\s*\}\}", form)
        heads = {name: head for head, name in columns}
        columns = [(heads.get(name, name.upper()), name) for name in names]
    widths = [max([len(head), *(len(str(row[name])) for row in rows)]) for head, name in columns]
    for line in [[head for head, _ in columns], *[[str(row[name]) for _, name in columns] for row in rows]]:
        call.say("   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return 0


def _render(form: str, data: Any) -> str:
    try:
        return render(form.replace("\\t", "\t").replace("\\n", "\n"), data)
    except TemplateError as error:
        raise Failed(str(error)) from error


async def ps(call: Call, engine: DockerEngine, args: list[str]) -> int:
    """docker ps."""
    same = {
        "--all": "-a",
        "--quiet": "-q",
        "-f": "--filter",
        "--last": "-n",
        "--latest": "-l",
        "--size": "-s",
    }
    given = options(args, values={"--filter", "--format", "-n"}, same=same)
    filters = given.every("--filter")
    every = (
        "-a" in given
        or any(word.startswith(("status=", "exited=")) for word in filters)
        or "-l" in given
        or "-n" in given
    )
    for container in engine.containers.values():
        await engine.check_health(container)
    found = [
        container
        for container in reversed(engine.containers.values())
        if (every or container["State"]["Running"]) and _matches(container, filters)
    ]
    if "-l" in given or "-n" in given:
        found = found[: int(given.last("-n", "1"))]
    whole = "--no-trunc" in given
    if "-q" in given:
        call.out.extend(
            "".join(f"{container['Id'] if whole else container['Id'][:12]}\n" for container in found).encode()
        )
        return 0
    columns = (
        ("CONTAINER ID", "ID"),
        ("IMAGE", "Image"),
        ("COMMAND", "Command"),
        ("CREATED", "RunningFor"),
        ("STATUS", "Status"),
        ("PORTS", "Ports"),
        ("NAMES", "Names"),
    )
    return print_table(call, given, [_ps_row(container, whole) for container in found], columns)


def _public(record: State) -> State:
    hidden = {"Sandbox", "System", "Base", "Files", "Needs", "Prints", "Layers", "Digest", "Latin"}
    shown = {
        key: value
        for key, value in record.items()
        if key not in hidden and not (key == "State" and "Status" not in value)
    }
    if "Layers" in record:
        shown["RootFS"] = {"Type": "layers", "Layers": record["Layers"]}
    return shown


_MISSING = {
    "container": "Error response from daemon: No such container: {}",
    "image": "Error response from daemon: No such image: {}",
    "network": "Error response from daemon: network {} not found",
    "volume": "Error response from daemon: get {}: no such volume",
    "object": "Error: No such object: {}",
}


def _inspected(call: Call, given: Options, found: list[State], missing: list[str], word: str) -> int:
    form = given.last("--format")
    if form and form != "json":
        for record in found:
            call.say(_render(form, record))
    elif form == "json":
        call.say(json.dumps(found, separators=(",", ":")))
    else:
        call.say(json.dumps(found, indent=4))
    for name in missing:
        call.complain(_MISSING[word].format(name))
    return 1 if missing else 0


LOOKS = ("container", "image", "network", "volume")


def _one(engine: DockerEngine, sort: str, name: str) -> State | None:
    try:
        if sort == "container":
            return engine.container(name)
        if sort == "network":
            return engine.network(name)
    except DaemonError:
        return None
    return engine.image(name) if sort == "image" else engine.volumes.get(name)


def inspect_as(*sorts: str) -> Verb:
    """docker inspect, of things of these sorts, tried in order."""

    async def verb(call: Call, engine: DockerEngine, args: list[str]) -> int:
        given = options(args, values={"--format", "--type"}, same={"-f": "--format", "--size": "-s"})
        found, missing = [], []
        for name in given.rest:
            wanted = [given.last("--type")] if "--type" in given else sorts
            sort, record = next(
                ((sort, record) for sort in wanted if (record := _one(engine, sort, name)) is not None),
                ("", None),
            )
            if record is None:
                missing.append(name)
                continue
            if sort == "container":
                await engine.check_health(record)
            found.append(_public(record))
        return _inspected(call, given, found, missing, sorts[0] if len(sorts) == 1 else "object")

    return verb


def _bytes(size: int) -> str:
    for unit, factor in (("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)):
        if size >= factor:
            return f"{size / factor:.3g}{unit}"
    return f"{size}B"


async def list_images(call: Call, engine: DockerEngine, args: list[str]) -> int:
    """docker images."""
    given = options(
        args, values={"--filter", "--format"}, same={"-f": "--filter", "--quiet": "-q", "--all": "-a"}
    )
    rows = []
    for image in reversed(engine.images.values()):
        labels = [word.partition("=")[2] for word in given.every("--filter") if word.startswith("label=")]
        if not all(has_label(image["Config"]["Labels"], label) for label in labels):
            continue
        if "dangling=true" in given.every("--filter") and image["RepoTags"]:
            continue
        references = [
            word.partition("=")[2] for word in given.every("--filter") if word.startswith("reference=")
        ]
        for name in image["RepoTags"] or ["<none>:<none>"]:
            wanted = [*given.rest, *references]
            if wanted and not any(short(word) in (name, name.rpartition(":")[0]) for word in wanted):
                continue
            id = image["Id"] if "--no-trunc" in given else image["Id"][7:19]
            rows.append(
                {
                    "Repository": name.rpartition(":")[0],
                    "Tag": name.rpartition(":")[2],
                    "ID": id,
                    "Digest": image["Digest"] or "<none>",
                    "CreatedAt": image["Created"].replace("T", " ").split(".")[0] + " +0000 UTC",
                    "CreatedSince": f"{_ago(image['Created'])} ago",
                    "Size": _bytes(image["Size"]),
                    "Containers": "N/A",
                    "SharedSize": "N/A",
                    "UniqueSize": "N/A",
                    "VirtualSize": _bytes(image["Size"]),
                }
            )
    if "-q" in given:
        call.out.extend("".join(f"{row['ID']}\n" for row in rows).encode())
        return 0
    return print_table(
        call,
        given,
        rows,
        (
            ("REPOSITORY", "Repository"),
            ("TAG", "Tag"),
            ("IMAGE ID", "ID"),
            ("CREATED", "CreatedSince"),
            ("SIZE", "Size"),
        ),
    )


async def version(call: Call, engine: DockerEngine, args: list[str]) -> int:
    """docker version."""
    given, version = options(args, values={"--format"}, same={"-f": "--format"}), version_number(call)
    data = {
        "Client": {
            "Version": version,
            "ApiVersion": "1.51",
            "Os": "linux",
            "Arch": "amd64",
            "Context": "default",
        },
        "Server": {
            "Version": version,
            "ApiVersion": "1.51",
            "MinAPIVersion": "1.24",
            "Os": "linux",
            "Arch": "amd64",
            "KernelVersion": call.place.system.kernel,
        },
    }
    if "--format" in given:
        form = given.last("--format")
        call.say(json.dumps(data, separators=(",", ":")) if form == "json" else _render(form, data))
        return 0
    call.say(
        f"Client: Docker Engine - Community\n Version:           {version}\n API version: "
        f"      1.51\n\nServer: Docker Engine - Community\n Engine:\n  Version:          "
        f"{version}\n  API version:      1.51 (minimum version 1.24)"
    )
    return 0


def version_number(call: Call) -> str:
    """The version of the engine that is installed."""
    packages = installed(call.place)
    text = (
        packages.get("docker-ce")
        or packages.get("docker.io")
        or packages.get("docker")
        or packages.get("docker-ce-cli", "28.5.1")
    )
    return text.partition(":")[2].partition("-")[0] if ":" in text else text.partition("-")[0]


async def info(call: Call, engine: DockerEngine, args: list[str]) -> int:
    """docker info."""
    given = options(args, values={"--format"}, same={"-f": "--format"})
    running = sum(container["State"]["Running"] for container in engine.containers.values())
    data = {
        "ID": "sandbox",
        "Containers": len(engine.containers),
        "ContainersRunning": running,
        "ContainersPaused": 0,
        "ContainersStopped": len(engine.containers) - running,
        "Images": len(engine.images),
        "Driver": "overlay2",
        "ServerVersion": version_number(call),
        "OperatingSystem": call.place.system.pretty,
        "Name": call.place.hostname,
        "NCPU": 2,
        "MemTotal": 8231325696,
        "KernelVersion": call.place.system.kernel,
        "OSType": "linux",
        "Architecture": "x86_64",
        "DockerRootDir": "/var/lib/docker",
    }
    if "--format" in given:
        call.say(
            json.dumps(data, separators=(",", ":"))
            if given.last("--format") == "json"
            else _render(given.last("--format"), data)
        )
        return 0
    call.say(
        f"Server:\n Containers: {data['Containers']}\n  Running: {running}\n Images: "
        f"{data['Images']}\n Server Version: {data['ServerVersion']}\n Storage Driver: "
        f"overlay2"
    )
    return 0


async def disk_usage(call: Call, engine: DockerEngine, args: list[str]) -> int:
    """docker system df."""
    size = _bytes(sum(image["Size"] for image in engine.images.values()))
    running = sum(container["State"]["Running"] for container in engine.containers.values())
    call.say("TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE")
    used = len({container["Image"] for container in engine.containers.values()})
    call.say(
        f"Images          {len(engine.images):<9} {used:<9} {size:<9} 0B (0%)\nContainers "
        f"     {len(engine.containers):<9} {running:<9} 0B        0B\nLocal Volumes   "
        f"{len(engine.volumes):<9} 0         0B        0B\nBuild Cache     0         0    "
        f"     0B        0B"
    )
    return 0


async def show_ports(call: Call, engine: DockerEngine, args: list[str]) -> int:
    """docker port."""
    asked = f"{args[1]}/tcp" if args[1:] and "/" not in args[1] else "".join(args[1:])
    for port, ends in engine.container(args[0])["NetworkSettings"]["Ports"].items():
        for end in ends or ():
            if asked in ("", port):
                call.say(f"{'' if asked else f'{port} -> '}{end['HostIp']}:{end['HostPort']}")
    return 0


async def top(call: Call, engine: DockerEngine, args: list[str]) -> int:
    """docker top."""
    container = engine.container(args[0])
    call.say(
        f"UID    PID    PPID   C   STIME   TTY   TIME       CMD\nroot   "
        f"{container['State']['Pid']}   1      0   00:00   ?     00:00:00   "
        f"{' '.join(words_of(container))}"
    )
    return 0


async def search(call: Call, engine: DockerEngine, args: list[str]) -> int:
    """docker search."""
    rows = [
        {
            "Name": name,
            "Description": name,
            "StarCount": "1000",
            "IsOfficial": "[OK]" if "/" not in name else "",
        }
        for name in sorted(engine.registry.catalogue)
        if (options(args).rest or [""])[0] in name
    ]
    return print_table(
        call,
        Options({}, []),
        rows,
        (
            ("NAME", "Name"),
            ("DESCRIPTION", "Description"),
            ("STARS", "StarCount"),
            ("OFFICIAL", "IsOfficial"),
        ),
    )
