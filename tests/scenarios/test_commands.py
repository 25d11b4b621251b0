"""Every command by itself, on a small lab."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess

import pytest

from tests.scenarios.conftest import SMALL
from tests.scenarios.place import LABCTL, Place, interrupt_twice, read_until, rest_of

SLOW = """\
name: slow
resources:
  - name: vpc
    ec2_vpc_net: {default: true}
  - name: host
    ec2_instance: {image: ubuntu-22.04, instance_type: t3.micro}
    depends_on: [vpc]
"""
FIRST = "small@sandbox · embedded sandbox, nothing is billed"


def test_a_plan_is_applied_as_it_was_printed_and_only_once(small: Place) -> None:
    planned = small.run("plan", "small.yml")
    assert planned.err.splitlines()[0] == FIRST
    assert "Plan: 3 to add, 0 to change, 0 to destroy." in planned.out
    applied = small.run("apply", "--yes")
    assert applied.out.startswith(
        "Plan: 3 to add, 0 to change, 0 to destroy.\n\nsmall@sandbox complete: 3 done in"
    )
    assert "  token  (sensitive)" in applied.out
    again = small.run("apply", code=1)
    assert "has been applied already" in again.err
    assert small.run("plan", "--detailed-exitcode").out == "No changes. small@sandbox matches the playbook.\n"


def test_a_plan_that_is_no_longer_true_is_refused(small: Place) -> None:
    small.run("plan", "small.yml", "--out", "kept.json")
    small.edit("small.yml", "10.1.1.0/24", "10.1.2.0/24")
    for words in (("apply", "--yes"), ("apply", "kept.json", "--yes")):
        refused = small.run(*words, code=1)
        assert "small@sandbox is no longer as it was when this was planned:" in refused.err
        assert "net: still to create, but otherwise" in refused.err
    assert "has made nothing" in small.run("show", "small.yml").out


def test_a_kept_plan_is_applied(small: Place) -> None:
    small.run("plan", "small.yml", "-e", "port=9000", "--out", "kept.json")
    events = [
        json.loads(line) for line in small.run("apply", "kept.json", "--yes", "--json").out.splitlines()
    ]
    assert {event["event"] for event in events} <= {"started", "waiting", "ended", "report"}
    assert events[-1]["event"] == "report"
    assert events[-1]["ok"] is True
    assert events[-1]["outputs"]["token"] == {"secret": True}
    rules = small.json("show")["resources"][2]["outputs"]["rules"]
    assert {rule["ports"] for rule in rules} == {22, 9000}


def test_pending_changes_have_an_exit_code_of_their_own(small: Place) -> None:
    small.run("plan", "small.yml", "--detailed-exitcode", code=2)
    assert small.json("plan", "small.yml")["summary"]["create"] == 3


def test_outputs_are_told_by_name_and_to_programs(small: Place) -> None:
    small.run("apply", "small.yml", "--yes")
    assert "(sensitive)" in small.run("output").out
    assert small.run("output", "token").out.startswith("token of sg-")
    assert small.json("output")["token"].startswith("token of sg-")
    assert "token of sg-" in small.run("output", "--show-sensitive").out
    assert "has no output nope" in small.run("output", "nope", code=3).err


def test_what_was_made_and_done_is_remembered(small: Place) -> None:
    small.run("apply", "small.yml", "--yes")
    shown = small.json("show")
    assert [item["address"] for item in shown["resources"]] == ["vpc", "net", "group"]
    assert "3 resources in small@sandbox." in small.run("show").out
    verbs = [(line["verb"], line["address"], line["outcome"]) for line in small.json("history")]
    assert ("create", "net", "done") in verbs
    history = small.run("history").out
    assert re.search(r"  apply started: .*3 to create  \(apply-[0-9a-f]{8}\)$", history, re.MULTILINE)
    assert re.search(r"    create  net    done$", history, re.MULTILINE)
    assert history.endswith("  apply ended: done\n")
    assert small.json("show", "small@sandbox") == shown


def test_checks_pass_and_fail(small: Place) -> None:
    small.run("apply", "small.yml", "--yes")
    assert "The check passed." in small.run("check").out
    small.edit("small.yml", ", expect: unreachable", "")
    failed = small.run("check", code=1)
    assert failed.out.startswith("FAILED  nobody is there  10.1.1.5:22 cannot be reached")
    assert small.json("check", code=1)[0]["passed"] is False


def test_drift_is_told_apart_from_wishes(small: Place) -> None:
    small.run("apply", "small.yml", "--yes")
    small.forget_sandbox()
    group = small.tagged("small@sandbox")["group"]
    rule = {"IpProtocol": "tcp", "FromPort": 8003, "ToPort": 8003, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    small.aws().revoke_security_group_ingress(GroupId=group, IpPermissions=[rule])
    small.edit("small.yml", "10.1.1.0/24", "10.1.2.0/24")
    drift = small.run("plan", "--refresh-only").out
    assert "group ec2_security_group" in drift
    assert "net" not in drift
    assert "Drift: 1 resource was changed outside labctl." in drift
    small.run("apply", "small.yml", "--yes")
    assert "No drift." in small.run("plan", "--refresh-only").out


def test_commands_to_run_by_hand(small: Place) -> None:
    told = small.run("plan", "small.yml", "--as-commands").out
    assert "# create vpc (ec2_vpc_net): not there yet\nVPC_ID=$(aws ec2 create-vpc" in told
    assert told.index("create vpc") < told.index("create net")
    assert "$VPC_ID" in told or "${VPC_ID}" in told
    assert small.run("graph", "small.yml").out.startswith('digraph "small@sandbox" {')


def test_destroying_asks_for_the_labs_name(small: Place) -> None:
    small.run("apply", "small.yml", "--yes")
    assert "Add --yes to go ahead without asking." in small.run("destroy", code=3).err
    for answer, code in (("yes", 1), ("small@sandbox", 0)):
        done = subprocess.run(
            [str(LABCTL), "destroy"],
            cwd=small.folder,
            env=small.env,
            input=answer,
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stderr
    assert "Nothing of small@sandbox is left: 3 things of the cloud read again, all gone" in done.stdout
    assert "Nothing of small@sandbox is there to destroy." in small.run("destroy", "--yes").out


def test_what_is_retained_is_told_of_at_the_end(small: Place) -> None:
    small.edit("small.yml", "  - name: vpc\n", "  - name: vpc\n    retain: true\n")
    small.run("apply", "small.yml", "--yes")
    said = small.run("destroy", "small.yml", "--yes").out
    assert "Left there: vpc (ec2_vpc_net vpc-" in said
    assert "Nothing else of small@sandbox is left: 2 things of the cloud read again, all gone" in said


def test_urls_behind_a_proxy_are_printed_with_the_way_to_open_them(small: Place) -> None:
    proxy = small.sandbox["socks_proxy"] if small.json("sandbox", "start") else ""
    words = "URLs are opened through the proxy: curl --proxy socks5h://"
    assert words not in small.run("apply", "small.yml", "--yes").err
    small.edit("small.yml", "outputs:\n", "outputs:\n  site: http://10.1.1.5:8003/\n")
    assert f"\n{words}{proxy} URL\n" in small.run("apply", "small.yml", "--yes").err


def test_validating_asks_nobody(small: Place) -> None:
    assert (
        small.run("validate", "small.yml").out == "small@sandbox is valid: 3 resources, 2 outputs, 1 check.\n"
    )
    small.edit("small.yml", "cidr_block", "cidr_blck")
    wrong = small.run("validate", "small.yml", code=3)
    assert "small.yml:6:19:" in wrong.err
    assert "      |                   ^" in wrong.err
    problems = small.json("validate", "small.yml", code=3)["problems"]
    assert (problems[0]["file"], problems[0]["line"], problems[0]["column"]) == ("small.yml", 6, 19)


def test_the_sandbox_says_where_it_listens(small: Place) -> None:
    started = json.loads(small.run("sandbox", "start", "--json").out)
    assert started == small.json("sandbox", "status")
    parts = {"running", "pid", "aws_endpoint", "socks_proxy", "docker_host", "directory"}
    assert set(started) == parts
    assert small.run("sandbox", "stop").out == "The sandbox is stopped.\n"
    assert small.json("sandbox", "status") == {"running": False}


def test_a_terminal_sees_one_line_a_step_and_asks(small: Place) -> None:
    """In a terminal: colours, a question, progress that redraws itself."""
    master, slave = pty.openpty()
    env = {name: value for name, value in small.env.items() if name != "NO_COLOR"} | {"TERM": "xterm"}
    with subprocess.Popen(
        [str(LABCTL), "apply", "small.yml"],
        cwd=small.folder,
        env=env,
        stdin=slave,
        stdout=slave,
        stderr=slave,
    ) as process:
        os.close(slave)
        seen = b""
        answered = False
        while True:
            ready, _, _ = select.select([master], [], [], 60)
            assert ready, seen.decode()
            try:
                piece = os.read(master, 65536)
            except OSError:
                break
            if not piece:
                break
            seen += piece
            if not answered and b"Type yes to go ahead:" in seen:
                os.write(master, b"yes\n")
                answered = True
        os.close(master)
        assert process.wait(30) == 0, seen.decode()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    assert "\x1b[32m" in seen.decode()
    assert "Apply this to small@sandbox? Type yes to go ahead:" in text
    assert re.search(r"vpc: created in \d", text)
    assert "small@sandbox complete: 3 done" in text


def test_an_inventory_in_use_is_remembered_here(small: Place) -> None:
    (small.folder / "inventory" / "mine.yml").write_text("target: sandbox\n")
    assert small.run("use", "mine").out == "inventory/mine.yml · embedded sandbox, nothing is billed\n"
    assert small.run("plan", "small.yml").err.startswith("small@mine · ")
    small.run("use", "sandbox")
    assert small.run("plan", "small.yml").err.startswith("small@sandbox · ")


def test_nobody_holds_the_lock(small: Place) -> None:
    (small.folder / "small.yml").write_text(SMALL)
    assert small.run("unlock", "small.yml", "--yes").out == "small@sandbox was not locked.\n"


# -- a playbook that is gone or broken -----------------------------------------------------------------------


def test_a_lab_is_destroyed_by_its_name_alone(small: Place) -> None:
    small.run("apply", "small.yml", "--yes")
    (small.folder / "small.yml").unlink()
    assert "There is no playbook small.yml." in small.run("plan", "small.yml", code=3).err
    said = small.run("destroy", "small@sandbox", "--yes")
    assert said.err.splitlines()[0] == FIRST
    assert "Nothing of small@sandbox is left" in said.out
    assert small.run("destroy", "smal@sandbox", "--yes", code=3).err.startswith(
        "Error: The ledger has no lab smal@sandbox.\n  It has: "
    )


def test_a_lab_whose_playbook_is_gone_is_destroyed_from_the_ledger(small: Place) -> None:
    small.run("apply", "small.yml", "--yes")
    (small.folder / "small.yml").unlink()
    said = small.run("destroy", "small.yml", "--yes")
    assert "There is no playbook small.yml." in said.err
    assert "this is from the ledger alone" in said.err
    assert "Nothing of small@sandbox is left" in said.out


def test_a_lab_whose_playbook_is_broken_is_destroyed_from_the_ledger(small: Place) -> None:
    small.run("apply", "small.yml", "--yes")
    small.edit("small.yml", "ec2_vpc_subnet", "ec2_vpc_subnt")
    said = small.run("destroy", "--yes")
    assert "did you mean `ec2_vpc_subnet`?" in said.err
    assert "this is from the ledger alone" in said.err
    assert "Nothing of small@sandbox is left" in said.out
    (small.folder / "small.yml").write_text(SMALL)
    assert small.json("show", "small.yml")["resources"] == []


def test_a_broken_playbook_that_made_nothing_is_only_told_of(small: Place) -> None:
    (small.folder / "other.yml").write_text(SMALL.replace("ec2_vpc_subnet", "ec2_vpc_subnt"))
    said = small.run("destroy", "other.yml", "--yes", code=3)
    assert "did you mean `ec2_vpc_subnet`?" in said.err
    assert "Nothing was touched." in said.err


# -- odd places to run in ------------------------------------------------------------------------------------


def test_a_terminal_that_knows_only_ascii(small: Place) -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    said = small.run("apply", "small.yml", "--yes", env=plain)
    assert said.err.isascii()
    assert said.err.startswith("small@sandbox - embedded sandbox, nothing is billed\n")
    assert "creating..." in said.err


def test_whoever_reads_may_stop_reading(small: Place) -> None:
    command = f"{LABCTL} schema | head -n 1; {LABCTL} show small.yml 2>&1 | true"
    done = subprocess.run(
        ["sh", "-c", command], cwd=small.folder, env=small.env, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "{\n"
    assert done.stderr == ""


def test_a_full_disk_under_the_output(small: Place) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full here")
    words = "/dev/full cannot be written: No space left on device."
    assert words in small.run("plan", "small.yml", "--out", "/dev/full", code=1).err
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [str(LABCTL), "schema"], cwd=small.folder, env=small.env, stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode == 1
    assert done.stderr == b"Error: The output cannot be written: No space left on device.\n"


def test_an_interrupt_in_a_hurry_leaves_at_once_and_loses_nothing(small: Place) -> None:
    (small.folder / "slow.yml").write_text(SLOW)
    with small.start("apply", "slow.yml", "--yes") as applying:
        read_until(applying, "host: creating")
        interrupt_twice(applying)
        rest = rest_of(applying)
    assert applying.returncode == 130, rest
    assert rest.endswith("Stopped at once. Nothing is lost: run the same command again to go on.\n")
    small.run("apply", "slow.yml", "--yes")
    small.run("plan", "slow.yml", "--detailed-exitcode")
    small.run("destroy", "slow.yml", "--yes")


def test_an_expired_lab_and_a_budget_that_will_not_do(small: Place) -> None:
    (small.folder / "slow.yml").write_text(SLOW)
    for name, words in (
        (
            "expires: 2020-01-31",
            r"Note: this lab expired on 2020-01-31, \d+ days ago; labctl destroy ",
        ),
        (
            "expires: 2099-01-31\nbudget: {per_lab: 5 USD}",
            r"Note: running until 2099-01-31 \(\d+ days\) would cost about [\d.]+ USD, more than the budget"
            r" of 5.00 USD, which lasts for \d+ days.",
        ),
    ):
        (small.folder / "inventory/dated.yml").write_text(f"target: sandbox\n{name}\n")
        assert re.search(words, small.run("plan", "slow.yml", "-i", "dated").out)
