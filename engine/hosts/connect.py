"""From an address to a logged-in connection: the socket or tunnel, the handshake, the host key, the login."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from engine.hosts.known_hosts import HostKey, KnownHosts, parse_keys
from engine.hosts.proxied import through

if TYPE_CHECKING:
    from paramiko.channel import Channel
    from paramiko.transport import Transport

    from engine.hosts.keys import Identity
    from engine.hosts.spec import HostSpec

STAGES: Final = ("instance", "address", "port", "SSH", "host key", "login")
"""What a contact goes through, in order."""

# Python would print paramiko's own log lines, tracebacks among them, where nobody set up logging.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class Setback(Exception):
    """A contact got as far as `stage` and no further; `final` where trying again cannot help.

    `silent` where nothing at all came back: the network may be what keeps the caller out.
    """

    def __init__(
        self, stage: str, what: str, remedy: str = "", *, final: bool = False, silent: bool = False
    ) -> None:
        super().__init__(what)
        self.stage = stage
        self.what = what
        self.remedy = remedy
        self.final = final
        self.silent = silent


@dataclass(frozen=True)
class Way:
    """How to get to a host: a proxy for the first hop, or the connection to the host before it."""

    known: KnownHosts
    proxy: str | None = None
    jump: Callable[[], Transport] | None = None
    """The live connection to the host it is behind."""
    silence: float | None = None
    """Seconds to wait for the first answer from its port; None for as long as any stage."""


def connect(
    spec: HostSpec, way: Way, identities: list[Identity], *, say: Callable[[str], None], timeout: float
) -> Transport:
    """A logged-in connection to `spec`, each stage taking at most `timeout` seconds.

    Raises Setback, with words, where a stage fails; a way through another host raises what that one raises.
    """
    hostname = spec.hostname
    if hostname is None:
        raise Setback(
            "address",
            "it has no public address and is not reached through another host",
            "give it a public address, or say through which host it is reached: ssh: {via: bastion}",
        )
    line: socket.socket | Channel
    if way.jump is not None:
        line = _tunnel(spec, hostname, way.jump(), timeout)
    else:
        line = dial(hostname, spec.port, way.proxy, min(timeout, way.silence or timeout))
    transport = _handshake(spec, line, way.known, timeout)
    try:
        _check_host_key(spec, transport, way.known, say)
        _log_in(spec, transport, identities)
    except BaseException:
        transport.close()
        raise
    return transport


def dial(hostname: str, port: int, proxy: str | None, timeout: float) -> socket.socket:
    """A TCP connection to `hostname`, through the SOCKS5 proxy `host:port` where there is one.

    Raises Setback at stage `port`.
    """
    place = f"port {port} of {hostname}"
    try:
        line = _through_proxy(hostname, port, proxy, timeout) if proxy else _directly(hostname, port, timeout)
    except TimeoutError as error:
        raise Setback(
            "port", f"{place} does not answer (nothing came within {timeout:.0f} s)", _SILENCE, silent=True
        ) from error
    except ConnectionRefusedError as error:
        raise Setback("port", f"{place} refuses connections", _REFUSED) from error
    except socket.gaierror as error:
        raise Setback(
            "address", f"the name {hostname} is not known: {error.strerror}", "check the name"
        ) from error
    except OSError as error:
        raise Setback("port", f"{place} cannot be reached: {error}", _SILENCE, silent=True) from error
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        # A peer that is gone without a word is found out in half a minute instead of a quarter of an hour.
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    return line


_SILENCE = "a security group, a route or a firewall keeps the connection out, or the machine is off"
_REFUSED = "the machine is up and nothing listens there: its SSH server is not up yet, or has another port"


def _directly(hostname: str, port: int, timeout: float) -> socket.socket:
    return socket.create_connection((hostname, port), timeout)


def _through_proxy(hostname: str, port: int, proxy: str, timeout: float) -> socket.socket:
    import socks

    try:
        return through(proxy, hostname, port, timeout)
    except socks.ProxyConnectionError as error:
        raise Setback(
            "port",
            f"the SSH proxy {proxy} does not answer",
            "start it, or correct ssh.proxy in the inventory",
        ) from error
    except socks.ProxyError as error:
        raise _told_by_proxy(error) from error


def _told_by_proxy(error: OSError) -> OSError:
    """The error of a direct connection that the proxy's answer stands for."""
    cause: object = error
    while (inner := getattr(cause, "socket_err", None)) is not None:
        cause = inner
    # RFC 1928, section 6: 4 host unreachable, 5 refused, 6 TTL expired.
    code = str(cause)[:4]
    if code == "0x05":
        return ConnectionRefusedError(str(cause))
    if isinstance(cause, TimeoutError) or code in ("0x04", "0x06"):
        return TimeoutError(str(cause))
    return OSError(f"the SSH proxy says {cause}")


