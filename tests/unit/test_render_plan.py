"""Plans as text and JSON, from hand-made plans."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

from engine.change import Action, Change, Entry, FieldChange, Observation, Plan
from engine.errors import Where
from engine.lab import Declared
from engine.refs import UNKNOWN
from engine.render.paint import Paint
from engine.render.plan import drift_text, plan_data, plan_text
from engine.resources.hosts.commands import Command

RULES = [{"proto": "tcp", "ports": 22, "cidr_ip": "203.0.113.7/32"}, {"proto": "tcp", "ports": 8003}]


def change(address: str, kind: str, action: Action, cause: str = "", **fields: Any) -> Change:
    """A change whose fields are given as FieldChanges, (is, wanted) pairs, or values of a create."""
    items = []
    for name, value in fields.items():
        if isinstance(value, FieldChange):
            items.append(replace(value, name=name))
        elif isinstance(value, tuple):
            items.append(FieldChange(name, None, *value))
        else:
            items.append(FieldChange(name, None, None, value))
    return Change(address, kind, action, cause, tuple(items))


def text(*changes: Change, **how: Any) -> str:
    return "\n" + plan_text(Plan("hw02@sandbox", changes), **how) + "\n"


def test_a_create_lists_its_fields_and_cuts_long_values() -> None:
    made = change(
        "web",
        "docker_container",
        "create",
        "not there yet",
        image="httpd:2.4",
        network=UNKNOWN,
        tty=True,
        published_ports=["8003:80"],
        command="x" * 90,
        unit="[Unit]\nDescription=a\n",
        build="sha256:" + "a" * 64,
    )
    assert (
        text(made)
        == """
  + web docker_container: not there yet
      image            httpd:2.4
      network          (known after apply)
      tty              true
      published_ports  [8003:80]
      command          xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
      unit             [Unit] … (2 lines)
      build            (contents aaaaaaaa)

Plan: 1 to add, 0 to change, 0 to destroy.
"""
    )


def test_a_long_list_stands_item_by_item() -> None:
    made = change("sg", "ec2_security_group", "create", "not there yet", rules=RULES)
    assert (
        text(made)
        == """
  + sg ec2_security_group: not there yet
      rules
        - {proto: tcp, ports: 22, cidr_ip: 203.0.113.7/32}
        - {proto: tcp, ports: 8003}

Plan: 1 to add, 0 to change, 0 to destroy.
"""
    )


def test_an_update_shows_what_differs_and_counts_the_rest() -> None:
    update = change(
        "sg",
        "ec2_security_group",
        "update",
        "tcp 8003 is missing",
        rules=([RULES[0]], RULES),
        tags=(["a"], ["b"]),
    )
    kept = change("vpc", "ec2_vpc_net", "keep")
    assert (
        text(update, kept)
        == """
  ~ sg ec2_security_group: tcp 8003 is missing
      rules
        + {proto: tcp, ports: 8003}
      tags   [a] → [b]

1 resource is as wanted (-v lists them).
Plan: 0 to add, 1 to change, 0 to destroy.
"""
    )
    assert "    vpc ec2_vpc_net" in text(update, kept, verbose=True)


def test_a_replacement_says_what_forces_it_and_counts_twice() -> None:
    forced = FieldChange("", None, ["8003:80"], ["8004:80"], replaces=True)
    anew = change("web", "docker_container", "replace", "published_ports differs", published_ports=forced)
    gone = change("old", "file", "delete", "no longer in the playbook")
    assert (
        text(anew, gone)
        == """
-/+ web docker_container: published_ports differs
      published_ports  [8003:80] → [8004:80]  # forces replacement

  - old file: no longer in the playbook

Plan: 1 to add, 0 to change, 2 to destroy. 1 of them replaced.
"""
    )


def test_drift_tells_was_is_and_wanted() -> None:
    drifted = FieldChange("", "t2.micro", "t2.large", "t2.micro")
    update = change("private", "ec2_instance", "update", "instance_type was changed", instance_type=drifted)
    assert "instance_type  was t2.micro, is t2.large, wanted t2.micro" in text(update)


def test_secrets_are_not_told() -> None:
    secret = FieldChange("", None, "old", "new", secret=True)
    update = change("user", "user", "update", "password differs", password=secret)
    made = change("other", "user", "create", "not there yet", password=replace(secret, is_=None))
    told = text(update, made) + json.dumps(plan_data(Plan("a", (update, made))))
    assert "(sensitive) → (sensitive)" in told
    assert '"wanted": {"secret": true}' in told
    assert "new" not in told
    assert "old" not in told


def test_texts_are_compared_line_by_line() -> None:
    page = ("<h1>a</h1>\nsame\n", "<h1>b</h1>\nsame\n")
    update = change("page", "template", "update", "src differs", src=page)
    assert (
        text(update)
        == """
  ~ page template: src differs
      src
        - <h1>a</h1>
        + <h1>b</h1>
          same

