"""Docker on hosts: `docker_engine`, `docker_image`, `docker_network`, `docker_volume`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from engine.by_hand import Fed, word
from engine.local_files import LocalFolder
from engine.on_host import OnHost, Upload, told
from engine.refs import UNKNOWN, Unknown, holds_unknown
from engine.resource import Fields, Fixed, Output, Values, plain
from engine.resources._archives import tar_of
from engine.resources.hosts import _docker
from engine.resources.hosts._apt import APT, IS_INSTALLED, explain_apt
from engine.resources.hosts._docker import LAB, DockerName, ImageName
from engine.resources.hosts._shell import FAIL, Account, Environment, Variables, known, quote

_ENGINE = "docker-ce docker-ce-cli containerd.io docker-buildx-plugin docker-compose-plugin"
_LIST = "/etc/apt/sources.list.d/docker.list"
_KEYRING = "/etc/apt/keyrings/docker.asc"


class DockerEngine(OnHost):
    """Docker on a Debian or Ubuntu host, from its own apt repository or the distribution's; started at boot.

    What labctl installed is noted on the host below /var/lib/labctl; removing takes that away, and with the
    engine its images, containers and volumes.
    """

    kind: ClassVar[str] = "docker_engine"
    outputs: ClassVar[Mapping[str, Output]] = {"version": Output("version of the Docker Engine that runs")}

    source: Fixed[Literal["docker", "distribution"]] = Field(
        default="docker", description="Docker's own apt repository, or the distribution's package docker.io"
    )
    channel: Literal["stable", "test"] = Field(
        default="stable", description="channel of Docker's own repository"
    )
    users: list[Account] | None = Field(default=None, description="users who may use docker without sudo")
    running: Literal[True] = Field(default=True, description="it runs")
    enabled: Literal[True] = Field(default=True, description="it starts at boot")

    @model_validator(mode="after")
    def _channel_fits(self) -> Self:
        if self.source == "distribution" and "channel" in self.model_fields_set:
            raise ValueError(
                "a `channel` is for Docker's own repository; leave it out with source: distribution"
            )
        return self

    def natural_id(self) -> str:
        """There is one on a host."""
        return "docker"

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """It always runs and starts at boot; users are a set."""
        values = {**super().wanted(also), "running": True, "enabled": True}
        if known(self.users):
            values["users"] = sorted(set(self.users or ()))
        return values

    @classmethod
    def unsettles(cls, changed: frozenset[str]) -> frozenset[str]:
        """Another channel brings another version."""
        return frozenset({"version"}) if changed & {"channel", "running"} else frozenset()

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """Differences as a person says them."""
        if name == "users" and isinstance(wanted, list) and isinstance(there, list):
            missing = [user for user in wanted if user not in there]
            return f"{', '.join(missing)} may not use docker yet" if missing else None
        return {"running": "it does not run", "enabled": "it does not start at boot"}.get(name)

    @classmethod
    def look(cls, id: str, wanted: Self | None) -> str:
        """Prints `word value` lines: source, channel, users, whether it runs."""
        users = " ".join(wanted.users or ()) if wanted and known(wanted.users) else ""
        return (
            f"{IS_INSTALLED}"
            "command -v dockerd >/dev/null 2>&1 || command -v docker >/dev/null 2>&1 || exit 0\n"
            'if [ -n "$(version_of docker-ce)" ]; then echo source docker\n'
            'elif [ -n "$(version_of docker.io)" ]; then echo source distribution\n'
            "else echo source other; fi\n"
            f"[ ! -f {_LIST} ] || sed -n 's/^deb .* \\([a-z]*\\)$/channel \\1/p' {_LIST}\n"
            "members=,$(getent group docker | cut -d: -f4),\n"
            'if [ -f "$labctl_record/docker" ]; then echo "owner $labctl_lab"; '
            "given=$(sed -n 's/^user //p' \"$labctl_record/docker\"); else given=; fi\n"
            f"for user in {users} $given; do\n"
            '  case $members in *",$user,"*) echo "user $user" ;; esac\ndone\n'
            'echo "enabled $(systemctl is-enabled docker 2>/dev/null)"\n'
            "version=$(timeout 10 docker version --format '{{.Server.Version}}' 2>/dev/null) && "
            'echo "version $version" || :\n'
        )

    @classmethod
    def parse(cls, id: str, status: int, output: bytes) -> Values | None:
        """Source, channel, users of the group docker, whether it runs and at boot, its version."""
        lines = [line.partition(" ")[::2] for line in output.decode(errors="replace").splitlines()]
        if not lines:
            return None
        told_ = dict(lines)
        values: Values = {
            "source": told_.get("source"),
            "channel": told_.get("channel"),
            "users": sorted({value for name, value in lines if name == "user"}),
            "enabled": told_.get("enabled") == "enabled",
            "running": "version" in told_,
            "version": told_.get("version"),
        }
        return {**values, "owner": told_["owner"]} if "owner" in told_ else values

    def commands(self, there: Values | None, changed: frozenset[str]) -> str:
        """Adds the repository, installs, starts, adds users to the group docker."""
        script = f"{FAIL}{APT}{IS_INSTALLED}{_ENGINE_RECORD}have_apt\n"
        if there is None or changed & {"channel", "source"}:
            script += _FROM_DISTRIBUTION if self.source == "distribution" else self._from_docker()
        script += _START
        for user in self.users or ():
            script += f"admit {quote(user)}\n"
        if self.users is not None:
            script += f"dismiss_all_but {' '.join(self.users)}\n"
        return script

    def _from_docker(self) -> str:
        return _FROM_DOCKER.replace("CHANNEL", self.channel)

    @classmethod
    def removal(cls, id: str, there: Values | None) -> str:
        """Purges what labctl installed, with all that Docker kept."""
        return _REMOVE_ENGINE

    @classmethod
    def regroups(cls, id: str, login: str) -> bool:
        """The group docker comes and goes, for whoever is in it."""
        return True

    @classmethod
    def explain_failure(cls, status: int, stderr: str) -> tuple[str, str] | None:
        """apt's and Docker's errors in words."""
        return told(stderr) or explain_apt(stderr) or _docker.explain(stderr)

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """Docker's own instructions for Ubuntu and Debian."""
        if action == "delete":
            return [
                f"sudo apt-get purge -y {_ENGINE} docker.io",
                "sudo rm -rf /var/lib/docker /var/lib/containerd",
            ]
        admit = [f"sudo usermod -aG docker {word(user)}" for user in _listed(self.users)]
        if action == "update":
            return ["sudo systemctl enable --now docker", *admit]
        if self.source == "distribution":
            return ["sudo apt-get update", "sudo apt-get install -y docker.io", *admit]
        return [
            "sudo apt-get update",
            "sudo apt-get install -y ca-certificates curl",
            "sudo install -m 0755 -d /etc/apt/keyrings",
            f'. /etc/os-release; sudo curl -fsSL "https://download.docker.com/linux/$ID/gpg" -o {_KEYRING}',
            f'. /etc/os-release; echo "deb [arch=$(dpkg --print-architecture) signed-by={_KEYRING}] '
            f'https://download.docker.com/linux/$ID $VERSION_CODENAME {self.channel}" | sudo tee {_LIST}',
            "sudo apt-get update",
            f"sudo apt-get install -y {_ENGINE}",
            *admit,
        ]