def _tunnel(spec: HostSpec, hostname: str, jump: Transport, timeout: float) -> Channel:
    from paramiko import ChannelException, SSHException

    place = f"port {spec.port} of {hostname}"
    try:
        return jump.open_channel("direct-tcpip", (hostname, spec.port), ("127.0.0.1", 0), timeout=timeout)
    except ChannelException as error:
        if error.code == 1:
            raise Setback(
                "port",
                f"{spec.via} does not allow connections to be forwarded",
                f"on {spec.via}, set AllowTcpForwarding yes in /etc/ssh/sshd_config",
                final=True,
            ) from error
        raise Setback("port", f"{spec.via} gets no connection to {place}", _BEHIND) from error
    except (SSHException, OSError, EOFError) as error:
        if not jump.is_active():
            raise Setback("port", f"the connection to {spec.via} was lost") from error
        raise Setback(
            "port", f"{spec.via} gets no answer from {place} within {timeout:g} s", _BEHIND
        ) from error


_BEHIND = "its security group must let the host before it in on this port, and its SSH server must be up"


def _handshake(spec: HostSpec, line: socket.socket | Channel, known: KnownHosts, timeout: float) -> Transport:
    from paramiko import SSHException, Transport
    from paramiko.ssh_exception import IncompatiblePeer

    transport = Transport(line)
    transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = max(timeout, 1.0)
    _prefer(transport, [key.sort for key in known.keys(spec.alias)])
    try:
        transport.start_client(timeout=timeout)
        # It returns without a word when its time is up; this raises then.
        transport.get_remote_server_key()
    except IncompatiblePeer as error:
        transport.close()
        raise Setback("SSH", f"it speaks no SSH that labctl does: {error}", final=True) from error
    except (SSHException, OSError, EOFError) as error:
        transport.close()
        line.close()
        raise Setback("SSH", f"port {spec.port} is open, but no SSH server answers there yet") from error
    transport.set_keepalive(15)
    return transport


def _prefer(transport: Transport, sorts: list[str]) -> None:
    # As OpenSSH does: ask for the kind of key that is known, or the server's others would look like a change.
    options = transport.get_security_options()
    rsa = ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")
    wanted = {name for sort in sorts for name in (rsa if sort == "ssh-rsa" else (sort,))}
    first = [name for name in options.key_types if name in wanted]
    options.key_types = [*first, *(name for name in options.key_types if name not in wanted)]


def _check_host_key(
    spec: HostSpec, transport: Transport, known: KnownHosts, say: Callable[[str], None]
) -> None:
    shown_key = transport.get_remote_server_key()
    shown = HostKey(shown_key.get_name(), shown_key.get_base64())
    kept = known.keys(spec.alias)
    if shown in kept:
        return
    if kept:
        raise Setback(
            "host key",
            f"its host key has changed: it shows {shown.fingerprint}, "
            f"first contact showed {' or '.join(key.fingerprint for key in kept)}",
            f"if the machine was really made anew, remove the lines of {spec.alias} from {known.path} "
            "and run again; otherwise somebody may be listening in",
            final=True,
        )
    told = parse_keys(spec.machine.host_keys())
    if told and shown not in told:
        raise Setback(
            "host key",
            f"it shows the host key {shown.fingerprint}, its console output tells "
            f"{' or '.join(key.fingerprint for key in told)}",
            "something else answers at its address; look who has it before you go on",
            final=True,
        )
    known.put(spec.alias, told or [shown])
    if not told:
        say(f"trusting {spec.name}'s host key {shown.fingerprint} at first contact")


def _log_in(spec: HostSpec, transport: Transport, identities: list[Identity]) -> None:
    from paramiko import AuthenticationException, BadAuthenticationType, SSHException

    for identity in identities:
        try:
            more = transport.auth_publickey(spec.user, identity.key)
        except BadAuthenticationType as error:
            raise Setback("login", _no_keys(error.allowed_types), final=True) from error
        except AuthenticationException:
            if not transport.is_active():
                raise Setback("login", "it closed the connection during login") from None
            continue
        except (SSHException, OSError, EOFError) as error:
            raise Setback("login", f"the connection broke during login ({error})") from error
        if more:
            raise Setback(
                "login", f"beyond a key it wants {', '.join(more)}, which labctl cannot give", final=True
            )
        return
    tried = ", ".join(dict.fromkeys(identity.name for identity in identities))
    raise Setback(
        "login",
        f"it refuses the user {spec.user} with {tried}",
        "check `ssh: {user: …, key: …}`: cloud images know ubuntu (Ubuntu), admin (Debian) or ec2-user "
        "(Amazon Linux), and only the key pair the instance was started with",
    )


def _no_keys(allowed: list[str]) -> str:
    return f"it does not take keys, only {', '.join(allowed)}"
