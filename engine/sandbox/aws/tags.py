"""Tags: read by id instead of by searching all, and gone with what they were on.

moto searches every tag of the region for each thing it describes (seconds for a class of students), and
keeps the tags of what was deleted.
"""

from __future__ import annotations

from typing import Any

from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, get_prefix

from engine.sandbox.aws.guard import After, Check
from engine.sandbox.aws.mending import replace


def _tags(resource: Any) -> list[dict[str, str]]:
    identity = resource.id
    kept = resource.ec2_backend.tags.get(identity) if identity else None
    if not kept:
        return []
    sort = EC2_PREFIX_TO_RESOURCE.get(get_prefix(identity), "")
    return [
        {"resource_id": identity, "key": key, "value": value, "resource_type": sort}
        for key, value in kept.items()
    ]


def _there(backend: Any) -> dict[str, set[str]]:
    """The ids that are there, by their prefix, of the things that labs tag."""
    groups = [group for named in backend.groups.values() for group in named.values()]
    return {
        "vpc": set(backend.vpcs),
        "subnet": {one.id for one in backend.describe_subnets()},
        "igw": set(backend.internet_gateways),
        "rtb": set(backend.route_tables),
        "sg": {group.id for group in groups},
        "sgr": {rule.id for group in groups for rule in (*group.ingress_rules, *group.egress_rules)},
        "i": {one.id for kept in backend.reservations.values() for one in kept.instances},
        "vol": set(backend.volumes),
        "snap": set(backend.snapshots),
        "ami": set(backend.amis),
        "eni": set(backend.enis),
        "nat": set(backend.nat_gateways),
        "eipalloc": {one.allocation_id for one in backend.addresses},
        "key": {one.id for one in backend.key_pairs.values()},
        "sir": set(backend.spot_instance_requests),
    }


def _drop_orphans(backend: Any, params: dict[str, Any]) -> None:
    there = _there(backend)
    for identity in list(backend.tags):
        known = there.get(identity.rpartition("-")[0])
        if known is not None and identity not in known:
            del backend.tags[identity]


def _listed(backend: Any, params: dict[str, Any], result: Any) -> None:
    """The filter `tag:KEY`, which moto does not know here."""
    for wanted in params.get("Filters") or ():
        sort, _, key = wanted["Name"].partition(":")
        if sort == "tag" and key:
            values = wanted.get("Values") or ()
            result["Tags"] = [one for one in result["Tags"] if one["key"] == key and one["value"] in values]


CHECKS: dict[str, tuple[Check, ...]] = {"DescribeTags": (_drop_orphans,)}
AFTER: dict[str, After] = {"DescribeTags": _listed}


def mend() -> None:
    """Lets things look up their own tags."""
    replace(TaggedEC2Resource, get_tags=_tags)
