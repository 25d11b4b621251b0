"""The sandbox's AWS as real AWS behaves, seen with plain boto3; machines are stand-ins."""

import base64
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

import engine.sandbox as sandbox
from tests import clients
from tests.waiting import until, waited

PROGRAM = Path(__file__).parents[1] / "unit" / "sandbox_stand_in.py"


@contextlib.contextmanager
def a_sandbox(folder, seconds):
    """A sandbox in which booting takes `seconds`, and the status checks as long again."""
    settings = json.dumps({"boot_seconds": seconds, "ssh_seconds": seconds})
    process = subprocess.Popen([sys.executable, str(PROGRAM), str(folder), settings])

    def status():
        assert process.poll() is None
        return sandbox._status(folder)

    yield waited(status, 30)
    process.terminate()
    assert process.wait(20) == 0


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with a_sandbox(tmp_path_factory.mktemp("sandbox"), 0.2) as found:
        yield found


@pytest.fixture
def slow_ec2(tmp_path):
    """EC2 where booting takes so long that even a busy machine sees it."""
    with a_sandbox(tmp_path, 3.0) as found:
        made = client(found)
        yield made
        made.close()


def client(running, service="ec2", key="labctl", secret="sandbox", region="us-east-1"):
    once = Config(retries={"total_max_attempts": 1})
    return clients.at(running.aws_endpoint, service, (key, secret), region, config=once)


@pytest.fixture(scope="module")
def ec2(running):
    made = client(running)
    yield made
    made.close()


@pytest.fixture(scope="module")
def image(ec2):
    return newest_ubuntu(ec2)


def newest_ubuntu(ec2):
    images = ec2.describe_images(
        Owners=["099720109477"],
        Filters=[{"Name": "name", "Values": ["ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-*"]}],
    )["Images"]
    return max(images, key=lambda one: one["CreationDate"])["ImageId"]


@pytest.fixture
def vpc(ec2):
    return ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]


def code(call, **parameters):
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return caught.value.response["Error"]["Code"]


def launch(ec2, image, **more):
    fields = {"ImageId": image, "InstanceType": "t2.micro", "MinCount": 1, "MaxCount": 1, **more}
    return ec2.run_instances(**fields)["Instances"][0]


def instance(ec2, identity):
    return ec2.describe_instances(InstanceIds=[identity])["Reservations"][0]["Instances"][0]


def state(ec2, identity):
    return instance(ec2, identity)["State"]["Name"]


def tag(sort, **tags):
    return [{"ResourceType": sort, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}]


# what every account finds


def test_the_default_vpc_has_a_way_to_the_internet(ec2):
    (default,) = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    where = [{"Name": "vpc-id", "Values": [default["VpcId"]]}]
    routes = ec2.describe_route_tables(Filters=where)["RouteTables"][0]["Routes"]
    assert any(
        route.get("GatewayId", "").startswith("igw-") and route["DestinationCidrBlock"] == "0.0.0.0/0"
        for route in routes
    )
    assert len(ec2.describe_subnets(Filters=where)["Subnets"]) == 6


@pytest.mark.parametrize(
    ("name", "starts"),
    [
        ("/aws/service/canonical/ubuntu/server/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id", "ubuntu/"),
        ("/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id", "ubuntu/"),
        ("/aws/service/debian/release/12/latest/amd64", "debian-12-amd64"),
        ("/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64", "al2023-ami-2023"),
    ],
)
def test_public_parameters_name_the_newest_image(running, ec2, name, starts):
    value = client(running, "ssm").get_parameter(Name=name)["Parameter"]["Value"]
    (found,) = ec2.describe_images(ImageIds=[value])["Images"]
    assert found["Name"].startswith(starts)
    system = found["Name"].rsplit("-", 1)[0] if "ubuntu" in starts else starts
    others = ec2.describe_images(
        Owners=[found["OwnerId"]], Filters=[{"Name": "name", "Values": [f"{system}*"]}]
    )["Images"]
    same = [one for one in others if one["Architecture"] == "x86_64"]
    assert len(same) == 2
    assert found["CreationDate"] == max(one["CreationDate"] for one in same)


def test_image_ids_differ_by_region(running, ec2, image):
    elsewhere = client(running, region="eu-west-1")
    assert code(elsewhere.describe_images, ImageIds=[image]) == "InvalidAMIID.NotFound"


