"""`hosts: docker`: HW02 end to end on containers with systemd, OpenSSH and a Docker Engine of their own."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from tests.hosts.ansible import pongs
from tests.hosts.containers import ContainerPlace, a_place
from tests.scenarios.place import Place

LAB = "hw02@sandbox"


AGAIN = """
sudo docker stop -t 1 my-apache-app
sudo docker rm -f jupyter
sudo rm -r /srv/www
sudo gpasswd -d ubuntu docker
"""
"""What somebody does by hand on the bastion."""


def named(plan: str) -> str:
    """A plan's text without the ids and addresses that each sandbox gives."""
    plan = re.sub(r"\b([a-z]+)-[0-9a-f]{8,17}\b", r"\1-ID", plan)
    return re.sub(r"\b(?:198\.1[89]|172\.31)\.\d+\.\d+\b", "ADDRESS", plan)


@pytest.fixture(scope="module")
def place(real_hosts: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerPlace]:
    with a_place(tmp_path_factory.mktemp("docker-hosts") / "work") as place:
        yield place


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("simulated-hosts") / "work")
    try:
        yield place
    finally:
        place.close()


def test_plans_are_those_of_simulated_hosts_before_and_after(place: ContainerPlace, simulated: Place) -> None:
    def both(*args: str) -> list[str]:
        return [named(one.run(*args, seconds=900).out) for one in (place, simulated)]

    before = both("plan", "playbooks/hw02.yml")
    assert before[0] == before[1]
    both("apply", "--yes")
    after = both("plan", "--detailed-exitcode")
    assert after[0] == after[1]
    assert f"No changes. {LAB} matches the playbook." in after[0]
    both("ssh", "bastion", AGAIN)
    drifted = both("plan")
    assert drifted[0] == drifted[1]
    assert all(name in drifted[0] for name in ("web", "jupyter", "page", "docker"))
    # What was made side by side goes in the order in which it came to be done.
    destroyed = [sorted(plan.splitlines()) for plan in both("plan", "--destroy")]
    assert destroyed[0] == destroyed[1]
    place.run("apply", "playbooks/hw02.yml", "--yes", seconds=900)
    assert named(place.run("plan", "--detailed-exitcode").out) == after[0]


def test_docker_in_the_containers_shows_the_containers(place: ContainerPlace) -> None:
    names = place.inside(LAB, "bastion", "docker", "ps", "--format", "{{.Names}}").split()
    assert sorted(names) == ["jupyter", "my-apache-app", "my_ubuntu"]
    everything = place.inside(LAB, "private", "docker", "ps", "-a", "--format", "{{.Names}} {{.Status}}")
    assert everything.startswith("hello Exited (0)")


def test_the_page_comes_through_the_network(place: ContainerPlace) -> None:
    done = place.curl(place.json("output")["site"])
    assert (done.returncode, f"<h1>{LAB}</h1>" in done.stdout) == (0, True), done


def test_every_check_passes(place: ContainerPlace) -> None:
    checks = place.json("check")
    assert all(check["passed"] for check in checks), checks


def test_ansible_reaches_every_host_through_the_bastion(place: ContainerPlace) -> None:
    assert pongs(place, "playbooks/hw02.yml") == {"bastion", "private"}


def test_security_groups_decide_between_hosts(place: ContainerPlace) -> None:
    """The bastion's group lets the private host in; nobody opened anything but 22 the other way round."""
    bastion = place.tagged(LAB)["bastion"]
    found = place.aws().describe_instances(InstanceIds=[bastion])["Reservations"][0]["Instances"][0]
    place.inside(LAB, "private", "curl", "-sf", "-m", "5", f"http://{found['PrivateIpAddress']}:8003/")
    private = place.json("output")["private_ip"]
    probe = f"nc -z -w 3 {private} 22 && ! nc -z -w 2 {private} 23"
    place.inside(LAB, "bastion", "sh", "-c", probe)
    # One refuses because nothing listens; the other is silent because no rule lets it through.
    told = place.inside(LAB, "bastion", "sh", "-c", f"nc -zv -w 2 {private} 23 2>&1 || :")
    assert "timed out" in told


def test_a_closed_port_is_silent_and_mended(place: ContainerPlace) -> None:
    group, site = place.tagged(LAB)["public_sg"], place.json("output")["site"]
    rule = {"IpProtocol": "tcp", "FromPort": 8003, "ToPort": 8003, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    place.aws().revoke_security_group_ingress(GroupId=group, IpPermissions=[rule])
    assert place.curl(site).returncode != 0
    place.run("apply", "playbooks/hw02.yml", "--yes")
    assert place.curl(site).returncode == 0


def test_a_reboot_is_one(place: ContainerPlace) -> None:
    read = "cat /proc/sys/kernel/random/boot_id"
    before = place.inside(LAB, "bastion", "sh", "-c", read)
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


def test_the_hosts_outlive_the_sandbox(place: ContainerPlace) -> None:
    place.run("sandbox", "stop")
    place.forget_sandbox()
    said = place.run("plan", "playbooks/hw02.yml")
    assert "No changes." in said.out
    place.forget_sandbox()


def test_destroy_leaves_nothing(place: ContainerPlace) -> None:
    place.run("destroy", "playbooks/hw02.yml", "--yes")
    assert place.left() == []
