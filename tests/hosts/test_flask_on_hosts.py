"""The Flask app on a real host: packages by apt, a unit of systemd, a process that is nobody's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hosts.containers import ContainerPlace, a_place

PLAYBOOK, LAB = "playbooks/flask_on_ec2.yml", "flask_on_ec2@sandbox"


@pytest.fixture(scope="module")
def place(real_hosts: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerPlace]:
    with a_place(tmp_path_factory.mktemp("flask-on-hosts") / "work") as place:
        yield place


def test_it_serves_and_comes_again(place: ContainerPlace) -> None:
    place.run("apply", PLAYBOOK, "--yes", seconds=600)
    assert place.plan(PLAYBOOK) == {}
    assert all(one["passed"] for one in place.json("check", PLAYBOOK))
    user = place.inside(LAB, "web", "ps", "-o", "user=", "-C", "python3").split()
    assert user == ["nobody"]
    # What is killed is started again by systemd.
    place.inside(LAB, "web", "pkill", "-9", "-u", "nobody", "python3")
    assert all(one["passed"] for one in place.json("check", PLAYBOOK))
    place.run("destroy", PLAYBOOK, "--yes")
    assert place.left() == []
