"""Workloads of the sandbox: images as processes, their ports, files, logs and ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.sandbox.workloads.images import Image, Images, NoSuchImage
from engine.sandbox.workloads.place import sweep
from engine.sandbox.workloads.running import Workload, Workloads
from tests.waiting import until, waited

pytestmark = pytest.mark.skipif(os.name != "posix", reason="workloads run on Linux and macOS")
SERVER = """
    import http.server, os, sys
    class Named(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200); self.end_headers(); self.wfile.write(os.environ["WHO"].encode())
    http.server.HTTPServer(("0.0.0.0", 5000), Named).serve_forever()
"""


@pytest.fixture(scope="module")
def workloads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workloads]:
    folder = tmp_path_factory.mktemp("workloads")
    running = Workloads(folder, Images(folder / "images"))
    yield running
    running.stop()


def run(workloads: Workloads, program: str, **given: object) -> Workload:
    image = workloads.images.find("python:3.12-slim")
    command = ["python", "-c", textwrap.dedent(program)]
    return workloads.start(image, name="test", command=command, **given)  # type: ignore[arg-type]


def said(workload: Workload) -> list[str]:
    assert workload.wait(30) is not None
    return [line.text for line in workload.lines()]


def fetched(workload: Workload, port: int) -> bytes:
    assert workload.await_port(port, 30), workload.lines()
    with urllib.request.urlopen(f"http://127.0.0.1:{workload.ports()[port]}/", timeout=10) as answer:
        return bytes(answer.read())


def test_many_listen_on_the_same_port(workloads: Workloads) -> None:
    one = run(workloads, SERVER, environment={"WHO": "one"})
    two = run(workloads, SERVER, environment={"WHO": "two"})
    assert (fetched(one, 5000), fetched(two, 5000)) == (b"one", b"two")
    assert one.ports()[5000] != two.ports()[5000]
    one.stop()
    assert one.ports() == {}
    assert fetched(two, 5000) == b"two"
    two.remove()
    assert not two.folder.exists()


def test_a_port_of_the_loopback_interface_is_nobody_elses(workloads: Workloads) -> None:
    workload = run(
        workloads,
        """
        import socket
        server = socket.create_server(("127.0.0.1", 8000))
        line = socket.create_connection(("localhost", 8000), 5)
        print(server.getsockname()[1], flush=True)
        try: socket.create_connection(("127.0.0.1", 9999), 5)
        except ConnectionRefusedError: print("refused")
        """,
    )
    assert said(workload) == ["8000", "refused"]
    assert 8000 not in workload.ports()


def test_connections_lead_to_it_and_nowhere_else(workloads: Workloads) -> None:
    workload = run(workloads, SERVER, environment={"WHO": "it"})
    assert workload.await_port(5000, 30)

    async def talk() -> bytes:
        line = await workload.open(5000)
        reader, writer = await asyncio.open_connection(sock=line)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        answer = await reader.read()
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await workload.open(80)
        return answer

    assert asyncio.run(talk()).endswith(b"it")
    workload.stop()


def test_its_environment_is_its_image_s_and_nothing_of_the_user_s(
    workloads: Workloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-user-s-own")
    workload = run(
        workloads,
        """
        import os
        print(os.environ.get("AWS_SECRET_ACCESS_KEY"), os.environ["GIVEN"], os.getuid())
        print(os.environ["HOME"].endswith("/home"), os.path.isdir(os.environ["HOME"]))
        """,
        environment={"GIVEN": "yes"},
    )
    first, second = said(workload)
    uid = 65534 if os.geteuid() == 0 else os.getuid()
    assert first == f"None yes {uid}"
    assert second == "True True"


def test_files_are_found_where_the_image_has_them(workloads: Workloads) -> None:
    workload = run(
        workloads,
        """
        import json, os, pathlib
        print(json.load(open("/opt/ml/input/config.json"))["epochs"], os.listdir("/opt/ml"))
        os.makedirs("/opt/ml/model", exist_ok=True)
        pathlib.Path("/opt/ml/model/weights").write_text("w")
        print(os.path.exists("/etc/passwd"), open("/opt/ml/model/weights").read())
        """,
        files={"/opt/ml/input/config.json": b'{"epochs": 3}'},
    )
    assert said(workload) == ["3 ['input']", "True w"]
    assert workload.path("/opt/ml/model/weights").read_text() == "w"
    with pytest.raises(ValueError, match="lies outside"):
        workload.path("/../../secret")


def test_how_it_ends_is_told(workloads: Workloads) -> None:
    assert run(workloads, "import sys; sys.exit(3)").wait(30) == 3
    assert run(workloads, "import os; os.kill(os.getpid(), 9)").wait(30) == 137
    stubborn = run(
        workloads,
        """
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("ready", flush=True)
        time.sleep(60)
        """,
    )
    waited(stubborn.lines)
    started = time.monotonic()
    stubborn.stop(grace=0.3)
    assert time.monotonic() - started < 5
    assert stubborn.exit_code is not None


def test_what_cannot_run_says_so(workloads: Workloads) -> None:
    node = workloads.start(workloads.images.find("node:20"), name="node")
    assert node.exit_code == 127
    assert "the sandbox cannot run `docker-entrypoint.sh`" in node.reason
    assert [line.text for line in node.lines()] == [node.reason]
    with pytest.raises(NoSuchImage, match=r"CannotPullContainerError: .*nobody/nothing:1: not found"):
        workloads.images.find("nobody/nothing:1")


def test_switched_off_nothing_runs(tmp_path: Path) -> None:
    off = Workloads(tmp_path, Images(tmp_path / "images"), enabled=False)
    workload = run(off, "print('never')")
    assert (workload.exit_code, workload.ports()) == (127, {})
    assert "workloads: none" in workload.reason


@pytest.mark.parametrize(
    ("image", "port", "text"), [("httpd:2.4", 80, b"It works!"), ("nginx", 80, b"nginx!")]
)
def test_well_known_web_servers_are_imitated(
    workloads: Workloads, image: str, port: int, text: bytes
) -> None:
    workload = workloads.start(workloads.images.find(image), name="web")
    assert text in fetched(workload, port)
    workload.stop()


def test_a_shell_around_python_works(workloads: Workloads) -> None:
    image = workloads.images.find("python:3.12-slim")
    workload = workloads.start(
        image,
        name="shell",
        command=["sh", "-c", "exec python main.py $WORD"],
        workdir="/srv/app",
        environment={"WORD": "hello"},
        files={"/srv/app/main.py": b"import sys; print(sys.argv[1])"},
    )
    assert said(workload) == ["hello"]


def test_the_log_keeps_the_last_of_much(workloads: Workloads) -> None:
    workload = run(workloads, "for number in range(60000): print(f'{number:060d}')")
    lines = said(workload)
    assert int(lines[-1]) == 59999
    assert len(lines) < 60000
    stamps = [line.time for line in workload.lines()]
    assert stamps == sorted(stamps)


def test_it_ends_when_the_sandbox_is_killed(tmp_path: Path) -> None:
    """Its process group is gone, whatever it does, once the process that started it is."""
    program = textwrap.dedent(
        f"""
        import sys, time
        from pathlib import Path
        from engine.sandbox.workloads.images import Images
        from engine.sandbox.workloads.running import Workloads
        folder = Path({str(tmp_path)!r})
        workloads = Workloads(folder, Images(folder / "images"))
        command = ["sh", "-c", "python -c 'import time; print(1, flush=True); time.sleep(120)'; true"]
        workload = workloads.start(workloads.images.find("python:3"), name="x", command=command)
        while not workload.lines(): time.sleep(0.02)
        print(workload.process.pid, flush=True)
        time.sleep(120)
        """
    )
    keeper = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert keeper.stdout is not None
    group = int(keeper.stdout.readline())
    keeper.kill()
    keeper.wait()
    keeper.stdout.close()
    until(lambda: _alive(group), False)
    sweep(tmp_path)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, signal.SIG_DFL)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def test_an_image_tells_what_it_says(workloads: Workloads) -> None:
    image: Image = workloads.images.find("public.ecr.aws/lambda/python:3.12")
    assert image.workdir == "/var/task"
    assert image.environment["LAMBDA_TASK_ROOT"] == "/var/task"
    assert workloads.images.find("public.ecr.aws/docker/library/httpd:2.4").ports == [80]


def test_paths_of_the_image_are_found_in_shell_scripts(workloads: Workloads) -> None:
    workload = workloads.start(
        workloads.images.find("python:3.12-slim"),
        name="paths",
        command=["/bin/sh", "-c", "cd /app && cat /app/words.txt && python /app/main.py /apple"],
        files={"/app/main.py": b"import sys; print(sys.argv[1])", "/app/words.txt": b"some words\n"},
    )
    assert said(workload) == ["some words", "/apple"]
