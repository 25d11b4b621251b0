"""Filling templates in: what is known, what is not yet, what is refused."""

from __future__ import annotations

import time
from typing import Any

import pytest

from engine.errors import Invalid, Where
from engine.lab import Declared, Lab, Target
from engine.language.views import Environment
from engine.refs import Ref, Template, Unknown
from engine.resource import Resource, Values
from engine.templating import Filling, Scope, construct, fill, references, scope_of
from tests.unit.language_kinds import KINDS

HERE = Where("lab.yml", 1, 1)


def declared(address: str, kind: str, **fields: Any) -> Declared:
    return Declared(address=address, kind=KINDS[kind], fields=fields, where=HERE)


def scope(known: dict[str, Values] | None = None, /, **names: Any) -> Scope:
    resources = [
        declared("vpc", "ec2_vpc_net"),
        declared("bastion", "ec2_instance", image="ubuntu"),
        declared("worker[0]", "ec2_instance", image="ubuntu"),
        declared("worker[1]", "ec2_instance", image="ubuntu"),
        declared("desk[alice]", "ec2_instance", image="ubuntu"),
        declared("desk[bob]", "ec2_instance", image="ubuntu"),
    ]
    lab = Lab(
        name="lab@sandbox",
        slug="lab-sandbox",
        target=Target("sandbox"),
        resources={each.address: each for each in resources},
        names=names,
        skipped=frozenset({"nat"}),
    )
    return scope_of(lab, known or {})


def given(text: str, known: dict[str, Values] | None = None, /, **names: Any) -> Any:
    return fill(Template(text, HERE), scope(known, **names))


def refused(text: str, **names: Any) -> str:
    with pytest.raises(Invalid) as caught:
        given(text, **names)
    [problem] = caught.value.problems
    assert problem.where == HERE
    return f"{problem.what} | {problem.remedy}"


class TestWhatIsKnown:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("{{ a }}", 1),
            (" {{ a }}", " 1"),
            ("{{ a }}{{ a }}", "11"),
            ("x{{ a }}y", "x1y"),
            ("{{ row }}", [1, 2]),
            ("{{ row[1] }}", 2),
            ("{{ table.b }}", {"c": "d"}),
            ("{{ table['b'].c }}", "d"),
            ("{{ table.items }}", "a key, not the method"),
            ("{{ table | length }}", 2),
            ("{{ row | map('string') | list }}", ["1", "2"]),
            ("{{ row | map('string') }}", ["1", "2"]),
            ("{{ (1, 2) }}", [1, 2]),
            ("{{ range(3) }}", [0, 1, 2]),
            ("{{ a == 1 }}", True),
            ("{{ none }}", None),
            ("{{ 'yes' if a else 'no' }}", "yes"),
            ("{% if a %}yes{% endif %}", "yes"),
            ("{% for n in row %}{{ n }},{% endfor %}\n", "1,2,\n"),
            ("{% raw %}{{ a }}{% endraw %}", "{{ a }}"),
            ("line\n", "line\n"),
            ("{{ 'a b' | quote }} {{ 'x' | b64encode }} {{ table.b | to_json }}", '\'a b\' eA== {"c": "d"}'),
            ("{{ '/a/b' | basename }}{{ '/a/b' | dirname }}", "b/a"),
            ("{{ '%s-%d' | format('x', 3) }}", "x-3"),
            ("{{ dict(x=1) }}", {"x": 1}),
        ],
    )
    def test_is_filled_in(self, text: str, value: Any) -> None:
        table = {"b": {"c": "d"}, "items": "a key, not the method"}
        assert given(text, a=1, row=[1, 2], table=table) == value

    def test_at_any_depth_and_only_templates(self) -> None:
        value = {"a": [Template("{{ x }}"), {"b": Template("{{ x }}!")}], "c": "{{ x }}", "d": 3}
        assert fill(value, scope(x=7)) == {"a": [7, {"b": "7!"}], "c": "{{ x }}", "d": 3}

    def test_outputs_and_fields_of_resources(self) -> None:
        known: dict[str, Values] = {
            "vpc": {"id": "vpc-1", "cidr_block": None},
            "worker[1]": {"public_ip": "1.2.3.4"},
        }
        assert given("{{ vpc.id }}", known) == "vpc-1"
        assert given("{{ vpc.cidr_block }}", known) is None
        assert given("{{ worker[1].public_ip }}", known) == "1.2.3.4"

    def test_one_scope_serves_while_known_fills(self) -> None:
        known: dict[str, Values] = {}
        one = scope(known) if known else Scope(scope().lab, known)
        assert isinstance(fill(Template("{{ vpc.id }}"), one), Unknown)
        known["vpc"] = {"id": "vpc-1"}
        assert fill(Template("{{ vpc.id }}"), one) == "vpc-1"


