"""Load balancers as AWS has them: names of their own, interfaces in the subnets, health that was asked for.

moto's have any number under one name, stand nowhere, and find every target well.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any, Final

import moto.backends
from moto.ec2.exceptions import EC2ClientError
from moto.elbv2.exceptions import (
    ELBClientError,
    LoadBalancerNotFoundError,
    SubnetNotFoundError,
    TargetGroupNotFoundError,
)
from moto.elbv2.models import ELBv2Backend, FakeHealthStatus, FakeLoadBalancer, FakeTargetGroup

from engine.sandbox.aws.addresses import PublicAddresses
from engine.sandbox.aws.mending import replace
from engine.sandbox.aws.tenants import give_back, interfaces_of, lease

START_SECONDS: Final = 0.5
"""From CreateLoadBalancer until it is active; two or three minutes at AWS."""
_WORDS: Final = {
    "healthy": (None, None),
    "initial": ("Elb.RegistrationInProgress", "Target registration is in progress"),
    "unhealthy": ("Target.FailedHealthChecks", "Health checks failed"),
    "unused": ("Target.NotInUse", "Target group is not configured to receive traffic from the load balancer"),
}


def register(backend: Any, group: str, address: str, port: int) -> None:
    """Registers a target in the target group of that ARN; quiet where the group is gone."""
    found = backend.target_groups.get(group)
    if found is not None:
        found.targets[address] = {"Id": address, "Port": port}
        found.deregistered_targets.pop(address, None)


def deregister(backend: Any, group: str, address: str, port: int) -> None:
    """Takes a target out of the target group of that ARN; quiet where either is gone."""
    found = backend.target_groups.get(group)
    if found is not None and address in found.targets:
        found.deregistered_targets[address] = found.targets.pop(address)
        healths(found).pop(address, None)


def health(backend: Any, group: str, address: str, port: int) -> str:
    """How a target is: `healthy`, `initial`, `unhealthy`, `unused`."""
    found = backend.target_groups.get(group)
    if found is None or not is_used(backend, group):
        return "unused"
    return str(healths(found).get(address, ("initial", 0))[0])


def healths(group: Any) -> dict[str, tuple[str, int]]:
    """By target, how it is, and how many checks in a row said otherwise."""
    found: dict[str, tuple[str, int]] = group.__dict__.setdefault("sandbox_health", {})
    return found


def is_used(backend: Any, group: str) -> bool:
    """Whether a listener or rule forwards to the target group of that ARN."""
    return bool(backend._any_listener_using(group))


def backends() -> Iterator[tuple[Any, Any]]:
    """ELB's and EC2's backends of each region in which there are load balancers."""
    for account, regions in moto.backends.get_backend("elbv2").items():
        for region, backend in list(regions.items()):
            if backend.load_balancers:
                yield backend, moto.backends.get_backend("ec2")[account][region]


def mend(pool: PublicAddresses) -> None:
    """Puts moto's load balancers right; their public addresses come out of `pool`."""
    make = ELBv2Backend.create_load_balancer
    remove, move = ELBv2Backend.delete_load_balancer, ELBv2Backend.set_subnets
    regroup = ELBv2Backend.set_security_groups
    modify = ELBv2Backend.describe_load_balancers

    def create(
        backend: Any, name: str, security_groups: Any, subnet_ids: Any, *rest: Any, **more: Any
    ) -> FakeLoadBalancer:
        there: list[FakeLoadBalancer] = [one for one in backend.load_balancers.values() if one.name == name]
        asked = (sorted(subnet_ids or ()), more.get("scheme") or "internet-facing")
        for one in there:
            if (sorted(subnet.id for subnet in one.subnets), one.scheme) == asked:
                return one
            raise ELBClientError(
                "DuplicateLoadBalancerName",
                f"A load balancer with the same name '{name}' exists, but with different settings",
            )
        subnets = _subnets(backend, subnet_ids or ())
        groups = _groups(backend, security_groups or (), subnets[0].vpc_id)
        balancer = make(backend, name, groups, subnet_ids, *rest, **more)
        _named(balancer, name, backend.region_name)
        _stand(backend, pool, balancer)
        return balancer

    def describe(backend: Any, arns: Any, names: Any) -> list[FakeLoadBalancer]:
        known = {one.arn for one in backend.load_balancers.values()}
        called = {one.name for one in backend.load_balancers.values()}
        if set(arns or ()) - known or set(names or ()) - called:
            raise LoadBalancerNotFoundError
        return list(modify(backend, arns, names))

    def delete(backend: Any, arn: str) -> None:
        _refuse_protected(backend, arn)
        remove(backend, arn)
        give_back(backend.ec2_backend, arn)

    def set_subnets(backend: Any, arn: str, subnets: Any, mappings: Any) -> Any:
        zones = move(backend, arn, subnets, mappings)
        _stand(backend, pool, backend.load_balancers[arn])
        return zones

    def set_groups(backend: Any, arn: str, groups: list[str]) -> None:
        regroup(backend, arn, groups)
        found = [backend.ec2_backend.get_security_group_from_id(group) for group in groups]
        for nic in interfaces_of(backend.ec2_backend, arn):
            nic._group_set = list(found)

    replace(
        ELBv2Backend,
        create_load_balancer=create,
        describe_load_balancers=describe,
        delete_load_balancer=delete,
        set_subnets=set_subnets,
        set_security_groups=set_groups,
    )
    replace(FakeLoadBalancer, activate=_activate)
    replace(FakeTargetGroup, health_for=_health_for)


