"""Images, networks and volumes: docker build, rmi, tag, network, volume, cp."""

from __future__ import annotations

import posixpath
import secrets
import tarfile

from engine.sandbox.machines.build import Build
from engine.sandbox.machines.command import Call, Failed, Options, State, options
from engine.sandbox.machines.docker_show import has_label, print_table
from engine.sandbox.machines.dockerfile import Context
from engine.sandbox.machines.engine import DaemonError, DockerEngine
from engine.sandbox.machines.images import full


async def remove_images(call: Call, engine: DockerEngine, args: list[str]) -> int:
    """docker rmi."""
    given, status = options(args, same={"--force": "-f"}), 0
    for name in given.rest:
        try:
            for line in engine.remove_image(name, "-f" in given):
                call.say(line)
        except DaemonError as error:
            call.complain(error.message)
            status = 0 if "-f" in given and "No such image" in error.message else 1
    return status


async def tag_image(call: Call, engine: DockerEngine, args: list[str]) -> int:
    """docker tag."""
    image = engine.image(args[0])
    if image is None:
        raise DaemonError(f"No such image: {full(args[0])}")
    engine.tag(image, args[1])
    return 0


async def build_image(call: Call, engine: DockerEngine, args: list[str]) -> int:
    """docker build."""
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


async def network_create(call: Call, engine: DockerEngine, args: list[str]) -> int:
    """docker network create."""
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


async def network_rm(call: Call, engine: DockerEngine, args: list[str]) -> int:
    """docker network rm."""
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


async def network_ls(call: Call, engine: DockerEngine, args: list[str]) -> int:
    """docker network ls."""
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
    return print_table(
        call, given, rows, (("NETWORK ID", "ID"), ("NAME", "Name"), ("DRIVER", "Driver"), ("SCOPE", "Scope"))
    )


def _listed(record: State, given: Options) -> bool:
    for word in given.every("--filter"):
        key, _, value = word.partition("=")
        if key == "label" and not has_label(record["Labels"], value):
            return False
        if key == "name" and value.strip("^$") not in record["Name"]:
            return False
        if key == "driver" and value != record["Driver"]:
            return False
    return True


async def network_connect(call: Call, engine: DockerEngine, args: list[str]) -> int:
    """docker network connect."""
    given = options(args, values={"--alias", "--ip"})
    network, container = engine.network(given.rest[0]), engine.container(given.rest[1])
    if network["Name"] in container["NetworkSettings"]["Networks"] and container["State"]["Running"]:
        raise DaemonError(
            f"endpoint with name {container['Name'][1:]} already exists in network {network['Name']}"
        )
    engine.attach(container, network, given.every("--alias"), given.last("--ip"))
    return 0


async def network_disconnect(call: Call, engine: DockerEngine, args: list[str]) -> int:
    """docker network disconnect."""
    given = options(args, same={"--force": "-f"})
    network, container = engine.network(given.rest[0]), engine.container(given.rest[1])
    if network["Name"] not in container["NetworkSettings"]["Networks"]:
        raise DaemonError(f"container {container['Id']} is not connected to network {network['Name']}")
    del container["NetworkSettings"]["Networks"][network["Name"]]
    network["Containers"].pop(container["Id"], None)
    return 0


async def volume_create(call: Call, engine: DockerEngine, args: list[str]) -> int:
    """docker volume create."""
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


async def volume_rm(call: Call, engine: DockerEngine, args: list[str]) -> int:
    """docker volume rm."""
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


async def volume_ls(call: Call, engine: DockerEngine, args: list[str]) -> int:
    """docker volume ls."""
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
    return print_table(call, given, rows, (("DRIVER", "Driver"), ("VOLUME NAME", "Name")))


async def copy(call: Call, engine: DockerEngine, args: list[str]) -> int:
    """docker cp."""
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


async def prune_containers(call: Call, engine: DockerEngine, args: list[str]) -> int:
    """docker container prune."""
    for container in list(engine.containers.values()):
        if not container["State"]["Running"]:
            await engine.remove(container, force=False, volumes=False)
    call.say("Total reclaimed space: 0B")
    return 0


async def prune_images(call: Call, engine: DockerEngine, args: list[str]) -> int:
    """docker image prune."""
    used = {container["Image"] for container in engine.containers.values()}
    every = "-a" in options(args, same={"--all": "-a"})
    for id, image in list(engine.images.items()):
        if id not in used and (every or not image["RepoTags"]):
            del engine.images[id]
    call.say("Total reclaimed space: 0B")
    return 0
