from __future__ import annotations

import pytest
from pydantic import ValidationError

from engine.resources.hosts.ssh_host import SshHost
from engine.world import Job, World


@pytest.fixture
def world() -> World:
    # The kind asks nobody: there is nothing to ask.
    return World("lab", None, None, Job())  # type: ignore[arg-type]


def test_it_is_there_already_and_reads_as_wanted(world: World) -> None:
    for host in (SshHost(hostname="lab7.example", port=2222), SshHost(hostname="::1"), SshHost(hostname="h")):
        id = host.adopts(world)
        assert id == host.create(world)
        values = SshHost.read_many(world, [id])[id]
        assert {name: values[name] for name in host.wanted(["port"])} == host.wanted(["port"])
        machine = SshHost.machine(world, id, values)
        assert (machine.public_address, machine.port) == (host.hostname, host.port)
        assert host.replaces("hostname", values)
        assert host.replaces("port", values)
        assert set(values) >= set(SshHost.outputs)


def test_nothing_is_done_to_it(world: World) -> None:
    host = SshHost(hostname="h")
    host.update(world, "h:22", frozenset())
    SshHost.delete(world, "h:22")
    assert SshHost.find(world) == []
    assert host.price() == 0
    assert host.as_commands("create", None) == ["ssh -p 22 h true"]
    assert host.as_commands("delete", "h:22") == []


@pytest.mark.parametrize("fields", [{"hostname": ""}, {"hostname": "me@h"}, {"hostname": "h", "port": 0}])
def test_what_is_no_host(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SshHost.model_validate(fields)
