"""An example of each kind of ECS, load balancing, Auto Scaling and CloudWatch Logs."""

from __future__ import annotations

import uuid

from engine.resource import Resource
from engine.resources.aws.cloudwatch_logs import CloudwatchLogGroup
from engine.resources.ec2.autoscaling import AutoscalingGroup
from engine.resources.ec2.gateways import Ec2VpcIgw
from engine.resources.ec2.launch_template import Ec2LaunchTemplate
from engine.resources.ec2.routes import Ec2VpcRouteTable
from engine.resources.ec2.security import Ec2SecurityGroup
from engine.resources.ecs.clusters import EcsCluster
from engine.resources.ecs.definitions import EcsTaskDefinition
from engine.resources.ecs.services import EcsService
from engine.resources.ecs.tasks import EcsTask
from engine.resources.elb.application_lb import ElbApplicationLb
from engine.resources.elb.target_group import ElbTargetGroup
from tests.kinds.aws_examples import Example
from tests.kinds.aws_examples.ec2 import a_subnet, a_vpc
from tests.kinds.aws_stage import Stage


def a_name(stage: Stage, what: str = "lab") -> str:
    return f"{what}-{uuid.uuid4().hex[:8]}"


def a_public_network(stage: Stage) -> tuple[str, list[str]]:
    """A VPC and two subnets in two zones with a way to the internet."""
    vpc = a_vpc(stage)
    subnets = [
        str(stage.make(_subnet(vpc, zone, number), f"subnet{number}")["id"])
        for number, zone in enumerate("ab")
    ]
    gateway = stage.make(Ec2VpcIgw(vpc_id=vpc), "igw")["id"]
    routes = [{"dest": "0.0.0.0/0", "gateway_id": gateway}]
    table = Ec2VpcRouteTable.model_validate({"vpc_id": vpc, "routes": routes, "subnets": subnets})
    stage.make(table, "routes")
    return vpc, subnets


def _subnet(vpc: str, zone: str, number: int) -> Resource:
    from engine.resources.ec2.network import Ec2VpcSubnet

    return Ec2VpcSubnet(vpc_id=vpc, cidr=f"10.9.{number}.0/24", az=f"us-east-1{zone}")


def a_group(stage: Stage, vpc: str, *ports: int) -> str:
    rules = [{"proto": "tcp", "ports": list(ports), "cidr_ip": "0.0.0.0/0"}]
    group = Ec2SecurityGroup.model_validate(
        {"group_name": a_name(stage), "description": "of a test", "vpc_id": vpc, "rules": rules}
    )
    return str(stage.make(group, "group")["id"])


def a_cluster(stage: Stage) -> str:
    return str(stage.make(EcsCluster(name=a_name(stage)), "cluster")["id"])


def a_definition(stage: Stage, **container: object) -> str:
    definition = EcsTaskDefinition.model_validate(
        {
            "family": a_name(stage, "family"),
            "cpu": 256,
            "memory": 512,
            "containers": [{"name": "web", "image": "httpd:2.4", "port_mappings": [80], **container}],
        }
    )
    return str(stage.make(definition, "definition")["id"])


def cluster(stage: Stage) -> tuple[Resource, Resource | None]:
    first = EcsCluster(name=a_name(stage), container_insights="enabled", capacity_providers=["FARGATE"])
    strategy = [{"capacity_provider": "FARGATE_SPOT", "weight": 2}]
    second = {
        "name": first.name,
        "container_insights": "disabled",
        "capacity_providers": ["FARGATE", "FARGATE_SPOT"],
        "capacity_provider_strategy": strategy,
    }
    return first, EcsCluster.model_validate(second)


