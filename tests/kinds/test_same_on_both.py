"""A simulated host and a container tell the same of the same situation, field by field."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from engine.kinds import kinds
from engine.on_host import OnHost
from tests.kinds.local_host import Bench
from tests.kinds.simulated_host import SimulatedHost
from tests.kinds.situations import ByHand, Gone, Sees, Situation, Want, told_of

pytestmark = pytest.mark.takes_minutes

BY_NATURE = {
    "docker_container": {"id"},
    "docker_engine": {"version"},
    "docker_image": {"id", "digest", "size"},
    "docker_network": {"id"},
    "reboot": {"boot_id"},
}
"""What is another on each host: ids, versions, sizes."""

DOCKERS_OWN = ip_network("172.16.0.0/12")
"""Docker's default pools lie in there; no situation asks for addresses of it."""

HTTPD = {"name": "web", "image": "httpd:2.4"}
SLEEPS = {"name": "sleeper", "image": "busybox", "command": "sleep 1000"}
ONE_SHOT = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n"
BOOT = "[Install]\nWantedBy=multi-user.target\n"
SLEEPER = f"[Service]\nExecStart=/bin/sleep 1000\n\n{BOOT}"

FILES = (
    Situation(
        "a folder and what becomes of it",
        [
            Want("file", {"path": "/srv/box", "type": "directory", "mode": "0750"}),
            ByHand("chmod 700 /srv/box; chown nobody:nogroup /srv/box"),
            Want("file", {"path": "/srv/box", "type": "directory", "mode": "2755", "owner": "root"}),
            ByHand("rmdir /srv/box; echo text >/srv/box"),
            Want("file", {"path": "/srv/box", "type": "directory"}),
            ByHand("rm /srv/box"),
        ],
        after="rm -rf /srv/box",
    ),
    Situation(
        "links",
        [
            Want("file", {"path": "/srv/link", "type": "link", "src": "nowhere"}),
            ByHand("ln -sfn /etc /srv/link; ls -d /srv/link"),
            Sees("file", {"path": "/srv/link", "type": "directory"}),
            Gone("file", {"path": "/srv/link", "type": "link", "src": "/etc"}),
            ByHand("ls -d /srv/link /etc"),
        ],
    ),
    Situation(
        "an empty file",
        [
            Want("file", {"path": "/srv/deep/er/empty", "mode": "0604", "group": "adm"}),
            ByHand("stat -c '%a %U %G %s %F' /srv/deep/er/empty /srv/deep"),
            Want("file", {"path": "/srv/deep/er/empty", "owner": "nosuchuser"}),
        ],
        after="rm -rf /srv/deep",
    ),
    Situation(
        "a text and what becomes of it",
        [
            Want("copy", {"dest": "/srv/text", "content": "one\n"}),
            ByHand("echo two >>/srv/text; chmod 600 /srv/text"),
            Want("copy", {"dest": "/srv/text", "content": "one\n"}),
            ByHand("stat -c %a /srv/text; cat /srv/text"),
            ByHand("rm /srv/text; mkdir /srv/text"),
            Want("copy", {"dest": "/srv/text", "content": "one\n"}),
            ByHand("rmdir /srv/text; ln -s other /srv/text; echo other >/srv/other"),
            Want("copy", {"dest": "/srv/text", "content": "one\n", "mode": "0640", "group": "adm"}),
            ByHand("ls -l /srv/text | cut -c1-10; cat /srv/other"),
        ],
        after="rm -rf /srv/text /srv/other",
    ),
    Situation(
        "a template with a strange name",
        [Want("template", {"dest": "/srv/it's a\\page", "src": "page.j2", "mode": "0444"})],
        files={"page.j2": "a pagé without end"},
    ),
)

