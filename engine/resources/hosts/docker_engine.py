"""Docker itself on hosts: `docker_engine`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from engine.by_hand import word
from engine.on_host import OnHost, told
from engine.resource import Fixed, Output, Values
from engine.resources.hosts import _docker
from engine.resources.hosts._apt import APT, IS_INSTALLED, explain_apt
from engine.resources.hosts._shell import FAIL, Account, known, listed, quote

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
        admit = [f"sudo usermod -aG docker {word(user)}" for user in listed(self.users)]
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
