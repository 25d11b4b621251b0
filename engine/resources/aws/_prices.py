"""What things cost per hour: AWS's on-demand prices for Linux in us-east-1, in USD, without taxes.

Other regions cost up to about half as much again.
From aws.amazon.com/ec2/pricing, /vpc/pricing and /ebs/pricing.
"""

from __future__ import annotations

from typing import Final

HOURS_A_MONTH: Final = 730.0
PUBLIC_IPV4: Final = 0.005
"""Every public IPv4 address, in use or not."""
NAT_GATEWAY: Final = 0.045
"""Besides 0.045 per GB that goes through it."""
SNAPSHOT_GB_MONTH: Final = 0.05

_VOLUMES: Final = {
    "gp3": 0.08,
    "gp2": 0.10,
    "io1": 0.125,
    "io2": 0.125,
    "st1": 0.045,
    "sc1": 0.015,
    "standard": 0.05,
}
"""USD per GB and month."""

_SIZES: Final = {
    "nano": 0.25,
    "micro": 0.5,
    "small": 1.0,
    "medium": 2.0,
    "large": 4.0,
    "xlarge": 8.0,
    "2xlarge": 16.0,
    "4xlarge": 32.0,
    "8xlarge": 64.0,
    "12xlarge": 96.0,
    "16xlarge": 128.0,
    "24xlarge": 192.0,
    "48xlarge": 384.0,
}
"""Prices within a family grow with the size; `large` is 4."""

_LARGE: Final = {
    "t2": 0.0928,
    "t3": 0.0832,
    "t3a": 0.0752,
    "t4g": 0.0672,
    "m4": 0.10,
    "m5": 0.096,
    "m5a": 0.086,
    "m6i": 0.096,
    "m6a": 0.0864,
    "m6g": 0.077,
    "m7i": 0.1008,
    "m7a": 0.11592,
    "m7g": 0.0816,
    "c4": 0.10,
    "c5": 0.085,
    "c5a": 0.077,
    "c6i": 0.085,
    "c6a": 0.0765,
    "c6g": 0.068,
    "c7i": 0.08925,
    "c7g": 0.0725,
    "r5": 0.126,
    "r6i": 0.126,
    "r6g": 0.1008,
    "r7i": 0.1323,
    "r7g": 0.1071,
}
"""USD per hour of the size `large` of a family; its other sizes are in proportion."""

_TYPES: Final = {
    "g3s.xlarge": 0.75,
    "g4dn.xlarge": 0.526,
    "g4dn.2xlarge": 0.752,
    "g4dn.4xlarge": 1.204,
    "g4dn.8xlarge": 2.176,
    "g4dn.12xlarge": 3.912,
    "g5.xlarge": 1.006,
    "g5.2xlarge": 1.212,
    "g5.4xlarge": 1.624,
    "g5.12xlarge": 5.672,
    "g6.xlarge": 0.8048,
    "g6.2xlarge": 0.9776,
    "p2.xlarge": 0.90,
    "p3.2xlarge": 3.06,
    "p3.8xlarge": 12.24,
}


def instance(instance_type: str) -> float | None:
    """USD per hour of a running instance; None for types that are not in the table."""
    if instance_type in _TYPES:
        return _TYPES[instance_type]
    family, _, size = instance_type.partition(".")
    if family not in _LARGE or size not in _SIZES:
        return None
    return _LARGE[family] * _SIZES[size] / _SIZES["large"]


def volume(volume_type: str, gigabytes: float) -> float | None:
    """USD per hour of a volume, without extra IOPS and throughput; None for unknown types."""
    monthly = _VOLUMES.get(volume_type)
    return None if monthly is None else monthly * gigabytes / HOURS_A_MONTH
