"""Which private keys to log in with: the lab's key file, else the user's agent and usual keys."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from engine.errors import HostUnreachable

if TYPE_CHECKING:
    from paramiko.pkey import PKey

_TRIES = 3
_USUAL = ("id_ed25519", "id_ecdsa", "id_rsa")
_SSH_ADD = "ssh-add it to a running agent, or name a key without a passphrase"


@dataclass(frozen=True)
class Identity:
    """A key to try, and how to call it when telling the user."""

    key: PKey
    name: str


class Passphrases:
    """Asks for the passphrase of a key file, once for all hosts that it leads to. Safe among threads.

    `ask` puts a question to the user and gives what was typed; None where nobody can be asked.
    """

    def __init__(self, ask: Callable[[str], str | None]) -> None:
        self._ask = ask
        self._keys: dict[Path, PKey | None] = {}
        self._lock = threading.Lock()

    def key(self, path: Path) -> PKey | None:
        """The key in the file at `path`; None where nobody can be asked.

        Raises HostUnreachable where the passphrase is wrong three times.
        """
        with self._lock:
            if path not in self._keys:
                self._keys[path] = self._asked(path)
            return self._keys[path]

    def _asked(self, path: Path) -> PKey | None:
        from paramiko import SSHException

        for _ in range(_TRIES):
            given = self._ask(f"Passphrase of {path}: ")
            if given is None:
                return None
            try:
                return _read(path, given.encode())
            except (SSHException, ValueError, TypeError):
                continue
        raise HostUnreachable(f"that is not the passphrase of {path}", _SSH_ADD)


@contextmanager
def identities(key: str | None, passphrases: Passphrases | None = None) -> Iterator[list[Identity]]:
    """The keys to try, in order, for `key` (a path) or for the user's own where it is None.

    Those of an SSH agent sign only within the context; one with a passphrase that no agent holds is asked
    for. Raises HostUnreachable, with words, where the file cannot be used or there is no key at all.
    """
    if key is not None:
        path = Path(key).expanduser()
        _check_file(path)
        if not _has_passphrase(path):
            yield [Identity(load_key(path), str(path))]
            return
        with _agent_keys() as held:
            of_file = _of_file(path, held)
            if of_file:
                yield [Identity(held_key, f"{path} (held by your SSH agent)") for held_key in of_file]
                return
        typed = passphrases.key(path) if passphrases is not None else None
        if typed is None:
            words = f"the key file {path} has a passphrase, and no SSH agent holds the key"
            raise HostUnreachable(words, _SSH_ADD)
        yield [Identity(typed, str(path))]
        return
    with _agent_keys() as held:
        found = [Identity(held_key, "a key of your SSH agent") for held_key in held] + _usual()
        if not found:
            raise HostUnreachable(
                "there is no SSH key to log in with: none is named, no agent runs, ~/.ssh has none",
                "name the private key in the playbook: ssh: {user: …, key: ~/.ssh/…}",
            )
        yield found


@contextmanager
def _agent_keys() -> Iterator[list[PKey]]:
    """The keys that the user's SSH agent offers; none where no agent runs."""
    import paramiko

    try:
        agent = paramiko.Agent()
    except (paramiko.SSHException, OSError):
        yield []
        return
    try:
        yield list(agent.get_keys())
    finally:
        agent.close()


def load_key(path: Path) -> PKey:
    """The private key in the file at `path`.

    Raises HostUnreachable, with words, where it is missing, open to others, encrypted or unknown.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from paramiko import SSHException

    _check_file(path)
    try:
        return _read(path)
    except (SSHException, ValueError, TypeError, UnsupportedAlgorithm, IndexError) as error:
        if _has_passphrase(path):
            raise HostUnreachable(f"the key file {path} has a passphrase", _SSH_ADD) from error
        raise HostUnreachable(
            f"{path} is not a private key that labctl can read",
            "it takes RSA, ECDSA and Ed25519 keys in OpenSSH or PEM format; convert PuTTY's with puttygen",
        ) from error


def _read(path: Path, passphrase: bytes | None = None) -> PKey:
    """The key in the file at `path`; paramiko and cryptography raise what they like where it is none."""
    from paramiko import PKey

    # It wants bytes, whatever its annotations say.
    read = cast("Callable[[Path, bytes | None], PKey]", PKey.from_path)
    return read(path, passphrase)


def _usual() -> list[Identity]:
    paths = [Path("~/.ssh").expanduser() / name for name in _USUAL]
    readable = [path for path in paths if path.is_file() and os.access(path, os.R_OK)]
    return [Identity(load_key(path), str(path)) for path in readable if not _has_passphrase(path)]


def _of_file(path: Path, held: list[PKey]) -> list[PKey]:
    public = path.with_name(path.name + ".pub")
    if public.is_file():
        words = public.read_text("utf-8", "replace").split()
        return [key for key in held if len(words) > 1 and key.get_base64() == words[1]]
    return held


def _check_file(path: Path) -> None:
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise HostUnreachable(
            f"the key file {path} does not exist",
            "give the path of the private key; one that AWS made was written once, at its creation",
        ) from error
    except OSError as error:
        raise HostUnreachable(f"the key file {path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise HostUnreachable(f"the key file {path} is not a file")
    if not os.access(path, os.R_OK):
        raise HostUnreachable(f"the key file {path} cannot be read: permission denied", f"chmod 600 {path}")
    if os.name == "posix" and status.st_uid == os.getuid() and status.st_mode & 0o077:
        raise HostUnreachable(
            f"the key file {path} is open to others (mode {stat.S_IMODE(status.st_mode):04o})",
            f"chmod 600 {path}",
        )


def _has_passphrase(path: Path) -> bool:
    from cryptography.hazmat.primitives import serialization

    data = path.read_bytes()
    if b"ENCRYPTED" in data[:200]:
        return True
    if b"OPENSSH PRIVATE KEY" not in data[:200]:
        return False
    try:
        serialization.load_ssh_private_key(data, password=None)
    except TypeError:
        return True
    except ValueError as error:
        return "assword" in str(error)
    return False
