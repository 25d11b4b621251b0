"""Labs that use other labs: what the ledger tells, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from engine import uses
from engine.change import Change, Entry, Plan
from engine.errors import Invalid, Locked
from engine.lab import Lab, Use, UsedLab
from engine.ledger import KeptOutputs
from engine.ledger.sqlite import SqliteLedger
from engine.outside import Offline, Online
from engine.refs import Unknown
from engine.templating import construct, fill, scope_of
from tests.fakes import Box, declare, lab_of
from tests.unit.language_stage import Desk, World

BASE = UsedLab(
    "base@sandbox",
    {"ip": "203.0.113.9", "nets": ["net-1", "net-2"], "late": Unknown()},
    sensitive=frozenset({"token"}),
    hosts=frozenset({"bastion", "net.jump"}),
    ask=lambda name: f"the {name} of base",
)
USER = """
uses: base
vars: {size: "{{ base.nets | length }}"}
resources:
  - {name: key, ec2_key: {key_name: "{{ base.ip }} {{ size }}"}}
  - name: host
    when: "{{ base.ip == '203.0.113.9' }}"
    ec2_instance: {image: ubuntu}
    ssh: {user: ubuntu, via: base.net.jump}
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    with closing(SqliteLedger(tmp_path / "labctl.db")) as ledger:
        yield ledger


def world(*labs: UsedLab, online: bool = True) -> World:
    made = World(online=online)
    made.labs = {lab.name: lab for lab in labs or (BASE,)}
    return made


class TestAPlaybook:
    def test_reads_the_outputs_of_another_lab(self, desk: Desk) -> None:
        lab = desk.lab(USER, world())
        assert construct(lab.resources["key"], scope_of(lab, {})).wanted() == {"key_name": "203.0.113.9 2"}
        assert lab.uses == (Use("base@sandbox", frozenset({"ip", "nets"}), frozenset({"net.jump"})),)

    def test_goes_through_its_hosts(self, desk: Desk) -> None:
        lab = desk.lab(USER, world())
        ssh = lab.resources["host"].ssh
        assert ssh is not None
        assert ssh.via == "base.net.jump"
        assert lab.resources["host"].needs == frozenset()
        assert lab.used_hosts["base.net.jump"] == ("base@sandbox", "net.jump")

    @pytest.mark.parametrize(
        "said",
        [
            "base",
            "base@sandbox",
            "[base]",
            "{base: base}",
            '{base: "{{ which }}"}',
            '{base: "b{{ lab.name[1:3] }}e"}',
        ],
    )
    def test_names_it_in_several_ways(self, desk: Desk, said: str) -> None:
        text = f"name: base2\nvars: {{which: base}}\nuses: {said}\noutputs: {{ip: '{{{{ base.ip }}}}'}}"
        lab = desk.lab(text.replace("[1:3]", "[1:3]"), world())
        assert fill(lab.outputs, scope_of(lab, {})) == {"ip": "203.0.113.9"}

    def test_that_is_included_uses_it_by_its_own_name(self, desk: Desk) -> None:
        desk.write("playbooks/inner.yml", USER)
        lab = desk.lab("uses: {b: base}\nresources: [{name: part, include: inner.yml}]", world())
        ssh = lab.resources["part.host"].ssh
        assert ssh is not None
        assert ssh.via == "part.base.net.jump"
        assert (
            lab.used_hosts["part.base.net.jump"]
            == lab.used_hosts["b.net.jump"]
            == ("base@sandbox", "net.jump")
        )
        assert lab.uses == (Use("base@sandbox", frozenset({"ip", "nets"}), frozenset({"net.jump"})),)

    def test_of_a_roster_uses_one_base(self, desk: Desk) -> None:
        desk.write("inventory/class.yml", "target: sandbox\nstudents: class.csv\nvars: {of: base@sandbox}")
        desk.write("inventory/class.csv", "name\nann\nbob\n")
        text = 'vars: {of: text}\nuses: {base: "{{ of }}"}\noutputs: {ip: "{{ base.ip }}"}'
        labs = desk.labs(text, world(), inventory="class.yml")
        assert [(lab.name, [use.lab for use in lab.uses]) for lab in labs] == [
            ("lab@class/ann", ["base@sandbox"]),
            ("lab@class/bob", ["base@sandbox"]),
        ]

    def test_can_be_checked_before_the_other_lab_is_there(self, desk: Desk) -> None:
        lab = desk.lab(
            USER.replace("    when: \"{{ base.ip == '203.0.113.9' }}\"\n", ""), World(online=False)
        )
        assert isinstance(construct(lab.resources["key"], scope_of(lab, {})).wanted()["key_name"], Unknown)
        assert lab.uses == ()

    def test_is_told_that_the_other_lab_is_missing(self, desk: Desk) -> None:
        assert desk.wrong(USER) == [
            "the lab `base@sandbox` was never applied here (ledger .labctl/labctl.db) | apply it first",
            "`when` hangs on something that is not known now | use other variables",
        ]

    def test_is_told_how_to_apply_a_lab_whose_playbook_is_there(self, desk: Desk) -> None:
        desk.write("playbooks/base.yml", "name: base")
        told = desk.wrong("uses: {a: base, b: base@fall/ann}")
        assert [line.partition(" | ")[2] for line in told] == [
            "apply it first: labctl apply playbooks/base.yml",
            "apply it first: labctl apply playbooks/base.yml -i fall --student ann",
        ]

    def test_masks_what_is_sensitive_there(self, desk: Desk) -> None:
        text = "uses: base\noutputs: {token: '{{ base.token }}', ip: '{{ base.ip }}'}"
        lab = desk.lab(text, world())
        assert lab.secrets == {"the token of base"}
        assert lab.sensitive_outputs == {"token"}

    def test_may_not_go_round_in_circles(self, desk: Desk) -> None:
        circular = UsedLab("base@sandbox", uses=frozenset({"lab@sandbox"}))
        told = desk.wrong("uses: base", world(circular))
        assert told[0].startswith("`base@sandbox` uses this lab, or uses one that does")

    def test_is_told_of_an_output_that_the_other_lab_never_came_to_tell(self, desk: Desk) -> None:
        text = "uses: base\nresources: [{name: k, ec2_key: {key_name: '{{ base.late }}'}}]"
        assert desk.wrong(text, world()) == [
            "`base@sandbox` does not know its output `late` yet | apply that lab first, all of it"
        ]


