"""`hosts: docker`: HW02 end to end on containers with systemd, OpenSSH and a Docker Engine of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.hosts import Hosts, HostSpec
from engine.resource import Machine
from engine.sandbox.containers.engine import HOST_IMAGE, INTERNET_IMAGE, name_of
from tests.kinds.host_contract import keeps_the_contract
from tests.kinds.host_examples import HOST_EXAMPLES, HostExample
from tests.kinds.local_host import Bench
from tests.scenarios.place import LABCTL, Place

LAB = "hw02@sandbox"
REQUIRED = "LABCTL_REAL_HOSTS"
"""Set to `required`, these tests run, and fail where no Docker Engine can be had: they take minutes."""

pytestmark = pytest.mark.skipif(
    os.environ.get(REQUIRED) != "required", reason=f"real hosts are asked for with {REQUIRED}=required"
)


def unavailable(reason: str) -> None:
    pytest.fail(reason)


def docker(*args: str, check: bool = True) -> str:
    done = subprocess.run(["docker", *args], capture_output=True, text=True, timeout=300)
    assert not check or done.returncode == 0, f"docker {' '.join(args)}: {done.stderr}"
    return done.stdout.strip()


def answers() -> bool:
    if shutil.which("docker") is None:
        return False
    command = ["docker", "version", "--format", "{{.Server.Version}}"]
    return subprocess.run(command, capture_output=True, timeout=30).returncode == 0


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Docker Engine, started where none runs and one can be had."""
    if answers():
        yield
        return
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("apt-get") is None:
        unavailable("no Docker Engine answers here, and none can be started (that needs root on Debian)")
    packages = ["docker.io", "debootstrap", "iptables", "iproute2"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", *packages]):
        done = subprocess.run(["apt-get", *command], env=environment, capture_output=True, text=True)
        if done.returncode:
            unavailable(f"apt-get {command[0]} failed: {done.stderr.strip()[-300:]}")
    log = (tmp_path_factory.mktemp("dockerd") / "log").open("wb")
    daemon = subprocess.Popen(["dockerd"], stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while not answers():
            if daemon.poll() is not None or time.monotonic() > deadline:
                unavailable(f"dockerd does not start: {Path(log.name).read_text()[-500:]}")
            time.sleep(0.5)
        yield
    finally:
        daemon.terminate()
        daemon.wait(60)
        log.close()


@pytest.fixture(scope="module")
def image(engine: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What hosts start from, built by the command that users run."""
    there = docker("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
    if {HOST_IMAGE, INTERNET_IMAGE} <= set(there):
        return
    done = subprocess.run([str(LABCTL), "sandbox", "image"], capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr


def named(plan: str) -> str:
    """A plan's text without the ids that each sandbox gives its own default VPC."""
    return re.sub(r"\b(vpc|subnet)-[0-9a-f]+", r"\1-ID", plan)


def containers(place: Place) -> list[str]:
    """Everything of the place's sandbox that Docker has, stopped containers too."""
    name = name_of(Path(place.env["LABCTL_SANDBOX_DIR"]))
    mine = ("--filter", f"label=labctl.sandbox={name}")
    return [
        *docker("ps", "-a", "--format", "{{.Names}}", *mine).split(),
        *docker("network", "ls", "--format", "{{.Name}}", *mine).split(),
    ]


def inside(place: Place, address: str, *command: str) -> str:
    """What a command prints in the container of an instance, asked of Docker and not of labctl."""
    instance = place.tagged(LAB)[address]
    [container] = [name for name in containers(place) if name.endswith(instance)]
    return docker("exec", container, *command)


@pytest.fixture(scope="module")
def place(image: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("docker-hosts") / "work")
    place.edit("inventory/sandbox.yml", "hosts: simulated", "hosts: docker")
    try:
        place.planned = place.run("plan", "playbooks/hw02.yml")
        place.applied = place.run("apply", "--yes", seconds=900)
        yield place
    finally:
        place.run("sandbox", "reset", "--yes", code=None)


def test_the_plan_is_that_of_simulated_hosts(place: Place, tmp_path: Path) -> None:
    simulated = Place(tmp_path / "work")
    try:
        assert named(simulated.run("plan", "playbooks/hw02.yml").out) == named(place.planned.out)
    finally:
        simulated.close()


def test_docker_in_the_containers_shows_the_containers(place: Place) -> None:
    names = inside(place, "bastion", "docker", "ps", "--format", "{{.Names}}").split()
    assert sorted(names) == ["jupyter", "my-apache-app", "my_ubuntu"]
    everything = inside(place, "private", "docker", "ps", "-a", "--format", "{{.Names}} {{.Status}}")
    assert everything.startswith("hello Exited (0)")


def test_the_page_comes_through_the_network(place: Place) -> None:
    done = place.curl(place.json("output")["site"])
    assert (done.returncode, f"<h1>{LAB}</h1>" in done.stdout) == (0, True), done


def test_afterwards_there_is_nothing_to_do(place: Place) -> None:
    said = place.run("plan", "--detailed-exitcode")
    assert f"No changes. {LAB} matches the playbook." in said.out


def test_every_check_passes(place: Place) -> None:
    checks = place.json("check")
    assert all(check["passed"] for check in checks), checks


def test_the_hosts_are_what_the_api_says(place: Place) -> None:
    for address in ("bastion", "private"):
        instance = place.aws().describe_instances(InstanceIds=[place.tagged(LAB)[address]])
        ip = instance["Reservations"][0]["Instances"][0]["PrivateIpAddress"]
        assert place.run("ssh", address, "hostname -I").out.split()[0] == ip
        assert inside(place, address, "cloud-init", "status", "--wait").endswith("status: done")
        console = place.aws().get_console_output(InstanceId=place.tagged(LAB)[address], Latest=True)
        key = inside(place, address, "cat", "/etc/ssh/ssh_host_ed25519_key.pub").split()[1]
        assert key in console["Output"]


def test_security_groups_decide_between_hosts(place: Place) -> None:
    """The bastion's group lets the private host in; nobody opened anything but 22 the other way round."""
    bastion = place.tagged(LAB)["bastion"]
    found = place.aws().describe_instances(InstanceIds=[bastion])["Reservations"][0]["Instances"][0]
    inside(place, "private", "curl", "-sf", "-m", "5", f"http://{found['PrivateIpAddress']}:8003/")
    private = place.json("output")["private_ip"]
    probe = f"nc -z -w 3 {private} 22 && ! nc -z -w 2 {private} 23"
    inside(place, "bastion", "sh", "-c", probe)
    # One refuses because nothing listens; the other is silent because no rule lets it through.
    told = inside(place, "bastion", "sh", "-c", f"nc -zv -w 2 {private} 23 2>&1 || :")
    assert "timed out" in told


def test_a_closed_port_is_silent_and_mended(place: Place) -> None:
    group, site = place.tagged(LAB)["public_sg"], place.json("output")["site"]
    rule = {"IpProtocol": "tcp", "FromPort": 8003, "ToPort": 8003, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    place.aws().revoke_security_group_ingress(GroupId=group, IpPermissions=[rule])
    assert place.curl(site).returncode != 0
    place.run("apply", "playbooks/hw02.yml", "--yes")
    assert place.curl(site).returncode == 0


def test_a_reboot_is_one(place: Place) -> None:
    read = "cat /proc/sys/kernel/random/boot_id"
    before = inside(place, "bastion", "sh", "-c", read)
    place.aws().reboot_instances(InstanceIds=[place.tagged(LAB)["bastion"]])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        said = place.run("ssh", "bastion", read, code=None)
        if said.code == 0 and said.out.strip() != before:
            break
        time.sleep(1)
    assert said.out.strip() not in ("", before)
    place.run("apply", "playbooks/hw02.yml", "--yes")
    assert place.curl(place.json("output")["site"]).returncode == 0


def test_the_hosts_outlive_the_sandbox(place: Place) -> None:
    place.run("sandbox", "stop")
    place.forget_sandbox()
    said = place.run("plan", "playbooks/hw02.yml")
    assert "No changes." in said.out
    place.forget_sandbox()


def left(place: Place) -> list[str]:
    """What Docker still has a moment after everything was destroyed."""
    deadline = time.monotonic() + 60
    while containers(place) and time.monotonic() < deadline:
        time.sleep(0.5)
    return containers(place)


def test_destroy_leaves_nothing(place: Place) -> None:
    place.run("destroy", "playbooks/hw02.yml", "--yes")
    assert left(place) == []


ONE_HOST = """
name: kinds
resources:
  - name: vpc
    ec2_vpc_net: {default: true}
  - name: group
    ec2_security_group:
      group_name: kinds
      description: kinds
      vpc_id: "{{ vpc.id }}"
      rules: [{proto: tcp, ports: 22, cidr_ip: "{{ my_ip }}"}]
  - name: key
    ec2_key: {key_name: kinds, private_key_file: "~/.ssh/kinds.pem"}
  - name: here
    ec2_instance:
      image: ubuntu-22.04
      instance_type: t2.micro
      key_name: "{{ key.key_name }}"
      security_groups: ["{{ group.id }}"]
      assign_public_ip: true
    ssh: {user: ubuntu, key: "{{ key.private_key_file }}"}
outputs: {address: "{{ here.public_ip }}"}
"""


@pytest.fixture(scope="module")
def bench(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A container with nothing on it, reached as the engine reaches hosts."""
    (place.folder / "playbooks/kinds.yml").write_text(ONE_HOST)
    place.run("apply", "playbooks/kinds.yml", "--yes")
    machine = Machine(
        public_address=place.json("output", "playbooks/kinds.yml")["address"], private_address=None
    )
    hosts = Hosts(folder=tmp_path_factory.mktemp("hosts"), proxy=place.sandbox["socks_proxy"])
    hosts.know(HostSpec("here", machine, "ubuntu", str(place.home / ".ssh/kinds.pem"), 22, None))
    try:
        yield Bench(hosts.host("here", say=lambda text: None))
    finally:
        hosts.close()
        place.run("destroy", "playbooks/kinds.yml", "--yes")
        assert left(place) == []


@pytest.mark.parametrize("example", HOST_EXAMPLES, ids=lambda example: example.kind)
def test_kinds_keep_the_contract_that_they_keep_on_simulated_hosts(
    example: HostExample, bench: Bench, tmp_path: Path
) -> None:
    keeps_the_contract(example, bench, tmp_path / "book")
