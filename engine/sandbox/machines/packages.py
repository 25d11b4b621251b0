"""apt, dpkg and a little dnf over the catalogue of packages; nothing is fetched without a way out."""

from __future__ import annotations

import fnmatch
import re
import time
from collections.abc import Mapping, Sequence

from engine.sandbox.machines import users
from engine.sandbox.machines.catalogue import BASE, DOCKER, IMAGE_BASE, MAIN, Package
from engine.sandbox.machines.command import Call, Command, Failed, options
from engine.sandbox.machines.place import Place

_LISTS = "/var/lib/apt/lists"
_DOCKER_HOST = "download.docker.com"


def installed(place: Place) -> dict[str, str]:
    """Versions of what is installed, by name."""
    found: dict[str, str] = place.state.setdefault("packages", {})
    return found


BASE_UNITS = tuple(unit for name in BASE for unit in MAIN[name].units)
"""The services that a fresh machine starts at boot."""


def install_base(place: Place, *, image: bool = False) -> None:
    """What a fresh machine, or a fresh container image, comes with."""
    for name in IMAGE_BASE if image else BASE:
        _unpack(place, name, MAIN[name])


def _release(place: Place) -> str:
    system = place.system
    return f"{system.id}.{system.version}~{system.codename}"


def _sources(place: Place) -> list[tuple[str, str]]:
    """The archives besides the distribution's own: address and keyring (empty where none is named)."""
    folder, found = "/etc/apt/sources.list.d", []
    for name in place.disk.entries(folder):
        text = place.disk.text(f"{folder}/{name}")
        if name.endswith(".list"):
            for line in text.splitlines():
                match = re.match(r"deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<uri>\S+)\s+\S+", line.strip())
                if match:
                    key = re.search(r"signed-by=(\S+)", match["options"] or "")
                    found.append((match["uri"], key[1] if key else ""))
        elif name.endswith(".sources"):
            fields = dict(re.findall(r"(?im)^([\w-]+):\s*(\S+)", text))
            found.append((fields.get("URIs", ""), fields.get("Signed-By", "")))
    text = place.disk.text("/etc/apt/sources.list")
    found += [
        (uri, "") for uri in re.findall(r"(?m)^deb\s+(?:\[[^]]*\]\s+)?(https?://download\.docker\S+)", text)
    ]
    return found


def _known(place: Place) -> dict[str, Package]:
    lists = place.disk.entries(_LISTS)
    found: dict[str, Package] = {}
    if any(name.startswith(place.system.mirror) for name in lists):
        found |= MAIN
    if any(name.startswith(_DOCKER_HOST) for name in lists):
        found |= DOCKER
    return found


def _version(place: Place, package: Package) -> str:
    return package.version.format(release=_release(place))


def _unpack(place: Place, name: str, package: Package) -> None:
    installed(place)[name] = _version(place, package)
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


async def apt_get(call: Call) -> int:
    """apt-get and apt: update, install, remove, purge, autoremove, upgrade, clean, list."""
    same = {
        "--option": "-o",
        "--yes": "-y",
        "--assume-yes": "-y",
        "--quiet": "-q",
        "--simulate": "-s",
        "--dry-run": "-s",
        "--target-release": "-t",
        "--default-release": "-t",
    }
    given = options(call.args, values={"-o", "-t", "-c"}, same=same)
    if not call.place.system.has_apt:
        return call.complain(f"bash: {call.name}: command not found", 127)
    verb, names = (given.rest or [""])[0], given.rest[1:]
    if verb in ("list", "show", "search", "policy", "madison"):
        return await apt_cache(call)
    if not call.login.is_root and "-s" not in given:
        lock = "/var/lib/apt/lists/lock" if verb == "update" else "/var/lib/dpkg/lock-frontend"
        call.complain(f"E: Could not open lock file {lock} - open (13: Permission denied)")
        return call.complain(f"E: Unable to acquire the dpkg frontend lock ({lock}), are you root?", 100)
    verbs = {
        "update": _update,
        "install": _install,
        "remove": _remove,
        "purge": _remove,
        "autoremove": _nothing,
        "upgrade": _nothing,
        "dist-upgrade": _nothing,
        "full-upgrade": _nothing,
        "clean": _quiet,
        "autoclean": _quiet,
        "check": _quiet,
        "reinstall": _install,
    }
    if verb not in verbs:
        return call.complain(
            f"E: Invalid operation {verb}" if verb else "apt 2.4.14 (amd64)", 100 if verb else 1
        )
    if verb == "purge":
        call.place.state.setdefault("purging", True)
    any_error = "any" in " ".join(word for word in given.every("-o") if "Error-Mode" in word)
    status = verbs[verb](call, names, "-s" in given, any_error)
    call.place.state.pop("purging", None)
    await _start_units(call)
    return status