# credentials


@pytest.mark.parametrize(
    ("key", "secret", "expected"),
    [
        ("someone", "sandbox", "AuthFailure"),
        ("labctl", "wrong", "AuthFailure"),
        ("EXPIRED7", "sandbox", "RequestExpired"),
    ],
)
def test_other_credentials_are_refused(running, key, secret, expected):
    assert code(client(running, key=key, secret=secret).describe_vpcs) == expected


def test_other_services_refuse_in_their_own_words(running):
    assert code(client(running, "sts", key="x").get_caller_identity) == "InvalidClientTokenId"
    assert code(client(running, "sts", secret="x").get_caller_identity) == "SignatureDoesNotMatch"
    assert code(client(running, "sts", key="EXPIRED").get_caller_identity) == "ExpiredToken"
    assert code(client(running, "ssm", key="EXPIRED").describe_parameters) == "ExpiredTokenException"
    assert code(client(running, "s3", key="x").list_buckets) == "InvalidAccessKeyId"


def test_odd_names_in_s3_are_signed_right(running):
    s3 = client(running, "s3")
    s3.create_bucket(Bucket="odd-names")
    s3.put_object(Bucket="odd-names", Key="a b/ü+c=d", Body=b"x")
    assert s3.get_object(Bucket="odd-names", Key="a b/ü+c=d")["Body"].read() == b"x"


# creating


def test_the_same_token_makes_one_instance(ec2, image):
    first = launch(ec2, image, ClientToken="once")
    assert launch(ec2, image, ClientToken="once")["InstanceId"] == first["InstanceId"]
    mismatch = {
        "ImageId": image,
        "InstanceType": "t2.small",
        "MinCount": 1,
        "MaxCount": 1,
        "ClientToken": "once",
    }
    assert code(ec2.run_instances, **mismatch) == "IdempotentParameterMismatch"
    found = ec2.describe_instances(Filters=[{"Name": "client-token", "Values": ["once"]}])["Reservations"]
    assert [one["InstanceId"] for r in found for one in r["Instances"]] == [first["InstanceId"]]
    ec2.terminate_instances(InstanceIds=[first["InstanceId"]])
    again = mismatch | {"InstanceType": "t2.micro"}
    assert code(ec2.run_instances, **again) == "IdempotentInstanceTerminated"


def test_the_same_token_makes_one_volume(ec2):
    fields = {"AvailabilityZone": "us-east-1a", "Size": 1, "ClientToken": "volume"}
    assert ec2.create_volume(**fields)["VolumeId"] == ec2.create_volume(**fields)["VolumeId"]


def test_a_dry_run_makes_nothing(ec2, vpc):
    before = len(ec2.describe_subnets()["Subnets"]), len(ec2.describe_vpcs()["Vpcs"])
    assert code(ec2.create_vpc, CidrBlock="10.9.0.0/16", DryRun=True) == "DryRunOperation"
    assert code(ec2.create_subnet, VpcId=vpc, CidrBlock="10.0.1.0/24", DryRun=True) == "DryRunOperation"
    assert (len(ec2.describe_subnets()["Subnets"]), len(ec2.describe_vpcs()["Vpcs"])) == before


def test_unknown_things_are_refused(ec2, image):
    base = {"ImageId": image, "InstanceType": "t2.micro", "MinCount": 1, "MaxCount": 1}
    run = ec2.run_instances
    assert code(run, **base | {"ImageId": "ami-0123456789abcdef0"}) == "InvalidAMIID.NotFound"
    assert code(run, **base | {"InstanceType": "t9.micro"}) == "InvalidParameterValue"
    assert code(run, **base | {"KeyName": "nobody"}) == "InvalidKeyPair.NotFound"
    assert code(run, **base | {"SecurityGroupIds": ["sg-0123456789abcdef0"]}) == "InvalidGroup.NotFound"
    assert code(run, **base | {"SubnetId": "subnet-0123456789abcdef0"}) == "InvalidSubnetID.NotFound"
    assert code(ec2.delete_nat_gateway, NatGatewayId="nat-0123456789abcdef0") == "NatGatewayNotFound"
    group = {"GroupName": "x", "Description": "x", "VpcId": "vpc-0123456789abcdef0"}
    assert code(ec2.create_security_group, **group) == "InvalidVpcID.NotFound"


