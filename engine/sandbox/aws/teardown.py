"""The order of taking down: what is still used by something else cannot be deleted.

moto lets most of it go. Codes and words as EC2 gives them.
"""

from __future__ import annotations

import itertools
from typing import Any, NoReturn

from moto.ec2.exceptions import EC2ClientError

from engine.sandbox.aws.guard import Check


def _violation(message: str) -> NoReturn:
    raise EC2ClientError("DependencyViolation", message)


def _live(backend: Any) -> list[Any]:
    return [
        instance
        for reservation in backend.reservations.values()
        for instance in reservation.instances
        if instance._state.name != "terminated"
    ]


def _gateways_of(backend: Any, *, vpc: str = "", subnet: str = "") -> list[Any]:
    return [
        one
        for one in backend.nat_gateways.values()
        if one.state != "deleted" and (one.vpc_id == vpc or one.subnet_id == subnet)
    ]


def _group_users(backend: Any, group: str) -> bool:
    nics = any(group == one.id for nic in backend.enis.values() for one in nic.group_set)
    return nics or any(group == one.id for instance in _live(backend) for one in instance.security_groups)


def _group_references(backend: Any, group: str) -> bool:
    groups = itertools.chain.from_iterable(one.values() for one in backend.groups.values())
    return any(
        rule.source_group.get("GroupId") == group
        for other in groups
        if other.id != group
        for rule in itertools.chain(other.ingress_rules, other.egress_rules)
    )


def _delete_group(backend: Any, params: dict[str, Any]) -> None:
    name = params.get("GroupId") or params.get("GroupName") or ""
    group = backend.get_security_group_by_name_or_id(name)
    if group is None:
        return
    if group.is_default or group.name == "default":
        message = f'the specified group: "{group.id}" name: "default" cannot be deleted by a user'
        raise EC2ClientError("CannotDelete", message)
    if _group_users(backend, group.id) or _group_references(backend, group.id):
        _violation(f"resource {group.id} has a dependent object")


def _delete_subnet(backend: Any, params: dict[str, Any]) -> None:
    subnet = params.get("SubnetId", "")
    used = any(nic.subnet.id == subnet for nic in backend.enis.values())
    used = used or any(instance.subnet_id == subnet for instance in _live(backend))
    if used or _gateways_of(backend, subnet=subnet):
        _violation(f"The subnet '{subnet}' has dependencies and cannot be deleted.")


def _delete_vpc(backend: Any, params: dict[str, Any]) -> None:
    vpc = params.get("VpcId", "")
    used = any(one.vpc_id == vpc for one in backend.describe_subnets())
    used = used or any(one.vpc and one.vpc.id == vpc for one in backend.internet_gateways.values())
    used = used or any(one.name != "default" for one in backend.groups.get(vpc, {}).values())
    used = used or any(
        one.vpc_id == vpc and not one.main_association_id for one in backend.route_tables.values()
    )
    if used or _gateways_of(backend, vpc=vpc):
        _violation(f"The vpc '{vpc}' has dependencies and cannot be deleted.")


def _detach_gateway(backend: Any, params: dict[str, Any]) -> None:
    vpc = params.get("VpcId", "")
    if any(nic.public_ip and nic.subnet.vpc_id == vpc for nic in backend.enis.values()):
        _violation(
            f"Network {vpc} has some mapped public address(es). "
            "Please unmap those public address(es) before detaching the gateway."
        )


def _delete_interface(backend: Any, params: dict[str, Any]) -> None:
    nic = backend.enis.get(params.get("NetworkInterfaceId", ""))
    if nic is not None and nic.status == "in-use":
        raise EC2ClientError("InvalidParameterValue", f"Network interface '{nic.id}' is currently in use.")


def _release_address(backend: Any, params: dict[str, Any]) -> None:
    wanted = params.get("AllocationId"), params.get("PublicIp")
    for one in backend.addresses:
        if (one.allocation_id in wanted or one.public_ip in wanted) and one.association_id:
            raise EC2ClientError("InvalidIPAddress.InUse", f"Address {one.public_ip} is in use.")


def _delete_route_table(backend: Any, params: dict[str, Any]) -> None:
    table = backend.route_tables.get(params.get("RouteTableId", ""))
    if table is not None and table.main_association_id:
        _violation(f"The routeTable '{table.id}' has dependencies and cannot be deleted.")


CHECKS: dict[str, tuple[Check, ...]] = {
    "DeleteSecurityGroup": (_delete_group,),
    "DeleteSubnet": (_delete_subnet,),
    "DeleteVpc": (_delete_vpc,),
    "DetachInternetGateway": (_detach_gateway,),
    "DeleteNetworkInterface": (_delete_interface,),
    "ReleaseAddress": (_release_address,),
    "DeleteRouteTable": (_delete_route_table,),
}
