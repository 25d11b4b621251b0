"""Files with private keys: written once, mode 0600, never over another key, removed only if the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.errors import StepFailed
from engine.resources.aws._secret_files import drafted

_PUBLIC = re.compile(r"(ssh-(rsa|ed25519)|ecdsa-sha2-\S+) [A-Za-z0-9+/=]+( .*)?")


def checked_public(text: str, what: str) -> str:
    """A public key that EC2 can import (RSA or Ed25519), without its line's end. Raises ValueError."""
    text = text.strip()
    if "PRIVATE KEY" in text:
        raise ValueError(f"{what} holds a private key: name the public one (it ends in .pub)")
    if not _PUBLIC.fullmatch(text):
        raise ValueError(f"{what} holds no public key in OpenSSH's form (`ssh-ed25519 AAAA…`)")
    if text.startswith("ecdsa"):
        raise ValueError(f"{what}: EC2 imports RSA and Ed25519 keys, not ECDSA ones")
    return text


def read_public(path: str) -> str:
    """The public key in the file `path`. Raises ValueError with words where there is none."""
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the public key {path} cannot be read: {error}") from None
    return checked_public(text, path)


@contextmanager
def reserve(path: str, comment: str) -> Iterator[Callable[[str], None]]:
    """A function that writes a private key to `path`, after making sure that this will be possible.

    A file that is there is replaced only if it is a key that labctl wrote for `comment` (the public key
    beside it says so), because the pair it belonged to is gone. Raises StepFailed for any other.
    """
    target = Path(path).expanduser()

    def refuse_others() -> None:
        _refuse_others(target, comment)

    def unwritable(error: Exception) -> StepFailed:
        return _unwritable(path, error)

    with drafted(target, refuse_others, unwritable) as put:

        def write(private: str) -> None:
            put(private if private.endswith("\n") else private + "\n")
            try:
                beside(target).write_text(f"{public_of(private)} {comment}\n", encoding="utf-8")
            except OSError as error:
                raise unwritable(error) from None

        yield write


def holds(path: str, public: str) -> bool:
    """Whether the file `path` holds the private key that belongs to `public`."""
    try:
        private = Path(path).expanduser().read_text(encoding="ascii")
        return public_of(private).split()[:2] == public.split()[:2]
    except (OSError, ValueError):
        return False


def remove(path: str, public: str) -> None:
    """Remove the private key in `path` and the public one beside it, if they are the pair of `public`."""
    target = Path(path).expanduser()
    if not public or not holds(path, public):
        return
    try:
        target.unlink()
        with suppress(FileNotFoundError):
            if beside(target).read_text(encoding="utf-8").split()[:2] == public.split()[:2]:
                beside(target).unlink()
    except OSError as error:
        raise StepFailed(f"the private key {path} cannot be removed: {error.strerror}", "remove it") from None


def beside(target: Path) -> Path:
    """The file of the public key that belongs to a private one."""
    return target.with_name(target.name + ".pub")


def public_of(private: str) -> str:
    """The public key, in OpenSSH's form, of a private key without passphrase. Raises ValueError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization as form

    data = private.encode("ascii")
    load = form.load_ssh_private_key if "OPENSSH PRIVATE KEY" in private else form.load_pem_private_key
    try:
        key = load(data, password=None)
    except (TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(str(error)) from None
    public = key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)
    return public.decode("ascii")


def _refuse_others(target: Path, comment: str) -> None:
    if target.exists() and not _left_over(target, comment):
        raise StepFailed(
            f"{target} is there already and is not a key of {comment}",
            "move it away, or choose another private_key_file; labctl never writes over a key",
        )


def _left_over(target: Path, comment: str) -> bool:
    """Whether labctl wrote `target` for the same resource, whose key pair is gone at AWS."""
    try:
        public = beside(target).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return False
    return public.endswith(f" {comment}") and holds(str(target), public)


def _unwritable(path: str, error: Exception) -> StepFailed:
    words = error.strerror if isinstance(error, OSError) else "it holds something else"
    return StepFailed(
        f"the private key cannot be written to {path}: {words}",
        "make the folder writable, or choose another private_key_file",
    )
