"""The sandbox's network and SSH with ordinary clients: ssh, curl; machines are stand-ins."""

import asyncio
import http.client
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import asyncssh
import pytest
import socks

from tests.scenarios.test_sandbox_cloud import client, code, instance, launch, running, state
from tests.waiting import until

assert running  # the fixture

HOME_BLOCK = "203.0.113.7/32"
ssh_needed = pytest.mark.skipif(shutil.which("ssh") is None, reason="OpenSSH's client is not installed")


def allow(start, end, **peer):
    return {"IpProtocol": "tcp", "FromPort": start, "ToPort": end, **peer}


def anyone(start, end):
    return allow(start, end, IpRanges=[{"CidrIp": "0.0.0.0/0"}])


class Lab:
    """A bastion in a public subnet, a private host behind it, in a VPC of their own."""

    def __init__(self, running, folder):
        self.running, self.folder, self.ec2 = running, folder, client(running)
        ec2 = self.ec2
        ssm = client(running, "ssm")
        name = "/aws/service/canonical/ubuntu/server/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id"
        self.image = ssm.get_parameter(Name=name)["Parameter"]["Value"]
        ssm.close()
        self.vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        ec2.modify_vpc_attribute(VpcId=self.vpc, EnableDnsHostnames={"Value": True})
        self.public_net, self.private_net = (
            ec2.create_subnet(VpcId=self.vpc, CidrBlock=block)["Subnet"]["SubnetId"]
            for block in ("10.0.1.0/24", "10.0.2.0/24")
        )
        self.gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=self.gateway, VpcId=self.vpc)
        self.table = self.route(self.public_net, GatewayId=self.gateway)
        self.public_group = self.group(
            "public", allow(22, 22, IpRanges=[{"CidrIp": HOME_BLOCK}]), anyone(8003, 8004)
        )
        peer = {"UserIdGroupPairs": [{"GroupId": self.public_group}]}
        self.private_group = self.group("private", allow(22, 22, **peer))
        for kind in ("rsa", "ed25519"):
            material = ec2.create_key_pair(KeyName=f"{folder.name}-{kind}", KeyType=kind)["KeyMaterial"]
            path = folder / f"{kind}.pem"
            path.write_text(material)
            path.chmod(0o600)
        self.bastion = self.run(self.public_net, self.public_group, "rsa", public=True)
        self.private = self.run(self.private_net, self.private_group, "ed25519", public=False)
        self.config = folder / "ssh_config"
        self.wait(self.bastion)
        self.wait(self.private)
        self.write_config()

    def route(self, subnet, **target):
        table = self.ec2.create_route_table(VpcId=self.vpc)["RouteTable"]["RouteTableId"]
        self.ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
        self.ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", **target)
        return table

    def group(self, name, *rules):
        made = self.ec2.create_security_group(GroupName=name, Description=name, VpcId=self.vpc)["GroupId"]
        self.ec2.authorize_security_group_ingress(GroupId=made, IpPermissions=list(rules))
        return made

    def run(self, subnet, group, key, *, public):
        nics = [{"DeviceIndex": 0, "SubnetId": subnet, "Groups": [group], "AssociatePublicIpAddress": public}]
        made = launch(self.ec2, self.image, KeyName=f"{self.folder.name}-{key}", NetworkInterfaces=nics)
        return made["InstanceId"]

    def wait(self, identity):
        until(lambda: state(self.ec2, identity), "running")
        output = "-----BEGIN SSH HOST KEY KEYS-----"
        until(lambda: output in self.ec2.get_console_output(InstanceId=identity).get("Output", ""), True)

    def seen(self, identity):
        return instance(self.ec2, identity)

    def write_config(self):
        bastion, private = self.seen(self.bastion), self.seen(self.private)
        proxy = f"{sys.executable} -m engine.hosts.socks {self.running.socks_proxy} %h %p"
        self.config.write_text(
            "Host *\n StrictHostKeyChecking accept-new\n LogLevel ERROR\n User ubuntu\n IdentitiesOnly yes\n"
            f" UserKnownHostsFile {self.folder / 'known_hosts'}\n ConnectTimeout 2\n"
            f"Host bastion\n HostName {bastion['PublicDnsName']}\n"
            f" IdentityFile {self.folder / 'rsa.pem'}\n ProxyCommand {proxy}\n"
            f"Host private\n HostName {private['PrivateIpAddress']}\n"
            f" IdentityFile {self.folder / 'ed25519.pem'}\n ProxyJump bastion\n"
            f"Host direct\n HostName {private['PrivateIpAddress']}\n"
            f" IdentityFile {self.folder / 'ed25519.pem'}\n ProxyCommand {proxy}\n"
        )

    def ssh(self, *words, stdin="", env=None):
        command = ["ssh", "-F", str(self.config), *words]
        return subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
            env={**os.environ, **(env or {})},
        )

    def says(self, host, command):
        done = self.ssh(host, command)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def internet(self, host):
        return self.ssh(host, "internet").returncode == 0

    def reach(self, host, port, timeout=1.5):
        proxy, _, proxy_port = self.running.socks_proxy.partition(":")
        end = socks.socksocket()
        try:
            end.set_proxy(socks.SOCKS5, proxy, int(proxy_port), rdns=True)
            end.settimeout(timeout)
            end.connect((host, port))
            return end.recv(5).decode()
        except (
            socks.SOCKS5Error,
            socks.GeneralProxyError,
            socks.ProxyConnectionError,
            TimeoutError,
        ) as error:
            return "refused" if "refused" in str(error) else "silence"
        finally:
            end.close()


