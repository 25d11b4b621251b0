"""All hosts of a lab: who they are, the connections to them, their keys, and the ssh_config for others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.errors import HostUnreachable, StepFailed
from engine.hosts import ssh_config
from engine.hosts.agent import Forwarding
from engine.hosts.host import Host
from engine.hosts.known_hosts import KnownHosts, parse_keys, write_private
from engine.hosts.spec import HostSpec, alias
from engine.hosts.user_config import UserConfig, known_keys
from engine.hosts.waiting import Patience, once, until_there
from engine.hosts.wire import SAY
from engine.world import never, silent

if TYPE_CHECKING:
    from paramiko.transport import Transport

    from engine.hosts.keys import Passphrases
    from engine.hosts.log import RunLog

_ATTEMPT: Final = 8.0
"""Seconds that each stage of one attempt may take while waiting."""
_SILENCES: Final = (2.0, 4.0)
"""Seconds that the first attempts wait for a port to answer: the user soon learns what is waited for."""
_AGAIN: Final = 60.0
"""Seconds to wait for a host whose connection was lost between two scripts."""
_SETTLING: Final = 900.0
"""Seconds that cloud-init may take."""

_SETTLE = """\
command -v cloud-init >/dev/null 2>&1 || exit 0
[ ! -e /run/cloud-init/disabled ] || exit 0
if [ {known} = yes ] && [ -e /var/lib/cloud/instance/boot-finished ]; then exit 0; fi
if [ ! -e /var/lib/cloud/instance/boot-finished ]; then
  echo '{say}cloud-init still sets it up; its log there: /var/log/cloud-init-output.log' >&2
