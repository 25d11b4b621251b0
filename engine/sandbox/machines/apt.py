"""apt over the catalogue of packages, its sources and their keys; nothing is fetched without a way out."""

from __future__ import annotations

import fnmatch
import re
import time
from collections.abc import Mapping, Sequence

from engine.sandbox.machines.catalogue import DOCKER, MAIN, Package
from engine.sandbox.machines.command import Call, Command, Failed, options
from engine.sandbox.machines.packages import installed, settle_units, take_away, unpack, version_of
from engine.sandbox.machines.place import Place

_LISTS = "/var/lib/apt/lists"


_DOCKER_HOST = "download.docker.com"


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
        "purge": _purge,
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
    any_error = "any" in " ".join(word for word in given.every("-o") if "Error-Mode" in word)
    status = verbs[verb](call, names, "-s" in given, any_error)
    await settle_units(call.place)
    return status


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
        elif version and name in known and not fnmatch.fnmatch(version_of(call.place, known[name]), version):
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
            call.say(f"Inst {name} ({version_of(place, known[name])} sandbox [amd64])")
        return 0
    if fresh and not place.network.internet():
        return _unfetched(call, fresh, known)
    for name in clash:
        take_away(place, name, {**MAIN, **DOCKER}[name], purge=False)
    for name in fresh:
        call.say(f"Setting up {name} ({version_of(place, known[name])}) ...")
        unpack(place, name, known[name])
        place.state.setdefault("fresh_units", []).extend(known[name].units)
    return 0


def _unfetched(call: Call, fresh: Sequence[str], known: Mapping[str, Package]) -> int:
    for name in fresh:
        host = _DOCKER_HOST if known[name].repository == "docker" else call.place.system.mirror
        version = version_of(call.place, known[name])
        uri = f"http://{host}/{call.place.system.id}/pool/main/{name[0]}/{name}/{name}_{version}_amd64.deb"
        call.complain(f"E: Failed to fetch {uri}  Temporary failure resolving '{host}'")
    return call.complain(
        "E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?", 100
    )


def _remove(call: Call, names: Sequence[str], dry: bool, strict: bool) -> int:
    return _let_go(call, names, dry, purge="--purge" in call.args)


def _purge(call: Call, names: Sequence[str], dry: bool, strict: bool) -> int:
    return _let_go(call, names, dry, purge=True)


def _let_go(call: Call, names: Sequence[str], dry: bool, *, purge: bool) -> int:
    place, known = call.place, {**MAIN, **DOCKER}
    call.say("Reading package lists...\nBuilding dependency tree...\nReading state information...")
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
        take_away(place, name, known[name], purge=purge)
    return 0


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
        version = version_of(call.place, known[name]) if name in known else have[name]
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


COMMANDS: Mapping[str, Command] = {
    "apt-get": apt_get,
    "apt": apt_get,
    "apt-cache": apt_cache,
    "apt-mark": apt_mark,
    "add-apt-repository": add_apt_repository,
    "apt-key": apt_key,
    "gpg": gpg,
}
