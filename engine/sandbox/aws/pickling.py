"""How objects of moto's are written down that do not pickle by themselves: locks, private keys."""

from __future__ import annotations

import copyreg
import threading
from typing import Any

from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa


def _key(pem: bytes) -> Any:
    return form.load_pem_private_key(pem, password=None)


def _written(key: Any) -> tuple[Any, tuple[bytes]]:
    pem = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    return _key, (pem,)


def _fresh_lock(lock: Any) -> tuple[Any, tuple[()]]:
    """A lock comes back open: whoever held it is gone."""
    return threading.Lock, ()


def _fresh_rlock(lock: Any) -> tuple[Any, tuple[()]]:
    return threading.RLock, ()


def mend() -> None:
    """Teaches pickle these sorts of objects; KMS's keys are RSA, EC and Ed25519 ones."""
    copyreg.pickle(type(threading.Lock()), _fresh_lock)
    copyreg.pickle(type(threading.RLock()), _fresh_rlock)
    # Only the types of these keys count, so the smallest do.
    keys = (
        rsa.generate_private_key(public_exponent=65537, key_size=1024),
        ec.generate_private_key(ec.SECP256R1()),
        ed25519.Ed25519PrivateKey.generate(),
    )
    for key in keys:
        copyreg.pickle(type(key), _written)
