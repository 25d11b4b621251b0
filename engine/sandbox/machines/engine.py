"""The Docker Engine of a simulated machine: images, containers, networks, volumes, kept as plain data."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.sandbox.machines import processes
from engine.sandbox.machines.command import Failed, Handler, Result, State
from engine.sandbox.machines.images import Registry, digest, short, split
from engine.sandbox.machines.network import served

if TYPE_CHECKING:
    from engine.sandbox.machines.place import Place

NEVER = "0001-01-01T00:00:00Z"


def now() -> str:
    """The time as Docker writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{time.time_ns() % 1_000_000_000:09}Z"


class DaemonError(Failed):
    """What the daemon refuses, in its words."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(f"Error response from daemon: {message}", status)
        self.plain = message


class DockerEngine:
    """Images, containers, networks and volumes of one machine."""

    def __init__(self, place: Place, more_images: Mapping[str, Any]) -> None:
        self.place = place
        self.registry = Registry(more_images)
        self.images: dict[str, State] = {}
        self.containers: dict[str, State] = {}
        self.networks: dict[str, State] = {}
        self.volumes: dict[str, State] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.places: dict[str, processes.ContainerPlace] = {}
        self._saved = ""
        self._folder: Path | None = None

    @property
    def running(self) -> bool:
        """Whether the daemon answers."""
        return self.place.services is not None and self.place.services.is_active("docker")

    # -- keeping -------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Keep everything in `folder`, where something changed."""
        for id, place in self.places.items():
            (folder / "containers").mkdir(exist_ok=True)
            place.disk.save(folder / "containers" / f"{id}.tar")
        text = json.dumps([self.images, self.containers, self.networks, self.volumes])
        if text == self._saved:
            return
        temporary = folder / "docker.json.new"
        temporary.write_text(text)
        os.replace(temporary, folder / "docker.json")
        self._saved = text
        for file in (folder / "containers").glob("*.tar"):
            if file.stem not in self.containers:
                file.unlink()

    def load(self, folder: Path) -> None:
        """Bring back what `save` kept."""
        file = folder / "docker.json"
        if not file.exists():
            return
        self._saved = file.read_text()
        self.images, self.containers, self.networks, self.volumes = json.loads(self._saved)
        # Their disks are read when first needed.
        self._folder = folder / "containers"

    async def boot(self) -> None:
        """The daemon comes up: networks of its own, and containers by their restart policy."""
        if not self.running:
            return
        for name, driver, subnet in (
            ("bridge", "bridge", "172.17.0.0/16"),
            ("host", "host", ""),
            ("none", "null", ""),
        ):
            if name not in self.networks:
                self.add_network(name, driver, subnet)
        for container in list(self.containers.values()):
            policy = container["HostConfig"]["RestartPolicy"]["Name"]
            wanted = container["Sandbox"].get("up", False)
            stopped = container["Sandbox"].get("stopped", False)
            if wanted and (policy == "always" or (policy == "unless-stopped" and not stopped)):
                await self.start(container)

    async def halt(self) -> None:
        """The daemon goes down: what runs is killed, to be started again as its policy says."""
        for container in self.containers.values():
            if container["State"]["Running"]:
                self._ended(container, 137 if container["Config"]["Tty"] else 0)
                container["Sandbox"]["up"] = True

    # -- images --------------------------------------------------------------------------------------------

    def image(self, reference: str) -> State | None:
        """The local image that a name, id or digest means."""
        plain = reference.removeprefix("sha256:")
        for id, image in self.images.items():
            if len(plain) >= 4 and id.removeprefix("sha256:").startswith(plain):
                return image
        repository, tag = split(reference)
        wanted = f"{short(repository)}@{tag}" if tag.startswith("sha256:") else f"{short(repository)}:{tag}"
        for image in self.images.values():
            if wanted in image["RepoTags"] or wanted in image["RepoDigests"]:
                return image
        return None

    def pull(self, reference: str) -> tuple[State, bool]:
        """Fetch an image; whether it was new. Raises DaemonError in the registry's words."""
        repository, tag = split(reference)
        name = short(repository)
        if not self.place.network.internet():
            raise DaemonError(
                'Get "https://registry-1.docker.io/v2/": net/http: request canceled '
                "while waiting for connection "
                "(Client.Timeout exceeded while awaiting headers)"
            )
        if not self.registry.has(repository):
            raise DaemonError(
                f"pull access denied for {name}, repository does not exist or may require 'docker login': "
                "denied: requested access to the resource is denied"
            )
        found = self.registry.image(repository, tag)
        if found is None:
            raise DaemonError(f"manifest for {name}:{tag} not found: manifest unknown: manifest unknown")
        known = found["Id"] in self.images and f"{name}:{tag}" in self.images[found["Id"]]["RepoTags"]
        image = self.images.setdefault(found["Id"], {**found, "RepoTags": [], "RepoDigests": []})
        if not tag.startswith("sha256:"):
            self.tag(image, f"{name}:{tag}")
        if f"{name}@{found['Digest']}" not in image["RepoDigests"]:
            image["RepoDigests"].append(f"{name}@{found['Digest']}")
        return image, not known

    def tag(self, image: State, name: str) -> None:
        """Give the image a name; whatever had it loses it."""
        repository, tag = split(name)
        full = f"{short(repository)}:{tag}"
        for other in self.images.values():
            if full in other["RepoTags"]:
                other["RepoTags"].remove(full)
        image["RepoTags"].append(full)

    def remove_image(self, reference: str, force: bool) -> list[str]:
        """Remove a name, and the image with its last one; what docker prints. Raises DaemonError."""
        image = self.image(reference)
        if image is None:
            raise DaemonError(f"No such image: {reference if ':' in reference else reference + ':latest'}")
        by_id = image["Id"].removeprefix("sha256:").startswith(reference.removeprefix("sha256:"))
        repository, tag = split(reference)
        name = f"{short(repository)}:{tag}"
        if not by_id and len(image["RepoTags"]) > 1:
            image["RepoTags"].remove(name)
            return [f"Untagged: {name}"]
        if by_id and len(image["RepoTags"]) > 1 and not force:
            raise DaemonError(
                f"conflict: unable to delete {image['Id'][7:19]} (must be forced) - image "
                f"is referenced in multiple repositories"
            )
        for container in self.containers.values():
            if container["Image"] == image["Id"] and (container["State"]["Running"] or not force):
                state = "running" if container["State"]["Running"] else "stopped"
                word = "cannot be forced" if container["State"]["Running"] else "must be forced"
                what = (
                    f'remove repository reference "{reference}"'
                    if not by_id
                    else f"delete {image['Id'][7:19]}"
                )
                raise DaemonError(
                    f"conflict: unable to {what} ({word}) - container "
                    f"{container['Id'][:12]} is using its referenced image "
                    f"{image['Id'][7:19]}"
                    if not by_id
                    else (
                        f"conflict: unable to {what} ({word}) - image is being used by "
                        f"{state} container {container['Id'][:12]}"
                    )
                )
        del self.images[image["Id"]]
        return [*(f"Untagged: {tag}" for tag in image["RepoTags"]), f"Deleted: {image['Id']}"]

    # -- networks and volumes ------------------------------------------------------------------------------

    def add_network(
        self,
        name: str,
        driver: str = "bridge",
        subnet: str = "",
        labels: Mapping[str, str] | None = None,
        internal: bool = False,
        options: Mapping[str, str] | None = None,
        gateway: str = "",
    ) -> State:
        """Make a network. Raises DaemonError where the name is taken."""
        if any(network["Name"] == name for network in self.networks.values()):
            raise DaemonError(f"network with name {name} already exists")
        taken = {
            config["Subnet"] for network in self.networks.values() for config in network["IPAM"]["Config"]
        }
        if not subnet and driver == "bridge":
            subnet = next(
                f"172.{number}.0.0/16" for number in range(18, 32) if f"172.{number}.0.0/16" not in taken
            )
        if subnet and any(
            ipaddress.ip_network(subnet).overlaps(ipaddress.ip_network(other)) for other in taken
        ):
            raise DaemonError("invalid pool request: Pool overlaps with other one on this address space")
        first = gateway or (str(next(ipaddress.ip_network(subnet).hosts())) if subnet else "")
        id = secrets.token_hex(32)
        network: State = {
            "Name": name,
            "Id": id,
            "Created": now(),
            "Scope": "local",
            "Driver": driver,
            "EnableIPv4": True,
            "EnableIPv6": False,
            "IPAM": {
                "Driver": "default",
                "Options": {},
                "Config": [{"Subnet": subnet, "Gateway": first}] if subnet else [],
            },
            "Internal": internal,
            "Attachable": False,
            "Ingress": False,
            "ConfigFrom": {"Network": ""},
            "ConfigOnly": False,
            "Containers": {},
            "Options": dict(options or {}),
            "Labels": dict(labels or {}),
        }
        self.networks[name] = network
        return network

    def network(self, reference: str) -> State:
        """The network that a name or id means. Raises DaemonError."""
        for network in self.networks.values():
            if reference == network["Name"] or (len(reference) >= 4 and network["Id"].startswith(reference)):
                return network
        raise DaemonError(f"network {reference} not found")

    def attach(
        self, container: State, network: State, aliases: list[str] | None = None, address: str = ""
    ) -> None:
        """Connect a container to a network; it gets an address while it runs."""
        networks = container["NetworkSettings"]["Networks"]
        networks[network["Name"]] = {
            "Aliases": aliases or [],
            "NetworkID": network["Id"],
            "IPAddress": address,
            "Gateway": "",
            "MacAddress": "",
            "IPAMConfig": {"IPv4Address": address} if address else None,
        }
        for name in sorted(networks):  # Docker shows them by name
            networks[name] = networks.pop(name)
        if container["State"]["Running"]:
            self._address(container, network["Name"])

    def _address(self, container: State, name: str) -> None:
        end, network = container["NetworkSettings"]["Networks"][name], self.networks[name]
        config = network["IPAM"]["Config"]
        if config:
            used = {
                other["NetworkSettings"]["Networks"].get(name, {}).get("IPAddress")
                for other in self.containers.values()
                if other is not container
            }
            hosts = ipaddress.ip_network(config[0]["Subnet"]).hosts()
            fixed = (end.get("IPAMConfig") or {}).get("IPv4Address")
            end["Gateway"] = config[0]["Gateway"]
            end["IPAddress"] = fixed or next(
                str(host) for host in hosts if str(host) not in used | {config[0]["Gateway"]}
            )
        network["Containers"][container["Id"]] = {
            "Name": container["Name"][1:],
            "IPv4Address": f"{end['IPAddress']}/{config[0]['Subnet'].partition('/')[2]}" if config else "",
        }
        if name == "bridge":
            container["NetworkSettings"]["IPAddress"] = end["IPAddress"]

    def add_volume(
        self,
        name: str,
        labels: Mapping[str, str] | None = None,
        driver: str = "local",
        options: Mapping[str, str] | None = None,
        anonymous: bool = False,
    ) -> State:
        """Make a volume, or give the one that has the name."""
        if name not in self.volumes:
            mount = f"/var/lib/docker/volumes/{name}/_data"
            self.place.disk.mkdir(mount, 0o755)
            marks = {**(labels or {}), **({"com.docker.volume.anonymous": ""} if anonymous else {})}
            self.volumes[name] = {
                "CreatedAt": now().split(".")[0] + "Z",
                "Driver": driver,
                "Labels": marks or None,
                "Mountpoint": mount,
                "Name": name,
                "Options": dict(options or {}) or None,
                "Scope": "local",
            }
        return self.volumes[name]

    def users_of(self, volume: str) -> list[str]:
        """The ids of containers that mount the volume."""
        return [
            id
            for id, container in self.containers.items()
            if volume in (mount.get("Name") for mount in container["Mounts"])
        ]

    # -- containers ----------------------------------------------------------------------------------------

    def container(self, reference: str, what: str = "container") -> State:
        """The container that a name or the beginning of an id means. Raises DaemonError."""
        for container in self.containers.values():
            if container["Name"] == f"/{reference.removeprefix('/')}":
                return container
        found = [container for id, container in self.containers.items() if id.startswith(reference)]
        if len(found) == 1 and reference:
            return found[0]
        raise DaemonError(f"No such {what}: {reference}")

    def add(self, container: State) -> None:
        """Take a new container on. Raises DaemonError where its name is taken."""
        for other in self.containers.values():
            if other["Name"] == container["Name"]:
                raise DaemonError(
                    f'Conflict. The container name "{container["Name"]}" is already in '
                    f'use by container "{other["Id"]}". '
                    "You have to remove (or rename) that container to be able to reuse that name."
                )
        self.containers[container["Id"]] = container
        self.inside(container)

    def _image_of(self, container: State) -> State:
        # An image removed by force goes on living in its containers.
        kept: State = container["Sandbox"]["image"]
        return self.images.get(container["Image"], {**kept, "Files": {}})

    def inside(self, container: State) -> processes.ContainerPlace:
        """The container's own filesystem and commands."""
        place = self.places.get(container["Id"])
        if place is None:
            kept = self._folder / f"{container['Id']}.tar" if self._folder else None
            kept = kept if kept is not None and kept.exists() else None
            image = self._image_of(container)
            place = self.places[container["Id"]] = processes.ContainerPlace(self, container, image, kept)
        return place

    async def start(self, container: State, stdin: bytes = b"", wait: bool = False) -> Result | None:
        """Start it. What ends at once is run to its end (`wait`, or it is quick); its output is in its log.

        Raises DaemonError where a port is taken or a network is gone.
        """
        if container["State"]["Running"]:
            return None
        self._claim_ports(container)
        for name in container["NetworkSettings"]["Networks"]:
            if name not in self.networks:
                raise DaemonError(f"network {name} not found")
            self._address(container, name)
        started = now()
        container["State"].update(
            Status="running",
            Running=True,
            Pid=2000 + len(self.containers),
            ExitCode=0,
            Error="",
            StartedAt=started,
            FinishedAt=container["State"]["FinishedAt"],
        )
        container["Sandbox"].update(up=True, stopped=False, token=secrets.token_hex(24))
        container["NetworkSettings"]["Ports"] = self._port_map(container)
        process = processes.process_of(container, self._image_of(container), self.inside(container).has)
        if process.missing:
            self._ended(container, 127)
            raise DaemonError(process.missing, 127)
        self._health(container)
        if process.log:
            self.log(container, process.log)
        if process.stays:
            return None
        if wait or process.script is None:
            return await self._run(container, process, stdin)
        task = asyncio.ensure_future(self._in_background(container, process))
        self.tasks[container["Id"]] = task
        await asyncio.wait({task}, timeout=0.3)
        return None

    async def _in_background(self, container: State, process: processes.Process) -> None:
        await self._run(container, process, b"")

    async def _run(self, container: State, process: processes.Process, stdin: bytes) -> Result:
        if process.script is None:
            result = Result(process.status, process.output.encode(), process.errors.encode())
        else:
            result = await self.inside(container).run(process.script, stdin=stdin)
        self.log(container, result.stdout.decode(errors="replace"))
        self.log(container, result.stderr.decode(errors="replace"), "stderr")
        if container["State"]["Running"]:
            self._ended(container, result.status)
            await self._again(container, result.status)
        return result

    async def _again(self, container: State, status: int) -> None:
        """The restart policy after an end of its own: such a container is seen as restarting."""
        policy = container["HostConfig"]["RestartPolicy"]
        if policy["Name"] in ("always", "unless-stopped") or (policy["Name"] == "on-failure" and status):
            container["RestartCount"] += 1
            limit = policy.get("MaximumRetryCount", 0)
            if not limit or container["RestartCount"] < limit:
                container["State"].update(Status="restarting", Running=True, Restarting=True, ExitCode=status)
        elif container["HostConfig"]["AutoRemove"]:
            await self.remove(container, force=True, volumes=True)

    def _health(self, container: State) -> None:
        check = container["Config"].get("Healthcheck")
        if check and check.get("Test", ["NONE"])[0] != "NONE":
            container["State"]["Health"] = {"Status": "starting", "FailingStreak": 0, "Log": []}

    async def check_health(self, container: State) -> None:
        """Run the container's health check, if it has one and runs."""
        check = container["Config"].get("Healthcheck")
        if not container["State"]["Running"] or "Health" not in container["State"] or not check:
            return
        words = check["Test"]
        script = (
            " ".join(words[1:]) if words[0] == "CMD-SHELL" else " ".join(f"'{word}'" for word in words[1:])
        )
        result = await self.inside(container).run(script)
        container["State"]["Health"]["Status"] = "unhealthy" if result.status else "healthy"
        container["State"]["Health"]["Log"] = [
            {"ExitCode": result.status, "Output": result.stdout.decode(errors="replace")}
        ]

    def log(self, container: State, text: str, stream: str = "stdout") -> None:
        """Add to what `docker logs` shows."""
        if text:
            container["Sandbox"].setdefault("log", []).append([stream, text, now()])
            del container["Sandbox"]["log"][:-400]

    def _ended(self, container: State, status: int) -> None:
        container["State"].update(
            Status="exited", Running=False, Restarting=False, Pid=0, ExitCode=status, FinishedAt=now()
        )
        container["State"].pop("Health", None)
        container["Sandbox"]["up"] = False
        for name, end in container["NetworkSettings"]["Networks"].items():
            end.update(IPAddress="", Gateway="")
            if name in self.networks:
                self.networks[name]["Containers"].pop(container["Id"], None)
        container["NetworkSettings"].update(IPAddress="", Ports={})
        task = self.tasks.pop(container["Id"], None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def stop(self, container: State, status: int | None = None) -> None:
        """Stop it; quiet where it does not run."""
        if container["State"]["Running"]:
            process = processes.process_of(container, self._image_of(container))
            self._ended(container, process.stop_status if status is None else status)
        container["Sandbox"].update(
            stopped=True, up=container["HostConfig"]["RestartPolicy"]["Name"] == "always"
        )

    async def remove(self, container: State, *, force: bool, volumes: bool) -> None:
        """Remove it. Raises DaemonError where it runs and `force` is off."""
        if container["State"]["Running"] and not force:
            raise DaemonError(
                f'cannot remove container "{container["Name"]}": container is running: '
                f"stop the container before removing "
                "or force remove"
            )
        if container["State"]["Running"]:
            self._ended(container, 137)
        self.containers.pop(container["Id"], None)
        self.places.pop(container["Id"], None)
        for mount in container["Mounts"] if volumes or container["HostConfig"]["AutoRemove"] else ():
            name = mount.get("Name", "")
            if name in self.volumes and "com.docker.volume.anonymous" in (self.volumes[name]["Labels"] or {}):
                self.place.disk.remove(f"/var/lib/docker/volumes/{name}")
                del self.volumes[name]

    # -- ports ---------------------------------------------------------------------------------------------

    def _port_map(self, container: State) -> dict[str, Any]:
        found: dict[str, Any] = {}
        bindings = container["HostConfig"]["PortBindings"]
        for port in [*(container["Config"].get("ExposedPorts") or {}), *bindings]:
            found[port] = None
        for port, binds in bindings.items():
            found[port] = [
                {
                    "HostIp": bind["HostIp"] or "0.0.0.0",
                    "HostPort": bind["HostPort"] or str(32768 + len(self.containers)),
                }
                for bind in binds
            ]
        return found

    def _claim_ports(self, container: State) -> None:
        own = served(self.place)
        for port, binds in container["HostConfig"]["PortBindings"].items():
            for bind in binds:
                if port.endswith("/tcp") and int(bind["HostPort"] or 0) in own:
                    raise DaemonError(
                        f"failed to set up container networking: driver failed programming external "
                        f"connectivity on endpoint {container['Name'][1:]} ({secrets.token_hex(32)}): "
                        f"failed to bind host port {bind['HostIp'] or '0.0.0.0'}:{bind['HostPort']}/tcp: "
                        f"address already in use",
                        125,
                    )
                for other in self.containers.values():
                    taken = [
                        item["HostPort"]
                        for ends in other["NetworkSettings"]["Ports"].values()
                        for item in ends or ()
                    ]
                    if other is not container and other["State"]["Running"] and bind["HostPort"] in taken:
                        raise DaemonError(
                            f"failed to set up container networking: driver failed "
                            f"programming external connectivity on "
                            f"endpoint {container['Name'][1:]} ({secrets.token_hex(32)}): Bind for "
                            f"{bind['HostIp'] or '0.0.0.0'}:{bind['HostPort']} failed: "
                            f"port is already allocated",
                            125,
                        )

    def published(self) -> dict[int, Handler]:
        """Ports of the machine behind which a container answers."""
        found: dict[int, Handler] = {}
        for container in self.containers.values():
            if not container["State"]["Running"]:
                continue
            if container["HostConfig"]["NetworkMode"] == "host":
                for port in container["Config"].get("ExposedPorts") or {}:
                    found[int(port.split("/")[0])] = self.inside(container).handler(int(port.split("/")[0]))
            for port, ends in container["NetworkSettings"]["Ports"].items():
                for end in ends or ():
                    if end["HostIp"] not in ("127.0.0.1", "::1") and port.endswith("/tcp"):
                        found[int(end["HostPort"])] = self.inside(container).handler(int(port.split("/")[0]))
        return found

    def content_id(self, *parts: object) -> str:
        """An id made from content, so that the same build gives the same image."""
        return digest(json.dumps(parts, sort_keys=True, default=str))
