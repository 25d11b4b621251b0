"""Playbooks and inventories as they should be: what labs come of them."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest

from engine.lab import Check, Need, Ssh
from engine.load import load
from engine.refs import Template, Unknown
from engine.templating import construct, fill, scope_of
from tests.unit.language_stage import Desk, World

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path)


NET = """
name: net
resources:
  - name: vpc
    ec2_vpc_net: {}
  - name: key
    ec2_key: {key_name: lab, private_key_file: lab.pem}
  - name: bastion
    ec2_instance: {image: ubuntu-22.04, key_name: "{{ key.key_name }}"}
    ssh: {user: ubuntu, key: "{{ key.private_key_file }}"}
"""


class TestTheLab:
    def test_is_named_after_playbook_and_inventory(self, desk: Desk) -> None:
        lab = desk.lab(NET)
        assert (lab.name, lab.slug, lab.student) == ("net@sandbox", "net-sandbox", None)
        assert lab.tags == {"labctl:lab": "net@sandbox"}
        assert lab.ledger == str(desk.folder / ".labctl/labctl.db")
        assert lab.lock_file == Path("inventory/sandbox.lock.yml")
        assert lab.playbook == Path("playbooks/lab.yml")

    def test_takes_the_files_name_where_the_playbook_has_none(self, desk: Desk) -> None:
        assert desk.lab("resources: []").name == "lab@sandbox"

    def test_long_names_make_slugs_that_can_be_told_apart(self, desk: Desk) -> None:
        first = desk.lab(f"name: {'a' * 40}").slug
        second = desk.lab(f"name: {'a' * 39}b").slug
        assert len(first) <= 40
        assert first != second

    def test_has_what_the_inventory_says(self, desk: Desk) -> None:
        desk.write(
            "inventory/fall.yml",
            """
            target: aws
            aws: {region: eu-central-1, profile: w251, account: "123456789012", endpoint_url: http://localhost:1}
            ssh: {proxy: "localhost:1080"}
            ledger: ../ledgers/fall.db
            expires: 2026-12-18
            budget: {per_lab: 40.50 USD}
            tags: {course: w251}
            """,
        )
        lab = desk.lab(NET, inventory="fall.yml")
        assert (lab.target.sort, lab.target.region, lab.target.profile) == ("aws", "eu-central-1", "w251")
        assert (lab.target.account, lab.target.endpoint_url) == ("123456789012", "http://localhost:1")
        assert lab.target.ssh_proxy == "localhost:1080"
        assert Path(lab.ledger).resolve() == (desk.folder / "ledgers/fall.db").resolve()
        assert (lab.expires, lab.budget) == (date(2026, 12, 18), 40.5)
        assert lab.tags == {"course": "w251", "labctl:lab": "net@fall", "labctl:expires": "2026-12-18"}

    def test_settings_of_the_sandbox_go_through_as_they_are(self, desk: Desk) -> None:
        desk.write("inventory/fast.yml", "target: sandbox\nsandbox: {boot_seconds: 0.1, images: [{name: x}]}")
        assert desk.lab(NET, inventory="fast.yml").target.sandbox == {
            "boot_seconds": 0.1,
            "images": [{"name": "x"}],
        }

    def test_without_a_playbook_is_empty(self, desk: Desk) -> None:
        [lab] = load(None, Path("inventory/sandbox.yml"), variables={}, student=None, outside=World())
        assert (lab.name, dict(lab.resources), lab.playbook) == ("sandbox", {}, None)


class TestNeeds:
    def test_come_from_references_hosts_and_keywords(self, desk: Desk) -> None:
        lab = desk.lab(
            NET
            + """
  - name: private
    ec2_instance: {image: ubuntu-22.04}
    ssh: {user: ubuntu, key: "{{ key.private_key_file }}", via: bastion, forward_agent: true}
  - host: private
    depends_on: [vpc]
    block:
      - name: hello
        command: {cmd: echo hello}
        depends_on: key
"""
        )
        needs = {address: declared.needs for address, declared in lab.resources.items()}
        assert needs["vpc"] == frozenset()
        assert needs["bastion"] == {Need("key", "uses")}
        # The key's file is for logging in: what lives on the host waits for it, not the host.
        assert needs["private"] == {Need("bastion", "after")}
        assert needs["hello"] == {Need("private", "lives_on"), Need("vpc", "after"), Need("key", "after")}
        assert lab.resources["private"].ssh == Ssh(
            user="ubuntu",
            key=Template("{{ key.private_key_file }}", lab.resources["private"].ssh.key.where),
            via="bastion",
            forward_agent=True,
        )

    def test_an_address_of_its_own_is_needed_by_what_logs_in_not_by_the_host(self, desk: Desk) -> None:
        lab = desk.lab(
            """
            resources:
              - name: host
                ec2_instance: {image: ubuntu}
                ssh: {user: ubuntu, host: "{{ address.public_ip }}"}
              - name: address
                ec2_eip: {instance_id: "{{ host.id }}"}
              - {name: hello, host: host, command: {cmd: echo}}
            """
        )
        assert lab.resources["host"].needs == frozenset()
        assert lab.resources["hello"].needs == {Need("host", "lives_on"), Need("address", "after")}

    def test_a_branch_not_taken_is_not_needed(self, desk: Desk) -> None:
        playbook = """
            vars: {own: false}
            resources:
              - {name: vpc, when: "{{ own }}", ec2_vpc_net: {}}
              - {name: other, ec2_vpc_net: {}}
              - name: key
                ec2_key: {key_name: "{{ vpc.id if own else other.id }}"}
              - name: text
                ec2_key: {key_name: "x-{{ vpc.id if own else 'none' }}"}
            """
        lab = desk.lab(playbook)
        assert lab.skipped == {"vpc"}
        assert lab.resources["key"].needs == {Need("other", "uses")}
        assert lab.resources["text"].needs == frozenset()
        lab = desk.lab(playbook, variables={"own": "yes"})
        assert lab.resources["key"].needs == {Need("vpc", "uses")}

    def test_where_evaluation_cannot_tell_every_branch_is_needed(self, desk: Desk) -> None:
        lab = desk.lab(
            """
            resources:
              - {name: a, ec2_eip: {}}
              - {name: b, ec2_eip: {}}
              - {name: c, ec2_eip: {}}
              - name: key
                ec2_key: {key_name: "{{ b.id if a.public_ip == 'x' else c.id }}"}
            """
        )
        assert {need.address for need in lab.resources["key"].needs} == {"a", "b", "c"}

    def test_what_a_template_file_uses_is_needed(self, desk: Desk) -> None:
        desk.write("templates/page.j2", "{% for n in range(2) %}{{ vpc.id }}{% endfor %}\n")
        lab = desk.lab(NET + "  - {name: page, host: bastion, template: {src: page.j2, dest: /page}}\n")
        assert Need("vpc", "uses") in lab.resources["page"].needs
        page = construct(lab.resources["page"], scope_of(lab, {"vpc": {"id": "vpc-1"}}))
        assert page.src.text == "vpc-1vpc-1\n"  # type: ignore[attr-defined]
        page = construct(lab.resources["page"], scope_of(lab, {}))
        assert isinstance(page.src.text, Unknown)  # type: ignore[attr-defined]


class TestLoops:
    def test_over_a_list_a_number_and_a_mapping(self, desk: Desk) -> None:
        lab = desk.lab(
            """
            vars: {people: {alice: t3.small, bob: t3.large}}
            resources:
              - name: a
                loop: [x, y]
                ec2_key: {key_name: "{{ item }}-{{ loop_index }}"}
              - name: b
                loop: 2
                ec2_key: {key_name: "b{{ item }}"}
              - name: c
                loop: "{{ people }}"
                ec2_instance: {image: ubuntu, instance_type: "{{ item }}", key_name: "{{ loop_index }}"}
            outputs:
              first: "{{ a[0].key_name }}"
              last: "{{ a[-1].key_name }}"
              names: "{{ a | map(attribute='key_name') | list }}"
              types: "{{ c | map(attribute='instance_type') | join(',') }}"
              alice: "{{ c['alice'].key_name }} {{ c.alice.instance_type }}"
              keys: "{{ c.keys() | list }}"
              many: "{{ c | length }} {{ 'alice' in c }}"
            """
        )
        assert list(lab.resources) == ["a[0]", "a[1]", "b[0]", "b[1]", "c[alice]", "c[bob]"]
        known = {
            address: dict(construct(each, scope_of(lab, {})).wanted())
            for address, each in lab.resources.items()
        }
        assert [known[address].get("key_name") for address in known] == [
            "x-0",
            "y-1",
            "b0",
            "b1",
            "alice",
            "bob",
        ]
        assert fill(lab.outputs, scope_of(lab, known)) == {
            "first": "x-0",
            "last": "y-1",
            "names": ["x-0", "y-1"],
            "types": "t3.small,t3.large",
            "alice": "alice t3.small",
            "keys": ["alice", "bob"],
            "many": "2 True",
        }

    def test_need_only_the_members_they_use(self, desk: Desk) -> None:
        lab = desk.lab(
            """
            resources:
              - {name: host, loop: 3, ec2_instance: {image: ubuntu}, ssh: {user: ubuntu}}
              - name: address
                loop: 3
                ec2_eip: {instance_id: "{{ host[loop_index].id }}"}
              - {name: hello, loop: 3, host: "host[{{ item }}]", command: {cmd: echo}}
              - {name: all, ec2_key: {key_name: "{{ host | map(attribute='id') | join }}"}}
              - {name: later, ec2_key: {key_name: k}, depends_on: [host]}
            """
        )
        assert lab.resources["address[1]"].needs == {Need("host[1]", "uses")}
        assert lab.resources["hello[2]"].needs == {Need("host[2]", "lives_on")}
        assert len(lab.resources["all"].needs) == 3
        assert lab.resources["later"].needs == {Need(f"host[{n}]", "after") for n in range(3)}

    def test_when_is_asked_for_each_turn(self, desk: Desk) -> None:
        lab = desk.lab(
            """
            resources:
              - {name: a, loop: [1, 2, 3], when: "{{ item != 2 }}", ec2_key: {key_name: "k{{ item }}"}}
              - {name: b, loop: [], ec2_key: {key_name: k}}
            outputs:
              third: "{{ a[2].key_name }}"
              many: "{{ a | length }} and {{ b | length }}"
              names: "{{ b | map(attribute='key_name') | list }}"
            """
        )
        assert list(lab.resources) == ["a[0]", "a[2]"]
        assert lab.skipped == {"a[1]"}
        assert fill(lab.outputs, scope_of(lab, {"a[2]": {"key_name": "k3"}})) == {
            "third": "k3",
            "many": "2 and 0",
            "names": [],
        }


class TestBlocks:
    def test_share_keywords(self, desk: Desk) -> None:
        lab = desk.lab(
            """
            vars: {on: true}
            resources:
              - {name: host, ec2_instance: {image: ubuntu}, ssh: {user: ubuntu}}
              - {name: vpc, ec2_vpc_net: {}}
              - host: host
                when: "{{ on }}"
                depends_on: [vpc]
                tags: {team: blue, layer: "{{ lab.slug }}"}
                timeout: 10m
                no_log: true
                protect: true
                block:
                  - {name: a, command: {cmd: echo}, tags: {team: red}, timeout: 30, no_log: false}
                  - when: "{{ not on }}"
                    block:
                      - {name: b, command: {cmd: echo}}
                  - {name: c, command: {cmd: echo}, depends_on: a, retain: yes, ignore_changes: [cmd]}
            """
        )
        a, c = lab.resources["a"], lab.resources["c"]
        assert lab.skipped == {"b"}
        assert (a.tags, a.timeout, a.no_log, a.protect) == (
            {"team": "red", "layer": "lab-sandbox"},
            30.0,
            False,
            True,
        )
        assert (c.timeout, c.no_log, c.retain, c.ignore_changes) == (600.0, True, True, frozenset({"cmd"}))
        assert {need.address for need in c.needs} == {"host", "vpc", "a"}

    def test_when_may_leave_the_braces_out(self, desk: Desk) -> None:
        lab = desk.lab(
            """
            vars: {mode: fast}
            resources:
              - {name: a, when: "mode == 'fast'", ec2_eip: {}}
              - {name: b, when: "mode == 'slow'", ec2_eip: {}}
              - {name: c, when: false, ec2_eip: {}}
            """
        )
        assert list(lab.resources) == ["a"]
        assert lab.skipped == {"b", "c"}

    def test_depends_on_something_skipped_is_no_need(self, desk: Desk) -> None:
        lab = desk.lab(
            """
            resources:
              - {name: a, when: false, ec2_eip: {}}
              - {name: b, depends_on: "{{ ['a'] if true else [] }}", ec2_eip: {}}
            """
        )
        assert lab.resources["b"].needs == frozenset()

    def test_skipped_things_are_not_defined(self, desk: Desk) -> None:
        lab = desk.lab(
            """
            resources:
              - {name: a, when: false, ec2_eip: {}}
            outputs:
              there: "{{ a is defined }}"
              address: "{{ a.public_ip | default('none') }}"
            """
        )
        assert fill(lab.outputs, scope_of(lab, {})) == {"there": False, "address": "none"}


class TestVariables:
    PLAYBOOK = """
        vars:
          size: {type: int, default: 1, min: 1, max: 9}
          names: [a]
          both: "{{ size + 1 }}"
          net: {type: cidr, default: 10.0.0.0/16}
          door: {type: port, default: 22}
          on: false
          ratio: {type: float, default: 1}
          mode: {choices: [slow, fast], default: slow}
          opts: {type: dict, default: {a: 1}}
          plain: {a: 1, b: [2]}
          text: {type: string}
        """

    def names(self, desk: Desk, world: World | None = None, **given: object) -> dict[str, object]:
        lab = desk.lab(self.PLAYBOOK, world, **given)
        return {name: lab.names[name] for name in lab.names if name not in ("lab", "env", "my_ip")}

    def test_the_command_line_beats_roster_inventory_and_playbook(self, desk: Desk) -> None:
        desk.write(
            "inventory/class.yml",
            "target: sandbox\nvars: {size: 2, text: i, on: true}\nstudents: class.csv\n",
        )
        desk.write("inventory/class.csv", "name,size,mode\nalice,3,fast\nbob,,\n")
        alice = self.names(desk, inventory="class.yml", student="alice", variables={"mode": "slow"})
        bob = self.names(desk, inventory="class.yml", student="bob")
        assert (alice["size"], alice["mode"], alice["text"], alice["on"]) == (3, "slow", "i", True)
        assert (bob["size"], bob["mode"]) == (2, "slow")

    def test_texts_become_the_type(self, desk: Desk) -> None:
        given = {
            "size": "7",
            "names": "a, b",
            "net": "192.0.2.1",
            "door": "8080",
            "on": "yes",
            "ratio": "0.5",
            "mode": "fast",
            "opts": "{b: [1, x]}",
            "text": "{{ not a template }}",
        }
        assert self.names(desk, variables=given) == {
            "size": 7,
            "names": ["a", "b"],
            "both": 8,
            "net": "192.0.2.1/32",
            "door": 8080,
            "on": True,
            "ratio": 0.5,
            "mode": "fast",
            "opts": {"b": [1, "x"]},
            "plain": {"a": 1, "b": [2]},
            "text": "{{ not a template }}",
        }

    def test_a_missing_one_names_file_and_line_to_set_it_in(self, desk: Desk) -> None:
        desk.write("inventory/some.yml", "target: sandbox\nvars:\n  size: 2\n")
        assert desk.wrong(self.PLAYBOOK, inventory="some.yml") == [
            "the variable `text` has no value | "
            "set `text` under `vars` in inventory/some.yml:2, or with -e text=…"
        ]

    def test_unknown_ones_on_the_command_line(self, desk: Desk) -> None:
        given = {"text": "x", "sise": "3"}
        assert desk.wrong(self.PLAYBOOK, variables=given) == [
            "-e sise=…: the playbook has no variable `sise` | did you mean `size`?"
        ]

    def test_wrong_ones_on_the_command_line(self, desk: Desk) -> None:
        given = {"text": "x", "size": "10", "opts": "[1"}
        assert desk.wrong(self.PLAYBOOK, variables=given) == [
            "the variable `opts` cannot be read: a list or mapping in brackets is not closed (-e) | ",
            "the variable `size` must be at most 9, not 10 (-e) | ",
        ]

    def test_the_callers_address_is_asked_only_when_used(self, desk: Desk) -> None:
        world = World()
        desk.lab("vars: {a: 1}\noutputs: {a: '{{ a }}'}", world)
        assert world.asked == []
        lab = desk.lab("vars: {from: {type: cidr, default: '{{ my_ip }}'}}", world)
        assert lab.names["from"] == "203.0.113.7/32"
        assert world.asked == ["my_ip"]

    def test_without_a_network_the_callers_address_is_unknown(self, desk: Desk) -> None:
        playbook = """
            vars: {ssh_from: {type: cidr, default: "{{ my_ip }}"}}
            resources:
              - name: sg
                ec2_security_group:
                  {group_name: g, vpc_id: v, rules: [{ports: 22, cidr_ip: "{{ ssh_from }}"}]}
            """
        lab = desk.lab(playbook, World(online=False))
        group = construct(lab.resources["sg"], scope_of(lab, {}))
        assert isinstance(group.rules[0].cidr_ip, Unknown)  # type: ignore[attr-defined]

    def test_about_the_lab(self, desk: Desk) -> None:
        desk.write("inventory/class.yml", "target: sandbox\nstudents: class.csv\nexpires: 2026-12-18\n")
        desk.write("inventory/class.csv", "name\nalice\n")
        lab = desk.lab(
            """
            name: net
            outputs: {a: "{{ lab.name }} {{ lab.slug }} {{ lab.student }} {{ lab.expires }} {{ env.WHO }}"}
            """,
            World({"WHO": "me"}),
            inventory="class.yml",
        )
        assert fill(lab.outputs, scope_of(lab, {})) == {
            "a": "net@class/alice net-class-alice alice 2026-12-18 me"
        }


class TestSecrets:
    PLAYBOOK = """
        vars:
          token: {type: secret, from: {env: TOKEN}}
        resources:
          - {name: host, ec2_instance: {image: ubuntu, user_data: "token={{ token }}"}}
        outputs:
          token: "{{ token }}"
          other: "{{ host.public_ip }}"
        """

    def test_come_from_the_environment(self, desk: Desk) -> None:
        lab = desk.lab(self.PLAYBOOK, World({"TOKEN": "s3cr3t"}))
        assert lab.secrets == {"s3cr3t"}
        assert lab.sensitive_outputs == {"token"}
        assert construct(lab.resources["host"], scope_of(lab, {})).user_data == "token=s3cr3t"  # type: ignore[attr-defined]

    def test_inventory_and_command_line_name_another_source(self, desk: Desk) -> None:
        desk.write("inventory/a.yml", "target: sandbox\nvars: {token: {ssm: '/labs/{{ lab.slug }}/token'}}\n")
        desk.write("inventory/b.yml", "target: sandbox\nvars: {token: {from: {file: token.txt}}}\n")
        desk.write("inventory/token.txt", "from a file\n")
        world = World()
        assert desk.lab(self.PLAYBOOK, world, inventory="a.yml").secrets == {"value of /labs/lab-a/token"}
        assert world.asked == ["ssm:/labs/lab-a/token"]
        assert desk.lab(self.PLAYBOOK, world, inventory="b.yml").secrets == {"from a file"}
        given = {"token": "secretsmanager:x"}
        assert desk.lab(self.PLAYBOOK, world, variables=given).secrets == {"value of x"}

    def test_on_the_command_line_in_plain_text_are_refused(self, desk: Desk) -> None:
        assert desk.wrong(self.PLAYBOOK, variables={"token": "hunter2"}) == [
            "the secret `token` is given in plain text | "
            "write env:NAME, file:PATH, ssm:NAME or secretsmanager:NAME"
        ]

    def test_not_known_without_a_network(self, desk: Desk) -> None:
        lab = desk.lab(self.PLAYBOOK, World(online=False), variables={"token": "ssm:x"})
        assert lab.secrets == frozenset()
        assert isinstance(lab.names["token"], Unknown)

    def test_do_not_show_in_problems(self, desk: Desk) -> None:
        playbook = """
            vars:
              token: {type: secret, from: {env: TOKEN}}
              number: {type: int, default: "{{ token }}"}
            resources:
              - {name: a, when: "{{ token }}", ec2_eip: {}}
              - {name: b, timeout: "{{ token }}", ec2_eip: {}}
              - name: host
                ec2_instance: {image: ubuntu, volume_size: "{{ token }}", instance_type: ["{{ token }}"]}
            """
        told = desk.wrong(playbook, World({"TOKEN": "s3cr3t"}))
        assert len(told) == 5
        assert "s3cr3t" not in "\n".join(told)

    def test_outputs_that_tell_something_secret_are_sensitive(self, desk: Desk) -> None:
        lab = desk.lab(
            """
            resources:
              - {name: host, ec2_instance: {image: ubuntu}, ssh: {user: ubuntu}}
              - {name: a, host: host, command: {cmd: echo}}
              - {name: b, host: host, no_log: true, command: {cmd: echo}}
            outputs:
              told: "{{ a.token }}"
              printed: "{{ b.stdout }}"
              said: {value: "{{ a.stdout }}", sensitive: true}
              data: "{{ host.user_data }}"
              plain: "{{ a.stdout }}"
            """
        )
        assert lab.sensitive_outputs == {"told", "printed", "said", "data"}


class TestRosters:
    def test_make_one_lab_a_student(self, desk: Desk) -> None:
        desk.write("inventory/class.yml", "target: sandbox\nstudents: class.csv\n")
        desk.write("inventory/class.csv", "\ufeffname, size\r\nalice, 3\r\n\r\nbob.b-1, 4\r\n")
        labs = desk.labs("name: net\nvars: {size: 1}", inventory="class.yml")
        assert [(lab.name, lab.slug, lab.student, lab.names["size"]) for lab in labs] == [
            ("net@class/alice", "net-class-alice", "alice", 3),
            ("net@class/bob.b-1", "net-class-bob-b-1", "bob.b-1", 4),
        ]
        [only] = desk.labs("name: net\nvars: {size: 1}", inventory="class.yml", student="bob.b-1")
        assert only == labs[1] or only.name == labs[1].name

    def test_students_that_are_not_there(self, desk: Desk) -> None:
        desk.write("inventory/class.yml", "target: sandbox\nstudents: class.csv\n")
        desk.write("inventory/class.csv", "name\nalice\n")
        assert desk.wrong("name: net", inventory="class.yml", student="alcie") == [
            "--student alcie: there is no such student in `inventory/class.csv` | did you mean `alice`?"
        ]
        assert desk.wrong("name: net", student="alice") == [
            "--student alice: the inventory `inventory/sandbox.yml` has no roster | "
            "write `students: FILE.csv` in it, or leave --student out"
        ]


class TestChecks:
    def test_of_each_sort(self, desk: Desk) -> None:
        lab = desk.lab(
            NET
            + """
vars: {port: 8003, on: false}
checks:
  - name: site
    http: "http://{{ bastion.public_ip }}:{{ port }}/"
    status: 200
    contains: "{{ lab.name }}"
    timeout: 1m
  - {name: closed, tcp: "{{ bastion.private_ip }}:22", expect: unreachable}
  - {name: docker, host: bastion, command: docker ps}
  - {name: never, when: "{{ on }}", tcp: "x:1"}
"""
        )
        site, closed, docker = lab.checks
        assert isinstance(site, Check)
        assert (site.sort, site.status, site.timeout, site.where.line) == ("http", 200, 60.0, 14)  # type: ignore[union-attr]
        assert isinstance(site.target, Template)
        assert (closed.sort, closed.expect, closed.timeout) == ("tcp", "unreachable", 10.0)
        assert (docker.sort, docker.host, docker.target) == ("command", "bastion", "docker ps")


class TestPlaces:
    def test_fields_know_where_they_stand(self, desk: Desk) -> None:
        lab = desk.lab(NET)
        bastion = lab.resources["bastion"]
        assert str(bastion.where) == "playbooks/lab.yml:8:5"
        assert str(bastion.positions[()]) == "playbooks/lab.yml:9:5"
        assert str(bastion.positions["image",]) == "playbooks/lab.yml:9:20"
        assert bastion.fields["key_name"] == Template("{{ key.key_name }}", bastion.fields["key_name"].where)

    def test_unreadable_files_are_problems(self, desk: Desk) -> None:
        assert desk.wrong("name: x", inventory="nowhere.yml") == ["cannot be read: there is no such file | "]


class TestTheWhole:
    def test_hw02_loads_with_every_inventory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(ROOT)
        for inventory in ("sandbox", "aws", "fall2026"):
            labs = load(
                Path("playbooks/hw02.yml"),
                Path(f"inventory/{inventory}.yml"),
                variables={},
                student=None,
                outside=World(online=False),
            )
            assert len(labs) == (3 if inventory == "fall2026" else 1)
            for egress in ("bastion", "nat_gateway", "none"):
                [lab, *_] = load(
                    Path("playbooks/hw02.yml"),
                    Path(f"inventory/{inventory}.yml"),
                    variables={"private_egress": egress},
                    student=None,
                    outside=World(),
                )
                assert ("nat" in lab.resources) == (egress == "nat_gateway")
                assert ("private_docker" in lab.resources) == (egress != "none")

    def test_loading_imports_no_client_of_the_world(self) -> None:
        program = (
            "import sys, engine.load, engine.kinds; engine.kinds.kinds();"
            "print([m for m in ('boto3', 'botocore', 'paramiko', 'moto', 'networkx') if m in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
        )
        assert done.stdout.strip() == "[]"

    def test_a_thousand_resources_take_seconds(self, desk: Desk) -> None:
        lines = ["resources:", "  - {name: vpc, ec2_vpc_net: {}}"]
        for number in range(500):
            lines.append(f"  - {{name: sg{number}, ec2_security_group: {{group_name: 'g{number}',")
            lines.append(
                f"      vpc_id: '{{{{ vpc.id }}}}', description: 'x{{{{ vpc.id | upper }}}}{number}'}}}}"
            )
        lines += ["  - name: many", "    loop: 500", "    ec2_key: {key_name: 'k{{ item }}{{ sg1.id }}'}"]
        start = time.process_time()
        assert len(desk.lab("\n".join(lines)).resources) == 1001
        assert time.process_time() - start < 15
