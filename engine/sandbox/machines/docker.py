"""The docker command line, over the machine's engine: options, tables, templates and messages as the real one's."""

from __future__ import annotations

import asyncio
import json
import posixpath
import secrets
import tarfile
import time
from calendar import timegm
from collections.abc import Awaitable, Callable, Mapping, Sequence
from shlex import quote
from typing import Any

from engine.sandbox.machines.build import Build
from engine.sandbox.machines.command import Call, Command, Failed, Options, State, options
from engine.sandbox.machines.dockerfile import Context
from engine.sandbox.machines.engine import NEVER, DaemonError, DockerEngine, now
from engine.sandbox.machines.go_template import TemplateError, render
from engine.sandbox.machines.images import short, split
from engine.sandbox.machines.processes import words_of

_ADJECTIVES = ("elated", "brave", "happy", "quirky", "serene", "bold", "keen", "gifted", "modest", "vibrant")
_NAMES = (
    "brahmagupta",
    "lovelace",
    "turing",
    "hopper",
    "curie",
    "noether",
    "fermat",
    "banach",
    "darwin",
    "wozniak",
)

Verb = Callable[[Call, DockerEngine, list[str]], Awaitable[int]]


def new_container(image: State, name: str) -> State:
    """A container's record before anything special is asked of it."""
    id, config = secrets.token_hex(32), image["Config"]
    return {
        "Id": id,
        "Created": now(),
        "Path": "",
        "Args": [],
        "State": {
            "Status": "created",
            "Running": False,
            "Paused": False,
            "Restarting": False,
            "OOMKilled": False,
            "Dead": False,
            "Pid": 0,
            "ExitCode": 0,
            "Error": "",
            "StartedAt": NEVER,
            "FinishedAt": NEVER,
        },
        "Image": image["Id"],
        "Name": name,
        "RestartCount": 0,
        "Driver": "overlay2",
        "Platform": "linux",
        "Mounts": [],
        "Config": {
            "Hostname": id[:12],
            "User": config["User"],
            "AttachStdin": False,
            "AttachStdout": False,
            "AttachStderr": False,
            "Tty": False,
            "OpenStdin": False,
            "StdinOnce": False,
            "Env": list(config["Env"] or []),
            "Cmd": config["Cmd"],
            "Image": "",
            "Volumes": config["Volumes"],
            "WorkingDir": config["WorkingDir"],
            "Entrypoint": config["Entrypoint"],
            "Labels": dict(config["Labels"] or {}),
            "ExposedPorts": dict(config["ExposedPorts"] or {}),
            **({"Healthcheck": config["Healthcheck"]} if config.get("Healthcheck") else {}),
        },
        "HostConfig": {
            "Binds": None,
            "NetworkMode": "bridge",
            "PortBindings": {},
            "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
            "AutoRemove": False,
            "Privileged": False,
            "CapAdd": None,
            "CapDrop": None,
            "Memory": 0,
            "MemorySwap": 0,
            "NanoCpus": 0,
            "CpuShares": 0,
            "ExtraHosts": None,
            "Dns": [],
            "ReadonlyRootfs": False,
            "Init": None,
            "ShmSize": 67108864,
            "Devices": [],
            "Tmpfs": None,
            "PidMode": "",
            "IpcMode": "private",
            "SecurityOpt": None,
            "LogConfig": {"Type": "json-file", "Config": {}},
            "Mounts": None,
            "Ulimits": [],
            "GroupAdd": None,
            "PublishAllPorts": False,
        },
        "NetworkSettings": {"Ports": {}, "Networks": {}, "IPAddress": ""},
        "Sandbox": {
            "state": dict(image.get("State", {})),
            "token": secrets.token_hex(24),
            "image": {key: value for key, value in image.items() if key not in ("Files", "State")},
        },
    }


_RUN_VALUES = {
    "--name",
    "--publish",
    "--volume",
    "--env",
    "--env-file",
    "--label",
    "--network",
    "--restart",
    "--hostname",
    "--user",
    "--workdir",
    "--entrypoint",
    "--memory",
    "--memory-swap",
    "--cpus",
    "--cpu-shares",
    "--add-host",
    "--dns",
    "--cap-add",
    "--cap-drop",
    "--device",
    "--health-cmd",
    "--health-interval",
    "--health-timeout",
    "--health-retries",
    "--health-start-period",
    "--mount",
    "--tmpfs",
    "--network-alias",
    "--ip",
    "--pull",
    "--platform",
    "--log-driver",
    "--log-opt",
    "--shm-size",
    "--security-opt",
    "--ulimit",
    "--gpus",
    "--expose",
    "--pid",
    "--ipc",
    "--group-add",
    "--stop-signal",
    "--stop-timeout",
    "--runtime",
    "--label-file",
    "--sysctl",
    "--cidfile",
    "--attach",
    "--volumes-from",
    "--health-start-interval",
    "--annotation",
    "--cgroupns",
    "--domainname",
    "--userns",
}
_RUN_SWITCHES = {
    "--detach",
    "--interactive",
    "--tty",
    "--rm",
    "--privileged",
    "--init",
    "--read-only",
    "--publish-all",
    "--no-healthcheck",
    "--quiet",
    "--sig-proxy",
    "--oom-kill-disable",
    "--help",
}
_RUN_SAME = {
    "-p": "--publish",
    "-v": "--volume",
    "-e": "--env",
    "-l": "--label",
    "--net": "--network",
    "-h": "--hostname",
    "-u": "--user",
    "-w": "--workdir",
    "-m": "--memory",
    "-d": "--detach",
    "-i": "--interactive",
    "-t": "--tty",
    "-P": "--publish-all",
    "-q": "--quiet",
    "-c": "--cpu-shares",
    "-a": "--attach",
    "--net-alias": "--network-alias",
}