def task_definition(stage: Stage) -> tuple[Resource, Resource | None]:
    container = {
        "name": "web",
        "image": "httpd:2.4",
        "cpu": 128,
        "memory": 256,
        "port_mappings": [80, {"container_port": 443, "name": "tls"}],
        "environment": {"GREETING": "hello", "TIMES": 3, "LOUD": True},
        "secrets": {"TOKEN": "arn:aws:ssm:us-east-1:123456789012:parameter/token"},
        "command": ["httpd-foreground"],
        "working_directory": "/srv",
        "readonly_root_filesystem": True,
        "health_check": {"command": ["CMD-SHELL", "true"], "interval": 10},
        "log_configuration": {
            "log_driver": "awslogs",
            "options": {
                "awslogs-group": "/ecs/web",
                "awslogs-region": "us-east-1",
                "awslogs-stream-prefix": "web",
            },
        },
        "mount_points": [{"source_volume": "scratch", "container_path": "/scratch"}],
        "stop_timeout": 10,
    }
    helper = {
        "name": "helper",
        "image": "busybox",
        "essential": False,
        "depends_on": [{"container": "web", "condition": "HEALTHY"}],
    }
    definition = {
        "family": a_name(stage, "family"),
        "cpu": ".5 vCPU",
        "memory": "1 GB",
        "containers": [container, helper],
        "volumes": [{"name": "scratch"}],
        "execution_role_arn": "arn:aws:iam::123456789012:role/execution",
        "task_role_arn": "arn:aws:iam::123456789012:role/task",
        "runtime_platform": {"cpu_architecture": "ARM64"},
        "ephemeral_storage": 30,
    }
    return EcsTaskDefinition.model_validate(definition), None


def service(stage: Stage) -> tuple[Resource, Resource | None]:
    vpc, subnets = a_public_network(stage)
    group, definition = a_group(stage, vpc, 80), a_definition(stage)
    first = {
        "name": a_name(stage),
        "cluster": a_cluster(stage),
        "task_definition": definition,
        "desired_count": 2,
        "launch_type": "FARGATE",
        "network_configuration": {"subnets": subnets, "security_groups": [group], "assign_public_ip": True},
        "deployment_configuration": {"deployment_circuit_breaker": {"enable": True}},
        "propagate_tags": "SERVICE",
    }
    second = {**first, "task_definition": a_definition(stage, environment={"A": "b"}), "desired_count": 1}
    return EcsService.model_validate(first), EcsService.model_validate(second)


def task(stage: Stage) -> tuple[Resource, Resource | None]:
    vpc, subnets = a_public_network(stage)
    network = {"subnets": subnets, "security_groups": [a_group(stage, vpc, 80)], "assign_public_ip": True}
    given = {
        "cluster": a_cluster(stage),
        "task_definition": a_definition(stage),
        "launch_type": "FARGATE",
        "network_configuration": network,
        "overrides": [{"name": "web", "environment": {"COLOUR": "blue"}}],
        "started_by": "a test",
    }
    return EcsTask.model_validate(given), None


def log_group(stage: Stage) -> tuple[Resource, Resource | None]:
    first = CloudwatchLogGroup(log_group_name=f"/ecs/{a_name(stage)}", retention=7)
    return first, first.model_copy(update={"retention": 30})


def target_group(stage: Stage) -> tuple[Resource, Resource | None]:
    first = {
        "name": a_name(stage),
        "vpc_id": a_vpc(stage),
        "port": 5000,
        "target_type": "ip",
        "health_check_path": "/ping",
        "health_check_interval": 10,
        "successful_response_codes": "200-399",
        "deregistration_delay_timeout": 5,
    }
    second = {
        **first,
        "health_check_path": "/",
        "health_check_port": 8080,
        "healthy_threshold_count": 2,
        "successful_response_codes": "200",
        "targets": [{"id": "10.9.0.10"}, {"id": "10.9.0.11", "port": 81}],
    }
    return ElbTargetGroup.model_validate(first), ElbTargetGroup.model_validate(second)


