"""The sandbox's Docker Engine and registry, as docker-py and a registry's clients see them."""

from __future__ import annotations

import io
import json
import os
import socket
import tarfile
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engine.docker import Docker, Login
from engine.errors import StepFailed, Unreachable
from engine.sandbox.web import Web
from engine.sandbox.workloads import packages
from engine.sandbox.workloads.blobs import digest_of
from engine.sandbox.workloads.engine_api import EngineApp
from engine.sandbox.workloads.images import Images
from engine.sandbox.workloads.registry import RefusedError, RegistryApp
from engine.sandbox.workloads.running import Workloads

LOGIN = Login("AWS", "right")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="workloads run on Linux and macOS")


@dataclass
class Shelf:
    """One repository, `us-east-1/app`."""

    kept: dict[str, tuple[bytes, str]] = field(default_factory=dict)

    def need(self, name: str) -> None:
        if name != "us-east-1/app":
            raise RefusedError(404, "NAME_UNKNOWN", f"The repository with name '{name}' does not exist")

    def manifest(self, name: str, reference: str) -> tuple[bytes, str] | None:
        return self.kept.get(reference)

    def put(self, name: str, reference: str, manifest: bytes, media_type: str) -> None:
        self.kept[reference] = self.kept[digest_of(manifest)] = (manifest, media_type)

    def tags(self, name: str) -> list[str]:
        return [tag for tag in self.kept if not tag.startswith("sha256:")]


@dataclass
class Bench:
    images: Images
    shelf: Shelf
    docker: Docker
    workloads: Workloads
    registry: str

    def build(self, dockerfile: str, files: dict[str, str] | None = None, **given: object) -> list[str]:
        """Builds, names it REGISTRY/us-east-1/app:v1, and gives what the build said."""
        said: list[str] = []
        context = archive({"Dockerfile": dockerfile, **(files or {})})
        self.docker.build(context, name=self.name, say=said.append, **given)  # type: ignore[arg-type]
        return said

    @property
    def name(self) -> str:
        return f"{self.registry}/us-east-1/app:v1"

    def run(self) -> list[str]:
        """Pushes what was built and runs it from the registry; what it prints."""
        self.docker.push(self.name, LOGIN)
        workload = self.workloads.start(self.images.find("us-east-1/app:v1"), name="built")
        assert workload.wait(30) is not None
        return [line.text for line in workload.lines()]


def archive(files: dict[str, str]) -> bytes:
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return into.getvalue()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    shelf, images = Shelf(), Images(tmp_path / "images")
    images.manifest_of = lambda name: shelf.kept.get(name.partition(":")[2], (None, ""))[0]
    workloads = Workloads(tmp_path, images)

    def allowed(user: str, password: str) -> bool:
        return (user, password) == ("AWS", "right")

    registry = Web(free(), RegistryApp(images.folder, images.blobs, shelf, allowed))
    engine = Web(free(), EngineApp(workloads, shelf, allowed, lambda: registry.place))
    registry.start()
    engine.start()
    docker = Docker(f"tcp://{engine.place}")
    yield Bench(images, shelf, docker, workloads, registry.place)
    docker.close()
    engine.stop()
    registry.stop()
    workloads.stop()


def free() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0))
    return listener


def test_an_image_is_built_pushed_and_run(bench: Bench) -> None:
    dockerfile = """\
        ARG PYTHON=3.12
        FROM python:${PYTHON}-slim
        ARG WHO=nobody
        WORKDIR /app
        COPY main.py words/ ./
        ENV WHO=$WHO
        CMD ["python", "main.py"]
    """
    files = {
        "main.py": "import os; print(open('/app/hi.txt').read(), os.environ['WHO'])",
        "words/hi.txt": "hello",
    }
    said = bench.build(dockerfile, files, args={"WHO": "alice"})
    assert said[1] == "Step 2/7 : FROM python:${PYTHON}-slim"
    assert bench.run() == ["hello alice"]


def test_the_same_content_is_the_same_image(bench: Bench) -> None:
    dockerfile = "FROM python:3.12\nCOPY . /app\nCMD python /app/a.py\n"
    bench.build(dockerfile, {"a.py": "print(1)"})
    first = bench.docker.push(bench.name, LOGIN)
    bench.build(dockerfile, {"a.py": "print(1)"})
    assert bench.docker.push(bench.name, LOGIN) == first
    bench.build(dockerfile, {"a.py": "print(2)"})
    assert bench.docker.push(bench.name, LOGIN) != first


