"""ssh-add: what the forwarded agent holds."""

from __future__ import annotations

from collections.abc import Mapping

from engine.sandbox.machines.command import Call, Command, options


async def ssh_add(call: Call) -> int:
    """ssh-add -l, -L: the keys of the agent at SSH_AUTH_SOCK."""
    import asyncssh

    given, agent = options(call.args), call.env.get("SSH_AUTH_SOCK")
    if not agent:
        return call.complain("Could not open a connection to your authentication agent.", 2)
    try:
        async with await asyncssh.connect_agent(agent) as client:
            keys = list(await client.get_keys())
    except OSError:
        return call.complain("Error connecting to agent: No such file or directory", 2)
    if not keys:
        call.say("The agent has no identities.")
        return 1
    for key in keys:
        public = (
            asyncssh.SSHKey.get_fingerprint(key)
            if isinstance(key, asyncssh.SSHKey)
            else _fingerprint(key.public_data)
        )
        name = key.get_comment() or "key"
        if "-L" in given:
            call.say(f"{key.algorithm.decode()} {_text(key.public_data)} {name}")
        else:
            call.say(f"{_bits(key.algorithm)} {public} {name} ({_sort(key.algorithm)})")
    return 0


def _text(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()


def _fingerprint(data: bytes) -> str:
    import base64
    import hashlib

    return "SHA256:" + base64.b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


def _sort(algorithm: bytes) -> str:
    text = algorithm.decode()
    return "ED25519" if "ed25519" in text else "ECDSA" if "ecdsa" in text else "RSA"


def _bits(algorithm: bytes) -> int:
    return {"ED25519": 256, "ECDSA": 256, "RSA": 2048}[_sort(algorithm)]


COMMANDS: Mapping[str, Command] = {"ssh-add": ssh_add}
