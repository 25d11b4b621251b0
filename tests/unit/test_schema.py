"""The JSON Schema that editors use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.kinds import kinds
from engine.language.document import content, read
from engine.language.schema import schema
from engine.refs import Template
from tests.unit.language_kinds import KINDS

jsonschema = pytest.importorskip("jsonschema")
ROOT = Path(__file__).parent.parent.parent


def plain(value: Any) -> Any:
    if isinstance(value, Template):
        return value.text
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def problems(playbook: Any, of: Any) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(of).iter_errors(playbook)]


def test_it_is_a_schema_that_any_program_can_read() -> None:
    made = schema(kinds())
    jsonschema.Draft202012Validator.check_schema(made)
    assert json.loads(json.dumps(made)) == made
    assert made["$defs"]["ec2_security_group"]["description"]


@pytest.mark.parametrize("path", sorted((ROOT / "playbooks").rglob("*.yml")), ids=lambda path: path.stem)
def test_the_shipped_playbooks_fit(path: Path) -> None:
    node = read(path)
    assert node is not None
    assert problems(plain(content(node)), schema(kinds())) == []


def test_templates_may_stand_wherever_a_value_may() -> None:
    text = """
        vars: {a: 1, b: {type: secret, from: {env: B}}}
        resources:
          - name: host
            ec2_instance: {image: "{{ a }}", volume_size: "{{ a }}", security_groups: ["{{ a }}"]}
          - name: sg
            ec2_security_group:
              {group_name: g, vpc_id: v, rules: ["{{ a }}", {proto: "{{ a }}", ports: "{{ a }}"}]}
          - {name: address, ec2_eip: }
          - when: "{{ a }}"
            block:
              - {name: web, host: host, docker_container: {name: web, image: x, restart_policy: "{{ a }}"}}
        checks:
          - {name: x, tcp: "x:1"}
        """
    assert problems(yaml.safe_load(text), schema(KINDS)) == []


@pytest.mark.parametrize(
    "text",
    [
        "resources: {}",
        "resources: [{name: x}]",
        "resources: [{name: x, ec2_eip: {}, ec2_vpc_net: {}}]",
        "resources: [{name: x-y, ec2_eip: {}}]",
        "resources: [{name: x, ec2_eip: {instance: x}}]",
        "resources: [{name: x, ec2_instance: {}}]",
        "resources: [{name: x, ec2_instance: {image: x, volume_size: big}}]",
        "resources: [{name: x, ec2_eip: {}, state: present}]",
        "checks: [{name: x}]",
        "resource: []",
    ],
)
def test_mistakes_do_not_fit(text: str) -> None:
    assert problems(yaml.safe_load(text), schema(KINDS))
