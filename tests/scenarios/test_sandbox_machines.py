"""The whole sandbox with the machines it really has: a page served, an agent used, a kill survived."""

import os
import shutil
import subprocess

import pytest

import engine.sandbox as sandbox
from tests.scenarios.test_sandbox_cloud import client
from tests.scenarios.test_sandbox_network import Lab
from tests.scenarios.test_sandbox_process import kill
from tests.waiting import until, waited

pytestmark = pytest.mark.skipif(
    any(shutil.which(name) is None for name in ("ssh", "curl")), reason="needs ssh and curl"
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    before = os.environ.get("LABCTL_SANDBOX_DIR")
    os.environ["LABCTL_SANDBOX_DIR"] = str(tmp_path_factory.mktemp("sandbox"))
    made = Lab(sandbox.ensure({"boot_seconds": 0.2, "ssh_seconds": 0.2}), tmp_path_factory.mktemp("lab"))
    yield made
    made.ec2.close()
    sandbox.stop()
    if before is None:
        del os.environ["LABCTL_SANDBOX_DIR"]
    else:
        os.environ["LABCTL_SANDBOX_DIR"] = before


def page(lab):
    url = f"http://{lab.seen(lab.bastion)['PublicDnsName']}:8003/"
    command = ["curl", "-s", "-m", "3", "--proxy", f"socks5h://{lab.running.socks_proxy}", url]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def test_a_container_serves_a_page(lab):
    lab.says("bastion", "sudo apt-get update -q && sudo apt-get install -yq docker.io")
    lab.says("bastion", "sudo docker run -d --restart always -p 8003:80 --name web httpd:2.4")
    assert "It works!" in page(lab)


def test_no_way_out_no_packages(lab):
    done = lab.ssh("private", "sudo apt-get update && sudo apt-get install -y jq")
    assert done.returncode != 0
    assert "Temporary failure resolving 'archive.ubuntu.com'" in done.stdout + done.stderr


def test_an_image_keeps_what_was_on_the_disk(lab):
    lab.says("bastion", "echo kept | sudo tee /srv/note")
    made = lab.ec2.create_image(InstanceId=lab.bastion, Name="copy")["ImageId"]
    lab.image, before = made, lab.image
    copy = lab.run(lab.public_net, lab.public_group, "rsa", public=True)
    lab.image = before
    lab.wait(copy)
    address = lab.seen(copy)["PublicIpAddress"]
    assert lab.ssh("-o", f"HostName={address}", "bastion", "cat /srv/note").stdout == "kept\n"
    lab.ec2.terminate_instances(InstanceIds=[copy])
    lab.ec2.deregister_image(ImageId=made)


def test_machines_survive_a_kill_of_the_sandbox(lab):
    boot = lab.says("bastion", "cat /proc/sys/kernel/random/boot_id")
    kill(lab.running)
    lab.running = sandbox.ensure({"boot_seconds": 0.2, "ssh_seconds": 0.2})
    lab.ec2.close()
    lab.ec2 = client(lab.running)
    lab.write_config()
    until(lambda: "It works!" in page(lab), True)
    assert lab.says("bastion", "cat /proc/sys/kernel/random/boot_id") == boot
    assert lab.says("private", "echo still here") == "still here"


def test_a_reboot_starts_what_is_to_start(lab):
    boot = lab.says("bastion", "cat /proc/sys/kernel/random/boot_id")
    lab.ec2.reboot_instances(InstanceIds=[lab.bastion])
    # Empty where nobody answers.
    waited(lambda: lab.ssh("bastion", "cat /proc/sys/kernel/random/boot_id").stdout.strip() not in ("", boot))
    assert "It works!" in page(lab)
