"""Network interfaces of what is no instance: tasks of ECS, load balancers.

They stand in the lab's subnets with addresses and groups of their own, hold on to both, and are the
network's like every other. `tenant` on moto's interface is the ARN of the thing it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from engine.sandbox.aws.addresses import PublicAddresses, free_address


def lease(
    backend: Any,
    pool: PublicAddresses,
    *,
    tenant: str,
    subnet: str,
    groups: Iterable[str],
    description: str,
    public: bool,
) -> Any:
    """A new interface in `subnet` of the EC2 `backend`; without `groups` in the VPC's default group.

    Raises EC2's errors for subnets and groups that are not there.
    """
    place = backend.get_subnet(subnet)
    wanted = list(groups) or [backend.get_security_group_by_name_or_id("default", place.vpc_id).id]
    nic = backend.create_network_interface(
        place, free_address(place), group_ids=wanted, description=description
    )
    nic.tenant, nic.status, nic.device_index = tenant, "in-use", 1
    nic.requester_managed, nic.delete_on_termination = True, True
    if public:
        nic.public_ip = pool.next()
    return nic


def tenant_of(nic: Any) -> str | None:
    """The ARN of the task or load balancer that `nic` belongs to; None for interfaces of others."""
    return getattr(nic, "tenant", None)


def interfaces_of(backend: Any, tenant: str) -> Iterator[Any]:
    """The interfaces in the EC2 `backend` that belong to `tenant`."""
    return (nic for nic in list(backend.enis.values()) if tenant_of(nic) == tenant)


def give_back(backend: Any, tenant: str) -> None:
    """Deletes all interfaces of `tenant`."""
    for nic in interfaces_of(backend, tenant):
        backend.enis.pop(nic.id, None)
