"""The packages that simulated machines know: versions, what they need, and what they bring."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Package:
    """One package of a distribution: its version, what comes with it, and what it leaves on the machine."""

    version: str
    needs: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    repository: str = "main"
    conflicts: tuple[str, ...] = ()


def _plain(text: str) -> dict[str, Package]:
    return {name: Package(version) for name, version in (line.split() for line in text.strip().splitlines())}


_DOCKER = ("docker",)

MAIN: dict[str, Package] = {
    **_plain(
        """
acl 2.3.1-1
apache2-utils 2.4.52-1ubuntu4.16
apt-transport-https 2.4.14
apt-utils 2.4.14
atop 2.7.1-2
awscli 1.22.34-1
base-files 12ubuntu4.7
bash 5.1-6ubuntu1.1
build-essential 12.9ubuntu3
bzip2 1.0.8-5build1
ca-certificates 20240203~22.04.1
coreutils 8.32-4.1ubuntu1.2
dnsutils 1:9.18.39-0ubuntu0.22.04.1
dpkg 1.21.1ubuntu2.3
emacs-nox 1:27.1+1-3ubuntu5.2
fail2ban 0.11.2-6
ffmpeg 7:4.4.2-0ubuntu0.22.04.1
file 1:5.41-3ubuntu0.1
g++ 4:11.2.0-1ubuntu1
gcc 4:11.2.0-1ubuntu1
gdb 12.1-0ubuntu1~22.04.2
git 1:2.34.1-1ubuntu1.15
gnupg 2.2.27-3ubuntu2.4
gnupg-agent 2.2.27-3ubuntu2.4
gpg 2.2.27-3ubuntu2.4
graphviz 2.42.2-6ubuntu0.1
gunicorn 20.1.0-2
htop 3.0.5-7build2
iftop 1.0~pre4-7
imagemagick 8:6.9.11.60+dfsg-1.3ubuntu0.22.04.5
iotop 0.6-24-g733f3f8-1.1ubuntu0.1
iperf3 3.9-1+deb11u1build0.1
iproute2 5.15.0-1ubuntu2
iputils-ping 3:20211215-1ubuntu0.1
jq 1.6-2.1ubuntu3.1
less 590-1ubuntu0.22.04.3
libpq-dev 14.19-0ubuntu0.22.04.1
libssl-dev 3.0.2-0ubuntu1.20
lsb-release 11.1.0ubuntu4
lsof 4.93.2+dfsg-1.1build2
make 4.3-4.1build1
mosquitto-clients 2.0.11-1ubuntu1.2
nano 6.2-1ubuntu0.1
net-tools 1.60+git20181103.0eebece-1ubuntu5.4
netcat-openbsd 1.218-4ubuntu1
nfs-common 1:2.6.1-1ubuntu1.2
nodejs 12.22.9~dfsg-1ubuntu3.6
npm 8.5.1~ds-1
openssh-client 1:8.9p1-3ubuntu0.13
openssl 3.0.2-0ubuntu1.20
parallel 20210822+ds-2
pip 22.0.2+dfsg-1ubuntu0.7
pkg-config 0.29.2-1ubuntu3
postgresql-client 14+238
procps 2:3.3.17-6ubuntu2.1
python-is-python3 3.9.2-2
python3 3.10.6-1~22.04.1
python3-dev 3.10.6-1~22.04.1
python3-flask 2.0.1-2ubuntu1.1
python3-numpy 1:1.21.5-1ubuntu22.04.1
python3-pip 22.0.2+dfsg-1ubuntu0.7
python3-setuptools 59.6.0-1.2ubuntu0.22.04.3
python3-venv 3.10.6-1~22.04.1
rsync 3.2.7-0ubuntu0.22.04.4
s3fs 1.90-1
screen 4.9.0-1
snapd 2.67.1+22.04
software-properties-common 0.99.22.9
sqlite3 3.37.2-2ubuntu0.5
stress 1.0.5-1
strace 5.16-0ubuntu3
sudo 1.9.9-1ubuntu2.5
sysstat 12.5.2-2ubuntu0.2
systemd 249.11-0ubuntu3.17
tar 1.34+dfsg-1ubuntu0.1.22.04.2
tcpdump 4.99.1-3ubuntu0.2
telnet 0.17-44build1
tmux 3.2a-4ubuntu0.2
traceroute 1:2.1.0-2
tree 2.0.2-1
tzdata 2025b-0ubuntu0.22.04.1
ufw 0.36.1-4ubuntu0.1
unzip 6.0-26ubuntu3.2
uidmap 1:4.8.1-2ubuntu2.2
vim 2:8.2.3995-1ubuntu2.24
virtualenv 20.13.0+ds-2
wget 1.21.2-2ubuntu1.1
xz-utils 5.2.5-2ubuntu1
zip 3.0-12build2
zstd 1.4.8+dfsg-3build1
"""
    ),
    "cron": Package("3.0pl1-137ubuntu3", units=("cron",)),
    "curl": Package("7.81.0-1ubuntu1.21"),
    "iptables": Package("1.8.7-1ubuntu5.2"),
    "openssh-server": Package("1:8.9p1-3ubuntu0.13", units=("ssh",)),
    "nginx": Package("1.18.0-6ubuntu14.7", ("nginx-common",), ("nginx",), ("nginx",)),
    "nginx-common": Package("1.18.0-6ubuntu14.7"),
    "apache2": Package("2.4.52-1ubuntu4.16", ("apache2-utils",), ("apache2ctl",), ("apache2",)),
    "redis-server": Package("5:6.0.16-1ubuntu1.1", (), ("redis-cli",), ("redis-server",)),
    "postgresql": Package("14+238", ("postgresql-client",), ("psql",), ("postgresql",), ("postgres",)),
    "mysql-server": Package("8.0.43-0ubuntu0.22.04.2", (), ("mysql",), ("mysql",)),
    "mosquitto": Package("2.0.11-1ubuntu1.2", (), (), ("mosquitto",)),
    "containerd": Package("1.7.28-0ubuntu1~22.04.1", (), (), ("containerd",), (), "main", ("containerd.io",)),
    "docker.io": Package(
        "28.2.2-0ubuntu1~22.04.1",
        ("containerd",),
        ("docker", "dockerd"),
        ("docker",),
        _DOCKER,
        "main",
        ("docker-ce",),
    ),
    "docker-compose-v2": Package("2.37.1+ds1-0ubuntu2~22.04.1"),
    "docker-buildx": Package("0.21.3-0ubuntu1~22.04.1"),
    "docker-doc": Package("28.2.2-0ubuntu1~22.04.1"),
    "runc": Package("1.3.3-0ubuntu1~22.04.2"),
    "podman": Package("3.4.4+ds1-1ubuntu1.22.04.3"),
}
"""What the distribution itself has."""

DOCKER: dict[str, Package] = {
    "docker-ce": Package(
        "5:28.5.1-1~{release}",
        ("docker-ce-cli", "containerd.io", "docker-ce-rootless-extras", "iptables"),
        ("dockerd",),
        ("docker",),
        _DOCKER,
        "docker",
        ("docker.io",),
    ),
    "docker-ce-cli": Package("5:28.5.1-1~{release}", (), ("docker",), repository="docker"),
    "docker-ce-rootless-extras": Package("5:28.5.1-1~{release}", repository="docker"),
    "containerd.io": Package(
        "1.7.28-1~{release}", (), ("containerd",), ("containerd",), (), "docker", ("containerd", "runc")
    ),
    "docker-buildx-plugin": Package("0.29.1-1~{release}", repository="docker"),
    "docker-compose-plugin": Package("2.40.0-1~{release}", repository="docker"),
    "docker-model-plugin": Package("0.1.42-1~{release}", repository="docker"),
}
"""What Docker's own repository has."""

BASE = (
    "base-files",
    "bash",
    "ca-certificates",
    "coreutils",
    "cron",
    "curl",
    "dpkg",
    "file",
    "gnupg",
    "gpg",
    "iproute2",
    "iptables",
    "iputils-ping",
    "less",
    "lsb-release",
    "lsof",
    "nano",
    "netcat-openbsd",
    "openssh-client",
    "openssh-server",
    "openssl",
    "procps",
    "python3",
    "rsync",
    "snapd",
    "software-properties-common",
    "sudo",
    "systemd",
    "tar",
    "tmux",
    "tzdata",
    "ufw",
    "vim",
    "wget",
    "xz-utils",
)
"""What a cloud image comes with."""

IMAGE_BASE = ("base-files", "bash", "coreutils", "dpkg", "procps", "tar", "tzdata")
"""What a container image of a distribution comes with."""