class TestWhatIsNotKnownYet:
    def test_keeps_its_references_and_its_text(self) -> None:
        assert given("{{ vpc.id }}") == Unknown(frozenset({Ref("vpc", "id")}), "{{ vpc.id }}")
        text = "{{ bastion.public_ip }}:{{ port }}/{{ vpc.id }}"
        refs = frozenset({Ref("bastion", "public_ip"), Ref("vpc", "id")})
        assert given(text, port=80) == Unknown(refs, text.replace("{{ port }}", "80"))

    @pytest.mark.parametrize(
        "text", ["{{ port }}{{ bastion.id ~ vpc.id }}", "{{ port }}{% raw %}{{ a }}{% endraw %}{{ vpc.id }}"]
    )
    def test_keeps_the_whole_text_where_no_reference_stands_for_a_part(self, text: str) -> None:
        found = given(text, port=80)
        assert isinstance(found, Unknown)
        assert found.text == text

    def test_within_a_list_the_rest_is_known(self) -> None:
        assert given("{{ [vpc.id, 'x'] }}") == [Unknown(frozenset({Ref("vpc", "id")}), "{{ vpc.id }}"), "x"]
        found = given(
            "{{ worker | map(attribute='private_ip') | list }}", {"worker[0]": {"private_ip": "10.0.0.1"}}
        )
        assert found == [
            "10.0.0.1",
            Unknown(frozenset({Ref("worker[1]", "private_ip")}), "{{ worker[1].private_ip }}"),
        ]

    @pytest.mark.parametrize(
        "text",
        [
            "{{ vpc.id | upper }}",
            "{{ vpc.id ~ 'x' }}",
            "{{ vpc.id + 'x' }}",
            "{{ vpc.id == 'x' }}",
            "{{ vpc.id in ['x'] }}",
            "{{ vpc.id is string }}",
            "{{ not vpc.id }}",
            "{{ vpc.id | default('x') }}",
            "{{ vpc.id[0] }}",
            "{{ vpc.id.x.y }}",
            "{{ vpc.id | int }}",
            "{{ vpc.id | length }}",
            "{{ [vpc.id] | join }}",
            "{{ [vpc.id] | to_json | upper }}",
            "{{ 'a' if vpc.id else 'b' }}",
            "{{ {'x': vpc.id}.x | lower }}",
            "{{ 'abc'.replace(vpc.id, 'x') }}",
            "x{{ [vpc.id] }}",
            "{% if vpc.id %}a{% endif %}",
            "{% for letter in vpc.id %}a{% endfor %}",
            "{% set x = vpc.id %}{{ x }}",
        ],
    )
    def test_makes_whatever_looks_into_it_unknown(self, text: str) -> None:
        found = given(text)
        assert isinstance(found, Unknown)
        assert found.refs == {Ref("vpc", "id")}

    def test_is_defined_all_the_same(self) -> None:
        assert given("{{ vpc.id is defined }}") is True

    def test_an_unknown_variable_hangs_on_nothing(self) -> None:
        assert given("{{ my_ip }}", my_ip=Unknown()) == Unknown(frozenset(), "{{ my_ip }}")
        assert isinstance(given("x{{ my_ip }}", my_ip=Unknown()), Unknown)
        assert given("{{ row }}", row=["a", Unknown()])[0] == "a"

    def test_a_known_value_may_be_partly_unknown(self) -> None:
        hidden = Unknown(frozenset({Ref("bastion", "id")}))
        known: dict[str, Values] = {"vpc": {"cidr_block": ["a", hidden]}}
        assert given("{{ vpc.cidr_block[0] }}", known) == "a"
        assert given("{{ vpc.cidr_block[1] }}", known) == Unknown(hidden.refs, "{{ vpc.cidr_block[1] }}")

    def test_what_was_used_is_told(self) -> None:
        for text, used in [
            ("{{ vpc.id if true else bastion.id }}", {"vpc"}),
            ("{{ vpc.id if bastion.id else 1 }}", {"vpc", "bastion"}),
            ("{{ worker[1].id }}", {"worker[1]"}),
            ("{{ worker[n].id }}", {"worker[1]"}),
            ("{{ worker | map(attribute='id') | list }}", {"worker[0]", "worker[1]"}),
            ("{{ worker | length }}", set()),
            ("{{ desk.alice.id }}{{ desk['bob'].id }}", {"desk[alice]", "desk[bob]"}),
            ("{% if worker[0].id %}{{ desk.alice.id }}{% endif %}", {"worker[0]", "desk[alice]"}),
            ("{{ nat.id if false else vpc.id }}", {"vpc"}),
        ]:
            filling = Filling(scope(n=1))
            filling.of(Template(text, HERE))
            filling.check()
            assert {ref.address for ref in filling.touched} == used, text


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("{{ nmae }}", "there is no `nmae` | did you mean `name`?"),
            ("{{ vpc.idd }}", "`vpc` (ec2_vpc_net) has no `idd` | did you mean `id`?"),
            ("{{ vpc }}", "`vpc` is a resource, not a value | write `vpc.OUTPUT`"),
            ("x{{ vpc }}", "`vpc` is a resource, not a value | write `vpc.OUTPUT`"),
            ("{{ nat.id }}", "`nat` is skipped: its `when` is false | "),
            ("{{ nat.id ~ 'x' }}", "`nat` is skipped: its `when` is false | "),
            ("{{ worker[7].id }}", "there is no [7] in a list of 2 | "),
            ("{{ name.x }}", "`x` is not there | "),
            ("{{ 1 / 0 }}", "this cannot be evaluated: division by zero | "),
        ],
    )
    def test_in_words(self, text: str, words: str) -> None:
        assert refused(text, name="x") == words

    def test_all_at_once(self) -> None:
        with pytest.raises(Invalid) as caught:
            fill([Template("{{ a }}", HERE), Template("{{ b }}", HERE), Template("{{ a }}", HERE)], scope())
        assert len(caught.value.problems) == 2

    @pytest.mark.parametrize(
        "text",
        [
            "{{ ''.__class__.__mro__[1].__subclasses__() }}",
            "{{ x['__class__'] }}",
            "{{ x | attr('__class__') }}",
            "{{ '{0.__class__}'.format(x) }}",
            "{{ '{0.__class__.__mro__}'.format_map({'0': x}) }}",
            "{{ vpc._filling }}",
            "{{ vpc['_filling'].scope }}",
            "{{ worker._filling }}",
            "{{ desk._filling.scope }}",
            "{{ range.__init__.__globals__ }}",
            "{{ self._TemplateReference__context }}",
            "{{ row.append(1) }}",
            "{{ table.update({'a': 1}) }}",
            "{% set table.x = 1 %}",
            "{% include 'lab.yml' %}",
            "{% import 'lab.yml' as lab %}",
            "{% extends 'lab.yml' %}",
            "{{ lipsum() }}",
            "{{ cycler }}",
            "{{ joiner }}",
            "{{ row | random }}",
            "{{ namespace }}",
            "{{ range }}",
            "{{ 'x' * 99999999 }}",
            "{{ [1] * 99999999 }}",
            "{{ 9 ** 99999999 }}",
            "{{ range(99999999) | list }}",
            "{{ 'x'.center(99999999) }}",
            "{{ 'x' | center(99999999) }}",
            "{{ 'x' | indent(99999999) }}",
            "{{ '%99999999d' % 1 }}",
            "{{ '%*d' % (99999999, 1) }}",
            "{{ '%99999999d' | format(1) }}",
            "{{ '{:99999999}'.format(1) }}",
            "{{ '{:{n}}'.format(1, n=99999999) }}",
            "{{ 'x'.ljust(99999999) }}",
            "{{ 'x'.zfill(99999999) }}",
        ],
    )
    def test_what_could_harm(self, text: str) -> None:
        start = time.process_time()
        assert refused(text, x="x", row=[1], table={})
        assert time.process_time() - start < 2


