"""The commands by hand of the playbooks that ship: each variable has a value before it is used."""

from __future__ import annotations

import re

import pytest

from tests.scenarios.place import Place

SHELLS = {"HOME", "ID", "VERSION_CODENAME"}
"""The shell's own variables, and those of /etc/os-release on a host."""
PLAYBOOKS = ["account_setup", "fargate_admission", "flask_on_eks", "flask_on_lambda", "hw02_sagemaker"]


def without_value(script: str) -> list[str]:
    """The variables of a script that are used before they are given a value."""
    given, missing = set(SHELLS), []
    for line in script.splitlines():
        in_it = set(re.findall(r"\b([A-Z][A-Z0-9_]*)=", line))
        used = set(re.findall(r"\$\{?([A-Z][A-Z0-9_]*)", line))
        missing += sorted(used - given - in_it)
        given |= in_it
        read = re.match(r"read -r ([A-Z0-9_ ]+) <<<", line)
        given |= set(read[1].split()) if read else set()
    return missing


def test_it_sees_what_has_no_value() -> None:
    assert without_value("A=$(one)\ntwo $A ${B}\nread -r C D <<< x\nthree $D $C") == ["B"]


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_each_variable_has_a_value_before_it_is_used(place: Place, name: str) -> None:
    more = ("-e", "email=you@school.edu") if name == "account_setup" else ()
    script = place.run("plan", f"playbooks/{name}.yml", *more, "--as-commands").out
    assert script.count("\naws ") > 5
    assert without_value(script) == []
    assert "…" not in script
    assert "\\u2026" not in script
    assert "{{" not in script


def test_manifests_are_filled_in_but_for_what_is_not_made_yet(place: Place) -> None:
    script = place.run("plan", "playbooks/flask_on_eks.yml", "-e", "pods=3", "--as-commands").out
    manifests = script.partition("kubectl apply")[2]
    assert "  replicas: 3\n" in manifests
    assert "  name: admission\n" in manifests
    assert "image: ${IMAGE_URI}\n" in manifests