def _unknown(verb: str) -> Callable[[str], Exception]:
    def make(name: str) -> Exception:
        what = (
            f"unknown flag: {name}"
            if name.startswith("--")
            else f"unknown shorthand flag: '{name[1:]}' in {name}"
        )
        return Failed(
            f"{what}\n\nUsage:  docker {verb} [OPTIONS]\n\nRun 'docker {verb} --help' for more information",
            125,
        )

    return make


def _size(text: str) -> int:
    factors = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
    plain = text.lower().removesuffix("b") if text.lower()[-2:-1] in factors else text.lower()
    try:
        return int(float(plain[:-1]) * factors[plain[-1]]) if plain[-1:] in factors else int(plain)
    except ValueError as error:
        raise Failed(
            f'invalid argument "{text}" for "-m, --memory" flag: invalid size: \'{text}\'', 125
        ) from error


def _container(
    call: Call, engine: DockerEngine, given: Options, image: State, reference: str, command: list[str]
) -> State:
    name = given.last("--name") or f"{secrets.choice(_ADJECTIVES)}_{secrets.choice(_NAMES)}"
    container = new_container(image, f"/{name}")
    config, host = container["Config"], container["HostConfig"]
    config["Image"] = reference
    if "--entrypoint" in given:
        config["Entrypoint"], config["Cmd"] = (
            [given.last("--entrypoint")] if given.last("--entrypoint") else None,
            None,
        )
    if command:
        config["Cmd"] = command
    words = words_of(container)
    if not words:
        raise Failed("docker: Error response from daemon: no command specified", 125)
    container["Path"], container["Args"] = words[0], words[1:]
    env = dict(item.partition("=")[::2] for item in config["Env"])
    env |= _environment(call, given)
    config["Env"] = [f"{key}={value}" for key, value in env.items()]
    config["Labels"] |= dict(label.partition("=")[::2] for label in given.every("--label"))
    config.update(Tty=given.on("--tty"), OpenStdin=given.on("--interactive"))
    for option, key in (("--hostname", "Hostname"), ("--user", "User"), ("--workdir", "WorkingDir")):
        if option in given:
            config[key] = given.last(option)
    for port in given.every("--expose"):
        config["ExposedPorts"][port if "/" in port else f"{port}/tcp"] = {}
    _health(config, given)
    _host_config(host, given)
    _ports(container, given.every("--publish"))
    _mounts(call, engine, container, given)
    _networks(engine, container, given)
    return container


def _environment(call: Call, given: Options) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in given.every("--env-file"):
        try:
            text = call.place.disk.read(call.path(name)).decode()
        except FileNotFoundError as error:
            raise Failed(f"docker: open {name}: no such file or directory", 125) from error
        for line in text.splitlines():
            if line.strip() and not line.startswith("#"):
                key, equals, value = line.partition("=")
                found |= {key: value} if equals else {}
    for item in given.every("--env"):
        key, equals, value = item.partition("=")
        if equals or key in call.env:
            found[key] = value if equals else call.env[key]
    return found