class TestReferences:
    def test_as_written(self) -> None:
        value = {
            "a": Template("{{ vpc.id }}"),
            "b": [Template("{{ bastion['public_ip'] if x else worker[1].id }}")],
            "c": Template("{{ worker | map(attribute='id') | list }} {{ desk[item].id }} {{ other.thing }}"),
            "d": "{{ not.a.template }}",
        }
        assert references(value, {"vpc", "bastion", "worker", "desk"}) == {
            Ref("vpc", "id"),
            Ref("bastion", "public_ip"),
            Ref("worker[1]", "id"),
            Ref("worker"),
            Ref("desk"),
        }

    def test_names_that_a_template_sets_itself_are_its_own(self) -> None:
        text = "{% for vpc in row %}{{ vpc.id }}{% endfor %}{% set bastion = 1 %}{{ bastion }}"
        assert references(Template(text), {"vpc", "bastion"}) == frozenset()


class TestConstruct:
    def test_makes_the_resource(self) -> None:
        group = declared(
            "sg",
            "ec2_security_group",
            group_name="g",
            vpc_id=Template("{{ vpc.id }}"),
            description=Template("{{ none }}"),
        )
        made: Resource = construct(group, scope({"vpc": {"id": "vpc-1"}}))
        assert made.wanted() == {"group_name": "g", "vpc_id": "vpc-1"}

    def test_unknown_fields_stay(self) -> None:
        rules = [{"ports": 22, "group_id": Template("{{ vpc.id }}")}]
        group = declared(
            "sg", "ec2_security_group", group_name="g", vpc_id=Template("{{ vpc.id }}"), rules=rules
        )
        made = construct(group, scope())
        assert isinstance(made.vpc_id, Unknown)  # type: ignore[attr-defined]
        assert made.rules[0].ports == 22  # type: ignore[attr-defined]
        assert isinstance(made.rules[0].group_id, Unknown)  # type: ignore[attr-defined]

    def test_unknown_fields_pass_the_kinds_own_validators(self) -> None:
        group = declared(
            "sg", "ec2_security_group", group_name=Template("{{ vpc.id }}"), vpc_id=Template("{{ vpc.id }}")
        )
        assert isinstance(construct(group, scope()).group_name, Unknown)  # type: ignore[attr-defined]

    def test_tells_every_field_that_is_wrong_at_its_place(self) -> None:
        group = Declared(
            address="sg",
            kind=KINDS["ec2_security_group"],
            fields={
                "group_name": 5,
                "rules": [{"proto": "x"}],
                "vpc_id": Template("{{ vcp.id }}", Where("lab.yml", 9, 9)),
            },
            where=HERE,
            positions={("group_name",): Where("lab.yml", 2, 3), ("rules", 0): Where("lab.yml", 4, 3)},
        )
        with pytest.raises(Invalid) as caught:
            construct(group, scope())
        assert sorted(
            (problem.where.line, problem.what) for problem in caught.value.problems if problem.where
        ) == [
            (2, "`group_name` of ec2_security_group must be text, not the number 5"),
            (
                4,
                "`rules[0].proto` of ec2_security_group must be `tcp`, `udp`, `icmp` or `all`, "
                'not the text "x"',
            ),
            (9, "there is no `vcp`"),
        ]