_ENGINE_RECORD = """\
record=$labctl_record/docker
mkdir -p -- "$labctl_record"
[ -f "$record" ] || : >"$record"
remember() { grep -qxF -e "$1" "$record" || printf '%s\\n' "$1" >>"$record"; }
bring() {
  for package in "$@"; do [ -n "$(version_of "$package")" ] || remember "installed $package"; done
  apt_install "$@"
}
admit() {
  getent passwd -- "$1" >/dev/null ||
    fail "there is no user $1 on the host" 'name a user that is there in `users`'
  case " $(id -Gn -- "$1") " in *' docker '*) ;; *) remember "user $1"; usermod -aG docker -- "$1" ;; esac
}
dismiss_all_but() {
  for user in $(sed -n 's/^user //p' "$record"); do
    case " $* " in *" $user "*) continue ;; esac
    gpasswd -d "$user" docker >/dev/null || :
    grep -vxF -e "user $user" "$record" >"$record.new" || :
    mv -f -- "$record.new" "$record"
  done
}
"""

_FROM_DISTRIBUTION = """\
if [ -n "$(version_of docker-ce)" ]; then
  fail "the host already has Docker from Docker's own repository" \\
    'write source: docker, or leave `source` out'
fi
if [ -z "$(version_of docker.io)" ]; then
  if lists_older_than 86400; then apt_update; fi
  bring docker.io
fi
"""

