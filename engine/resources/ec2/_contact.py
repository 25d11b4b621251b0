"""What EC2 tells about reaching an instance: whether it is ready, its host keys, what is in the way."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.aws.errors import AwsError
from engine.aws.tags import values_filter
from engine.resource import Approach, Finding
from engine.resources.ec2._ec2 import described, instances, instances_where

if TYPE_CHECKING:
    from engine.world import World

_KEYS = re.compile(r"-----BEGIN SSH HOST KEY KEYS-----(.*?)-----END SSH HOST KEY KEYS-----", re.DOTALL)
_KEY = re.compile(r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-\S+) ([A-Za-z0-9+/=]{40,})")
_USUAL = Approach()


def not_ready(world: World, id: str) -> str | None:
    """Why an instance cannot be contacted yet; None when it runs and no status check has failed.

    DescribeInstanceStatus. Checks that are still `initializing` are not waited for: SSH answers long before
    they pass.
    """
    status = _status(world, id)
    if status is None:
        return "not visible yet"
    state = str(status["InstanceState"]["Name"])
    return state if state != "running" else _impaired(status)


def _status(world: World, id: str) -> dict[str, Any] | None:
    try:
        answer = world.aws.call("ec2", "describe_instance_status", InstanceIds=[id], IncludeAllInstances=True)
    except AwsError as error:
        if error.not_found:
            return None
        raise
    found: list[dict[str, Any]] = answer["InstanceStatuses"]
    return found[0] if found else None


def _impaired(status: Mapping[str, Any]) -> str | None:
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


def examine(world: World, id: str, approach: Approach) -> list[Finding]:
    """Every stage of the way to an instance, as EC2 tells: state, status, address, route, security groups."""
    try:
        return _stages(world, id, approach)
    except AwsError as error:
        return [Finding("instance", None, f"AWS does not tell more: {error.message}")]


def _causes(world: World, id: str) -> list[str]:
    instance = _instance(world, id)
    found = [_state(world, id, instance)]
    if instance is not None and found[0].well:
        found += _way(world, id, instance, _USUAL)
    return [finding.what for finding in found if finding.well is False]


def _stages(world: World, id: str, approach: Approach) -> list[Finding]:
    instance = _instance(world, id)
    state = _state(world, id, instance)
    if instance is None or not state.well:
        return [state]
    return [state, _checks(world, id), *_way(world, id, instance, approach)]


_STATES = {
    "stopped": "aws ec2 start-instances --instance-ids {id}",
    "stopping": "aws ec2 wait instance-stopped --instance-ids {id}, then start it",
    "pending": "aws ec2 wait instance-running --instance-ids {id}",
}


def _state(world: World, id: str, instance: Mapping[str, Any] | None) -> Finding:
    if instance is None:
        return Finding("instance", False, f"instance {id} does not exist any more", "labctl apply", id)
    state = str(instance["State"]["Name"])
    remedy = _STATES.get(state, "labctl apply").format(id=id)
    running = state == "running"
    return Finding("instance", running, f"instance {id} is {state}", "" if running else remedy, id)


def _checks(world: World, id: str) -> Finding:
    status = _status(world, id)
    failed = _impaired(status) if status is not None else None
    if failed is not None:
        return Finding("status", False, failed, f"aws ec2 reboot-instances --instance-ids {id}", id)
    told = (status or {}).get("InstanceStatus", {}).get("Status", "not told yet")
    return Finding("status", True, f"status checks: {told}")


def _way(world: World, id: str, instance: Mapping[str, Any], approach: Approach) -> list[Finding]:
    groups = _rule_finding(world, instance, approach)
    if approach.source is not None:
        return [Finding("address", True, str(instance.get("PrivateIpAddress"))), groups]
    return [_address(id, instance), *_route(world, instance), groups]


def _address(id: str, instance: Mapping[str, Any]) -> Finding:
    address = instance.get("PublicIpAddress")
    if address:
        return Finding("address", True, str(address))
    remedy = "give it `assign_public_ip: true` or an ec2_eip, or reach it through a host: ssh: {via: …}"
    return Finding("address", False, f"instance {id} has no public address", remedy, id)


def _route(world: World, instance: Mapping[str, Any]) -> list[Finding]:
    table, open_to_internet = _table(world, instance)
    subnet = str(instance["SubnetId"])
    if open_to_internet:
        return [Finding("route", True, f"its subnet {subnet} has a route to the internet")]
    words = f"the route table of its subnet {subnet} has no route to an internet gateway"
    remedy = (
        f"aws ec2 create-route --route-table-id {table or 'rtb-…'} "
        "--destination-cidr-block 0.0.0.0/0 --gateway-id igw-…"
    )
    return [Finding("route", False, words, remedy, table)]


def _rule_finding(world: World, instance: Mapping[str, Any], approach: Approach) -> Finding:
    no_rule = _no_rule(world, instance, approach)
    groups = instance.get("SecurityGroups", ())
    if no_rule is None:
        names = ", ".join(sorted(str(group["GroupName"]) for group in groups))
        return Finding("groups", True, f"its security groups ({names}) let it in to port {approach.port}")
    group = str(groups[0]["GroupId"]) if groups else "sg-…"
    source = approach.source or world.caller() or "YOUR.ADDRESS"
    remedy = (
        f"aws ec2 authorize-security-group-ingress --group-id {group} --protocol tcp "
        f"--port {approach.port} --cidr {source}/32"
    )
    return Finding("groups", False, no_rule[0], remedy, group)


def _instance(world: World, id: str) -> dict[str, Any] | None:
    return next(iter(instances(world, [id])), None)


def _table(world: World, instance: Mapping[str, Any]) -> tuple[str | None, bool]:
    """The route table of an instance's subnet, and whether it has a route to an internet gateway."""
    subnet, vpc = str(instance["SubnetId"]), str(instance["VpcId"])
    tables = world.aws.pages(
        "ec2", "describe_route_tables", "RouteTables", Filters=values_filter("vpc-id", [vpc])
    )
    own = [t for t in tables if any(link.get("SubnetId") == subnet for link in t.get("Associations", ()))]
    main = [t for t in tables if any(link.get("Main") for link in t.get("Associations", ()))]
    chosen = (own or main)[:1]
    routes = [route for table in chosen for route in table.get("Routes", ())]
    out = any(str(route.get("GatewayId", "")).startswith("igw-") for route in routes)
    return (str(chosen[0]["RouteTableId"]) if chosen else None), out


