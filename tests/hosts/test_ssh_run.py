from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import HostUnreachable, StepFailed
from engine.hosts import Host, Hosts, RunLog, wire
from engine.on_host import Upload
from tests.hosts.servers import LabHosts, Sshd, login

Start = Callable[..., Sshd]


@pytest.fixture
def sshd(start_sshd: Start) -> Sshd:
    return start_sshd()


@pytest.fixture
def host(lab: LabHosts, sshd: Sshd) -> Host:
    lab.know(sshd)
    return lab.hosts.host("bastion", say=lab.said.append, timeout=20)


def test_status_output_and_errors_are_exact(host: Host, lab: LabHosts) -> None:
    ran = host.run("printf 'a\\000\\377\\n\\n'; printf 'oops' >&2; exit 7", user=lab.user)
    assert (ran.status, ran.stdout, ran.stderr) == (7, b"a\x00\xff\n\n", b"oops")


def test_set_e_and_traps_are_the_scripts_own(host: Host, lab: LabHosts) -> None:
    ran = host.run("set -eu\ntrap 'echo bye' EXIT\nfalse\necho never", user=lab.user)
    assert (ran.status, ran.stdout) == (1, b"bye\n")


def test_nothing_to_read_for_commands_that_ask(host: Host, lab: LabHosts) -> None:
    assert host.run("cat; echo after", user=lab.user).stdout == b"after\n"


def test_quotes_here_documents_and_letters_of_all_sorts_survive(host: Host, lab: LabHosts) -> None:
    script = "cat <<'EOF'\nit's \"$HOME\" `x` \\ ünï — 漢\nEOF\nprintf %s 'a'\"'\"'b'"
    expected = "it's \"$HOME\" `x` \\ ünï — 漢\na'b".encode()
    assert host.run(script, user=lab.user).stdout == expected
    upload = Upload(b"x")
    assert host.run(script, user=lab.user, files=[upload]).stdout == expected


def test_a_script_larger_than_an_argument_may_be(host: Host, lab: LabHosts) -> None:
    script = "x='" + "y" * 300_000 + "'\necho ${#x}"
    assert host.run(script, user=lab.user).stdout == b"300000\n"


def test_input_and_uploads_are_binary_safe_and_leave_nothing(
    host: Host, lab: LabHosts, tmp_path: Path
) -> None:
    data = bytes(range(256)) * 40
    file = tmp_path / "file"
    file.write_bytes(data[::-1])
    script = (
        'cat; cat "$labctl_upload_1" "$labctl_upload_2"; stat -c %a "${labctl_upload_1%/*}" >&2; '
        'echo "${labctl_upload_1%/*}" >&2; exit 5'
    )
    ran = host.run(script, stdin=data, files=[Upload(file), Upload(b"")], user=lab.user)
    assert ran.status == 5
    assert ran.stdout == data + data[::-1]
    mode, folder = ran.stderr.decode().split()
    assert mode == "700"
    assert not Path(folder).exists()


def test_a_big_file_is_streamed_along_with_input(host: Host, lab: LabHosts, tmp_path: Path) -> None:
    big = tmp_path / "big"
    block = os.urandom(1 << 20)
    with big.open("wb") as file:
        for _ in range(40):
            file.write(block)
        file.write(b"tail")
    ran = host.run(
        'sha256sum <"$labctl_upload_1"; cat "$labctl_upload_2"; cat',
        files=[Upload(big), Upload(b"two")],
        stdin=b"in\x00put",
        user=lab.user,
    )
    assert ran.stdout == hashlib.sha256(block * 40 + b"tail").hexdigest().encode() + b"  -\ntwoin\x00put"


def test_a_missing_file_is_told_before_anything_runs(host: Host, lab: LabHosts, tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"cannot read .*nothing: No such file"):
        host.run("echo", files=[Upload(tmp_path / "nothing")], user=lab.user)
    assert host.run("echo still here", user=lab.user).status == 0


def test_much_output_on_both_streams(host: Host, lab: LabHosts) -> None:
    ran = host.run("head -c 9000000 /dev/zero; head -c 5000000 /dev/zero >&2", user=lab.user)
    assert (len(ran.stdout), len(ran.stderr)) == (9_000_000, 5_000_000)