def application_lb(stage: Stage) -> tuple[Resource, Resource | None]:
    vpc, subnets = a_public_network(stage)
    groups = [a_group(stage, vpc, 80)]
    target = stage.make(ElbTargetGroup(name=a_name(stage), vpc_id=vpc), "targets")["id"]
    gone = {"type": "fixed-response", "fixed_response_config": {"status_code": 404, "message_body": "no"}}
    redirect = {"type": "redirect", "redirect_config": {"path": "/new/#{path}", "status_code": "HTTP_302"}}
    rules = [
        {
            "priority": 10,
            "conditions": [{"field": "path-pattern", "values": ["/old/*"]}],
            "actions": [redirect],
        },
        {
            "priority": 20,
            "conditions": [
                {"field": "http-header", "http_header_name": "X-Beta", "values": ["yes"]},
                {"field": "query-string", "values": ["version=2", "beta"]},
            ],
            "actions": [{"target_group_arn": target}],
        },
    ]
    first = {
        "name": a_name(stage),
        "subnets": subnets,
        "security_groups": groups,
        "listeners": [
            {"port": 80, "default_actions": [{"target_group_arn": target}], "rules": rules},
            {"port": 81, "default_actions": [gone]},
        ],
        "idle_timeout": 30,
    }
    second = {
        **first,
        "security_groups": [a_group(stage, vpc, 80, 8080)],
        "listeners": [
            {"port": 80, "default_actions": [gone], "rules": [{**rules[1], "priority": 5}, rules[0]]},
            {"port": 8080, "default_actions": [{"target_group_arn": target}]},
        ],
    }
    return ElbApplicationLb.model_validate(first), ElbApplicationLb.model_validate(second)


def launch_template(stage: Stage) -> tuple[Resource, Resource | None]:
    vpc = a_vpc(stage)
    first = {
        "name": a_name(stage),
        "image_id": Ec2LaunchTemplate.resolve(stage.world(), "image_id", "ubuntu-22.04"),
        "instance_type": "t3.micro",
        "security_group_ids": [a_group(stage, vpc, 80)],
        "user_data": "#!/bin/sh\necho hello\n",
        "block_device_mappings": [
            {"device_name": "/dev/sda1", "ebs": {"volume_size": 12, "volume_type": "gp3"}}
        ],
        "metadata_options": {"http_tokens": "required"},
    }
    second = {**first, "instance_type": "t3.small", "user_data": "#!/bin/sh\necho bye\n"}
    return Ec2LaunchTemplate.model_validate(first), Ec2LaunchTemplate.model_validate(second)


def autoscaling_group(stage: Stage) -> tuple[Resource, Resource | None]:
    vpc = a_vpc(stage)
    subnet = a_subnet(stage, vpc)
    template = {
        "name": a_name(stage),
        "image_id": Ec2LaunchTemplate.resolve(stage.world(), "image_id", "ubuntu-22.04"),
        "instance_type": "t3.micro",
    }
    made = stage.make(Ec2LaunchTemplate.model_validate(template), "template")
    target = stage.make(ElbTargetGroup(name=a_name(stage), vpc_id=vpc), "targets")["id"]
    first = {
        "name": a_name(stage),
        "launch_template": {"launch_template_id": made["id"], "version": made["latest_version"]},
        "min_size": 1,
        "max_size": 3,
        "desired_capacity": 1,
        "vpc_zone_identifier": [subnet],
        "health_check_period": 10,
    }
    second = {
        **first,
        "launch_template": {"launch_template_name": template["name"], "version": "$Latest"},
        "desired_capacity": 2,
        "target_group_arns": [target],
        "health_check_type": "ELB",
    }
    return AutoscalingGroup.model_validate(first), AutoscalingGroup.model_validate(second)


EXAMPLES: dict[str, Example] = {
    "autoscaling_group": autoscaling_group,
    "cloudwatch_log_group": log_group,
    "ec2_launch_template": launch_template,
    "ecs_cluster": cluster,
    "ecs_service": service,
    "ecs_task": task,
    "ecs_taskdefinition": task_definition,
    "elb_application_lb": application_lb,
    "elb_target_group": target_group,
}
