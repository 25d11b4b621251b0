import base64

import pytest

BOOT = (
    'exec sudo -n -H sh -c \'echo "labctl $$"; labctl_script=$(cat); '
    'case $labctl_script in *"# labctl: whole") eval "$labctl_script";; *) exit 255;; esac\''
)
RAW = (
    'exec sudo -n -H sh -c \'echo "labctl $$"; IFS= read -r n; '
    's=$(dd bs="$n" count=1 iflag=fullblock 2>/dev/null); eval "$s"\''
)


def test_status_output_and_errors_are_exact(bench):
    result = bench.run("printf 'a\\0\\377'; printf 'e\\376' >&2; exit 7")
    assert (result.status, result.stdout, result.stderr) == (7, b"a\0\xff", b"e\xfe")


def test_a_script_on_standard_input_runs_as_root(bench):
    result = bench.run(BOOT, b"set -eu\nid -u\nfalse\necho no\n# labctl: whole")
    assert result.status == 1
    assert result.stdout.splitlines()[1:] == [b"0"]


def test_half_a_script_never_runs(bench):
    assert bench.run(BOOT, b"touch /ran").status == 255
    assert bench.run("test -e /ran").status == 1


def test_raw_files_behind_a_script(bench):
    data = bytes(range(256)) * 8000
    script = (
        f"dd bs=65536 count={len(data)} iflag=fullblock,count_bytes of=/big 2>/dev/null; cat >/rest"
    ).encode()
    result = bench.run(RAW, b"%d\n" % len(script) + script + data + b"the rest")
    assert result.status == 0
    assert bench.machine.disk.read("/big") == data
    assert bench.out("cat /rest") == "the rest"


def test_looks_as_labctl_sends_them(bench):
    script = (
        "labctl_look() { printf '== %s\\n' \"$1\"; "
        '{ timeout 20 sh -c "$2" </dev/null 2>/dev/null; printf \'\\n%s\' "$?"; } | base64; }\n'
        "labctl_look 0 'cat /etc/hostname'\nlabctl_look 1 'exit 3'\n"
    )
    lines = bench.root(script).stdout.splitlines()
    assert lines[0] == b"== 0"
    assert base64.b64decode(lines[1]) == b"ip-10-0-0-5\n\n0"
    assert base64.b64decode(lines[3]) == b"\n3"


def test_what_users_make_is_theirs(bench):
    bench.out(
        "echo mine > ~/a; sudo -n sh -c 'echo x > /etc/new'; sudo -n sh -c 'cp /etc/new /home/ubuntu/b'"
    )
    text = bench.out("stat -c '%U:%G %a %F' ~/a /etc/new ~/b")
    assert text.splitlines() == [
        "ubuntu:ubuntu 644 regular file", "root:root 644 regular file", "root:root 644 regular file"
    ]  # fmt: skip


def test_files_are_written_as_scripts_do_it(bench):
    bench.root(
        "set -eu\nnew=$(mktemp /srv/.x.XXXXXX)\nstat -c %a $new\nprintf hi >$new\nchown "
        "ubuntu:www-data $new\n"
        "chmod 00640 $new\nmv -fT -- $new /srv/x\ninstall -D -m 600 -o ubuntu -g ubuntu /srv/x /srv/d/y"
    )
    text = bench.out("stat -c '%n|%F|%a|%U|%G|%u' /srv/x /srv/d/y /srv")
    assert text.splitlines() == [
        "/srv/x|regular file|640|ubuntu|www-data|1000",
        "/srv/d/y|regular file|600|ubuntu|ubuntu|1000",
        "/srv|directory|755|root|root|0",
    ]


def test_it_is_kept(bench):
    bench.root("echo kept > /srv/k; chown ubuntu /srv/k; chmod 600 /srv/k; ln -s /srv/k /srv/l")
    bench.machine = bench.again()
    assert bench.out("cat /srv/l; stat -c '%U %a' /srv/k; readlink /srv/l") == "kept\nubuntu 600\n/srv/k\n"


def test_reboot_gives_a_new_boot_id(bench):
    read = "cat /proc/sys/kernel/random/boot_id"
    before = bench.out(read)
    bench.loop.run(bench.machine.reboot())
    assert len(before) == 37
    assert bench.out(read) != before


def test_user_data_runs_once(make):
    bench = make(user_data="#!/bin/sh\necho once >> /srv/log\n")
    bench.loop.run(bench.machine.reboot())
    assert bench.out("cat /srv/log; cloud-init status --wait") == "once\nstatus: done\n"


def test_user_data_that_fails_is_told(make):
    bench = make(user_data="#!/bin/sh\necho trouble >&2\nexit 4\n")
    result = bench.run("cloud-init status --wait; sudo -n tail -n 3 /var/log/cloud-init-output.log")
    assert b"status: error" in result.stdout
    assert b"trouble" in result.stdout


@pytest.mark.parametrize(
    ("system", "user", "line"),
    [
        ("ubuntu-24.04", "ubuntu", 'PRETTY_NAME="Ubuntu 24.04.3 LTS"'),
        ("debian-12", "admin", 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"'),
        ("amazon-linux-2023", "ec2-user", 'PRETTY_NAME="Amazon Linux 2023"'),
    ],
)
def test_systems(make, system, user, line):
    bench = make(system, user)
    assert bench.out("head -n 1 /etc/os-release; whoami").splitlines() == [line, user]


def test_unknown_commands_and_bad_syntax(bench):
    assert bench.run("nosuch").stderr == b"bash: line 1: nosuch: command not found\n"
    assert bench.run("nosuch").status == 127
    assert bench.run("echo 'open").status == 2


def test_a_time_limit_ends_a_command(bench):
    assert bench.run("timeout 0.2 sleep 20").status == 124
