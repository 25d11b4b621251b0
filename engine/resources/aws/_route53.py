"""What zones and records share: how names are written, and what is in a zone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from engine.resources.aws._aws import unless_gone

if TYPE_CHECKING:
    from engine.world import World

NAME: Final = re.compile(r"(\*\.)?([A-Za-z0-9_/-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")
"""What a name in the DNS looks like; `*` may stand for its first part."""


def short(name: str) -> str:
    """A name without its last dot, in small letters; Route 53 writes `*` as `\\052`."""
    return name.removesuffix(".").lower().replace("\\052", "*")


def records(world: World, zone: str) -> list[dict[str, Any]]:
    """The records of a zone (ListResourceRecordSets); none where there is no such zone."""
    listing = ("route53", "list_resource_record_sets", "ResourceRecordSets")
    return unless_gone(lambda: world.aws.pages(*listing, HostedZoneId=zone)) or []