_FROM_DOCKER = f"""\
if [ -n "$(version_of docker.io)" ]; then
  fail "the host already has the distribution's Docker (docker.io)" \\
    'write source: distribution, or remove docker.io'
fi
system=$(. /etc/os-release && echo "$ID")
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
case $system in
  ubuntu | debian) ;;
  *) fail "Docker's apt repository has nothing for $system" 'use an Ubuntu or Debian image for the host' ;;
esac
if [ -z "$(version_of curl)" ] || [ -z "$(version_of ca-certificates)" ]; then
  if lists_older_than 86400; then apt_update; fi
  apt_install ca-certificates curl
fi
install -m 0755 -d /etc/apt/keyrings
curl -fsSL --retry 3 --connect-timeout 20 "https://download.docker.com/linux/$system/gpg" -o {_KEYRING}.new
chmod 0644 {_KEYRING}.new
remember 'file {_KEYRING}'
mv -f -- {_KEYRING}.new {_KEYRING}
remember 'file {_LIST}'
printf 'deb [arch=%s signed-by={_KEYRING}] https://download.docker.com/linux/%s %s %s\\n' \\
  "$(dpkg --print-architecture)" "$system" "$release" CHANNEL >{_LIST}
apt_update
bring {_ENGINE}
"""

_START = """\
if command -v systemctl >/dev/null 2>&1; then
  systemctl enable docker
  systemctl start docker ||
    fail "Docker does not start: $(journalctl -u docker -n 5 -o cat --no-pager 2>/dev/null | tail -n 1)" \\
      'see why with: journalctl -u docker'
fi
tries=0
until docker version --format '{{.Server.Version}}' >/dev/null 2>&1; do
  tries=$((tries + 1))
  [ "$tries" -lt 30 ] || fail 'Docker was started but does not answer' 'see why with: journalctl -u docker'
  sleep 1
done
"""

_REMOVE_ENGINE = f"""\
record=$labctl_record/docker
[ -f "$record" ] || exit 0
{FAIL}{APT}{IS_INSTALLED}
for user in $(sed -n 's/^user //p' "$record"); do gpasswd -d "$user" docker >/dev/null 2>&1 || :; done
gone=
for package in $(sed -n 's/^installed //p' "$record"); do
  [ -z "$(version_of "$package")" ] || gone="$gone $package"
done
if [ -n "$gone" ]; then
  systemctl disable --now docker.socket docker.service 2>/dev/null || :
  apt_do purge $gone
fi
if grep -qxE -e 'installed (docker-ce|docker\\.io)' "$record"; then
  rm -rf -- /var/lib/docker /var/lib/containerd
fi
for file in $(sed -n 's/^file //p' "$record"); do rm -f -- "$file"; done
rm -f -- "$record"
rmdir -- "$labctl_record" 2>/dev/null || :
"""


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return [value] if isinstance(value, Unknown) else list(value)


class Build(Fields):
    """How an image is built: from a folder beside the playbook that travels to the host."""

    path: LocalFolder = Field(
        description="folder with the Dockerfile; what its .dockerignore names stays behind"
    )
    dockerfile: str = Field(default="Dockerfile", description="the Dockerfile, relative to `path`")
    args: Variables | None = Field(default=None, description="build arguments")
    target: str | None = Field(default=None, description="the stage to build")

    @field_validator("dockerfile")
    @classmethod
    def _inside(cls, value: str) -> str:
        if value.startswith("/") or ".." in Path(value).parts:
            raise ValueError("the Dockerfile lies in `path`")
        return value

    def digest(self) -> str:
        """What stands for the build in plans: the hash of all that goes into it."""
        parts = {
            "path": self.path.sha256,
            "dockerfile": self.dockerfile,
            "args": self.args,
            "target": self.target,
        }
        return f"sha256:{hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()}"


