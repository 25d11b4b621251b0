"""Playbooks that include playbooks: what labs come of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.addresses import around, is_part
from engine.by_hand import word
from engine.lab import Lab, Need
from engine.load import load
from engine.refs import Ref, Unknown
from engine.templating import construct, fill, scope_of
from tests.unit.language_stage import Desk, World

ROOT = Path(__file__).parents[2]
NET = """
name: net
vars:
  cidr: {type: cidr, default: 10.0.0.0/16}
  hosts: {type: int, default: 0}
  key: {type: string, default: none}
  named: {default: "key {{ key }}"}
resources:
  - name: vpc
    ec2_vpc_net: {cidr_block: "{{ cidr }}"}
  - name: bastion
    ec2_instance: {image: ubuntu, key_name: "{{ named }}"}
    ssh: {user: ubuntu}
  - name: inside
    ec2_instance: {image: ubuntu}
    ssh: {user: ubuntu, via: bastion}
  - name: worker
    loop: "{{ hosts }}"
    ec2_instance: {image: "{{ vpc.id }}-{{ item }}"}
outputs:
  vpc_id: "{{ vpc.id }}"
  about: "{{ cidr }} of {{ lab.name }}"
checks:
  - {name: the bastion answers, tcp: "{{ bastion.public_ip }}:22"}
  - {name: docker works, host: bastion, command: docker ps}
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.chdir(tmp_path)
    desk = Desk(tmp_path)
    desk.write("playbooks/common/net.yml", NET)
    return desk


def needs(lab: Lab, address: str) -> set[Need]:
    return set(lab.resources[address].needs)


class TestAddresses:
    def test_begin_with_the_includes_name(self, desk: Desk) -> None:
        lab = desk.lab("resources: [{name: net, include: common/net.yml}, {name: vpc, ec2_vpc_net: {}}]")
        assert list(lab.resources) == ["net.vpc", "net.bastion", "net.inside", "vpc"]
        assert needs(lab, "net.inside") == {Need("net.bastion", "after")}
        assert lab.resources["net.inside"].where.file == "playbooks/common/net.yml"

    def test_of_loops_of_includes_and_within_them(self, desk: Desk) -> None:
        lab = desk.lab(
            """
            resources:
              - name: net
                include: common/net.yml
                loop: {a.b: 1, c: 2}
                vars: {cidr: "10.{{ item }}.0.0/16", hosts: "{{ item }}"}
              - {name: key, ec2_key: {key_name: "{{ net['c'].about }} {{ net | length }}"}}
              - {name: every, ec2_key: {key_name: "{{ net | map(attribute='about') | join(', ') }}"}}
            """
        )
        assert [address for address in lab.resources if "worker" in address] == [
            "net[a.b].worker[0]",
            "net[c].worker[0]",
            "net[c].worker[1]",
        ]
        scope = scope_of(lab, {})
        assert construct(lab.resources["key"], scope).wanted() == {"key_name": "10.2.0.0/16 of lab@sandbox 2"}
        assert construct(lab.resources["every"], scope).wanted() == {
            "key_name": "10.1.0.0/16 of lab@sandbox, 10.2.0.0/16 of lab@sandbox"
        }
        assert needs(lab, "net[c].worker[1]") == {Need("net[c].vpc", "uses")}

    def test_of_includes_in_includes(self, desk: Desk) -> None:
        desk.write(
            "playbooks/outer.yml",
            """
            vars: {cidr: {type: cidr}}
            resources:
              - {name: inner, include: common/net.yml, vars: {cidr: "{{ cidr }}"}}
              - {name: web, host: inner.bastion, command: {cmd: "echo {{ inner.vpc.id }}"}}
            outputs: {vpc: "{{ inner.vpc_id }}"}
            """,
        )
        lab = desk.lab(
            """
            resources:
              - {name: o, include: outer.yml, vars: {cidr: 10.7.0.0/16}}
              - {name: deep, ec2_key: {key_name: "{{ o.inner.vpc.id }} {{ o.vpc }}"}}
            """
        )
        assert lab.resources["o.web"].host == "o.inner.bastion"
        assert needs(lab, "o.web") == {Need("o.inner.bastion", "lives_on"), Need("o.inner.vpc", "uses")}
        assert needs(lab, "deep") == {Need("o.inner.vpc", "uses")}
        vpc = construct(lab.resources["o.inner.vpc"], scope_of(lab, {}))
        assert vpc.wanted() == {"cidr_block": "10.7.0.0/16"}

    def test_are_taken_apart(self) -> None:
        assert list(around("net[a.b].w[c]")) == ["net", "net[a.b]", "net[a.b].w", "net[a.b].w[c]"]
        assert list(around("vpc")) == ["vpc"]
        assert is_part("net[0].vpc", "net")
        assert is_part("net.vpc", "net.vpc")
        assert not is_part("network.vpc", "net")


