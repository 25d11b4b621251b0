"""Files that a playbook names: where they may lie, and what their hashes hang on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.local_files import LocalFile, LocalFolder, PlaybookFiles, members


@pytest.fixture
def files(tmp_path: Path) -> PlaybookFiles:
    for folder in ("playbooks", "templates", "work/templates", "secret"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "playbooks/lab.yml").write_text("name: lab")
    (tmp_path / "templates/page.j2").write_text("beside the playbook's folder")
    (tmp_path / "work/templates/page.j2").write_text("in the working directory")
    (tmp_path / "work/templates/other.j2").write_text("other")
    (tmp_path / "secret/key").write_text("secret")
    return PlaybookFiles(tuple(tmp_path / name for name in ("playbooks", "templates", "work/templates")))


class TestFinding:
    def test_goes_through_the_folders_in_order(self, files: PlaybookFiles) -> None:
        assert files.find("lab.yml").read_text() == "name: lab"
        assert files.find("page.j2").read_text() == "beside the playbook's folder"
        assert files.find("other.j2").read_text() == "other"
        assert files.find("../templates/page.j2").read_text() == "beside the playbook's folder"

    @pytest.mark.parametrize(
        "path", ["../secret/key", "/etc/passwd", "~/.ssh/id_rsa", "../work/../secret/key"]
    )
    def test_stays_inside(self, files: PlaybookFiles, path: str) -> None:
        with pytest.raises(ValueError, match="lies outside the folders a playbook may read"):
            files.find(path)

    def test_links_do_not_lead_out(self, files: PlaybookFiles, tmp_path: Path) -> None:
        (tmp_path / "playbooks/link").symlink_to(tmp_path / "secret/key")
        with pytest.raises(ValueError, match="lies outside"):
            files.find("link")

    def test_what_is_not_there(self, files: PlaybookFiles) -> None:
        with pytest.raises(ValueError, match="there is no file `nothing` in"):
            files.find("nothing")
        with pytest.raises(ValueError, match="there is no folder"):
            files.find("page.j2", folder=True)


class TestFiles:
    def test_are_equal_where_their_contents_are(self, files: PlaybookFiles, tmp_path: Path) -> None:
        (tmp_path / "playbooks/copy.yml").write_text("name: lab")
        assert LocalFile.found("lab.yml", files) == LocalFile.found("copy.yml", files)
        assert LocalFile.found("lab.yml", files) != LocalFile.found("page.j2", files)
        assert LocalFile.found("lab.yml", files).size == 9

    def test_notice_a_change(self, files: PlaybookFiles, tmp_path: Path) -> None:
        before = LocalFile.found("lab.yml", files)
        (tmp_path / "playbooks/lab.yml").write_text("name: other")
        assert LocalFile.found("lab.yml", files) != before


class TestFolders:
    @pytest.fixture
    def folder(self, files: PlaybookFiles, tmp_path: Path) -> Path:
        place = tmp_path / "templates/image"
        (place / "src/deep").mkdir(parents=True)
        (place / "Dockerfile").write_text("FROM scratch\n")
        (place / "src/run.sh").write_text("#!/bin/sh\n")
        (place / "src/deep/data.log").write_text("log\n")
        return place

    def found(self, files: PlaybookFiles) -> str:
        return LocalFolder.found("image", files).sha256

    def test_hash_names_modes_and_contents(self, files: PlaybookFiles, folder: Path) -> None:
        hashes = [self.found(files), self.found(files)]
        assert hashes[0] == hashes[1]
        (folder / "src/run.sh").chmod(0o755)
        hashes.append(self.found(files))
        (folder / "src/run.sh").rename(folder / "src/start.sh")
        hashes.append(self.found(files))
        (folder / "src/start.sh").write_text("#!/bin/bash\n")
        hashes.append(self.found(files))
        (folder / "empty").mkdir()
        hashes.append(self.found(files))
        assert len(set(hashes)) == 5

    def test_do_not_hang_on_who_checked_them_out(self, files: PlaybookFiles, folder: Path) -> None:
        before = self.found(files)
        (folder / "Dockerfile").chmod(0o664)
        os.utime(folder / "Dockerfile", (0, 0))
        assert self.found(files) == before

    @pytest.mark.parametrize(
        ("rules", "left"),
        [
            ("", "Dockerfile src src/deep src/deep/data.log src/run.sh"),
            ("# comment\n\nsrc", "Dockerfile"),
            ("src/deep", "Dockerfile src src/run.sh"),
            ("**/*.log", "Dockerfile src src/deep src/run.sh"),
            ("*.log", "Dockerfile src src/deep src/deep/data.log src/run.sh"),
            ("src/*/data.log", "Dockerfile src src/deep src/run.sh"),
            ("/src/run.??", "Dockerfile src src/deep src/deep/data.log"),
            ("src/[pqr]un.sh", "Dockerfile src src/deep src/deep/data.log"),
            ("*\n!src/run.sh", "Dockerfile src/run.sh"),
            ("Dockerfile\n.dockerignore", "Dockerfile src src/deep src/deep/data.log src/run.sh"),
        ],
    )
    def test_honour_a_dockerignore(self, folder: Path, rules: str, left: str) -> None:
        (folder / ".dockerignore").write_text(rules)
        assert " ".join(name for name, _ in members(folder) if name != ".dockerignore") == left

    def test_do_not_follow_links(self, files: PlaybookFiles, folder: Path, tmp_path: Path) -> None:
        (folder / "link").symlink_to(tmp_path / "secret")
        before = self.found(files)
        (tmp_path / "secret/key").write_text("changed")
        assert self.found(files) == before
        assert "link/key" not in dict(members(folder))
