"""Containers on hosts: `docker_container`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from engine.by_hand import word
from engine.on_host import OnHost, Upload
from engine.refs import Unknown
from engine.resource import Fields, Fixed, Output, Unread, Values, plain
from engine.resources.hosts import _docker
from engine.resources.hosts._docker import LAB, DockerName, Duration, ImageName, Size
from engine.resources.hosts._shell import FAIL, Environment, Words, known, listed, pairs, quote

_HOW = ("detach", "pull", "timeout")
"""Fields that say how to make it and cannot be read back."""
_IN_PLACE = frozenset({"restart_policy", "memory", "cpus", "running", "triggers"})


def _port(value: Any) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    form = (
        r"(?:(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<four>\d+\.\d+\.\d+\.\d+)):)?"
        r"(?:(?P<host>\d+(?:-\d+)?)?:)?(?P<inside>\d+(?:-\d+)?)"
    )
    found = re.fullmatch(form + r"(?:/(?P<protocol>tcp|udp|sctp))?", text) if isinstance(text, str) else None
    if not found:
        raise ValueError('must be a port as Docker publishes it, such as "8003:80" or "127.0.0.1:53:53/udp"')
    for number in re.findall(r"\d+", f"{found['host'] or ''} {found['inside']}"):
        if not 1 <= int(number) <= 65535:
            raise ValueError(f"{number} is no port; ports go from 1 to 65535")
    if found["host"] and "-" in found["inside"] and _width(found["host"]) != _width(found["inside"]):
        raise ValueError("a range of ports is published on a range of the same length")
    address = f"[{found['six']}]" if found["six"] else found["four"]
    return _published(address, found["host"], found["inside"], found["protocol"])


def _width(ports: str) -> int:
    first, _, last = ports.partition("-")
    return int(last or first) - int(first) + 1


def _each(published: str) -> list[str]:
    """The single ports that a range in the container stands for, as Docker tells them."""
    outside, colon, rest = published.rpartition(":")
    found = re.fullmatch(r"(\d+)-(\d+)((?:/\w+)?)", rest)
    if not found:
        return [published]
    address, host = re.fullmatch(r"(.*?)(\d+-\d+)?", outside).groups("")  # type: ignore[union-attr]
    first, begin = int(found[1]), int(host.partition("-")[0]) if host else 0
    return [
        f"{address}{begin + number - first if host else ''}{colon}{number}{found[3]}"
        for number in range(first, int(found[2]) + 1)
    ]


def _published(address: str | None, host: str | None, inside: str, protocol: str | None) -> str:
    """One published port in the form in which ports are compared."""
    outside = f"{host}:" if host else ":" if address else ""
    end = f"/{protocol}" if protocol and protocol != "tcp" else ""
    return f"{f'{address}:' if address else ''}{outside}{inside}{end}"


def _volume(value: Any) -> str:
    parts = value.split(":") if isinstance(value, str) else []
    if not 1 <= len(parts) <= 3 or not all(parts):
        raise ValueError("must be a volume as Docker takes it, such as /srv/www:/data:ro or name:/data")
    source, inside, options = _bind(parts)
    if not inside.startswith("/"):
        raise ValueError(f"{inside} is no whole path in the container")
    if source is not None and not source.startswith("/") and not re.fullmatch(r"[a-zA-Z0-9][\w.-]*", source):
        raise ValueError(f"{source} must be a whole path on the host or the name of a volume")
    return _mount(source, inside, options)


def _bind(parts: list[str]) -> tuple[str | None, str, str]:
    if len(parts) == 1:
        return None, parts[0], ""
    return parts[0], parts[1], parts[2] if len(parts) == 3 else ""


def _mount(source: str | None, inside: str, options: str) -> str:
    """One volume in the form in which volumes are compared."""
    kept = sorted(option for option in options.split(",") if option not in ("", "rw"))
    ends = [part if part == "/" else part.rstrip("/") for part in (source, inside) if part is not None]
    return ":".join([*ends, *([",".join(kept)] if kept else [])])


def _restart(value: Any) -> str:
    if value is False:  # YAML's `no`
        return "no"
    if isinstance(value, str) and re.fullmatch(r"no|always|unless-stopped|on-failure(:\d+)?", value):
        return value.removesuffix(":0")
    raise ValueError("must be no, always, unless-stopped, on-failure or on-failure:3")


def _capability(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"(?i)(CAP_)?[A-Z_]+", value):
        return value.upper().removeprefix("CAP_")
    raise ValueError("must be a capability, such as NET_ADMIN")


def _test(value: Any) -> Any:
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        first, rest = value[0], value[1:]
        if first == "NONE":
            return "NONE"
        return (
            rest[0]
            if first == "CMD-SHELL" and len(rest) == 1
            else shlex.join(rest if first == "CMD" else value)
        )
    return value


class Healthcheck(Fields):
    """How Docker finds out whether a container does its work."""

    test: Annotated[str, BeforeValidator(_test)] = Field(
        description="a line for the container's sh; `NONE` for none"
    )
    interval: Duration | None = Field(default=None, description="time between tests")
    timeout: Duration | None = Field(default=None, description="time for one test")
    start_period: Duration | None = Field(default=None, description="time in which failures do not count")
    retries: int | None = Field(default=None, ge=1, description="failures in a row that make it unhealthy")


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
    published_ports: Fixed[list[Annotated[str, BeforeValidator(_port)]] | None] = Field(
        default=None, description='ports of the host, as in `"8003:80"`'
    )
    volumes: Fixed[list[Annotated[str, BeforeValidator(_volume)]] | None] = Field(
        default=None, description="folders of the host or volumes, as in `/srv/www:/data:ro`"
    )
    networks: Fixed[list[str] | None] = Field(
        default=None, min_length=1, description="Docker networks, or `host`, or `none`"
    )
    restart_policy: Annotated[str, BeforeValidator(_restart)] | None = Field(
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
    cap_add: Fixed[list[Annotated[str, BeforeValidator(_capability)]] | None] = Field(
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
            values["published_ports"] = [each for port in values["published_ports"] for each in _each(port)]
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
            return f"it was {there}" if there == _STARVED else "it does not run, or did not end well"
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
        image = next((each for each in images if each.get("Id") == container.get("Image")), {})
        _, sort, entry, asked = (output.decode(errors="replace").splitlines()[0] + " ").split(" ", 3)
        config, host, state = container["Config"], container["HostConfig"], container["State"]
        of_image = image.get("Config") or {}
        entrypoint, command = _argv(config, int(entry))
        networks = (container.get("NetworkSettings") or {}).get("Networks") or {}
        done = state.get("Status") == "exited" and state.get("ExitCode") == 0
        return {
            "name": id,
            "id": container["Id"],
            "owner": (config.get("Labels") or {}).get(LAB),
            "image": _image(
                config.get("Image", ""), container.get("Image"), asked.strip(), _asked_for(images, image)
            ),
            "command": command,
            "entrypoint": entrypoint,
            "env": _environment(config.get("Env"), of_image.get("Env")),
            "published_ports": _ports(host.get("PortBindings")),
            "volumes": _volumes(host.get("Binds"), config.get("Volumes"), of_image.get("Volumes")),
            "networks": sorted(networks),
            "restart_policy": _policy(host.get("RestartPolicy") or {}),
            "running": _runs(state, done=done if sort == "once" else None),
            "interactive": bool(config.get("OpenStdin")),
            "tty": bool(config.get("Tty")),
            "hostname": config.get("Hostname"),
            "user": config.get("User") or "",
            "working_dir": config.get("WorkingDir") or "",
            "labels": _docker.own_labels(config.get("Labels")),
            "memory": _docker.size_text(host["Memory"]) if host.get("Memory") else None,
            "cpus": host["NanoCpus"] / 10**9 if host.get("NanoCpus") else None,
            "healthcheck": _healthcheck(config.get("Healthcheck")),
            "privileged": bool(host.get("Privileged")),
            "cap_add": sorted(_capability(name) for name in host.get("CapAdd") or ()),
            "ip": next(
                (network["IPAddress"] for network in networks.values() if network.get("IPAddress")), None
            ),
            "state": state.get("Status"),
            "exit_code": state.get("ExitCode"),
            "ports": _taken((container.get("NetworkSettings") or {}).get("Ports")),
        }

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
        if "memory" in changed and self.memory is not None:
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
        options += _health_options(self.healthcheck, quoted)
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


_STARVED = "killed: it took more memory than it may"
"""What is read in place of `running` where the kernel ended it."""

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


def _argv(config: Mapping[str, Any], count: int) -> tuple[list[str], list[str]]:
    """Entry point and command; `docker run` puts all but an entry point's first word before the command."""
    entrypoint, command = list(config.get("Entrypoint") or ()), list(config.get("Cmd") or ())
    moved = max(0, count - len(entrypoint)) if entrypoint else 0
    return entrypoint + command[:moved], command[moved:]