@pytest.fixture(scope="module")
def lab(running, tmp_path_factory):
    made = Lab(running, tmp_path_factory.mktemp("lab"))
    yield made
    made.ec2.close()


@ssh_needed
def test_commands_with_input_output_and_status(lab):
    done = lab.ssh("bastion", "cat; echo err >&2; exit 3", stdin="in\n")
    assert (done.returncode, done.stdout, done.stderr) == (3, "in\n", "err\n")


@ssh_needed
def test_a_jump_is_judged_as_coming_from_the_bastion(lab):
    assert lab.says("private", "echo here") == "here"
    assert lab.ssh("direct", "true").returncode == 255
    group = {"GroupId": lab.private_group}
    rule = allow(22, 22, UserIdGroupPairs=[{"GroupId": lab.public_group}])
    lab.ec2.revoke_security_group_ingress(IpPermissions=[rule], **group)
    assert lab.ssh("private", "true").returncode == 255
    lab.ec2.authorize_security_group_ingress(IpPermissions=[rule], **group)


@ssh_needed
def test_who_may_log_in(lab):
    root = lab.ssh("-l", "root", "bastion", "id")
    assert root.returncode == 142
    assert root.stdout.startswith('Please login as the user "ubuntu" rather than the user "root".')
    assert "Permission denied (publickey)" in lab.ssh("-l", "admin", "bastion", "id").stderr
    other = ["-F", "none", "-o", f"IdentityFile={lab.folder / 'ed25519.pem'}", "-o", "IdentitiesOnly=yes"]
    proxy = f"ProxyCommand={sys.executable} -m engine.hosts.socks {lab.running.socks_proxy} %h %p"
    options = [*other, "-o", proxy, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    address = lab.seen(lab.bastion)["PublicIpAddress"]
    done = subprocess.run(
        ["ssh", *options, f"ubuntu@{address}", "id"], capture_output=True, text=True, timeout=20, check=False
    )
    assert "Permission denied (publickey)" in done.stderr


@ssh_needed
def test_host_keys_are_those_on_the_console(lab):
    lab.says("bastion", "true")
    known = (lab.folder / "known_hosts").read_text().split()
    console = lab.ec2.get_console_output(InstanceId=lab.bastion)["Output"].split()
    assert any(word in console for word in known if word.startswith("AAAA"))


@ssh_needed
@pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="ssh-agent is not installed")
def test_agents_are_forwarded_when_asked(lab):
    text = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    words = dict(
        part.split("=", 1) for part in text.replace("\n", ";").split(";") if part.startswith("SSH_A")
    )
    pid = text.split("SSH_AGENT_PID=")[1].split(";")[0]
    try:
        key = str(lab.folder / "ed25519.pem")
        subprocess.run(["ssh-add", "-q", key], env={**os.environ, **words}, check=True, capture_output=True)
        with_agent = lab.ssh("-A", "private", "ssh-add -l", env=words)
        assert "ED25519" in with_agent.stdout
        without = lab.ssh("-a", "private", "ssh-add -l", env=words)
        assert without.returncode == 2
    finally:
        os.kill(int(pid), 15)


