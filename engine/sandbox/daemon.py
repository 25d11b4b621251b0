"""The background process: AWS in threads, machines and network in one event loop."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import signal
import sys
from pathlib import Path

from engine.sandbox import INFO, RUNNING, STATE, private
from engine.sandbox.aws import ACCOUNT, cloud_control
from engine.sandbox.aws.cloud import Cloud
from engine.sandbox.aws.lifecycle import TimedState
from engine.sandbox.aws.server import Endpoint
from engine.sandbox.aws.spot import Capacity
from engine.sandbox.balancers import Balancers
from engine.sandbox.containers import Fabric
from engine.sandbox.control import Control
from engine.sandbox.doors import S3Door
from engine.sandbox.fleet import Fleet, MakeMachine, simulated
from engine.sandbox.locks import held
from engine.sandbox.ports import listeners
from engine.sandbox.settings import Settings
from engine.sandbox.socks import Socks
from engine.sandbox.wires import Wires, keep
from engine.sandbox.works import LISTENERS, Works

TICK_SECONDS = 0.25
_log = logging.getLogger(__name__)


def main(folder: Path, settings: Settings, make: MakeMachine = simulated) -> None:
    """Runs the sandbox of `folder` until it is told to stop; returns at once where one runs already."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("engine").setLevel(logging.INFO)
    with held(folder / RUNNING, timeout=5) as mine:
        if not mine:
            sys.exit(f"another sandbox runs in {folder}")
        asyncio.run(_run(folder, settings, make))


async def _run(folder: Path, settings: Settings, make: MakeMachine) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    state = folder / STATE
    state.mkdir(mode=0o700, exist_ok=True)
    cloud = Cloud(state / "cloud", boot_seconds=settings.boot_seconds, ssh_seconds=settings.ssh_seconds)
    Capacity.none_of = settings.no_capacity
    fabric = Fabric(cloud, folder)
    fleet = Fleet(cloud, state / "machines", settings, fabric=fabric, make=make)
    wires = Wires(cloud, fleet)
    fleet.network = wires.network
    cloud.console = fleet.console
    cloud.keep_disk = lambda instance, image: _image(loop, fleet, instance, image)
    cloud.watchers.append(lambda: _tell(loop, fleet))
    socks = Socks(wires)
    listen = listeners(state / "ports.json", ("aws", "network", *LISTENERS))
    places = {name: f"127.0.0.1:{listener.getsockname()[1]}" for name, listener in listen.items()}
    cloud.endpoint = f"http://{places['aws']}"
    works = Works(cloud, folder, settings, listen, f"http://{places['aws']}")
    wires.services.append(works.service)
    wires.services.append(cloud.kubernetes.service)
    wires.services.append(S3Door(listen["aws"].getsockname()))
    balancers = Balancers(cloud, wires)
    wires.services.append(balancers.service)
    wires.tenants = balancers.tenant
    cloud.runner.forwards = fleet.forwards
    await socks.start(listen["network"])

    def settle(new: Settings) -> None:
        TimedState.boot_seconds, TimedState.ssh_seconds = new.boot_seconds, new.ssh_seconds
        Capacity.none_of = new.no_capacity
        loop.call_soon_threadsafe(fleet.settle, new)
        works.settle(new)
        info["settings"] = new.as_dict()
        private.write(folder / INFO, json.dumps(info).encode())

    secret, secret_id = secrets.token_urlsafe(24), secrets.token_hex(8)
    control = Control(secret, secret_id, lambda: _end(loop, ended), settle)
    own = {cloud_control.TARGET: cloud_control.CloudControl(ACCOUNT, cloud.resources)}
    endpoint = Endpoint(listen["aws"], control, cloud.lock, cloud.changed, own, cloud.kubernetes, works.apart)
    info = {
        "pid": os.getpid(),
        "aws_endpoint": f"http://{places['aws']}",
        "socks_proxy": places["network"],
        "docker_host": works.docker_host,
        "settings": settings.as_dict(),
        "secret": secret,
        "secret_id": secret_id,
    }
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _end(loop, ended))
    fleet.sync()
    keep(fabric.sweep(fleet.living()))
    endpoint.start()
    works.start()
    ticking = [keep(balancers.check()), keep(_tick(cloud))]
    private.write(folder / INFO, json.dumps(info).encode())
    _log.info("listening: AWS %s, network %s%s", info["aws_endpoint"], info["socks_proxy"], _kept(cloud))
    await ended.wait()
    (folder / INFO).unlink(missing_ok=True)
    for task in ticking:
        task.cancel()
    await asyncio.to_thread(endpoint.stop)
    await asyncio.to_thread(works.stop)
    await socks.stop()
    await fleet.stop()
    fabric.watch.close()
    cloud.save()
    _log.info("stopped")


async def _tick(cloud: Cloud) -> None:
    while True:
        await asyncio.sleep(TICK_SECONDS)
        await asyncio.to_thread(cloud.tick)


def _kept(cloud: Cloud) -> str:
    return ", with the state it had" if cloud.restored else ", empty"


def _tell(loop: asyncio.AbstractEventLoop, fleet: Fleet) -> None:
    loop.call_soon_threadsafe(fleet.sync)


def _image(loop: asyncio.AbstractEventLoop, fleet: Fleet, instance: str, image: str) -> None:
    loop.call_soon_threadsafe(fleet.image, instance, image)


def _end(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    loop.call_soon_threadsafe(ended.set)
