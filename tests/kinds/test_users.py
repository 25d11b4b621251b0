"""`user`: accounts, their groups and keys, on hosts for real."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from engine.errors import StepFailed
from engine.resources.hosts.users import User
from tests.kinds.benches import SORTS, a_bench, text
from tests.kinds.local_host import Bench

KEY, OTHER = "ssh-ed25519 AAAA alice@laptop", "ssh-ed25519 BBBB"


@pytest.fixture(params=SORTS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    with a_bench(request.param, tmp_path) as made:
        yield made


def user(**fields: Any) -> User:
    return User.model_validate({"name": "alice", **fields})


def test_an_account_is_made_changed_and_removed(bench: Bench) -> None:
    alice = user(
        groups=["sudo", "adm"], shell="/bin/bash", uid=4242, comment="Alice A", ssh_authorized_keys=[KEY]
    )
    assert bench.look(alice) is None
    values = bench.create(alice)
    assert (values["uid"], values["home"], values["groups"]) == (4242, "/home/alice", ["adm", "sudo"])
    later = user(groups=["adm"], shell="/bin/sh", ssh_authorized_keys=[OTHER])
    assert bench.differing(later) == {"shell", "ssh_authorized_keys"}
    bench.update(later, "shell", "ssh_authorized_keys")
    bench.delete(later)
    assert bench.look(later) is None
    assert text(bench, "[ -e /home/alice ] || echo gone") == "gone\n"


def test_groups_are_exactly_those_when_append_is_false(bench: Bench) -> None:
    bench.create(user(groups=["sudo", "adm"]))
    only = user(groups=["adm"], append=False)
    assert bench.differing(only) == {"groups"}
    assert bench.update(only, "groups")["groups"] == ["adm"]


def test_keys_of_others_stay(bench: Bench) -> None:
    bench.create(user())
    bench.host.run("mkdir -p /home/alice/.ssh; echo ssh-rsa OTHERS >/home/alice/.ssh/authorized_keys")
    with_key = user(ssh_authorized_keys=[KEY])
    assert bench.differing(with_key) == {"ssh_authorized_keys"}
    bench.update(with_key, "ssh_authorized_keys")
    bench.update(user(ssh_authorized_keys=[]), "ssh_authorized_keys")
    assert "OTHERS" in text(bench, "cat /home/alice/.ssh/authorized_keys")
    assert "AAAA" not in text(bench, "cat /home/alice/.ssh/authorized_keys")
    assert (
        text(bench, "stat -c '%a %U' /home/alice/.ssh /home/alice/.ssh/authorized_keys")
        == "700 alice\n600 alice\n"
    )


def test_only_a_change_of_who_logs_in_logs_in_anew(tmp_path: Path) -> None:
    with a_bench("simulated", tmp_path) as bench:
        bench.create(user(groups=["adm"]))
        assert bench.host.reconnected == 0
        # Groups count from the next login on.
        bench.create(User.model_validate({"name": bench.host.login, "groups": ["adm"]}))
        assert bench.host.reconnected == 1


def test_a_password_s_hash_never_stands_in_a_script(bench: Bench) -> None:
    secret = user(password="$6$salt$hash")
    bench.create(secret)
    assert "salt" not in secret.commands(None, frozenset())
    assert text(bench, "getent shadow alice | cut -d: -f2") == "$6$salt$hash\n"


def test_a_group_that_is_missing_is_told(bench: Bench) -> None:
    with pytest.raises(StepFailed, match="there is no group nonesuch on the host"):
        bench.create(user(groups=["nonesuch"]))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "a b"}, "user or group"),
        ({"password": "letmein"}, "hash"),
        ({"ssh_authorized_keys": ["~/.ssh/id.pub"]}, "public key is one line"),
        ({"shell": "bash"}, "whole path"),
    ],
)
def test_wrong_fields_are_told(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        user(**fields)


def test_commands_by_hand() -> None:
    assert user(groups=["docker"], shell="/bin/bash").as_commands("create", None) == [
        "sudo useradd -m -s /bin/bash -G docker alice"
    ]
    assert user(groups=["docker"]).as_commands("update", "alice", frozenset({"groups"})) == [
        "sudo usermod -aG docker alice"
    ]
    assert User.model_construct().as_commands("delete", "alice") == ["sudo userdel -r alice"]
