"""Load balancers and Auto Scaling groups on the sandbox: who is forwarded where, what is replaced."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest
import urllib3
from pydantic import ValidationError
from urllib3.contrib.socks import SOCKSProxyManager

from engine.aws.errors import AwsError
from engine.errors import HalfMade, StepFailed
from engine.refs import Ref, Unknown
from engine.resources.ec2.autoscaling import AutoscalingGroup
from engine.resources.ec2.compute import Ec2Instance
from engine.resources.ec2.launch_template import Ec2LaunchTemplate
from engine.resources.elb.application_lb import ElbApplicationLb
from engine.resources.elb.target_group import ElbTargetGroup
from engine.sandbox import Running
from tests import clients
from tests.kinds.aws_examples.ec2 import an_image
from tests.kinds.aws_examples.ecs import a_group, a_name, a_public_network
from tests.kinds.aws_stage import Stage
from tests.kinds.scripted_aws import Play
from tests.waiting import waited

WEB = """\
#cloud-config
packages: [nginx]
runcmd: [echo "I am $(hostname)" > /var/www/html/index.html]
"""


@pytest.fixture
def get(cloud: Running) -> Callable[..., urllib3.BaseHTTPResponse]:
    """Asks for a page through the sandbox's network."""
    pool = SOCKSProxyManager(f"socks5h://{cloud.socks_proxy}")

    def ask(url: str, method: str = "GET", **more: Any) -> urllib3.BaseHTTPResponse:
        return pool.request(method, url, timeout=8, retries=False, redirect=False, **more)

    return ask


def a_template(stage: Stage, group: str, **fields: Any) -> dict[str, Any]:
    given = {
        "name": a_name(stage),
        "image_id": an_image(stage),
        "instance_type": "t3.micro",
        "network_interfaces": [{"associate_public_ip_address": True, "groups": [group]}],
        "user_data": WEB,
        **fields,
    }
    return {**given, **stage.make(Ec2LaunchTemplate.model_validate(given), "template")}


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        (ElbTargetGroup, {"name": "-a", "vpc_id": "vpc-1"}, "'-a' is no name for it: at most 32 letters"),
        (ElbTargetGroup, {"name": "internal-a", "vpc_id": "vpc-1"}, "not internal- in front"),
        (
            ElbTargetGroup,
            {"name": "a", "vpc_id": "vpc-1", "health_check_interval": 5, "health_check_timeout": 5},
            "must be smaller than health_check_interval",
        ),
        (
            ElbTargetGroup,
            {"name": "a", "vpc_id": "vpc-1", "health_check_port": "http"},
            "traffic-port or a port",
        ),
        (ElbTargetGroup, {"name": "a", "vpc_id": "vpc-1", "slow_start": 5}, "0, or 30 to 900"),
        (
            ElbApplicationLb,
            {"name": "a", "subnets": ["s-1", "s-2"], "listeners": [{"port": 80, "default_actions": [{}]}]},
            "an action of type forward needs target_group_arn or target_groups",
        ),
        (
            ElbApplicationLb,
            {
                "name": "a",
                "subnets": ["s-1", "s-2"],
                "listeners": [
                    {"port": 443, "protocol": "HTTPS", "default_actions": [{"target_group_arn": "arn:…"}]}
                ],
            },
            "a listener with HTTPS needs certificates",
        ),
        (
            ElbApplicationLb,
            {
                "name": "a",
                "subnets": ["s-1", "s-2"],
                "listeners": [{"port": 80, "default_actions": [{"target_group_arn": "arn:…"}]}] * 2,
            },
            "two listeners have port 80",
        ),
        (
            AutoscalingGroup,
            {"name": "a", "min_size": 2, "max_size": 1, "vpc_zone_identifier": ["subnet-1"]},
            r"min_size \(2\) is larger than max_size \(1\)",
        ),
        (
            AutoscalingGroup,
            {"name": "a", "min_size": 0, "max_size": 1, "desired_capacity": 3, "availability_zones": ["a"]},
            "must be between min_size",
        ),
        (AutoscalingGroup, {"name": "a", "min_size": 0, "max_size": 1}, "vpc_zone_identifier .subnets. or"),
        (
            Ec2LaunchTemplate,
            {"name": "abc", "security_group_ids": ["sg-1"], "network_interfaces": [{}]},
            "leave security_group_ids out",
        ),
    ],
)
def test_what_aws_would_refuse(kind: Any, fields: dict[str, Any], words: str) -> None:
    template = {"launch_template": {"launch_template_id": "lt-1"}} if kind is AutoscalingGroup else {}
    with pytest.raises(ValidationError, match=words):
        kind.model_validate({**template, **fields})


