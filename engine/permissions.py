"""Lab -> the least IAM policy that plans, applies, checks and destroys it. Pure: nobody is asked."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from engine.diff import usable_values
from engine.lab import Lab
from engine.refs import Unknown
from engine.resource import Place, Resource, Values
from engine.templating import construct, scope_of

EVERYTHING: Final = "*"
MANAGED_MOST: Final = 6144
"""Characters without spaces that a managed policy may have."""
_SECRETS: Final = {
    "ssm": ("ssm:GetParameter", "ssm", "parameter"),
    "secretsmanager": ("secretsmanager:GetSecretValue", "secretsmanager", "secret"),
}
_ANY_ACCOUNT: Final = "0" * 12
"""Stands for the account while names are put together: kinds take nothing else but digits there."""
_PASS_ROLE: Final = "iam:PassRole"
_PASSES: Final = 4
"""How long a chain of names that follow from names is looked along."""


def permissions(labs: Iterable[Lab], secrets: Sequence[Mapping[str, str]] = ()) -> dict[str, Any]:
    """A policy document for all of `labs`, and for reading the `secrets` (`{"ssm": name}`) they come from.

    An action is limited to the ARNs that the kinds tell; where one resource needs it for everything, so it
    is. Statements are sorted by service, actions by name. Raises Invalid for fields that are wrong.
    """
    needed: dict[str, set[str]] = defaultdict(set)
    place = Place()
    for lab in labs:
        place = place_of(lab)
        for action in _looking(lab):
            needed[action].add(EVERYTHING)
        for resource in resources_of(lab, place):
            reach = {_PASS_ROLE: _roles(resource.wanted(), place), **resource.reach(place)}
            for action in type(resource).actions:
                needed[action] |= set(reach.get(action, [EVERYTHING]))
    for source in secrets:
        for sort, (action, service, noun) in _SECRETS.items():
            if sort in source:
                needed[action].add(_secret(place, service, noun, source[sort]))
    return {"Version": "2012-10-17", "Statement": _statements(needed)}


def _looking(lab: Lab) -> Iterator[str]:
    """What it takes to see whether a lab with a new ledger is there already, and what its checks ask AWS."""
    from engine.aws.actions import actions_of_method

    if lab.target.sort != "ssh":
        yield "tag:GetResources"
    for check in lab.checks:
        if check.sort == "aws" and isinstance(check.target, str):
            service, _, method = check.target.partition(".")
            yield from actions_of_method(service, method)


def place_of(lab: Lab) -> Place:
    """Where the lab's things are; any account where its inventory names none."""
    region = lab.target.region
    partition = (
        "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"
    )
    return Place(region, lab.target.account or _ANY_ACCOUNT, partition)


def resources_of(lab: Lab, place: Place) -> list[Resource]:
    """The lab's resources, filled in with all that follows from names alone."""
    known: dict[str, Values] = {}
    made: dict[str, Resource] = {}
    for _ in range(_PASSES):
        before = dict(known)
        scope = scope_of(lab, before)
        made = {address: construct(declared, scope) for address, declared in lab.resources.items()}
        known = {
            address: {**usable_values(resource), **_id(resource), **resource.foretold(place)}
            for address, resource in made.items()
        }
        if known == before:
            break
    return list(made.values())


def _roles(value: Any, place: Place, name: str = "") -> list[str]:
    """The roles that a resource hands over to a service, by what stands in its fields."""
    if isinstance(value, Mapping):
        return [arn for key, item in value.items() for arn in _roles(item, place, str(key))]
    if isinstance(value, list | tuple):
        return [arn for item in value for arn in _roles(item, place, name)]
    if isinstance(value, str) and re.fullmatch(r"arn:[\w-]+:iam::[\d*]+:role/.+", value):
        return [value]
    if "instance_profile" in name and value is not None:
        return [place.arn("iam", "role/*", regional=False)]
    if "role" not in name.lower():
        return []
    if isinstance(value, Unknown):
        return [EVERYTHING]
    return place.named("iam", "role", value) if isinstance(value, str) else []


def _id(resource: Resource) -> Values:
    """The id, where its name tells it."""
    foreseen = resource.foreseen()
    return {"id": foreseen} if foreseen else {}


def size(policy: Mapping[str, Any]) -> int:
    """How long AWS counts a policy: its characters without spaces."""
    return len(re.sub(r"\s", "", json.dumps(policy, separators=(",", ":"))))


def _secret(place: Place, service: str, noun: str, name: str) -> str:
    if name.startswith("arn:"):
        return name
    if noun == "parameter":
        return place.arn(service, f"parameter/{name.lstrip('/')}")
    # Secrets Manager adds a dash and six letters to each name.
    return place.arn(service, f"secret:{name}-??????")


def _statements(needed: Mapping[str, set[str]]) -> list[dict[str, Any]]:
    grouped: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for action, arns in needed.items():
        if arns:
            known = sorted(arn.replace(_ANY_ACCOUNT, EVERYTHING) for arn in arns)
            reach = (EVERYTHING,) if EVERYTHING in arns else tuple(known)
            grouped[action.partition(":")[0], reach].append(action)
    counts: dict[str, int] = defaultdict(int)
    statements = []
    for (service, reach), actions in sorted(grouped.items(), key=_order):
        counts[service] += 1
        sid = "".join(word.title() for word in re.split(r"[^a-z0-9]+", service))
        statements.append(
            {
                "Sid": sid if counts[service] == 1 else f"{sid}{counts[service]}",
                "Effect": "Allow",
                "Action": sorted(actions),
                "Resource": EVERYTHING if reach == (EVERYTHING,) else list(reach),
            }
        )
    return statements


def _order(group: tuple[tuple[str, tuple[str, ...]], list[str]]) -> tuple[str, bool, tuple[str, ...]]:
    (service, arns), _ = group
    return service, arns != (EVERYTHING,), arns