def test_a_template_is_compiled_once() -> None:
    one = scope(x="abc")
    start = time.process_time()
    for _ in range(3000):
        fill(Template("{{ x | upper | replace('A', 'B') }}-{{ x }}"), one)
    assert time.process_time() - start < 3


BOMBS = [
    "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}",
    "{% for a in range(90000) %}{{ 'a' * 100000 }}{% endfor %}",
    "{% for a in range(90000) %}" + "static text " * 1000 + "{% endfor %}",
    "{{ ('a' * 1000000) | replace('a', 'b' * 100000) }}",
    "{{ ('a' * 1000000).replace('a', 'b' * 100000) }}",
    "{{ range(90000) | join('a' * 1000000) }}",
    "{{ ('a' * 1000000).join(range(90000) | map('string')) }}",
    "{{ ('\t' * 1000000).expandtabs(1000000) }}",
    "{{ ('a' * 1000000).translate({97: 'b' * 100000}) }}",
    "{% set n = namespace(x='aaaaaaaa') %}{% for a in range(40) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "{% macro f(n) %}{% if n > 1 %}{{ f(n - 1) }}{{ f(n - 2) }}{% endif %}{% endmacro %}{{ f(45) }}",
    "{{ ([[[0] * 1000] * 1000] * 1000) | to_json }}",
    "{{ ([[[0] * 1000] * 1000] * 1000) | string }}",
    "{{ [[[0] * 1000] * 1000] * 1000 }}",
    "a {{ [[[0] * 1000] * 1000] * 1000 }}",
    "{{ ([[0] * 100000] * 100000) | sum(start=[]) }}",
    "{{ ('a\n' * 400000) | indent(10000) }}",
    "{{ ('a ' * 400000) | wordwrap(1, wrapstring='b' * 100000) }}",
    "{{ 1 | to_json(1000000000) }}",
]


