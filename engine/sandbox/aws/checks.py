"""Requests that AWS refuses and moto takes: unknown ids, bad ports, wrong states."""

from __future__ import annotations

from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instance_types import INSTANCE_TYPES

from engine.sandbox.aws.guard import Check


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


def _detach_volume(backend: Any, params: dict[str, Any]) -> None:
    """The volume says where it is attached; moto wants to be told."""
    attachment = backend.get_volume(params.get("VolumeId", "")).attachment
    if attachment is None:
        message = f"Volume '{params['VolumeId']}' is in the 'available' state."
        raise EC2ClientError("IncorrectState", message)
    params.setdefault("InstanceId", attachment.instance.id)
    params.setdefault("Device", attachment.device)


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
    "DetachVolume": (_detach_volume,),
    "DeleteKeyPair": (_delete_key,),
    "DescribeKeyPairs": (_describe_keys,),
}
