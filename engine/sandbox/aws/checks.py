"""Requests that AWS refuses and moto takes: unknown ids, bad ports, wrong states."""

from __future__ import annotations

import ipaddress
from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instance_types import INSTANCE_TYPES

from engine.sandbox.aws.guard import Check

_PORTED = ("tcp", "udp", "6", "17")


def require_vpc(backend: Any, identity: str) -> None:
    """Raises InvalidVpcID.NotFound where there is no such VPC."""
    if identity not in backend.vpcs:
        raise EC2ClientError("InvalidVpcID.NotFound", f"The vpc ID '{identity}' does not exist")


def require_group(backend: Any, identity: str) -> Any:
    """The security group; raises InvalidGroup.NotFound where there is none."""
    group = backend.get_security_group_from_id(identity)
    if group is None:
        raise EC2ClientError("InvalidGroup.NotFound", f"The security group '{identity}' does not exist")
    return group


def require_type(name: str) -> None:
    """Raises InvalidParameterValue for an instance type that AWS does not have."""
    if name not in INSTANCE_TYPES:
        raise EC2ClientError("InvalidParameterValue", f"Invalid value '{name}' for InstanceType.")


def _create_group(backend: Any, params: dict[str, Any]) -> None:
    vpc = params.get("VpcId")
    if vpc:
        require_vpc(backend, vpc)
    elif backend.get_default_vpc() is None:
        raise EC2ClientError("VPCIdNotSpecified", "No default VPC for this user")
    else:
        params["VpcId"] = backend.get_default_vpc().id
    if params.get("GroupName", "").startswith("sg-"):
        raise EC2ClientError("InvalidParameterValue", "Group names may not be in the format sg-*.")


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


def _instances(backend: Any, params: dict[str, Any]) -> list[Any]:
    found = backend.get_multi_instances_by_id(list(params.get("InstanceIds") or ()))
    return list(found)


def _start(backend: Any, params: dict[str, Any]) -> None:
    for instance in _instances(backend, params):
        if instance._state.name not in ("stopped", "pending", "running"):
            _wrong_state(instance, "is not in a state from which it can be started")


def _stop(backend: Any, params: dict[str, Any]) -> None:
    for instance in _instances(backend, params):
        if instance._state.aim == "terminated":
            _wrong_state(instance, "is not in a state from which it can be stopped")
        if instance.lifecycle == "spot":
            raise EC2ClientError(
                "UnsupportedOperation",
                f"You can't stop the Spot Instance '{instance.id}' because it is associated with a one-time "
                "Spot Instance request. You can only stop Spot Instances associated with persistent Spot "
                "Instance requests.",
            )


def _reboot(backend: Any, params: dict[str, Any]) -> None:
    for instance in _instances(backend, params):
        if instance._state.name not in ("running", "pending"):
            _wrong_state(instance, "is not in a state from which it can be rebooted")


def _wrong_state(instance: Any, words: str) -> None:
    raise EC2ClientError("IncorrectInstanceState", f"The instance '{instance.id}' {words}.")


def _modify_instance(backend: Any, params: dict[str, Any]) -> None:
    instance = backend.get_instance(params.get("InstanceId", ""))
    kind = (params.get("InstanceType") or {}).get("Value")
    if params.get("Attribute") == "instanceType":
        kind = params.get("Value")
    if kind is not None:
        if kind not in INSTANCE_TYPES:
            message = f"Invalid value '{kind}' for InstanceType."
            raise EC2ClientError("InvalidInstanceAttributeValue", message)
        if instance._state.name != "stopped":
            _wrong_state(instance, "is not in the 'stopped' state")
    if params.get("UserData") is not None and instance._state.name != "stopped":
        _wrong_state(instance, "is not in the 'stopped' state")
    for group in params.get("Groups") or ():
        require_group(backend, group)


def _associate_address(backend: Any, params: dict[str, Any]) -> None:
    identity = params.get("InstanceId")
    if not identity:
        return
    instance = backend.get_instance(identity)
    if instance._state.aim == "terminated" or instance._state.name == "pending":
        message = (
            f"The pending or terminated instance '{identity}' is not in a valid state for this operation."
        )
        raise EC2ClientError("InvalidInstanceID", message)
    vpc = instance.nics[0].subnet.vpc_id
    if not any(one.vpc and one.vpc.id == vpc for one in backend.internet_gateways.values()):
        raise EC2ClientError("Gateway.NotAttached", f"Network {vpc} is not attached to any internet gateway")