Plan: 0 to add, 1 to change, 0 to destroy.
"""
    )


def test_nothing_to_do_is_one_line() -> None:
    kept = change("vpc", "ec2_vpc_net", "keep")
    assert text(kept) == "\nNo changes. hw02@sandbox matches the playbook.\n"
    assert text(destroy=True) == "\nNo changes. Nothing of hw02@sandbox is there to destroy.\n"


def test_what_could_not_be_read_is_not_said_to_match() -> None:
    kept = change("page", "copy", "keep")
    unread = Observation(Entry("page", "copy", "/srv/page", host="web"), None, unreadable="web is stopped")
    assert (
        "No changes. hw02@sandbox matches the playbook as far as it can be read: 1 resource cannot be."
        in text(replace(kept, there=unread))
    )


def test_what_is_taken_on_is_shown_although_nothing_changes() -> None:
    adopted = replace(change("vpc", "ec2_vpc_net", "keep"), adopts=True)
    assert (
        text(adopted)
        == """
  = vpc ec2_vpc_net: is taken on as found

No changes. hw02@sandbox matches the playbook. 1 to take on as found.
"""
    )


def test_the_price_of_what_stays_is_told() -> None:
    large = replace(change("bastion", "ec2_instance", "create"), hourly=0.0928)
    unknown = replace(change("gpu", "ec2_instance", "keep"), hourly=None)
    gone = replace(change("old", "ec2_instance", "delete"), hourly=5.0)
    assert text(large, unknown, gone).endswith(
        "Cost once applied: about 0.0928 USD an hour, 2.23 USD a day.\nPrice unknown: gpu.\n"
    )


def test_colour_changes_nothing_but_colour() -> None:
    plan = Plan("a", (change("web", "file", "create", "not there yet", path="/a"),))
    coloured = plan_text(plan, paint=Paint(True))
    assert "\x1b[32m" in coloured
    assert re.sub(r"\x1b\[\d+m", "", coloured) == plan_text(plan)


def test_the_document_is_as_specified() -> None:
    update = change("sg", "ec2_security_group", "update", "differs", vpc_id=("a", UNKNOWN))
    document = plan_data(Plan("hw02@sandbox", (update,)))
    assert document["format"] == 1
    assert document["lab"] == "hw02@sandbox"
    assert document["summary"] == {"create": 0, "update": 1, "replace": 0, "delete": 0, "keep": 0}
    one = document["changes"][0]
    assert (one["address"], one["kind"], one["action"], one["cause"]) == (
        "sg",
        "ec2_security_group",
        "update",
        "differs",
    )
    assert one["fields"] == [
        {"name": "vpc_id", "was": None, "is": "a", "wanted": {"unknown": True}, "replaces": False}
    ]


def test_drift_alone_leaves_the_playbooks_changes_out() -> None:
    entry = Entry("a", "file", "/a")
    mine = replace(
        change("a", "file", "update", mode=("0644", "0600")), there=Observation(entry, {"mode": "0644"})
    )
    theirs = replace(
        change("b", "file", "update", mode=FieldChange("", "0644", "0777", "0644")),
        there=Observation(replace(entry, address="b"), {"mode": "0777"}),
    )
    gone = replace(change("c", "file", "create"), there=Observation(replace(entry, address="c"), None))
    assert (
        "\n" + drift_text(Plan("hw02@sandbox", (mine, theirs, gone)))
        == """
  ~ b file
      mode  was 0644, is 0777
  - c file: was deleted outside labctl

Drift: 2 resources were changed outside labctl."""
    )
    assert drift_text(Plan("hw02@sandbox", (mine,))).startswith("No drift.")


# -- what is told of commands, and long causes ---------------------------------------------------------------


def a_command(line: Any, **fields: Any) -> Change:
    wanted = Command.model_validate({"cmd": line, "changed_when": False})
    return replace(change("token", "command", "create", "not there yet", **fields), wanted=wanted)


def test_the_plan_of_a_command_says_what_it_runs() -> None:
    assert (
        text(a_command("docker logs jupyter", user="root"))
        == """
  + token command: not there yet
      cmd   docker logs jupyter
      user  root

Plan: 1 to add, 0 to change, 0 to destroy.
"""
    )
    assert "cmd  [cat, /etc/hosts]" in text(a_command(["cat", "/etc/hosts"]))
    assert "cmd  echo a … (2 lines)" in text(a_command("echo a\necho b"))
    assert "echo b" in text(a_command("echo a\necho b"), verbose=True)
    assert text(a_command("true", cmd=("false", "true"))).count("cmd") == 1
    (told,) = plan_data(Plan("a", (a_command("true"),)))["changes"][0]["fields"]
    assert (told["name"], told["wanted"]) == ("cmd", "true")


def test_what_a_command_runs_is_hidden_where_nothing_is_to_be_logged() -> None:
    declared = Declared("token", Command, {}, Where("a.yml", 1, 1), no_log=True)
    hidden = replace(a_command("echo hunter2"), declared=declared)
    told = text(hidden) + json.dumps(plan_data(Plan("a", (hidden,))))
    assert "cmd  (sensitive)" in told
    assert "hunter2" not in told


def test_long_causes_are_broken_between_words() -> None:
    cause = "/var/lib/a/very/long/path/that/has/no/spaces differs, and so do many other things of this file"
    update = replace(change("page", "template", "update", cause), notes=(("of " * 30).strip(),))
    assert (
        text(update)
        == """
  ~ page template: /var/lib/a/very/long/path/that/has/no/spaces differs, and so
      do many other things of this file
      (of of of of of of of of of of of of of of of of of of of of of of of of
      of of of of of of)

Plan: 0 to add, 1 to change, 0 to destroy.
"""
    )
    plain = text(update)
    coloured = text(update, paint=Paint(True))
    assert re.sub(r"\x1b\[\d+m", "", coloured) == plain
