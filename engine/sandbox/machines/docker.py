"""The docker command line: its verbs for containers, and where each verb leads; words as the real one's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from shlex import quote

from engine.sandbox.machines.command import Call, Command, Failed, Options, State, options
from engine.sandbox.machines.docker_create import (
    RUN_SAME,
    RUN_SWITCHES,
    RUN_VALUES,
    set_limits,
    unknown_option,
    wanted_container,
)
from engine.sandbox.machines.docker_show import (
    LOOKS,
    Verb,
    disk_usage,
    info,
    inspect_as,
    list_images,
    logs,
    print_logs,
    ps,
    search,
    show_ports,
    top,
    version,
    version_number,
)
from engine.sandbox.machines.docker_things import (
    build_image,
    copy,
    network_connect,
    network_create,
    network_disconnect,
    network_ls,
    network_rm,
    prune_containers,
    prune_images,
    remove_images,
    tag_image,
    volume_create,
    volume_ls,
    volume_rm,
)
from engine.sandbox.machines.engine import DaemonError, DockerEngine
from engine.sandbox.machines.images import full, short, split


async def _create(call: Call, engine: DockerEngine, args: list[str], verb: str) -> tuple[State, Options]:
    given = options(
        args, values=RUN_VALUES, switches=RUN_SWITCHES, same=RUN_SAME, stop=True, unknown=unknown_option(verb)
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
            raise Failed(f"docker: Error response from daemon: No such image: {full(reference)}", 125)
        if "--pull" not in given:
            call.complain(f"Unable to find image '{full(reference)}' locally")
        image = _pull(call, engine, reference, to_err=True, status=125)
    try:
        container = wanted_container(call, engine, given, image, reference, command)
        engine.add(container)
    except DaemonError as error:
        raise Failed(
            f"docker: {error.message}\n\nRun 'docker {verb} --help' for more information", 125
        ) from error
    return container, given


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
        print_logs(call, container)
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


async def _pause(call: Call, engine: DockerEngine, args: list[str]) -> int:
    async def act(container: State) -> None:
        if not container["State"]["Running"]:
            raise DaemonError(f"container {container['Id']} is not running")
        if container["State"]["Paused"]:
            raise DaemonError(f"container {container['Id']} is already paused")
        container["State"].update(Status="paused", Paused=True)

    return await _each(call, engine, args, act)


async def _unpause(call: Call, engine: DockerEngine, args: list[str]) -> int:
    async def act(container: State) -> None:
        if not container["State"]["Paused"]:
            raise DaemonError(f"Container {container['Id']} is not paused")
        container["State"].update(Status="running", Paused=False)

    return await _each(call, engine, args, act)


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
        set_limits(engine.container(name)["HostConfig"], given)
        call.say(name)
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
        call.say(f"docker.io/{'' if '/' in given.rest[0] else 'library/'}{full(given.rest[0])}")
    return 0


_VERBS: Mapping[str, Verb] = {
    "run": _run,
    "create": _create_only,
    "start": _start,
    "stop": _stop,
    "pause": _pause,
    "unpause": _unpause,
    "restart": _restart_verb,
    "kill": _kill,
    "rm": _rm,
    "ps": ps,
    "wait": _wait,
    "rename": _rename,
    "update": _update,
    "logs": logs,
    "exec": _exec,
    "attach": _attach,
    "inspect": inspect_as(*LOOKS),
    "images": list_images,
    "pull": _pull_verb,
    "rmi": remove_images,
    "tag": tag_image,
    "build": build_image,
    "cp": copy,
    "version": version,
    "info": info,
    "port": show_ports,
    "top": top,
    "search": search,
    "container run": _run,
    "container create": _create_only,
    "container start": _start,
    "container stop": _stop,
    "container kill": _kill,
    "container restart": _restart_verb,
    "container rm": _rm,
    "container ls": ps,
    "container ps": ps,
    "container list": ps,
    "container logs": logs,
    "container exec": _exec,
    "container inspect": inspect_as("container"),
    "container rename": _rename,
    "container update": _update,
    "container wait": _wait,
    "container prune": prune_containers,
    "container cp": copy,
    "container port": show_ports,
    "container attach": _attach,
    "image ls": list_images,
    "image list": list_images,
    "image pull": _pull_verb,
    "image rm": remove_images,
    "image inspect": inspect_as("image"),
    "image tag": tag_image,
    "image build": build_image,
    "image prune": prune_images,
    "buildx build": build_image,
    "builder build": build_image,
    "network create": network_create,
    "network rm": network_rm,
    "network ls": network_ls,
    "network list": network_ls,
    "network inspect": inspect_as("network"),
    "network connect": network_connect,
    "network disconnect": network_disconnect,
    "volume create": volume_create,
    "volume rm": volume_rm,
    "volume ls": volume_ls,
    "volume list": volume_ls,
    "volume inspect": inspect_as("volume"),
    "system df": disk_usage,
    "system info": info,
    "system prune": prune_containers,
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
        call.say(f"Docker version {version_number(call)}, build e180ab8")
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
            call.say(f"Client: Docker Engine - Community\n Version:           {version_number(call)}")
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
