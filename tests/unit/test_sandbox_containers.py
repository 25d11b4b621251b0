"""Hosts as containers: what their router is told, and what is said where there is no Docker Engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import Unreachable
from engine.sandbox.containers import check
from engine.sandbox.containers.rules import script, wire
from engine.sandbox.containers.view import Nic, Rule, View, Way

ANY = Rule("-1", None, ("0.0.0.0/0",))
BASTION = Nic(
    instance="i-0123456789abcdef0",
    address="10.20.0.5",
    public="198.18.0.9",
    subnet="10.20.0.0/24",
    checks=False,
    egress=(ANY,),
    ingress=(Rule("tcp", (22, 22), ("203.0.113.7/32",)), Rule("-1", None, ("10.20.1.6/32",))),
    ways=(Way("0.0.0.0/0", "gateway"),),
)
PRIVATE = Nic(
    instance="i-0fedcba9876543210",
    address="10.20.1.6",
    public=None,
    subnet="10.20.1.0/24",
    checks=True,
    egress=(ANY,),
    ingress=(Rule("6", (22, 22), ("10.20.0.5/32",)),),
    ways=(Way("0.0.0.0/0", "10.20.0.5"),),
)


def told(*nics: Nic) -> list[str]:
    view = View("vpc-1", "10.20.0.0/16", ("10.20.0.0/24", "10.20.1.0/24"), nics)
    return script(view, frozenset(nic.instance for nic in nics)).splitlines()


def test_a_group_becomes_a_rule_for_each_of_its_hosts_and_the_rest_is_dropped() -> None:
    lines = told(BASTION, PRIVATE)
    chain = [line for line in lines if line.startswith(f"-A in-{wire(PRIVATE)} ")]
    assert chain == [
        f"-A in-{wire(PRIVATE)} -p tcp --dport 22:22 -s 10.20.0.5/32 -j RETURN",
        f"-A in-{wire(PRIVATE)} -j DROP",
    ]
    assert ":FORWARD DROP [0:0]" in lines


def test_only_a_host_with_the_check_off_may_carry_packets_of_others() -> None:
    lines = told(BASTION, PRIVATE)
    assert f"-A FORWARD -i {wire(PRIVATE)} ! -s 10.20.1.6 -j DROP" in lines
    assert not any(line.startswith(f"-A FORWARD -i {wire(BASTION)} !") for line in lines)


def test_a_private_subnet_leads_to_the_bastion_and_not_out() -> None:
    lines = told(BASTION, PRIVATE)
    assert f"ip route add 0.0.0.0/0 via 10.20.0.5 dev {wire(BASTION)} onlink table 1001" in lines
    assert f"-A FORWARD -i {wire(BASTION)} -s 10.20.0.5 -o eth0 -j ACCEPT" in lines
    assert not any("-o eth0" in line and wire(PRIVATE) in line for line in lines)


def test_a_route_to_a_host_that_is_down_leads_nowhere() -> None:
    assert "ip route add blackhole 0.0.0.0/0 table 1000" in told(PRIVATE)


def test_a_nat_gateway_needs_no_public_address() -> None:
    through_nat = replace(PRIVATE, ways=(Way("0.0.0.0/0", "nat"),))
    assert f"-A FORWARD -i {wire(PRIVATE)} -s 10.20.1.6 -o eth0 -j ACCEPT" in told(through_nat)


def test_without_docker_it_is_told_how_to_start_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unreachable, match="there is no `docker` command here") as caught:
        check()
    assert "sudo systemctl start docker" in str(caught.value.remedy)


def test_an_engine_that_does_not_answer_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    fake = tmp_path / "docker"
    fake.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon at unix:///x.' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(Unreachable, match="none answers here"):
        check()