async def _start_units(call: Call) -> None:
    services = call.place.services
    if services is not None:
        for name in call.place.state.pop("fresh_units", []):
            services.enable(name)
            await services.start(name)
        for name in call.place.state.pop("gone_units", []):
            await services.stop(name)
            services.disable(name)
            call.place.disk.remove(f"/usr/lib/systemd/system/{name}.service")


def _quiet(call: Call, names: Sequence[str], dry: bool, strict: bool) -> int:
    return 0


def _nothing(call: Call, names: Sequence[str], dry: bool, strict: bool) -> int:
    call.say("Reading package lists...\nBuilding dependency tree...\nReading state information...")
    call.say("0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.")
    return 0


def _archives(place: Place) -> list[tuple[str, str, str]]:
    system = place.system
    secure = "https" if system.id == "debian" else "http"
    own = (f"{secure}://{system.mirror}/{system.id} {system.codename}", system.mirror, "-")
    others = [
        (f"{uri.rstrip('/')} {system.codename}", uri.split("/")[2], key)
        for uri, key in _sources(place)
        if "://" in uri
    ]
    return [own, *(other for other in others if other[1] != system.mirror)]


def _update(call: Call, names: Sequence[str], dry: bool, strict: bool) -> int:
    place, status, errors = call.place, 0, []
    for number, (archive, host, key) in enumerate(_archives(place), 1):
        if not place.network.internet():
            call.say(f"Err:{number} {archive} InRelease\n  Temporary failure resolving '{host}'")
            base, suite = archive.split(" ")
            errors.append(
                f"W: Failed to fetch {base}/dists/{suite}/InRelease  Temporary failure resolving '{host}'"
            )
        elif key != "-" and not _signed(place, key):
            call.say(
                f"Err:{number} {archive} InRelease\n  The following signatures couldn't "
                f"be verified because the public key is not available: NO_PUBKEY "
                f"7EA0A9C3F273FCD8"
            )
            errors.append(
                f"W: GPG error: {archive} InRelease: The following signatures couldn't be "
                f"verified because the public "
                f"key is not available: NO_PUBKEY 7EA0A9C3F273FCD8\nE: The repository "
                f"'{archive} InRelease' is not signed."
            )
            status = 100
        elif host not in (place.system.mirror, _DOCKER_HOST):
            call.say(f"Err:{number} {archive} InRelease\n  Could not resolve '{host}'")
            errors.append(f"E: The repository '{archive} Release' does not have a Release file.")
            status = 100
        else:
            call.say(f"Get:{number} {archive} InRelease [270 kB]")
            file = archive.split("://")[1].replace(" ", "_dists_").replace("/", "_")
            place.disk.write(f"{_LISTS}/{file}_InRelease", "Origin: sandbox\n", 0o644)
            place.disk.write(f"{_LISTS}/{file}_main_binary-amd64_Packages", "", 0o644)
    call.say("Reading package lists...")
    for error in errors:
        call.complain(error)
    if errors and not status:
        call.complain(
            "W: Some index files failed to download. They have been ignored, or old ones used instead."
        )
        status = 100 if strict else 0
    if not errors:
        place.disk.write("/var/lib/apt/periodic/update-success-stamp", str(time.time()), 0o644)
    place.disk.write("/var/cache/apt/pkgcache.bin", str(time.time()), 0o644)
    return status


def _signed(place: Place, key: str) -> bool:
    if key:
        return place.disk.is_file(key) and bool(place.disk.read(key))
    return any(name.startswith("docker") for name in place.disk.entries("/etc/apt/trusted.gpg.d"))


def _plan(call: Call, names: Sequence[str]) -> list[str]:
    """What would be newly installed for `names`, needs first. Raises Failed as apt does."""
    known, have, found = _known(call.place), installed(call.place), list[str]()
    missing = []
    for word in names:
        name, _, version = word.removesuffix("+").partition("=")
        name = name.partition(":")[0]
        if name not in known and name not in have:
            missing.append(name)
        elif version and name in known and not fnmatch.fnmatch(_version(call.place, known[name]), version):
            raise Failed(f"E: Version '{version}' for '{name}' was not found", 100)
        else:
            _with_needs(known, have, name, found)
    if missing:
        raise Failed("\n".join(f"E: Unable to locate package {name}" for name in missing), 100)
    return found


