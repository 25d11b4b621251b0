"""The inventory: where, for whom, with which values, until when."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final, Literal

from engine.errors import Invalid, Problem, Where
from engine.lab import Target
from engine.language import reading
from engine.language.document import Node, content, read
from engine.language.machines import Machines, read_machines
from engine.language.problems import Problems
from engine.language.secrets import find_written
from engine.language.words import did_you_mean, shortened, sort_of
from engine.tags import MOST as MOST_TAGS

_KEYS: Final = (
    "target",
    "aws",
    "sandbox",
    "ssh",
    "docker",
    "hosts",
    "hosts_from",
    "ledger",
    "vars",
    "students",
    "expires",
    "budget",
    "tags",
)
_TARGETS: Final[tuple[Literal["aws"], Literal["sandbox"], Literal["ssh"]]] = ("aws", "sandbox", "ssh")
_AWS: Final = ("region", "profile", "endpoint_url", "account")
_LACK: Final = re.compile(r"((spot|on-demand):)?[a-z0-9.*-]+(@[a-z0-9*-]+)?")
"""`[spot:]TYPE[@ZONE]`, with `*` for any."""
_SANDBOX: Final = ("hosts", "boot_seconds", "ssh_seconds", "images", "no_capacity", "workloads")
_DOCKER: Final = ("host",)
_WORDS = {
    "region": "write it under `aws`",
    "profile": "write it under `aws`",
    "resources": "resources belong in a playbook",
    "all": "this is an inventory of Ansible: write `target: ssh` and `hosts_from: FILE` in one of labctl",
    "variables": "write `vars`",
    "roster": "write `students`",
}


@dataclass(frozen=True)
class Inventory:
    """What an inventory file says."""

    path: Path
    target: Target
    ledger: str | None = None
    """A path, absolute."""
    vars: Mapping[str, Node] = field(default_factory=dict)
    vars_places: Mapping[str, Where] = field(default_factory=dict)
    vars_line: int | None = None
    """The line of its `vars`."""
    students: Path | None = None
    students_where: Where | None = None
    expires: date | None = None
    budget: float | None = None
    """USD per lab."""
    tags: Mapping[str, str] = field(default_factory=dict)
    machines: Machines = field(default_factory=Machines)
    """Those that are already there, with `target: ssh`."""


def read_inventory(path: Path, problems: Problems) -> Inventory:
    """The inventory at `path`, as far as it can be read; raises Invalid where it cannot be read at all."""
    root = read(path)
    if root is None or not root.is_mapping:
        where = Where(str(path)) if root is None else root.where
        raise Invalid([Problem(where, "an inventory must be a mapping", "it begins with `target: sandbox`")])
    reading.known_keys(root, _KEYS, "an inventory", problems, _WORDS)
    find_written(root, problems)
    given = reading.mapping(root.get("vars"), "`vars`", problems)
    students = root.get("students")
    roster = reading.text(students, "`students`", problems)
    return Inventory(
        path=path,
        target=_target(root, problems),
        ledger=_ledger(root.get("ledger"), path, problems),
        vars=dict(given.value) if given is not None else {},
        vars_places=given.keys if given is not None else {},
        vars_line=root.keys["vars"].line if "vars" in root.keys else None,
        students=path.parent / Path(roster).expanduser() if roster else None,
        students_where=students.where if students is not None else None,
        expires=_expires(root.get("expires"), problems),
        budget=_budget(root.get("budget"), problems),
        tags=_tags(root.get("tags"), problems),
        machines=_machines(root, path, problems),
    )


def _machines(root: Node, path: Path, problems: Problems) -> Machines:
    target = root.get("target")
    given = [key for key in ("hosts", "hosts_from") if root.get(key) is not None]
    if target is None or target.value != "ssh":
        for key in given:
            words = f"`{key}` names machines that are already there"
            problems.add(
                root.keys[key], words, "write `target: ssh`, or name them in a playbook, as `ssh_host`"
            )
        return Machines()
    if not given:
        problems.add(target.where, "`target: ssh` without machines", "write `hosts:` or `hosts_from: FILE`")
    return read_machines(root, path, problems)


def _target(root: Node, problems: Problems) -> Target:
    node = root.get("target")
    aws = reading.mapping(root.get("aws"), "`aws`", problems)
    sandbox = reading.mapping(root.get("sandbox"), "`sandbox`", problems)
    if aws is not None:
        reading.known_keys(aws, _AWS, "`aws`", problems)
    if sandbox is not None:
        _check_sandbox(sandbox, problems)
    return Target(
        sort=_sort(root, node, problems),
        region=_aws_text(aws, "region", problems) or "us-east-1",
        profile=_aws_text(aws, "profile", problems),
        endpoint_url=_aws_text(aws, "endpoint_url", problems),
        account=_account(aws, problems),
        ssh_proxy=_proxy(root.get("ssh"), problems),
        docker_host=_docker_host(root.get("docker"), problems),
        sandbox=content(sandbox) if sandbox is not None else {},
    )


def _sort(root: Node, node: Node | None, problems: Problems) -> Literal["aws", "sandbox", "ssh"]:
    for sort in _TARGETS:
        if node is not None and node.value == sort:
            return sort
    if node is None:
        problems.add(root.where, "the inventory has no `target`", "write `target: sandbox` or `target: aws`")
    else:
        words = f"there is no target {sort_of(content(node)).removeprefix('the text ')}"
        problems.add(node.where, words, did_you_mean(str(node.value), _TARGETS, "there are"))
    return "sandbox"


def _aws_text(aws: Node | None, key: str, problems: Problems) -> str | None:
    text = reading.text(aws.get(key), f"`aws.{key}`", problems) if aws is not None else None
    if text is not None and key == "region" and not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d", text):
        assert aws is not None
        problems.add(aws.value[key].where, f"`{text}` is not the name of a region", "such as `us-east-1`")
    return text


def _account(aws: Node | None, problems: Problems) -> str | None:
    node = aws.get("account") if aws is not None else None
    if node is None or node.value is None:
        return None
    if not re.fullmatch(r"\d{12}", str(node.value)):
        problems.add(node.where, "`aws.account` must be 12 digits", 'put it in quotes: "123456789012"')
    return str(node.value)


def _proxy(node: Node | None, problems: Problems) -> str | None:
    ssh = reading.mapping(node, "`ssh`", problems)
    if ssh is None:
        return None
    reading.known_keys(ssh, ["proxy"], "`ssh`", problems)
    text = reading.text(ssh.get("proxy"), "`ssh.proxy`", problems)
    if text is not None and not re.fullmatch(r"[^\s:/]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}", text):
        problems.add(
            ssh.value["proxy"].where, f"`{text}` is not a proxy", "write `HOST:PORT` of a SOCKS5 proxy"
        )
    return text


def _docker_host(node: Node | None, problems: Problems) -> str | None:
    docker = reading.mapping(node, "`docker`", problems)
    if docker is None:
        return None
    reading.known_keys(docker, _DOCKER, "`docker`", problems)
    text = reading.text(docker.get("host"), "`docker.host`", problems)
    if text is not None and not re.match(r"(unix|tcp|https?|ssh|npipe)://.", text):
        remedy = "as DOCKER_HOST has it: `unix:///var/run/docker.sock`, `tcp://HOST:PORT`, `ssh://USER@HOST`"
        problems.add(docker.value["host"].where, f"`{text}` is not where a Docker Engine answers", remedy)
    return text


def _check_sandbox(sandbox: Node, problems: Problems) -> None:
    reading.known_keys(sandbox, _SANDBOX, "`sandbox`", problems)
    hosts = sandbox.get("hosts")
    if hosts is not None and hosts.value not in ("simulated", "docker"):
        remedy = did_you_mean(str(hosts.value), ["simulated", "docker"], "there are")
        problems.add(hosts.where, f"there are no hosts `{hosts.value}` in the sandbox", remedy)
    workloads = sandbox.get("workloads")
    if workloads is not None and workloads.value not in ("processes", "none"):
        remedy = did_you_mean(str(workloads.value), ["processes", "none"], "there are")
        problems.add(workloads.where, f"tasks and functions cannot run as `{workloads.value}`", remedy)
    for key in ("boot_seconds", "ssh_seconds"):
        node = sandbox.get(key)
        value = node.value if node is not None else 0
        if node is not None and (not isinstance(value, int | float) or isinstance(value, bool) or value < 0):
            problems.add(
                node.where, f"`sandbox.{key}` must be a number of seconds, not {sort_of(content(node))}"
            )
    lacking = sandbox.get("no_capacity")
    listed = content(lacking) if lacking is not None else []
    if lacking is not None and not (
        isinstance(listed, list) and all(isinstance(each, str) and _LACK.fullmatch(each) for each in listed)
    ):
        words = "`sandbox.no_capacity` must be a list of instance types that there is no free machine of"
        problems.add(lacking.where, words, 'write `no_capacity: ["spot:t3.large", "g4dn.*@us-east-1a"]`')


def _ledger(node: Node | None, path: Path, problems: Problems) -> str | None:
    text = reading.text(node, "`ledger`", problems)
    if text is None:
        return None
    if re.match(r"[A-Za-z0-9+.-]+://", text):
        assert node is not None
        words = f"a ledger cannot be kept at `{text}`"
        problems.add(node.where, words, "write the path of a file, such as `ledger: ../labs.db`")
        return None
    return str((path.parent / Path(text).expanduser()).absolute())


def _expires(node: Node | None, problems: Problems) -> date | None:
    if node is None or node.value is None:
        return None
    try:
        return date.fromisoformat(node.value if isinstance(node.value, str) else "")
    except ValueError:
        problems.add(
            node.where, f"`expires` must be a date, not {sort_of(content(node))}", "such as `2026-12-18`"
        )
        return None


def _budget(node: Node | None, problems: Problems) -> float | None:
    budget = reading.mapping(node, "`budget`", problems)
    if budget is None:
        return None
    reading.known_keys(budget, ["per_lab"], "`budget`", problems)
    amount = budget.get("per_lab")
    if amount is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *USD", str(amount.value))
    if found is None or not math.isfinite(float(found[1])):
        words = f"`per_lab` must be an amount in USD, not {sort_of(content(amount))}"
        problems.add(amount.where, words, "such as `40 USD`")
        return None
    return float(found[1])


def _tags(node: Node | None, problems: Problems) -> dict[str, str]:
    tags = reading.mapping(node, "`tags`", problems)
    if tags is None:
        return {}
    found = check_tags(content(tags), tags, problems)
    check_number(found, tags, problems)
    return found


def check_tags(values: Mapping[str, Any], places: Node, problems: Problems) -> dict[str, str]:
    """`values` as tags, within AWS's rules; `places` is the mapping that they were written as."""
    found = {}
    for key, value in values.items():
        where = places.keys.get(key, places.where)
        if not isinstance(value, str):
            words = f"the tag `{key}` must be text, not {sort_of(value)}"
            problems.add(
                where, words, f'put it in quotes: "{value}"' if isinstance(value, int | float) else ""
            )
        elif key.lower().startswith(("aws:", "labctl:")):
            problems.add(where, f"the tag `{key}` is reserved", "choose a key without this prefix")
        elif not key:
            problems.add(where, "a tag needs a key", "write it before the colon")
        elif len(key) > 128 or len(value) > 256:
            problems.add(
                where,
                f"the tag `{shortened(key)}` is too long",
                "128 characters for the key, 256 for the value",
            )
        else:
            found[key] = value
    return found


def check_number(tags: Collection[str], places: Node, problems: Problems) -> None:
    """More tags than AWS takes for one thing are a problem at `places`."""
    if len(tags) > MOST_TAGS:
        remedy = f"AWS takes 50 for one thing, and labctl needs {50 - MOST_TAGS} of them"
        problems.add(places.where, f"{len(tags)} tags are too many: {MOST_TAGS} are allowed", remedy)
