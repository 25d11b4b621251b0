"""Addresses as AWS gives them: private ones free in their subnet, public ones unique, none real.

Public addresses come from 198.18.0.0/15 (RFC 2544, benchmarks), which nobody on the internet has.
"""

from __future__ import annotations

import ipaddress
import random
from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import elastic_ip_addresses, elastic_network_interfaces
from moto.ec2.models.elastic_ip_addresses import ElasticAddressBackend
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.models.instances import Instance
from moto.ec2.models.subnets import Subnet

from engine.sandbox.aws.mending import replace

_POOL = ipaddress.ip_network("198.18.0.0/15")
_STRIDE = 40_503  # odd, so that every address comes once before any comes again


class PublicAddresses:
    """Deals public addresses, each once; `dealt` is how many, and is all there is to keep."""

    def __init__(self) -> None:
        self.dealt = 0

    def next(self) -> str:
        """An address that nothing here has had for the last 131,000."""
        self.dealt += 1
        return str(_POOL[(self.dealt * _STRIDE + 7) % _POOL.num_addresses])


def public_name(address: str, region: str) -> str:
    """The public DNS name of `address` in `region`."""
    domain = "compute-1" if region == "us-east-1" else f"{region}.compute"
    return f"ec2-{address.replace('.', '-')}.{domain}.amazonaws.com"


def private_name(address: str, region: str) -> str:
    """The private DNS name of `address` in `region`."""
    domain = "ec2" if region == "us-east-1" else f"{region}.compute"
    return f"ip-{address.replace('.', '-')}.{domain}.internal"


def _taken(subnet: Any) -> set[str]:
    used = {
        item["PrivateIpAddress"]
        for nic in subnet.ec2_backend.enis.values()
        if nic.subnet.id == subnet.id
        for item in nic.private_ip_addresses
    }
    return used | set(subnet._subnet_ips)


def free_address(subnet: Any) -> str:
    """A free private address of `subnet`, past the four that AWS keeps and before the last.

    Raises InsufficientFreeAddressesInSubnet, as RunInstances does.
    """
    used, size = _taken(subnet), subnet.cidr.num_addresses
    for _ in range(20):
        address = str(subnet.cidr[random.randrange(4, size - 1)])
        if address not in used:
            return address
    for index in range(4, size - 1):
        if str(subnet.cidr[index]) not in used:
            return str(subnet.cidr[index])
    raise EC2ClientError(
        "InsufficientFreeAddressesInSubnet",
        f"There are not enough free addresses in subnet '{subnet.id}' to satisfy the request.",
    )


def _available(subnet: Subnet, instance: Instance) -> str:
    address = free_address(subnet)
    subnet._subnet_ips[address] = instance
    return address


def _request(subnet: Subnet, ip: str, instance: Instance) -> None:
    address = ipaddress.ip_address(ip)
    if (
        address not in subnet.cidr
        or not 4 <= int(address) - int(subnet.cidr[0]) < subnet.cidr.num_addresses - 1
    ):
        raise EC2ClientError(
            "InvalidParameterValue", "Address does not fall within the subnet's address range"
        )
    if ip in _taken(subnet):
        raise EC2ClientError("InvalidIPAddress.InUse", f"Address {ip} is in use.")
    subnet._subnet_ips[ip] = instance


def _has_elastic(nic: NetworkInterface) -> bool:
    return any(one.eni is nic for one in nic.ec2_backend.addresses)


def _stop(nic: NetworkInterface) -> None:
    """A stopped instance loses its public address, but not an Elastic IP."""
    if not _has_elastic(nic):
        nic.public_ip = None


def _region(nic: NetworkInterface) -> str:
    return str(nic.ec2_backend.region_name)


def _named(nic: NetworkInterface) -> bool:
    return bool(nic.ec2_backend.get_vpc(nic.subnet.vpc_id).enable_dns_hostnames)


def _public_dns(instance: Instance) -> str | None:
    """The public DNS name; only where the VPC has DNS host names on."""
    address = instance.public_ip
    return public_name(address, instance.region_name) if address and _named(instance.nics[0]) else None


def mend(pool: PublicAddresses) -> None:
    """Makes moto's addresses come from where AWS's would."""
    plain_association = vars(NetworkInterface)["association"].fget
    drop = ElasticAddressBackend.disassociate_address

    def auto_public_ip(nic: NetworkInterface) -> None:
        wanted = str(nic.public_ip_auto_assign).lower() == "true"
        if wanted and not nic.public_ip and not _has_elastic(nic):
            nic.public_ip = pool.next()

    def association(nic: NetworkInterface) -> dict[str, Any]:
        told: dict[str, Any] = plain_association(nic)
        if told:
            told["publicDnsName"] = public_name(told["publicIp"], _region(nic)) if _named(nic) else ""
        return told

    def disassociate(backend: Any, address: str | None = None, association_id: str | None = None) -> None:
        found = (
            backend.address_by_ip([address]) if address else backend.address_by_association([association_id])
        )
        nic = found[0].eni
        drop(backend, address, association_id)
        if nic and nic.instance and nic.instance._state.aim == "running":
            nic.check_auto_public_ip()

    replace(elastic_ip_addresses, random_ip=pool.next)
    replace(elastic_network_interfaces, random_private_ip=_in_block)
    replace(
        NetworkInterface, check_auto_public_ip=auto_public_ip, stop=_stop, association=property(association)
    )
    replace(ElasticAddressBackend, disassociate_address=disassociate)
    replace(Instance, public_dns_name=property(_public_dns))
    replace(Subnet, get_available_subnet_ip=_available, request_ip=_request)


def _in_block(cidr: str, ipv6: bool = False) -> str:
    block = ipaddress.ip_network(cidr, strict=False)
    return str(block[random.randrange(4, min(block.num_addresses - 1, 2**32))])