@ssh_needed
def test_a_shell_at_a_terminal(lab):
    done = lab.ssh("-tt", "bastion", stdin="cd /tmp\npwd\nX=3\necho $X$X\nfalse\nexit\n")
    assert "$ pwd\n/tmp\n" in done.stdout
    assert "\n33\n" in done.stdout
    assert done.stdout.rstrip().endswith("logout")


@ssh_needed
def test_a_script_on_standard_input(lab):
    done = lab.ssh("-T", "bastion", stdin="echo one\necho two\n")
    assert done.stdout == "one\ntwo\n"


def test_bytes_survive(lab):
    """Any bytes in, the same bytes out, a few megabytes of them, through a jump."""
    payload = bytes(range(256)) * 12_000

    async def carry():
        host, _, port = lab.running.socks_proxy.partition(":")
        end = socks.socksocket()
        end.set_proxy(socks.SOCKS5, host, int(port), rdns=True)
        await asyncio.to_thread(end.connect, (lab.seen(lab.bastion)["PublicIpAddress"], 22))
        end.setblocking(False)
        options = {"known_hosts": None, "username": "ubuntu", "config": None}
        async with asyncssh.connect(
            sock=end, client_keys=[str(lab.folder / "rsa.pem")], **options
        ) as bastion:
            address = lab.seen(lab.private)["PrivateIpAddress"]
            keys = [str(lab.folder / "ed25519.pem")]
            async with asyncssh.connect(address, tunnel=bastion, client_keys=keys, **options) as private:
                done = await private.run("cat", input=payload, encoding=None)
                return done.stdout

    assert asyncio.run(carry()) == payload


def test_ports_answer_as_groups_say(lab):
    seen = lab.seen(lab.bastion)
    assert lab.reach(seen["PublicDnsName"], 8003) == "hello"
    assert lab.reach(seen["PublicIpAddress"], 8004) == "refused"
    assert lab.reach(seen["PublicIpAddress"], 8005) == "silence"
    assert lab.reach(seen["PrivateIpAddress"], 8003) == "silence"
    assert lab.reach("no.such.name", 80) == "silence"
    rule = {"GroupId": lab.public_group, "IpPermissions": [anyone(8003, 8004)]}
    lab.ec2.revoke_security_group_ingress(**rule)
    assert lab.reach(seen["PublicIpAddress"], 8003) == "silence"
    lab.ec2.authorize_security_group_ingress(**rule)
    assert lab.reach(seen["PublicIpAddress"], 8003) == "hello"


def test_no_route_no_way_in(lab):
    address = lab.seen(lab.bastion)["PublicIpAddress"]
    lab.ec2.delete_route(RouteTableId=lab.table, DestinationCidrBlock="0.0.0.0/0")
    assert lab.reach(address, 8003) == "silence"
    lab.ec2.create_route(RouteTableId=lab.table, DestinationCidrBlock="0.0.0.0/0", GatewayId=lab.gateway)
    assert lab.reach(address, 8003) == "hello"


def test_the_mirror_tells_the_callers_address(lab):
    proxy, _, port = lab.running.socks_proxy.partition(":")
    end = socks.socksocket()
    end.set_proxy(socks.SOCKS5, proxy, int(port), rdns=True)
    end.connect(("checkip.amazonaws.com", 80))
    connection = http.client.HTTPConnection("checkip.amazonaws.com")
    connection.sock = end
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"203.0.113.7\n"
    connection.close()


@ssh_needed
def test_inside_the_network(lab):
    bastion, private = lab.seen(lab.bastion), lab.seen(lab.private)
    assert lab.says("bastion", f"connect {private['PrivateIpAddress']} 22") == "SSH-2.0-O"
    assert lab.says("bastion", f"connect {private['PrivateDnsName']} 22") == "SSH-2.0-O"
    assert lab.says("bastion", f"connect {private['PrivateIpAddress']} 80") == "silence"
    assert lab.says("private", f"connect {bastion['PrivateIpAddress']} 22") == "silence"
    assert lab.says("private", f"connect {bastion['PublicDnsName']} 8003") == "hello"
    assert lab.says("private", f"connect {bastion['PublicIpAddress']} 8003") == "silence"


