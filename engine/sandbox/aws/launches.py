"""Launches and what follows from them: root volumes, interfaces and their groups and tags, spot, images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import moto.ec2.utils
from moto.core.types import Base64EncodedString
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instances import Instance
from moto.ec2.models.spot_requests import SpotInstanceRequest
from moto.ec2.utils import random_spot_request_id, tag_filter_matches

from engine.sandbox.aws import spot
from engine.sandbox.aws.catalogue import ROOT_GIB, system_of
from engine.sandbox.aws.checks import require_group, require_type
from engine.sandbox.aws.guard import After, Check

REMEMBER_SECONDS = 3600.0
"""How long AWS still shows what is terminated or deleted."""


class _Fulfilled(SpotInstanceRequest):
    """The spot request behind an instance that RunInstances launched."""

    def __init__(self, instance: Instance, **fields: Any) -> None:
        self._launched = instance
        super().__init__(
            instance.ec2_backend,
            random_spot_request_id(),
            valid_from=None,
            valid_until=None,
            launch_group=None,
            availability_zone_group=None,
            key_name=instance.key_name or "",
            security_groups=[group.id for group in instance.security_groups],
            user_data=None,
            instance_type=instance.instance_type,
            image_id=instance.image_id,
            placement=None,
            kernel_id=None,
            ramdisk_id=None,
            monitoring_enabled=False,
            subnet_id=instance.subnet_id or "",
            spot_fleet_id=None,
            instance_interruption_behaviour=None,
            **fields,
        )

    def launch_instance(self) -> Instance:
        """The instance that is there already."""
        return self._launched


def prepare(backend: Any, params: dict[str, Any]) -> None:
    """Completes a RunInstances request as AWS does, and refuses what AWS refuses."""
    if params.get("InstanceType"):
        require_type(params["InstanceType"])
    if len(params.get("UserData") or "") > 4 * ((16384 + 2) // 3):
        raise EC2ClientError("InvalidParameterValue", "User data is limited to 16384 bytes")
    if params.get("MaxCount"):
        params["MinCount"] = params["MaxCount"]
    _place(backend, params)
    spot.check(backend, params)
    _check_groups(backend, params)
    _complete_volumes(backend, params)


def _place(backend: Any, params: dict[str, Any]) -> None:
    nics = params.get("NetworkInterfaces") or []
    if params.get("SubnetId") or any(nic.get("SubnetId") or nic.get("NetworkInterfaceId") for nic in nics):
        return
    vpc = backend.get_default_vpc()
    if vpc is None:
        raise EC2ClientError(
            "VPCIdNotSpecified",
            "No default VPC for this user. GroupName is only supported for EC2-Classic and default VPC.",
        )
    zone = (params.get("Placement") or {}).get("AvailabilityZone")
    subnets = sorted(
        (one for one in backend.describe_subnets() if one.vpc_id == vpc.id and one.default_for_az),
        key=lambda one: str(one.availability_zone),
    )
    subnets = [one for one in subnets if zone in (None, one.availability_zone)]
    if not subnets:
        message = f"No subnets found for the default VPC '{vpc.id}'. Please specify a subnet."
        raise EC2ClientError("MissingInput", message)
    if nics:
        nics[0]["SubnetId"] = subnets[0].id
    else:
        params["SubnetId"] = subnets[0].id


def _check_groups(backend: Any, params: dict[str, Any]) -> None:
    nics = params.get("NetworkInterfaces") or []
    given = list(params.get("SecurityGroupIds") or ())
    if nics and given:
        raise EC2ClientError(
            "InvalidParameterCombination",
            "Network interfaces and an instance-level security groups may not be specified on the same "
            "request",
        )
    places = [(params.get("SubnetId"), given)] + [
        (nic.get("SubnetId"), nic.get("Groups") or ()) for nic in nics
    ]
    for subnet, groups in places:
        vpc = backend.get_subnet(subnet).vpc_id if subnet else None
        for group in groups:
            if require_group(backend, group).vpc_id != vpc and vpc:
                raise EC2ClientError(
                    "InvalidParameter",
                    f"Security group {group} and subnet {subnet} belong to different networks.",
                )


def _complete_volumes(backend: Any, params: dict[str, Any]) -> None:
    image = backend.amis.get(params.get("ImageId"))
    root = image.root_device_name if image else "/dev/sda1"
    mappings = list(params.get("BlockDeviceMappings") or ())
    if not any(one.get("DeviceName") == root for one in mappings):
        mappings.insert(0, {"DeviceName": root, "Ebs": {}})
    for mapping in mappings:
        volume = mapping.get("Ebs")
        if volume is None:
            continue
        volume.setdefault("DeleteOnTermination", True)
        if mapping["DeviceName"] == root:
            if int(volume.setdefault("VolumeSize", ROOT_GIB)) < ROOT_GIB:
                raise EC2ClientError(
                    "InvalidBlockDeviceMapping",
                    f"Volume of size {volume['VolumeSize']}GB is smaller than snapshot, "
                    f"expect size >= {ROOT_GIB}GB",
                )
            volume.setdefault("VolumeType", "gp2")
    params["BlockDeviceMappings"] = mappings


def _tags(params: dict[str, Any], sort: str) -> dict[str, str]:
    return {
        tag["Key"]: tag.get("Value", "")
        for specification in params.get("TagSpecifications") or ()
        if specification.get("ResourceType") == sort
        for tag in specification.get("Tags") or ()
    }


def launched(backend: Any, params: dict[str, Any], reservation: Any) -> None:
    """Completes what moto has launched for a RunInstances request."""
    specified = {nic.get("NetworkInterfaceId") for nic in params.get("NetworkInterfaces") or ()}
    keep = {
        int(nic.get("DeviceIndex", 0)): nic.get("DeleteOnTermination")
        for nic in params.get("NetworkInterfaces") or ()
    }
    for instance in reservation.instances:
        instance.client_token = params.get("ClientToken", "")
        instance.launch_system = system_of(backend, instance.image_id)
        instance.launch_key = _public_key(backend, params.get("KeyName"))
        instance.disable_api_termination = bool(params.get("DisableApiTermination"))
        if not instance.security_groups:
            instance.security_groups = list(instance.nics[0]._group_set)
        for index, nic in instance.nics.items():
            if nic.id not in specified:
                nic.delete_on_termination = keep.get(index) is not False
                nic.add_tags(_tags(params, "network-interface"))
        _spot(backend, params, instance)


def _public_key(backend: Any, name: str | None) -> str:
    """The public key that cloud-init puts into the login user's authorized keys; the pair may go later."""
    pair = backend.key_pairs.get(name) if name else None
    if pair is None:
        return ""
    material = pair.material_public
    text = material.decode() if isinstance(material, bytes) else str(material)
    return " ".join([*text.split()[:2], str(name)])


