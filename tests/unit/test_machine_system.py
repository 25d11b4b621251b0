UNIT = """[Unit]
Description=Forward
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/sysctl -q -w net.ipv4.ip_forward=1
ExecStart=/usr/sbin/iptables -t nat -A POSTROUTING -s 10.0.0.0/24 ! -d 10.0.0.0/24 -j MASQUERADE
ExecStop=/usr/sbin/iptables -t nat -D POSTROUTING -s 10.0.0.0/24 ! -d 10.0.0.0/24 -j MASQUERADE
[Install]
WantedBy=multi-user.target
"""


def test_packages_need_lists_first(bench):
    assert bench.err("apt-get install -y htop") == "E: Unable to locate package htop"
    assert bench.root("apt-get update -q && apt-get install -y htop").status == 0
    query = "dpkg-query -W -f='${Package} ${Status} ${Version}\\n' htop"
    assert bench.out(query) == "htop install ok installed 3.0.5-7build2\n"
    assert bench.err("apt-get install -y nosuch") == "E: Unable to locate package nosuch"
    assert bench.err("apt-get install -y htop=9") == "E: Version '9' for 'htop' was not found"


def test_without_a_way_out_nothing_is_fetched(bench):
    bench.root("apt-get update")
    bench.network.up = False
    result = bench.root("apt-get install -y htop")
    assert result.status == 100
    assert b"Temporary failure resolving 'archive.ubuntu.com'" in result.stderr
    result = bench.root("apt-get update")
    assert result.status == 0
    assert b"W: Some index files failed to download" in result.stderr
    assert bench.root("apt-get update -o APT::Update::Error-Mode=any").status == 100


def test_packages_are_for_root(bench):
    result = bench.run("apt-get install -y htop")
    assert result.status == 100
    assert b"are you root?" in result.stderr


def test_dockers_repository_needs_its_key(bench):
    source = (
        'echo "deb [signed-by=/etc/apt/keyrings/docker.asc] '
        'https://download.docker.com/linux/ubuntu jammy stable" '
        "> /etc/apt/sources.list.d/docker.list; apt-get update"
    )
    assert "NO_PUBKEY" in bench.err(source)
    bench.root("curl -fsSL https://download.docker.com/linux/ubuntu/gpg -o /etc/apt/keyrings/docker.asc")
    assert bench.root(source).status == 0
    assert bench.root("apt-get install -y docker-ce docker-ce-cli containerd.io").status == 0
    assert bench.out(
        "systemctl is-active docker; systemctl is-enabled docker; getent group docker | cut -d: -f1"
    ) == ("active\nenabled\ndocker\n")


def test_purged_packages_leave_nothing(bench):
    bench.root("apt-get update; apt-get install -y nginx")
    assert bench.out(
        "systemctl is-active nginx; curl -s localhost | grep -o 'Welcome to nginx' | head -n 1"
    ) == ("active\nWelcome to nginx\n")
    assert bench.root("apt-get purge -y nginx").status == 0
    assert bench.root("dpkg-query -W nginx").status == 1
    assert bench.run("systemctl is-active nginx").stdout == b"inactive\n"


def test_what_dnf_removes_is_gone(make):
    bench = make(system="amazon-linux-2023", user="ec2-user")
    assert bench.root("dnf install -y docker && systemctl start docker").status == 0
    assert bench.root("docker ps && dnf remove -y docker").status == 0
    assert bench.run("systemctl is-active docker").stdout == b"inactive\n"
    assert bench.run("command -v docker").status == 1


def test_oneshot_units_really_run(bench):
    bench.root(f"cat > /etc/systemd/system/fwd.service <<'E'\n{UNIT}E\nsystemctl daemon-reload")
    assert not bench.machine.forwards
    assert bench.root("systemctl enable --now fwd").status == 0
    assert bench.machine.forwards
    assert bench.out("systemctl show -p ActiveState,SubState,UnitFileState,LoadState fwd") == (
        "LoadState=loaded\nActiveState=active\nSubState=exited\nUnitFileState=enabled\n"
    )
    bench.loop.run(bench.machine.reboot())
    assert bench.machine.forwards
    bench.root("systemctl disable --now fwd")
    assert not bench.machine.forwards


