"""Machines that an inventory lists, and what of Ansible's inventories is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.errors import Invalid
from engine.language.document import content
from engine.language.inventory import read_inventory
from engine.language.machines import Machine
from engine.language.problems import Problems


def read(folder: Path, text: str, **files: str) -> dict[str, Machine]:
    for name, inside in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(inside)
    (folder / "mine.yml").write_text(text)
    problems = Problems()
    found = read_inventory(folder / "mine.yml", problems)
    problems.check()
    return {each.name: each for each in found.machines.listed}


def said(machine: Machine) -> dict[str, Any]:
    return {**content(machine.fields), **content(machine.login)}


def test_the_short_forms(tmp_path: Path) -> None:
    found = read(tmp_path, "target: ssh\nhosts: {web: 203.0.113.5, nas: , box: {user: pi, key: k}}\n")
    assert said(found["web"]) == {"hostname": "203.0.113.5"}
    assert said(found["nas"]) == {"hostname": "nas"}
    assert said(found["box"]) == {"hostname": "box", "user": "pi", "key": str(tmp_path / "k")}


INI = """\
gate ansible_host=203.0.113.5 ansible_port=2222
[web]
web[01:03].lab ansible_host=10.0.0.7
db-[a:c:2]
[web:vars]
ansible_user="web user"
ansible_ssh_common_args='-o StrictHostKeyChecking=no -o ProxyJump=gate -A'
[site:children]
web
[all:vars]
ansible_user=ubuntu
ansible_ssh_private_key_file=~/.ssh/lab.pem
[here]
localhost ansible_connection=local
"""


def test_an_ini_file(tmp_path: Path) -> None:
    found = read(tmp_path, "target: ssh\nhosts_from: hosts.ini\n", hosts_dot_ini=INI)
    assert list(found) == ["gate", "web01.lab", "web02.lab", "web03.lab", "db-a", "db-c"]
    key = "~/.ssh/lab.pem"
    assert said(found["gate"]) == {"hostname": "203.0.113.5", "port": 2222, "user": "ubuntu", "key": key}
    assert said(found["web02.lab"]) == {
        "hostname": "10.0.0.7",
        "user": "web user",
        "key": key,
        "via": "gate",
        "forward_agent": True,
    }
    assert found["db-c"].groups == ("site", "web")
    assert found["gate"].groups == ()


YAML = """\
all:
  vars: {ansible_user: ubuntu}
  hosts:
    gate: {ansible_host: 203.0.113.5}
  children:
    web:
      hosts:
        web[1:2]:
          ansible_host: 10.0.0.8
      vars:
        ansible_ssh_common_args: '-o ProxyCommand="ssh -W %h:%p -q -p 2200 me@outside.example"'
    far:
      hosts:
        deep: {ansible_ssh_common_args: "-J first.example:2201,you@10.0.0.8"}
"""


def test_a_yaml_file_with_variables_beside_it(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "target: ssh\nhosts_from: hosts.yml\n",
        hosts_dot_yml=YAML,
        group_vars__web_dot_yml="ansible_port: 2022\nansible_user: web\n",
        host_vars__web2__login_dot_yml="ansible_user: second\n",
        group_vars__all="$ANSIBLE_VAULT;1.1;AES256\n6162\n",
    )
    assert said(found["web1"]) == {
        "hostname": "10.0.0.8",
        "port": 2022,
        "user": "web",
        "via": "outside.example",
    }
    assert said(found["web2"])["user"] == "second"
    assert said(found["outside.example"]) == {"hostname": "outside.example", "port": 2200, "user": "me"}
    assert said(found["deep"])["via"] == "web1"
    assert said(found["first.example"]) == {"hostname": "first.example", "port": 2201}


@pytest.mark.parametrize("pattern", ["web[1:999999999]", "web[1:200][1:200]"])
def test_too_many(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(Invalid, match=r"range|more than"):
        read(tmp_path, "target: ssh\nhosts_from: h\n", h=f"{pattern}\n")