def _spot(backend: Any, params: dict[str, Any], instance: Any) -> None:
    market = params.get("InstanceMarketOptions") or {}
    if market.get("MarketType") != "spot":
        return
    options = market.get("SpotOptions") or {}
    request = _Fulfilled(
        instance,
        price=options.get("MaxPrice") or "0.05",
        spot_instance_type=options.get("SpotInstanceType", "one-time"),
        tags={"spot-instances-request": _tags(params, "spot-instances-request")},
    )
    backend.spot_instance_requests[request.id] = request
    instance.spot_instance_request_id = request.id


def _instance_modified(backend: Any, params: dict[str, Any], result: Any) -> None:
    """What is changed on an instance is changed on its first interface."""
    instance = backend.get_instance(params["InstanceId"])
    nic = instance.nics.get(0)
    if nic is None:
        return
    if params.get("SourceDestCheck") is not None or params.get("Attribute") == "sourceDestCheck":
        instance.source_dest_check = str(instance.source_dest_check).lower() == "true"
        nic.source_dest_check = instance.source_dest_check
    if params.get("Groups"):
        nic._group_set = list(instance.security_groups)


def _interface_modified(backend: Any, params: dict[str, Any], result: Any) -> None:
    nic = backend.enis.get(params["NetworkInterfaceId"])
    if nic is not None and nic.instance is not None and nic.instance.nics.get(0) is nic:
        nic.instance.source_dest_check = nic.source_dest_check
        nic.instance.security_groups = list(nic._group_set)