def _runs(state: Mapping[str, Any], *, done: bool | None) -> bool | str:
    """Whether it runs, or is `done` where it is to run once; words where its memory was not enough."""
    runs = bool(state.get("Running")) and not state.get("Restarting") if done is None else done
    return runs or (_STARVED if state.get("OOMKilled") is True else False)


def _asked_for(images: list[dict[str, Any]], own: dict[str, Any]) -> str | None:
    """The id of the image asked for; `images` are what is there of the container's `own` and of that one."""
    rest = list(images)
    if own:
        rest.remove(own)
    return rest[0].get("Id") if rest else None


def _image(name: str, id: str | None, asked: str, there: str | None) -> str:
    """The image as the playbook names it if it is that one, else what it was made from."""
    if there is not None and there == id:
        return asked
    # The image asked for is not on the host: the name it was made from decides.
    if asked and there is None:
        return name
    return f"an older {name}" if asked == name else name


def _environment(env: list[str] | None, of_image: list[str] | None) -> dict[str, str]:
    own = [line for line in env or () if line not in (of_image or ())]
    return {name: value for name, _, value in (line.partition("=") for line in own)}


def _ports(bindings: Mapping[str, list[dict[str, str]] | None] | None) -> list[str]:
    made = []
    for inside, places in (bindings or {}).items():
        port, _, protocol = inside.partition("/")
        for place in places or ():
            address = place.get("HostIp") or None
            shown = f"[{address}]" if address and ":" in address else address
            made.append(_published(shown, place.get("HostPort") or None, port, protocol))
    return sorted(set(made))