SYSTEM = (
    Situation(
        "packages",
        [
            Want("apt", {"name": ["tree", "jq"]}),
            ByHand("command -v tree; command -v jq; dpkg-query -W -f '${Package} ${Status}\\n' tree jq"),
            ByHand("apt-get purge -y tree >/dev/null 2>&1"),
            Want("apt", {"name": ["tree"]}),
            ByHand("command -v jq || echo gone"),
            Want("apt", {"name": ["nosuchpackage"]}),
            Want("apt", {"name": ["tree=0.0.1"]}),
            Gone("apt", {"name": ["tree"]}),
            ByHand("command -v tree || echo gone"),
        ],
    ),
    Situation(
        "users",
        [
            Want("user", {"name": "alice", "shell": "/bin/bash", "groups": ["adm"], "comment": "Alice A."}),
            ByHand("id alice; getent passwd alice; ls -ld /home/alice | cut -c1-10; ls -A /home/alice"),
            Want(
                "user", {"name": "alice", "groups": ["games"], "ssh_authorized_keys": ["ssh-ed25519 AAAA a"]}
            ),
            ByHand("id -Gn alice; stat -c '%a %U %G' /home/alice/.ssh /home/alice/.ssh/authorized_keys"),
            ByHand("cat /home/alice/.ssh/authorized_keys"),
            Want("user", {"name": "alice", "groups": ["games"], "append": False, "ssh_authorized_keys": []}),
            Want("user", {"name": "alice", "home": "/home/wonder", "shell": "/bin/sh", "uid": 1777}),
            ByHand("ls -d /home/alice /home/wonder; stat -c '%u %g' /home/wonder"),
            Want("user", {"name": "alice", "groups": ["nosuchgroup"]}),
            Want("user", {"name": "daemon2", "system": True, "create_home": False, "uid": 777}),
            ByHand("ls -d /home/daemon2; getent passwd daemon2 | cut -d: -f7"),
            Gone("user", {"name": "alice"}),
            ByHand("getent passwd alice; getent group alice; ls -d /home/wonder"),
        ],
        after="userdel -r daemon2; rm -rf /home/wonder /home/alice",
    ),
    Situation(
        "commands",
        [
            Want("command", {"cmd": "echo out; echo err >&2"}),
            Want("command", {"cmd": ["printf", "%s|", "a b", "$HOME", "*"]}),
            Want("command", {"cmd": "echo no >&2; exit 7"}),
            Want("command", {"cmd": "nosuchprogram --flag"}),
            Want(
                "command",
                {"cmd": "pwd; id -un; umask; echo $A", "chdir": "/srv", "environment": {"A": "b c"}},
            ),
            Want("command", {"cmd": "id -un; echo $HOME $USER; pwd", "become_user": "ubuntu"}),
            Want("command", {"cmd": "touch /srv/made", "creates": "/srv/made"}),
            ByHand("rm /srv/made"),
            Want("command", {"cmd": "true", "creates": "/srv/made"}),
            Want("command", {"cmd": "sleep 20", "timeout": 1}),
            Want("command", {"cmd": "hostname -s | wc -l; nproc | wc -l", "changed_when": False}),
            Want("command", {"cmd": "printf 'a\\0b\\377'"}),
        ],
        after="rm -f /srv/made",
    ),
    Situation(
        "a service of one's own",
        [
            Want("systemd_service", {"name": "own", "unit": SLEEPER, "enabled": True, "running": True}),
            ByHand("systemctl is-active own; systemctl is-enabled own"),
            ByHand("systemctl stop own; systemctl is-active own"),
            ByHand("systemctl disable own 2>&1; systemctl is-enabled own"),
            Want("systemd_service", {"name": "own", "unit": SLEEPER, "enabled": True, "running": True}),
            ByHand("echo '# by hand' >>/etc/systemd/system/own.service"),
            Want("systemd_service", {"name": "own", "unit": SLEEPER, "enabled": False, "running": False}),
            Gone("systemd_service", {"name": "own"}),
            ByHand("systemctl is-active own; systemctl is-enabled own; ls /etc/systemd/system/own.service"),
        ],
    ),
    Situation(
        "services that do not start",
        [
            Want(
                "systemd_service", {"name": "bad", "unit": "[Service]\nExecStart=/nowhere\n", "running": True}
            ),
            ByHand("systemctl is-active bad; systemctl is-failed bad"),
            Want(
                "systemd_service",
                {
                    "name": "bad2",
                    "unit": "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/false\n",
                    "running": True,
                },
            ),
            Want("systemd_service", {"name": "once", "unit": ONE_SHOT, "running": True}),
            Want("systemd_service", {"name": "once", "unit": ONE_SHOT, "enabled": True}),
            ByHand("systemctl is-enabled once"),
            Want("systemd_service", {"name": "nosuch", "running": True}),
            Want("systemd_service", {"name": "nosuch", "enabled": True}),
        ],
    ),
    Situation(
        "services of the system",
        [
            Want("systemd_service", {"name": "cron", "running": True, "enabled": True}),
            Want("systemd_service", {"name": "cron", "running": False, "enabled": False}),
            ByHand("systemctl is-active cron; systemctl is-enabled cron"),
            ByHand("systemctl mask cron 2>&1; systemctl is-enabled cron"),
            Want("systemd_service", {"name": "cron", "running": True, "enabled": True}),
            ByHand("systemctl unmask cron 2>&1"),
            Want("systemd_service", {"name": "cron", "running": True, "enabled": True}),
            Sees("systemd_service", {"name": "ssh"}),
            Sees("systemd_service", {"name": "nosuch"}),
        ],
        after="systemctl enable --now cron",
    ),
    Situation(
        "a service of a package",
        [
            Want("apt", {"name": ["nginx"], "install_recommends": False}),
            Want("systemd_service", {"name": "nginx", "running": True, "enabled": True}),
            ByHand("curl -s http://localhost/ | grep -i '<title>'"),
            ByHand("systemctl stop nginx; curl -s http://localhost/; echo $?"),
            Want("systemd_service", {"name": "nginx", "running": True}),
        ],
    ),
)