def test_stages_leave_behind_what_is_not_copied(bench: Bench) -> None:
    dockerfile = """\
        FROM python:3.12 AS made
        WORKDIR /made
        COPY train.py .
        RUN apt-get update && apt-get install -y gcc && python train.py
        FROM python:3.12-slim
        COPY --from=made /made/model.txt /app/
        CMD ["python", "-c", "import os; print(open('/app/model.txt').read(), os.listdir('/app'))"]
    """
    bench.build(dockerfile, {"train.py": "open('model.txt', 'w').write('trained')"})
    assert bench.run() == ["trained ['model.txt']"]


def test_packages_that_are_here_are_not_fetched(bench: Bench) -> None:
    said: list[str] = []
    assert (
        packages.bring(["flask>=2", "Werkzeug", "click ; python_version < '3'"], Path("x"), said.append)
        is None
    )
    assert [line.partition(" (")[0] for line in said] == [
        "Requirement already satisfied: flask>=2",
        "Requirement already satisfied: Werkzeug",
    ]


@pytest.mark.parametrize(
    ("command", "files", "requirements"),
    [
        ("pip install --no-cache-dir -r requirements.txt", ["requirements.txt"], []),
        (
            "python3 -m pip install -q --index-url https://x/simple flask==3.0 'gunicorn<30'",
            [],
            ["flask==3.0", "gunicorn<30"],
        ),
        ("pip3 install --upgrade pip", [], ["pip"]),
    ],
)
def test_what_pip_is_asked_for(command: str, files: list[str], requirements: list[str]) -> None:
    asked = packages.read(command)
    assert asked is not None
    assert (asked.files, asked.requirements) == (files, requirements)


def test_pip_installs_no_folders_and_addresses() -> None:
    assert packages.read("apt-get install pip") is None
    with pytest.raises(packages.PipError, match="by name only, not `git"):
        packages.read("pip install git+https://example.com/x")


@pytest.mark.parametrize(
    ("dockerfile", "words"),
    [
        ("FROM nobody/nothing", "manifest for nobody/nothing not found"),
        ("FROM python:3\nCOPY missing.py /", "file not found in build context: missing.py"),
        ("FROM python:3\nRUN python -c 'import sys; print(\"oh no\"); sys.exit(4)'", "non-zero code: 4"),
        ("FROM python:3\nFETCH x", "unknown instruction: FETCH"),
        ("FROM python:3\nADD https://example.com/x /x", "does not fetch https://example.com/x"),
    ],
)
def test_a_build_that_fails_says_why(bench: Bench, dockerfile: str, words: str) -> None:
    with pytest.raises(StepFailed) as failed:
        bench.build(dockerfile)
    assert "the image cannot be built: " in failed.value.message
    assert words in failed.value.message


def test_pushes_are_refused_in_words(bench: Bench) -> None:
    bench.build("FROM python:3")
    with pytest.raises(StepFailed, match="no basic auth credentials"):
        bench.docker.push(bench.name, Login("AWS", "wrong"))
    elsewhere = "example.com/app:v1"
    bench.docker.name(bench.name, elsewhere)
    with pytest.raises(StepFailed, match=r"pushes to 127\.0\.0\.1:\d+ only"):
        bench.docker.push(elsewhere, LOGIN)
    missing = f"{bench.registry}/us-east-1/other:v1"
    bench.docker.name(bench.name, missing)
    with pytest.raises(StepFailed, match="does not exist"):
        bench.docker.push(missing, LOGIN)
    bench.docker.remove(missing)
    bench.docker.remove(missing)
    with pytest.raises(StepFailed, match=r"No such image|does not exist locally"):
        bench.docker.push(missing, LOGIN)


def test_where_no_engine_answers_the_words_say_how_to_start_one() -> None:
    nobody = free()
    where = f"tcp://127.0.0.1:{nobody.getsockname()[1]}"
    nobody.close()
    with pytest.raises(Unreachable) as refused:
        Docker(where).about()
    assert where in refused.value.message
    assert "start Docker Desktop, or on Linux: sudo systemctl start docker" in refused.value.remedy