def test_a_link_to_a_unit_that_is_gone_is_still_removed(bench):
    bench.root(f"cat > /etc/systemd/system/fwd.service <<'E'\n{UNIT}E\nsystemctl enable fwd")
    bench.root("rm /etc/systemd/system/fwd.service")
    told = bench.root("systemctl disable fwd").stderr.decode()
    assert told == "Removed /etc/systemd/system/multi-user.target.wants/fwd.service.\n"
    assert "does not exist" in bench.err("systemctl disable fwd")


def test_a_unit_with_a_dot_in_its_name(bench):
    bench.root(f"cat > /etc/systemd/system/fwd.v2.service <<'E'\n{UNIT}E\nsystemctl daemon-reload")
    assert bench.root("systemctl enable --now fwd.v2").status == 0
    assert bench.machine.forwards
    assert bench.out("systemctl is-enabled fwd.v2.service") == "enabled\n"
    assert bench.root("systemctl disable --now fwd.v2").status == 0
    assert not bench.machine.forwards


def test_units_that_fail_or_are_not_there(bench):
    bench.root(
        "printf '[Service]\\nType=oneshot\\nExecStart=/bin/false\\n' > /etc/systemd/system/bad.service"
    )
    assert bench.err("systemctl start bad").startswith(
        "Job for bad.service failed because the control process exited"
    )
    assert bench.run("systemctl is-active bad").stdout == b"failed\n"
    assert bench.err("systemctl start nope") == "Failed to start nope.service: Unit nope.service not found."
    assert bench.root("systemctl start nope").status == 5
    assert bench.out("systemctl show -p LoadState --value nope") == "not-found\n"
    assert b"Interactive authentication required" in bench.run("systemctl stop bad").stderr


def test_users(bench):
    assert bench.root("groupadd lab; useradd -m -s /bin/bash -u 1500 -G lab,docker ann").status == 6
    assert bench.root("useradd -m -s /bin/bash -u 1500 -G lab ann").status == 0
    assert bench.out("getent passwd ann; id ann") == (
        "ann:x:1500:1500::/home/ann:/bin/bash\nuid=1500(ann) gid=1500(ann) groups=1500(ann),1001(lab)\n"
    )
    assert bench.err("useradd ann") == "useradd: user 'ann' already exists"
    assert bench.root("runuser -u ann -- sh -c 'id -un; echo x > ~/f'").stdout == b"ann\n"
    assert bench.root("stat -c %U /home/ann/f").stdout == b"ann\n"
    assert bench.root("userdel -r ann").status == 0
    assert bench.root("getent passwd ann").status == 2


def test_deluser_with_a_group_only_leaves_it(bench):
    assert bench.root("useradd -m ada && groupadd makers && adduser ada makers").status == 0
    assert "makers" in bench.out("id -Gn ada")
    told = bench.root("deluser ada makers").stdout.decode()
    assert told == "Removing user `ada' from group `makers' ...\nDone.\n"
    assert bench.out("id -Gn ada") == "ada\n"
    assert "not a member" in bench.err("deluser ada makers")
    assert bench.root("deluser --remove-home ada").status == 0
    assert bench.run("id ada || test -d /home/ada").status == 1


def test_only_those_whom_sudoers_let(bench):
    bench.root("useradd -m bob")
    result = bench.root("runuser -u bob -- sudo -n id")
    assert (result.status, result.stderr) == (1, b"sudo: a password is required\n")


def test_the_network_from_within(bench):
    assert bench.out("curl -fsS -o /dev/null https://download.docker.com/") == ""
    bench.network.up = False
    result = bench.run("curl -fsS -o /dev/null https://download.docker.com/")
    assert result.status == 28
    assert bench.run("curl -s localhost:81").status == 7
    assert bench.run("ssh-add -l").status == 2
