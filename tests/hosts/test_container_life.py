"""Real hosts from first boot to end: what the API does to the instance happens to the host."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.hosts.containers import ONE_HOST, ContainerPlace, a_place, docker

LAB = "one@sandbox"
USER_DATA = """\
      user_data: |
        #!/bin/sh
        ip route show default | grep -q . && way=online
        echo "$(id -un) $way" >>/srv/boots
    ssh:"""


@pytest.fixture(scope="module")
def place(real_hosts: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerPlace]:
    with a_place(tmp_path_factory.mktemp("life") / "work") as place:
        (place.folder / "playbooks/one.yml").write_text(ONE_HOST.replace("    ssh:", USER_DATA))
        place.run("apply", "playbooks/one.yml", "--yes")
        yield place


def instance(place: ContainerPlace) -> dict[str, Any]:
    """What the API says of the host."""
    id = place.tagged(LAB)["here"]
    found = place.aws().describe_instances(InstanceIds=[id])["Reservations"][0]["Instances"][0]
    return dict(found)


def until(true: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.5)
    return true()


def greets(address: str) -> bool:
    """Whether an SSH server answers at an address, without the sandbox's network."""
    try:
        with socket.create_connection((address, 22), timeout=2) as caller:
            return caller.recv(4) == b"SSH-"
    except OSError:
        return False


def inside(place: ContainerPlace, *command: str) -> str:
    return place.inside(LAB, "here", *command)


def on(place: ContainerPlace, command: str) -> str:
    """What a command prints over SSH, as soon as the host lets us in."""
    said = []

    def works() -> bool:
        said.append(place.run("ssh", "here", command, code=None))
        return said[-1].code == 0

    assert until(works), said[-1].all
    return said[-1].out


def test_user_data_has_run_once_as_root_after_the_network_came_up(place: ContainerPlace) -> None:
    assert on(place, "cloud-init status --wait").strip().endswith("status: done")
    assert inside(place, "cat", "/srv/boots") == "root online"


def test_the_console_shows_the_key_that_sshd_has(place: ContainerPlace) -> None:
    console = place.aws().get_console_output(InstanceId=instance(place)["InstanceId"], Latest=True)
    for sort in ("ed25519", "ecdsa"):
        key = inside(place, "cat", f"/etc/ssh/ssh_host_{sort}_key.pub").split()[1]
        assert key in console["Output"]


def test_it_has_the_names_and_the_address_that_the_api_says(place: ContainerPlace) -> None:
    told = instance(place)
    assert inside(place, "hostname", "-I").split()[0] == told["PrivateIpAddress"]
    assert inside(place, "hostname") == told["PrivateDnsName"].split(".")[0]
    assert inside(place, "getent", "ahostsv4", told["PrivateDnsName"]).split()[0] == told["PrivateIpAddress"]


def test_only_the_instance_s_user_and_key_get_in(place: ContainerPlace) -> None:
    assert inside(place, "passwd", "-S", "ubuntu").split()[1] == "L"
    settings = inside(place, "sshd", "-T").splitlines()
    assert "passwordauthentication no" in settings
    assert "ubuntu" in inside(place, "sh", "-c", "sudo -u ubuntu sudo -n id -un; id -Gn ubuntu")


def test_the_sandbox_s_network_is_the_only_way_in(place: ContainerPlace) -> None:
    container = place.container(LAB, "here")
    form = "{{.HostConfig.NetworkMode}} {{len .HostConfig.PortBindings}} {{.HostConfig.Privileged}}"
    assert docker("inspect", "-f", form, container) == "none 0 false"
    assert not greets(instance(place)["PrivateIpAddress"])
    assert not greets(instance(place)["PublicIpAddress"])


def test_the_router_s_door_opens_to_the_sandbox_alone(place: ContainerPlace) -> None:
    [router] = [name for name in place.in_docker() if "-vpc-" in name]
    published = docker("port", router).splitlines()
    assert [line.split()[-1].rpartition(":")[0] for line in published] == ["127.0.0.1"]
    door = int(published[0].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", door), timeout=5) as caller:
        caller.sendall(f"guess {instance(place)['PrivateIpAddress']} 22\n".encode())
        assert caller.recv(100) == b""


def test_stopped_it_is_down_and_started_it_is_the_same_host_again(place: ContainerPlace) -> None:
    before, container = instance(place), place.container(LAB, "here")
    boot = inside(place, "cat", "/proc/sys/kernel/random/boot_id")
    machine = inside(place, "cat", "/etc/machine-id")
    inside(place, "sh", "-c", "echo kept >/srv/kept; systemctl enable -q cron")
    place.aws().stop_instances(InstanceIds=[before["InstanceId"]])
    assert until(lambda: docker("inspect", "-f", "{{.State.Running}}", container) == "false")
    assert until(lambda: instance(place)["State"]["Name"] == "stopped")
    assert "running  was true, is false" in place.run("plan", "playbooks/one.yml").out
    place.run("apply", "playbooks/one.yml", "--yes")
    after = instance(place)
    assert (after["State"]["Name"], after["PrivateIpAddress"]) == ("running", before["PrivateIpAddress"])
    assert after["PublicIpAddress"] != before["PublicIpAddress"]
    said = on(place, "cat /srv/kept /etc/machine-id /proc/sys/kernel/random/boot_id").split()
    assert said[:2] == ["kept", machine]
    assert said[2] != boot
    assert inside(place, "wc", "-l", "/srv/boots").split()[0] == "1"


def test_rebooted_it_comes_back_without_user_data_running_again(place: ContainerPlace) -> None:
    read = ("cat", "/proc/sys/kernel/random/boot_id")
    before = inside(place, *read)
    place.aws().reboot_instances(InstanceIds=[instance(place)["InstanceId"]])
    assert until(lambda: place.inside(LAB, "here", *read, check=False) not in ("", before))
    assert on(place, "cat /srv/kept") == "kept\n"
    assert inside(place, "cloud-init", "status", "--wait").endswith("status: done")
    assert inside(place, "wc", "-l", "/srv/boots").split()[0] == "1"


def test_terminated_it_is_gone_with_its_disk(place: ContainerPlace) -> None:
    place.aws().terminate_instances(InstanceIds=[instance(place)["InstanceId"]])
    assert place.left() == []
    assert "+ here" in place.run("plan", "playbooks/one.yml").out
