"""The operating systems that simulated machines and images run: names, releases, login users."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class System:
    """One release of a distribution."""

    id: str
    version: str
    codename: str
    pretty: str
    user: str
    """The login user that the distribution's cloud image makes."""
    kernel: str
    mirror: str
    like: str = ""

    @property
    def os_release(self) -> str:
        """/etc/os-release."""
        name = self.pretty.split(" 2")[0] if self.id == "amzn" else self.pretty.split(" ")[0]
        lines = [
            f'PRETTY_NAME="{self.pretty}"',
            f'NAME="{ {"debian": "Debian GNU/Linux", "alpine": "Alpine Linux"}.get(self.id, name) }"',
            f'VERSION_ID="{self.version}"',
            f'VERSION="{self.version} ({self.codename})"',
            f"VERSION_CODENAME={self.codename}",
            f"ID={self.id}",
        ]
        if self.id == "amzn":
            lines = [line for line in lines if "CODENAME" not in line and not line.startswith("VERSION=")]
            lines.append(f'VERSION="{self.version}"')
        if self.like:
            lines.append(f'ID_LIKE="{self.like}"')
        if self.id == "ubuntu":
            lines.append(f"UBUNTU_CODENAME={self.codename}")
        return "\n".join(lines) + "\n"

    @property
    def has_apt(self) -> bool:
        """Whether packages come by apt (by dnf otherwise)."""
        return self.id in ("ubuntu", "debian")


SYSTEMS = {
    "ubuntu-22.04": System(
        "ubuntu",
        "22.04",
        "jammy",
        "Ubuntu 22.04.5 LTS",
        "ubuntu",
        "6.8.0-1039-aws",
        "archive.ubuntu.com",
        "debian",
    ),
    "ubuntu-24.04": System(
        "ubuntu",
        "24.04",
        "noble",
        "Ubuntu 24.04.3 LTS",
        "ubuntu",
        "6.14.0-1014-aws",
        "archive.ubuntu.com",
        "debian",
    ),
    "debian-12": System(
        "debian",
        "12",
        "bookworm",
        "Debian GNU/Linux 12 (bookworm)",
        "admin",
        "6.1.0-40-cloud-amd64",
        "security.debian.org",
    ),
    "amazon-linux-2023": System(
        "amzn",
        "2023",
        "",
        "Amazon Linux 2023",
        "ec2-user",
        "6.1.153-175.280.amzn2023.x86_64",
        "al2023-repos-us-east-1-de612dc2.s3.dualstack.us-east-1.amazonaws.com",
        "fedora",
    ),
    "alpine-3.22": System(
        "alpine", "3.22.2", "", "Alpine Linux v3.22", "root", "6.8.0-1039-aws", "dl-cdn.alpinelinux.org"
    ),
}
"""By the names that playbooks and the catalogue of images use."""


def system_of(name: str) -> System:
    """The system that a name such as `ubuntu-22.04` means. Raises KeyError."""
    return SYSTEMS[{"al2023": "amazon-linux-2023", "amazon-linux": "amazon-linux-2023"}.get(name, name)]