def ask(
    bench: Bench, path: str, method: str = "GET", data: bytes | None = None, **headers: str
) -> tuple[int, bytes]:
    token = b64encode(f"{LOGIN.user}:{LOGIN.password}".encode()).decode()
    request = urllib.request.Request(
        f"http://{bench.registry}{path}" if path.startswith("/") else path,
        data,
        {"Authorization": f"Basic {token}", **headers},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status), bytes(answer.headers.get("Location", "").encode() or answer.read())
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_the_registry_takes_an_image_piece_by_piece(bench: Bench) -> None:
    base = "/v2/us-east-1/app"
    config = json.dumps({"config": {"Cmd": ["true"]}, "rootfs": {"diff_ids": []}}).encode()
    assert ask(bench, "/v2/", Authorization="Basic d3Jvbmc6d3Jvbmc=")[0] == 401
    status, place = ask(bench, f"{base}/blobs/uploads/", "POST", b"")
    assert status == 202
    assert ask(bench, place.decode(), "PATCH", config[:10])[0] == 202
    digest = digest_of(config)
    assert ask(bench, f"{place.decode()}?digest={digest}", "PUT", config[10:])[0] == 201
    assert ask(bench, f"{base}/blobs/{digest}", "GET") == (200, config)

    manifest = {"schemaVersion": 2, "config": {"digest": digest, "size": len(config)}, "layers": []}
    content = json.dumps(manifest).encode()
    assert ask(bench, f"{base}/manifests/v2", "PUT", content, **{"Content-Type": "x/y"})[0] == 201
    assert ask(bench, f"{base}/manifests/{digest_of(content)}") == (200, content)
    assert json.loads(ask(bench, f"{base}/tags/list")[1])["tags"] == ["v2"]


@pytest.mark.parametrize(
    ("path", "method", "data", "status", "code"),
    [
        ("/v2/us-east-1/other/tags/list", "GET", None, 404, "NAME_UNKNOWN"),
        ("/v2/app/tags/list", "GET", None, 404, "NAME_INVALID"),
        ("/v2/us-east-1/app/manifests/none", "GET", None, 404, "MANIFEST_UNKNOWN"),
        ("/v2/us-east-1/app/manifests/v1", "DELETE", None, 405, "UNSUPPORTED"),
        ("/v2/us-east-1/app/manifests/v1", "PUT", b"{}", 400, "MANIFEST_INVALID"),
        ("/v2/us-east-1/app/manifests/v1", "PUT", b'{"manifests": []}', 400, "MANIFEST_INVALID"),
        (
            "/v2/us-east-1/app/manifests/v1",
            "PUT",
            b'{"config": {"digest": "sha256:0"}}',
            404,
            "MANIFEST_BLOB_UNKNOWN",
        ),
        ("/v2/us-east-1/app/blobs/uploads/00000000", "PUT", b"", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("/v2/us-east-1/app/blobs/uploads/?digest=sha256:0", "POST", b"x", 400, "DIGEST_INVALID"),
        ("/v2/us-east-1/app/blobs/..%2f..%2fengine.json", "GET", None, 404, "NAME_INVALID"),
    ],
)
def test_the_registry_refuses(
    bench: Bench, path: str, method: str, data: bytes | None, status: int, code: str
) -> None:
    found, body = ask(bench, path, method, data)
    assert (found, json.loads(body)["errors"][0]["code"]) == (status, code)


def test_what_no_image_needs_any_more_is_swept_away(bench: Bench) -> None:
    bench.build("FROM python:3.12\nCOPY . /app\nCMD python /app/a.py\n", {"a.py": "print('kept')"})
    assert bench.run() == ["kept"]
    bench.build("FROM python:3.12\nCOPY . /app\n", {"a.py": "print('gone')"})
    blobs = bench.images.folder / "blobs"
    before = len(list(blobs.iterdir()))
    bench.images.sweep([manifest for manifest, _ in bench.shelf.kept.values()], [])
    assert 0 < len(list(blobs.iterdir())) < before
    workload = bench.workloads.start(bench.images.find("us-east-1/app:v1"), name="again")
    assert workload.wait(30) == 0
