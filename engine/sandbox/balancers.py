"""What load balancers do: they answer at their names, forward by their rules, and ask targets how they are.

HTTP/1.1 (RFC 9112), one request a connection. Listeners with TLS do not answer: there are no certificates.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import itertools
import logging
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from engine.sandbox.aws.balancing import backends, healths, is_used
from engine.sandbox.aws.patterns import like
from engine.sandbox.aws.tenants import interfaces_of
from engine.sandbox.network import by_private, reachable
from engine.sandbox.wires import NoSuchHost, Wires, keep, pair

if TYPE_CHECKING:
    from engine.sandbox.aws.cloud import Cloud

CHECK_SECONDS: Final = 0.5
"""Between two health checks, whatever the target group says: no lab has half a minute for each."""
_CHECKS_AT_FIRST: Final = 40
"""So many checks may fail before a new target counts as unwell: programs take their time to start."""
_ANSWER_SECONDS: Final = 60.0
_REQUEST_BYTES: Final = 1 << 20
_CHUNK: Final = 1 << 16
_STATES: Final = {
    400: "Bad Request",
    404: "Not Found",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """The head of a request."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str:
        """The value of a header; empty where there is none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    @property
    def path(self) -> str:
        """Without the query."""
        return self.target.partition("?")[0]


class Balancers:
    """All load balancers of the sandbox."""

    def __init__(self, cloud: Cloud, wires: Wires) -> None:
        self._cloud = cloud
        self._wires = wires
        self._turns: dict[str, itertools.count[int]] = {}

    async def service(self, host: str, port: int, client: str) -> socket.socket | None:
        """A connection from `client` on the internet to the load balancer `host`; for `Wires.services`."""
        with self._cloud.lock:
            for backend, ec2 in backends():
                for balancer in backend.load_balancers.values():
                    if balancer.dns_name == host.lower():
                        return self._open(balancer, ec2, port, client)
        raise NoSuchHost(host)

    async def tenant(self, arn: str, port: int, client: str) -> socket.socket | None:
        """A connection that has arrived at the interface of a task or load balancer; for `Wires.tenants`."""
        if ":loadbalancer/" in arn:
            with self._cloud.lock:
                return self._answer(arn, port, client)
        workload = self._cloud.runner.workload(arn, port)
        if workload is None:
            raise ConnectionRefusedError
        return await workload.open(port)

    def _open(self, balancer: Any, ec2: Any, port: int, client: str) -> socket.socket | None:
        balancer.activate()
        if balancer.state != "active" or balancer.scheme == "internal":
            return None
        nics = list(interfaces_of(ec2, balancer.arn))
        if not any(reachable(ec2, nic, client, port) for nic in nics):
            return None
        return self._answer(balancer.arn, port, client)

    def _answer(self, arn: str, port: int, client: str) -> socket.socket:
        listener = self._listener(arn, port)
        if listener is None or listener.protocol != "HTTP":
            raise ConnectionRefusedError
        here, there = pair()
        keep(self._serve(there, arn, port, client))
        return here

    def _listener(self, arn: str, port: int) -> Any | None:
        for backend, _ in backends():
            balancer = backend.load_balancers.get(arn)
            for listener in balancer.listeners.values() if balancer is not None else ():
                if int(listener.port) == port:
                    return listener
        return None

    async def _serve(self, end: socket.socket, arn: str, port: int, client: str) -> None:
        reader, writer = await asyncio.open_connection(sock=end, limit=_REQUEST_BYTES)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._talk(reader, writer, arn, port, client)
        except TimeoutError:
            with contextlib.suppress(OSError):
                writer.write(_plain(504))
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def _talk(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, arn: str, port: int, client: str
    ) -> None:
        request = _head(await reader.readuntil(b"\r\n\r\n"))
        if request is None:
            writer.write(_plain(400))
            return
        with self._cloud.lock:
            listener = self._listener(arn, port)
            action = _action(listener, request, client) if listener is not None else None
        if action is None:
            writer.write(_plain(503))
        elif action["Type"] == "fixed-response":
            writer.write(_fixed(action["FixedResponseConfig"]))
        elif action["Type"] == "redirect":
            writer.write(_redirect(action["RedirectConfig"], request, port))
        else:
            await self._forward(reader, writer, request, arn, action, (port, client))

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        request: Request,
        arn: str,
        action: Mapping[str, Any],
        seen: tuple[int, str],
    ) -> None:
        target = self._target(arn, action)
        if target is None:
            writer.write(_plain(503))
            return
        try:
            line = await self._connect(arn, *target)
        except ConnectionRefusedError:
            line = None
        if line is None:
            writer.write(_plain(502))
            return
        there_reader, there_writer = await asyncio.open_connection(sock=line)
        try:
            there_writer.write(_passed_on(request, *seen))
            await _pass_body(request, reader, there_writer, writer)
            await _pass_answer(there_reader, writer)
        finally:
            there_writer.close()

    def _target(self, arn: str, action: Mapping[str, Any]) -> tuple[str, str, int] | None:
        """Target group, id and port of whose turn it is; one that is unwell only where all are."""
        groups = _groups_of(action)
        if not groups:
            return None
        turn = next(self._turns.setdefault(arn, itertools.count()))
        group = groups[turn % len(groups)]
        with self._cloud.lock:
            for backend, _ in backends():
                found = backend.target_groups.get(group)
                if found is None or not found.targets:
                    continue
                targets = list(found.targets.values())
                well = [one for one in targets if healths(found).get(one["Id"], ("", 0))[0] == "healthy"]
                chosen = (well or targets)[turn // len(groups) % len(well or targets)]
                return group, str(chosen["Id"]), int(chosen["Port"])
        return None

    async def _connect(self, arn: str, group: str, target: str, port: int) -> socket.socket | None:
        """A connection from a load balancer to a target; None where the network lets nothing through."""
        with self._cloud.lock:
            nic = self._interface(arn, target)
        return await self._wires.open(nic, port, source=arn) if nic is not None else None

    def _interface(self, arn: str, target: str) -> Any | None:
        """The interface of a target (an instance's id or an address), in the load balancer's VPC."""
        for backend, ec2 in backends():
            balancer = backend.load_balancers.get(arn)
            if balancer is None:
                continue
            if target.startswith("i-"):
                instance = ec2.get_instance_by_id(target)
                return instance.nics.get(0) if instance is not None else None
            return by_private(ec2, balancer.vpc_id, target)
        return None

    async def check(self) -> None:
        """Asks all targets how they are, again and again, until it is cancelled."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            with self._cloud.lock:
                asked = [
                    (balancer, group, dict(target))
                    for backend, _ in backends()
                    for group in backend.target_groups.values()
                    if group.targets and is_used(backend, group.arn)
                    for balancer in [_balancer_of(backend, group.arn)]
                    for target in group.targets.values()
                ]
            await asyncio.gather(*(self._check(*one) for one in asked))

    async def _check(self, arn: str, group: Any, target: Mapping[str, Any]) -> None:
        wanted = str(group.health_check_port or "traffic-port")
        port = int(target["Port"] if wanted == "traffic-port" else wanted)
        well = False
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            async with asyncio.timeout(float(group.health_check_timeout_seconds or 5)):
                line = await self._connect(arn, group.arn, str(target["Id"]), port)
                if line is not None:
                    well = _fits(await _status(line, group.health_check_path or "/"), group)
        with self._cloud.lock:
            if target["Id"] in group.targets:
                healths(group)[target["Id"]] = _counted(group, target["Id"], well)


def _balancer_of(backend: Any, group: str) -> str:
    """The ARN of the load balancer that forwards to a target group."""
    for balancer in backend.load_balancers.values():
        for listener in balancer.listeners.values():
            for rule in listener.rules.values():
                if any(group in _groups_of(action.data) for action in rule.actions):
                    return str(balancer.arn)
    return ""


def _groups_of(action: Mapping[str, Any]) -> list[str]:
    """The target groups of a forward action, each as often as it weighs."""
    weighed = (action.get("ForwardConfig") or {}).get("TargetGroups") or []
    groups = [
        str(one["TargetGroupArn"]) for one in weighed for _ in range(min(100, int(one.get("Weight", 1))))
    ]
    return groups or ([str(action["TargetGroupArn"])] if action.get("TargetGroupArn") else [])


def _counted(group: Any, target: str, well: bool) -> tuple[str, int]:
    """The state of a target after one more check: one good answer is enough at first."""
    state, against = healths(group).get(target, ("initial", 0))
    if well and state in ("initial", "healthy"):
        return "healthy", 0
    if not well and state == "unhealthy":
        return state, 0
    needed = int(group.healthy_threshold_count if well else group.unhealthy_threshold_count)
    if state == "initial":
        needed = max(needed, _CHECKS_AT_FIRST)
    if against + 1 >= needed:
        return ("healthy" if well else "unhealthy"), 0
    return state, against + 1


async def _status(line: socket.socket, path: str) -> int:
    reader, writer = await asyncio.open_connection(sock=line)
    try:
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: ELB-HealthChecker/2.0\r\n"
        writer.write(f"{head}Connection: close\r\n\r\n".encode())
        first = await reader.readuntil(b"\r\n")
        return int(first.split()[1])
    except IndexError:
        return 0
    finally:
        writer.close()


def _fits(status: int, group: Any) -> bool:
    for part in str((getattr(group, "matcher", None) or {}).get("HttpCode") or "200").split(","):
        low, _, high = part.partition("-")
        if int(low) <= status <= int(high or low):
            return True
    return False


def _head(raw: bytes) -> Request | None:
    lines = raw.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        return None
    pairs = [line.partition(":") for line in lines[1:] if line]
    return Request(parts[0], parts[1], tuple((name.strip(), value.strip()) for name, _, value in pairs))


def _action(listener: Any, request: Request, client: str) -> dict[str, Any] | None:
    """What the first rule that fits does with a request."""
    rules = sorted(listener.rules.values(), key=_order)
    for rule in rules:
        if all(_holds(condition, request, client) for condition in rule.conditions or ()):
            return dict(rule.actions[-1].data)
    return None


def _order(rule: Any) -> int:
    return 1 << 30 if rule.priority == "default" else int(rule.priority)


def _holds(condition: Mapping[str, Any], request: Request, client: str) -> bool:
    field = condition.get("Field")
    values = _values(condition)
    if field == "path-pattern":
        return any(like(request.path, value) for value in values)
    if field == "host-header":
        host = request.header("Host").partition(":")[0].lower()
        return any(like(host, value.lower()) for value in values)
    if field == "http-request-method":
        return request.method in values
    if field == "source-ip":
        address = ipaddress.ip_address(client)
        return any(address in ipaddress.ip_network(value) for value in values)
    if field == "http-header":
        name = condition["HttpHeaderConfig"]["HttpHeaderName"]
        return any(like(request.header(name), value) for value in values)
    if field == "query-string":
        given = parse_qsl(request.target.partition("?")[2], keep_blank_values=True)
        wanted = condition["QueryStringConfig"]["Values"]
        return any(
            like(text, one["Value"]) and one.get("Key") in (None, key)
            for one in wanted
            for key, text in given
        )
    return False


def _values(condition: Mapping[str, Any]) -> Sequence[Any]:
    for name, config in condition.items():
        if name.endswith("Config"):
            return list(config.get("Values") or ())
    return list(condition.get("Values") or ())


def _passed_on(request: Request, port: int, client: str) -> bytes:
    """The head of a request as the target gets it."""
    dropped = {"connection", "keep-alive", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-port"}
    came = request.header("X-Forwarded-For")
    own = [
        ("X-Forwarded-For", f"{came}, {client}" if came else client),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Port", str(port)),
        ("Connection", "close"),
    ]
    headers = [(name, value) for name, value in request.headers if name.lower() not in dropped]
    lines = [f"{request.method} {request.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in [*headers, *own]]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def _pass_body(
    request: Request,
    reader: asyncio.StreamReader,
    there: asyncio.StreamWriter,
    writer: asyncio.StreamWriter,
) -> None:
    if request.header("Expect").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if request.header("Transfer-Encoding").lower() == "chunked":
        while True:
            size = await reader.readuntil(b"\r\n")
            there.write(size)
            left = int(size.split(b";")[0], 16)
            there.write(await reader.readexactly(left + 2))
            await there.drain()
            if left == 0:
                return
    left = int(request.header("Content-Length") or 0)
    while left > 0 and (chunk := await reader.read(min(left, _CHUNK))):
        there.write(chunk)
        await there.drain()
        left -= len(chunk)


async def _pass_answer(there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = await there.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        writer.write(_plain(502))
        return
    lines = [
        line for line in head.split(b"\r\n") if not line.lower().startswith((b"connection:", b"keep-alive:"))
    ]
    writer.write(b"\r\n".join([*lines[:-2], b"Connection: close", b"", b""]))
    while chunk := await there.read(_CHUNK):
        writer.write(chunk)
        await writer.drain()


def _plain(status: int) -> bytes:
    words = f"{status} {_STATES[status]}"
    body = (
        f"<html><head><title>{words}</title></head><body><center><h1>{words}</h1></center></body></html>\r\n"
    )
    return _reply(words, "text/html", body)


def _reply(words: str, content_type: str, body: str, more: str = "") -> bytes:
    data = body.encode()
    now = formatdate(usegmt=True)
    head = f"HTTP/1.1 {words}\r\nServer: awselb/2.0\r\nDate: {now}\r\n"
    head += f"Content-Type: {content_type}\r\nContent-Length: {len(data)}\r\nConnection: close\r\n{more}\r\n"
    return head.encode() + data


def _fixed(config: Mapping[str, Any]) -> bytes:
    status = int(config["StatusCode"])
    words = f"{status} {_STATES.get(status, 'OK' if status < 300 else 'Error')}"
    return _reply(words, config.get("ContentType") or "text/plain", config.get("MessageBody") or "")


def _redirect(config: Mapping[str, Any], request: Request, port: int) -> bytes:
    path, _, query = request.target.partition("?")
    now = {
        "#{protocol}": "HTTP",
        "#{host}": request.header("Host").partition(":")[0],
        "#{port}": str(port),
        "#{path}": path.lstrip("/"),
        "#{query}": query,
    }

    def filled(name: str, default: str) -> str:
        text = str(config.get(name) or default)
        for hole, value in now.items():
            text = text.replace(hole, value)
        return text

    protocol = filled("Protocol", "#{protocol}").lower()
    place = (
        f"{protocol}://{filled('Host', '#{host}')}:{filled('Port', '#{port}')}{filled('Path', '/#{path}')}"
    )
    asked = filled("Query", "#{query}")
    location = place + (f"?{asked}" if asked else "")
    words = "301 Moved Permanently" if config.get("StatusCode") == "HTTP_301" else "302 Found"
    return _reply(words, "text/html", "", f"Location: {location}\r\n")