DOCKER = (
    Situation(
        "a web server",
        [
            ByHand("mkdir -p /srv/www; echo '<h1>hello</h1>' >/srv/www/index.html"),
            Want(
                "docker_container",
                {
                    **HTTPD,
                    "published_ports": ["8003:80"],
                    "volumes": ["/srv/www:/usr/local/apache2/htdocs/:ro"],
                },
            ),
            ByHand(
                "curl -s http://localhost:8003/; curl -s -o /dev/null -w '%{http_code}' http://localhost:8003/no"
            ),
            ByHand(
                "docker ps --format '{{.Names}} {{.Image}} {{.State}}'; docker port web 80/tcp | head -n 1"
            ),
            ByHand("docker stop -t 1 web; docker inspect -f '{{.State.Status}} {{.State.Running}}' web"),
            ByHand("curl -s http://localhost:8003/; echo $?"),
            ByHand("docker start web; until curl -s http://localhost:8003/; do sleep 0.1; done"),
            ByHand("docker pause web; docker inspect -f '{{.State.Status}} {{.State.Running}}' web"),
            ByHand("docker unpause web"),
            ByHand("docker rm -f web; docker ps -aq"),
        ],
        docker=True,
        after="rm -rf /srv/www; docker rm -f web",
    ),
    Situation(
        "a container with everything",
        [
            Want(
                "docker_container",
                {
                    **SLEEPS,
                    "published_ports": ["18003:80", "127.0.0.1:15353:53/udp", "18100-18101:8100-8101"],
                    "volumes": ["/tmp/:/data/:ro", "/anonymous", "box:/box"],
                    "env": {"A": "1", "B": 'two "words" $HOME', "C": "two\nlines"},
                    "restart_policy": "on-failure:3",
                    "memory": "64m",
                    "cpus": 0.5,
                    "labels": {"own": "label"},
                    "hostname": "webhost",
                    "user": "0:0",
                    "working_dir": "/data",
                    "cap_add": ["net_admin"],
                    "interactive": True,
                    "tty": True,
                    "healthcheck": {"test": "true", "interval": "200ms"},
                },
            ),
            ByHand("docker exec sleeper sh -c 'hostname; pwd; echo \"$A $B\"; id -u'"),
            Want("docker_container", {**SLEEPS, "restart_policy": "always", "memory": "128m", "cpus": 0.25}),
            Gone("docker_container", SLEEPS),
            ByHand("docker volume ls -q"),
        ],
        docker=True,
        after="docker rm -f -v sleeper; docker volume rm box",
    ),
    Situation(
        "containers that end",
        [
            Want("docker_container", {"name": "once", "image": "hello-world", "detach": False}),
            Want(
                "docker_container", {**SLEEPS, "name": "says", "command": ["echo", "hello"], "detach": False}
            ),
            ByHand("docker logs says; docker start says; docker wait says"),
            Want(
                "docker_container",
                {**SLEEPS, "name": "fails", "command": ["sh", "-c", "echo no >&2; exit 4"], "detach": False},
            ),
            Want("docker_container", {**SLEEPS, "name": "dies", "command": ["sh", "-c", "echo no; exit 3"]}),
            Want("docker_container", {**SLEEPS, "name": "no_such", "command": "nosuchprogram"}),
            Want("docker_container", SLEEPS),
            ByHand("docker kill sleeper; docker inspect -f '{{.State.Status}} {{.State.ExitCode}}' sleeper"),
            Want("docker_container", SLEEPS),
        ],
        docker=True,
        after="docker rm -f once says fails dies no_such sleeper",
    ),
    Situation(
        "what is refused",
        [
            Want("docker_container", {**HTTPD, "name": "nothing", "image": "nonesuch/thing"}),
            Want("docker_container", {**HTTPD, "name": "nothing", "image": "httpd:0.0.1"}),
            Want("docker_image", {"name": "nonesuch/thing"}),
            Want("docker_image", {"name": "httpd:0.0.1"}),
            Want("docker_container", {**HTTPD, "published_ports": ["18003:80"]}),
            Want("docker_container", {**SLEEPS, "published_ports": ["18003:80"]}),
            Want("docker_container", {**SLEEPS, "name": "ssh", "published_ports": ["22:80"]}),
            Want("docker_container", {**SLEEPS, "name": "lost", "networks": ["nowhere"]}),
            Want("docker_container", {**SLEEPS, "name": "small", "memory": "1m"}),
            ByHand("docker run -d --name mine busybox sleep 1000 >/dev/null"),
            Want("docker_container", {**SLEEPS, "name": "mine"}),
            Gone("docker_container", {**SLEEPS, "name": "mine"}),
            ByHand("docker ps -a --format '{{.Names}} {{.State}}' | sort"),
        ],
        docker=True,
        after="docker rm -f mine web sleeper ssh lost small nothing",
    ),
    Situation(
        "networks and volumes",
        [
            Want(
                "docker_network",
                {
                    "name": "net1",
                    "ipam_config": [{"subnet": "10.77.0.0/24", "gateway": "10.77.0.1"}],
                    "labels": {"a": "b"},
                },
            ),
            Want("docker_network", {"name": "net2", "internal": True, "attachable": True}),
            Want("docker_network", {"name": "net3", "ipam_config": [{"subnet": "10.77.0.0/25"}]}),
            Want("docker_volume", {"name": "data1", "labels": {"k": "v"}}),
            Want("docker_container", {**SLEEPS, "networks": ["net2", "net1"], "volumes": ["data1:/x"]}),
            Gone("docker_volume", {"name": "data1"}),
            ByHand("docker network connect net1 $(docker run -d --name mine busybox sleep 1000)"),
            Gone("docker_container", SLEEPS),
            Gone("docker_network", {"name": "net1"}),
            ByHand("docker rm -f mine"),
            Gone("docker_network", {"name": "net1"}),
            Gone("docker_volume", {"name": "data1"}),
            ByHand("docker network ls --format '{{.Name}} {{.Driver}}' | sort; docker volume ls -q"),
        ],
        docker=True,
        after="docker rm -f mine; docker network rm net1 net2; docker volume rm data1",
    ),
    Situation(
        "images",
        [
            Want("docker_image", {"name": "busybox"}),
            Want("docker_image", {"name": "example:1", "build": {"path": "image", "args": {"WHO": "me"}}}),
            ByHand("docker run --rm example:1"),
            ByHand(
                "docker image inspect -f '{{.Config.Cmd}} {{.Config.Env}} {{.Config.ExposedPorts}}' example:1"
            ),
            Want("docker_image", {"name": "example:1", "build": {"path": "image", "args": {"WHO": "you"}}}),
            ByHand("docker run --rm example:1"),
            Want("docker_image", {"name": "wrong:1", "build": {"path": "wrong"}}),
            Want("docker_image", {"name": "fails:1", "build": {"path": "fails"}}),
            Want("docker_image", {"name": "nobase:1", "build": {"path": "nobase"}}),
            Want("docker_image", {"name": "nofile:1", "build": {"path": "nofile"}}),
            Gone("docker_image", {"name": "example:1"}),
            ByHand("docker image ls -q example"),
        ],
        files={
            "image/Dockerfile": "FROM busybox\nARG WHO\nENV WHO=$WHO A=1\nEXPOSE 80\nCOPY a.txt /a.txt\n"
            'CMD ["sh", "-c", "cat /a.txt; echo $WHO"]\n',
            "image/a.txt": "a\n",
            "wrong/Dockerfile": "FROM busybox\nRUNN true\n",
            "fails/Dockerfile": "FROM busybox\nRUN echo no >&2; exit 3\n",
            "nobase/Dockerfile": "FROM nonesuch/thing\n",
            "nofile/Dockerfile": "FROM busybox\nCOPY nothing.txt /\n",
        },
        docker=True,
    ),
    Situation(
        "Docker that does not run",
        [
            Want("docker_container", HTTPD),
            ByHand("systemctl stop docker docker.socket 2>/dev/null; systemctl is-active docker"),
            Sees("docker_engine", {"users": ["ubuntu"]}),
            Want("docker_container", SLEEPS),
            ByHand("systemctl start docker"),
        ],
        docker=True,
        after="systemctl start docker; docker rm -f web sleeper",
    ),
    Situation(
        "a reboot",
        [
            Want("systemd_service", {"name": "own", "unit": SLEEPER, "enabled": True, "running": True}),
            Want("systemd_service", {"name": "once", "unit": SLEEPER, "running": True}),
            Want("docker_container", {**HTTPD, "restart_policy": "always"}),
            Want("docker_container", {**HTTPD, "name": "web2", "restart_policy": "unless-stopped"}),
            Want("docker_container", {**HTTPD, "name": "web3"}),
            ByHand("docker stop -t 5 web2 >/dev/null; touch /run/passing /tmp/passing /srv/staying"),
            Want("reboot", {}),
            ByHand("ls /run/passing; ls /tmp/passing; ls /srv/staying"),
        ],
        docker=True,
        after="rm -f /srv/staying",
    ),
    Situation(
        "the engine",
        [
            Gone("docker_engine", {}),
            Want("docker_engine", {"users": ["ubuntu"]}),
            ByHand("useradd bob"),
            Want("docker_engine", {"users": ["ubuntu", "bob"]}),
            ByHand("getent group docker | cut -d: -f1,4"),
            Want("docker_engine", {"users": []}),
            Want("docker_engine", {"users": ["nosuchuser"]}),
            ByHand("systemctl disable docker 2>/dev/null; systemctl is-enabled docker"),
            Want("docker_engine", {"users": ["ubuntu"]}),
            ByHand("ls /etc/apt/sources.list.d; ls /etc/apt/keyrings"),
            Gone("docker_engine", {}),
            ByHand("command -v docker; ls /etc/apt/sources.list.d; ls /etc/apt/keyrings"),
            Want("docker_engine", {"source": "distribution"}),
            ByHand("docker ps -q; ls /etc/apt/sources.list.d; ls /etc/apt/keyrings"),
        ],
        after="userdel bob",
    ),
    Situation(
        "without Docker",
        [Gone("docker_engine", {}), Sees("docker_container", HTTPD), Want("docker_container", HTTPD)],
    ),
)


