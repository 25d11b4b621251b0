"""From a lab to the world it acts on: AWS clients, the way in to its hosts, and its own folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.world import World

if TYPE_CHECKING:
    from engine.aws import Aws
    from engine.hosts.log import RunLog
    from engine.lab import Lab, Target

SANDBOX_CREDENTIALS = ("labctl", "sandbox")


def _silent(text: str) -> None:
    return None


@dataclass(frozen=True)
class Access:
    """How one target is reached, shared by all labs that act on it."""

    aws: Aws
    proxy: str | None
    """`host:port` of the SOCKS5 proxy that is the way in to hosts; None for a direct way."""


def open_target(target: Target, *, say: Callable[[str], None] = _silent) -> Access:
    """The way to `target`; starts the sandbox if that is where it is. Asks AWS nothing."""
    from engine.aws import Aws

    if target.sort == "sandbox":
        from engine import sandbox

        running = sandbox.ensure(target.sandbox, say)
        aws = Aws(region=target.region, endpoint_url=running.aws_endpoint, credentials=SANDBOX_CREDENTIALS)
        return Access(aws, running.socks_proxy)
    aws = Aws(
        region=target.region,
        profile=target.profile,
        endpoint_url=target.endpoint_url,
        account=target.account,
    )
    return Access(aws, target.ssh_proxy)


def open_world(
    lab: Lab,
    *,
    log: RunLog | None = None,
    access: Access | None = None,
    say: Callable[[str], None] = _silent,
) -> World:
    """The world of `lab`, through `access` where labs share one; its hosts' files lie in its own folder."""
    from engine.hosts import Hosts

    access = access or open_target(lab.target, say=say)
    return World(lab.name, access.aws, Hosts(folder=lab_folder(lab), proxy=access.proxy, log=log))


def lab_folder(lab: Lab) -> Path:
    """The folder that holds the lab's known hosts, SSH configuration and logs, beside its ledger."""
    return ledger_folder(lab.ledger) / lab.slug


def ledger_folder(ledger: str) -> Path:
    """The folder of a ledger in a file; for a ledger elsewhere, `.labctl` in the working directory."""
    return Path(".labctl").resolve() if "://" in ledger else Path(ledger).resolve().parent


def place(target: Target) -> str:
    """Where `target` is, in words for the first line of every command."""
    if target.sort == "sandbox":
        return "embedded sandbox, nothing is billed"
    words = [f"AWS {target.region}"]
    if target.account:
        words.append(f"account {target.account}")
    if target.profile:
        words.append(f"profile {target.profile}")
    if target.endpoint_url:
        words.append(f"at {target.endpoint_url}")
    return ", ".join(words)
