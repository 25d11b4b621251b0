"""Lookups in EC2: images, spot prices, VPCs. They make nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from engine.aws.tags import tags_of
from engine.by_hand import aws, json_word, told, word
from engine.errors import StepFailed
from engine.refs import Unknown, holds_unknown
from engine.resource import Id, Output, Resource, Values
from engine.resources.aws import _prices
from engine.resources.aws._aws import as_text, iam_actions

if TYPE_CHECKING:
    from engine.world import World

Filters = dict[str, str | int | bool | list[str]]


def _sent(filters: Filters) -> list[dict[str, Any]]:
    """EC2's Filters; a plain value is a list of one."""
    return [{"Name": name, "Values": _texts(value)} for name, value in filters.items()]


def _texts(value: Any) -> list[Any]:
    """The values of a filter as EC2 has them; what is not known yet stays as it is."""
    listed = value if isinstance(value, list) else [value]
    return [as_text(item) for item in listed]


def _by_hand(filters: Filters) -> str:
    if isinstance(filters, Unknown):
        return f" --filters {word(filters)}"
    if holds_unknown(filters):
        return f" --filters {json_word(_sent(filters))}"
    words = [word(f"Name={name},Values={','.join(_texts(value))}") for name, value in filters.items()]
    return f" --filters {' '.join(words)}" if words else ""


