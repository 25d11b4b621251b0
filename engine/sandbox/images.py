"""The machine images the sandbox offers: names, owners and ids as their publishers have them.

Ids differ by region, as on AWS, and are the same on every machine. Of each system there are two
releases, so that a pinned image can be seen to grow old.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

CANONICAL, DEBIAN, AMAZON = "099720109477", "136693071363", "137112412989"


@dataclass(frozen=True)
class SystemImage:
    """One published image of a system, in every region."""

    os: str
    name: str
    owner: str
    user: str
    created: str
    architecture: str = "x86_64"
    root_device: str = "/dev/sda1"
    description: str = ""

    def id(self, region: str) -> str:
        """Its AMI id in `region`."""
        return "ami-" + hashlib.sha256(f"{region}/{self.name}".encode()).hexdigest()[:17]


@dataclass(frozen=True)
class _System:
    os: str
    owner: str
    user: str
    name: str
    description: str
    releases: tuple[tuple[str, str], ...]
    parameters: tuple[str, ...]
    root_device: str = "/dev/sda1"


_SYSTEMS = (
    _System(
        "ubuntu-22.04",
        CANONICAL,
        "ubuntu",
        "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-{deb}-server-{release}",
        "Canonical, Ubuntu, 22.04, {deb} jammy image",
        (("20250610", "2025-06-10"), ("20250822", "2025-08-22")),
        (
            "/aws/service/canonical/ubuntu/server/22.04/stable/current/{deb}/hvm/ebs-gp2/ami-id",
            "/aws/service/canonical/ubuntu/server/jammy/stable/current/{deb}/hvm/ebs-gp2/ami-id",
        ),
    ),
    _System(
        "ubuntu-24.04",
        CANONICAL,
        "ubuntu",
        "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-{deb}-server-{release}",
        "Canonical, Ubuntu, 24.04, {deb} noble image",
        (("20250610", "2025-06-10"), ("20250821", "2025-08-21")),
        (
            "/aws/service/canonical/ubuntu/server/24.04/stable/current/{deb}/hvm/ebs-gp3/ami-id",
            "/aws/service/canonical/ubuntu/server/noble/stable/current/{deb}/hvm/ebs-gp3/ami-id",
        ),
    ),
    _System(
        "debian-12",
        DEBIAN,
        "admin",
        "debian-12-{deb}-{release}",
        "Debian 12 ({release})",
        (("20250610-2139", "2025-06-10"), ("20250814-2204", "2025-08-14")),
        ("/aws/service/debian/release/12/latest/{deb}",),
        "/dev/xvda",
    ),
    _System(
        "amazon-linux-2023",
        AMAZON,
        "ec2-user",
        "al2023-ami-2023.{release}-kernel-6.1-{arch}",
        "Amazon Linux 2023 AMI 2023.{release} {arch} HVM kernel-6.1",
        (("7.20250609.0", "2025-06-09"), ("8.20250818.0", "2025-08-18")),
        (
            "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{arch}",
            "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-6.1-{arch}",
        ),
        "/dev/xvda",
    ),
)
_ARCHITECTURES = (("x86_64", "amd64"), ("arm64", "arm64"))


def _images(system: _System) -> Iterator[SystemImage]:
    for arch, deb in _ARCHITECTURES:
        for release, day in system.releases:
            words = {"arch": arch, "deb": deb, "release": release}
            yield SystemImage(
                os=system.os,
                name=system.name.format(**words),
                owner=system.owner,
                user=system.user,
                created=f"{day}T04:31:12.000Z",
                architecture=arch,
                root_device=system.root_device,
                description=system.description.format(**words),
            )


SYSTEM_IMAGES: tuple[SystemImage, ...] = tuple(image for one in _SYSTEMS for image in _images(one))


def parameters(region: str) -> dict[str, str]:
    """The public SSM parameters that name the newest images of `region`."""
    newest: dict[str, str] = {}
    for system in _SYSTEMS:
        images = {image.name: image for image in _images(system)}
        for arch, deb in _ARCHITECTURES:
            words = {"arch": arch, "deb": deb}
            image = images[system.name.format(release=system.releases[-1][0], **words)]
            newest |= {name.format(**words): image.id(region) for name in system.parameters}
    return newest


def by_id(region: str) -> dict[str, SystemImage]:
    """The images of `region` by AMI id."""
    return {image.id(region): image for image in SYSTEM_IMAGES}


def full_name(user: str) -> str:
    """The full name that the images' cloud-init gives their login user."""
    return {"ubuntu": "Ubuntu", "admin": "Debian"}.get(user, "EC2 Default User")
