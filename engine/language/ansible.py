"""What people who know Ansible write, and what labctl's word for it is."""

from __future__ import annotations

from typing import Final

_DEPENDS = "labctl works out the order from references and `depends_on`"

ENTRY_WORDS: Final = {
    "state": "labctl has no `state`: what is in the playbook is there, what is taken out of it is deleted",
    "register": "nothing to register: refer to an output, such as `{{ name.stdout }}`",
    "become": "leave it out: what runs on hosts runs as root; `command` has a field `become_user`",
    "become_user": "it is a field of `command`: write it under `command`; files have an `owner`",
    "hosts": "write `host: NAME` in the entry, or around a `block`",
    "tasks": "write the entries under `resources`",
    "roles": "labctl has no roles: write the entries under `resources`",
    "handlers": f"labctl has no handlers: {_DEPENDS}; `systemd_service` and `command` have `triggers`",
    "notify": "write `triggers` in the `systemd_service` or `command` that is to run again",
    "delegate_to": "write `host`",
    "connection": "leave it out: `ssh` says how a host is contacted",
    "gather_facts": "leave it out: labctl asks for what it needs",
    "vars": "write variables under the playbook's own `vars`",
    "import_playbook": "write `include: FILE`",
    "include_tasks": "write `include: FILE`; it names a playbook",
    "import_tasks": "write `include: FILE`; it names a playbook",
    "vars_files": "write values in the inventory, under `vars`",
    "loop_control": "leave it out: `item` and `loop_index` are there",
    "with_items": "write `loop`",
    "with_list": "write `loop`",
    "with_dict": "write `loop` with a mapping",
    "with_sequence": "write `loop` with a number",
    "until": "`command` has the fields `retries` and `delay`",
    "retries": "`command` has the fields `retries` and `delay`",
    "delay": "`command` has the fields `retries` and `delay`",
    "changed_when": "it is a field of `command`: write it under `command`",
    "failed_when": "leave it out: a step fails where its command does",
    "ignore_errors": "leave it out: only what depends on a failed step is skipped",
    "environment": "`command` and `docker_container` have fields for it",
    "args": "write the fields under the kind",
    "run_once": "leave it out: each entry is one resource",
    "rescue": "labctl has no `rescue`: run apply again once the cause is mended",
    "always": "labctl has no `always`",
    "no_logs": "write `no_log`",
    "require": "write `depends_on`",
    "requires": "write `depends_on`",
    "needs": "write `depends_on`",
    "count": "write `loop: NUMBER`",
    "for_each": "write `loop`",
}
"""Keywords of Ansible (and a few of Terraform) on an entry."""

KIND_WORDS: Final = {
    "ec2": "ec2_instance",
    "ec2_group": "ec2_security_group",
    "aws_instance": "ec2_instance",
    "aws_security_group": "ec2_security_group",
    "aws_vpc": "ec2_vpc_net",
    "aws_subnet": "ec2_vpc_subnet",
    "aws_key_pair": "ec2_key",
    "ec2_key_pair": "ec2_key",
    "ec2_keypair": "ec2_key",
    "ec2_vpc": "ec2_vpc_net",
    "ec2_subnet": "ec2_vpc_subnet",
    "service": "systemd_service",
    "systemd": "systemd_service",
    "shell": "command",
    "raw": "command",
    "script": "command",
    "package": "apt",
    "yum": "apt",
    "dnf": "apt",
    "docker": "docker_engine",
    "container": "docker_container",
    "lineinfile": "copy",
    "blockinfile": "copy",
}
"""Modules with another name, and the kind that does it here."""

NOT_KINDS: Final = {
    "debug": "labctl prints `outputs`: write the value there",
    "set_fact": "write it under `vars`; a variable may use other variables",
    "assert": "write it under `checks`",
    "fail": "write it under `checks`",
    "wait_for": "leave it out: labctl waits until a thing can be used",
    "wait_for_connection": "leave it out: labctl waits until a host can be contacted",
    "pause": "leave it out: labctl waits until a thing can be used",
    "setup": "leave it out: labctl asks for what it needs",
    "meta": "leave it out",
    "import_tasks": "labctl cannot take in other files yet",
    "include_tasks": "labctl cannot take in other files yet",
    "include_role": "labctl has no roles",
    "add_host": "give the resource the keyword `ssh`",
    "uri": "write it under `checks`, as `http`",
}
"""Modules that are no resources."""

FIELD_WORDS: Final = {
    **{
        word: ENTRY_WORDS[word]
        for word in ("state", "register", "become", "notify", "with_items", "ignore_errors", "delegate_to")
    },
    "region": "the inventory says it: `aws: {region: …}`",
    "profile": "the inventory says it: `aws: {profile: …}`",
    "access_key": "labctl uses the credentials that the AWS CLI uses",
    "secret_key": "labctl uses the credentials that the AWS CLI uses",
    "wait": "leave it out: labctl waits until a thing can be used",
    "wait_timeout": "write `timeout` beside the kind",
    "tags": "write `tags` beside the kind, not in it",
    "when": "write it beside the kind, not in it",
    "loop": "write it beside the kind, not in it",
    "depends_on": "write it beside the kind, not in it",
    "host": "write it beside the kind, not in it",
    "ssh": "write it beside the kind, not in it",
    "timeout": "write it beside the kind, not in it",
    "no_log": "write it beside the kind, not in it",
    "exact_count": "write `loop: NUMBER` beside the kind",
    "count": "write `loop: NUMBER` beside the kind",
}
"""Fields of Ansible's modules that labctl has elsewhere or not at all."""
