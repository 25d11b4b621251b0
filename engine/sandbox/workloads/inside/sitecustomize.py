"""Makes a Python program believe that it has a network and a root directory of its own.

Python imports this by its name at start-up, in every process of a workload. It is no wall: it keeps
workloads from colliding, not from doing harm. From the environment:

- LABCTL_ROOT: the folder that holds the image's files. LABCTL_PREFIXES: the paths of the image
  (`/app:/opt/ml`) that are found there.
- LABCTL_PORTS: a file. A server that binds a port is given a free one of 127.0.0.1 instead, and both are
  noted there once it listens, as `5000 43121 0.0.0.0`; connections to the workload's own ports find them.
  Other ports of 127.0.0.1 are refused, but those in LABCTL_REACH: in a container nobody else listens there.
- LABCTL_PACKAGES: a folder of packages that are looked for last.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import socket
import sys
import weakref
from collections.abc import Callable
from typing import Any

_ROOT = os.environ.get("LABCTL_ROOT", "")
_PREFIXES = tuple(filter(None, os.environ.get("LABCTL_PREFIXES", "").split(":")))
_PORTS = os.environ.get("LABCTL_PORTS", "")
_REACH = frozenset(filter(None, os.environ.get("LABCTL_REACH", "").split(",")))
_LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
_SYSTEMS_CHOICE = 32768
"""Ports from here on are given to who asks for any."""
_shown: weakref.WeakKeyDictionary[socket.socket, Any] = weakref.WeakKeyDictionary()
_open, _lstat = builtins.open, os.lstat


def _bound() -> dict[str, str]:
    """The ports that the workload has bound, to those it really has."""
    try:
        with _open(_PORTS) as file:
            return dict(line.split()[:2] for line in file)
    except FileNotFoundError:
        return {}


def _is_server(sock: socket.socket, address: Any) -> bool:
    return (
        sock.family in _LOOPBACK
        and bool(sock.type & socket.SOCK_STREAM)
        and isinstance(address, tuple)
        and isinstance(address[1], int)
    )


_bind, _connect, _connect_ex = socket.socket.bind, socket.socket.connect, socket.socket.connect_ex
_getsockname, _listen = socket.socket.getsockname, socket.socket.listen


def _take(self: socket.socket, address: Any) -> None:
    if not _is_server(self, address):
        _bind(self, address)
        return
    host, port = address[:2]
    _bind(self, (_LOOPBACK[self.family], 0))
    if port:
        _shown[self] = (host or "0.0.0.0", *address[1:])


def _wait(self: socket.socket, *backlog: int) -> None:
    """Listens, and notes the port: not before, as others then come at once."""
    _listen(self, *backlog)
    shown = _shown.get(self)
    if shown is not None:
        with _open(_PORTS, "a") as file:
            file.write(f"{shown[1]} {_getsockname(self)[1]} {shown[0]}\n")


def _name(self: socket.socket) -> Any:
    return _shown.get(self) or _getsockname(self)


def _own(sock: socket.socket, address: Any) -> Any:
    """Where a connection to `address` really goes; None where nobody can listen there."""
    if not _is_server(sock, address):
        return address
    host, port = str(address[0]), str(address[1])
    if not (host in ("localhost", "::1", "0.0.0.0", "::", "") or host.startswith("127.")) or port in _REACH:
        return address
    found = _bound()
    if port in found:
        return (_LOOPBACK[sock.family], int(found[port]), *address[2:])
    # Sockets that the program bound to a port of the system's choice are its own, too.
    return address if int(port) >= _SYSTEMS_CHOICE else None


def _go(self: socket.socket, address: Any) -> None:
    there = _own(self, address)
    if there is None:
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    _connect(self, there)


def _try(self: socket.socket, address: Any) -> int:
    there = _own(self, address)
    return errno.ECONNREFUSED if there is None else _connect_ex(self, there)


def _mend_sockets() -> None:
    mended = {"bind": _take, "listen": _wait, "getsockname": _name, "connect": _go, "connect_ex": _try}
    for name, member in mended.items():
        setattr(socket.socket, name, member)


def _placed(path: Any) -> Any:
    """Where the file that the program calls `path` really lies."""
    if not isinstance(path, str | bytes | os.PathLike):
        return path
    name = os.fsdecode(os.fspath(path))
    if not name.startswith(_PREFIXES):
        return path
    if not any(name == prefix or name.startswith(f"{prefix}/") for prefix in _PREFIXES):
        return path
    real = _ROOT + os.path.normpath(name)
    for candidate in (real, os.path.dirname(real)):
        try:
            _lstat(candidate)
        except OSError:
            continue
        return os.fsencode(real) if isinstance(path, bytes) else real
    return path


def _with_one(call: Callable[..., Any]) -> Callable[..., Any]:
    def placed(path: Any = ".", *args: Any, **named: Any) -> Any:
        return call(_placed(path), *args, **named)

    return placed


def _with_two(call: Callable[..., Any]) -> Callable[..., Any]:
    def placed(source: Any, target: Any, *args: Any, **named: Any) -> Any:
        return call(_placed(source), _placed(target), *args, **named)

    return placed


def _mend_paths() -> None:
    def opened(file: Any, *args: Any, **named: Any) -> Any:
        return _open(_placed(file), *args, **named)

    builtins.open = io.open = opened
    for name in (
        *("open", "stat", "lstat", "listdir", "scandir", "mkdir", "remove", "unlink", "rmdir", "chdir"),
        *("access", "readlink", "chmod", "utime", "truncate"),
    ):
        setattr(os, name, _with_one(getattr(os, name)))
    for name in ("rename", "replace"):
        setattr(os, name, _with_two(getattr(os, name)))


if "LABCTL_PACKAGES" in os.environ:
    sys.path.append(os.environ["LABCTL_PACKAGES"])
if _PORTS:
    _mend_sockets()
if _ROOT and _PREFIXES:
    _mend_paths()