def test_wrong_ports_are_refused(ec2, vpc):
    group = ec2.create_security_group(GroupName="ports", Description="x", VpcId=vpc)["GroupId"]

    def rule(start, end, **more):
        return {
            "GroupId": group,
            "IpPermissions": [{"IpProtocol": "tcp", "FromPort": start, "ToPort": end, **more}],
        }

    anyone = {"IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    authorize = ec2.authorize_security_group_ingress
    assert code(authorize, **rule(99999, 99999, **anyone)) == "InvalidParameterValue"
    assert code(authorize, **rule(90, 80, **anyone)) == "InvalidParameterValue"
    unknown = {"UserIdGroupPairs": [{"GroupId": "sg-0123456789abcdef0"}]}
    assert code(authorize, **rule(80, 80, **unknown)) == "InvalidGroup.NotFound"
    authorize(**rule(80, 80, **anyone))
    assert code(authorize, **rule(80, 80, **anyone)) == "InvalidPermission.Duplicate"


def test_rules_by_id_with_tags(ec2, vpc):
    group = ec2.create_security_group(GroupName="rules", Description="x", VpcId=vpc)["GroupId"]
    made = ec2.authorize_security_group_ingress(
        GroupId=group,
        IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "10.1.2.3/16"}]},
            {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]},
            {"IpProtocol": "tcp", "FromPort": 81, "ToPort": 81, "Ipv6Ranges": [{"CidrIpv6": "::/0"}]},
            {"IpProtocol": "icmp", "FromPort": 8, "ToPort": -1, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
        ],
        TagSpecifications=tag("security-group-rule", a="b"),
    )["SecurityGroupRules"]
    assert len(made) == 4
    assert made[0]["CidrIpv4"] == "10.1.0.0/16"
    listed = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])
    ours = [rule for rule in listed["SecurityGroupRules"] if not rule["IsEgress"]]
    assert {rule["SecurityGroupRuleId"] for rule in ours} == {rule["SecurityGroupRuleId"] for rule in made}
    assert all(rule["Tags"] == [{"Key": "a", "Value": "b"}] for rule in ours)
    tagged = ec2.describe_security_group_rules(Filters=[{"Name": "tag:a", "Values": ["b"]}])
    assert len(tagged["SecurityGroupRules"]) == 4
    ids = [rule["SecurityGroupRuleId"] for rule in made[:2]]
    ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=ids)
    left = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    assert len(left) == 2


def test_key_pairs_by_id(ec2):
    made = ec2.create_key_pair(KeyName="by-id", KeyType="ed25519", TagSpecifications=tag("key-pair", a="b"))
    assert "PRIVATE KEY" in made["KeyMaterial"]
    identity = made["KeyPairId"]
    (found,) = ec2.describe_key_pairs(KeyPairIds=[identity], IncludePublicKey=True)["KeyPairs"]
    assert found["PublicKey"].startswith("ssh-ed25519 ")
    filters = [{"Name": "key-pair-id", "Values": [identity]}]
    assert len(ec2.describe_key_pairs(Filters=filters)["KeyPairs"]) == 1
    ec2.delete_key_pair(KeyPairId=identity)
    assert ec2.describe_key_pairs(Filters=filters)["KeyPairs"] == []
    assert code(ec2.describe_key_pairs, KeyPairIds=[identity]) == "InvalidKeyPair.NotFound"


def test_pages(ec2):
    pages = list(ec2.get_paginator("describe_subnets").paginate(PaginationConfig={"PageSize": 5}))
    sizes = [len(page["Subnets"]) for page in pages]
    assert sizes[0] == 5
    assert len(sizes) > 1
    assert sum(sizes) == len(ec2.describe_subnets()["Subnets"])
    assert code(ec2.describe_subnets, NextToken="made-up") == "InvalidParameterValue"


# instances