class DockerImage(OnHost):
    """An image on a host, pulled from a registry or built from a folder beside the playbook."""

    kind: ClassVar[str] = "docker_image"
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("its id, sha256:…"),
        "digest": Output("its digest in the registry it was pulled from"),
        "size": Output("its size in bytes"),
    }

    name: Fixed[ImageName] = Field(description="its name, as in `httpd:2.4`; `:latest` if there is no tag")
    tag: Fixed[str | None] = Field(
        default=None, pattern=r"^\w[\w.-]{0,127}$", description="its tag, if not in `name`"
    )
    build: Build | None = Field(default=None, description="build it instead of pulling it")

    @model_validator(mode="after")
    def _one_tag(self) -> Self:
        if not holds_unknown([self.name, self.tag]):
            last = self.name.rpartition("/")[2]
            if self.tag is not None and (":" in last or "@" in last):
                raise ValueError("write the tag in `name` or in `tag`, not in both")
            if self.name.startswith("sha256:") or ("@" in self.name and self.build):
                raise ValueError("an image to pull or build needs a name, not an id")
        return self

    def natural_id(self) -> str:
        """Its name with a tag."""
        last = self.name.rpartition("/")[2]
        return self.name if ":" in last or "@" in last else f"{self.name}:{self.tag or 'latest'}"

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """A build is compared by the hash of all that goes into it."""
        values: Values = {"name": UNKNOWN if holds_unknown([self.name, self.tag]) else self.natural_id()}
        if self.build is not None:
            values["build"] = UNKNOWN if holds_unknown(self.build) else self.build.digest()
        return values

    def in_full(self) -> Values:
        """The arguments behind the hash of a build."""
        if self.build is None or isinstance(self.build, Unknown):
            return {}
        return {"build": [self.build.args, self.build.target]}

    @classmethod
    def unsettles(cls, changed: frozenset[str]) -> frozenset[str]:
        """After a build the name stands for another image: what runs under that name is not what it was."""
        return frozenset({"id", "name", "digest", "size"})

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """Hashes say little."""
        return "what it is built from has changed" if name == "build" else None

    @classmethod
    def look(cls, id: str, wanted: Self | None) -> str:
        """Prints whether it is built here, and what Docker says of it."""
        sort = "pulled" if wanted is not None and wanted.build is None else "built"
        return f"echo {sort}\n" + _docker.look(f"image inspect -f '{{{{json .}}}}' {quote(id)}")

    @classmethod
    def parse(cls, id: str, status: int, output: bytes) -> Values | None:
        """Its id, its digest and what it was built from."""
        found = _docker.read(output)
        if not found:
            return None
        labels = (found[0].get("Config") or {}).get("Labels") or {}
        digests = found[0].get("RepoDigests") or []
        values: Values = {
            "name": id,
            "id": found[0]["Id"],
            "digest": digests[0].partition("@")[2] if digests else None,
            "size": found[0].get("Size"),
            "build": labels.get(f"{_BUILT}"),
        }
        # Labels of an image that was pulled tell who built it, not whose it is here.
        ours = output.startswith(b"built") and LAB in labels
        return {**values, "owner": labels[LAB]} if ours else values

    def commands(self, there: Values | None, changed: frozenset[str]) -> str:
        """`docker pull`, or `docker build` and removal of the image that had the name before."""
        name = quote(self.natural_id())
        if self.build is None:
            return f"{FAIL}{_docker.HAVE_DOCKER}docker pull -q {name}\n"
        build = self.build
        arguments = "".join(f" --build-arg {key}" for key in build.args or {})
        target = f" --target {quote(build.target)}" if build.target else ""
        exports = "".join(f"export {key}={quote(value)}; " for key, value in (build.args or {}).items())
        return (
            f"{FAIL}{_docker.HAVE_DOCKER}"
            f"old=$(docker image inspect -f '{{{{.Id}}}}' {name} 2>/dev/null) || old=\n"
            'eval "set -- $labctl_labels"\n'
            f'( {exports}docker build --force-rm "$@" --label {quote(f"{_BUILT}={build.digest()}")} '
            f'-t {name}{arguments}{target} -f {quote(build.dockerfile)} - <"$labctl_upload_1" )\n'
            f"new=$(docker image inspect -f '{{{{.Id}}}}' {name})\n"
            # A container may still run the old one; it goes with that container then.
            'if [ -n "$old" ] && [ "$old" != "$new" ]; then docker image rm "$old" >/dev/null 2>&1 || :; fi\n'
        )

    def uploads(self) -> Sequence[Upload]:
        """The folder to build from, as a tar archive."""
        return (Upload(tar_of(self.build.path)),) if self.build is not None else ()

    @classmethod
    def removal(cls, id: str, there: Values | None) -> str:
        """Removes the image unless a container still uses it."""
        return (
            "command -v docker >/dev/null 2>&1 || exit 0\n"
            f"said=$(docker image rm {quote(id)} 2>&1) || case $said in\n"
            "  *[Nn]'o such image'*) ;;\n"
            "  *'is being used by'*|*'is using its referenced image'*) printf '%s\\n' \"$said\" ;;\n"
            "  *) printf '%s\\n' \"$said\" >&2; exit 1 ;;\nesac\n"
        )

    @classmethod
    def explain_failure(cls, status: int, stderr: str) -> tuple[str, str] | None:
        """Docker's errors in words."""
        return _docker.explain(stderr)

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`docker pull`, `docker build` or `docker image rm`."""
        if action == "delete":
            return [f"sudo docker image rm {word(id)}"]
        name = word(self.name if isinstance(self.name, Unknown) else self.natural_id())
        if self.build is None:
            return [f"sudo docker pull {name}"]
        if isinstance(self.build, Unknown) or isinstance(self.build.path, Unknown):
            return [f"sudo docker build -t {name} ."]
        arguments = "".join(f" --build-arg {key}={word(value)}" for key, value in _pairs(self.build.args))
        folder = self.build.path.path
        return [Fed(f"sudo docker build -t {name}{arguments} -", f"tar -C {quote(folder)} -c .")]


_BUILT = "labctl:sha256"


def _pairs(values: Any) -> list[tuple[str, Any]]:
    return list(values.items()) if isinstance(values, dict) else []


class AddressPool(Fields):
    """Addresses of a Docker network."""

    subnet: str = Field(pattern=r"^[0-9a-fA-F.:]+/\d+$", description="as in 10.9.0.0/24")
    gateway: str | None = Field(default=None, description="the host's address in it")
    iprange: str | None = Field(default=None, description="the part of it that containers get addresses from")


class _Labelled(OnHost):
    """What carries labels of its own from the moment it is made."""

    adoptable: ClassVar[bool] = False

    name: Fixed[DockerName] = Field(description="its name on the host")
    labels: Fixed[_docker.Labels | None] = Field(default=None, description="labels of its own")

    def natural_id(self) -> str:
        """Its name."""
        return self.name

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Whatever Docker filled in by itself does not count."""
        return bool(_only(wanted, there) != wanted)

    @classmethod
    def explain_failure(cls, status: int, stderr: str) -> tuple[str, str] | None:
        """Docker's errors in words."""
        return _docker.explain(stderr)