SITUATIONS = (*FILES, *SYSTEM, *DOCKER)


def test_every_kind_on_a_host_is_in_a_situation() -> None:
    steps = [step for situation in SITUATIONS for step in situation.steps if not isinstance(step, ByHand)]
    assert {step.kind for step in steps} == {
        name for name, kind in kinds().items() if issubclass(kind, OnHost)
    }


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
def test_both_sorts_of_hosts_tell_the_same(situation: Situation, real_host: Any, tmp_path: Path) -> None:
    simulated = SimulatedHost(tmp_path / "machine", os="debian-12")
    try:
        imitated = told_of(situation, Bench(simulated), tmp_path / "book")
    finally:
        simulated.close()
    real = told_of(situation, Bench(real_host), tmp_path / "book")
    assert list(map(compared, imitated)) == list(map(compared, real))


def compared(told: dict[str, Any]) -> dict[str, Any]:
    """One step's tale without what is another on each host."""
    there = {address: _values(address, values) for address, values in told["there"].items()}
    step, ended = told["step"], told["ended"]
    if isinstance(step, Gone):
        ended = (ended[0], _values(step.kind, ended[1]))
    return {"step": step, "ended": ended, "there": there}


def _values(address: str, values: Any) -> Any:
    if not isinstance(values, dict):
        return values
    told = {
        name: value for name, value in values.items() if name not in BY_NATURE.get(address.split()[0], ())
    }
    if address.startswith("docker_container") and values["hostname"] == values["id"][:12]:
        told["hostname"] = "the first part of its id"
    if address.startswith("docker_network") and _is_chosen_by_docker(values["ipam_config"]):
        told["ipam_config"] = "what Docker found free"
    if address.startswith("docker_volume"):
        # What Docker keeps lies on a volume of the container's own.
        told["mountpoint"] = values["mountpoint"].replace("/var/lib/labctl-storage/docker", "/var/lib/docker")
    return told


def _is_chosen_by_docker(pools: list[dict[str, str]]) -> bool:
    """Whether a network's addresses are the first of Docker's own that no other network of the host has."""
    return all(ip_network(pool["subnet"]).subnet_of(DOCKERS_OWN) for pool in pools)