def test_an_instance_takes_its_time(slow_ec2):
    ec2, image = slow_ec2, newest_ubuntu(slow_ec2)
    tags = tag("instance", a="i") + tag("volume", a="v") + tag("network-interface", a="n")
    made = launch(ec2, image, TagSpecifications=tags)
    identity = made["InstanceId"]
    assert made["State"]["Name"] == "pending"
    assert state(ec2, identity) == "pending"
    assert "Output" not in ec2.get_console_output(InstanceId=identity, Latest=True)
    until(lambda: state(ec2, identity), "running")

    def checks():
        listed = ec2.describe_instance_status(InstanceIds=[identity], IncludeAllInstances=True)
        return listed["InstanceStatuses"][0]["InstanceStatus"]["Status"]

    assert checks() == "initializing"
    until(checks, "ok")
    until(lambda: "SSH HOST KEY" in ec2.get_console_output(InstanceId=identity).get("Output", ""), True)
    seen = instance(ec2, identity)
    assert seen["PublicDnsName"] == f"ec2-{seen['PublicIpAddress'].replace('.', '-')}.compute-1.amazonaws.com"
    assert seen["PublicIpAddress"].startswith(("198.18.", "198.19."))
    assert seen["NetworkInterfaces"][0]["Attachment"]["DeleteOnTermination"]
    nic = ec2.describe_network_interfaces(
        NetworkInterfaceIds=[seen["NetworkInterfaces"][0]["NetworkInterfaceId"]]
    )
    assert nic["NetworkInterfaces"][0]["TagSet"] == [{"Key": "a", "Value": "n"}]
    volume = seen["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    (disk,) = ec2.describe_volumes(VolumeIds=[volume])["Volumes"]
    assert (disk["Size"], disk["Tags"]) == (8, [{"Key": "a", "Value": "v"}])

    first = seen["PublicIpAddress"]
    kind = {"InstanceId": identity, "InstanceType": {"Value": "t2.small"}}
    assert code(ec2.modify_instance_attribute, **kind) == "IncorrectInstanceState"
    ec2.stop_instances(InstanceIds=[identity])
    until(lambda: state(ec2, identity), "stopped")
    assert "PublicIpAddress" not in instance(ec2, identity)
    ec2.modify_instance_attribute(**kind)
    ec2.start_instances(InstanceIds=[identity])
    assert state(ec2, identity) == "pending"
    until(lambda: state(ec2, identity), "running")
    assert instance(ec2, identity)["PublicIpAddress"] != first
    assert instance(ec2, identity)["InstanceType"] == "t2.small"

    ec2.terminate_instances(InstanceIds=[identity])
    assert state(ec2, identity) == "shutting-down"
    until(lambda: state(ec2, identity), "terminated")
    assert code(ec2.start_instances, InstanceIds=[identity]) == "IncorrectInstanceState"
    assert ec2.describe_volumes(Filters=[{"Name": "volume-id", "Values": [volume]}])["Volumes"] == []


def test_protection_and_source_check(ec2, image):
    identity = launch(ec2, image, DisableApiTermination=True)["InstanceId"]
    assert code(ec2.terminate_instances, InstanceIds=[identity]) == "OperationNotPermitted"
    ec2.modify_instance_attribute(InstanceId=identity, DisableApiTermination={"Value": False})
    ec2.modify_instance_attribute(InstanceId=identity, SourceDestCheck={"Value": False})
    seen = instance(ec2, identity)
    assert seen["SourceDestCheck"] is False
    assert seen["NetworkInterfaces"][0]["SourceDestCheck"] is False
    ec2.terminate_instances(InstanceIds=[identity])


def test_groups_change_in_place(ec2, image, vpc):
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    one, other = (
        ec2.create_security_group(GroupName=name, Description="x", VpcId=vpc)["GroupId"]
        for name in ("one", "two")
    )
    nics = [{"DeviceIndex": 0, "SubnetId": subnet, "Groups": [one], "AssociatePublicIpAddress": False}]
    identity = launch(ec2, image, NetworkInterfaces=nics)["InstanceId"]
    ec2.modify_instance_attribute(InstanceId=identity, Groups=[other])
    seen = instance(ec2, identity)
    assert [group["GroupId"] for group in seen["SecurityGroups"]] == [other]
    assert [group["GroupId"] for group in seen["NetworkInterfaces"][0]["Groups"]] == [other]
    ec2.delete_security_group(GroupId=one)
    assert code(ec2.delete_security_group, GroupId=other) == "DependencyViolation"
    ec2.terminate_instances(InstanceIds=[identity])


def test_spot(ec2, image):
    options = {"MarketType": "spot", "SpotOptions": {"MaxPrice": "0.05", "SpotInstanceType": "one-time"}}
    made = launch(
        ec2, image, InstanceMarketOptions=options, TagSpecifications=tag("spot-instances-request", a="b")
    )
    seen = instance(ec2, made["InstanceId"])
    assert seen["InstanceLifecycle"] == "spot"
    (request,) = ec2.describe_spot_instance_requests(SpotInstanceRequestIds=[seen["SpotInstanceRequestId"]])[
        "SpotInstanceRequests"
    ]
    assert request["InstanceId"] == made["InstanceId"]
    assert request["Tags"] == [{"Key": "a", "Value": "b"}]
    assert code(ec2.stop_instances, InstanceIds=[made["InstanceId"]]) == "UnsupportedOperation"
    low = {"MarketType": "spot", "SpotOptions": {"MaxPrice": "0.00001"}}
    fields = {"ImageId": image, "InstanceType": "t2.micro", "MinCount": 1, "MaxCount": 1}
    assert code(ec2.run_instances, InstanceMarketOptions=low, **fields) == "SpotMaxPriceTooLow"
    ec2.terminate_instances(InstanceIds=[made["InstanceId"]])


def test_an_image_of_an_instance(ec2, image):
    identity = launch(ec2, image)["InstanceId"]
    until(lambda: state(ec2, identity), "running")
    specifications = tag("image", a="i") + tag("snapshot", a="s")
    made = ec2.create_image(InstanceId=identity, Name="mine", TagSpecifications=specifications)["ImageId"]
    (seen,) = ec2.describe_images(ImageIds=[made])["Images"]
    assert (seen["State"], seen["SourceInstanceId"]) == ("available", identity)
    snapshot = seen["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    assert ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]["Tags"] == [
        {"Key": "a", "Value": "s"}
    ]
    assert code(ec2.create_image, InstanceId=identity, Name="mine") == "InvalidAMIName.Duplicate"
    second = launch(ec2, made)["InstanceId"]
    assert instance(ec2, second)["ImageId"] == made
    assert code(ec2.delete_snapshot, SnapshotId=snapshot) == "InvalidSnapshot.InUse"
    ec2.deregister_image(ImageId=made)
    ec2.delete_snapshot(SnapshotId=snapshot)
    ec2.terminate_instances(InstanceIds=[identity, second])


def test_volumes_attach_grow_and_go(ec2, image):
    identity = launch(ec2, image, Placement={"AvailabilityZone": "us-east-1a"})["InstanceId"]
    until(lambda: state(ec2, identity), "running")
    volume = ec2.create_volume(AvailabilityZone="us-east-1a", Size=10, VolumeType="gp3")["VolumeId"]
    ec2.attach_volume(VolumeId=volume, InstanceId=identity, Device="/dev/sdf")
    assert code(ec2.delete_volume, VolumeId=volume) == "VolumeInUse"
    ec2.modify_volume(VolumeId=volume, Size=20)
    assert ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["Size"] == 20
    ec2.detach_volume(VolumeId=volume)
    ec2.delete_volume(VolumeId=volume)
    ec2.terminate_instances(InstanceIds=[identity])


# taking down


def test_a_vpc_is_taken_down_in_order(ec2, image, vpc):
    where = {"VpcId": vpc}
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, **where)
    subnet = ec2.create_subnet(CidrBlock="10.0.1.0/24", **where)["Subnet"]["SubnetId"]
    table = ec2.create_route_table(**where)["RouteTable"]["RouteTableId"]
    association = ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)["AssociationId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    group = ec2.create_security_group(GroupName="g", Description="g", **where)["GroupId"]
    user = ec2.create_security_group(GroupName="user", Description="g", **where)["GroupId"]
    rule = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, "UserIdGroupPairs": [{"GroupId": group}]}
    ec2.authorize_security_group_ingress(GroupId=user, IpPermissions=[rule])
    address = ec2.allocate_address(Domain="vpc", TagSpecifications=tag("elastic-ip", a="b"))
    nat = ec2.create_nat_gateway(
        SubnetId=subnet, AllocationId=address["AllocationId"], TagSpecifications=tag("natgateway", a="b")
    )["NatGateway"]["NatGatewayId"]

    def nat_state():
        found = ec2.describe_nat_gateways(Filter=[{"Name": "tag:a", "Values": ["b"]}])["NatGateways"]
        return next(one["State"] for one in found if one["NatGatewayId"] == nat)

    assert nat_state() == "pending"
    until(nat_state, "available")
    assert ec2.describe_nat_gateways(Filter=[{"Name": "tag:a", "Values": ["c"]}])["NatGateways"] == []
    nics = [{"DeviceIndex": 0, "SubnetId": subnet, "Groups": [group], "AssociatePublicIpAddress": True}]
    identity = launch(ec2, image, NetworkInterfaces=nics)["InstanceId"]

    assert code(ec2.delete_vpc, **where) == "DependencyViolation"
    assert code(ec2.delete_subnet, SubnetId=subnet) == "DependencyViolation"
    assert code(ec2.delete_security_group, GroupId=group) == "DependencyViolation"
    assert code(ec2.delete_route_table, RouteTableId=table) == "DependencyViolation"
    assert code(ec2.detach_internet_gateway, InternetGatewayId=gateway, **where) == "DependencyViolation"
    assert code(ec2.delete_internet_gateway, InternetGatewayId=gateway) == "DependencyViolation"
    assert code(ec2.release_address, AllocationId=address["AllocationId"]) == "InvalidIPAddress.InUse"
    nic = instance(ec2, identity)["NetworkInterfaces"][0]["NetworkInterfaceId"]
    assert code(ec2.delete_network_interface, NetworkInterfaceId=nic) == "InvalidParameterValue"

    ec2.terminate_instances(InstanceIds=[identity])
    assert code(ec2.delete_security_group, GroupId=group) == "DependencyViolation"
    until(lambda: state(ec2, identity), "terminated")
    assert code(ec2.delete_security_group, GroupId=group) == "DependencyViolation"  # the other group's rule
    ec2.delete_security_group(GroupId=user)
    ec2.delete_security_group(GroupId=group)
    ec2.delete_nat_gateway(NatGatewayId=nat)
    assert nat_state() == "deleting"
    assert code(ec2.delete_subnet, SubnetId=subnet) == "DependencyViolation"
    until(nat_state, "deleted")
    ec2.release_address(AllocationId=address["AllocationId"])
    ec2.detach_internet_gateway(InternetGatewayId=gateway, **where)
    ec2.delete_internet_gateway(InternetGatewayId=gateway)
    ec2.disassociate_route_table(AssociationId=association)
    ec2.delete_route_table(RouteTableId=table)
    ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_vpc(**where)