def _with_needs(known: Mapping[str, Package], have: Mapping[str, str], name: str, found: list[str]) -> None:
    if name in have or name in found or name not in known:
        return
    for need in known[name].needs:
        _with_needs(known, have, need, found)
    found.append(name)


def _install(call: Call, names: Sequence[str], dry: bool, strict: bool) -> int:
    place, known = call.place, _known(call.place)
    call.say("Reading package lists...\nBuilding dependency tree...\nReading state information...")
    fresh = _plan(call, names)
    for word in names:
        name = word.partition("=")[0]
        if name not in fresh:
            call.say(f"{name} is already the newest version ({installed(place)[name]}).")
    clash = [other for name in fresh for other in known[name].conflicts if other in installed(place)]
    if fresh:
        call.say("The following NEW packages will be installed:\n  " + " ".join(sorted(fresh)))
    call.say(f"0 upgraded, {len(fresh)} newly installed, {len(clash)} to remove and 0 not upgraded.")
    if dry:
        for name in fresh:
            call.say(f"Inst {name} ({_version(place, known[name])} sandbox [amd64])")
        return 0
    if fresh and not place.network.internet():
        return _unfetched(call, fresh, known)
    for name in clash:
        _take_away(place, name, purge=False)
    for name in fresh:
        call.say(f"Setting up {name} ({_version(place, known[name])}) ...")
        _unpack(place, name, known[name])
        place.state.setdefault("fresh_units", []).extend(known[name].units)
    return 0


def _unfetched(call: Call, fresh: Sequence[str], known: Mapping[str, Package]) -> int:
    for name in fresh:
        host = _DOCKER_HOST if known[name].repository == "docker" else call.place.system.mirror
        version = _version(call.place, known[name])
        uri = f"http://{host}/{call.place.system.id}/pool/main/{name[0]}/{name}/{name}_{version}_amd64.deb"
        call.complain(f"E: Failed to fetch {uri}  Temporary failure resolving '{host}'")
    return call.complain(
        "E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?", 100
    )


def _remove(call: Call, names: Sequence[str], dry: bool, strict: bool) -> int:
    place, known = call.place, {**MAIN, **DOCKER}
    call.say("Reading package lists...\nBuilding dependency tree...\nReading state information...")
    purge = "purging" in place.state or "--purge" in call.args
    for name in names:
        if name not in known and name not in installed(place):
            return call.complain(f"E: Unable to locate package {name}", 100)
    gone = [name for name in installed(place) if name in names]
    gone += [name for name in installed(place) if name not in gone and set(known[name].needs) & set(gone)]
    for name in names:
        if name not in gone:
            call.say(f"Package '{name}' is not installed, so not removed")
            if purge:
                place.state.setdefault("configured", {}).pop(name, None)
    if gone:
        call.say("The following packages will be REMOVED:\n  " + " ".join(sorted(gone)))
    call.say(f"0 upgraded, 0 newly installed, {len(gone)} to remove and 0 not upgraded.")
    for name in gone if not dry else ():
        call.say(f"Removing {name} ({installed(place)[name]}) ...")
        _take_away(place, name, purge=purge)
    return 0


def _take_away(place: Place, name: str, *, purge: bool) -> None:
    package = {**MAIN, **DOCKER}[name]
    version = installed(place).pop(name)
    if not purge and package.units:
        place.state.setdefault("configured", {})[name] = version
    for command in package.commands:
        place.disk.remove(f"/usr/bin/{command}")
    if name == "nginx":
        place.disk.remove("/usr/sbin/nginx")
    place.state.setdefault("gone_units", []).extend(package.units)


async def apt_cache(call: Call) -> int:
    """apt-cache policy, show, search, madison; apt list."""
    given = options(call.args)
    verb, names = (given.rest or [""])[0], given.rest[1:]
    known, have = _known(call.place), installed(call.place)
    for name in names or (sorted(have) if verb == "list" else []):
        if name not in known and name not in have:
            if verb == "show":
                return call.complain(f"N: Unable to locate package {name}\nE: No packages found", 100)
            continue
        version = _version(call.place, known[name]) if name in known else have[name]
        if verb == "policy":
            call.say(
                f"{name}:\n  Installed: {have.get(name, '(none)')}\n  Candidate: "
                f"{version}\n  Version table:\n     {version} 500"
            )
        elif verb == "madison":
            call.say(
                f" {name} | {version} | {call.place.system.mirror} "
                f"{call.place.system.codename}/main amd64 Packages"
            )
        elif verb == "list":
            call.say(
                f"{name}/{call.place.system.codename},now {version} amd64"
                + (" [installed]" if name in have else "")
            )
        elif verb == "show":
            call.say(f"Package: {name}\nVersion: {version}\nArchitecture: amd64\n")
    if verb == "search":
        call.say(
            "\n".join(f"{name} - {name}" for name in sorted(known) if any(word in name for word in names))
        )
    return 0