def _create_nat(backend: Any, params: dict[str, Any]) -> None:
    backend.get_subnet(params.get("SubnetId", ""))
    allocation = params.get("AllocationId")
    if not allocation:
        if params.get("ConnectivityType") != "private":
            raise EC2ClientError("MissingParameter", "The request must include the AllocationId parameter.")
        return
    address = backend.address_by_allocation([allocation])[0]
    if address.association_id:
        message = f"resource {allocation} is already associated with associate-id {address.association_id}"
        raise EC2ClientError("Resource.AlreadyAssociated", message)


def _require_nat(backend: Any, params: dict[str, Any]) -> None:
    for identity in [*(params.get("NatGatewayIds") or ()), params.get("NatGatewayId")]:
        if identity and identity not in backend.nat_gateways:
            raise EC2ClientError("NatGatewayNotFound", f"NatGateway {identity} was not found")


def _create_route(backend: Any, params: dict[str, Any]) -> None:
    table = backend.get_route_table(params.get("RouteTableId", ""))
    nat = params.get("NatGatewayId")
    if nat and (nat not in backend.nat_gateways or backend.nat_gateways[nat].state == "deleted"):
        raise EC2ClientError("InvalidNatGatewayID.NotFound", f"The natGateway ID '{nat}' does not exist")
    gateway = backend.internet_gateways.get(params.get("GatewayId"))
    if gateway is not None and (gateway.vpc is None or gateway.vpc.id != table.vpc_id):
        raise EC2ClientError(
            "InvalidParameterValue",
            f"route table {table.id} and network gateway {gateway.id} belong to different networks",
        )


def _associate_table(backend: Any, params: dict[str, Any]) -> None:
    subnet, wanted = params.get("SubnetId"), backend.get_route_table(params.get("RouteTableId", ""))
    for table in backend.route_tables.values():
        if subnet and table is not wanted and subnet in table._associations.values():
            raise EC2ClientError(
                "Resource.AlreadyAssociated",
                f"the specified association for route table {wanted.id} conflicts "
                "with an existing association",
            )


def _delete_key(backend: Any, params: dict[str, Any]) -> None:
    """Real EC2 takes a key pair's id as well as its name; moto looks at the name alone."""
    identity = params.get("KeyPairId")
    if not identity:
        return
    names = [key.key_name for key in backend.key_pairs.values() if key.id == identity]
    if not names:
        raise EC2ClientError("InvalidKeyPair.NotFound", f"The key pair '{identity}' does not exist")
    params["KeyName"] = names[0]


def _describe_keys(backend: Any, params: dict[str, Any]) -> None:
    known = {key.id: key.key_name for key in backend.key_pairs.values()}
    for identity in params.get("KeyPairIds") or ():
        if identity not in known:
            raise EC2ClientError("InvalidKeyPair.NotFound", f"The key pair '{identity}' does not exist")
        params.setdefault("KeyNames", []).append(known[identity])


CHECKS: dict[str, tuple[Check, ...]] = {
    "CreateSecurityGroup": (_create_group,),
    "AuthorizeSecurityGroupIngress": (_permissions,),
    "AuthorizeSecurityGroupEgress": (_permissions,),
    "RevokeSecurityGroupIngress": (_permissions,),
    "RevokeSecurityGroupEgress": (_permissions,),
    "ModifySecurityGroupRules": (_rules,),
    "StartInstances": (_start,),
    "StopInstances": (_stop,),
    "RebootInstances": (_reboot,),
    "ModifyInstanceAttribute": (_modify_instance,),
    "AssociateAddress": (_associate_address,),
    "CreateNatGateway": (_create_nat,),
    "DescribeNatGateways": (_require_nat,),
    "DeleteNatGateway": (_require_nat,),
    "CreateRoute": (_create_route,),
    "ReplaceRoute": (_create_route,),
    "AssociateRouteTable": (_associate_table,),
    "DeleteKeyPair": (_delete_key,),
    "DescribeKeyPairs": (_describe_keys,),
}
