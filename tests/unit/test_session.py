"""Opening labs: one way in and one ledger for those that share them; labs from memory alone."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from engine.change import Entry, Plan
from engine.errors import Invalid, LabctlError
from engine.lab import Lab, Target
from engine.ledger.sqlite import SqliteLedger
from engine.remembered import called, lab_remembered, made_from
from engine.saved import Request, to_save
from engine.session import Session, open_ledger
from engine.slots import Slots
from engine.target import lab_folder

TARGET = Target("aws", endpoint_url="http://127.0.0.1:9")


def a_lab(folder: Path, name: str = "hw02@fall", **more: object) -> Lab:
    slug = name.replace("@", "-").replace("/", "-")
    lab = Lab(name, slug, TARGET, {}, ledger=str(folder / ".labctl/labctl.db"))
    return replace(lab, **more)  # type: ignore[arg-type]


def test_labs_share_their_way_in_and_their_ledger(tmp_path: Path) -> None:
    with Session(lambda text: None) as session:
        first, second = (session.open(a_lab(tmp_path, f"hw02@fall/{name}")) for name in ("a", "b"))
        assert first.access is second.access
        assert first.ledger is second.ledger
        assert first.world.lab == "hw02@fall/a"
        assert first.world.aws.requests == []
        other = session.open(a_lab(tmp_path, target=replace(TARGET, region="eu-west-1")))
        assert other.access is not first.access
        assert other.world.aws.region == "eu-west-1"


def test_a_ledger_that_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(LabctlError, match="A ledger cannot be kept at ftp://x/y"):
        open_ledger("ftp://x/y")


# -- the folder of a lab -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hw02@sandbox", "hw02@fall2026/alice", "a.b_c@d-e"])
def test_a_lab_has_a_folder_of_its_name(tmp_path: Path, name: str) -> None:
    assert lab_folder(a_lab(tmp_path, name)) == tmp_path / ".labctl" / name


def test_labs_that_names_at_aws_cannot_tell_apart_have_folders_of_their_own(tmp_path: Path) -> None:
    names = [
        "a@b-c",
        "a-b@c",
        "a-b-c",
        "a@b/c",
        "A@b-c",
        "a@b:c",
        "a@b*c",
        "a@b.",
        f"a@{'b' * 99}",
        f"a@{'b' * 98}",
    ]
    folders = [lab_folder(a_lab(tmp_path, name)).relative_to(tmp_path / ".labctl") for name in names]
    # Also where capitals count as small letters, and no system refuses or changes them.
    assert len({str(folder).lower() for folder in folders}) == len(names)
    for part in (part for folder in folders for part in folder.parts):
        assert re.fullmatch(r"[A-Za-z0-9@._~-]{1,70}(?<!\.)", part)


def test_students_called_like_a_device_or_like_a_labs_own_files(tmp_path: Path) -> None:
    for student in ("con", "AUX", "nul.txt", "com1", "known_hosts", "run.log"):
        folder = lab_folder(a_lab(tmp_path, f"hw02@fall/{student}"))
        assert re.fullmatch(rf"{re.escape(student)}~[0-9a-f]{{8}}", folder.name)


# -- labs from memory ----------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path) -> tuple[SqliteLedger, Request]:
    """A ledger with two students' labs, and the request that they were planned with."""
    inventory = tmp_path / "fall.yml"
    inventory.write_text("target: aws\naws: {region: us-west-2}\n")
    request = Request(tmp_path / "hw02.yml", inventory)
    ledger = SqliteLedger(tmp_path / ".labctl/labctl.db")
    for student in ("alice", "bob"):
        lab = a_lab(tmp_path, f"hw02@fall/{student}", student=student)
        ledger.record(lab.name, Entry("vpc", "ec2_vpc_net", f"vpc-{student}"))
        ledger.keep_plan(lab.name, to_save(Plan(lab.name, ()), lab, request, ledger.key, [lab.name]))
    return ledger, request


def test_labs_are_found_by_name_and_by_what_made_them(kept: tuple[SqliteLedger, Request]) -> None:
    ledger, request = kept
    assert [plan["lab"] for plan in called(ledger, "hw02@fall/bob")] == ["hw02@fall/bob"]
    assert [plan["lab"] for plan in called(ledger, "hw02@fall")] == ["hw02@fall/alice", "hw02@fall/bob"]
    assert called(ledger, "hw02@spring") == []
    assert len(made_from(ledger, request)) == 2
    assert [plan["lab"] for plan in made_from(ledger, request.of("bob"))] == ["hw02@fall/bob"]
    assert made_from(ledger, replace(request, playbook=Path("other.yml"))) == []


def test_a_remembered_lab_acts_where_its_inventory_says_else_where_it_acted(
    kept: tuple[SqliteLedger, Request], tmp_path: Path
) -> None:
    ledger, request = kept
    (document,) = called(ledger, "hw02@fall/bob")
    lab = lab_remembered(document)
    assert (lab.name, lab.slug, lab.student) == ("hw02@fall/bob", "hw02-fall-bob", "bob")
    assert lab.ledger == str(ledger.path)
    assert lab.playbook is None
    assert lab.target.region == "us-west-2"
    request.inventory.unlink()
    assert lab_remembered(document).target == TARGET
    with pytest.raises(Invalid):
        lab_remembered({**document, "target": None})


# -- one limit for all ---------------------------------------------------------------------------------------


def test_slots_wake_those_who_wait() -> None:
    slots, woken = Slots(1), []
    assert slots.take(lambda: woken.append("a"))
    assert not slots.take(lambda: woken.append("b"))
    assert not slots.take(lambda: woken.append("c"))
    slots.give()
    assert woken == ["b", "c"]
    assert slots.take(lambda: woken.append("d"))
    slots.give()
    assert woken == ["b", "c"]
