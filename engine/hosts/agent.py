"""Agent forwarding: the user's SSH agent, or one of labctl's own that holds the lab's key.

The protocol is draft-ietf-sshm-ssh-agent: each message is a 32-bit length, a type byte, then its fields.
"""

from __future__ import annotations

import os
import socket
import struct
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from engine.errors import HostUnreachable

if TYPE_CHECKING:
    from paramiko.channel import Channel
    from paramiko.message import Message
    from paramiko.pkey import PKey

_FAILURE: Final = b"\x05"
_REQUEST_IDENTITIES: Final = 11
_IDENTITIES_ANSWER: Final = b"\x0c"
_SIGN_REQUEST: Final = 13
_SIGN_RESPONSE: Final = b"\x0e"
_RSA_SHA2_256: Final = 2
_LONGEST: Final = 256 * 1024


class _Stream(Protocol):
    def recv(self, size: int, /) -> bytes: ...
    def sendall(self, data: bytes, /) -> object: ...
    def close(self) -> object: ...


class OwnAgent:
    """An SSH agent that holds `keys`, lists them and signs with them; it does nothing else."""

    def __init__(self, keys: Sequence[PKey], comment: str = "labctl") -> None:
        self._keys = {key.asbytes(): key for key in keys}
        self._comment = comment

    def answer(self, request: bytes) -> bytes:
        """The answer to one request, both without their length."""
        from paramiko.message import Message

        sort, body = (request[0], Message(request[1:])) if request else (0, Message(b""))
        if sort == _REQUEST_IDENTITIES:
            return _IDENTITIES_ANSWER + self._identities()
        if sort == _SIGN_REQUEST:
            return self._sign(body)
        return _FAILURE

    def serve(self, stream: _Stream) -> None:
        """Answer the requests that come over `stream` until it ends; it is closed then."""
        try:
            while (head := _exactly(stream, 4)) is not None:
                (size,) = struct.unpack(">I", head)
                request = _exactly(stream, size) if size <= _LONGEST else None
                if request is None:
                    break
                answer = self.answer(request)
                stream.sendall(struct.pack(">I", len(answer)) + answer)
        except (OSError, EOFError):
            return
        finally:
            with suppress(OSError, EOFError):
                stream.close()

    def _identities(self) -> bytes:
        from paramiko.message import Message

        message = Message()
        message.add_int(len(self._keys))
        for blob in self._keys:
            message.add_string(blob)
            message.add_string(self._comment)
        return message.asbytes()

    def _sign(self, request: Message) -> bytes:
        from paramiko.message import Message

        key = self._keys.get(request.get_binary())
        data, flags = request.get_binary(), request.get_int()
        if key is None:
            return _FAILURE
        algorithm = None
        if key.get_name() == "ssh-rsa":
            # Without a flag the client wants SHA-1, which servers no longer take: the strong one is as good.
            algorithm = "rsa-sha2-256" if flags & _RSA_SHA2_256 else "rsa-sha2-512"
        message = Message()
        message.add_string(key.sign_ssh_data(data, algorithm).asbytes())
        return _SIGN_RESPONSE + message.asbytes()


class Forwarding:
    """What a host's requests for an agent are led to: the user's, or one that holds the key file `key`."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def accept(self, channel: Channel) -> None:
        """Serve one connection that a command on the host made to its agent, on a thread of its own."""
        user_agent = connect_to_agent()
        if user_agent is None:
            threading.Thread(target=lambda: own_agent(self._key).serve(channel), daemon=True).start()
            return
        for source, sink in ((channel, user_agent), (user_agent, channel)):
            threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def own_agent(key: str | None) -> OwnAgent:
    """An agent that holds the key in the file `key`, or nothing where it cannot be used."""
    from engine.hosts.keys import load_key

    if key is None:
        return OwnAgent(())
    try:
        return OwnAgent((load_key(Path(key).expanduser()),), comment=Path(key).name)
    except HostUnreachable:
        return OwnAgent(())


def connect_to_agent() -> socket.socket | None:
    """A connection to the user's agent (SSH_AUTH_SOCK); None where none runs."""
    path = os.environ.get("SSH_AUTH_SOCK")
    if not path or not hasattr(socket, "AF_UNIX"):
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        return None
    return connection


@contextmanager
def listening(agent: OwnAgent) -> Iterator[Path]:
    """The path of a private socket where `agent` answers, for SSH_AUTH_SOCK of a child process."""
    with tempfile.TemporaryDirectory(prefix="labctl-agent-") as folder:
        path = Path(folder) / "agent"
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.bind(str(path))
        server.listen()
        thread = threading.Thread(target=_accept, args=(server, agent), daemon=True)
        thread.start()
        try:
            yield path
        finally:
            # Shutting down wakes the thread out of accept.
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
            thread.join(2)


def _accept(server: socket.socket, agent: OwnAgent) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=agent.serve, args=(connection,), daemon=True).start()


def _exactly(stream: _Stream, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        more = stream.recv(size - len(data))
        if not more:
            return None
        data += more
    return data


def _pump(source: _Stream, sink: _Stream) -> None:
    with suppress(OSError, EOFError):
        while data := source.recv(1 << 14):
            sink.sendall(data)
    for stream in (source, sink):
        with suppress(OSError, EOFError):
            if isinstance(stream, socket.socket):
                # Closing alone would not wake the thread that reads from it.
                stream.shutdown(socket.SHUT_RDWR)
            stream.close()
