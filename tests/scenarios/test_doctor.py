"""`labctl doctor`: each trouble on the way to a host made to happen; the last line tells cause and cure."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.jump import BOOK, jump
from tests.scenarios.place import Place

EVERYTHING = [
    "instance",
    "status",
    "address",
    "route",
    "groups",
    "port",
    "SSH",
    "host_key",
    "user",
    "key",
    "sudo",
    "cloud-init",
    "disk",
    "Docker",
]


@pytest.fixture(scope="module")
def place(place: Place) -> Place:
    """A place where the lab was applied."""
    (place.folder / BOOK).write_text(jump(forward_agent=False))
    place.run("apply", BOOK, "--yes")
    return place


def last_line(place: Place, host: str) -> str:
    said = place.run("doctor", host, code=1)
    return said.out.splitlines()[-1]


def ids(place: Place) -> dict[str, str]:
    return {one["address"]: one["id"] for one in place.json("show")["resources"] if one["id"]}


def test_all_is_well(place: Place) -> None:
    said = place.run("doctor", "private")
    assert said.out.splitlines()[-1] == "All is well with private."
    found = place.json("doctor", "private")
    assert (found["host"], found["well"], found["cause"], found["remedy"]) == ("private", True, None, None)
    first = [one["stage"].replace(" ", "_") for one in found["stages"] if one["host"] == "bastion"]
    assert first == EVERYTHING
    behind = [one["stage"].replace(" ", "_") for one in found["stages"] if one["host"] == "private"]
    assert behind == [stage for stage in EVERYTHING if stage != "route"]
    assert {one["result"] for one in found["stages"]} == {"ok", "-"}


def test_a_rule_that_somebody_took_away(place: Place) -> None:
    group = ids(place)["front"]
    [found] = place.aws().describe_security_groups(GroupIds=[group])["SecurityGroups"]
    place.aws().revoke_security_group_ingress(GroupId=group, IpPermissions=found["IpPermissions"])
    assert last_line(place, "private") == (
        "bastion: no rule of its security groups (front) lets any address in to port 22. "
        "To mend it: labctl apply jump.yml --only front"
    )
    place.run("apply", BOOK, "--only", "front", "--yes")
    place.run("doctor", "bastion")


def test_a_rule_for_another_address_that_the_playbook_asks_for(place: Place) -> None:
    place.edit(BOOK, '"{{ my_ip }}"', "203.0.113.99/32")
    try:
        place.run("apply", BOOK, "--only", "front", "--yes")
        line = last_line(place, "bastion")
        assert "let 203.0.113.99/32 in to port 22, but not you (" in line
        assert "To mend it: aws ec2 authorize-security-group-ingress --group-id sg-" in line
    finally:
        place.edit(BOOK, "203.0.113.99/32", '"{{ my_ip }}"')
        place.run("apply", BOOK, "--yes")


def test_the_group_of_a_host_behind_another(place: Place) -> None:
    group = ids(place)["back"]
    [found] = place.aws().describe_security_groups(GroupIds=[group])["SecurityGroups"]
    place.aws().revoke_security_group_ingress(GroupId=group, IpPermissions=found["IpPermissions"])
    line = last_line(place, "private")
    assert re.match(
        r"private: its security groups \(back\) do not let [\d.]+ in to port 22\. To mend it:", line
    )
    assert line.endswith("labctl apply jump.yml --only back")
    place.run("apply", BOOK, "--yes")


def test_a_stopped_instance(place: Place) -> None:
    id = ids(place)["bastion"]
    place.aws().stop_instances(InstanceIds=[id])
    try:
        line = last_line(place, "private")
        assert re.match(rf"bastion: instance {id} is stop(ped|ping)\. To mend it: labctl apply", line), line
    finally:
        place.run("apply", BOOK, "--yes")
    place.run("doctor", "private")


def test_a_key_that_others_may_read(place: Place) -> None:
    key = place.home / ".ssh/jump.pem"
    key.chmod(0o644)
    try:
        line = last_line(place, "bastion")
    finally:
        key.chmod(0o600)
    assert line == f"bastion: the key file {key} is open to others (mode 0644). To mend it: chmod 600 {key}"


def test_a_wrong_user(place: Place) -> None:
    place.edit(
        BOOK,
        'user: ubuntu, key: "{{ key.private_key_file }}", via',
        'user: admin, key: "{{ key.private_key_file }}", via',
    )
    try:
        line = last_line(place, "private")
    finally:
        place.edit(BOOK, "user: admin", "user: ubuntu")
    assert line.startswith("private: it refuses the user admin with ")
    assert line.endswith(
        "and takes the same key for the user ubuntu. To mend it: write ssh: {user: ubuntu} in the playbook"
    )


def test_a_wrong_key(place: Place, tmp_path: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("there is no ssh-keygen here")
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    key = place.home / ".ssh/jump.pem"
    kept = key.read_bytes()
    key.write_bytes(other.read_bytes())
    try:
        found: dict[str, Any] = place.json("doctor", "bastion", code=1)
    finally:
        key.write_bytes(kept)
    assert found["stages"][-1]["stage"] == "key"
    assert found["cause"].startswith(f"bastion: it refuses the user ubuntu with {key}")


def test_a_changed_host_key(place: Place) -> None:
    [known] = (place.folder / ".labctl").rglob("known_hosts")
    kept = known.read_text()
    other = next(line for line in kept.splitlines() if line.startswith("private "))
    known.write_text("\n".join([other, other.replace("private ", "bastion ", 1), ""]))
    try:
        line = last_line(place, "private")
    finally:
        known.write_text(kept)
    assert line.startswith("bastion: its host key has changed")
    assert line.endswith(f"if the machine was really made anew: ssh-keygen -R bastion -f {known}")


def test_docker_that_does_not_run(place: Place) -> None:
    install = "sudo apt-get update && sudo apt-get install -y docker.io"
    place.run("ssh", "bastion", f"{install} && sudo systemctl stop docker")
    try:
        line = last_line(place, "bastion")
        assert line.startswith("bastion: it does not answer: ")
        assert line.endswith("To mend it: labctl ssh bastion sudo systemctl start docker")
        place.run("ssh", "bastion", "sudo systemctl start docker")
        said = place.run("doctor", "bastion")
        assert re.search(r"ok +Docker +\S+, containers running: 0", said.out)
    finally:
        place.run("ssh", "bastion", "sudo apt-get remove -y docker.io", code=None)


def test_an_instance_that_is_gone(place: Place) -> None:
    id = ids(place)["private"]
    place.aws().terminate_instances(InstanceIds=[id])
    line = last_line(place, "private")
    assert line.startswith(f"private: instance {id} ")
    assert line.endswith("To mend it: labctl apply jump.yml --only private")
    place.run("apply", BOOK, "--yes")
    place.run("doctor", "private")


def test_a_host_that_is_not_there(place: Place) -> None:
    said = place.run("doctor", "privat", code=3)
    assert "has no host privat" in said.err
    said = place.run("doctor", code=3)
    assert "doctor needs the name of a host." in said.err
