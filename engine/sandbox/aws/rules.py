"""Rules of security groups: ports and groups that exist, all of a request or nothing, each rule once.

moto takes rules one by one, so that half a request may have taken effect, and answers with the last.
A rule is the same rule whatever its description says, as for EC2.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.security_groups import SecurityGroupRule

from engine.sandbox.aws.checks import require_group
from engine.sandbox.aws.guard import After, Check
from engine.sandbox.aws.mending import replace

_PORTED = ("tcp", "udp", "6", "17")


def _ports(protocol: str, start: int | None, end: int | None) -> None:
    if protocol.lower() not in _PORTED:
        return
    if start is None or end is None:
        raise EC2ClientError(
            "InvalidParameterValue",
            "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.",
        )
    for port in (start, end):
        if not 0 <= port <= 65535:
            raise EC2ClientError("InvalidParameterValue", f"Invalid value '{port}' for portRange.")
    if start > end:
        raise EC2ClientError(
            "InvalidParameterValue",
            f"Invalid value '{start}-{end}' for portRange.",
        )


def _permissions(backend: Any, params: dict[str, Any]) -> None:
    for rule in params.get("IpPermissions") or ():
        _ports(str(rule.get("IpProtocol", "")), rule.get("FromPort"), rule.get("ToPort"))
        for pair in rule.get("UserIdGroupPairs") or ():
            if pair.get("GroupId"):
                require_group(backend, pair["GroupId"])
        for block in rule.get("IpRanges") or ():
            block["CidrIp"] = _canonical(block.get("CidrIp", ""))
    if params.get("IpProtocol") and not params.get("IpPermissions"):
        _ports(str(params["IpProtocol"]), params.get("FromPort"), params.get("ToPort"))


def _canonical(block: str) -> str:
    """AWS cuts off host bits: 10.1.2.3/16 is kept as 10.1.0.0/16."""
    try:
        return str(ipaddress.ip_network(block, strict=False))
    except ValueError as error:
        raise EC2ClientError("InvalidParameterValue", f"CIDR block {block} is malformed") from error


def _rules(backend: Any, params: dict[str, Any]) -> None:
    for update in params.get("SecurityGroupRules") or ():
        rule = update.get("SecurityGroupRule") or {}
        _ports(str(rule.get("IpProtocol", "")), rule.get("FromPort"), rule.get("ToPort"))


def _identity(rule: SecurityGroupRule) -> tuple[Any, ...]:
    block = rule.ip_range.get("CidrIp") or rule.ip_range.get("CidrIpv6")
    ports = (rule.from_port, rule.to_port) if rule.ip_protocol != "-1" else None
    return rule.ip_protocol, ports, block, rule.source_group.get("GroupId"), rule.prefix_list_id


def _same(rule: SecurityGroupRule, other: object) -> bool:
    return isinstance(other, SecurityGroupRule) and _identity(rule) == _identity(other)


def _asked(backend: Any, group: Any, params: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What each rule of a request is, by `_identity`."""
    found = []
    for one in params.get("IpPermissions") or ([params] if params.get("IpProtocol") else []):
        blocks = [*(one.get("IpRanges") or ()), *(one.get("Ipv6Ranges") or ())]
        blocks += [{"CidrIp": one["CidrIp"]}] if one.get("CidrIp") else []
        rules = backend._iterate_security_rules(
            one["IpProtocol"],
            group.id,
            one.get("FromPort"),
            one.get("ToPort"),
            blocks,
            one.get("UserIdGroupPairs") or [],
            one.get("PrefixListIds") or [],
        )
        found += [_identity(rule) for rule in rules]
    return found


def _group(backend: Any, params: dict[str, Any]) -> Any:
    name = params.get("GroupId") or params.get("GroupName") or ""
    return backend.get_security_group_by_name_or_id(name) or require_group(backend, name)


def _authorize(backend: Any, params: dict[str, Any], there: list[SecurityGroupRule]) -> None:
    asked = _asked(backend, _group(backend, params), params)
    if len(set(asked)) < len(asked):
        raise EC2ClientError("InvalidParameterValue", "The same permission must not appear multiple times")
    for one in set(asked) & {_identity(rule) for rule in there}:
        words = f"peer: {one[2] or one[3]}, {one[0]}, from port: {one[1] and one[1][0]}, ALLOW"
        message = f'the specified rule "{words}" already exists'
        raise EC2ClientError("InvalidPermission.Duplicate", message)
    params["RulesBefore"] = [rule.id for rule in there]


def _revoke(backend: Any, params: dict[str, Any], there: list[SecurityGroupRule]) -> None:
    missing = set(_asked(backend, _group(backend, params), params)) - {_identity(rule) for rule in there}
    unknown = set(params.get("SecurityGroupRuleIds") or ()) - {rule.id for rule in there}
    if unknown:
        message = f"The security group rule ID '{min(unknown)}' does not exist"
        raise EC2ClientError("InvalidSecurityGroupRuleId.NotFound", message)
    if missing:
        message = "The specified rule does not exist in this security group."
        raise EC2ClientError("InvalidPermission.NotFound", message)


def _authorize_ingress(backend: Any, params: dict[str, Any]) -> None:
    _authorize(backend, params, _group(backend, params).ingress_rules)


def _authorize_egress(backend: Any, params: dict[str, Any]) -> None:
    _authorize(backend, params, _group(backend, params).egress_rules)


def _revoke_ingress(backend: Any, params: dict[str, Any]) -> None:
    _revoke(backend, params, _group(backend, params).ingress_rules)


def _revoke_egress(backend: Any, params: dict[str, Any]) -> None:
    _revoke(backend, params, _group(backend, params).egress_rules)


def _authorized(backend: Any, params: dict[str, Any], result: Any) -> None:
    group, before = _group(backend, params), set(params["RulesBefore"])
    rules = [*group.ingress_rules, *group.egress_rules]
    ingress = {rule.id for rule in group.ingress_rules}
    wanted = {rule.is_egress for rule in result["SecurityGroupRules"]} or {False}
    result["SecurityGroupRules"] = [
        rule for rule in rules if rule.id not in before and (rule.id not in ingress) in wanted
    ]


CHECKS: dict[str, tuple[Check, ...]] = {
    "AuthorizeSecurityGroupIngress": (_permissions, _authorize_ingress),
    "AuthorizeSecurityGroupEgress": (_permissions, _authorize_egress),
    "RevokeSecurityGroupIngress": (_permissions, _revoke_ingress),
    "RevokeSecurityGroupEgress": (_permissions, _revoke_egress),
    "ModifySecurityGroupRules": (_rules,),
}
AFTER: dict[str, After] = {
    "AuthorizeSecurityGroupIngress": _authorized,
    "AuthorizeSecurityGroupEgress": _authorized,
}


def mend() -> None:
    """Makes rules equal that are the same rule."""
    replace(SecurityGroupRule, __eq__=_same)
