"""Images by a Docker Engine: built from a folder, named, pushed, removed."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from engine.errors import StepFailed, Unreachable
from engine.world import silent

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECONDS: Final = 900
"""The longest silence of an Engine that builds: a RUN step may say nothing for minutes."""
_TAIL: Final = 12
"""Lines of a build that failed which are shown."""
_START: Final = (
    "start Docker Desktop, or on Linux: sudo systemctl start docker. DOCKER_HOST, or `docker: {host: …}` "
    "in the inventory, names another"
)


@dataclass(frozen=True)
class Login:
    """User and password for a registry."""

    user: str
    password: str


class Docker:
    """A Docker Engine; making one asks nothing and imports nothing of docker-py."""

    def __init__(self, host: str | None = None) -> None:
        """`host` is as DOCKER_HOST has it; None for what that says, or else the current context."""
        self._host = host
        self._lock = threading.Lock()
        self._made: Any = None

    def build(
        self,
        context: bytes,
        *,
        name: str,
        dockerfile: str = "Dockerfile",
        args: Mapping[str, str] | None = None,
        platform: str | None = None,
        target: str | None = None,
        labels: Mapping[str, str] | None = None,
        say: Callable[[str], None] = silent,
    ) -> str:
        """Builds the tar archive `context` and names the image `name`; its id. The one before it goes.

        `say` is told each step. Raises StepFailed with the end of the build's output, and Unreachable.
        """
        with self._reached() as engine:
            before = _id_of(engine, name)
            told = engine.build(
                fileobj=io.BytesIO(context),
                custom_context=True,
                dockerfile=dockerfile,
                tag=name,
                buildargs=dict(args or {}),
                platform=platform,
                target=target or "",
                labels=dict(labels or {}),
                rm=True,
                forcerm=True,
                decode=True,
            )
            id = _built(told, say)
            if before not in (None, id):
                _remove(engine, str(before))
            return id

    def name(self, name: str, other: str) -> None:
        """Gives the image `name` another name besides (`HOST/REPOSITORY:TAG`). Raises Unreachable."""
        repository, _, tag = other.rpartition(":")
        with self._reached() as engine:
            engine.tag(name, repository, tag=tag)

    def push(self, name: str, login: Login) -> str:
        """Pushes the image `name` (`HOST/REPOSITORY:TAG`); the digest it has in the registry.

        Raises StepFailed in the registry's words, and Unreachable.
        """
        repository, _, tag = name.rpartition(":")
        with self._reached() as engine:
            told = engine.push(
                repository,
                tag=tag,
                auth_config={"username": login.user, "password": login.password},
                stream=True,
                decode=True,
            )
            return _pushed(told, name)

    def remove(self, name: str) -> None:
        """Takes the name `name` away, and the image with its last one; quiet where there is none.

        Raises Unreachable.
        """
        with self._reached() as engine:
            _remove(engine, name)

    def close(self) -> None:
        """Ends its connections; the next request makes new ones."""
        with self._lock:
            if self._made is not None:
                self._made.close()
                self._made = None

    def about(self) -> str:
        """Where it is and which version it has, in words. Raises Unreachable."""
        with self._reached() as engine:
            return f"Docker Engine {engine.version()['Version']} at {engine.base_url}"

    @contextmanager
    def _reached(self) -> Iterator[Any]:
        """A client for the Engine; its failures on the way come out as Unreachable or StepFailed."""
        from docker.errors import APIError, DockerException
        from requests.exceptions import RequestException

        try:
            yield self._client()
        except APIError as error:
            raise StepFailed(f"the Docker Engine refuses: {error.explanation or error}") from error
        except (DockerException, RequestException) as error:
            where = self._host or "the usual place"
            if "permission denied" in str(error).lower():
                remedy = "sudo usermod -aG docker $USER, then log in anew"
                raise Unreachable(f"you may not use the Docker Engine at {where}", remedy) from error
            raise Unreachable(f"no Docker Engine answers at {where}: {_last(error)}", _START) from error

    def _client(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = _connect(self._host)
            return self._made


def _connect(host: str | None) -> Any:
    """A client of docker-py. Raises its DockerException where nobody answers."""
    import docker
    from docker.context import ContextAPI
    from docker.utils import kwargs_from_env

    given = {"base_url": host} if host else kwargs_from_env()
    if "base_url" not in given:
        current = ContextAPI.get_current_context()
        if current is not None and current.Host:
            given["base_url"] = current.Host
    return docker.APIClient(version="auto", timeout=_SECONDS, **given)


def _id_of(engine: Any, name: str) -> str | None:
    """The id of the image `name`; None where there is none."""
    from docker.errors import ImageNotFound

    try:
        return str(engine.inspect_image(name)["Id"])
    except ImageNotFound:
        return None


def _remove(engine: Any, name: str) -> None:
    from docker.errors import APIError

    try:
        engine.remove_image(name, noprune=False)
    except APIError as error:
        # What a container still runs, or another name stands for, stays, as `docker rmi` leaves it.
        if error.status_code not in (404, 409):
            raise


def _built(told: Iterable[Mapping[str, Any]], say: Callable[[str], None]) -> str:
    lines: list[str] = []
    id = error = ""
    # Read to its end also after an error: what is left unread keeps the connection open.
    for one in told:
        error = error or str(one.get("error", "")).strip()
        line = str(one.get("stream", "")).strip()
        if line:
            lines.append(line)
        if line.startswith("Step "):
            say(line)
        id = str((one.get("aux") or {}).get("ID", id))
    if error:
        end = "\n".join(lines[-_TAIL:])
        raise StepFailed(f"the image cannot be built: {error}\n{end}".strip())
    if not id:
        raise StepFailed("the Docker Engine built nothing: " + "\n".join(lines[-_TAIL:]))
    return id


def _pushed(told: Iterable[Mapping[str, Any]], name: str) -> str:
    digest = error = ""
    for one in told:
        error = error or str(one.get("error", "")).strip()
        digest = str((one.get("aux") or {}).get("Digest", digest))
    if error:
        raise StepFailed(f"{name} cannot be pushed: {error}")
    if not digest:
        raise StepFailed(f"the registry did not tell the digest of {name}", "run the same command again")
    return digest


def _last(error: Exception) -> str:
    """The last words of the long messages of docker-py and requests."""
    return str(error).rpartition(": ")[2].strip("'\")( ")
