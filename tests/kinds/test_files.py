"""`file`, `copy` and `template`: their scripts run for real, and what they make of what they are given."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from engine.errors import StepFailed
from engine.local_files import PlaybookFiles
from engine.on_host import OnHost
from engine.refs import Unknown
from engine.resources.hosts.files import Copy, File, Template
from tests.kinds.benches import SORTS, a_bench, text
from tests.kinds.local_host import Bench


@pytest.fixture(params=SORTS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    with a_bench(request.param, tmp_path) as made:
        yield made


def file(**fields: Any) -> File:
    return File.model_validate(fields)


def copy(**fields: Any) -> Copy:
    return Copy.model_validate(fields)


def test_a_folder_is_made_changed_and_removed(bench: Bench) -> None:
    folder = file(path="/srv/www/deep/", type="directory", mode="2750", group="adm")
    assert bench.look(folder) is None
    assert bench.create(folder)["type"] == "directory"
    open_ = folder.model_copy(update={"mode": "0755"})
    assert bench.differing(open_) == {"mode"}
    bench.update(open_, "mode")  # chmod 0755 alone would leave the set-group-id bit
    bench.host.run("echo x >/srv/www/deep/x")
    bench.delete(folder)
    assert bench.look(folder) is None


def test_a_link_is_pointed_elsewhere(bench: Bench) -> None:
    link = file(path="/srv/a link", type="link", src="/etc/passwd")
    assert bench.create(link)["src"] == "/etc/passwd"
    other = file(path="/srv/a link", type="link", src="/etc/group")
    assert bench.differing(other) == {"src"}
    bench.update(other, "src")
    bench.delete(other)
    assert text(bench, "[ -e /etc/group ] && echo there") == "there\n"


def test_an_empty_file_keeps_what_others_write(bench: Bench) -> None:
    empty = file(path="/srv/it's", mode="0600")
    bench.create(empty)
    bench.host.run('echo kept >"/srv/it\'s"')
    bench.update(empty.model_copy(update={"mode": "0640"}), "mode")
    assert text(bench, 'cat "/srv/it\'s"') == "kept\n"
    bench.delete(empty)


@pytest.mark.parametrize(("type_", "what"), [("file", "file"), ("link", "link")])
def test_something_else_in_its_place_is_left_alone(bench: Bench, type_: str, what: str) -> None:
    src = {"src": "/x"} if type_ == "link" else {}
    with pytest.raises(StepFailed, match=f"/etc is there already and is no {what}"):
        bench.create(file(path="/etc", type=type_, **src))


def test_content_is_written_whole_and_exactly(bench: Bench, tmp_path: Path) -> None:
    content = "héllo\n$HOME `id` 'x' \"y\" \\n %s\n"
    made = bench.create(copy(dest="/srv/new/a b.txt", content=content, mode="0640", group="adm"))
    assert made["sha256"] == hashlib.sha256(content.encode()).hexdigest()
    assert text(bench, "cat '/srv/new/a b.txt'") == content
    assert text(bench, "ls -A /srv/new") == "a b.txt\n"  # nothing half-written beside it


def test_new_content_keeps_owner_and_mode_that_are_not_asked_for(bench: Bench) -> None:
    bench.create(copy(dest="/srv/conf", content="one", mode="0600", group="adm"))
    later = copy(dest="/srv/conf", content="two")
    assert bench.differing(later) == {"content"}
    values = bench.update(later, "content")
    assert (values["mode"], values["group"]) == ("0600", "adm")
    bench.delete(later)
    assert bench.look(later) is None


def test_a_change_of_mode_does_not_send_the_content(bench: Bench) -> None:
    bench.create(copy(dest="/srv/conf", content="one"))
    script = copy(dest="/srv/conf", content="one", mode="0600").commands(
        {"mode": "0644"}, frozenset({"mode"})
    )
    assert "upload" not in script


def test_bytes_and_templates_come_from_beside_the_playbook(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "book"
    folder.mkdir()
    data = bytes(range(256)) * 8192  # more than travels as text
    (folder / "data.bin").write_bytes(data)
    (folder / "page.j2").write_text("hello")
    context = {"files": PlaybookFiles((folder,), lambda path, source: source.upper())}
    made = bench.create(Copy.model_validate({"dest": "/srv/data", "src": "data.bin"}, context=context))
    assert made["src"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
    bench.create(Template.model_validate({"dest": "/srv/page", "src": "page.j2"}, context=context))
    assert text(bench, "cat /srv/page") == "HELLO"


@pytest.mark.parametrize(
    "made",
    [
        copy(dest="/srv/it's", content="one"),
        file(path="/srv/it's", type="directory", mode="0750"),
        file(path="/srv/it's", type="link", src="/nowhere"),
    ],
    ids=["copy", "folder", "link"],
)
def test_what_another_lab_made_is_left_to_it(bench: Bench, made: OnHost) -> None:
    other = Bench(bench.host, lab="other@test")
    bench.create(made)
    theirs = copy(dest="/srv/it's", content="two"), file(path="/srv/it's", mode="0600")
    for wanted in theirs:
        with pytest.raises(StepFailed, match=r"/srv/it's was made by another lab: hw02@test") as caught:
            other.create(wanted)
        assert "sudo rm /var/lib/labctl/owner-" in caught.value.remedy
    bench.update(made)  # its own lab goes on
    other.delete(made)
    assert bench.look(made) is not None
    bench.delete(made)
    other.create(theirs[0])
    bench.host.run('rm "/srv/it\'s"')
    bench.create(made)  # what is gone is anybody's


def test_what_was_there_before_any_lab_is_nobodys(bench: Bench) -> None:
    bench.host.run("echo before >/srv/motd")
    bench.update(copy(dest="/srv/motd", content="one"), "content")
    other = Bench(bench.host, lab="other@test")
    assert other.differing(copy(dest="/srv/motd", content="one")) == set()
    other.update(copy(dest="/srv/motd", content="two"), "content")
    assert text(bench, "cat /srv/motd") == "two"


def test_a_folder_in_the_place_of_a_file_is_told(bench: Bench) -> None:
    with pytest.raises(StepFailed, match="/srv is a folder on the host, not a file"):
        bench.create(copy(dest="/srv", content="x"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"path": "srv"}, "whole path"),
        ({"path": "/"}, "cannot be managed"),
        ({"path": "/x/../.."}, "cannot be managed"),
        ({"path": "/x", "mode": 644}, "in quotes"),
        ({"path": "/x", "mode": "0999"}, "octal"),
        ({"path": "/x", "owner": "a b"}, "user or group"),
        ({"path": "/x", "type": "link"}, "needs `src`"),
        ({"path": "/x", "src": "/y"}, "only a link"),
        ({"path": "/x", "type": "link", "src": "/y", "mode": "0644"}, "no mode of its own"),
    ],
)
def test_wrong_fields_are_told_in_words(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        file(**fields)


@pytest.mark.parametrize("fields", [{}, {"content": "x", "src": "y"}])
def test_a_copy_has_one_source(fields: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "y").write_text("")
    with pytest.raises(ValidationError, match="either `src`"):
        Copy.model_validate({"dest": "/x", **fields}, context={"files": PlaybookFiles((tmp_path,))})


def test_what_is_unknown_stays_unknown() -> None:
    unknown = Unknown(text="{{ bastion.public_ip }}")
    assert copy(dest="/x", content=unknown).wanted()["content"] == unknown
    assert copy(dest="/x", content=unknown, owner=unknown).look("/x", copy(dest="/x", content=unknown))


def test_commands_by_hand() -> None:
    assert file(path="/srv/www", type="directory", mode="0755").as_commands("create", None) == [
        "sudo mkdir -p /srv/www",
        "sudo chmod 0755 /srv/www",
    ]
    assert copy(dest="/srv/motd", content="hello").as_commands("create", None) == [
        "sudo mkdir -p /srv",
        "sudo tee /srv/motd >/dev/null <<'END'\nhello\nEND",
    ]
    assert File.model_construct().as_commands("delete", "/srv/www") == ["sudo rm -r /srv/www"]


def test_what_stands_behind_a_hash_is_told(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text("hush")
    (tmp_path / "large.bin").write_bytes(b"hush" * 100_000)
    context = {"files": PlaybookFiles((tmp_path,), lambda path, source: source.upper())}
    for sort, fields, behind in (
        (Copy, {"content": "hush"}, "hush"),
        (Copy, {"src": "key.txt"}, "hush"),
        (Copy, {"src": "large.bin"}, ""),
        (Template, {"src": "key.txt"}, "HUSH"),
    ):
        made = sort.model_validate({"dest": "/srv/x", **fields}, context=context)
        assert made.in_full() == {next(iter(fields)): behind, "sha256": behind}
