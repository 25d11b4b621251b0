"""How little HW02 asks: requests to AWS and round trips to hosts, counted in process.

Counted is everything that is sent, retries included. In an apply, what is read while waiting for a thing or
to see that it is as wanted are polls: AWS decides how many there are. All else (writes, and reads that look
something up before) counts against the limit of two requests per resource of AWS.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine import commands, sandbox
from engine.commands import Planned
from engine.on_host import OnHost
from engine.saved import Request
from engine.session import Session
from tests.scenarios.place import DATA, ROOT

HW02 = Request(Path("playbooks/hw02.yml"), Path("inventory/sandbox.yml"))
HOSTS = ("bastion", "private")
POLLS = {
    # What kinds read of themselves while they wait and after each verb.
    "describe_instances",
    "describe_instance_status",
    "describe_key_pairs",
    "describe_route_tables",
    "describe_security_group_rules",
    "describe_security_groups",
    "describe_subnets",
    "get_console_output",
}

Sent = list[tuple[str, str]]


@dataclass(frozen=True)
class Counted:
    """What applying HW02 from nothing sent, and planning it again in a session of its own."""

    applied: Planned
    apply: Sent
    planned: Planned
    plan: Sent
    round_trips: dict[str, int]

    @property
    def kinds(self) -> set[str]:
        """The kinds of AWS in use."""
        there = [change.there for change in self.planned.plan.changes]
        return {one.entry.kind for one in there if one and one.kind and not issubclass(one.kind, OnHost)}

    @property
    def made(self) -> list[str]:
        """The resources of AWS that the apply made."""
        return [
            change.address
            for change in self.applied.plan.changes
            if change.action == "create" and change.declared and not issubclass(change.declared.kind, OnHost)
        ]


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counted]:
    folder = tmp_path_factory.mktemp("counts")
    for name in DATA:
        shutil.copytree(ROOT / name, folder / name)
    (folder / "home" / ".ssh").mkdir(mode=0o700, parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HOME", str(folder / "home"))
        patch.setenv("LABCTL_SANDBOX_DIR", str(folder / "sandbox"))
        try:
            yield Counted(*applied(), *planned())
        finally:
            sandbox.stop()


def applied() -> tuple[Planned, Sent]:
    with Session(lambda text: None) as session:
        sites = commands.open_labs(session, HW02)
        requests = sites[0].world.aws.requests

        def approve(planned: object) -> bool:
            requests.clear()
            return True

        run = commands.Run("apply")
        results = commands.apply(sites, HW02, run, approve=approve, tell=lambda lab, event: None)
        assert results is not None
        [done] = results.values()
        assert isinstance(done, commands.Applied)
        assert done.report.ok, [result for result in done.report.results if result.outcome != "done"]
        return done.planned, list(requests)


def planned() -> tuple[Planned, Sent, dict[str, int]]:
    with Session(lambda text: None) as session:
        [site] = commands.open_labs(session, HW02)
        made = commands.plan_site(site, HW02)
        return (
            made,
            list(site.world.aws.requests),
            {name: site.world.hosts.glance(name).round_trips for name in HOSTS},
        )


def told(sent: Sent) -> str:
    return "\n".join(
        f"  {count} {service} {operation}" for (service, operation), count in Counter(sent).items()
    )


def test_a_plan_of_what_is_applied_reads_each_kind_once_or_little_more(counted: Counted) -> None:
    assert not counted.planned.plan.pending
    limit = len(counted.kinds) + 3
    assert len(counted.plan) <= limit, (
        f"a plan of the applied HW02 sent {len(counted.plan)} requests, {limit} are allowed for "
        f"{len(counted.kinds)} kinds ({', '.join(sorted(counted.kinds))}):\n{told(counted.plan)}"
    )
    writes = [call for call in counted.plan if not call[1].startswith(("describe_", "get_"))]
    assert not writes, f"a plan sent writes:\n{told(writes)}"


def test_a_plan_makes_one_round_trip_to_each_host(counted: Counted) -> None:
    assert counted.round_trips == dict.fromkeys(HOSTS, 1)


def test_an_apply_sends_at_most_two_requests_for_each_resource_beside_its_polls(counted: Counted) -> None:
    rest = [call for call in counted.apply if call[1] not in POLLS]
    limit = 2 * len(counted.made)
    assert len(rest) <= limit, (
        f"applying HW02 sent {len(counted.apply)} requests, {len(rest)} of them no polls, {limit} are "
        f"allowed for {len(counted.made)} resources ({', '.join(counted.made)}):\n{told(rest)}"
    )


def test_an_apply_polls_no_more_than_a_few_times_for_each_resource(counted: Counted) -> None:
    polls = [call for call in counted.apply if call[1] in POLLS]
    limit = 8 * len(counted.made)
    assert len(polls) <= limit, f"{len(polls)} polls for {len(counted.made)} resources:\n{told(polls)}"


IMPORTED = """
import sys
from engine.cli import main
sys.argv = ["labctl", "validate", "playbooks/hw02.yml"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_validating_hw02_loads_nothing_of_the_cloud() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {"boto3", "botocore", "paramiko", "moto", "asyncssh"}