def test_requests_go_where_the_rules_say(stage: Stage, cloud: Running, get: Any) -> None:
    vpc, subnets = a_public_network(stage)
    group = a_group(stage, vpc, 80)
    hosts = [
        stage.make(
            Ec2Instance.model_validate(
                {
                    "image": an_image(stage),
                    "instance_type": "t3.micro",
                    "vpc_subnet_id": subnet,
                    "security_groups": [group],
                    "assign_public_ip": True,
                    "user_data": WEB,
                }
            ),
            f"host{number}",
        )
        for number, subnet in enumerate(subnets)
    ]
    targets = stage.make(
        ElbTargetGroup.model_validate(
            {"name": a_name(stage), "vpc_id": vpc, "targets": [{"id": host["id"]} for host in hosts]}
        ),
        "targets",
    )["id"]
    fixed = {
        "type": "fixed-response",
        "fixed_response_config": {
            "status_code": 404,
            "message_body": "{}",
            "content_type": "application/json",
        },
    }
    away = {"type": "redirect", "redirect_config": {"host": "example.com", "path": "/new/#{path}"}}
    rules = [
        {"priority": 1, "conditions": [{"field": "path-pattern", "values": ["/api/*"]}], "actions": [fixed]},
        {"priority": 2, "conditions": [{"field": "host-header", "values": ["old.*"]}], "actions": [away]},
    ]
    balancer = stage.make(
        ElbApplicationLb.model_validate(
            {
                "name": a_name(stage),
                "subnets": subnets,
                "security_groups": [a_group(stage, vpc, 80)],
                "listeners": [
                    {"port": 80, "default_actions": [{"target_group_arn": targets}], "rules": rules}
                ],
            }
        ),
        "balancer",
    )
    site = f"http://{balancer['dns_name']}"
    waited(lambda: get(f"{site}/").status == 200)
    elb = clients.at(cloud.aws_endpoint, "elbv2")

    def states() -> set[str]:
        told = elb.describe_target_health(TargetGroupArn=targets)["TargetHealthDescriptions"]
        return {one["TargetHealth"]["State"] for one in told}

    waited(lambda: states() == {"healthy"})
    names = {host["private_dns"].split(".")[0] for host in hosts}
    assert {get(f"{site}/").data.decode().split()[-1] for _ in range(4)} == names
    api = get(f"{site}/api/x")
    assert (api.status, json.loads(api.data), api.headers["Content-Type"]) == (404, {}, "application/json")
    moved = get(f"{site}/a?b=c", headers={"Host": "old.example.com"})
    assert (moved.status, moved.headers["Location"]) == (301, "http://example.com:80/new/a?b=c")
    assert get(f"{site}/no-such-page").status == 404
    # A host that goes is found unwell, and asked no more.
    Ec2Instance.delete(stage.world(), str(hosts[0]["id"]))
    waited(lambda: get(f"{site}/").status == 200 and get(f"{site}/").status == 200)
    with pytest.raises(urllib3.exceptions.HTTPError):
        get(f"http://{balancer['dns_name']}:8080/")
    # Another of the same name is not taken for one's own.
    with pytest.raises(StepFailed, match=r"a load balancer called .* is there already"):
        ElbApplicationLb(name=str(balancer["name"]), subnets=subnets).create(stage.world("second"))
    name = elb.describe_target_groups(TargetGroupArns=[targets])["TargetGroups"][0]["TargetGroupName"]
    with pytest.raises(StepFailed, match=r"a target group called .* is there already"):
        ElbTargetGroup(name=name, vpc_id=vpc).create(stage.world("second"))


def test_a_protected_load_balancer_says_how_to_delete_it(stage: Stage, cloud: Running) -> None:
    _, subnets = a_public_network(stage)
    made = stage.make(ElbApplicationLb(name=a_name(stage), subnets=subnets, deletion_protection=True))
    with pytest.raises(StepFailed, match="AWS does not delete the load balancer") as failure:
        ElbApplicationLb.delete(stage.world(), str(made["id"]))
    assert "deletion_protection: false" in failure.value.remedy
    calm = ElbApplicationLb(name=str(made["name"]), subnets=subnets, deletion_protection=False)
    calm.update(stage.world(), str(made["id"]), frozenset({"deletion_protection"}))