def _no_rule(
    world: World, instance: Mapping[str, Any], approach: Approach = _USUAL
) -> tuple[str, bool] | None:
    """That the groups do not let the connection in, and whether that is certain; None where they do."""
    ids = [group["GroupId"] for group in instance.get("SecurityGroups", ())]
    groups = described(world, "describe_security_groups", "SecurityGroups", "group-id", ids)
    names = ", ".join(sorted(group["GroupName"] for group in groups)) or "no group"
    port = approach.port
    permissions = [p for group in groups for p in group.get("IpPermissions", ()) if _is_about(p, port)]
    ranges = _ranges(permissions)
    if approach.source is not None:
        return _none_from(world, instance, approach, permissions, names)
    if not ranges:
        return f"no rule of its security groups ({names}) lets any address in to port {port}", True
    caller = world.caller()
    if caller is None:
        everybody = {"0.0.0.0/0", "::/0"} & set(ranges)
        only = f"its security groups ({names}) let only {', '.join(ranges)} in to port {port}"
        return None if everybody else (f"{only}: is that still your address?", False)
    address = caller.partition("/")[0]
    if _within(address, ranges):
        return None
    words = (
        f"its security groups ({names}) let {', '.join(ranges)} in to port {port}, but not you ({address})"
    )
    return words, True


def _none_from(
    world: World,
    instance: Mapping[str, Any],
    approach: Approach,
    permissions: Sequence[Mapping[str, Any]],
    names: str,
) -> tuple[str, bool] | None:
    """That no rule lets in the host that an instance is reached through."""
    source = str(approach.source)
    if _within(source, _ranges(permissions)):
        return None
    wanted = {str(pair["GroupId"]) for p in permissions for pair in p.get("UserIdGroupPairs", ())}
    before = instances_where(
        world,
        *values_filter("private-ip-address", [source]),
        *values_filter("vpc-id", [str(instance["VpcId"])]),
    )
    if wanted & {str(group["GroupId"]) for one in before for group in one.get("SecurityGroups", ())}:
        return None
    return f"its security groups ({names}) do not let {source} in to port {approach.port}", True


def _within(address: str, ranges: Sequence[str]) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(found in ipaddress.ip_network(cidr, strict=False) for cidr in ranges)


def _is_about(permission: Mapping[str, Any], port: int) -> bool:
    low, high = permission.get("FromPort", 0), permission.get("ToPort", 65535)
    protocol = permission["IpProtocol"]
    return bool(protocol == "-1" or (protocol == "tcp" and low <= port <= high))


def _ranges(permissions: Sequence[Mapping[str, Any]]) -> list[str]:
    ranges = []
    for permission in permissions:
        ranges += [str(entry["CidrIp"]) for entry in permission.get("IpRanges", ())]
        ranges += [str(entry["CidrIpv6"]) for entry in permission.get("Ipv6Ranges", ())]
    return ranges