fi
cloud-init status --wait >/dev/null 2>&1
status=$?
[ $status -eq 1 ] || exit 0
tail -n 15 /var/log/cloud-init-output.log 2>/dev/null
exit 1
"""


def _says(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode()
    except OSError:
        return False


@dataclass
class _Place:
    spec: HostSpec
    host: Host
    lock: threading.RLock = field(default_factory=threading.RLock)
    settled: bool = False


def _way(name: str, places: Mapping[str, _Place]) -> list[str]:
    """`name`, and the hosts that it is reached through."""
    way: list[str] = []
    step: str | None = name
    while step is not None and step in places and step not in way:
        way.append(step)
        step = places[step].spec.via
    return way


class Hosts:
    """The hosts of one lab. Safe among threads.

    `folder` is the lab's own: known_hosts and ssh_config are kept in it. `proxy` is `host:port` of a SOCKS5
    proxy for the first hop, which resolves names. `passphrases` asks for those of key files.
    """

    def __init__(
        self,
        *,
        folder: Path,
        proxy: str | None = None,
        log: RunLog | None = None,
        passphrases: Passphrases | None = None,
    ) -> None:
        self._passphrases = passphrases
        self._folder = folder
        self._proxy = proxy
        self._log = log
        self._known = KnownHosts(folder / "known_hosts")
        self._user = UserConfig(Path("~/.ssh").expanduser())
        self._places: dict[str, _Place] = {}
        self._lock = threading.Lock()

    def know(self, spec: HostSpec) -> None:
        """Take on what is known of a host; a connection to what it was before is closed.

        For one that is already there the user's own SSH settings say the rest. Raises HostUnreachable where
        they cannot be read.
        """
        if not spec.machine.already_there:
            self._know(spec)
            return
        for each in self._user.applied(spec):
            self._know(each)
            if not self._known.keys(each.alias):
                told = parse_keys(known_keys(self._user.folder, each.hostname or "", each.port))
                if told:
                    self._known.put(each.alias, told)

    def _know(self, spec: HostSpec) -> None:
        with self._lock:
            place = self._places.get(spec.name)
            if place is not None and place.spec.target == spec.target:
                place.spec = spec
                return
            self._places[spec.name] = self._place(spec)
        if place is not None:
            place.host.close()

    def spec(self, name: str) -> HostSpec:
        """What is known of the host `name`.

        Raises HostUnreachable where nothing is.
        """
        return self._of(name).spec

    def host(
        self,
        name: str,
        *,
        say: Callable[[str], None] = silent,
        timeout: float | None = None,
        stopped: Callable[[], bool] | None = None,
    ) -> Host:
        """The host `name`, logged in and set up (cloud-init done); waits for that and says why.

        `timeout` is in seconds. Without it, contact may take five minutes, one where the network certainly
        keeps the caller out, and cloud-init a quarter of an hour. `stopped` tells that the user wants to
        stop. Raises HostUnreachable, explained in stages; StepFailed where cloud-init failed; Interrupted.
        """
        return self._host(name, Patience(timeout, stopped=stopped or never), say)

    def _host(self, name: str, patience: Patience, say: Callable[[str], None]) -> Host:
        place = self._of(name)
        self._take(place, patience, say)
        try:
            known = place.settled or bool(self._known.keys(place.spec.alias))
            place.host.contact(lambda: self._wait(place, patience, say, fresh=not known))
            if not place.settled:
                self._settle(place, known, patience, say)
                place.settled = True
            return place.host
        finally:
            place.lock.release()

    def _take(self, place: _Place, patience: Patience, say: Callable[[str], None]) -> None:
        if place.lock.acquire(blocking=False):
            return
        name = place.spec.name
        say(f"waiting for {name}: it is being contacted")
        while not place.lock.acquire(timeout=0.1):
            patience.check(name)
            if patience.left == 0:
                raise HostUnreachable(f"{name} is still being contacted")

    def glance(self, name: str, *, timeout: float = 8) -> Host:
        """The host `name` if it can be reached at once, each stage within `timeout` seconds; no waiting.

        Raises HostUnreachable, explained in stages.
        """
        place = self._of(name)
        if not place.lock.acquire(timeout=timeout):
            raise HostUnreachable(f"{name} is still being contacted")
        try:
            place.host.contact(lambda: self._look_in(place, timeout))
            return place.host
        finally:
            place.lock.release()

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """While this lasts nothing else runs on the host `name`, nor on those reached through it.

        It must have been contacted before.
        """
        with self._lock:
            places = dict(self._places)
        # Always in the same order, or two who want to be alone might wait for each other.
        with ExitStack() as stack:
            for other in sorted(places):
                if name in _way(other, places):
                    stack.enter_context(places[other].host.alone())
            yield

    @property
    def known_hosts(self) -> Path:
        """The file of the lab's host keys."""
        return self._known.path.absolute()

    def lets_in(self, spec: HostSpec, user: str, *, timeout: float) -> bool:
        """Whether the host takes the same key for another user; tried once, and the connection is closed."""
        from engine.hosts.connect import Setback

        other = replace(spec, user=user)
        place = self._place(other)

        def bridge() -> Transport:
            return self._bridge(spec, lambda via: self.glance(via, timeout=timeout))

        try:
            self._attempt(place, silent, timeout, bridge).close()
        except (Setback, HostUnreachable):
            return False
        return True

    def forget(self, name: str) -> None:
        """The machine is deleted or about to be made anew: close the connection, drop its host keys."""
        with self._lock:
            place = self._places.pop(name, None)
        if place is not None:
            place.host.close()
        # Also where an earlier run, cut short, made the contact: this one may not have met the host yet.
        self._known.drop(alias(name))

    def write_ssh_config(self) -> Path:
        """Write the ssh_config with which plain `ssh -F FILE NAME` reaches the hosts; its path.

        A file that says the same already is left alone.
        """
        path = (self._folder / "ssh_config").absolute()
        with self._lock:
            specs = sorted((place.spec for place in self._places.values()), key=lambda spec: spec.name)
        text = ssh_config.text(specs, known_hosts=self._known.path.absolute(), proxy=self._proxy)
        if not _says(path, text):
            write_private(path, text)
        return path

    def close(self) -> None:
        """End all connections."""
        with self._lock:
            places = list(self._places.values())
        # Those reached through others first: their channels run over the others' connections.
        for place in sorted(places, key=lambda place: place.spec.via is None):
            place.host.close()

    def _of(self, name: str) -> _Place:
        with self._lock:
            place = self._places.get(name)
        if place is None:
            raise HostUnreachable(f"{name} is not there yet", "apply the playbook first")
        return place

    def _place(self, spec: HostSpec) -> _Place:
        host = Host(
            spec.name,
            spec.user,
            lambda: self._wait(place, Patience(_AGAIN), silent),
            forwarding=Forwarding(spec.key) if spec.forward_agent else None,
            log=self._log,
        )
        place = _Place(spec, host)
        return place

    def _wait(
        self, place: _Place, patience: Patience, say: Callable[[str], None], *, fresh: bool = False
    ) -> Transport:
        def bridge() -> Transport:
            return self._bridge(place.spec, lambda via: self._host(via, patience, say))

        if place.spec.via is not None:
            # The host before it has its own stages, waits and words.
            bridge()
        silences = iter(_SILENCES)
        return until_there(
            place.spec,
            lambda: self._attempt(
                place, say, min(_ATTEMPT, max(patience.left, 1.0)), bridge, next(silences, None)
            ),
            patience,
            say,
            fresh=fresh,
            undo=lambda late: late.close(),
        )

    def _look_in(self, place: _Place, timeout: float) -> Transport:
        def bridge() -> Transport:
            return self._bridge(place.spec, lambda via: self.glance(via, timeout=timeout))

        return once(place.spec, lambda: self._attempt(place, silent, timeout, bridge))

    def _attempt(
        self,
        place: _Place,
        say: Callable[[str], None],
        timeout: float,
        bridge: Callable[[], Transport],
        silence: float | None = None,
    ) -> Transport:
        from engine.hosts.connect import Way, connect
        from engine.hosts.keys import identities

        spec = place.spec
        way = Way(self._known, self._proxy, bridge if spec.via else None, silence)
        with ExitStack() as stack:
            try:
                keys = stack.enter_context(identities(spec.key, self._passphrases))
            except HostUnreachable as error:
                words = f"{spec.name} cannot be reached: {error.message}"
                raise HostUnreachable(words, error.remedy) from error
            return connect(spec, way, keys, say=self._told(spec, say), timeout=timeout)

    def _bridge(self, spec: HostSpec, host: Callable[[str], Host]) -> Transport:
        via = spec.via or ""
        try:
            return host(via).bridge()
        except HostUnreachable as error:
            raise HostUnreachable(f"{spec.name} is behind {via}: {error.message}", error.remedy) from error

    def _told(self, spec: HostSpec, say: Callable[[str], None]) -> Callable[[str], None]:
        def tell(text: str) -> None:
            say(text)
            if self._log is not None:
                self._log.say(spec.name, text)

        return tell

    def _settle(self, place: _Place, known: bool, patience: Patience, say: Callable[[str], None]) -> None:
        name = place.spec.name

        def tell(text: str) -> None:
            say(f"waiting for {name}: {text}")

        script = _SETTLE.format(known="yes" if known else "no", say=SAY)
        seconds = _SETTLING if patience.timeout is None else max(patience.left, 1.0)
        ran = patience.meanwhile(lambda: place.host.run(script, timeout=seconds, say=tell), name)
        place.host.round_trips -= 1
        if ran.status != 0:
            tail = ran.stdout.decode("utf-8", "replace").strip()
            raise StepFailed(
                f"cloud-init failed on {name}" + (f":\n{tail}" if tail else ""),
                f"correct its user data and replace it: --replace {name}",
            )