def _seconds(text: str) -> int:
    units = {"ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000}
    unit = next(unit for unit in ("ms", "s", "m", "h") if text.endswith(unit))
    return int(float(text.removesuffix(unit)) * units[unit])


def _health(config: State, given: Options) -> None:
    if given.on("--no-healthcheck"):
        config["Healthcheck"] = {"Test": ["NONE"]}
    elif "--health-cmd" in given:
        config["Healthcheck"] = {"Test": ["CMD-SHELL", given.last("--health-cmd")]}
    if "Healthcheck" in config:
        for option, key in (
            ("--health-interval", "Interval"),
            ("--health-timeout", "Timeout"),
            ("--health-start-period", "StartPeriod"),
        ):
            if option in given:
                config["Healthcheck"][key] = _seconds(given.last(option))
        if "--health-retries" in given:
            config["Healthcheck"]["Retries"] = int(given.last("--health-retries"))


def _restart(text: str) -> State:
    name, _, count = text.partition(":")
    if name not in ("no", "always", "unless-stopped", "on-failure"):
        raise Failed(
            (
                f"docker: Error response from daemon: invalid restart policy: unknown policy "
                f"'{name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
            ),
            125,
        )
    return {"Name": name, "MaximumRetryCount": int(count or 0)}


def _host_config(host: State, given: Options) -> None:
    if "--restart" in given:
        host["RestartPolicy"] = _restart(given.last("--restart"))
    if "--memory" in given:
        host["Memory"] = _size(given.last("--memory"))
        host["MemorySwap"] = 2 * host["Memory"]
    if "--memory-swap" in given:
        host["MemorySwap"] = -1 if given.last("--memory-swap") == "-1" else _size(given.last("--memory-swap"))
    if "--cpus" in given:
        host["NanoCpus"] = int(float(given.last("--cpus")) * 1_000_000_000)
    if "--cpu-shares" in given:
        host["CpuShares"] = int(given.last("--cpu-shares"))
    if "--shm-size" in given:
        host["ShmSize"] = _size(given.last("--shm-size"))
    host.update(
        Privileged=given.on("--privileged"),
        AutoRemove=given.on("--rm"),
        ReadonlyRootfs=given.on("--read-only"),
    )
    host["CapAdd"], host["CapDrop"] = given.every("--cap-add") or None, given.every("--cap-drop") or None
    host["ExtraHosts"], host["Dns"] = given.every("--add-host") or None, given.every("--dns")
    host["SecurityOpt"], host["GroupAdd"] = (
        given.every("--security-opt") or None,
        given.every("--group-add") or None,
    )
    host["Init"] = True if given.on("--init") else None
    host["PidMode"] = given.last("--pid")
    host["Tmpfs"] = dict(item.partition(":")[::2] for item in given.every("--tmpfs")) or None
    if "--log-driver" in given:
        host["LogConfig"] = {"Type": given.last("--log-driver"), "Config": {}}
    host["LogConfig"]["Config"] |= dict(item.partition("=")[::2] for item in given.every("--log-opt"))


def _ports(container: State, published: Sequence[str]) -> None:
    for text in published:
        ports, _, protocol = text.partition("/")
        address, *rest = _port_words(ports)
        inner, outer = rest[-1], rest[0] if len(rest) > 1 else ""
        inners, outers = _range(inner, text), _range(outer, text) if outer else []
        if outers and len(outers) != len(inners):
            raise Failed(
                f'docker: invalid ranges specified for container and host Ports: "{inner}" and "{outer}"', 125
            )
        for number, port in enumerate(inners):
            key = f"{port}/{protocol or 'tcp'}"
            bind = {"HostIp": address, "HostPort": str(outers[number]) if outers else ""}
            container["HostConfig"]["PortBindings"].setdefault(key, []).append(bind)
            container["Config"]["ExposedPorts"][key] = {}


def _port_words(ports: str) -> list[str]:
    if ports.startswith("["):
        address, _, rest = ports[1:].partition("]:")
        return [address, *rest.split(":")]
    words = ports.split(":")
    return words if len(words) == 3 else ["", *words]


def _range(text: str, whole: str) -> list[int]:
    first, _, last = text.partition("-")
    if not first.isdigit() or (last and not last.isdigit()) or not 0 < int(first) < 65536:
        raise Failed(
            f"docker: invalid containerPort: {text}"
            if ":" not in whole
            else f"docker: invalid hostPort: {text}",
            125,
        )
    return list(range(int(first), int(last or first) + 1))


def _mounts(call: Call, engine: DockerEngine, container: State, given: Options) -> None:
    binds = given.every("--volume")
    container["HostConfig"]["Binds"] = binds or None
    asked = [_bind_words(text) for text in binds]
    for text in given.every("--mount"):
        fields = dict(word.partition("=")[::2] for word in text.split(","))
        source = fields.get("source", fields.get("src", ""))
        target = fields.get("target", fields.get("dst", fields.get("destination", "")))
        if fields.get("type") == "bind" and not call.place.disk.exists(source):
            raise DaemonError(
                f'invalid mount config for type "bind": bind source path does not exist: {source}', 125
            )
        asked.append((source, target, "ro" if "readonly" in fields or "ro" in fields else ""))
    taken = {target.rstrip("/") for _, target, _ in asked}
    asked += [
        ("", path, "") for path in container["Config"]["Volumes"] or () if path.rstrip("/") not in taken
    ]
    for source, target, mode in asked:
        container["Mounts"].append(_mount(call, engine, source, target, mode))


def _bind_words(text: str) -> tuple[str, str, str]:
    words = text.split(":")
    if len(words) == 1:
        return "", words[0], ""
    return words[0], words[1], words[2] if len(words) > 2 else ""


def _mount(call: Call, engine: DockerEngine, source: str, target: str, mode: str) -> State:
    writable = "ro" not in mode.split(",")
    if not target.startswith("/"):
        raise DaemonError(
            (
                f"invalid volume specification: '{source}:{target}': invalid mount config for "
                f"type \"volume\": invalid mount path: '{target}' mount path must be absolute"
            ),
            125,
        )
    target = target.rstrip("/") or "/"
    if source.startswith(("/", ".", "~")):
        path = call.path(source)
        if not call.place.disk.exists(path):
            call.place.disk.mkdir(path, 0o755)
        return {
            "Type": "bind",
            "Source": path,
            "Destination": target,
            "Mode": mode,
            "RW": writable,
            "Propagation": "rprivate",
        }
    volume = engine.add_volume(source or secrets.token_hex(32), anonymous=not source)
    return {
        "Type": "volume",
        "Name": volume["Name"],
        "Source": volume["Mountpoint"],
        "Destination": target,
        "Driver": "local",
        "Mode": mode or "z",
        "RW": writable,
        "Propagation": "",
    }


def _networks(engine: DockerEngine, container: State, given: Options) -> None:
    names = given.every("--network") or ["bridge"]
    mode = "bridge" if names[0] == "default" else names[0]
    container["HostConfig"]["NetworkMode"] = mode
    if mode.startswith("container:"):
        return
    for name in names:
        network = engine.network("bridge" if name == "default" else name)
        engine.attach(container, network, given.every("--network-alias"), given.last("--ip"))


async def _create(call: Call, engine: DockerEngine, args: list[str], verb: str) -> tuple[State, Options]:
    given = options(
        args, values=_RUN_VALUES, switches=_RUN_SWITCHES, same=_RUN_SAME, stop=True, unknown=_unknown(verb)
    )
    if not given.rest:
        raise Failed(
            (
                f"docker: 'docker {verb}' requires at least 1 argument\n\nUsage:  docker "
                f"{verb} [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nSee 'docker {verb} --help' for "
                f"more information"
            ),
            125,
        )
    reference, command = given.rest[0], given.rest[1:]
    image = engine.image(reference) if given.last("--pull") != "always" else None
    if image is None:
        if given.last("--pull") == "never":
            raise Failed(f"docker: Error response from daemon: No such image: {_full(reference)}", 125)
        if "--pull" not in given:
            call.complain(f"Unable to find image '{_full(reference)}' locally")
        image = _pull(call, engine, reference, to_err=True, status=125)
    try:
        container = _container(call, engine, given, image, reference, command)
        engine.add(container)
    except DaemonError as error:
        raise Failed(
            f"docker: {error.message}\n\nRun 'docker {verb} --help' for more information", 125
        ) from error
    return container, given


def _full(reference: str) -> str:
    repository, tag = split(reference)
    return f"{repository}@{tag}" if tag.startswith("sha256:") else f"{repository}:{tag}"


def _pull(
    call: Call, engine: DockerEngine, reference: str, *, to_err: bool = False, status: int = 1
) -> State:
    repository, tag = split(reference)
    try:
        image, new = engine.pull(reference)
    except DaemonError as error:
        raise Failed(
            f"docker: {error.message}\n\nRun 'docker run --help' for more information"
            if to_err
            else error.message,
            status,
        ) from error
    name = short(repository)
    full = name if "/" in name else f"library/{name}"
    lines = [f"{tag}: Pulling from {full}"]
    if new:
        lines += [f"{layer[7:19]}: Pull complete" for layer in image["Layers"]]
    lines.append(f"Digest: {image['Digest']}")
    lines.append(f"Status: {'Downloaded newer image' if new else 'Image is up to date'} for {name}:{tag}")
    if not to_err:
        lines.append(f"docker.io/{full}:{tag}")
    for line in lines:
        (call.complain if to_err else call.say)(line)
    return image


async def _run(call: Call, engine: DockerEngine, args: list[str]) -> int:
    container, given = await _create(call, engine, args, "run")
    detached, stdin = given.on("--detach"), b""
    container["Sandbox"]["attached"] = not detached
    if not detached and given.on("--tty") and "TERM" not in call.env:
        container["Sandbox"]["attached"] = False
        await engine.remove(container, force=True, volumes=True)
        return call.complain("the input device is not a TTY", 1)
    if not detached and given.on("--interactive"):
        stdin = await call.read()
    try:
        result = await engine.start(container, stdin, wait=not detached)
    except DaemonError as error:
        return call.complain(
            f"docker: {error.message}\n\nRun 'docker run --help' for more information",
            127 if error.status == 127 else 125,
        )
    if detached:
        call.say(container["Id"])
        return 0
    if result is None:
        # It stays; nobody is at the other end to end it.
        _logs_of(call, container)
        return 0
    call.out.extend(result.stdout)
    call.err.extend(result.stderr)
    return result.status


async def _create_only(call: Call, engine: DockerEngine, args: list[str]) -> int:
    container, _ = await _create(call, engine, args, "create")
    call.say(container["Id"])
    return 0


async def _each(
    call: Call, engine: DockerEngine, names: Sequence[str], act: Callable[[State], Awaitable[None]]
) -> int:
    status = 0
    for name in names:
        try:
            await act(engine.container(name))
            call.say(name)
        except DaemonError as error:
            status = call.complain(error.message)
    return status


async def _start(call: Call, engine: DockerEngine, args: list[str]) -> int:
    given = options(args, same={"--attach": "-a", "--interactive": "-i"})
    if "-a" in given:
        container = engine.container(given.rest[0])
        container["Sandbox"]["attached"] = True
        result = await engine.start(container, b"", wait=True)
        call.out.extend(result.stdout if result else b"")
        return result.status if result else 0

    async def act(container: State) -> None:
        await engine.start(container)

    status = await _each(call, engine, given.rest, act)
    return status if not status else call.complain(f"failed to start containers: {', '.join(given.rest)}")


async def _stop(call: Call, engine: DockerEngine, args: list[str]) -> int:
    given = options(args, values={"-t", "-s"}, same={"--time": "-t", "--timeout": "-t", "--signal": "-s"})

    async def act(container: State) -> None:
        engine.stop(container)

    return await _each(call, engine, given.rest, act)


async def _kill(call: Call, engine: DockerEngine, args: list[str]) -> int:
    given = options(args, values={"-s"}, same={"--signal": "-s"})

    async def act(container: State) -> None:
        if not container["State"]["Running"]:
            raise DaemonError(
                f"cannot kill container: {given.rest[0]}: container {container['Id']} is not running"
            )
        engine.stop(container, 137)

    return await _each(call, engine, given.rest, act)


async def _restart_verb(call: Call, engine: DockerEngine, args: list[str]) -> int:
    given = options(args, values={"-t", "-s"}, same={"--time": "-t", "--timeout": "-t", "--signal": "-s"})

    async def act(container: State) -> None:
        engine.stop(container)
        await engine.start(container)

    return await _each(call, engine, given.rest, act)


async def _rm(call: Call, engine: DockerEngine, args: list[str]) -> int:
    given = options(args, same={"--force": "-f", "--volumes": "-v", "--link": "-l"})
    if not given.rest:
        return call.complain("docker: 'docker rm' requires at least 1 argument")
    status = 0
    for name in given.rest:
        try:
            await engine.remove(engine.container(name), force="-f" in given, volumes="-v" in given)
            call.say(name)
        except DaemonError as error:
            quiet = "-f" in given and "No such container" in error.message
            call.complain(error.message)
            status = status if quiet else 1
    return status


async def _wait(call: Call, engine: DockerEngine, args: list[str]) -> int:
    for name in options(args).rest:
        container = engine.container(name)
        while container["State"]["Running"] and container["Id"] in engine.containers:
            await asyncio.sleep(0.05)
        call.say(str(container["State"]["ExitCode"]))
    return 0


async def _rename(call: Call, engine: DockerEngine, args: list[str]) -> int:
    container = engine.container(args[0])
    if any(other["Name"] == f"/{args[1]}" for other in engine.containers.values()):
        other = engine.container(args[1])
        raise DaemonError(
            f'Error when allocating new name: Conflict. The container name "/{args[1]}" '
            f"is already in use by container "
            f'"{other["Id"]}". You have to remove (or rename) that container to be able to reuse that name.'
        )
    container["Name"] = f"/{args[1]}"
    return 0


async def _update(call: Call, engine: DockerEngine, args: list[str]) -> int:
    given = options(
        args,
        values={"--restart", "--memory", "--memory-swap", "--cpus", "--cpu-shares"},
        same={"-m": "--memory", "-c": "--cpu-shares"},
    )
    for name in given.rest:
        host = engine.container(name)["HostConfig"]
        if "--restart" in given:
            host["RestartPolicy"] = _restart(given.last("--restart"))
        if "--memory" in given:
            host["Memory"] = _size(given.last("--memory"))
        if "--memory-swap" in given:
            host["MemorySwap"] = (
                -1 if given.last("--memory-swap") == "-1" else _size(given.last("--memory-swap"))
            )
        if "--cpus" in given:
            host["NanoCpus"] = int(float(given.last("--cpus")) * 1_000_000_000)
        if "--cpu-shares" in given:
            host["CpuShares"] = int(given.last("--cpu-shares"))
        call.say(name)
    return 0


def _logs_of(call: Call, container: State, tail: int | None = None) -> None:
    rows = container["Sandbox"].get("log", [])
    lines = [(row[0], line) for row in rows for line in str(row[1]).splitlines(keepends=True)]
    for stream, line in lines if tail is None else lines[-tail:] if tail else []:
        (call.out if stream == "stdout" else call.err).extend(line.encode())


async def _logs(call: Call, engine: DockerEngine, args: list[str]) -> int:
    given = options(
        args,
        values={"-n", "--since", "--until"},
        same={"--tail": "-n", "--follow": "-f", "--timestamps": "-t"},
    )
    tail = given.last("-n", "all")
    _logs_of(call, engine.container(given.rest[0]), None if tail == "all" else int(tail))
    return 0


async def _exec(call: Call, engine: DockerEngine, args: list[str]) -> int:
    same = {
        "--interactive": "-i",
        "--tty": "-t",
        "--detach": "-d",
        "--user": "-u",
        "--workdir": "-w",
        "--env": "-e",
    }
    given = options(args, values={"-u", "-w", "-e", "--env-file"}, same=same, stop=True)
    if len(given.rest) < 2:
        return call.complain(
            "docker: 'docker exec' requires at least 2 arguments\n\nUsage:  docker exec "
            "[OPTIONS] CONTAINER COMMAND [ARG...]"
        )
    container, words = engine.container(given.rest[0]), given.rest[1:]
    if not container["State"]["Running"]:
        raise DaemonError(f"container {container['Id']} is not running")
    if "-t" in given and "TERM" not in call.env:
        return call.complain("the input device is not a TTY")
    place = engine.inside(container)
    if not place.has(words[0]):
        return call.complain(
            (
                f"OCI runtime exec failed: exec failed: unable to start container process: "
                f'exec: "{words[0]}": executable file not found in $PATH'
            ),
            127,
        )
    stdin = await call.read() if "-i" in given else b""
    env = dict(item.partition("=")[::2] for item in given.every("-e"))
    result = await place.run(
        " ".join(quote(word) for word in words),
        stdin=stdin,
        user=given.last("-u"),
        env=env,
        cwd=given.last("-w"),
    )
    if "-d" not in given:
        call.out.extend(result.stdout)
        call.err.extend(result.stderr)
    return 0 if "-d" in given else result.status


async def _attach(call: Call, engine: DockerEngine, args: list[str]) -> int:
    container = engine.container((options(args).rest or [""])[0])
    if not container["State"]["Running"]:
        return call.complain("You cannot attach to a stopped container, start it first")
    return call.complain(
        f"docker: attaching needs a terminal on both sides, which a simulated machine has "
        f"not; use: docker exec -i {container['Name'][1:]} bash"
    )


# -- seeing ------------------------------------------------------------------------------------------------


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
    import re

    if key == "label":
        return all(_has_label(container["Config"]["Labels"], value) for value in values)
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


def _has_label(labels: Mapping[str, str] | None, wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in (labels or {}) and (not equals or (labels or {})[key] == value)


def _table(call: Call, given: Options, rows: list[dict[str, Any]], columns: Sequence[tuple[str, str]]) -> int:
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
        import re

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


async def _ps(call: Call, engine: DockerEngine, args: list[str]) -> int:
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
    return _table(call, given, [_ps_row(container, whole) for container in found], columns)


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
        call.complain(
            f"Error response from daemon: No such {word}: {name}"
            if word != "object"
            else f"Error: No such object: {name}"
        )
    return 1 if missing else 0


_LOOKS = ("container", "image", "network", "volume")


def _one(engine: DockerEngine, sort: str, name: str) -> State | None:
    try:
        if sort == "container":
            return engine.container(name)
        if sort == "network":
            return engine.network(name)
    except DaemonError:
        return None
    return engine.image(name) if sort == "image" else engine.volumes.get(name)


def _inspect_as(*sorts: str) -> Verb:
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
        word = sorts[0] if len(sorts) == 1 else "object"
        if word == "network" and missing:
            _inspected(call, given, found, [], word)
            return call.complain(f"Error response from daemon: network {missing[0]} not found")
        if word == "volume" and missing:
            _inspected(call, given, found, [], word)
            return call.complain(f"Error response from daemon: get {missing[0]}: no such volume")
        return _inspected(call, given, found, missing, word)

    return verb


def _bytes(size: int) -> str:
    for unit, factor in (("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)):
        if size >= factor:
            return f"{size / factor:.3g}{unit}"
    return f"{size}B"


async def _images(call: Call, engine: DockerEngine, args: list[str]) -> int:
    given = options(
        args, values={"--filter", "--format"}, same={"-f": "--filter", "--quiet": "-q", "--all": "-a"}
    )
    rows = []
    for image in reversed(engine.images.values()):
        labels = [word.partition("=")[2] for word in given.every("--filter") if word.startswith("label=")]
        if not all(_has_label(image["Config"]["Labels"], label) for label in labels):
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
    return _table(
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


async def _pull_verb(call: Call, engine: DockerEngine, args: list[str]) -> int:
    given = options(args, values={"--platform"}, same={"--quiet": "-q"})
    quiet = Call(call.name, [], call.env, call.cwd, call.login, call.place, call.read)
    if "--quiet" not in given and "-q" not in given:
        repository, tag = split(given.rest[0])
        if repository == given.rest[0]:
            call.say(f"Using default tag: {tag}")
        _pull(call, engine, given.rest[0])
    else:
        _pull(quiet, engine, given.rest[0])
        call.say(f"docker.io/{'' if '/' in given.rest[0] else 'library/'}{_full(given.rest[0])}")
    return 0


async def _rmi(call: Call, engine: DockerEngine, args: list[str]) -> int:
    given, status = options(args, same={"--force": "-f"}), 0
    for name in given.rest:
        try:
            for line in engine.remove_image(name, "-f" in given):
                call.say(line)
        except DaemonError as error:
            call.complain(error.message)
            status = 0 if "-f" in given and "No such image" in error.message else 1
    return status


async def _tag(call: Call, engine: DockerEngine, args: list[str]) -> int:
    image = engine.image(args[0])
    if image is None:
        raise DaemonError(f"No such image: {_full(args[0])}")
    engine.tag(image, args[1])
    return 0


async def _build(call: Call, engine: DockerEngine, args: list[str]) -> int:
    values = {
        "--tag",
        "--file",
        "--build-arg",
        "--label",
        "--target",
        "--platform",
        "--progress",
        "--network",
        "--cache-from",
        "--output",
        "--secret",
        "--iidfile",
    }
    same = {"-t": "--tag", "-f": "--file", "--quiet": "-q"}
    given = options(args, values=values, same=same)
    if len(given.rest) != 1:
        return call.complain("ERROR: docker: 'docker buildx build' requires 1 argument")
    try:
        context, text = await _context(call, given)
    except tarfile.TarError as error:
        raise Failed("ERROR: failed to solve: failed to read dockerfile: unexpected EOF") from error
    if text is None:
        file = given.last("--file", "Dockerfile")
        return call.complain(
            f"ERROR: failed to solve: failed to read dockerfile: open {file}: no such file or directory"
        )
    build_args = {
        key: value if equals else call.env.get(key, "")
        for key, equals, value in (arg.partition("=") for arg in given.every("--build-arg"))
    }
    build = Build(
        engine, context, build_args, dict(label.partition("=")[::2] for label in given.every("--label"))
    )
    names = given.every("--tag")
    try:
        image = await build.run(text, names[0] if names else "", given.last("--target"))
    finally:
        if "-q" not in given:
            for number, step in enumerate(build.steps, 1):
                call.complain(f"#{number} {step}")
    for name in names[1:]:
        engine.tag(image, name)
    if "-q" in given:
        call.say(image["Id"])
    else:
        call.complain(
            f"#{len(build.steps) + 1} exporting to image\nwriting image {image['Id']} done\n"
            + "\n".join(f"naming to docker.io/library/{name} done" for name in names)
        )
    return 0


async def _context(call: Call, given: Options) -> tuple[Context, str | None]:
    where, file = given.rest[0], given.last("--file")
    if where == "-":
        data = await call.read()
        if data[257:262] == b"ustar" or data[:2] == b"\x1f\x8b" or b"\0" in data[:512]:
            context = Context.from_tar(data)
        else:
            return Context({}), data.decode(errors="replace")
    else:
        path = call.place.disk.real(call.path(where))
        if not call.place.disk.exists(path):
            raise Failed(f'ERROR: unable to prepare context: path "{where}" not found')
        context = (
            Context.from_tar(call.place.disk.read(path))
            if call.place.disk.is_file(path)
            else Context(call.place.disk.copy_of(path))
        )
    if file == "-":
        return context, (await call.read()).decode(errors="replace")
    if file and where != "-" and call.place.disk.is_file(call.path(file)):
        return context, call.place.disk.text(call.path(file))
    data = context.every.get(posixpath.normpath(file or "Dockerfile"), b"")
    known = posixpath.normpath(file or "Dockerfile") in context.every
    return context, data.decode(errors="replace") if known else None


# -- networks, volumes, copies, the rest -------------------------------------------------------------------


async def _network_create(call: Call, engine: DockerEngine, args: list[str]) -> int:
    given = options(
        args,
        values={
            "--driver",
            "--subnet",
            "--gateway",
            "--label",
            "--opt",
            "--ip-range",
            "--ipam-driver",
            "--scope",
        },
        same={"-d": "--driver", "-o": "--opt"},
    )
    network = engine.add_network(
        given.rest[0],
        given.last("--driver", "bridge"),
        given.last("--subnet"),
        dict(label.partition("=")[::2] for label in given.every("--label")),
        given.on("--internal"),
        dict(word.partition("=")[::2] for word in given.every("--opt")),
        given.last("--gateway"),
    )
    if given.on("--attachable"):
        network["Attachable"] = True
    if given.on("--ipv6"):
        network["EnableIPv6"] = True
    call.say(network["Id"])
    return 0


async def _network_rm(call: Call, engine: DockerEngine, args: list[str]) -> int:
    given, status = options(args, same={"--force": "-f"}), 0
    for name in given.rest:
        try:
            network = engine.network(name)
        except DaemonError as error:
            call.complain(error.message)
            status = status if "-f" in given else 1
            continue
        if network["Containers"]:
            id, end = next(iter(network["Containers"].items()))
            status = call.complain(
                f"Error response from daemon: error while removing network: network "
                f'{network["Name"]} has active endpoints (name:"{end["Name"]}" '
                f'id:"{id[:12]}")'
            )
        elif network["Name"] in ("bridge", "host", "none"):
            status = call.complain(
                f"Error response from daemon: {network['Name']} is a pre-defined network "
                f"and cannot be removed"
            )
        else:
            del engine.networks[network["Name"]]
            call.say(name)
    return status


async def _network_ls(call: Call, engine: DockerEngine, args: list[str]) -> int:
    given = options(args, values={"--filter", "--format"}, same={"-f": "--filter", "--quiet": "-q"})
    found = [network for network in engine.networks.values() if _listed(network, given)]
    if "-q" in given:
        call.out.extend("".join(f"{network['Id'][:12]}\n" for network in found).encode())
        return 0
    rows = [
        {
            "ID": network["Id"][:12],
            "Name": network["Name"],
            "Driver": network["Driver"],
            "Scope": "local",
            "IPv6": "false",
            "IPv4": "true",
            "Internal": str(network["Internal"]).lower(),
            "CreatedAt": network["Created"],
            "Labels": ",".join(f"{k}={v}" for k, v in (network["Labels"] or {}).items()),
        }
        for network in found
    ]
    return _table(
        call, given, rows, (("NETWORK ID", "ID"), ("NAME", "Name"), ("DRIVER", "Driver"), ("SCOPE", "Scope"))
    )


def _listed(record: State, given: Options) -> bool:
    for word in given.every("--filter"):
        key, _, value = word.partition("=")
        if key == "label" and not _has_label(record["Labels"], value):
            return False
        if key == "name" and value.strip("^$") not in record["Name"]:
            return False
        if key == "driver" and value != record["Driver"]:
            return False
    return True


async def _network_connect(call: Call, engine: DockerEngine, args: list[str]) -> int:
    given = options(args, values={"--alias", "--ip"})
    network, container = engine.network(given.rest[0]), engine.container(given.rest[1])
    if network["Name"] in container["NetworkSettings"]["Networks"] and container["State"]["Running"]:
        raise DaemonError(
            f"endpoint with name {container['Name'][1:]} already exists in network {network['Name']}"
        )
    engine.attach(container, network, given.every("--alias"), given.last("--ip"))
    return 0


async def _network_disconnect(call: Call, engine: DockerEngine, args: list[str]) -> int:
    given = options(args, same={"--force": "-f"})
    network, container = engine.network(given.rest[0]), engine.container(given.rest[1])
    if network["Name"] not in container["NetworkSettings"]["Networks"]:
        raise DaemonError(f"container {container['Id']} is not connected to network {network['Name']}")
    del container["NetworkSettings"]["Networks"][network["Name"]]
    network["Containers"].pop(container["Id"], None)
    return 0


async def _volume_create(call: Call, engine: DockerEngine, args: list[str]) -> int:
    given = options(
        args, values={"--driver", "--label", "--opt", "--name"}, same={"-d": "--driver", "-o": "--opt"}
    )
    name = (given.rest or [given.last("--name") or secrets.token_hex(32)])[0]
    labels = dict(label.partition("=")[::2] for label in given.every("--label"))
    call.say(
        engine.add_volume(
            name,
            labels,
            given.last("--driver", "local"),
            dict(word.partition("=")[::2] for word in given.every("--opt")),
        )["Name"]
    )
    return 0


async def _volume_rm(call: Call, engine: DockerEngine, args: list[str]) -> int:
    given, status = options(args, same={"--force": "-f"}), 0
    for name in given.rest:
        if name not in engine.volumes:
            if "-f" not in given:
                status = call.complain(f"Error response from daemon: get {name}: no such volume")
            else:
                call.say(name)
        elif engine.users_of(name):
            status = call.complain(
                f"Error response from daemon: remove {name}: volume is in use - "
                f"[{', '.join(engine.users_of(name))}]"
            )
        else:
            call.place.disk.remove(f"/var/lib/docker/volumes/{name}")
            del engine.volumes[name]
            call.say(name)
    return status


async def _volume_ls(call: Call, engine: DockerEngine, args: list[str]) -> int:
    given = options(args, values={"--filter", "--format"}, same={"-f": "--filter", "--quiet": "-q"})
    found = [volume for volume in engine.volumes.values() if _listed(volume, given)]
    if "-q" in given:
        call.out.extend("".join(f"{volume['Name']}\n" for volume in found).encode())
        return 0
    rows = [
        {
            **volume,
            "Labels": ",".join(f"{k}={v}" for k, v in (volume["Labels"] or {}).items()),
            "Size": "N/A",
            "Links": "N/A",
        }
        for volume in found
    ]
    return _table(call, given, rows, (("DRIVER", "Driver"), ("VOLUME NAME", "Name")))


async def _cp(call: Call, engine: DockerEngine, args: list[str]) -> int:
    given = options(args, same={"--archive": "-a", "--quiet": "-q"})
    source, target = given.rest
    ends = [
        (name.partition(":")[0], name.partition(":")[2]) if ":" in name else ("", name)
        for name in (source, target)
    ]
    disks = [engine.inside(engine.container(name)).disk if name else call.place.disk for name, _ in ends]
    start, stop = (
        ends[0][1] if ends[0][0] else call.path(source),
        ends[1][1] if ends[1][0] else call.path(target),
    )
    if not disks[0].exists(start):
        raise (
            DaemonError(f"Could not find the file {start} in container {ends[0][0]}")
            if ends[0][0]
            else Failed(f"lstat {start}: no such file or directory")
        )
    if disks[1].is_dir(stop):
        stop = posixpath.join(stop, posixpath.basename(start.rstrip("/")))
    for name, content in disks[0].copy_of(start).items():
        disks[1].write(posixpath.join(stop, name) if name else stop, content)
    return 0


async def _version(call: Call, engine: DockerEngine, args: list[str]) -> int:
    given, version = options(args, values={"--format"}, same={"-f": "--format"}), _number(call)
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


def _number(call: Call) -> str:
    from engine.sandbox.machines.packages import installed

    packages = installed(call.place)
    text = (
        packages.get("docker-ce")
        or packages.get("docker.io")
        or packages.get("docker")
        or packages.get("docker-ce-cli", "28.5.1")
    )
    return text.partition(":")[2].partition("-")[0] if ":" in text else text.partition("-")[0]


async def _info(call: Call, engine: DockerEngine, args: list[str]) -> int:
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
        "ServerVersion": _number(call),
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


async def _df(call: Call, engine: DockerEngine, args: list[str]) -> int:
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


async def _prune(call: Call, engine: DockerEngine, args: list[str]) -> int:
    for container in list(engine.containers.values()):
        if not container["State"]["Running"]:
            await engine.remove(container, force=False, volumes=False)
    call.say("Total reclaimed space: 0B")
    return 0


async def _image_prune(call: Call, engine: DockerEngine, args: list[str]) -> int:
    used = {container["Image"] for container in engine.containers.values()}
    every = "-a" in options(args, same={"--all": "-a"})
    for id, image in list(engine.images.items()):
        if id not in used and (every or not image["RepoTags"]):
            del engine.images[id]
    call.say("Total reclaimed space: 0B")
    return 0


async def _port(call: Call, engine: DockerEngine, args: list[str]) -> int:
    for port, ends in engine.container(args[0])["NetworkSettings"]["Ports"].items():
        for end in ends or ():
            call.say(f"{port} -> {end['HostIp']}:{end['HostPort']}")
    return 0


async def _top(call: Call, engine: DockerEngine, args: list[str]) -> int:
    container = engine.container(args[0])
    call.say(
        f"UID    PID    PPID   C   STIME   TTY   TIME       CMD\nroot   "
        f"{container['State']['Pid']}   1      0   00:00   ?     00:00:00   "
        f"{' '.join(words_of(container))}"
    )
    return 0


async def _search(call: Call, engine: DockerEngine, args: list[str]) -> int:
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
    return _table(
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


_VERBS: Mapping[str, Verb] = {
    "run": _run,
    "create": _create_only,
    "start": _start,
    "stop": _stop,
    "restart": _restart_verb,
    "kill": _kill,
    "rm": _rm,
    "ps": _ps,
    "wait": _wait,
    "rename": _rename,
    "update": _update,
    "logs": _logs,
    "exec": _exec,
    "attach": _attach,
    "inspect": _inspect_as(*_LOOKS),
    "images": _images,
    "pull": _pull_verb,
    "rmi": _rmi,
    "tag": _tag,
    "build": _build,
    "cp": _cp,
    "version": _version,
    "info": _info,
    "port": _port,
    "top": _top,
    "search": _search,
    "container run": _run,
    "container create": _create_only,
    "container start": _start,
    "container stop": _stop,
    "container kill": _kill,
    "container restart": _restart_verb,
    "container rm": _rm,
    "container ls": _ps,
    "container ps": _ps,
    "container list": _ps,
    "container logs": _logs,
    "container exec": _exec,
    "container inspect": _inspect_as("container"),
    "container rename": _rename,
    "container update": _update,
    "container wait": _wait,
    "container prune": _prune,
    "container cp": _cp,
    "container port": _port,
    "container attach": _attach,
    "image ls": _images,
    "image list": _images,
    "image pull": _pull_verb,
    "image rm": _rmi,
    "image inspect": _inspect_as("image"),
    "image tag": _tag,
    "image build": _build,
    "image prune": _image_prune,
    "buildx build": _build,
    "builder build": _build,
    "network create": _network_create,
    "network rm": _network_rm,
    "network ls": _network_ls,
    "network list": _network_ls,
    "network inspect": _inspect_as("network"),
    "network connect": _network_connect,
    "network disconnect": _network_disconnect,
    "volume create": _volume_create,
    "volume rm": _volume_rm,
    "volume ls": _volume_ls,
    "volume list": _volume_ls,
    "volume inspect": _inspect_as("volume"),
    "system df": _df,
    "system info": _info,
    "system prune": _prune,
}

_GROUPS = frozenset({"container", "image", "network", "volume", "system", "buildx", "builder"})


async def docker(call: Call) -> int:
    """docker VERB…: asks the daemon as whoever logged in may."""
    engine, args = call.place.docker, list(call.args)
    if engine is None:
        return call.complain("docker: command not found", 127)
    while args and args[0] in ("-H", "--host", "--context", "-l", "--log-level", "--config"):
        args = args[2:]
    if args[:1] in (["--version"], ["-v"]):
        call.say(f"Docker version {_number(call)}, build e180ab8")
        return 0
    if not args or args[0] in ("--help", "help"):
        call.say("Usage:  docker [OPTIONS] COMMAND\n\nA self-sufficient runtime for containers")
        return 0
    word, rest = args[0], args[1:]
    if word in _GROUPS and rest:
        word, rest = f"{word} {rest[0]}", rest[1:]
    if args == ["buildx", "version"] or args[:2] == ["compose", "version"]:
        call.say(
            "Docker Compose version v2.40.0" if args[0] == "compose" else "github.com/docker/buildx v0.29.1"
        )
        return 0
    verb = _VERBS.get(word)
    if verb is None:
        return call.complain(
            f"docker: unknown command: docker {word}\n\nRun 'docker --help' for more information"
        )
    refused = _refused(call, engine)
    if refused:
        if word == "version":
            call.say(f"Client: Docker Engine - Community\n Version:           {_number(call)}")
        return call.complain(
            f"docker: {refused}\n\nRun 'docker {word} --help' for more information"
            if word in ("run", "create")
            else refused,
            125 if word in ("run", "create") else 1,
        )
    return await verb(call, engine, rest)


def _refused(call: Call, engine: DockerEngine) -> str:
    if not call.login.is_root and "docker" not in call.login.groups:
        return (
            "permission denied while trying to connect to the Docker daemon socket at "
            "unix:///var/run/docker.sock: "
            'Head "http://%2Fvar%2Frun%2Fdocker.sock/_ping": dial unix '
            "/var/run/docker.sock: connect: permission denied"
        )
    if not engine.running:
        return (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the "
            "docker daemon running?"
        )
    return ""


COMMANDS: Mapping[str, Command] = {"docker": docker}