def _nat_created(backend: Any, params: dict[str, Any], result: Any) -> None:
    gateway = result["NatGateway"]
    nic = gateway._eni
    nic.description, nic.status = f"Interface for NAT Gateway {gateway.id}", "in-use"
    nic.interface_type, nic.requester_managed = "nat_gateway", True
    nic._group_set = []


def _nat_listed(backend: Any, params: dict[str, Any], result: Any) -> None:
    for wanted in params.get("Filter") or params.get("Filters") or ():
        if wanted["Name"].startswith("tag"):
            result["NatGateways"] = [
                one
                for one in result["NatGateways"]
                if tag_filter_matches(one, wanted["Name"], list(wanted.get("Values") or ()))
            ]


def _prepare_image(backend: Any, params: dict[str, Any]) -> None:
    if any(
        image.name == params.get("Name") and image.owner_id == backend.account_id
        for image in backend.amis.values()
    ):
        raise EC2ClientError(
            "InvalidAMIName.Duplicate", f"AMI name {params.get('Name')} is already in use by AMI"
        )
    given = params.get("TagSpecifications") or []
    params["TagSpecifications"] = [one for one in given if one.get("ResourceType") != "snapshot"]
    params["SnapshotTags"] = _tags({"TagSpecifications": given}, "snapshot")


def _imaged(backend: Any, params: dict[str, Any], result: Any) -> None:
    image = backend.amis[result["ImageId"]]
    image.root_device_type, image.hypervisor = "ebs", "xen"
    image.root_device_name = image.instance.root_device_name
    image.ebs_snapshot.add_tags(params.get("SnapshotTags") or {})


def settle(backend: Any, now: float) -> None:
    """Lets go of what is over: deleted NAT gateways' interfaces, things terminated an hour ago."""
    for gateway in list(backend.nat_gateways.values()):
        nic = gateway._eni
        if gateway.state == "deleted" and nic.id in backend.enis:
            for address in backend.addresses:
                if address.eni is nic:
                    backend.disassociate_address(address=address.public_ip)
            backend.enis.pop(nic.id)
    for key, reservation in list(backend.reservations.items()):
        if all(
            one._state.aim == "terminated" and now - one._state.since > REMEMBER_SECONDS
            for one in reservation.instances
        ):
            del backend.reservations[key]


def afters(console: Callable[[str], str], keep: Callable[[str, str], None]) -> dict[str, After]:
    """What to put right after moto's part.

    `console` gives an instance's console output by its id; `keep` is told instance and image ids when
    an image is made of an instance, to keep what is on its disk.
    """

    def imaged(backend: Any, params: dict[str, Any], result: Any) -> None:
        _imaged(backend, params, result)
        keep(params["InstanceId"], result["ImageId"])

    def console_output(backend: Any, params: dict[str, Any], result: Any) -> None:
        text = console(result["InstanceId"])
        result["Output"] = Base64EncodedString.from_raw_string(text) if text else None

    return {
        "RunInstances": launched,
        "ModifyInstanceAttribute": _instance_modified,
        "ModifyNetworkInterfaceAttribute": _interface_modified,
        "CreateNatGateway": _nat_created,
        "DescribeNatGateways": _nat_listed,
        "CreateImage": imaged,
        "GetConsoleOutput": console_output,
    }


CHECKS: dict[str, tuple[Check, ...]] = {"RunInstances": (prepare,), "CreateImage": (_prepare_image,)}


def mend() -> None:
    """Lets instances be found by their client token."""
    moto.ec2.utils.filter_dict_attribute_mapping["client-token"] = "client_token"