class TestWhatIsHandedOver:
    PLAYBOOK = """
    resources:
      - {name: key, ec2_key: {key_name: lab}}
      - {name: other, ec2_eip: {}}
      - name: net
        include: common/net.yml
        vars: {key: "{{ other.public_ip }}"}
      - {name: group, ec2_security_group: {group_name: g, vpc_id: "{{ net.vpc_id }}"}}
    outputs: {vpc: "{{ net.vpc_id }}", about: "{{ net.about }}"}
    """

    def test_resources_of_the_outer_are_needed_inside(self, desk: Desk) -> None:
        lab = desk.lab(self.PLAYBOOK)
        assert needs(lab, "net.bastion") == {Need("other", "uses")}
        assert needs(lab, "group") == {Need("net.vpc", "uses")}

    def test_is_filled_in_as_it_becomes_known(self, desk: Desk) -> None:
        lab = desk.lab(self.PLAYBOOK)
        bastion = construct(lab.resources["net.bastion"], scope_of(lab, {}))
        assert isinstance(bastion.wanted()["key_name"], Unknown)
        assert bastion.wanted()["key_name"].refs == {Ref("other", "public_ip")}
        known = {"other": {"public_ip": "203.0.113.9"}, "net.vpc": {"id": "vpc-1"}}
        later = construct(lab.resources["net.bastion"], scope_of(lab, known))
        assert later.wanted()["key_name"] == "key 203.0.113.9"
        assert fill(lab.outputs, scope_of(lab, known)) == {
            "vpc": "vpc-1",
            "about": "10.0.0.0/16 of lab@sandbox",
        }

    def test_must_fit_the_variable_once_it_is_known(self, desk: Desk) -> None:
        text = self.PLAYBOOK.replace('key: "{{ other.public_ip }}"', 'hosts: "{{ key.key_name }}"')
        assert 'the variable `hosts` must be a whole number, not the text "lab" | ' in desk.wrong(text)

    def test_a_loop_cannot_hang_on_it(self, desk: Desk) -> None:
        text = self.PLAYBOOK.replace('key: "{{ other.public_ip }}"', 'hosts: "{{ other.public_ip }}"')
        assert "`loop` hangs on something that is not known now | use other variables" in desk.wrong(text)

    def test_secrets_stay_secret(self, desk: Desk) -> None:
        desk.write(
            "playbooks/quiet.yml",
            """
            vars: {word: {type: secret}}
            resources: [{name: host, ec2_instance: {image: ubuntu, user_data: "{{ word }}"}}]
            outputs: {told: "{{ word }}", hidden: {value: x, sensitive: true}}
            """,
        )
        lab = desk.lab(
            """
            vars: {mine: {type: secret, from: {env: WORD}}}
            resources:
              - {name: a, include: quiet.yml, vars: {word: "{{ mine }}"}}
              - {name: b, include: quiet.yml, vars: {word: {from: {env: OTHER}}}}
            outputs: {told: "{{ a.told }}", hidden: "{{ b.hidden }}", open: "{{ a.host.image }}"}
            """,
            World({"WORD": "abracadabra", "OTHER": "open sesame"}),
        )
        assert lab.secrets == {"abracadabra", "open sesame"}
        assert lab.sensitive_outputs == {"told", "hidden"}

    def test_commands_by_hand_name_what_is_meant(self, desk: Desk) -> None:
        lab = desk.lab(self.PLAYBOOK)
        scope = scope_of(lab, {})
        assert word(construct(lab.resources["group"], scope).wanted()["vpc_id"]) == '"$NET_VPC_ID"'
        key_name = construct(lab.resources["net.bastion"], scope).wanted()["key_name"]
        assert word(key_name) == '"key ${OTHER_PUBLIC_IP}"'