class Ec2AmiInfo(Resource):
    """Looks up machine images: the newest that fits, and all that fit."""

    kind: ClassVar[str] = "ec2_ami_info"
    lookup: ClassVar[bool] = True
    actions: ClassVar[Sequence[str]] = iam_actions("ec2", "DescribeImages")
    outputs: ClassVar[Mapping[str, Output]] = {
        "image_id": Output("the newest image's id, ami-…"),
        "name": Output("its name"),
        "description": Output("what its maker says of it"),
        "creation_date": Output("when it was made, 2026-01-31T10:00:00.000Z"),
        "architecture": Output("x86_64, arm64, …"),
        "owner_id": Output("the account that made it"),
        "root_device_name": Output("what its root volume is called, /dev/sda1"),
        "images": Output("all that fit, the newest first: each with these outputs"),
    }

    image_ids: list[Id] | None = None
    """Only these."""
    owners: list[str] | None = None
    """Account ids, `self`, `amazon` or `aws-marketplace`; anybody's where left out."""
    filters: Filters = Field(default={})
    """As DescribeImages has them: `name: ubuntu/images/*jammy*`, `architecture: x86_64`."""

    @model_validator(mode="after")
    def _not_all_of_them(self) -> Self:
        if not self.image_ids and not self.owners and not self.filters:
            raise ValueError("needs image_ids, owners or filters: there are more than 100,000 public images")
        return self

    def look_up(self, world: World) -> Values:
        """DescribeImages; disabled and pending images do not count."""
        asked = {"ImageIds": self.image_ids, "Owners": self.owners, "Filters": self._filters()}
        given = {name: value for name, value in asked.items() if value}
        found = [_image(each) for each in world.aws.pages("ec2", "describe_images", "Images", **given)]
        if not found:
            raise StepFailed(
                "no image fits",
                "loosen `filters` or `owners`; names may have * in them, and differ by region",
            )
        found.sort(key=lambda image: str(image["creation_date"]), reverse=True)
        return {**found[0], "images": found}

    def _filters(self) -> list[dict[str, Any]]:
        return _sent({"state": "available", **self.filters})

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws ec2 describe-images`."""
        asked = aws("describe-images", image_ids=self.image_ids, owners=self.owners)
        asked += _by_hand(self.filters)
        newest = "sort_by(Images,&CreationDate)[-1]"
        queries = {"image_id": "ImageId", "name": "Name", "creation_date": "CreationDate"}
        return told(self, asked, {name: f"{newest}.{query}" for name, query in queries.items()}) or [asked]


def _image(image: Mapping[str, Any]) -> Values:
    return {
        "image_id": image["ImageId"],
        "name": image.get("Name"),
        "description": image.get("Description"),
        "creation_date": image.get("CreationDate"),
        "architecture": image.get("Architecture"),
        "owner_id": image.get("OwnerId"),
        "root_device_name": image.get("RootDeviceName"),
    }


class Ec2SpotPriceInfo(Resource):
    """Looks up what an instance type costs on the spot market now, zone by zone."""

    kind: ClassVar[str] = "ec2_spot_price_info"
    lookup: ClassVar[bool] = True
    actions: ClassVar[Sequence[str]] = iam_actions("ec2", "DescribeSpotPriceHistory")
    outputs: ClassVar[Mapping[str, Output]] = {
        "price": Output("USD per hour in the cheapest zone now"),
        "availability_zone": Output("the cheapest zone"),
        "prices": Output("USD per hour by zone, the cheapest first"),
        "on_demand": Output("USD per hour on demand (the list price of us-east-1), where known"),
        "saving_percent": Output("what spot saves against that, where known"),
        "region": Output("the region it was asked in"),
    }

    instance_type: str = Field(pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$")
    """As `t3.large`."""
    product_description: str = "Linux/UNIX"
    """The system, as AWS names it: Linux/UNIX, Windows, Red Hat Enterprise Linux."""
    availability_zone: str | None = None
    """Only this zone."""

    def look_up(self, world: World) -> Values:
        """DescribeSpotPriceHistory of this moment, a price a zone; once for all labs of a command."""
        asked = (self.instance_type, self.product_description, self.availability_zone)
        told = world.aws.remember(("spot prices", *asked), lambda: self._history(world))
        prices = _latest(told)
        if not prices:
            where = self.availability_zone or world.aws.region
            raise StepFailed(
                f"{self.instance_type} has no spot price in {where}",
                "check the type's name; not every type is in every zone, nor on the spot market",
            )
        cheapest, price = next(iter(prices.items()))
        full = _prices.instance(self.instance_type)
        return {
            "price": price,
            "availability_zone": cheapest,
            "prices": prices,
            "on_demand": full,
            "saving_percent": None if not full else round(100 * (1 - price / full)),
            "region": world.aws.region,
        }

    def _history(self, world: World) -> list[dict[str, Any]]:
        now = datetime.now(UTC)
        zone = {} if self.availability_zone is None else {"AvailabilityZone": self.availability_zone}
        return world.aws.pages(
            "ec2",
            "describe_spot_price_history",
            "SpotPriceHistory",
            InstanceTypes=[self.instance_type],
            ProductDescriptions=[self.product_description],
            StartTime=now,
            EndTime=now,
            **zone,
        )

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws ec2 describe-spot-price-history`."""
        asked = aws(
            "describe-spot-price-history",
            instance_types=[self.instance_type],
            product_descriptions=[self.product_description],
            availability_zone=self.availability_zone,
        )
        asked += ' --start-time "$(date -u +%FT%TZ)"'
        cheapest = "sort_by(SpotPriceHistory,&to_number(SpotPrice))[0]"
        queries = {"price": "SpotPrice", "availability_zone": "AvailabilityZone"}
        return told(self, asked, {name: f"{cheapest}.{query}" for name, query in queries.items()}) or [asked]


def _latest(told: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """By zone, its latest price; the cheapest zone first, of equals the first by name."""
    ordered = sorted(told, key=lambda each: each["Timestamp"])
    latest = {str(each["AvailabilityZone"]): float(each["SpotPrice"]) for each in ordered}
    return dict(sorted(latest.items(), key=lambda item: (item[1], item[0])))


class Ec2VpcNetInfo(Resource):
    """Looks up VPCs, with their subnets."""

    kind: ClassVar[str] = "ec2_vpc_net_info"
    lookup: ClassVar[bool] = True
    actions: ClassVar[Sequence[str]] = iam_actions("ec2", "DescribeVpcs DescribeSubnets")
    outputs: ClassVar[Mapping[str, Output]] = {
        "vpc_id": Output("the id of the only VPC that fits; null where several do"),
        "cidr_block": Output("its range of addresses"),
        "is_default": Output("whether it is the account's default VPC"),
        "subnet_ids": Output("the ids of its subnets, by zone"),
        "vpcs": Output("all that fit: id, cidr_block, is_default, subnet_ids and tags of each"),
    }

    vpc_ids: list[Id] | None = None
    """Only these."""
    filters: Filters = Field(default={})
    """As DescribeVpcs has them: `is-default: true`, `tag:Name: lab`; all of the region's where left out."""

    def look_up(self, world: World) -> Values:
        """DescribeVpcs, and DescribeSubnets of all that fit at once."""
        asked = dict(self.filters)
        if self.vpc_ids:
            asked["vpc-id"] = self.vpc_ids
        vpcs = world.aws.pages("ec2", "describe_vpcs", "Vpcs", Filters=_sent(asked))
        if not vpcs:
            raise StepFailed("no VPC fits", "loosen `filters`; they count in the lab's region only")
        of_these = [{"Name": "vpc-id", "Values": [vpc["VpcId"] for vpc in vpcs]}]
        subnets = world.aws.pages("ec2", "describe_subnets", "Subnets", Filters=of_these)
        subnets.sort(key=lambda subnet: (subnet["AvailabilityZone"], subnet["SubnetId"]))
        found = [_vpc(vpc, subnets) for vpc in sorted(vpcs, key=lambda vpc: str(vpc["VpcId"]))]
        names = ("vpc_id", "cidr_block", "is_default", "subnet_ids")
        only = {name: found[0][name] if len(found) == 1 else None for name in names}
        return {**only, "vpcs": found}

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws ec2 describe-vpcs`."""
        asked = aws("describe-vpcs", vpc_ids=self.vpc_ids) + _by_hand(self.filters)
        return told(self, asked, {"vpc_id": "Vpcs[0].VpcId", "cidr_block": "Vpcs[0].CidrBlock"}) or [asked]


def _vpc(vpc: Mapping[str, Any], subnets: Sequence[Mapping[str, Any]]) -> Values:
    return {
        "vpc_id": vpc["VpcId"],
        "cidr_block": vpc["CidrBlock"],
        "is_default": bool(vpc.get("IsDefault")),
        "subnet_ids": [subnet["SubnetId"] for subnet in subnets if subnet["VpcId"] == vpc["VpcId"]],
        "tags": tags_of(vpc),
    }