def test_an_elastic_ip_takes_the_place_of_the_address(ec2, image):
    identity = launch(ec2, image)["InstanceId"]
    until(lambda: state(ec2, identity), "running")
    own = instance(ec2, identity)["PublicIpAddress"]
    made = ec2.allocate_address(Domain="vpc")
    association = ec2.associate_address(InstanceId=identity, AllocationId=made["AllocationId"])[
        "AssociationId"
    ]
    assert instance(ec2, identity)["PublicIpAddress"] == made["PublicIp"]
    assert own != made["PublicIp"]
    ec2.stop_instances(InstanceIds=[identity])
    until(lambda: state(ec2, identity), "stopped")
    ec2.start_instances(InstanceIds=[identity])
    until(lambda: state(ec2, identity), "running")
    assert instance(ec2, identity)["PublicIpAddress"] == made["PublicIp"]
    ec2.disassociate_address(AssociationId=association)
    ec2.release_address(AllocationId=made["AllocationId"])
    ec2.terminate_instances(InstanceIds=[identity])


def test_a_small_subnet_fills_up(ec2, image, vpc):
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.2.0/28")["Subnet"]["SubnetId"]
    fields = {"ImageId": image, "InstanceType": "t2.micro", "SubnetId": subnet}
    made = ec2.run_instances(MinCount=11, MaxCount=11, **fields)["Instances"]
    addresses = {one["PrivateIpAddress"] for one in made}
    assert len(addresses) == 11
    assert not addresses & {"10.0.2.0", "10.0.2.1", "10.0.2.2", "10.0.2.3", "10.0.2.15"}
    assert code(ec2.run_instances, MinCount=1, MaxCount=1, **fields) == "InsufficientFreeAddressesInSubnet"
    ec2.terminate_instances(InstanceIds=[one["InstanceId"] for one in made])


