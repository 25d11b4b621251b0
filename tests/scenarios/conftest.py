"""A small lab for the scenarios of single commands."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scenarios.place import Place

SMALL = """\
name: small
vars:
  port: {type: port, default: 8003}
resources:
  - name: vpc
    ec2_vpc_net: {cidr_block: 10.1.0.0/16}
  - name: net
    ec2_vpc_subnet: {vpc_id: "{{ vpc.id }}", cidr: 10.1.1.0/24}
  - name: group
    ec2_security_group:
      group_name: small
      description: a group
      vpc_id: "{{ vpc.id }}"
      rules:
        - {proto: tcp, ports: 22, cidr_ip: "{{ my_ip }}"}
        - {proto: tcp, ports: "{{ port }}", cidr_ip: 0.0.0.0/0}
outputs:
  vpc: "{{ vpc.id }}"
  token: {value: "token of {{ group.id }}", sensitive: true}
checks:
  - {name: nobody is there, tcp: "10.1.1.5:22", expect: unreachable, timeout: 2}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One place for all scenarios of a module: its sandbox is started once."""
    place = Place(tmp_path_factory.mktemp("place") / "work")
    try:
        yield place
    finally:
        place.close()


@pytest.fixture
def small(place: Place) -> Iterator[Place]:
    """A place with the playbook `small.yml`, of which nothing is there when the test begins and ends."""
    (place.folder / "small.yml").write_text(SMALL)
    yield place
    (place.folder / "small.yml").write_text(SMALL)
    place.run("destroy", "small.yml", "--yes")
