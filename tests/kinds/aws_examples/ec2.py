"""An example of each kind of EC2."""

from __future__ import annotations

import tempfile
from pathlib import Path

from engine.resource import Resource
from engine.resources.ec2.compute import Ec2Instance
from engine.resources.ec2.gateways import Ec2Eip, Ec2VpcIgw, Ec2VpcNatGateway
from engine.resources.ec2.keys import Ec2Key
from engine.resources.ec2.network import Ec2VpcNet, Ec2VpcSubnet
from engine.resources.ec2.routes import Ec2VpcRouteTable
from engine.resources.ec2.security import Ec2SecurityGroup, Ec2SecurityGroupRule
from engine.resources.ec2.storage import Ec2Ami, Ec2Vol
from tests.kinds.aws_examples import Example
from tests.kinds.aws_stage import Stage


def a_vpc(stage: Stage) -> str:
    return str(stage.make(Ec2VpcNet(cidr_block="10.9.0.0/16"), "vpc")["id"])


def a_subnet(stage: Stage, vpc: str, cidr: str = "10.9.0.0/24") -> str:
    return str(stage.make(Ec2VpcSubnet(vpc_id=vpc, cidr=cidr), "subnet")["id"])


def an_image(stage: Stage) -> str:
    return Ec2Instance.resolve(stage.world(), "image", "ubuntu-22.04")


def an_instance(stage: Stage, **fields: object) -> str:
    subnet = a_subnet(stage, a_vpc(stage))
    instance = Ec2Instance.model_validate(
        {"image": an_image(stage), "instance_type": "t3.micro", "vpc_subnet_id": subnet, **fields}
    )
    return str(stage.make(instance, "instance")["id"])


def vpc_net(stage: Stage) -> tuple[Resource, Resource | None]:
    first = Ec2VpcNet(cidr_block="10.8.0.0/16", tenancy="default", dns_hostnames=True)
    return first, Ec2VpcNet(cidr_block="10.8.0.0/16", tenancy="default", dns_hostnames=False)


def subnet(stage: Stage) -> tuple[Resource, Resource | None]:
    vpc = a_vpc(stage)
    first = Ec2VpcSubnet(vpc_id=vpc, cidr="10.9.1.0/24", az="us-east-1b", map_public=True)
    return first, first.model_copy(update={"map_public": False})


def igw(stage: Stage) -> tuple[Resource, Resource | None]:
    vpc, other = a_vpc(stage), stage.make(Ec2VpcNet(cidr_block="10.7.0.0/16"), "vpc2")["id"]
    return Ec2VpcIgw(vpc_id=vpc), Ec2VpcIgw(vpc_id=other)


def route_table(stage: Stage) -> tuple[Resource, Resource | None]:
    vpc = a_vpc(stage)
    one, two = a_subnet(stage, vpc), a_subnet(stage, vpc, "10.9.1.0/24")
    gateway = stage.make(Ec2VpcIgw(vpc_id=vpc), "igw")["id"]
    image = an_image(stage)
    bastion = Ec2Instance(image=image, instance_type="t3.micro", vpc_subnet_id=one, source_dest_check=False)
    through = stage.make(bastion, "bastion")
    routes = [{"dest": "0.0.0.0/0", "gateway_id": gateway}]
    first = Ec2VpcRouteTable.model_validate({"vpc_id": vpc, "routes": routes, "subnets": [one]})
    routes = [
        {"dest": "0.0.0.0/0", "gateway_id": through["network_interface_id"]},
        {"dest": "192.168.0.0/16", "instance_id": through["id"]},
    ]
    return first, Ec2VpcRouteTable.model_validate({"vpc_id": vpc, "routes": routes, "subnets": [two]})


def eip(stage: Stage) -> tuple[Resource, Resource | None]:
    vpc = a_vpc(stage)
    stage.make(Ec2VpcIgw(vpc_id=vpc), "igw")
    where = a_subnet(stage, vpc)
    host = Ec2Instance(image=an_image(stage), instance_type="t3.micro", vpc_subnet_id=where)
    return Ec2Eip(device_id=None), Ec2Eip(device_id=stage.make(host, "host")["id"])


def nat_gateway(stage: Stage) -> tuple[Resource, Resource | None]:
    vpc = a_vpc(stage)
    stage.make(Ec2VpcIgw(vpc_id=vpc), "igw")
    where = a_subnet(stage, vpc)
    address = stage.make(Ec2Eip(), "address")["id"]
    return Ec2VpcNatGateway(subnet_id=where, allocation_id=address), None