FILTERS = {
    "describe_vpcs": ("vpc-id", "tag:a"),
    "describe_subnets": ("subnet-id", "vpc-id", "tag:a"),
    "describe_internet_gateways": ("internet-gateway-id", "attachment.vpc-id", "tag:a"),
    "describe_route_tables": (
        "route-table-id",
        "association.main",
        "association.subnet-id",
        "vpc-id",
        "tag:a",
    ),
    "describe_nat_gateways": ("nat-gateway-id", "state", "subnet-id", "vpc-id", "tag:a"),
    "describe_addresses": ("allocation-id", "instance-id", "public-ip", "tag:a"),
    "describe_security_groups": ("group-id", "group-name", "vpc-id", "tag:a"),
    "describe_security_group_rules": ("security-group-rule-id", "group-id", "tag:a"),
    "describe_key_pairs": ("key-pair-id", "key-name", "fingerprint", "tag:a"),
    "describe_instances": (
        "instance-id",
        "instance-state-name",
        "client-token",
        "subnet-id",
        "vpc-id",
        "tag:a",
    ),
    "describe_volumes": ("volume-id", "attachment.instance-id", "status", "tag:a"),
    "describe_images": ("image-id", "name", "owner-id", "state", "architecture", "tag:a"),
    "describe_snapshots": ("snapshot-id", "volume-id", "tag:a"),
    "describe_network_interfaces": (
        "network-interface-id",
        "subnet-id",
        "vpc-id",
        "group-id",
        "attachment.instance-id",
        "status",
        "tag:a",
    ),
    "describe_spot_instance_requests": ("spot-instance-request-id", "instance-id", "tag:a"),
    "describe_tags": ("resource-id", "resource-type", "key", "value", "tag:a"),
    "describe_instance_status": ("instance-state-name",),
}