def _refuse_protected(backend: Any, arn: str) -> None:
    there = backend.load_balancers.get(arn)
    if there is not None and there.attrs.get("deletion_protection.enabled") == "true":
        words = f"Load balancer '{arn}' cannot be deleted because deletion protection is enabled"
        raise ELBClientError("OperationNotPermitted", words)


def _subnets(backend: Any, ids: Any) -> list[Any]:
    try:
        subnets = [backend.ec2_backend.get_subnet(one) for one in ids]
    except EC2ClientError:
        raise SubnetNotFoundError from None
    if len({subnet.availability_zone for subnet in subnets}) < 2:
        raise ELBClientError(
            "ValidationError",
            "At least two subnets in two different Availability Zones must be specified",
        )
    return subnets


def _groups(backend: Any, ids: Any, vpc: str) -> list[str]:
    for group in ids:
        if backend.ec2_backend.get_security_group_from_id(group) is None:
            words = f"The security group '{group}' does not exist"
            raise ELBClientError("InvalidSecurityGroup", words)
    return list(ids) or [backend.ec2_backend.get_security_group_by_name_or_id("default", vpc).id]


def _named(balancer: Any, name: str, region: str) -> None:
    prefix = "internal-" if balancer.scheme == "internal" else ""
    number = random.randrange(10**8, 10**10)
    balancer.dns_name = f"{prefix}{name}-{number}.{region}.elb.amazonaws.com".lower()
    balancer.born = time.time()
    balancer.attrs["load_balancing.cross_zone.enabled"] = "true"


def _stand(backend: Any, pool: PublicAddresses, balancer: Any) -> None:
    """An interface in each of its subnets, and in no other."""
    nics = {nic.subnet.id: nic for nic in interfaces_of(backend.ec2_backend, balancer.arn)}
    wanted = [subnet.id for subnet in balancer.subnets]
    for subnet, nic in nics.items():
        if subnet not in wanted:
            backend.ec2_backend.enis.pop(nic.id, None)
    for subnet in wanted:
        if subnet not in nics:
            lease(
                backend.ec2_backend,
                pool,
                tenant=balancer.arn,
                subnet=subnet,
                groups=balancer.security_groups,
                description=f"ELB {balancer.arn.partition(':loadbalancer/')[2]}",
                public=balancer.scheme == "internet-facing",
            )


def _activate(balancer: Any) -> None:
    if balancer.state == "provisioning" and time.time() - balancer.born >= START_SECONDS:
        balancer.state = "active"


def _health_for(group: Any, target: dict[str, Any], ec2_backend: Any) -> FakeHealthStatus:
    """What was last found of a target by asking it."""
    identity = target["Id"]
    kept = group.targets.get(identity)
    backend = moto.backends.get_backend("elbv2")[group.account_id][group.region_name]
    if group.arn not in backend.target_groups:
        raise TargetGroupNotFoundError
    port = str(target.get("Port") or (kept or {}).get("Port") or group.port)
    if kept is None:
        reason, words = "Target.NotRegistered", "Target is not registered to the target group"
        return FakeHealthStatus(identity, port, group.health_check_port, "unused", reason, words)
    state = health(backend, group.arn, identity, int(port))
    return FakeHealthStatus(identity, port, group.health_check_port, state, *_WORDS[state])