def _only(wanted: Any, there: Any) -> Any:
    """`there` without the keys that `wanted` does not have, in dicts at any depth."""
    if isinstance(wanted, dict) and isinstance(there, dict):
        return {key: _only(wanted[key], item) for key, item in there.items() if key in wanted}
    if isinstance(wanted, list) and isinstance(there, list) and len(wanted) == len(there):
        return [_only(first, second) for first, second in zip(wanted, there, strict=True)]
    return there


class DockerNetwork(_Labelled):
    """A Docker network on a host, in which containers find each other by name."""

    kind: ClassVar[str] = "docker_network"
    outputs: ClassVar[Mapping[str, Output]] = {"id": Output("its id")}

    driver: Fixed[str] = Field(default="bridge", description="`bridge`, `macvlan`, `ipvlan` …")
    internal: Fixed[bool] = Field(default=False, description="without a way out")
    attachable: Fixed[bool] = Field(default=False, description="containers started by hand may join")
    enable_ipv6: Fixed[bool] = Field(default=False, description="with IPv6")
    ipam_config: Fixed[list[AddressPool] | None] = Field(default=None, description="its addresses")
    driver_options: Fixed[Environment | None] = Field(default=None, description="options of the driver")

    @field_validator("name")
    @classmethod
    def _not_docker_s_own(cls, value: str) -> str:
        if value in ("bridge", "host", "none", "default"):
            raise ValueError(f"`{value}` is one of Docker's own networks; choose another name")
        return value

    @classmethod
    def look(cls, id: str, wanted: Self | None) -> str:
        """Prints what Docker says of it."""
        return _docker.look(f"network inspect -f '{{{{json .}}}}' {quote(id)}")

    @classmethod
    def parse(cls, id: str, status: int, output: bytes) -> Values | None:
        """Its settings, in the playbook's words."""
        found = [thing for thing in _docker.read(output) if thing.get("Name") == id]
        if not found:
            return None
        thing = found[0]
        pools = [
            {"subnet": pool["Subnet"], "gateway": pool.get("Gateway"), "iprange": pool.get("IPRange")}
            for pool in (thing.get("IPAM") or {}).get("Config") or []
        ]
        return {
            "name": id,
            "id": thing["Id"],
            "driver": thing.get("Driver"),
            "internal": bool(thing.get("Internal")),
            "attachable": bool(thing.get("Attachable")),
            "enable_ipv6": bool(thing.get("EnableIPv6")),
            "ipam_config": [{key: value for key, value in pool.items() if value} for pool in pools],
            "driver_options": thing.get("Options") or {},
            "labels": _docker.own_labels(thing.get("Labels")),
            "owner": (thing.get("Labels") or {}).get(LAB),
        }

    def _options(self, quoted: Any) -> str:
        flags = [
            ("--internal", self.internal),
            ("--attachable", self.attachable),
            ("--ipv6", self.enable_ipv6),
        ]
        options = [f"--driver {quoted(self.driver)}"] + [flag for flag, on in flags if on is True]
        for pool in plain(self.ipam_config) or [] if known(self.ipam_config) else []:
            names = {"subnet": "--subnet", "gateway": "--gateway", "iprange": "--ip-range"}
            options += [f"{names[key]} {quoted(value)}" for key, value in pool.items()]
        options += [f"--opt {quoted(f'{key}={value}')}" for key, value in _pairs(self.driver_options)]
        return " ".join(options)

    def commands(self, there: Values | None, changed: frozenset[str]) -> str:
        """`docker network create`."""
        labels = _docker.label_options(self.labels)
        return (
            f"{FAIL}{_docker.HAVE_DOCKER}{_docker.unless_ours('network', self.name)}"
            f'[ "$there" = no ] || docker network rm {quote(self.name)}\n'
            'eval "set -- $labctl_labels"\n'
            f'docker network create {self._options(quote)}{labels} "$@" {quote(self.name)}\n'
        )

    @classmethod
    def removal(cls, id: str, there: Values | None) -> str:
        """`docker network rm`."""
        return _docker.removal("network", id, f"docker network rm {quote(id)}")

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`docker network create`, or `rm`."""
        if action == "delete":
            return [f"sudo docker network rm {word(id)}"]
        return [f"sudo docker network create {self._options(word)} {word(self.name)}"]


class DockerVolume(_Labelled):
    """A Docker volume on a host: data that outlives containers."""

    kind: ClassVar[str] = "docker_volume"
    outputs: ClassVar[Mapping[str, Output]] = {
        "mountpoint": Output("the folder on the host that holds the data")
    }

    driver: Fixed[str] = Field(default="local", description="the volume's driver")
    driver_options: Fixed[Environment | None] = Field(default=None, description="options of the driver")

    @classmethod
    def look(cls, id: str, wanted: Self | None) -> str:
        """Prints what Docker says of it."""
        return _docker.look(f"volume inspect -f '{{{{json .}}}}' {quote(id)}")

    @classmethod
    def parse(cls, id: str, status: int, output: bytes) -> Values | None:
        """Its settings, in the playbook's words."""
        found = _docker.read(output)
        if not found:
            return None
        return {
            "name": id,
            "driver": found[0].get("Driver"),
            "driver_options": found[0].get("Options") or {},
            "labels": _docker.own_labels(found[0].get("Labels")),
            "mountpoint": found[0].get("Mountpoint"),
            "owner": (found[0].get("Labels") or {}).get(LAB),
        }

    def _options(self, quoted: Any) -> str:
        options = [f"--driver {quoted(self.driver)}"]
        return " ".join(
            options + [f"--opt {quoted(f'{key}={value}')}" for key, value in _pairs(self.driver_options)]
        )

    def commands(self, there: Values | None, changed: frozenset[str]) -> str:
        """`docker volume create`; one that a killed run left is taken as it is."""
        labels = _docker.label_options(self.labels)
        return (
            f"{FAIL}{_docker.HAVE_DOCKER}{_docker.unless_ours('volume', self.name)}"
            f'[ "$there" = no ] || docker volume rm {quote(self.name)}\n'
            'eval "set -- $labctl_labels"\n'
            f'docker volume create {self._options(quote)}{labels} "$@" {quote(self.name)}\n'
        )

    @classmethod
    def removal(cls, id: str, there: Values | None) -> str:
        """`docker volume rm`: the data in it is gone."""
        return _docker.removal("volume", id, f"docker volume rm {quote(id)}")

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`docker volume create`, or `rm`."""
        if action == "delete":
            return [f"sudo docker volume rm {word(id)}"]
        return [f"sudo docker volume create {self._options(word)} {word(self.name)}"]
