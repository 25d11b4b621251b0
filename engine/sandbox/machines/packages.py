"""What is installed on a machine: what packages bring, and take along when they go."""

from __future__ import annotations

from collections.abc import Mapping

from engine.sandbox.machines import users
from engine.sandbox.machines.catalogue import BASE, DOCKER, IMAGE_BASE, MAIN, Package
from engine.sandbox.machines.command import Call, Command
from engine.sandbox.machines.place import Place


def installed(place: Place) -> dict[str, str]:
    """Versions of what is installed, by name."""
    found: dict[str, str] = place.state.setdefault("packages", {})
    return found


BASE_UNITS = tuple(unit for name in BASE for unit in MAIN[name].units)
"""The services that a fresh machine starts at boot."""


def install_base(place: Place, *, image: bool = False) -> None:
    """What a fresh machine, or a fresh container image, comes with."""
    for name in IMAGE_BASE if image else BASE:
        unpack(place, name, MAIN[name])


def version_of(place: Place, package: Package) -> str:
    """A package's version, which may have the system's release in it."""
    system = place.system
    return package.version.format(release=f"{system.id}.{system.version}~{system.codename}")


def unpack(place: Place, name: str, package: Package) -> None:
    """Installs a package under a name; nothing is started."""
    installed(place)[name] = version_of(place, package)
    place.state.setdefault("configured", {}).pop(name, None)
    for command in package.commands:
        place.disk.write(f"/usr/bin/{command}", f'#!/bin/sh\n@{command} "$@"\n', 0o755)
    for group in package.groups:
        users.add_group(place, group, system=True)
    for unit in package.units:
        text = (
            f"[Unit]\nDescription={_DESCRIPTIONS.get(unit, unit)}\n\n[Service]\nType=notify\n"
            f"ExecStart=/usr/bin/{unit}\n"
        )
        place.disk.write(
            f"/usr/lib/systemd/system/{unit}.service", text + "\n[Install]\nWantedBy=multi-user.target\n"
        )
    if name == "nginx":
        place.disk.write("/var/www/html/index.nginx-debian.html", _WELCOME)
        place.disk.write("/usr/sbin/nginx", place.disk.read("/usr/bin/nginx"), 0o755)


_DESCRIPTIONS = {
    "docker": "Docker Application Container Engine",
    "containerd": "containerd container runtime",
    "nginx": "A high performance web server and a reverse proxy server",
    "apache2": "The Apache HTTP Server",
    "ssh": "OpenBSD Secure Shell server",
    "cron": "Regular background program processing daemon",
}

_WELCOME = (
    "<!DOCTYPE html>\n<html>\n<head>\n<title>Welcome to "
    "nginx!</title>\n</head>\n<body>\n<h1>Welcome to nginx!</h1>\n</body>\n</html>\n"
)


async def settle_units(place: Place) -> None:
    """Starts the units that have come and ends those that have gone; in containers nothing would."""
    fresh, gone = place.state.pop("fresh_units", []), place.state.pop("gone_units", [])
    services = place.services
    if services is None:
        return
    for name in fresh:
        services.enable(name)
        await services.start(name)
    for name in gone:
        await services.stop(name)
        services.disable(name)
        place.disk.remove(f"/usr/lib/systemd/system/{name}.service")


def take_away(place: Place, name: str, package: Package, *, purge: bool) -> None:
    """Removes what is installed under a name; its units go with `settle_units`."""
    version = installed(place).pop(name)
    if not purge and package.units:
        place.state.setdefault("configured", {})[name] = version
    for command in package.commands:
        place.disk.remove(f"/usr/bin/{command}")
    if name == "nginx":
        place.disk.remove("/usr/sbin/nginx")
    place.state.setdefault("gone_units", []).extend(package.units)


async def tool(call: Call) -> int:
    """A command that a package brings and whose work is not simulated: it tells its version."""
    if call.args[:1] in (["--version"], ["-v"], ["-V"], ["version"]):
        call.say(f"{call.name} (simulated)")
        return 0
    return call.complain(f"{call.name}: simulated machines have this command only by name")


PACKAGED: Mapping[str, Command] = dict.fromkeys(
    sorted({command for package in {**MAIN, **DOCKER}.values() for command in package.commands} - {"docker"}),
    tool,
)