class TestKeywordsOfAnInclude:
    def test_count_for_all_that_is_in_it(self, desk: Desk) -> None:
        desk.write(
            "playbooks/docker.yml",
            """
            resources:
              - {name: web, docker_container: {name: web, image: httpd}, timeout: 1m}
              - {name: key, ec2_key: {key_name: web}, tags: {a: own}}
            """,
        )
        lab = desk.lab(
            """
            resources:
              - {name: vpc, ec2_vpc_net: {}}
              - {name: host, ec2_instance: {image: ubuntu}, ssh: {user: ubuntu}}
              - tags: {a: block, b: block}
                block:
                  - name: d
                    include: docker.yml
                    host: host
                    depends_on: [vpc]
                    protect: true
                    timeout: 5m
                    tags: {b: include}
            """
        )
        web, key = lab.resources["d.web"], lab.resources["d.key"]
        assert (web.host, key.host, web.timeout, key.timeout) == ("host", None, 60.0, 300.0)
        assert (web.protect, key.protect) == (True, True)
        assert needs(lab, "d.web") == {Need("host", "lives_on"), Need("vpc", "after")}
        assert (dict(web.tags), dict(key.tags)) == (
            {"a": "block", "b": "include"},
            {"a": "own", "b": "include"},
        )

    def test_when_leaves_it_out(self, desk: Desk) -> None:
        text = """
        vars: {with_net: false}
        resources:
          - {name: net, include: common/net.yml, when: "{{ with_net }}"}
          - name: key
            ec2_key: {key_name: "{{ net.vpc_id if net is defined else 'none' }}"}
            depends_on: [net]
        """
        without = desk.lab(text)
        assert list(without.resources) == ["key"]
        assert without.skipped == {"net"}
        assert without.checks == ()
        assert construct(without.resources["key"], scope_of(without, {})).wanted() == {"key_name": "none"}
        there = desk.lab(text, variables={"with_net": "true"})
        assert needs(there, "key") == {
            Need("net.vpc", "uses"),
            Need("net.bastion", "after"),
            Need("net.inside", "after"),
        }

    def test_an_empty_loop_is_an_empty_list(self, desk: Desk) -> None:
        lab = desk.lab(
            """
            resources:
              - {name: net, include: common/net.yml, loop: []}
              - {name: key, ec2_key: {key_name: "{{ net | map(attribute='vpc_id') | join('-') }}!"}}
            """
        )
        assert construct(lab.resources["key"], scope_of(lab, {})).wanted() == {"key_name": "!"}


def test_checks_bear_the_name_of_the_include(desk: Desk) -> None:
    lab = desk.lab("resources: [{name: net, include: common/net.yml}]\nchecks: [{name: own, tcp: 'a:1'}]")
    assert [check.name for check in lab.checks] == ["own", "net: the bastion answers", "net: docker works"]
    answers, docker = lab.checks[1:]
    assert docker.host == "net.bastion"
    known = {"net.bastion": {"public_ip": "203.0.113.9"}}
    assert fill(answers.target, scope_of(lab, known, answers.space)) == "203.0.113.9:22"


