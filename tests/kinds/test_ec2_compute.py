"""Key pairs and instances on the sandbox, looked at from behind with boto3."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from engine.aws.errors import AwsError
from engine.errors import HalfMade, StepFailed
from engine.refs import UNKNOWN
from engine.resources.ec2.compute import Ec2Instance
from engine.resources.ec2.keys import Ec2Key
from tests.kinds.aws_examples.ec2 import a_subnet, a_vpc, an_image, an_instance
from tests.kinds.aws_stage import Stage
from tests.waiting import until, waited

PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIC6Hb8ej0MYI6cNYJlYFbO0zNfL0CRFVw2SPSZFpGW7 me@home"


# -- key pairs ---------------------------------------------------------------------------------------------


def test_the_private_key_is_written_once_and_nowhere_else(stage: Stage, ec2: Any, tmp_path: Path) -> None:
    file = tmp_path / "new" / "lab.pem"
    key = Ec2Key(key_name=stage.lab, private_key_file=str(file))
    values = stage.make(key, "key")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "PRIVATE KEY" in file.read_text()
    assert "PRIVATE KEY" not in str(values)
    assert file.with_name("lab.pem.pub").read_text().split()[:2] == values["public_key"].split()[:2]
    assert sorted(path.name for path in file.parent.iterdir()) == ["lab.pem", "lab.pem.pub"]
    (there,) = ec2.describe_key_pairs(KeyNames=[stage.lab])["KeyPairs"]
    assert there["KeyPairId"] == values["id"]
    Ec2Key.delete(stage.world(), values["id"])
    assert list(file.parent.iterdir()) == []
    assert ec2.describe_key_pairs(Filters=[{"Name": "key-name", "Values": [stage.lab]}])["KeyPairs"] == []


def test_another_key_is_never_written_over(stage: Stage, ec2: Any, tmp_path: Path) -> None:
    file = tmp_path / "lab.pem"
    file.write_text("my only key")
    with pytest.raises(StepFailed, match="is there already") as caught:
        Ec2Key(key_name=stage.lab, private_key_file=str(file)).create(stage.world())
    assert "move it away" in caught.value.remedy
    assert file.read_text() == "my only key"
    assert ec2.describe_key_pairs(Filters=[{"Name": "key-name", "Values": [stage.lab]}])["KeyPairs"] == []


def test_a_pair_that_is_there_already_leaves_no_file(stage: Stage, tmp_path: Path) -> None:
    stage.make(Ec2Key(key_name=stage.lab, private_key_file=str(tmp_path / "one.pem")))
    with pytest.raises(AwsError, match="this lab did not make it"):
        Ec2Key(key_name=stage.lab, private_key_file=str(tmp_path / "two.pem")).create(stage.world())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.pem", "one.pem.pub"]


def test_the_file_of_a_pair_that_is_gone_is_written_anew(stage: Stage, ec2: Any, tmp_path: Path) -> None:
    file = tmp_path / "lab.pem"
    key = Ec2Key(key_name=stage.lab, private_key_file=str(file))
    id = key.create(stage.world("key"))
    old = file.read_text()
    ec2.delete_key_pair(KeyPairId=id)
    with pytest.raises(StepFailed, match="is there already"):
        key.create(stage.world("another_key"))
    stage.make(key, "key")
    assert file.read_text() != old
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_missing_file_is_told(stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "lab.pem"
    key = Ec2Key(key_name=stage.lab, private_key_file=str(file))
    values = stage.make(key)
    file.unlink()
    there = Ec2Key.read_many(stage.world(), [values["id"]])[values["id"]]["private_key_file"]
    assert there is None
    words = Ec2Key.describe_difference("private_key_file", str(file), there)
    assert words == f"{file} does not hold its private key (AWS cannot give it again)"
    assert key.replaces("private_key_file", values)
    file.write_text("another key")
    Ec2Key.delete(stage.world(), values["id"])
    assert file.read_text() == "another key"


def test_a_folder_that_cannot_be_made(stage: Stage, ec2: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StepFailed, match="cannot be written"):
        Ec2Key(key_name=stage.lab, private_key_file=str(tmp_path / "file" / "k.pem")).create(stage.world())
    assert ec2.describe_key_pairs(Filters=[{"Name": "key-name", "Values": [stage.lab]}])["KeyPairs"] == []


def test_a_public_key_is_imported(stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "id.pub"
    file.write_text(PUBLIC + "\n")
    for key in (
        Ec2Key(key_name=f"{stage.lab}-1", public_key_material=PUBLIC),
        Ec2Key(key_name=f"{stage.lab}-2", public_key_file=str(file)),
    ):
        there = stage.make(key)
        wanted = key.wanted()
        assert wanted["public_key_material"] == PUBLIC
        assert not Ec2Key.differs("public_key_material", PUBLIC, there["public_key_material"])
        assert Ec2Key.differs(
            "public_key_material", PUBLIC.replace("zNf", "zNg"), there["public_key_material"]
        )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "write one of private_key_file"),
        ({"private_key_file": "a", "public_key_material": PUBLIC}, "write one of private_key_file"),
        ({"public_key_file": "/nowhere/id.pub"}, "cannot be read"),
        ({"public_key_material": "-----BEGIN OPENSSH PRIVATE KEY-----"}, "holds a private key"),
        ({"public_key_material": "hello"}, "holds no public key"),
        ({"public_key_material": "ecdsa-sha2-nistp256 AAAA"}, "not ECDSA"),
    ],
)
def test_keys_that_make_no_sense(fields: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Ec2Key.model_validate({"key_name": "k", **fields})


# -- instances ---------------------------------------------------------------------------------------------


def test_an_instance_from_behind(stage: Stage, ec2: Any) -> None:
    vpc = a_vpc(stage)
    subnet = a_subnet(stage, vpc)
    instance = Ec2Instance(
        image=an_image(stage),
        instance_type="t3.micro",
        vpc_subnet_id=subnet,
        volume_size=20,
        assign_public_ip=False,
    )
    id = stage.make(instance, "web[alice]")["id"]
    (there,) = ec2.describe_instances(InstanceIds=[id])["Reservations"][0]["Instances"]
    assert there["MetadataOptions"]["HttpTokens"] == "required"
    assert "PublicIpAddress" not in there
    tags = {tag["Key"]: tag["Value"] for tag in there["Tags"]}
    assert tags["Name"] == f"{stage.lab} web[alice]"
    volume = there["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    (disk,) = ec2.describe_volumes(VolumeIds=[volume])["Volumes"]
    assert disk["Size"] == 20
    assert {"Key": "labctl:lab", "Value": stage.lab} in disk["Tags"]


def test_the_root_volume_grows_in_place(stage: Stage, ec2: Any) -> None:
    fields = {
        "image": an_image(stage),
        "instance_type": "t3.micro",
        "vpc_subnet_id": a_subnet(stage, a_vpc(stage)),
    }
    id = stage.make(Ec2Instance.model_validate({**fields, "volume_size": 20}), "web")["id"]

    def size() -> int:
        (there,) = ec2.describe_instances(InstanceIds=[id])["Reservations"][0]["Instances"]
        volume = there["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
        return int(ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["Size"])

    world, changed = stage.world("web"), frozenset({"volume_size"})
    larger = Ec2Instance.model_validate({**fields, "volume_size": 30})
    assert not larger.replaces("volume_size", {})
    larger.update(world, id, changed)
    assert size() == 30
    asked = len(stage.aws.requests)
    larger.update(world, id, changed)
    assert ("ec2", "modify_volume") not in stage.aws.requests[asked:]
    smaller = Ec2Instance.model_validate({**fields, "volume_size": 10})
    with pytest.raises(
        StepFailed, match=r"has 30 GiB and cannot become smaller \(volume_size: 10\)"
    ) as caught:
        smaller.update(world, id, changed | {"termination_protection"})
    assert "labctl apply --replace web" in caught.value.remedy
    assert size() == 30


def test_one_token_makes_one_instance(stage: Stage) -> None:
    instance = Ec2Instance(
        image=an_image(stage), instance_type="t3.micro", vpc_subnet_id=a_subnet(stage, a_vpc(stage))
    )
    world = stage.world("once")
    ids = {instance.create(world) for _ in range(3)}
    (id,) = ids
    stage.made.append((Ec2Instance, id))
    assert Ec2Instance.find(world) == [id]


def test_stopped_and_started(stage: Stage) -> None:
    image, subnet = an_image(stage), a_subnet(stage, a_vpc(stage))
    fields = {"image": image, "instance_type": "t3.micro", "vpc_subnet_id": subnet, "assign_public_ip": True}
    off = Ec2Instance.model_validate({**fields, "running": False})
    on = Ec2Instance.model_validate(fields)
    there = stage.make(off)
    assert (there["state"], there["running"], there["public_ip"]) == ("stopped", False, None)
    assert Ec2Instance.differs("running", on.wanted()["running"], there["running"])
    world = stage.world()
    on.update(world, there["id"], frozenset({"running"}))
    there = Ec2Instance.read_many(world, [there["id"]])[there["id"]]
    assert there["state"] == "running"
    assert there["public_ip"]
    off.update(world, there["id"], frozenset({"running"}))
    assert Ec2Instance.read_many(world, [there["id"]])[there["id"]]["state"] == "stopped"
    assert Ec2Instance.unsettles(frozenset({"running"})) == {"public_ip", "public_dns", "state"}


def test_spot(stage: Stage) -> None:
    spot = Ec2Instance(
        image=an_image(stage),
        instance_type="t3.micro",
        vpc_subnet_id=a_subnet(stage, a_vpc(stage)),
        market="spot",
        max_price=0.5,
    )
    there = stage.make(spot)
    assert there["market"] == "spot"
    assert spot.replaces("instance_type", there)
    assert not spot.replaces("instance_type", {"market": "on-demand"})
    assert spot.price() == pytest.approx(0.5, abs=0.01)


def test_what_cannot_be_finished_is_remembered(stage: Stage, ec2: Any) -> None:
    instance = Ec2Instance(
        image=an_image(stage), instance_type="t3.micro", vpc_subnet_id=a_subnet(stage, a_vpc(stage))
    )
    with pytest.raises(HalfMade, match="gave up waiting for instance") as caught:
        instance.create(stage.world(timeout=0.001))
    stage.made.append((Ec2Instance, caught.value.id))
    assert ec2.describe_instances(InstanceIds=[caught.value.id])["Reservations"]


def test_termination_protection_is_explained(stage: Stage, ec2: Any) -> None:
    subnet = a_subnet(stage, a_vpc(stage))
    fields = {"image": an_image(stage), "instance_type": "t3.micro", "vpc_subnet_id": subnet}
    there = stage.make(Ec2Instance.model_validate({**fields, "termination_protection": True}))
    with pytest.raises(AwsError) as caught:
        Ec2Instance.delete(stage.world(), there["id"])
    assert "termination_protection: false" in caught.value.remedy
    Ec2Instance.model_validate(fields).update(
        stage.world(), there["id"], frozenset({"termination_protection"})
    )


def test_an_instance_ended_by_hand_is_gone(stage: Stage, ec2: Any) -> None:
    id = an_instance(stage)
    ec2.terminate_instances(InstanceIds=[id])
    until(lambda: Ec2Instance.read_many(stage.world(), [id]), {})


def test_what_a_machine_tells(stage: Stage, ec2: Any) -> None:
    id = an_instance(stage, assign_public_ip=True)
    world = stage.world()
    values = Ec2Instance.read_many(world, [id])[id]
    machine = Ec2Instance.machine(world, id, values)
    assert machine.public_address == values["public_ip"]
    assert machine.private_address == values["private_ip"]
    assert machine.not_ready() is None
    assert any(key.startswith("ssh-ed25519 AAAA") for key in waited(machine.host_keys, 10))
    assert machine.explain() == [
        f"the route table of its subnet {values['subnet_id']} has no route to an internet gateway",
        "no rule of its security groups (default) lets any address in to port 22",
    ]
    assert machine.shut_out() == machine.explain()[1]
    # Nobody tells the caller's address here, so a rule may or may not be for it.
    group = values["security_groups"][0]
    some = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "192.0.2.0/24"}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[some])
    assert machine.shut_out() is None
    known = Ec2Instance.machine(replace(world, caller=lambda: "203.0.113.7"), id, values)
    assert known.shut_out() == (
        "its security groups (default) let 192.0.2.0/24 in to port 22, but not you (203.0.113.7)"
    )
    ec2.stop_instances(InstanceIds=[id])
    assert machine.shut_out() is None
    assert machine.not_ready() in {"stopping", "stopped"}
    assert machine.explain()[0].startswith(f"instance {id} is stop")


@pytest.mark.parametrize("name", ["ubuntu-22.04", "ubuntu-24.04", "debian-12", "amazon-linux-2023"])
def test_aliases_of_images(stage: Stage, ec2: Any, name: str) -> None:
    id = Ec2Instance.resolve(stage.world(), "image", name)
    (image,) = ec2.describe_images(ImageIds=[id])["Images"]
    assert name.split("-")[0] in image["Name"] or "al2023" in image["Name"]


def test_name_filters_of_images(stage: Stage) -> None:
    name = "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-*"
    world = stage.world()
    newest = Ec2Instance.resolve(world, "image", "ubuntu-22.04")
    assert Ec2Instance.resolve(world, "image", name) == newest
    assert Ec2Instance.resolve(world, "image", f"099720109477/{name}") == newest
    assert Ec2Instance.resolve(world, "image", "ami-0123456789abcdef0") == "ami-0123456789abcdef0"
    with pytest.raises(StepFailed, match=r"no image is called 'ubuntu-18.04'") as caught:
        Ec2Instance.resolve(world, "image", "ubuntu-18.04")
    assert "ubuntu-22.04" in caught.value.remedy
    with pytest.raises(StepFailed, match="no image answers to 'nobody/\\*'"):
        Ec2Instance.resolve(world, "image", "nobody/*")


def test_an_image_that_is_not_there(stage: Stage) -> None:
    instance = Ec2Instance(
        image="ami-0123456789abcdef0",
        instance_type="t3.micro",
        vpc_subnet_id=a_subnet(stage, a_vpc(stage)),
    )
    with pytest.raises(AwsError, match="does not exist in this region"):
        instance.create(stage.world())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"instance_type": "big"}, "is no instance type"),
        ({"max_price": 1}, "max_price is for market: spot"),
        ({"market": "spot", "running": False}, "cannot be stopped"),
        ({"user_data": "x" * 16385}, "at most 16 KB"),
        ({"metadata_options": {"http_tokens": "maybe"}}, "'required' or 'optional'"),
    ],
)
def test_instances_that_make_no_sense(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Ec2Instance.model_validate({"image": "ubuntu-22.04", "instance_type": "t3.micro", **fields})


def test_unknown_fields_pass() -> None:
    instance = Ec2Instance.model_validate(
        {"image": UNKNOWN, "instance_type": UNKNOWN, "security_groups": [UNKNOWN], "running": UNKNOWN}
    )
    assert instance.price() is None
    assert instance.wanted()["image"] is UNKNOWN


@pytest.mark.parametrize(
    ("instance_type", "hourly"),
    [
        ("t2.large", 0.0928),
        ("t2.micro", 0.0116),
        ("t3.medium", 0.0416),
        ("m5.xlarge", 0.192),
        ("p3.2xlarge", 3.06),
    ],
)
def test_prices(instance_type: str, hourly: float) -> None:
    disk = 0.08 * 8 / 730
    assert Ec2Instance(image="a", instance_type=instance_type).price() == pytest.approx(hourly + disk)
    off = Ec2Instance(image="a", instance_type=instance_type, running=False)
    assert off.price() == pytest.approx(disk)


def test_a_price_that_nobody_knows() -> None:
    assert Ec2Instance(image="a", instance_type="x9.mega").price() is None
