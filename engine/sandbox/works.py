"""What runs people's code in the sandbox, and what brings it there or leads to it.

Workloads and functions; the Docker Engine and the registry; the front of API Gateway's HTTP APIs.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.sandbox import STATE
from engine.sandbox.aws import ACCOUNT, functions, http_apis
from engine.sandbox.aws.ecr import EcrShelf
from engine.sandbox.machines.images import Registry
from engine.sandbox.settings import Settings
from engine.sandbox.streams import connected, unconnected
from engine.sandbox.web import Web
from engine.sandbox.wires import NoSuchHost
from engine.sandbox.workloads.engine_api import EngineApp
from engine.sandbox.workloads.functions import Functions
from engine.sandbox.workloads.http_api import Front
from engine.sandbox.workloads.images import Images
from engine.sandbox.workloads.registry import RegistryApp
from engine.sandbox.workloads.running import Workloads

if TYPE_CHECKING:
    from engine.sandbox.aws.cloud import Cloud

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]
HTTP_PORT = 80
LISTENERS = ("registry", "docker", "apis")


class Works:
    """Everything of one sandbox that has to do with images and running code."""

    def __init__(
        self,
        cloud: Cloud,
        folder: Path,
        settings: Settings,
        listen: Mapping[str, socket.socket],
        endpoint: str,
    ) -> None:
        """`listen` has a listening socket for each of LISTENERS, which are taken over.

        `endpoint` is where the sandbox's AWS answers.
        """
        images = Images(folder / STATE / "images")
        self.workloads = Workloads(folder, images)
        self.settle(settings)
        shelf = EcrShelf(ACCOUNT, cloud.lock, cloud.changed)
        images.manifest_of = lambda reference: shelf.named(reference, cloud.registry)
        cloud.manifest_of = images.manifest_of
        allowed = cloud.registry_keys.fits
        self._registry = Web(listen["registry"], RegistryApp(images.folder, images.blobs, shelf, allowed))
        cloud.registry = self._registry.place
        engine = EngineApp(self.workloads, shelf, allowed, lambda: cloud.registry)
        images.sweep(shelf.manifests(), engine.local.digests())
        self._engine = Web(listen["docker"], engine)
        self.docker_host = f"tcp://{self._engine.place}"
        """Where the Engine answers, as DOCKER_HOST has it."""
        cloud.workloads = self.workloads
        runs = Functions(self.workloads, endpoint)
        self._invocations = functions.Invocations(ACCOUNT, cloud, runs)
        cloud.watchers.append(self._invocations.sweep)
        self._front = Front(
            lambda region, id: http_apis.find(cloud, ACCOUNT, region, id),
            self._invocations.find,
            self._invocations.may_invoke,
            self._invocations.invoke,
        )
        self._apis = Web(listen["apis"], self._front)

    @property
    def apart(self) -> Mapping[re.Pattern[str], Application]:
        """The requests of AWS's API that run code, by their paths."""
        return {functions.INVOCATIONS: self._invocations}

    async def service(self, host: str, port: int, source: str) -> socket.socket | None:
        """A connection to an HTTP API by its name, as `engine.sandbox.wires.Service` is."""
        if not http_apis.NAME.fullmatch(host):
            raise NoSuchHost(host)
        if port != HTTP_PORT:
            raise ConnectionRefusedError
        place, _, own = self._apis.place.partition(":")
        line = unconnected()
        line.bind((place, 0))
        self._front.callers[line.getsockname()[1]] = source
        return await connected(line, (place, int(own)))

    def settle(self, settings: Settings) -> None:
        """Takes on new settings; what runs ends where nothing is to run any more."""
        self.workloads.enabled = settings.workloads == "processes"
        if not self.workloads.enabled:
            self.workloads.stop()
        self.workloads.images.known = Registry({image["name"]: image for image in settings.images})

    def start(self) -> None:
        """Begins to answer."""
        self._registry.start()
        self._engine.start()
        self._apis.start()

    def stop(self) -> None:
        """Ends everything that runs."""
        self._apis.stop()
        self._engine.stop()
        self._registry.stop()
        self.workloads.stop()