def test_a_group_replaces_what_goes_and_what_is_outdated(stage: Stage, cloud: Running, get: Any) -> None:
    vpc, subnets = a_public_network(stage)
    template = a_template(stage, a_group(stage, vpc, 80))
    given = {
        "name": a_name(stage),
        "launch_template": {"launch_template_id": template["id"], "version": template["latest_version"]},
        "min_size": 2,
        "max_size": 2,
        "vpc_zone_identifier": subnets,
    }
    made = stage.make(AutoscalingGroup.model_validate(given), "workers")
    ec2 = clients.at(cloud.aws_endpoint, "ec2")

    def machines() -> list[dict[str, Any]]:
        ids = AutoscalingGroup.read_many(stage.world(), [made["id"]])[made["id"]]["instances"]
        found = ec2.describe_instances(InstanceIds=ids)["Reservations"]
        return [one for reservation in found for one in reservation["Instances"]]

    first = machines()
    assert {one["SubnetId"] for one in first} == set(subnets)
    assert {"Key": "labctl:lab", "Value": stage.lab} in first[0]["Tags"]
    assert {"Key": "aws:autoscaling:groupName", "Value": given["name"]} in first[0]["Tags"]
    # They are hosts like any other.
    waited(lambda: all(_answers(get, one) for one in first))
    # One that goes is replaced.
    ec2.terminate_instances(InstanceIds=[first[0]["InstanceId"]])
    waited(lambda: {one["State"]["Name"] for one in machines()} == {"running"} and len(machines()) == 2)
    assert first[0]["InstanceId"] not in {one["InstanceId"] for one in machines()}
    # Another version of the template replaces all of them.
    other = {
        **{name: template[name] for name in ("name", "image_id", "user_data")},
        "instance_type": "t3.small",
    }
    Ec2LaunchTemplate.model_validate(other).update(
        stage.world(token="labctl-2"), str(template["id"]), frozenset({"instance_type"})
    )
    later = {**given, "launch_template": {**given["launch_template"], "version": 2}}
    AutoscalingGroup.model_validate(later).update(
        stage.world(), str(made["id"]), frozenset({"launch_template"})
    )
    assert {one["InstanceType"] for one in machines()} == {"t3.small"}
    assert not {one["InstanceId"] for one in machines()} & {one["InstanceId"] for one in first}


def _answers(get: Any, machine: dict[str, Any]) -> bool:
    try:
        page = get(f"http://{machine['PublicIpAddress']}/")
    except urllib3.exceptions.HTTPError:
        return False
    return bool(page.status == 200 and b"I am ip-" in page.data)


def test_a_launch_that_fails_says_why(stage: Stage) -> None:
    vpc, subnets = a_public_network(stage)
    template = a_template(stage, a_group(stage, vpc, 80), key_name="no-such-key")
    group = {
        "name": a_name(stage),
        "launch_template": {"launch_template_name": template["name"]},
        "min_size": 1,
        "max_size": 1,
        "vpc_zone_identifier": subnets[:1],
    }
    with pytest.raises(HalfMade, match=r"an instance could not be launched: .*no-such-key") as failure:
        AutoscalingGroup.model_validate(group).create(stage.world())
    AutoscalingGroup.delete(stage.world(), failure.value.id)


def test_a_replacement_that_fails_says_why(scripted: Play) -> None:
    given = {"AutoScalingGroupName": "workers", "InstanceRefreshIds": ["r-1"]}
    failed = {"InstanceRefreshes": [{"Status": "Failed", "StatusReason": "no capacity"}]}
    blocked = AwsError(
        "StartInstanceRefresh", "InstanceRefreshInProgress", "An Instance Refresh is in progress"
    )
    start = {"AutoScalingGroupName": "workers", "Preferences": {"MinHealthyPercentage": 90}}
    aws = scripted(
        [
            ("start_instance_refresh", start, blocked),
            ("start_instance_refresh", start, {"InstanceRefreshId": "r-1"}),
            ("describe_instance_refreshes", given, failed),
        ]
    )
    group = AutoscalingGroup.model_validate(
        {
            "name": "workers",
            "launch_template": {"launch_template_id": "lt-1"},
            "min_size": 1,
            "max_size": 1,
            "vpc_zone_identifier": ["subnet-1"],
        }
    )
    with pytest.raises(StepFailed, match=r"not all instances could be replaced \(Failed\): no capacity"):
        group._refresh(aws.world(), "workers")


