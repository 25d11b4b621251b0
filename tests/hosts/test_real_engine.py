"""Images by a real Docker Engine: built, pushed to the sandbox's ECR, pulled again, run as a workload."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.aws import Aws
from engine.docker import Docker
from engine.local_files import LocalFolder, PlaybookFiles
from engine.resources.ecr.images import EcrImage
from engine.sandbox import Running
from tests.kinds.aws_examples.ecr import a_repository
from tests.kinds.aws_examples.functions import a_role
from tests.kinds.aws_stage import Stage

pytestmark = pytest.mark.real_hosts
DOCKERFILE = """\
FROM scratch
WORKDIR /var/task
COPY main.py .
ENV WHO=nobody
CMD ["main.handler"]
"""
MAIN = "import os\ndef handler(event, context): return os.environ['WHO']\n"


@pytest.fixture
def stage(real_hosts: None, aws: Aws, cloud: Running) -> Iterator[Stage]:
    """As for kinds, but with the Engine of this machine."""
    stage = Stage(aws, docker=Docker())
    yield stage
    stage.clear()


def docker(*command: str) -> str:
    return subprocess.run(["docker", *command], check=True, capture_output=True, text=True).stdout.strip()


def a_folder(folder: Path, dockerfile: str = DOCKERFILE) -> LocalFolder:
    (folder / "app").mkdir(exist_ok=True)
    (folder / "app" / "Dockerfile").write_text(dockerfile)
    (folder / "app" / "main.py").write_text(MAIN)
    return LocalFolder.found("app", PlaybookFiles((folder,)))


def test_an_image_of_a_real_engine_is_pushed_and_runs(stage: Stage, tmp_path: Path) -> None:
    repository = a_repository(stage)
    given = {"repository": repository, "build": {"path": a_folder(tmp_path)}}
    made = stage.make(EcrImage.model_validate(given), "image")
    assert (
        docker("image", "inspect", made["tagged_uri"], "--format", "{{.Os}}/{{.Architecture}}")
        == "linux/amd64"
    )
    assert docker("image", "ls", "-q", "--filter", f"reference={made['repository']}:labctl-*") == ""

    world = stage.world("function")
    stage.aws.call(
        "lambda",
        "create_function",
        FunctionName=f"{stage.lab}-real",
        Role=a_role(stage),
        PackageType="Image",
        Code={"ImageUri": made["uri"]},
    )
    answer = stage.aws.call("lambda", "invoke", FunctionName=f"{stage.lab}-real", Payload=b"{}")
    assert answer["Payload"].read() == b'"nobody"'
    stage.aws.call("lambda", "delete_function", FunctionName=f"{stage.lab}-real")

    again = EcrImage.model_validate(
        {**given, "build": {"path": a_folder(tmp_path, DOCKERFILE.replace("nobody", "somebody"))}}
    )
    again.update(stage.world("image"), made["id"], frozenset({"build"}))
    there = EcrImage.read_many(world, [made["id"]])[made["id"]]
    assert (there["build"], there["digest"] != made["digest"]) == (again.wanted()["build"], True)
    assert len(stage.aws.pages("ecr", "list_images", "imageIds", repositoryName=repository)) == 2  # two tags

    EcrImage.delete(stage.world("image"), made["id"])
    names = docker("image", "ls", "--format", "{{.Repository}}")
    assert repository not in names, "nothing of it is left with the Engine, either"