class TestTheLedger:
    def test_remembers_who_uses_what(self, ledger: SqliteLedger) -> None:
        first = Use("base@x", frozenset({"ip"}), frozenset({"bastion"}))
        ledger.use("a@x", [first, Use("other@x")])
        ledger.use("b@x", [Use("base@x")])
        assert ledger.users("base@x") == {"a@x": first, "b@x": Use("base@x")}
        assert ledger.uses("a@x") == [first, Use("other@x")]
        ledger.use("a@x", [])
        assert list(ledger.users("base@x")) == ["b@x"]

    def test_remembers_outputs(self, ledger: SqliteLedger) -> None:
        assert ledger.outputs("base@x") is None
        kept = KeptOutputs({"ip": "203.0.113.9", "nets": [1, {"a": None}]}, frozenset("u"), frozenset("s"))
        ledger.keep_outputs("base@x", kept)
        assert ledger.outputs("base@x") == kept
        ledger.keep_outputs("base@x", None)
        assert ledger.outputs("base@x") is None

    def test_tells_who_holds_a_lab(self, ledger: SqliteLedger) -> None:
        assert ledger.holder("base@x") is None
        with ledger.lock("base@x", "destroy"):
            holder = ledger.holder("base@x")
            assert holder is not None
            assert holder.command == "destroy"

    def test_nothing_secret_is_kept(self) -> None:
        lab = Lab(
            "base@x",
            "base-x",
            lab_of().target,
            {},
            secrets=frozenset({"abracadabra"}),
            sensitive_outputs=frozenset({"token"}),
        )
        told = {"ip": "1.2.3.4", "token": "t", "url": "http://abracadabra@host", "late": Unknown()}
        assert uses.to_keep(lab, told) == KeptOutputs(
            {"ip": "1.2.3.4"}, frozenset({"late"}), frozenset({"token", "url"})
        )

    def test_what_it_tells_of_a_lab(self, ledger: SqliteLedger) -> None:
        assert uses.used_lab(ledger, "base@x") is None
        ledger.record("base@x", Entry("jump", "box", "i-1", "t1", ssh={"user": "ubuntu"}))
        ledger.record("base@x", Entry("vpc", "box", "v-1", "t2"))
        ledger.keep_outputs("base@x", KeptOutputs({"ip": "1"}, frozenset({"late"}), frozenset({"token"})))
        ledger.use("base@x", [Use("lower@x")])
        ledger.use("lower@x", [Use("lowest@x")])
        told = uses.used_lab(ledger, "base@x", lambda _, name, output: f"{output} of {name}")
        assert told is not None
        assert told.outputs == {"ip": "1", "late": Unknown()}
        assert (told.hosts, told.uses) == ({"jump"}, {"lower@x", "lowest@x"})
        assert told.ask("token") == "token of base@x"

    def test_is_not_made_by_looking(self, tmp_path: Path) -> None:
        nowhere = tmp_path / "none.db"
        assert isinstance(Offline().used_lab(str(nowhere), "base@x"), Unknown)

        def access() -> None:
            raise AssertionError

        assert Online(access).used_lab(str(nowhere), "base@x") is None  # type: ignore[arg-type]
        assert not nowhere.exists()


