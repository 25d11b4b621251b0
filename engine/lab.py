"""A lab as the playbook and the inventory declare it: what `load` gives and the later stages read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

from engine.errors import Where
from engine.refs import Template, Unknown
from engine.resource import Files, Resource

NeedSort = Literal["lives_on", "uses", "after"]


@dataclass(frozen=True, order=True)
class Need:
    """Why a resource comes after another: it lives on it, uses an output of it, or merely comes after."""

    address: str
    sort: NeedSort


@dataclass(frozen=True)
class Ssh:
    """The `ssh:` keyword: how to log in to a resource that is a host. Strings may be Templates."""

    user: str | Template | None
    """None where the user's own SSH settings say it: only for a machine that is already there."""
    key: str | Template | None = None
    port: int | Template | None = None
    via: str | None = None
    forward_agent: bool = False
    host: str | Template | None = None


@dataclass(frozen=True)
class Declared:
    """One resource as the playbook declares it, after `loop`, `when`, `block`; references not filled in."""

    address: str
    kind: type[Resource]
    fields: Mapping[str, Any]
    where: Where
    needs: frozenset[Need] = frozenset()
    host: str | None = None
    ssh: Ssh | None = None
    protect: bool = False
    retain: bool = False
    ignore_changes: frozenset[str] = frozenset()
    tags: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None
    no_log: bool = False
    names: Mapping[str, Any] = field(default_factory=dict)
    """Names of its own for templates: `item` and `loop_index`."""
    positions: Mapping[tuple[str | int, ...], Where] = field(default_factory=dict)
    """Where each field stands in the playbook, by path below the kind key."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """By field, the name (`ubuntu-22.04`) that the pinned id in it stands for."""
    space: str = ""
    """The path of the included playbook that it comes from (`net`, `net[0].inner`); else empty."""


@dataclass(frozen=True)
class Check:
    """One entry of `checks`; strings may be Templates."""

    name: str
    sort: Literal["http", "tcp", "command", "aws"]
    target: str | Template
    host: str | None = None
    status: int | None = None
    contains: str | Template | None = None
    expect: Literal["reachable", "unreachable"] = "reachable"
    method: str = "GET"
    """Of an `http` check."""
    headers: Mapping[str, Any] = field(default_factory=dict)
    """What an `http` check sends besides."""
    body: Any = None
    """What an `http` check sends: text, or with `is_json` any value."""
    is_json: bool = False
    params: Mapping[str, Any] = field(default_factory=dict)
    """Of an `aws` check, named as boto3 names them."""
    error: str | None = None
    """The error code that AWS must answer an `aws` check with."""
    timeout: float = 10.0
    where: Where | None = None
    space: str = ""
    """The included playbook that it comes from, as for a resource."""


@dataclass(frozen=True)
class Space:
    """What the templates of one playbook may use besides its resources, and what they may read."""

    names: Mapping[str, Any] = field(default_factory=dict)
    """Variables, `lab`, `env`, `my_ip`, and the labs that it uses."""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """As written, with their templates."""
    sensitive: frozenset[str] = frozenset()
    """The outputs that must be masked."""
    files: Files | None = None


@dataclass(frozen=True)
class Handed:
    """A variable's value that the including playbook hands over, and that hangs on its resources.

    It is filled in where it is used, with the names of the playbook at `space`.
    """

    value: Any
    space: str
    fit: Callable[[Any], Any]
    """Turns it into the variable's type. Raises ValueError in words that follow the variable's name."""
    own: Mapping[str, Any] = field(default_factory=dict)
    """`item` and `loop_index` where it was written."""
    where: Where | None = None


def _kept_from_us(name: str) -> Unknown:
    return Unknown()


@dataclass(frozen=True)
class UsedLab:
    """Another lab that a playbook uses: what it put out when it was last applied."""

    name: str
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """Plain values; Unknown for one that its last apply did not come to tell."""
    sensitive: frozenset[str] = frozenset()
    """The outputs whose values are not kept."""
    hosts: frozenset[str] = frozenset()
    """The addresses of its hosts."""
    uses: frozenset[str] = frozenset()
    """The labs that it uses itself, and those that they use."""
    ask: Callable[[str], Any] = field(default=_kept_from_us, compare=False)
    """Asks for the value of a sensitive output; Unknown where nobody can be asked."""


@dataclass(frozen=True)
class Use:
    """What a lab uses of another one."""

    lab: str
    outputs: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Target:
    """Where a lab is applied, and the settings that the inventory gives it.

    `ssh` is no cloud at all: machines that are already there.
    """

    sort: Literal["aws", "sandbox", "ssh"]
    region: str = "us-east-1"
    profile: str | None = None
    endpoint_url: str | None = None
    account: str | None = None
    """The only account id this inventory may act on; None allows any."""
    ssh_proxy: str | None = None
    """`host:port` of a SOCKS5 proxy for SSH and checks; names are resolved by the proxy."""
    docker_host: str | None = None
    """Where the Docker Engine that builds images answers, as DOCKER_HOST has it; None for the usual one."""
    sandbox: Mapping[str, Any] = field(default_factory=dict)
    """The inventory's `sandbox:` settings, handed to the sandbox as they are."""


@dataclass(frozen=True)
class Lab:
    """A playbook applied with an inventory, for one student if there is a roster."""

    name: str
    """`hw02@sandbox`, `hw02@fall2026/alice`."""
    slug: str
    """The name in letters, digits and dashes, fit for names at AWS: `hw02-fall2026-alice`."""
    target: Target
    resources: Mapping[str, Declared]
    """By address, in the playbook's order."""
    names: Mapping[str, Any] = field(default_factory=dict)
    """What templates may use besides resources: variables, `lab`, `env`, `my_ip`."""
    skipped: frozenset[str] = frozenset()
    """Addresses and names whose `when` is false."""
    spaces: Mapping[str, Space] = field(default_factory=dict)
    """The included playbooks, by their paths: `net`, `net[0]`, `net.inner`."""
    used_hosts: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """By what a `via` calls it (`base.bastion`): the lab that has the host, and its address there."""
    uses: tuple[Use, ...] = ()
    """What it uses of other labs."""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    sensitive_outputs: frozenset[str] = frozenset()
    checks: tuple[Check, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    """The inventory's tags and labctl's own (`labctl:lab`, `labctl:expires`)."""
    files: Files | None = None
    secrets: frozenset[str] = frozenset()
    """Values to mask wherever text leaves labctl."""
    playbook: Path | None = None
    inventory: Path | None = None
    student: str | None = None
    expires: date | None = None
    budget: float | None = None
    """USD that this lab may cost."""
    ledger: str = ".labctl/labctl.db"
    """A path, absolute once loaded."""
    lock_file: Path | None = None
    """Where image aliases are pinned, beside the inventory."""

    def space(self, path: str) -> Space:
        """What the playbook included as `path` sees; the lab's own where that is empty."""
        if path:
            return self.spaces[path]
        return Space(self.names, self.outputs, self.sensitive_outputs, self.files)