_FIELD = re.compile(r"\$\{([^};]+)(?:;(-?\d+))?\}")


async def dpkg_query(call: Call) -> int:
    """dpkg-query -W [-f FORMAT] [NAME…], -s, -l, -L; dpkg too, with --print-architecture, --configure."""
    given = options(
        call.args,
        values={"-f"},
        same={
            "--showformat": "-f",
            "--show": "-W",
            "--status": "-s",
            "--list": "-l",
            "--listfiles": "-L",
            "--install": "-i",
        },
    )
    if "--print-architecture" in given:
        call.say("amd64")
        return 0
    if "--configure" in given or "--audit" in given:
        return 0
    if "-s" in given:
        return _status(call, given.rest)
    if "-l" in given:
        return _list(call, given.rest)
    if "-W" not in given:
        return call.complain(f"{call.name}: error: need an action option", 2)
    form = given.last("-f", "${binary:Package}\\t${Version}\\n").encode().decode("unicode_escape")
    status, found = 0, {}
    for pattern in given.rest or ["*"]:
        rows = _rows(call.place, pattern.partition(":")[0])
        found.update({_fill("${Package}", row): row for row in rows})
        if not rows:
            status = call.complain(f"dpkg-query: no packages found matching {pattern}")
    for _, row in sorted(found.items()):
        call.say(_fill(form, row), end="")
    return status


def _fill(form: str, row: Mapping[str, str]) -> str:
    return _FIELD.sub(lambda match: _pad(row.get(match[1], ""), match[2]), form)


def _pad(value: str, width: str | None) -> str:
    return (
        value
        if width is None
        else (value.ljust(-int(width)) if width.startswith("-") else value.rjust(int(width)))
    )


def _rows(place: Place, pattern: str) -> list[dict[str, str]]:
    left: dict[str, str] = place.state.get("configured", {})
    found = []
    for name, version in sorted({**left, **installed(place)}.items()):
        if fnmatch.fnmatch(name, pattern):
            there = name in installed(place)
            status = "install ok installed" if there else "deinstall ok config-files"
            found.append(
                {
                    "Package": name,
                    "binary:Package": name,
                    "Version": version,
                    "Status": status,
                    "Architecture": "amd64",
                    "db:Status-Status": status.split()[2],
                    "db:Status-Abbrev": "ii " if there else "rc ",
                    "db:Status-Want": status.split()[0],
                    "source:Package": name,
                }
            )
    return found


def _status(call: Call, names: Sequence[str]) -> int:
    status = 0
    for name in names:
        rows = _rows(call.place, name)
        if not rows:
            status = call.complain(
                f"dpkg-query: package '{name}' is not installed and no information is available"
            )
        for row in rows:
            call.say(
                f"Package: {name}\nStatus: {row['Status']}\nArchitecture: amd64\nVersion: {row['Version']}\n"
            )
    return status


def _list(call: Call, names: Sequence[str]) -> int:
    call.say(
        "Desired=Unknown/Install/Remove/Purge/Hold\n||/ Name           Version      "
        "Architecture "
        "Description\n"
        "+++-==============-============-============-================================="
    )
    status = 0
    for pattern in names or ["*"]:
        rows = _rows(call.place, pattern)
        for row in rows:
            call.say(
                f"{row['db:Status-Abbrev']} {row['Package']:14} {row['Version']:12} amd64 "
                f"       {row['Package']}"
            )
        if not rows:
            status = call.complain(f"dpkg-query: no packages found matching {pattern}")
    return status


async def dpkg(call: Call) -> int:
    """dpkg: what dpkg-query does; installing a file is refused with words."""
    if "-i" in call.args or "--install" in call.args:
        return call.complain(
            "dpkg: error: a simulated machine installs packages by name only; use apt-get install", 2
        )
    return await dpkg_query(call)


async def apt_mark(call: Call) -> int:
    """apt-mark hold, unhold, manual, auto, showhold."""
    held: list[str] = call.place.state.setdefault("held", [])
    verb, names = (call.args or [""])[0], call.args[1:]
    for name in names:
        if verb == "hold" and name not in held:
            held.append(name)
        elif verb == "unhold" and name in held:
            held.remove(name)
        call.say(
            f"{name} set on hold."
            if verb == "hold"
            else f"Canceled hold on {name}."
            if verb == "unhold"
            else f"{name} set to manually installed."
        )
    if verb == "showhold":
        call.out.extend("".join(f"{name}\n" for name in held).encode())
    if verb == "showmanual":
        call.out.extend(
            "".join(
                f"{name}\n"
                for name in sorted(installed(call.place))
                if name in (names or installed(call.place))
            ).encode()
        )
    return 0


