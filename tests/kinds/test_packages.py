"""`apt`: installing, remembering what was brought, taking away just that; apt's errors in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from engine.errors import StepFailed
from engine.resources.hosts.packages import Apt
from tests.kinds.benches import SORTS, a_bench, text
from tests.kinds.local_host import Bench

# A repository of its own for the real host: three small packages, made on the spot. No network is asked.
_REPOSITORY = """\
set -eu
mkdir -p /repo/build/DEBIAN
cd /repo
for one in tree:2.1 jq:1.6 htop:3.2; do
  name=labctl-${one%:*} version=${one#*:}
  printf 'Package: %s\\nVersion: %s\\nArchitecture: all\\nMaintainer: me\\nDescription: example\\n' \\
    "$name" "$version" >build/DEBIAN/control
  dpkg-deb --build build "$name.deb" >/dev/null
  { cat build/DEBIAN/control; printf 'Filename: ./%s.deb\\nSize: %s\\nSHA256: %s\\n\\n' "$name" \\
    "$(stat -c %s "$name.deb")" "$(sha256sum "$name.deb" | cut -d' ' -f1)"; } >>Packages
done
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /var/lib/apt/lists/*
echo 'deb [trusted=yes] file:/repo ./' >/etc/apt/sources.list
"""


@pytest.fixture(params=SORTS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    with a_bench(request.param, tmp_path) as made:
        if request.param == "real":
            ran = made.host.run(_REPOSITORY)
            assert ran.status == 0, ran.stderr.decode()
        yield made


@pytest.fixture
def names(request: pytest.FixtureRequest, bench: Bench) -> tuple[str, str, str]:
    before = "labctl-" if "real" in request.node.name else ""
    return f"{before}tree", f"{before}jq", f"{before}htop"


def apt(*names: str, **fields: Any) -> Apt:
    return Apt.model_validate({"name": list(names), **fields})


def installed(bench: Bench, *names: str) -> list[str]:
    check = "dpkg-query -W -f='${Status}\\n' $n 2>/dev/null | grep -q 'ok installed' && echo $n"
    return text(bench, f"for n in {' '.join(names)}; do {check}; done\n:").split()


def test_what_is_missing_is_installed_and_just_that_taken_away(
    bench: Bench, names: tuple[str, str, str]
) -> None:
    tree, jq, _ = names
    bench.host.run(f"apt-get update; apt-get install -y {jq}")
    wanted = apt(tree, jq)
    assert bench.look(wanted) is None
    assert bench.create(wanted)["name"] == [tree, jq]
    assert bench.differing(wanted) == set()
    bench.delete(wanted)
    assert installed(bench, *names) == [jq]  # it was there before
    assert text(bench, "ls -A /var/lib/labctl") == ""


def test_a_package_no_longer_listed_goes(bench: Bench, names: tuple[str, str, str]) -> None:
    tree, jq, htop = names
    bench.create(apt(tree, jq))
    shorter = apt(tree, htop)
    assert bench.differing(shorter) == {"name"}
    bench.update(shorter, "name")
    assert installed(bench, *names) == [tree, htop]


def test_what_another_resource_wants_stays_and_goes_with_that(
    bench: Bench, names: tuple[str, str, str]
) -> None:
    tree, jq, _ = names
    bench.create(apt(tree, jq), "first")
    bench.create(apt(jq), "second")
    bench.delete(apt(tree, jq), "first")
    assert installed(bench, *names) == [jq]
    bench.delete(apt(jq), "second")
    assert installed(bench, *names) == []


def test_removed_by_hand_is_drift(bench: Bench, names: tuple[str, str, str]) -> None:
    tree, jq, _ = names
    bench.create(apt(tree, jq))
    bench.host.run(f"apt-get purge -y {tree}")
    assert bench.differing(apt(tree, jq)) == {"name"}
    bench.update(apt(tree, jq), "name")


def test_a_version_can_be_asked_for(bench: Bench, names: tuple[str, str, str]) -> None:
    tree = names[0]
    assert bench.create(apt(f"{tree}=2*"))["name"] == [f"{tree}=2*"]
    assert bench.differing(apt(f"{tree}=9*")) == {"name"}
    with pytest.raises(StepFailed, match=rf"apt knows no version 9\* of the package {tree}"):
        bench.update(apt(f"{tree}=9*"), "name")


def test_an_unknown_package_is_told(bench: Bench) -> None:
    with pytest.raises(StepFailed, match="apt knows no package nonesuch-package"):
        bench.create(apt("nonesuch-package"))


def test_a_host_without_a_way_out_is_told(tmp_path: Path) -> None:
    with a_bench("simulated", tmp_path, out=False) as bench:
        with pytest.raises(StepFailed, match="no way to the internet") as failed:
            bench.create(apt("tree"))
        assert "NAT" in failed.value.remedy


@pytest.mark.parametrize(
    ("stderr", "words"),
    [
        ("E: You don't have enough free space: No space left on device", "disk is full"),
        (
            "E: Package 'docker-ce' has no installation candidate",
            "docker-ce cannot be installed on this release",
        ),
        (
            "W: Failed to fetch http://x  Temporary failure resolving 'x'\nE: Unable to locate package tree",
            "no way to the internet",
        ),
        (
            "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 9",
            "another program on the host",
        ),
        (
            "The following packages have unmet dependencies:\n docker-ce : Depends: x",
            "docker-ce cannot be installed",
        ),
    ],
)
def test_apt_s_errors_in_words(stderr: str, words: str) -> None:
    explained = Apt.explain_failure(100, stderr)
    assert explained is not None
    assert words in explained[0]


def test_unknown_errors_are_left_as_they_are() -> None:
    assert Apt.explain_failure(100, "E: something else") is None


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "at least one"),
        (["a b"], "no name of a package"),
        (["curl; rm -rf /"], "no name of a package"),
        (["-y"], "no name of a package"),
        (["curl=1", "curl=2"], "twice"),
    ],
)
def test_wrong_names_are_told(names: list[str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        apt(*names)


def test_commands_by_hand() -> None:
    assert apt("curl", "nginx=1.2*").as_commands("create", None) == [
        "sudo apt-get update",
        "sudo apt-get install -y curl 'nginx=1.2*'",
    ]
    assert Apt.model_construct().as_commands("delete", "curl nginx") == ["sudo apt-get purge -y curl nginx"]