def _volumes(
    binds: list[str] | None, volumes: Mapping[str, Any] | None, of_image: Mapping[str, Any] | None
) -> list[str]:
    made = [_mount(*_bind(bind.split(":"))) for bind in binds or ()]
    inside = {_bind(bind.split(":"))[1].rstrip("/") for bind in binds or ()}
    nameless = [
        path for path in volumes or () if path not in (of_image or ()) and path.rstrip("/") not in inside
    ]
    return sorted({*made, *(_mount(None, path, "") for path in nameless)})


def _policy(policy: Mapping[str, Any]) -> str:
    count = policy.get("MaximumRetryCount") or 0
    return (policy.get("Name") or "no") + (f":{count}" if count else "")


def _healthcheck(check: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not check:
        return None
    times = {"interval": "Interval", "timeout": "Timeout", "start_period": "StartPeriod"}
    values = {name: _docker.duration_text(check[key]) for name, key in times.items() if check.get(key)}
    retries = {"retries": check["Retries"]} if check.get("Retries") else {}
    return {"test": _test(list(check.get("Test") or ())), **values, **retries}


def _health_options(check: Any, quoted: Any) -> list[str]:
    if not isinstance(check, Healthcheck):
        return []
    if check.test == "NONE":
        return ["--no-healthcheck"]
    flags = {"test": "cmd", "interval": "interval", "timeout": "timeout", "start_period": "start-period"}
    values = plain(check)
    options = [f"--health-{flag} {quoted(values[name])}" for name, flag in flags.items() if name in values]
    return options + ([f"--health-retries {quoted(values['retries'])}"] if "retries" in values else [])


def _taken(ports: Mapping[str, list[dict[str, str]] | None] | None) -> dict[str, str]:
    return {inside: places[0]["HostPort"] for inside, places in (ports or {}).items() if places}


def _fits_a_line(value: str) -> bool:
    # Docker reads such a file line by line, and no line longer than 64 KiB.
    return "\n" not in value and "\r" not in value and len(value) < 60_000


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value if isinstance(value, Unknown) else None