@ssh_needed
def test_a_nat_gateway_is_a_way_out(lab):
    assert lab.internet("bastion")
    assert not lab.internet("private")
    ec2 = lab.ec2
    address = ec2.allocate_address(Domain="vpc")
    made = ec2.create_nat_gateway(SubnetId=lab.public_net, AllocationId=address["AllocationId"])
    nat = made["NatGateway"]["NatGatewayId"]

    def nat_state():
        return ec2.describe_nat_gateways(NatGatewayIds=[nat])["NatGateways"][0]["State"]

    table = lab.route(lab.private_net, NatGatewayId=nat)
    until(nat_state, "available")
    assert lab.internet("private")
    assert lab.says("private", f"connect {lab.seen(lab.bastion)['PublicIpAddress']} 8003") == "hello"
    ec2.delete_nat_gateway(NatGatewayId=nat)
    until(nat_state, "deleted")
    assert not lab.internet("private")
    ec2.release_address(AllocationId=address["AllocationId"])
    ec2.delete_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0")

    # the same through the bastion as a NAT instance
    nic = lab.seen(lab.bastion)["NetworkInterfaces"][0]["NetworkInterfaceId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", NetworkInterfaceId=nic)
    assert not lab.internet("private")
    ec2.modify_instance_attribute(InstanceId=lab.bastion, SourceDestCheck={"Value": False})
    (lab.running.directory / "state" / "machines" / lab.bastion / "machine" / "forwards").touch()
    assert not lab.internet("private")  # the bastion's group lets nothing in from there
    everything = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": lab.private_group}]}
    rule = {"GroupId": lab.public_group, "IpPermissions": [everything]}
    ec2.authorize_security_group_ingress(**rule)
    assert lab.internet("private")
    ec2.revoke_security_group_ingress(**rule)
    ec2.modify_instance_attribute(InstanceId=lab.bastion, SourceDestCheck={"Value": True})


@ssh_needed
def test_egress_rules_count(lab):
    everything = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    rule = {"GroupId": lab.public_group, "IpPermissions": [everything]}
    lab.ec2.revoke_security_group_egress(**rule)
    try:
        assert not lab.internet("bastion")
        assert lab.ssh("private", "true").returncode == 255
    finally:
        lab.ec2.authorize_security_group_egress(**rule)
    assert lab.internet("bastion")


@ssh_needed
def test_reboot_stop_and_start(lab):
    boots = lab.running.directory / "state" / "machines" / lab.bastion / "machine" / "boots"
    before = int(boots.read_text())
    lab.ec2.reboot_instances(InstanceIds=[lab.bastion])
    until(lambda: boots.read_text().strip(), str(before + 1))  # empty for a moment while it is written
    until(lambda: lab.ssh("bastion", "true").returncode, 0)
    address = lab.seen(lab.bastion)["PublicIpAddress"]
    lab.ec2.stop_instances(InstanceIds=[lab.bastion])
    until(lambda: state(lab.ec2, lab.bastion), "stopped")
    assert lab.reach(address, 8003) == "silence"
    lab.ec2.start_instances(InstanceIds=[lab.bastion])
    started = time.monotonic()
    until(lambda: state(lab.ec2, lab.bastion), "running")
    lab.write_config()
    assert lab.reach(address, 8003) == "silence"
    until(lambda: lab.reach(lab.seen(lab.bastion)["PublicIpAddress"], 22), "SSH-2")
    assert time.monotonic() - started < 5
    assert lab.says("private", "echo again") == "again"


def test_a_terminated_machine_leaves_nothing(lab):
    made = lab.run(lab.public_net, lab.public_group, "rsa", public=True)
    folder = Path(lab.running.directory) / "state" / "machines" / made
    until(folder.exists, True)
    lab.ec2.terminate_instances(InstanceIds=[made])
    until(folder.exists, False)
    assert code(lab.ec2.start_instances, InstanceIds=[made]) == "IncorrectInstanceState"