@pytest.mark.parametrize("text", BOMBS)
def test_a_template_cannot_fill_the_machine(text):
    # Its own work, which is the same however busy the machine is.
    began = time.process_time()
    with pytest.raises(Invalid, match="this is not allowed in a template"):
        fill(Template(text, HERE), scope())
    assert time.process_time() - began < 5


def test_large_but_honest_templates_are_filled():
    text = "{% for a in range(5000) %}line {{ a }} ~ {{ 'x' ~ a ~ 'y' }}\n{% endfor %}"
    filled = fill(Template(text, HERE), scope())
    assert filled.count("\n") == 5000
    assert filled.startswith("line 0 ~ x0y\n")
    loop = "{% for a in [1, 2] %}{{ loop.last }}{% else %}x{% endfor %}"
    assert fill(Template(loop, HERE), scope()) == "FalseTrue"


@pytest.mark.parametrize("text", ["{{ labctl_budget }}", "{{ 'a' | truncate(1, end='bbb') }}"])
def test_odd_uses_end_in_words(text):
    with pytest.raises(Invalid):
        fill(Template(text, HERE), scope())


@pytest.mark.parametrize(
    "text", ["{{ env }}", "x{{ env }}", "{{ env | list }}", "{{ env | dictsort }}", "{{ env.items() }}"]
)
def test_the_environment_as_a_whole_cannot_be_had(text):
    names = {"env": Environment(lambda: {"AWS_SECRET_ACCESS_KEY": "hunter-two", "HOME": "/root"})}
    with pytest.raises(Invalid) as caught:
        fill(Template(text, HERE), scope(**names))
    assert "hunter-two" not in str(caught.value)
    assert fill(Template("{{ env.HOME }} {{ env['HOME'] }}", HERE), scope(**names)) == "/root /root"
    assert fill(Template("{{ env.NOPE | default('x') }}", HERE), scope(**names)) == "x"