def test_time_is_up_and_what_ran_is_ended_there(host: Host, lab: LabHosts, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    began = time.monotonic()
    with pytest.raises(StepFailed, match=r"bastion: not done after 0\.5 s, ended there"):
        host.run(f"sh -c 'echo $$ >{mark}; exec sleep 60'; echo no", timeout=0.5, user=lab.user)
    assert time.monotonic() - began < 30
    assert not Path(f"/proc/{mark.read_text().strip()}").exists()
    assert host.run("echo on", user=lab.user).stdout == b"on\n"


def test_what_a_script_leaves_running_does_not_hold_it_up(host: Host, lab: LabHosts) -> None:
    began = time.monotonic()
    assert host.run("sleep 60 & echo done", user=lab.user).stdout == b"done\n"
    assert time.monotonic() - began < 30


def test_the_last_words_after_a_long_silence_are_heard(host: Host, lab: LabHosts) -> None:
    for _ in range(3):
        assert host.run("sleep 1.7; echo last", user=lab.user).stdout == b"last\n"


def test_a_chatty_login_shell(lab: LabHosts, start_sshd: Start) -> None:
    sshd = start_sshd("ForceCommand echo 'Welcome to lab 7'; sh -c \"$SSH_ORIGINAL_COMMAND\"")
    lab.know(sshd)
    ran = lab.hosts.host("bastion", timeout=20).run("echo out", user=lab.user)
    assert ran.stdout == b"out\n"


def test_a_script_that_closes_its_output_is_waited_for(host: Host, lab: LabHosts) -> None:
    assert host.run("exec >&- 2>&-; sleep 0.3; exit 4", user=lab.user).status == 4


def test_connection_lost_in_the_middle_is_no_failed_command(host: Host, lab: LabHosts, sshd: Sshd) -> None:
    mark = lab.folder / "running"

    def cut_once_it_runs() -> None:
        while not mark.exists():
            time.sleep(0.02)
        sshd.cut()

    threading.Thread(target=cut_once_it_runs).start()
    with pytest.raises(HostUnreachable, match="the connection to bastion was lost while a script ran there"):
        host.run(f"touch {mark}; sleep 60", user=lab.user)
    assert host.run("echo back", user=lab.user).stdout == b"back\n"


def test_connection_lost_between_scripts_is_made_again(host: Host, lab: LabHosts, sshd: Sshd) -> None:
    for _ in range(3):
        assert host.run("echo x", user=lab.user).status == 0
    before = host.transport()
    sshd.cut()
    while before.is_active():
        time.sleep(0.02)
    assert host.run("echo x", user=lab.user).status == 0


def test_half_a_script_never_runs(host: Host, lab: LabHosts, tmp_path: Path) -> None:
    channel = host.transport().open_session()
    channel.exec_command(wire.as_user(wire.TEXT_BOOT, None, "me"))
    channel.sendall(f"touch {tmp_path}/half\nech".encode())
    channel.shutdown_write()
    assert channel.recv_exit_status() == 255
    assert not (tmp_path / "half").exists()


def test_one_round_trip_a_script_and_none_for_set_up(host: Host, lab: LabHosts) -> None:
    assert host.round_trips == 0
    for _ in range(5):
        host.run("true", files=[Upload(b"x")], user=lab.user)
    assert host.round_trips == 5


def test_scripts_of_many_threads_run_in_turn(host: Host, lab: LabHosts, tmp_path: Path) -> None:
    outputs: list[bytes] = []
    script = f"mkdir {tmp_path}/lock || exit 1; sleep 0.02; rmdir {tmp_path}/lock; echo ok"

    def work() -> None:
        outputs.append(host.run(script, user=lab.user).stdout)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outputs == [b"ok\n"] * 8


def test_login_user_and_another_user(host: Host, lab: LabHosts) -> None:
    assert host.run("id -un", user=None).stdout.decode().strip() == login()
    if os.geteuid() == 0:
        assert host.run("id -un", user="nobody").stdout == b"nobody\n"


def test_the_log_has_scripts_and_masked_output(lab: LabHosts, sshd: Sshd, tmp_path: Path) -> None:
    log = RunLog(tmp_path / "run.log", mask=lambda text: text.replace("s3cret\nline", "****"))
    lab.hosts = Hosts(folder=lab.folder, log=log)
    lab.know(sshd)
    host = lab.hosts.host("bastion", timeout=20)
    host.run("printf 's3cret\\nline'; echo plain >&2; exit 3", user=lab.user)
    host.run("echo hidden", user=lab.user, quiet=True)
    text = log.path.read_text()
    lab.hosts.close()
    assert "exit 3" in text
    assert "> ****" in text
    assert "! plain" in text
    assert "s3cret\nline" not in text
    assert "hidden" not in text
    assert log.path.stat().st_mode & 0o777 == 0o600
