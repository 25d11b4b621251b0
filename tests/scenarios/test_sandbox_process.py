"""The background process: started once, found again, stopped, killed, reset; its state lasts."""

import os
import signal
import stat
import subprocess
import sys
import threading

import pytest

import engine.sandbox as sandbox
from engine.errors import Invalid, Unreachable
from tests import clients
from tests.waiting import until


@pytest.fixture
def folder(tmp_path, monkeypatch):
    place = tmp_path / "sandbox"
    monkeypatch.setenv("LABCTL_SANDBOX_DIR", str(place))
    yield place
    sandbox.stop()


def client(running):
    return clients.at(running.aws_endpoint, "ec2")


def blocks(running):
    ec2 = client(running)
    found = sorted(one["CidrBlock"] for one in ec2.describe_vpcs()["Vpcs"])
    ec2.close()
    return found


def make(running, block):
    ec2 = client(running)
    ec2.create_vpc(CidrBlock=block)
    ec2.close()


def kill(running):
    """Kills the sandbox, which is a child of this process; returns once it is gone."""
    os.kill(running.pid, signal.SIGKILL)
    assert os.waitpid(running.pid, 0)[0] == running.pid


def test_started_when_needed_then_found_stopped_and_started_with_its_state(folder):
    assert sandbox.status() is None
    assert sandbox.stop() is False
    said = []
    first = sandbox.ensure({}, said.append)
    assert said == ["starting the sandbox"]
    assert sandbox.ensure({}, said.append) == first == sandbox.status()
    assert len(said) == 1
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    make(first, "10.7.0.0/16")
    assert sandbox.stop() is True
    assert sandbox.status() is None
    again = sandbox.ensure({})
    assert again.pid != first.pid
    assert blocks(again) == ["10.7.0.0/16", "172.31.0.0/16"]


def test_killed_it_is_started_again_with_what_it_last_wrote(folder):
    first = sandbox.ensure({})
    make(first, "10.8.0.0/16")
    kill(first)
    assert sandbox.status() is None
    said = []
    again = sandbox.ensure({}, said.append)
    assert said == ["the sandbox had been killed; starting it again with the state it last wrote"]
    assert blocks(again) == ["10.8.0.0/16", "172.31.0.0/16"]


def test_reset_forgets_everything(folder):
    make(sandbox.ensure({}), "10.9.0.0/16")
    sandbox.reset()
    assert sandbox.status() is None
    assert blocks(sandbox.ensure({})) == ["172.31.0.0/16"]
    sandbox.reset()
    sandbox.reset()


def test_two_at_once_start_one(folder):
    program = "import engine.sandbox as s; print(s.ensure({}).pid)"
    processes = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    pids = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert len(pids) == 1
    assert sandbox.status().pid == int(pids.pop())


def test_new_settings_reach_a_running_sandbox(folder):
    first = sandbox.ensure({"boot_seconds": 30})
    assert sandbox.ensure({"boot_seconds": 0.05}) == first
    ec2 = client(first)
    image = ec2.describe_images(Owners=["136693071363"])["Images"][0]["ImageId"]
    made = ec2.run_instances(ImageId=image, InstanceType="t2.micro", MinCount=1, MaxCount=1)["Instances"][0]

    def state():
        seen = ec2.describe_instances(InstanceIds=[made["InstanceId"]])["Reservations"][0]["Instances"][0]
        return seen["State"]["Name"]

    until(state, "running", seconds=5)
    ec2.close()


def test_another_program_on_its_port_is_not_it(folder):
    """A stale file that names a port on which somebody else answers now."""
    import http.server
    import json

    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        folder.mkdir()
        info = {
            "pid": os.getpid(),
            "aws_endpoint": f"http://127.0.0.1:{server.server_address[1]}",
            "socks_proxy": "127.0.0.1:1",
            "secret": "s",
            "secret_id": "i",
        }
        (folder / sandbox.INFO).write_text(json.dumps(info))
        assert sandbox.status() is None
        assert sandbox.stop() is False
        server.shutdown()


def test_a_folder_that_cannot_be_made_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LABCTL_SANDBOX_DIR", str(tmp_path / "file" / "sandbox"))
    with pytest.raises(Unreachable) as caught:
        sandbox.ensure({})
    assert "cannot be made: Not a directory" in caught.value.message
    assert "LABCTL_SANDBOX_DIR" in caught.value.remedy


def test_an_unreadable_state_is_put_aside(folder):
    sandbox.ensure({})
    sandbox.stop()
    state = folder / sandbox.STATE / "cloud"
    state.write_bytes(b"nonsense")
    assert blocks(sandbox.ensure({})) == ["172.31.0.0/16"]
    assert state.with_suffix(".unreadable").read_bytes() == b"nonsense"


def test_wrong_settings_are_told_all_at_once(folder):
    with pytest.raises(Invalid) as caught:
        sandbox.ensure({"boot_seconds": -1, "hosts": "vmware", "speed": 3, "images": [{}]})
    assert [problem.what for problem in caught.value.problems] == [
        "sandbox: there is no setting `speed`",
        "sandbox: hosts: there are no hosts 'vmware'",
        "sandbox: boot_seconds: -1 is not a time",
        "sandbox: images: each needs a name",
    ]
    assert sandbox.status() is None


def test_asking_for_the_sandbox_imports_nothing_big(folder):
    program = (
        "import sys, engine.sandbox as s; s.status();"
        "print(sorted({'moto', 'boto3', 'asyncssh', 'pydantic', 'paramiko'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