async def add_apt_repository(call: Call) -> int:
    """Refused with words: a source file with its own keyring is the way now."""
    return call.complain(
        "add-apt-repository: not on simulated machines; write "
        "/etc/apt/sources.list.d/NAME.list with [signed-by=/etc/apt/keyrings/…]"
    )


async def apt_key(call: Call) -> int:
    """Gone since Debian 13 and deprecated before: says so."""
    return call.complain(
        (
            "Warning: apt-key is deprecated. Manage keyring files in trusted.gpg.d instead "
            "(see apt-key(8)).\ngpg: no valid OpenPGP data found."
        ),
        2,
    )


async def gpg(call: Call) -> int:
    """gpg --dearmor [-o FILE] [FILE]: as much of it as keyrings need."""
    given = options(call.args, values={"-o", "--keyring"}, same={"--output": "-o"})
    if "--dearmor" not in given:
        call.say("gpg (GnuPG) 2.2.27")
        return 0
    data = call.place.disk.read(call.path(given.rest[0])) if given.rest else await call.read()
    if b"BEGIN PGP" not in data:
        return call.complain("gpg: no valid OpenPGP data found.", 2)
    binary = b"\x99\x02" + data[37:]
    if "-o" not in given:
        call.out.extend(binary)
        return 0
    call.place.disk.write(call.path(given.last("-o")), binary, 0o644)
    return 0


async def dnf(call: Call) -> int:
    """dnf and yum: install, remove, list installed, check-update, for Amazon Linux."""
    given = options(call.args)
    if call.place.system.id != "amzn":
        return call.complain(f"bash: {call.name}: command not found", 127)
    verb, names = (given.rest or [""])[0], given.rest[1:]
    have, known = installed(call.place), {**MAIN, "docker": MAIN["docker.io"]}
    if verb in ("install", "remove") and not call.login.is_root:
        return call.complain(
            "Error: This command has to be run with superuser privileges (under the root "
            "user on most systems)."
        )
    if verb == "install" and set(names) - have.keys():
        return _dnf_install(call, names, known)
    for name in names if verb == "remove" else ():
        if name in have:
            have.pop(name)
            call.place.state.setdefault("gone_units", []).extend(known[name].units)
    await _start_units(call)
    if verb == "list":
        call.say("\n".join(f"{name}.x86_64 {version} @System" for name, version in sorted(have.items())))
    call.say(
        "Complete!" if verb in ("install", "remove") else "",
        end="\n" if verb in ("install", "remove") else "",
    )
    return 0


def _dnf_install(call: Call, names: Sequence[str], known: Mapping[str, Package]) -> int:
    if not call.place.network.internet():
        return call.complain(
            "Errors during downloading metadata for repository 'amazonlinux':\n  - Curl "
            "error (28): Timeout was reached\nError: Failed to download metadata for "
            "repo 'amazonlinux'"
        )
    for name in names:
        if name not in known:
            return call.complain(f"No match for argument: {name}\nError: Unable to find a match: {name}")
    for name in names:
        _unpack(call.place, name, known[name])
    call.say("Complete!")
    return 0


async def rpm(call: Call) -> int:
    """rpm -q NAME…."""
    status = 0
    for name in options(call.args).rest:
        if name in installed(call.place):
            call.say(f"{name}-{installed(call.place)[name]}.x86_64")
        else:
            call.say(f"package {name} is not installed")
            status = 1
    return status


async def tool(call: Call) -> int:
    """A command that a package brings and whose work is not simulated: it tells its version."""
    if call.args[:1] in (["--version"], ["-v"], ["-V"], ["version"]):
        call.say(f"{call.name} (simulated)")
        return 0
    return call.complain(f"{call.name}: simulated machines have this command only by name")


COMMANDS: Mapping[str, Command] = {
    "apt-get": apt_get,
    "apt": apt_get,
    "apt-cache": apt_cache,
    "dpkg": dpkg,
    "dpkg-query": dpkg_query,
    "apt-mark": apt_mark,
    "add-apt-repository": add_apt_repository,
    "apt-key": apt_key,
    "gpg": gpg,
    "dnf": dnf,
    "yum": dnf,
    "rpm": rpm,
}

PACKAGED: Mapping[str, Command] = dict.fromkeys(
    sorted({command for package in {**MAIN, **DOCKER}.values() for command in package.commands} - {"docker"}),
    tool,
)
