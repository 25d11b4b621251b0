"""Containers on hosts: `docker_container`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from engine.by_hand import word
from engine.on_host import OnHost, Upload
from engine.refs import Unknown
from engine.resource import Fixed, Output, Unread, Values
from engine.resources.hosts import _docker
from engine.resources.hosts._containers import (
    STARVED,
    Capability,
    Healthcheck,
    Port,
    RestartPolicy,
    Volume,
    each_port,
    health_options,
    settings,
)
from engine.resources.hosts._docker import DockerName, ImageName, Size
from engine.resources.hosts._shell import FAIL, Environment, Words, known, listed, pairs, quote

_HOW = ("detach", "pull", "timeout")
"""Fields that say how to make it and cannot be read back."""
_IN_PLACE = frozenset({"restart_policy", "memory", "cpus", "running", "triggers"})


class DockerContainer(OnHost):
    """A container on a host: one that stays, or one that runs to its end (`detach: false`)."""

    kind: ClassVar[str] = "docker_container"
    adoptable: ClassVar[bool] = False
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("its id"),
        "ip": Output("its address in its first network"),
        "state": Output("running, exited, restarting …"),
        "exit_code": Output("exit status of its last run"),
        "ports": Output("published ports of the host by port in the container: {'80/tcp': '8003'}"),
    }

    name: Fixed[DockerName] = Field(description="its name on the host")
    image: Fixed[ImageName] = Field(description="the image: a name, such as that of a docker_image")
    command: Fixed[Words | None] = Field(
        default=None, description="what it runs, instead of the image's command"
    )
    entrypoint: Fixed[Words | None] = Field(default=None, description="instead of the image's entry point")
    env: Fixed[Environment | None] = Field(default=None, description="environment variables")
    published_ports: Fixed[list[Port] | None] = Field(
        default=None, description='ports of the host, as in `"8003:80"`'
    )
    volumes: Fixed[list[Volume] | None] = Field(
        default=None, description="folders of the host or volumes, as in `/srv/www:/data:ro`"
    )
    networks: Fixed[list[str] | None] = Field(
        default=None, min_length=1, description="Docker networks, or `host`, or `none`"
    )
    restart_policy: RestartPolicy | None = Field(
        default=None, description="`no`, `always`, `unless-stopped`, `on-failure` or `on-failure:3`"
    )
    running: Literal[True] = Field(
        default=True, description="it runs; with `detach: false`, it has run to its end with exit status 0"
    )
    detach: bool = Field(
        default=True, description="`false`: it runs to its end, and exit status 0 is success"
    )
    interactive: Fixed[bool] = Field(default=False, description="its standard input stays open (-i)")
    tty: Fixed[bool] = Field(default=False, description="it has a terminal (-t)")
    hostname: Fixed[str | None] = Field(default=None, description="its host name")
    user: Fixed[str | None] = Field(default=None, description="the user, or user:group, that it runs as")
    working_dir: Fixed[str | None] = Field(default=None, description="the folder that its command starts in")
    labels: Fixed[_docker.Labels | None] = Field(default=None, description="labels of its own")
    memory: Size | None = Field(default=None, description="the most memory it may use, as in `512m`")
    cpus: float | None = Field(default=None, gt=0, description="the most processors it may use, as in 1.5")
    healthcheck: Fixed[Healthcheck | None] = Field(
        default=None, description="how to find out whether it works"
    )
    privileged: Fixed[bool] = Field(default=False, description="with all rights on the host")
    cap_add: Fixed[list[Capability] | None] = Field(
        default=None, description="capabilities besides the usual ones"
    )
    pull: Literal["missing", "always", "never"] = Field(
        default="missing", description="when to pull the image"
    )
    triggers: Unread[Any] = Field(
        default=None, description="it is restarted when one of these values changes"
    )
    timeout: int = Field(
        default=300, ge=1, description="seconds until it must be healthy, or have run to its end"
    )

    @model_validator(mode="after")
    def _one_shot(self) -> Self:
        restarts = isinstance(self.restart_policy, str) and not self.restart_policy.startswith(
            ("no", "on-failure")
        )
        if self.detach is False and restarts:
            raise ValueError("a container that runs to its end (detach: false) cannot be restarted always")
        return self

    def natural_id(self) -> str:
        """Its name."""
        return self.name

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """It is always to run; lists whose order means nothing are sorted."""
        values = {name: value for name, value in super().wanted(also).items() if name not in _HOW}
        if known(values.get("published_ports")):
            values["published_ports"] = [
                each for port in values["published_ports"] for each in each_port(port)
            ]
        for name in ("published_ports", "volumes", "networks", "cap_add"):
            if isinstance(values.get(name), list) and known(values[name]):
                values[name] = sorted(set(values[name]))
        return {**values, "running": True}

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """What the image says of a health check, and the playbook does not, does not count."""
        if name == "healthcheck" and isinstance(wanted, dict) and isinstance(there, dict):
            return any(there.get(key) != value for key, value in wanted.items())
        return bool(wanted != there)

    def replaces(self, name: str, there: Values) -> bool:
        """Only limits, the restart policy and whether it runs can be changed in place."""
        return name not in _IN_PLACE

    @classmethod
    def unsettles(cls, changed: frozenset[str]) -> frozenset[str]:
        """A container that is started has another address."""
        return (
            frozenset({"ip", "state", "exit_code", "ports"})
            if changed & {"running", "triggers"}
            else frozenset()
        )

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """Differences as a person says them."""
        if name == "running":
            return f"it was {there}" if there == STARVED else "it does not run, or did not end well"
        if name == "image" and isinstance(there, str) and there.startswith("an older "):
            return f"it runs {there}"
        if name == "published_ports" and isinstance(wanted, list) and isinstance(there, list):
            missing = [port for port in wanted if port not in there]
            return f"port {', '.join(map(str, missing))} is not published" if missing else None
        return None

    # -- reading ---------------------------------------------------------------------------------------------

    @classmethod
    def look(cls, id: str, wanted: Self | None) -> str:
        """Prints what is asked for and the container cannot tell, itself, its image, the image asked for.

        Two calls of `docker`, which takes longer to start than all else.
        """
        image = wanted.image if wanted is not None and isinstance(wanted.image, str) else None
        entry = len(wanted.entrypoint or ()) if wanted is not None and known(wanted.entrypoint) else 0
        sort = "once" if wanted is not None and wanted.detach is False else "stays"
        images = f'"$image" {quote(image)}' if image else '"$image"'
        return (
            f"echo {quote(f'asked {sort} {entry} ' + (image or ''))}\n"
            + _docker.look(f"container inspect -f 'image {{{{.Image}}}}\n{{{{json .}}}}' {quote(id)}")
            + "image=$(printf '%s\\n' \"$said\" | sed -n 's/^image //p')\n"
            # Of these there may be none, one or both; which is which their ids tell.
            f"docker image inspect -f '{{{{json .}}}}' {images} 2>/dev/null || :\n"
        )

    @classmethod
    def parse(cls, id: str, status: int, output: bytes) -> Values | None:
        """The container's settings in the playbook's words."""
        found = _docker.read(output)
        if not found:
            return None
        container, *images = found
        _, sort, entry, asked = (output.decode(errors="replace").splitlines()[0] + " ").split(" ", 3)
        told = settings(container, images, asked=asked.strip(), entry=int(entry), once=sort == "once")
        return {"name": id, **told}

    # -- making ----------------------------------------------------------------------------------------------

    def commands(self, there: Values | None, changed: frozenset[str]) -> str:
        """Makes it and waits until it runs (or has run), or changes it in place."""
        script = FAIL + _docker.HAVE_DOCKER + _WAITING
        if there is None:
            return script + self._make()
        script += self._limits(changed)
        if "running" in changed:
            return script + (self._until_running("start") if self.detach else self._to_its_end())
        if "triggers" in changed:
            return script + (self._until_running("restart") if self.detach else self._to_its_end())
        return script

    def _limits(self, changed: frozenset[str]) -> str:
        options = []
        if "restart_policy" in changed and self.restart_policy is not None:
            options.append(f"--restart {quote(self.restart_policy)}")
        if "memory" in changed and isinstance(self.memory, str):
            swap = _docker.size_bytes(self.memory) * 2  # as Docker sets it for a new container
            options.append(f"--memory {self.memory} --memory-swap {swap}")
        if "cpus" in changed and self.cpus is not None:
            options.append(f"--cpus {self.cpus:g}")
        return f"docker update {' '.join(options)} {quote(self.name)} >/dev/null\n" if options else ""

    def _make(self) -> str:
        name = quote(self.name)
        first, *more = self.networks or [""]
        networks = f" --network {quote(first)}" if first else ""
        files, exports, variables = self._environment()
        # Made first and started later where it joins several networks. But only `run -d` leaves standard
        # input open when somebody who attached goes away.
        later = not self.detach or (more and not self.interactive)
        run = "create" if later else "run -d"
        arguments = [*(self.entrypoint or [])[1:], *(self.command or [])]
        make = (
            f"docker {run} --pull {self.pull} --name {name}{networks}{self._options(quote)}{variables} "
            f'"$@" {quote(self.image)} {shlex.join(arguments)}'.rstrip()
        )
        script = (
            f"{_docker.unless_ours('container', self.name)}"
            f'[ "$there" = no ] || docker rm -f -v {name} >/dev/null\n'
            f'eval "set -- $labctl_labels{files}"\n'
            f"({exports} {make} >/dev/null ) || {{ docker rm -f -v {name} >/dev/null 2>&1 || :; exit 1; }}\n"
        )
        script += "".join(f"docker network connect {quote(network)} {name}\n" for network in more)
        if not self.detach:
            return script + self._to_its_end()
        return script + self._until_running("start" if later else None)

    def _environment(self) -> tuple[str, str, str]:
        """Options, exports and variables that hand over the environment, off the command line."""
        env = self.env or {}
        lines = [name for name, value in env.items() if _fits_a_line(value)]
        rest = [name for name in env if name not in lines]
        files = ' --env-file \\"$labctl_upload_1\\"' if lines else ""
        # A name with a dot or dash cannot be exported; with a value that no file can hold, it is given whole.
        exports = "".join(f" export {name}={quote(env[name])};" for name in rest if name.isidentifier())
        given = [name if name.isidentifier() else f"{name}={env[name]}" for name in rest]
        return files, exports, "".join(f" -e {quote(text)}" for text in given)

    def uploads(self) -> Sequence[Upload]:
        """The environment, in the form of `docker run --env-file`."""
        lines = [f"{name}={value}\n" for name, value in (self.env or {}).items() if _fits_a_line(value)]
        return (Upload("".join(lines).encode()),) if lines else ()

    def _options(self, quoted: Any) -> str:
        """Options of `docker run` but for name, networks and environment."""
        options = [flag for flag, on in (("-i", self.interactive), ("-t", self.tty)) if on is True]
        options += [f"-p {quoted(port)}" for port in listed(self.published_ports)]
        options += [f"-v {quoted(volume)}" for volume in listed(self.volumes)]
        single = {
            "--restart": self.restart_policy,
            "--hostname": self.hostname,
            "--user": self.user,
            "--workdir": self.working_dir,
            "--memory": self.memory,
            "--cpus": self.cpus if self.cpus is None or isinstance(self.cpus, Unknown) else f"{self.cpus:g}",
            "--entrypoint": _first(self.entrypoint),
        }
        options += [f"{flag} {quoted(value)}" for flag, value in single.items() if value is not None]
        options += ["--privileged"] if self.privileged is True else []
        options += [f"--cap-add {quoted(name)}" for name in listed(self.cap_add)]
        options += health_options(self.healthcheck, quoted)
        labels = _docker.label_options(self.labels) if known(self.labels) else ""
        return "".join(f" {option}" for option in options) + labels

    def _until_running(self, verb: str | None) -> str:
        name = quote(self.name)
        start = f"docker {verb} {name} >/dev/null\n" if verb else ""
        wait = f"stays_up {name}\n"
        if known(self.healthcheck) and self.healthcheck is not None and self.healthcheck.test != "NONE":
            wait += f"becomes_healthy {name} {self.timeout}\n"
        return start + wait

    def _to_its_end(self) -> str:
        return f"ends_well {quote(self.name)} {self.timeout}\n"

    @classmethod
    def removal(cls, id: str, there: Values | None) -> str:
        """Removes it with its nameless volumes, and its image if a newer build took that one's name."""
        name = quote(id)
        remove = (
            f"image=$(docker container inspect -f '{{{{.Image}}}}' {name})\n"
            f"docker rm -f -v {name} >/dev/null\n"
            "form='{{len .RepoTags}} {{index .Config.Labels \"labctl:lab\"}}'\n"
            'if [ "$(docker image inspect -f "$form" "$image" 2>/dev/null)" = "0 $labctl_lab" ]; then\n'
            '  docker image rm "$image" >/dev/null 2>&1 || :\nfi'
        )
        return _docker.removal("container", id, remove)

    @classmethod
    def explain_failure(cls, status: int, stderr: str) -> tuple[str, str] | None:
        """Docker's errors in words."""
        return _docker.explain(stderr)

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`docker run`, `docker update`, `docker start` or `docker rm`."""
        if action == "delete":
            return [f"sudo docker rm -f {word(id)}"]
        name = word(self.name)
        if action == "update":
            limits = [
                f"sudo {line.removesuffix(' >/dev/null')}" for line in self._limits(changed).splitlines()
            ]
            again = {"running": f"sudo docker start {name}", "triggers": f"sudo docker restart {name}"}
            return limits + [line for field, line in again.items() if field in changed]
        networks = "".join(f" --network {word(network)}" for network in listed(self.networks)[:1])
        variables = "".join(f" -e {key}={word(value)}" for key, value in pairs(self.env))
        rest = [*listed(self.entrypoint)[1:], *listed(self.command)]
        detach = " -d" if self.detach else ""
        run = f"sudo docker run{detach} --name {name}{networks}{self._options(word)}{variables}"
        joins = [
            f"sudo docker network connect {word(network)} {name}" for network in listed(self.networks)[1:]
        ]
        return [" ".join([run, word(self.image), *map(word, rest)]), *joins]


_WAITING = """\
starved() {
  form='{{.State.OOMKilled}} {{.HostConfig.Memory}}'
  case $(docker container inspect -f "$form" "$name") in
    'true 0') fail "the container $name was killed: the host ran out of memory" \\
      'give the host more (a larger `instance_type`), or the container less to do' ;;
    true*) limit=$(docker container inspect -f '{{.HostConfig.Memory}}' "$name")
      fail "the container $name was killed: it took more memory than its limit, $((limit >> 20)) MB" \\
        'give it a larger `memory`, or less to do' ;;
  esac
}
tell() { docker logs --tail 20 "$name" >&2 2>&1 || :; }
last() { docker logs --tail 5 "$name" 2>&1 | grep . | tail -n 1 | sed 's/^/: /' || :; }
stays_up() {
  name=$1
  # One that dies at once dies within this time; what restarts it counts as dying, too.
  if code=$(timeout 0.5 docker wait "$name"); then
    tell
    starved
    fail "the container $name ended at once with exit status $code$(last)" \\
      "see what it says: docker logs $name"
  fi
  state=$(docker container inspect -f '{{.State.Status}} {{.RestartCount}}' "$name")
  [ "$state" = 'running 0' ] || {
    tell
    starved
    fail "the container $name does not stay up ($state restarts)$(last)" \\
      "see what it says: docker logs $name"
  }
}
becomes_healthy() {
  name=$1 until=$(($(date +%s) + $2))
  while :; do
    health=$(docker container inspect -f '{{.State.Status}} {{.State.Health.Status}}' "$name")
    case $health in
      'running healthy') return 0 ;;
      'running starting') ;;
      *)
        tell
        starved
        fail "the container $name is not healthy ($health)" "see its tests: docker inspect $name" ;;
    esac
    [ "$(date +%s)" -lt "$until" ] || fail "the container $name did not become healthy in $2 s" \\
      'give it a longer `timeout`, or put right its `healthcheck`'
    sleep 0.5
  done
}
ends_well() {
  name=$1 most=$2
  docker start "$name" >/dev/null
  code=$(timeout "$most" docker wait "$name") ||
    fail "the container $name did not end in $most s" 'give it a longer `timeout`'
  docker logs "$name" || :
  [ "$code" = 0 ] || {
    starved
    fail "the container $name ended with exit status $code$(last)" "see what it says: docker logs $name"
  }
}
"""


def _fits_a_line(value: str) -> bool:
    # Docker reads such a file line by line, and no line longer than 64 KiB.
    return "\n" not in value and "\r" not in value and len(value) < 60_000


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value if isinstance(value, Unknown) else None
