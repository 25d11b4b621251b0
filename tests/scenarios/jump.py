"""A lab of a bastion and a host behind it, reached through it."""

from __future__ import annotations

from typing import Final

BOOK: Final = "jump.yml"
_TEXT: Final = """\
name: jump
vars: {forward: true}
resources:
  - name: vpc
    ec2_vpc_net: {default: true}
  - name: inside
    ec2_vpc_subnet: {vpc_id: "{{ vpc.id }}", cidr: 172.31.200.0/24}
  - name: front
    ec2_security_group:
      group_name: front
      description: from outside
      vpc_id: "{{ vpc.id }}"
      rules: [{proto: tcp, ports: 22, cidr_ip: "{{ my_ip }}"}]
  - name: back
    ec2_security_group:
      group_name: back
      description: from the bastion
      vpc_id: "{{ vpc.id }}"
      rules: [{proto: tcp, ports: 22, group_id: "{{ front.id }}"}]
  - name: key
    ec2_key: {key_name: jump, private_key_file: ~/.ssh/jump.pem}
  - name: bastion
    ec2_instance:
      image: ubuntu-22.04
      instance_type: t3.micro
      key_name: "{{ key.key_name }}"
      security_groups: ["{{ front.id }}"]
      assign_public_ip: true
    ssh: {user: ubuntu, key: "{{ key.private_key_file }}"}
  - name: private
    ec2_instance:
      image: ubuntu-22.04
      instance_type: t3.micro
      key_name: "{{ key.key_name }}"
      security_groups: ["{{ back.id }}"]
      vpc_subnet_id: "{{ inside.id }}"
    ssh: {user: ubuntu, key: "{{ key.private_key_file }}", via: bastion, forward_agent: FORWARD}
  - name: note
    host: private
    copy: {content: "hello", dest: /etc/labctl-note}
outputs: {private_ip: "{{ private.private_ip }}"}
"""


def jump(*, forward_agent: bool, entries: str = "") -> str:
    """The playbook's text; `entries` are more of its resources."""
    text = _TEXT.replace("FORWARD", str(forward_agent).lower())
    return text.replace("outputs:", f"{entries}outputs:")
