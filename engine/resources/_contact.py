"""What EC2 tells about reaching an instance: whether it is ready, its host keys, what is in the way."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.aws.errors import AwsError
from engine.aws.tags import values_filter
from engine.resources._ec2 import described

if TYPE_CHECKING:
    from engine.world import World

_KEYS = re.compile(r"-----BEGIN SSH HOST KEY KEYS-----(.*?)-----END SSH HOST KEY KEYS-----", re.DOTALL)
_KEY = re.compile(r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-\S+) ([A-Za-z0-9+/=]{40,})")
_SSH = 22


def not_ready(world: World, id: str) -> str | None:
    """Why an instance cannot be contacted yet; None when it runs and no status check has failed.

    DescribeInstanceStatus. Checks that are still `initializing` are not waited for: SSH answers long before
    they pass.
    """
    try:
        answer = world.aws.call("ec2", "describe_instance_status", InstanceIds=[id], IncludeAllInstances=True)
    except AwsError as error:
        if error.not_found:
            return "not visible yet"
        raise
    if not answer["InstanceStatuses"]:
        return "not visible yet"
    status = answer["InstanceStatuses"][0]
    state = str(status["InstanceState"]["Name"])
    if state != "running":
        return state
    checks = (("system", "SystemStatus"), ("instance", "InstanceStatus"))
    failed = [name for name, key in checks if status.get(key, {}).get("Status") == "impaired"]
    return f"the {' and '.join(failed)} status check failed" if failed else None


def host_keys(world: World, id: str) -> list[str]:
    """The host keys that cloud-init prints to the console (GetConsoleOutput); none where not there yet."""
    for latest in ({"Latest": True}, {}):
        try:
            answer = world.aws.call("ec2", "get_console_output", InstanceId=id, **latest)
        except AwsError:
            # Older instance types know no Latest; without permission keys are trusted at first contact.
            continue
        blocks = _KEYS.findall(str(answer.get("Output") or ""))
        if blocks:
            return [f"{sort} {key}" for sort, key in _KEY.findall(blocks[-1])]
    return []


def explain(world: World, id: str) -> list[str]:
    """Why the network may not let the caller in to port 22, one line a cause; none where all seems well."""
    try:
        return _causes(world, id)
    except AwsError as error:
        return [f"AWS does not tell more: {error.message}"]


def shut_out(world: World, id: str) -> str | None:
    """What of the network keeps the caller out of a running instance for certain; None where nothing does."""
    try:
        instance = _instance(world, id)
        if instance is None or instance["State"]["Name"] != "running" or not instance.get("PublicIpAddress"):
            return None
        cause, certain = _no_rule(world, instance) or ("", False)
    except AwsError:
        return None
    return cause if certain else None


def _causes(world: World, id: str) -> list[str]:
    instance = _instance(world, id)
    if instance is None:
        return [f"instance {id} does not exist any more"]
    state = instance["State"]["Name"]
    if state != "running":
        return [f"instance {id} is {state}"]
    causes = []
    if not instance.get("PublicIpAddress"):
        causes.append(f"instance {id} has no public address")
    causes += _no_route(world, instance)
    rule = _no_rule(world, instance)
    return causes if rule is None else [*causes, rule[0]]


def _instance(world: World, id: str) -> dict[str, Any] | None:
    reservations = described(world, "describe_instances", "Reservations", "instance-id", [id])
    instances: list[dict[str, Any]] = [one for found in reservations for one in found["Instances"]]
    return instances[0] if instances else None


def _no_route(world: World, instance: Mapping[str, Any]) -> list[str]:
    subnet, vpc = str(instance["SubnetId"]), str(instance["VpcId"])
    tables = world.aws.pages(
        "ec2", "describe_route_tables", "RouteTables", Filters=values_filter("vpc-id", [vpc])
    )
    own = [t for t in tables if any(link.get("SubnetId") == subnet for link in t.get("Associations", ()))]
    main = [t for t in tables if any(link.get("Main") for link in t.get("Associations", ()))]
    routes = [route for table in (own or main)[:1] for route in table.get("Routes", ())]
    if any(str(route.get("GatewayId", "")).startswith("igw-") for route in routes):
        return []
    return [f"the route table of its subnet {subnet} has no route to an internet gateway"]


def _no_rule(world: World, instance: Mapping[str, Any]) -> tuple[str, bool] | None:
    """That the groups do not let the caller in, and whether that is certain; None where they do."""
    ids = [group["GroupId"] for group in instance.get("SecurityGroups", ())]
    groups = described(world, "describe_security_groups", "SecurityGroups", "group-id", ids)
    names = ", ".join(sorted(group["GroupName"] for group in groups)) or "no group"
    ranges = [cidr for group in groups for cidr in _open_to(group.get("IpPermissions", ()))]
    if not ranges:
        return f"no rule of its security groups ({names}) lets any address in to port {_SSH}", True
    caller = world.caller()
    if caller is None:
        everybody = {"0.0.0.0/0", "::/0"} & set(ranges)
        only = f"its security groups ({names}) let only {', '.join(ranges)} in to port {_SSH}"
        return None if everybody else (f"{only}: is that still your address?", False)
    address = ipaddress.ip_address(caller.partition("/")[0])
    if any(address in ipaddress.ip_network(cidr, strict=False) for cidr in ranges):
        return None
    words = (
        f"its security groups ({names}) let {', '.join(ranges)} in to port {_SSH}, but not you ({address})"
    )
    return words, True


def _open_to(permissions: Sequence[Mapping[str, Any]]) -> list[str]:
    ranges = []
    for permission in permissions:
        low, high = permission.get("FromPort", 0), permission.get("ToPort", 65535)
        if permission["IpProtocol"] == "-1" or (permission["IpProtocol"] == "tcp" and low <= _SSH <= high):
            ranges += [str(entry["CidrIp"]) for entry in permission.get("IpRanges", ())]
            ranges += [str(entry["CidrIpv6"]) for entry in permission.get("Ipv6Ranges", ())]
    return ranges
