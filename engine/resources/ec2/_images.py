"""Names of images: aliases (`ubuntu-22.04`), name filters, and how each is looked up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from engine.aws.errors import AwsError
from engine.errors import StepFailed

if TYPE_CHECKING:
    from engine.world import World

_CANONICAL: Final = "099720109477"
_DEBIAN: Final = "136693071363"
_TRUSTED: Final = ("self", "amazon", _CANONICAL, _DEBIAN)
"""Whose images a name without an owner may mean: anybody can publish an image under any name."""

_ID = re.compile(r"ami-[0-9a-f]{8,17}")
_OWNER = re.compile(r"(self|amazon|aws-marketplace|\d{12})/(.+)")


@dataclass(frozen=True)
class _Alias:
    """Where an alias is published: the parameter with the newest id; owner and names as a fallback."""

    parameter: str
    owner: str
    names: str


def _ubuntu(version: str, code: str, cpu: str, disk: str) -> _Alias:
    series = "hvm-ssd" if disk == "ebs-gp2" else "hvm-ssd-gp3"
    return _Alias(
        f"/aws/service/canonical/ubuntu/server/{version}/stable/current/{cpu}/hvm/{disk}/ami-id",
        _CANONICAL,
        f"ubuntu/images/{series}/ubuntu-{code}-{version}-{cpu}-server-*",
    )


def _debian(version: str, cpu: str) -> _Alias:
    return _Alias(f"/aws/service/debian/release/{version}/latest/{cpu}", _DEBIAN, f"debian-{version}-{cpu}-*")


def _amazon(cpu: str) -> _Alias:
    return _Alias(
        f"/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{cpu}",
        "amazon",
        f"al2023-ami-2023.*-{cpu}",
    )


ALIASES: Final = {
    "ubuntu-22.04": _ubuntu("22.04", "jammy", "amd64", "ebs-gp2"),
    "ubuntu-24.04": _ubuntu("24.04", "noble", "amd64", "ebs-gp3"),
    "debian-12": _debian("12", "amd64"),
    "debian-13": _debian("13", "amd64"),
    "amazon-linux-2023": _amazon("x86_64"),
    "ubuntu-22.04-arm64": _ubuntu("22.04", "jammy", "arm64", "ebs-gp2"),
    "ubuntu-24.04-arm64": _ubuntu("24.04", "noble", "arm64", "ebs-gp3"),
    "debian-12-arm64": _debian("12", "arm64"),
    "debian-13-arm64": _debian("13", "arm64"),
    "amazon-linux-2023-arm64": _amazon("arm64"),
}


def image_id(world: World, name: str) -> str:
    """The id of the newest image that `name` stands for; ids come back as they are, unasked.

    `name` is an id, an alias, or a name filter (`ubuntu/images/*/ubuntu-jammy-*`), before which an owner may
    stand (`123456789012/lab-*`). Asks SSM GetParameter, and EC2 DescribeImages for what SSM does not tell.
    Raises StepFailed where nothing answers to the name.
    """
    if _ID.fullmatch(name):
        return name
    alias = ALIASES.get(name)
    if alias is not None:
        return _published(world, alias.parameter) or _newest(world, name, [alias.owner], alias.names)
    if not any(letter in name for letter in "*?/"):
        raise StepFailed(
            f"no image is called {name!r}",
            f"use an image id, a name filter with *, or one of {', '.join(ALIASES)}",
        )
    owned = _OWNER.fullmatch(name)
    if owned:
        return _newest(world, name, [owned[1]], owned[2])
    return _newest(world, name, _TRUSTED, name)


def root_device(world: World, image: str) -> str:
    """The name of the image's root device (`/dev/sda1`), asked once for each image (DescribeImages)."""
    return world.aws.remember(("root device", image), lambda: _ask_root_device(world, image))


def _ask_root_device(world: World, image: str) -> str:
    images = world.aws.pages("ec2", "describe_images", "Images", ImageIds=[image])
    return str(images[0].get("RootDeviceName") or "/dev/sda1") if images else "/dev/sda1"


def _published(world: World, parameter: str) -> str | None:
    try:
        answer = world.aws.call("ssm", "get_parameter", Name=parameter)
    except AwsError:
        # Not every region publishes it, and not everybody may read parameters: the list of images tells too.
        return None
    return str(answer["Parameter"]["Value"])


def _newest(world: World, name: str, owners: Sequence[str], names: str) -> str:
    filters = [{"Name": "name", "Values": [names]}, {"Name": "state", "Values": ["available"]}]
    images: list[dict[str, Any]] = world.aws.pages(
        "ec2", "describe_images", "Images", Owners=list(owners), Filters=filters
    )
    if not images:
        raise StepFailed(
            f"no image answers to {name!r} in {world.aws.region}",
            "check the name with `aws ec2 describe-images`; images of others need their owner's account id "
            "before the name: 123456789012/name-*",
        )
    newest = max(images, key=lambda image: (image.get("CreationDate", ""), image["ImageId"]))
    return str(newest["ImageId"])