def going(lab: Lab, **actions: str) -> Plan:
    changes = [Change(name, "box", action) for name, action in actions.items()]  # type: ignore[arg-type]
    return Plan(lab.name, tuple(changes))


class TestWhatIsUsed:
    def lab(self) -> Lab:
        made = lab_of(
            declare("net", Box, size=1), declare("host", Box, size=1), declare("other", Box, size=1)
        )
        return Lab(
            made.name,
            made.slug,
            made.target,
            made.resources,
            outputs={"net": "{{ net.id }}", "both": "text"},
        )

    def test_cannot_be_destroyed(self, ledger: SqliteLedger) -> None:
        lab = self.lab()
        ledger.use("a@x", [Use(lab.name)])
        ledger.use("b@x", [Use(lab.name)])
        with pytest.raises(Invalid) as caught:
            uses.refuse_while_used(ledger, lab, going(lab, net="delete", host="delete"), destroy=True)
        [problem] = caught.value.problems
        assert problem.what == f"{lab.name} is used by a@x and b@x"
        assert problem.remedy.splitlines() == [
            "destroy first what uses it:",
            "  labctl destroy a@x",
            "  labctl destroy b@x",
        ]

    def test_a_host_cannot_be_replaced(self, ledger: SqliteLedger) -> None:
        lab = self.lab()
        ledger.use("a@x", [Use(lab.name, frozenset(), frozenset({"host"}))])
        with pytest.raises(Invalid, match=r"host would be replaced, and is used by a@x \(the host host\)"):
            uses.refuse_while_used(ledger, lab, going(lab, host="replace"), destroy=False)
        uses.refuse_while_used(ledger, lab, going(lab, other="replace", host="update"), destroy=False)
        uses.refuse_while_used(ledger, lab, going(lab, other="delete", host="keep"), destroy=True)

    def test_nobody_minds_what_nobody_uses(self, ledger: SqliteLedger) -> None:
        lab = self.lab()
        uses.refuse_while_used(ledger, lab, going(lab, net="delete"), destroy=True)

    def test_is_noted_before_and_let_go_after(self, ledger: SqliteLedger) -> None:
        lab = Lab("a@x", "a-x", lab_of().target, {}, uses=(Use("new@x"),))
        ledger.use("a@x", [Use("old@x")])
        assert uses.begin(ledger, lab) == ["new@x"]
        assert [use.lab for use in ledger.uses("a@x")] == ["new@x", "old@x"]
        assert uses.end(ledger, lab, destroyed=False) == ["old@x"]
        assert [use.lab for use in ledger.uses("a@x")] == ["new@x"]
        assert uses.end(ledger, lab, destroyed=True) == ["new@x"]
        assert ledger.uses("a@x") == []

    def test_a_lab_that_is_being_destroyed_cannot_be_used(self, ledger: SqliteLedger) -> None:
        lab = Lab("a@x", "a-x", lab_of().target, {}, uses=(Use("base@x"),))
        with ledger.lock("base@x", "apply"):
            assert uses.begin(ledger, lab) == ["base@x"]
        uses.end(ledger, lab, destroyed=True)
        with ledger.lock("base@x", "destroy"), pytest.raises(Locked, match="is destroying base@x now"):
            uses.begin(ledger, lab)
        assert ledger.users("base@x") == {}
