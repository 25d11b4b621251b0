"""The sandbox's market: what spot instances cost, and which instance types have no free machine.

moto says 0.00001 for everything and has room for all. The prices here are about a third of those on demand,
differ from zone to zone and change once a day; a most price below them is refused. What has no room is said
in the inventory (`sandbox: {no_capacity: […]}`), so that a lab can be rehearsed for that.
"""

from __future__ import annotations

import fnmatch
import hashlib
from datetime import UTC, datetime
from typing import Any, ClassVar

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instance_types import INSTANCE_TYPES

from engine.sandbox.aws.guard import After


class Capacity:
    """What there is no room for, for the whole process."""

    none_of: ClassVar[tuple[str, ...]] = ()
    """`[spot:]TYPE[@ZONE]`, each with `*` for any: `spot:t3.large`, `g4dn.*`, `*@us-east-1a`."""

    @classmethod
    def lacks(cls, instance_type: str, zone: str, *, spot: bool) -> bool:
        """Whether there is no free machine of a type in a zone."""
        return any(_matches(each, instance_type, zone, spot) for each in cls.none_of)


def _matches(said: str, instance_type: str, zone: str, spot: bool) -> bool:
    market, colon, rest = said.rpartition(":")
    type_pattern, _, zone_pattern = rest.partition("@")
    if colon and (market == "spot") != spot:
        return False
    return fnmatch.fnmatchcase(instance_type, type_pattern) and fnmatch.fnmatchcase(zone, zone_pattern or "*")


def price(instance_type: str, zone: str, day: str) -> float:
    """USD per hour on the spot market."""
    draw = int(hashlib.sha256(f"{instance_type} {zone} {day}".encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
    return max(round(_on_demand(instance_type) * (0.28 + 0.14 * draw), 4), 0.0005)


def _on_demand(instance_type: str) -> float:
    """About what it costs on demand: by memory for the burstable types, else by what is in it."""
    known: dict[str, Any] = INSTANCE_TYPES[instance_type]
    gibibytes: float = known["MemoryInfo"]["SizeInMiB"] / 1024
    if instance_type.startswith("t"):
        return 0.0104 * gibibytes
    accelerators = sum(int(one["Count"]) for one in (known.get("GpuInfo") or {}).get("Gpus", ()))
    cores: int = known["VCpuInfo"]["DefaultVCpus"]
    return 0.03 * cores + 0.0045 * gibibytes + 0.35 * accelerators


def check(backend: Any, params: dict[str, Any]) -> None:
    """A gate of RunInstances, once it is known where the instance is to stand."""
    instance_type = params.get("InstanceType") or "m1.small"
    zone = _zone(backend, params)
    market = params.get("InstanceMarketOptions") or {}
    spot = market.get("MarketType") == "spot"
    if Capacity.lacks(instance_type, zone, spot=spot):
        raise EC2ClientError("InsufficientInstanceCapacity", _no_room(instance_type, zone, spot))
    most = (market.get("SpotOptions") or {}).get("MaxPrice")
    least = price(instance_type, zone, _today()) if spot else 0.0
    if most is not None and float(most) < least:
        raise EC2ClientError(
            "SpotMaxPriceTooLow",
            f"Your Spot request price of {most} is lower than the minimum required Spot request "
            f"fulfillment price of {least}.",
        )


def _no_room(instance_type: str, zone: str, spot: bool) -> str:
    if spot:
        return "There is no Spot capacity available that matches your request."
    return (
        f"We currently do not have sufficient {instance_type} capacity in the Availability Zone you "
        f"requested ({zone}). Our system will be working on provisioning additional capacity."
    )


def _zone(backend: Any, params: dict[str, Any]) -> str:
    nics = params.get("NetworkInterfaces") or [{}]
    subnet = params.get("SubnetId") or nics[0].get("SubnetId")
    return str(backend.get_subnet(subnet).availability_zone) if subnet else ""


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _history(backend: Any, params: dict[str, Any], result: Any) -> None:
    """DescribeSpotPriceHistory: the prices since midnight."""
    day = _today()
    zone = params.get("AvailabilityZone")
    systems = params.get("ProductDescriptions") or ["Linux/UNIX"]
    result["SpotPriceHistory"] = [
        {
            **each,
            "SpotPrice": f"{price(each['InstanceType'], each['AvailabilityZone'], day):.6f}",
            "Timestamp": f"{day}T00:00:00.000Z",
            "ProductDescription": systems[0],
        }
        for each in result["SpotPriceHistory"]
        if zone in (None, each["AvailabilityZone"])
    ]


AFTER: dict[str, After] = {"DescribeSpotPriceHistory": _history}