def security_group(stage: Stage) -> tuple[Resource, Resource | None]:
    vpc = a_vpc(stage)
    other = stage.make(Ec2SecurityGroup(group_name="other", description="other", vpc_id=vpc), "other")["id"]
    common = {"group_name": "PublicSG", "description": "Bastion host security group", "vpc_id": vpc}
    first = [
        {"proto": "tcp", "ports": 22, "cidr_ip": "203.0.113.7"},
        {"proto": "tcp", "ports": [8003, "8800-8810"], "cidr_ip": ["0.0.0.0/0"], "cidr_ipv6": "::/0"},
        {"proto": "icmp", "cidr_ip": "10.0.0.0/8", "rule_desc": "ping"},
        {"proto": "all", "group_id": "self"},
        {"proto": "tcp", "ports": 22, "group_id": other},
    ]
    egress = [{"proto": "tcp", "ports": [80, 443], "cidr_ip": "0.0.0.0/0"}]
    second = [first[0], {**first[1], "ports": [8003, 8004]}, {**first[2], "rule_desc": "pings"}]
    return (
        Ec2SecurityGroup.model_validate({**common, "rules": first, "rules_egress": egress}),
        Ec2SecurityGroup.model_validate({**common, "rules": second, "rules_egress": []}),
    )


def security_group_rule(stage: Stage) -> tuple[Resource, Resource | None]:
    vpc = a_vpc(stage)
    group = stage.make(Ec2SecurityGroup(group_name="g", description="g", vpc_id=vpc), "group")["id"]
    first = Ec2SecurityGroupRule(security_group_id=group, proto="all", group_id="self")
    second = {"security_group_id": group, "proto": "tcp", "ports": "80-90", "cidr_ip": "10.1.2.3/8"}
    return first, Ec2SecurityGroupRule.model_validate(second)


def key(stage: Stage) -> tuple[Resource, Resource | None]:
    folder = Path(tempfile.mkdtemp())
    return Ec2Key(key_name=f"{stage.lab}-key", private_key_file=str(folder / "key.pem"), key_type="rsa"), None


def instance(stage: Stage) -> tuple[Resource, Resource | None]:
    vpc = a_vpc(stage)
    where = a_subnet(stage, vpc)
    groups = [
        stage.make(Ec2SecurityGroup(group_name=name, description=name, vpc_id=vpc), name)["id"]
        for name in ("one", "two")
    ]
    folder = Path(tempfile.mkdtemp())
    pair = Ec2Key(key_name=f"{stage.lab}-key", private_key_file=str(folder / "key.pem"))
    fields = {
        "image": an_image(stage),
        "instance_type": "t2.micro",
        "key_name": stage.make(pair, "key")["key_name"],
        "security_groups": groups,
        "vpc_subnet_id": where,
        "assign_public_ip": True,
        "source_dest_check": False,
        "volume_size": 20,
        "user_data": "#!/bin/sh\ntrue\n",
        "metadata_options": {"http_put_response_hop_limit": 2},
    }
    changed = {
        "instance_type": "t2.small",
        "security_groups": groups[:1],
        "source_dest_check": True,
        "metadata_options": {"http_put_response_hop_limit": 3},
    }
    return Ec2Instance.model_validate(fields), Ec2Instance.model_validate({**fields, **changed})


def vol(stage: Stage) -> tuple[Resource, Resource | None]:
    host = an_instance(stage, availability_zone=None)
    zone = Ec2Instance.read_many(stage.world(), [host])[host]["availability_zone"]
    first = Ec2Vol(zone=zone, volume_size=1, volume_type="gp3")
    second = Ec2Vol(zone=zone, volume_size=2, volume_type="gp3", instance=host, device_name="/dev/sdg")
    return first, second


def ami(stage: Stage) -> tuple[Resource, Resource | None]:
    return Ec2Ami(name=f"{stage.lab} image", instance_id=an_instance(stage), description="as it was"), None


EXAMPLES: dict[str, Example] = {
    "ec2_vpc_net": vpc_net,
    "ec2_vpc_subnet": subnet,
    "ec2_vpc_igw": igw,
    "ec2_vpc_route_table": route_table,
    "ec2_vpc_nat_gateway": nat_gateway,
    "ec2_eip": eip,
    "ec2_security_group": security_group,
    "ec2_security_group_rule": security_group_rule,
    "ec2_key": key,
    "ec2_instance": instance,
    "ec2_vol": vol,
    "ec2_ami": ami,
}
