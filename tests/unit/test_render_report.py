"""Reports, problems, tables and progress lines as text and JSON."""

from __future__ import annotations

from datetime import UTC, datetime

from engine.change import Change, Entry, Report, Step, StepEvent, StepResult
from engine.errors import Problem, Where
from engine.lab import Need
from engine.ledger import Event
from engine.refs import UNKNOWN
from engine.render.by_hand import commands_text
from engine.render.problems import problems_text
from engine.render.report import event_data, event_line, outputs_text, report_data, report_text, roster_table
from engine.render.tables import checks_text, history_text, show_data, show_text
from engine.render.values import compact

AT = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)


def result(address: str, outcome: str, **more: object) -> StepResult:
    step = Step("create", address, Change(address, "file", "create", "not there yet"))
    return StepResult(step, outcome, 1.25, **more)  # type: ignore[arg-type]


FAILED = Report(
    "hw02@sandbox",
    (
        result("vpc", "done"),
        result("web", "failed", error="port 80 is taken\nby nginx", remedy="Stop what listens there."),
        result("page", "skipped", because_of="web"),
    ),
)


def test_a_report_tells_failures_with_their_remedies_and_what_was_skipped() -> None:
    assert (
        "\n" + report_text(FAILED, took=75.0)
        == """
hw02@sandbox not complete: 1 done, 1 failed, 1 skipped in 1 min 15 s.

web (create failed): port 80 is taken
  by nginx
  Stop what listens there.

Not done:
  page  create  web failed"""
    )


def test_the_report_document_keeps_sensitive_outputs_to_itself() -> None:
    report = Report(
        "a@b", (result("vpc", "done"),), outputs={"ip": "10.0.0.1", "token": "s3cret", "x": UNKNOWN}
    )
    document = report_data(report, frozenset({"token"}))
    assert document["ok"] is True
    assert document["outputs"] == {"ip": "10.0.0.1", "token": {"secret": True}, "x": {"unknown": True}}
    assert document["steps"][0]["address"] == "vpc"


def test_outputs_are_aligned_and_masked() -> None:
    told = outputs_text({"ip": "10.0.0.1", "token": "s3cret", "site": UNKNOWN}, frozenset({"token"}))
    assert told == "  ip     10.0.0.1\n  token  (sensitive)\n  site   (known after apply)"


def test_progress_lines() -> None:
    waiting = StepEvent("waiting", "bastion", "create", "ec2_instance", AT, "waiting for status checks")
    assert event_line(waiting) == "bastion: waiting for status checks"
    ended = StepEvent("ended", "vpc", "create", "file", AT, result=result("vpc", "done"))
    assert event_line(ended, lab="a@b/alice") == "a@b/alice: vpc: created in 1.2 s"
    assert event_data(ended, "a@b")["outcome"] == "done"


def test_a_roster_ends_in_a_table() -> None:
    assert roster_table({"a@f/alice": FAILED, "a@f/bob": "The lab is locked.\nmore"}).splitlines() == [
        "lab        ended   done  failed  not done",
        "a@f/alice  failed  1     1       1",
        "a@f/bob    failed  0     -       The lab is locked.",
    ]


def test_problems_point_into_the_source() -> None:
    problem = Problem(Where("a.yml", 3, 5), "unknown field `cidr`", "did you mean `cidr_block`?")
    told = problems_text([problem, Problem(None, "no inventory")], lambda where: "\t   cidr: 1\n")
    assert (
        "\n" + told
        == """
a.yml:3:5: unknown field `cidr`
    3 | \t   cidr: 1
      | \t   ^
  did you mean `cidr_block`?

Error: no inventory

2 problems. Nothing was touched."""
    )


def test_show_lists_what_was_made() -> None:
    entries = [
        Entry("vpc", "ec2_vpc_net", "vpc-1", adopted=True),
        Entry(
            "web", "docker_container", None, host="bastion", needs=frozenset({Need("bastion", "lives_on")})
        ),
    ]
    assert (
        "\n" + show_text("a@b", entries)
        == """
address  kind              id
vpc      ec2_vpc_net       vpc-1 (taken on)
on bastion
  web    docker_container  (not confirmed)

2 resources in a@b."""
    )
    assert show_data("a@b", entries)["resources"][1]["needs"] == [{"address": "bastion", "sort": "lives_on"}]
    assert show_text("a@b", []) == "a@b has made nothing, or everything it made is gone."


def test_history_sets_runs_apart() -> None:
    events = [
        Event(AT, "apply-1", None, "run", "started", "2 to create"),
        Event(AT, "apply-1", "vpc", "create", "done", "not there yet"),
        Event(AT, "apply-1", "net", "create", "failed", "no room"),
        Event(AT, "apply-1", None, "end", "failed", "1 failed"),
        Event(AT, "destroy-2", None, "run", "started"),
    ]
    lines = history_text(events).splitlines()
    assert lines[0].endswith("  apply started: 2 to create  (apply-1)")
    assert lines[1].endswith("  create  vpc  done")
    assert lines[2].endswith("  create  net  failed  no room")
    assert lines[3].endswith("  apply ended: failed, 1 failed")
    assert lines[4] == ""
    assert lines[5].endswith("  destroy started  (destroy-2)")


def test_checks_are_a_table() -> None:
    rows = [
        {"name": "site", "passed": True, "detail": "answered 200"},
        {"name": "b", "passed": False, "detail": "no"},
    ]
    assert checks_text(rows).splitlines() == [
        "passed  site  answered 200",
        "FAILED  b     no",
        "",
        "1 of 2 checks failed.",
    ]
    assert checks_text(rows[:1]).endswith("The check passed.")
    long = [{"name": "site", "passed": False, "detail": "http://host.example:8003/ does not answer: refused"}]
    assert checks_text(long, width=62).splitlines()[:2] == [
        "FAILED  site",
        "        http://host.example:8003/ does not answer: refused",
    ]


def test_commands_on_hosts_go_through_ssh() -> None:
    from pathlib import Path

    from engine.lab import Declared
    from engine.resource import Resource

    declared = Declared("web", Resource, {}, Where("a.yml"), host="bastion")
    step = Step(
        "create", "web", Change("web", "docker_container", "create", "not there yet", declared=declared)
    )
    told = commands_text([(step, ["docker run httpd", "a\nb"])], Path(".labctl/x/ssh_config"))
    assert (
        "\n" + told
        == """
# create web (docker_container): not there yet
ssh -F .labctl/x/ssh_config -n bastion 'docker run httpd'
ssh -F .labctl/x/ssh_config bastion sh -eu <<'END_OF_COMMANDS'
a
b
END_OF_COMMANDS"""
    )
    assert commands_text([], Path("x")) == "# Nothing to do."


def test_values_on_one_line() -> None:
    assert (
        compact({"a": [1, None, True], "b": "x: y", "c": "a, b"})
        == '{a: [1, null, true], b: x: y, c: "a, b"}'
    )
    assert compact("") == '""'
    assert compact(None) == "(not set)"
    assert compact([UNKNOWN]) == "[(known after apply)]"
