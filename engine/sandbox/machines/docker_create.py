"""Containers as `docker run` and `docker create` are asked for them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from engine.sandbox.machines.command import Call, Failed, Options, State
from engine.sandbox.machines.engine import NEVER, DaemonError, DockerEngine, now
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


RUN_VALUES = {
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


RUN_SWITCHES = {
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


RUN_SAME = {
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


def unknown_option(verb: str) -> Callable[[str], Exception]:
    """What a verb says to an option that it does not know."""

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
    """Bytes of `512m`. Raises Failed with docker's words."""
    factors = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
    plain = text.lower().removesuffix("b") if text.lower()[-2:-1] in factors else text.lower()
    try:
        return int(float(plain[:-1]) * factors[plain[-1]]) if plain[-1:] in factors else int(plain)
    except ValueError as error:
        raise Failed(
            f'invalid argument "{text}" for "-m, --memory" flag: invalid size: \'{text}\'', 125
        ) from error


def wanted_container(
    call: Call, engine: DockerEngine, given: Options, image: State, reference: str, command: list[str]
) -> State:
    """The record of a container as the options of `docker run` ask for it."""
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


def _restart_policy(text: str) -> State:
    """The policy that `--restart` names. Raises Failed."""
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


_LEAST_MEMORY = 6 << 20


def set_limits(host: State, given: Options) -> None:
    """What may be set when a container is made, and by `docker update`. Raises Failed."""
    if "--restart" in given:
        host["RestartPolicy"] = _restart_policy(given.last("--restart"))
    if "--memory" in given:
        host["Memory"] = _size(given.last("--memory"))
    if "--memory-swap" in given:
        swap = given.last("--memory-swap")
        host["MemorySwap"] = -1 if swap == "-1" else _size(swap)
    if "--cpus" in given:
        host["NanoCpus"] = int(float(given.last("--cpus")) * 1_000_000_000)
    if "--cpu-shares" in given:
        host["CpuShares"] = int(given.last("--cpu-shares"))


def _host_config(host: State, given: Options) -> None:
    set_limits(host, given)
    if 0 < host["Memory"] < _LEAST_MEMORY:
        raise DaemonError("Minimum memory limit allowed is 6MB", 125)
    if "--memory" in given and "--memory-swap" not in given:
        host["MemorySwap"] = 2 * host["Memory"]
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