def test_a_group_of_somebody_else_is_left_alone(stage: Stage, cloud: Running) -> None:
    vpc, subnets = a_public_network(stage)
    template = a_template(stage, a_group(stage, vpc, 80))
    group = {
        "name": a_name(stage),
        "launch_template": {"launch_template_id": template["id"]},
        "min_size": 0,
        "max_size": 0,
        "vpc_zone_identifier": subnets,
    }
    stage.make(AutoscalingGroup.model_validate(group), "first")
    with pytest.raises(StepFailed, match=r"an Auto Scaling group called .* is there already"):
        AutoscalingGroup.model_validate(group).create(stage.world("second"))
    with pytest.raises(StepFailed, match=r"a launch template called .* is there already"):
        Ec2LaunchTemplate(name=template["name"]).create(stage.world("second"))


def test_commands_of_a_create_do_each_thing_once() -> None:
    subnets = [Unknown(frozenset({Ref(f"net_{zone}", "id")}), f"{{{{ net_{zone}.id }}}}") for zone in "ab"]
    balancer = ElbApplicationLb.model_validate(
        {"name": "web", "subnets": subnets, "security_groups": ["sg-1"]}
    )
    made = balancer.at("web").as_commands("create", None, frozenset({"subnets", "security_groups"}))
    assert [line.split(" --")[0] for line in made] == [
        "WEB_ID=$(aws elbv2 create-load-balancer",
        "aws elbv2 wait load-balancer-available",
    ]
    assert '--subnets "$NET_A_ID" "$NET_B_ID"' in made[0]
    changed = balancer.at("web").as_commands("update", "arn:1", frozenset({"security_groups"}))
    assert changed[0] == "aws elbv2 set-security-groups --load-balancer-arn arn:1 --security-groups sg-1"
    group = AutoscalingGroup.model_validate(
        {
            "name": "workers",
            "launch_template": {"launch_template_id": "lt-1"},
            "min_size": 1,
            "max_size": 1,
            "vpc_zone_identifier": subnets,
        }
    )
    [line] = group.at("workers").as_commands("create", None)
    assert '"VPCZoneIdentifier": "\'"${NET_A_ID},${NET_B_ID}"\'"' in line


def test_commands_name_the_variable_of_an_attribute_that_is_not_known_yet() -> None:
    later = Unknown(frozenset({Ref("other", "seconds")}), "{{ other.seconds }}")
    group = ElbTargetGroup.model_validate({"name": "web", "vpc_id": "vpc-1", "slow_start": later}).at("web")
    _, attributes = group.as_commands("create", None)
    assert '"Value": "\'"$OTHER_SECONDS"\'"' in attributes


def test_commands_replace_instances_as_apply_does() -> None:
    group = AutoscalingGroup.model_validate(
        {
            "name": "workers",
            "launch_template": {"launch_template_id": "lt-1"},
            "min_size": 1,
            "max_size": 2,
            "availability_zones": ["us-east-1a"],
            "instance_warmup": 30,
        }
    )
    changed, refresh = group.at("workers").as_commands("update", "workers", frozenset({"launch_template"}))
    assert json.loads(shlex.split(changed)[-1]) == {
        "AutoScalingGroupName": "workers",
        "MinSize": 1,
        "MaxSize": 2,
        "LaunchTemplate": {"LaunchTemplateId": "lt-1", "Version": "$Default"},
    }
    assert json.loads(shlex.split(refresh)[-1]) == {"MinHealthyPercentage": 90, "InstanceWarmup": 30}


def test_what_differs_is_told_by_port() -> None:
    forward = {"type": "forward", "target_group_arn": "arn:1"}
    there = [
        {"port": port, "protocol": "HTTP", "default_actions": [forward], "rules": []} for port in (80, 81)
    ]
    wanted = [
        {"port": 80, "default_actions": [{"target_group_arn": "arn:2"}]},
        {"port": 8080, "default_actions": [forward]},
    ]
    assert ElbApplicationLb.describe_difference("listeners", wanted, there) == (
        "listener 80 differs, listener 8080 is missing, listener 81 is no longer wanted"
    )
