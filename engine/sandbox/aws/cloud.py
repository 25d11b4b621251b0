"""The cloud as the rest of the sandbox sees it: moto started and mended, its state kept on disk."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import moto.backends

from engine.sandbox import private
from engine.sandbox.aws import (
    ACCOUNT,
    addresses,
    balancing,
    buckets,
    catalogue,
    checks,
    clusters,
    ecr,
    functions,
    http_apis,
    identity,
    launches,
    lifecycle,
    missing_requests,
    money,
    pickling,
    resource_types,
    rules,
    scaling,
    snapshot,
    spot,
    stacks,
    tags,
    teardown,
)
from engine.sandbox.aws.ecs_requests import Ecs
from engine.sandbox.aws.ecs_runner import Runner
from engine.sandbox.aws.guard import Guard
from engine.sandbox.kubernetes.api import PREFIX, Api
from engine.sandbox.sagemaker import service as sagemaker

if TYPE_CHECKING:
    from engine.sandbox.workloads.running import Workloads

_log = logging.getLogger(__name__)
_QUICK_SECONDS = 0.02
_LATE_SECONDS = 0.3


def _no_console(instance: str) -> str:
    return ""


def _no_disk(instance: str, image: str) -> None:
    return None


def _no_manifest(reference: str) -> bytes | None:
    return None


class Cloud:
    """One AWS account in all regions. `lock` must be held while its objects are looked at."""

    def __init__(self, state: Path, *, boot_seconds: float, ssh_seconds: float) -> None:
        pool = addresses.PublicAddresses()
        addresses.mend(pool)
        catalogue.mend()
        lifecycle.mend(boot_seconds=boot_seconds, ssh_seconds=ssh_seconds)
        launches.mend()
        buckets.mend()
        rules.mend()
        tags.mend()
        identity.mend()
        money.mend()
        missing_requests.mend()
        pickling.mend()
        balancing.mend(pool)
        scaling.mend()
        self.runner = Runner(pool)
        self.ecs = Ecs(self.runner)
        self.ecs.install()
        resource_types.mend()
        stacks.mend()
        self.registry_keys = ecr.Keys(state.parent / "registry.key")
        ecr.mend(lambda: self.registry, self.registry_keys)
        functions.mend(lambda reference: self.manifest_of(reference))
        http_apis.mend()
        kept = snapshot.restore(state, pool)
        self.restored = kept is not None
        self.watchers: list[Callable[[], None]] = []
        self.endpoint = ""
        """Where AWS answers: `http://127.0.0.1:5000`."""
        self.registry = ""
        """Where ECR's registry answers: `127.0.0.1:5000`."""
        self.manifest_of: Callable[[str], bytes | None] = _no_manifest
        """The manifest of an image in ECR by its whole name."""
        self.workloads: Workloads | None = None
        """What runs tasks and functions; set once there is something to run them."""
        self.runner.workloads = lambda: self.workloads
        sagemaker.mend(lambda: self.workloads)
        clusters.mend(
            lambda region, name: f"{self.endpoint}{PREFIX}{region}/{name}",
            lambda *place: self.kubernetes.forget(*place),
        )
        self._held = kept or snapshot.Held()
        self.resources = self._held.resources
        self._pool = pool
        self._snapshots = snapshot.Snapshots()
        self._state = state
        self._took = 0.0
        self._late: threading.Timer | None = None
        self.console: Callable[[str], str] = _no_console
        self.keep_disk: Callable[[str, str], None] = _no_disk
        afters = launches.afters(
            lambda instance: self.console(instance), lambda instance, image: self.keep_disk(instance, image)
        )
        afters |= rules.AFTER | tags.AFTER | spot.AFTER
        gates = checks.CHECKS | teardown.CHECKS | launches.CHECKS | rules.CHECKS | tags.CHECKS
        gates |= scaling.CHECKS
        self._guard = Guard(gates, afters, self._held.tokens, launches.settle, self.changed)
        self._guard.install()
        self.lock = self._guard.lock
        self.kubernetes = Api(ACCOUNT, self._held.objects, lambda: self.workloads, self.lock)

    def backends(self) -> dict[str, Any]:
        """The EC2 backends by region, of the regions in use."""
        return dict(moto.backends.get_backend("ec2")[ACCOUNT].items())

    def instances(self) -> list[Any]:
        """All instances of all regions, terminated ones too; under `lock`."""
        return [
            instance
            for backend in self.backends().values()
            for reservation in list(backend.reservations.values())
            for instance in reservation.instances
        ]

    def tick(self) -> None:
        """What AWS does without being asked: tasks start and end, services keep their number."""
        with self.lock:
            moved = self.ecs.tick()
        if moved:
            self.changed()

    def turn(self, instance: str, how: str) -> None:
        """The system on an instance has rebooted or powered off by itself; EC2 takes note."""
        with self.lock:
            [found] = [one for one in self.instances() if one.id == instance]
            lifecycle.turn(found, how)
        self.changed()

    def changed(self) -> None:
        """Something may have changed: kept on disk, at once where that is quick, and the watchers told."""
        for watcher in self.watchers:
            watcher()
        if self._took < _QUICK_SECONDS:
            self._save_if_possible()
        elif self._late is None:
            self._late = threading.Timer(_LATE_SECONDS, self._save_if_possible)
            self._late.daemon = True
            self._late.start()

    def _save_if_possible(self) -> None:
        """What was asked is done; that it cannot be kept (a full disk) is no reason to say it is not."""
        try:
            self.save()
        except OSError as error:
            _log.error("the state cannot be written to %s: %s", self._state, error)

    def save(self) -> None:
        """Writes the state to disk."""
        started = time.monotonic()
        with self.lock:
            self._late = None
            private.write(self._state, self._snapshots.take(self._pool, self._held))
        self._took = time.monotonic() - started
