"""What runs people's code in the sandbox, and what brings it there: workloads, the Engine, the registry."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from engine.sandbox.aws.cloud import ACCOUNT
from engine.sandbox.aws.ecr import EcrShelf
from engine.sandbox.machines.images import Registry
from engine.sandbox.settings import Settings
from engine.sandbox.workloads.engine_api import EngineApp
from engine.sandbox.workloads.images import Images
from engine.sandbox.workloads.registry import RegistryApp
from engine.sandbox.workloads.running import Workloads
from engine.sandbox.workloads.web import Web

if TYPE_CHECKING:
    from engine.sandbox.aws.cloud import Cloud

LISTENERS = ("registry", "docker")


class Works:
    """Everything of one sandbox that has to do with images and running code."""

    def __init__(
        self, cloud: Cloud, folder: Path, settings: Settings, listen: Mapping[str, socket.socket]
    ) -> None:
        """`listen` has a listening socket for each of LISTENERS, which are taken over."""
        images = Images(folder / "images", Registry({image["name"]: image for image in settings.images}))
        self.workloads = Workloads(folder, images)
        self.settle(settings)
        shelf = EcrShelf(ACCOUNT, cloud.lock, cloud.changed)
        images.manifest_of = lambda reference: shelf.named(reference, cloud.registry)
        allowed = cloud.registry_keys.fits
        self._registry = Web(listen["registry"], RegistryApp(images.folder, images.blobs, shelf, allowed))
        cloud.registry = self._registry.place
        engine = EngineApp(self.workloads, shelf, allowed, lambda: cloud.registry)
        self._engine = Web(listen["docker"], engine)
        self.docker_host = f"tcp://{self._engine.place}"
        """Where the Engine answers, as DOCKER_HOST has it."""
        cloud.workloads = self.workloads

    def settle(self, settings: Settings) -> None:
        """Takes on new settings, for what is started from now on."""
        self.workloads.enabled = settings.workloads == "processes"
        known = {image["name"]: image for image in settings.images}
        self.workloads.images.known = Registry(known)

    def start(self) -> None:
        """Begins to answer."""
        self._registry.start()
        self._engine.start()

    def stop(self) -> None:
        """Ends everything that runs."""
        self._engine.stop()
        self._registry.stop()
        self.workloads.stop()