def test_files_are_found_beside_the_included_playbook(desk: Desk) -> None:
    desk.write("playbooks/web/web.yml", "resources: [{name: page, template: {src: page.j2, dest: /page}}]")
    desk.write("playbooks/web/page.j2", "inner {{ lab.name }}")
    desk.write("playbooks/page.j2", "outer")
    desk.write("templates/other.j2", "from templates")
    text = """
    resources:
      - {name: host, ec2_instance: {image: ubuntu}, ssh: {user: ubuntu}}
      - {name: page, host: host, template: {src: page.j2, dest: /outer}}
      - {name: web, host: host, include: web/web.yml}
    """
    lab = desk.lab(text)
    scope = scope_of(lab, {})
    texts = {name: construct(lab.resources[name], scope).src.text for name in ("page", "web.page")}  # type: ignore[attr-defined]
    assert texts == {"page": "outer", "web.page": "inner lab@sandbox"}
    desk.write("playbooks/web/web.yml", "resources: [{name: page, template: {src: other.j2, dest: /page}}]")
    lab = desk.lab(text)
    assert construct(lab.resources["web.page"], scope_of(lab, {})).src.text == "from templates"  # type: ignore[attr-defined]
    desk.write("secret.j2", "no")
    desk.write(
        "playbooks/web/web.yml", "resources: [{name: page, template: {src: ../../secret.j2, dest: /p}}]"
    )
    assert "lies outside the folders a playbook may read" in desk.wrong(text)[0]


def test_own_machines_serve_included_playbooks(desk: Desk) -> None:
    desk.write("inventory/own.yml", "target: ssh\nhosts: {web: 203.0.113.9}")
    desk.write("playbooks/cmd.yml", "resources: [{name: hello, command: {cmd: echo}}]")
    lab = desk.lab("resources: [{name: c, include: cmd.yml, host: web}]", inventory="own.yml")
    assert lab.resources["c.hello"].host == "web"
    text = "resources: [{name: net, include: common/net.yml}]"
    told = desk.wrong(text, inventory="own.yml")
    assert told[0].startswith("`ec2_vpc_net` needs a cloud, and the inventory says `target: ssh`")


def shapes(lab: Lab, prefix: str = "") -> dict[str, Any]:
    """By address without `prefix`, what is wanted and needed; what is not known yet by what it hangs on."""

    def own(address: str) -> str:
        assert address.startswith(prefix)
        return address[len(prefix) :]

    def known(value: Any) -> Any:
        if isinstance(value, Unknown):
            return sorted((own(ref.address), ref.output) for ref in value.refs)
        if isinstance(value, dict):
            return {key: known(item) for key, item in value.items()}
        return [known(item) for item in value] if isinstance(value, list) else value

    scope = scope_of(lab, {})
    return {
        own(address): (
            known(construct(declared, scope).wanted()),
            {(own(need.address), need.sort) for need in declared.needs},
            declared.host and own(declared.host),
            declared.ssh and declared.ssh.via and own(declared.ssh.via),
        )
        for address, declared in lab.resources.items()
    }


@pytest.mark.parametrize("given", [{}, {"network": "own", "private_egress": "nat_gateway"}], ids=str)
def test_a_whole_lab_is_the_same_when_included(
    given: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("playbooks", "templates", "inventory"):
        shutil.copytree(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    # Of the same name, so that names made of the lab's are the same.
    Path("playbooks/whole.yml").write_text(
        f"name: hw02\nresources: [{{name: all, include: hw02.yml, vars: {given}}}]"
    )

    def lab(playbook: str, variables: dict[str, str]) -> Lab:
        inventory = Path("inventory/sandbox.yml")
        [made] = load(Path(playbook), inventory, variables=variables, student=None, outside=World())
        return made

    alone, whole = lab("playbooks/hw02.yml", given), lab("playbooks/whole.yml", {})
    assert shapes(whole, "all.") == shapes(alone)
    assert [check.name for check in whole.checks] == [f"all: {check.name}" for check in alone.checks]
    assert whole.spaces["all"].outputs == alone.outputs
    assert whole.spaces["all"].sensitive == alone.sensitive_outputs