@pytest.mark.parametrize(
    ("operation", "name"), [(op, name) for op, names in FILTERS.items() for name in names]
)
def test_filters_are_known(ec2, operation, name):
    parameter = "Filter" if operation == "describe_nat_gateways" else "Filters"
    nothing = {"group-id": "sg-0123456789abcdef0"}.get(name, "nothing-has-this")
    answer = getattr(ec2, operation)(**{parameter: [{"Name": name, "Values": [nothing]}]})
    lists = [value for value in answer.values() if isinstance(value, list)]
    assert lists == [[]]


def test_tags_go_with_what_they_were_on(ec2):
    made = ec2.create_vpc(CidrBlock="10.3.0.0/16", TagSpecifications=tag("vpc", gone="yes"))["Vpc"]["VpcId"]
    filters = [{"Name": "tag:gone", "Values": ["yes"]}]
    assert [one["ResourceId"] for one in ec2.describe_tags(Filters=filters)["Tags"]] == [made]
    ec2.delete_vpc(VpcId=made)
    assert ec2.describe_tags(Filters=filters)["Tags"] == []


def test_user_data_comes_back(ec2, image):
    identity = launch(ec2, image, UserData="#!/bin/sh\ntrue\n")["InstanceId"]
    found = ec2.describe_instance_attribute(InstanceId=identity, Attribute="userData")
    assert base64.b64decode(found["UserData"]["Value"]) == b"#!/bin/sh\ntrue\n"
    ec2.terminate_instances(InstanceIds=[identity])


def test_what_moto_cannot_do_is_told_in_aws_form(ec2):
    with pytest.raises(ClientError) as caught:
        ec2.describe_export_tasks()
    assert caught.value.response["Error"]["Code"] == "UnsupportedOperation"


def test_only_the_starter_may_stop_it(running):
    import http.client

    host, port = running.aws_endpoint.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=5)
    connection.request("POST", "/_labctl/stop", headers={"X-Labctl-Secret": "guess"})
    assert connection.getresponse().status == 403
    connection.close()
    assert os.stat(running.directory / sandbox.INFO).st_mode & 0o777 == 0o600
