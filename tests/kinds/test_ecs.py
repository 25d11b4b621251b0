"""Containers on ECS on the sandbox: what is refused, what fails and says why, what is kept running."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from engine.aws import Aws
from engine.aws.errors import AwsError
from engine.errors import HalfMade, StepFailed
from engine.resources.aws.cloudwatch_logs import CloudwatchLogGroup
from engine.resources.ecs.clusters import EcsCluster
from engine.resources.ecs.definitions import EcsTaskDefinition
from engine.resources.ecs.services import EcsService
from engine.resources.ecs.tasks import EcsTask
from tests.kinds.aws_examples.ecs import a_cluster, a_definition, a_group, a_name, a_public_network
from tests.kinds.aws_stage import Stage
from tests.kinds.scripted_aws import Play, tag_list
from tests.waiting import waited

CONTAINER = {"name": "web", "image": "httpd:2.4"}


@pytest.fixture
def ecs(client: Callable[[str], Any]) -> Any:
    return client("ecs")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "needs cpu and memory on Fargate"),
        ({"cpu": 300, "memory": 512}, "Fargate has no 300 units: one of 256, 512, 1024"),
        ({"cpu": 256, "memory": 4096}, "with cpu 256 Fargate has 512, 1024, 2048 MiB, not 4096"),
        ({"cpu": "4 vCPU", "memory": "4 GB"}, "with cpu 4096 Fargate has 8192 to 30720 in steps of 1024 MiB"),
        ({"cpu": 256, "memory": 512, "network_mode": "bridge"}, "Fargate has only awsvpc"),
        (
            {"cpu": 256, "memory": 512, "volumes": [{"name": "v", "host_path": "/v"}]},
            "no host_path on Fargate",
        ),
        ({"launch_type": "EC2"}, "container web needs memory or memory_reservation"),
        ({"cpu": 256, "memory": 512, "containers": [CONTAINER, CONTAINER]}, "two of them are called 'web'"),
        ({"cpu": 256, "memory": 512, "containers": [{**CONTAINER, "essential": False}]}, "must be essential"),
        (
            {
                "cpu": 256,
                "memory": 512,
                "containers": [{"name": "a", "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/a:1"}],
            },
            "execution_role_arn is needed on Fargate to fetch 123456789012.dkr.ecr",
        ),
        (
            {
                "cpu": 256,
                "memory": 512,
                "containers": [
                    {
                        **CONTAINER,
                        "log_configuration": {
                            "log_driver": "awslogs",
                            "options": {"awslogs-group": "/a", "awslogs-region": "us-east-1"},
                        },
                    }
                ],
            },
            "needed on Fargate to write its log",
        ),
        (
            {"containers": [{**CONTAINER, "log_configuration": {"log_driver": "awslogs"}}]},
            "options of awslogs need awslogs-group and awslogs-region",
        ),
    ],
)
def test_definitions_that_ecs_would_refuse(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        EcsTaskDefinition.model_validate({"family": "app", "containers": [CONTAINER], **fields})


def test_sizes_are_read_as_people_write_them() -> None:
    small = EcsTaskDefinition.model_validate(
        {"family": "app", "cpu": ".25 vCPU", "memory": "0.5GB", "containers": [CONTAINER]}
    )
    assert (small.cpu, small.memory) == (256, 512)


def test_services_and_tasks_that_ecs_would_refuse() -> None:
    with pytest.raises(ValidationError, match="tasks on Fargate need network_configuration"):
        EcsService(name="web", task_definition="app", launch_type="FARGATE")
    with pytest.raises(ValidationError, match="a task on Fargate needs network_configuration"):
        EcsTask(task_definition="app", launch_type="FARGATE")
    given = {"name": "web", "task_definition": "app", "health_check_grace_period_seconds": 10}
    with pytest.raises(ValidationError, match="is for services with load_balancers"):
        EcsService.model_validate(given)


def test_a_cluster_of_somebody_else_is_left_alone(stage: Stage, ecs: Any) -> None:
    """CreateCluster would give it back as if it had been made."""
    name = a_name(stage)
    ecs.create_cluster(clusterName=name)
    try:
        with pytest.raises(StepFailed, match=f"an ECS cluster called {name} is there already"):
            EcsCluster(name=name).create(stage.world())
    finally:
        ecs.delete_cluster(cluster=name)


def test_a_log_group_of_somebody_else_is_left_alone(stage: Stage) -> None:
    name = f"/{a_name(stage)}"
    stage.make(CloudwatchLogGroup(log_group_name=name), "first")
    with pytest.raises(StepFailed, match=f"a log group called {name} is there already"):
        CloudwatchLogGroup(log_group_name=name).create(stage.world("second"))


def test_a_create_sent_twice_makes_one(stage: Stage, ecs: Any) -> None:
    given = on_fargate(stage)
    world = stage.world(token="labctl-0123456789abcdef0123456789abcdef")
    task = EcsTask.model_validate({**given, "task_definition": a_definition(stage)})
    first, second = task.create(world), task.create(world)
    try:
        assert first == second
        assert ecs.list_tasks(cluster=given["cluster"])["taskArns"] == [first]
    finally:
        EcsTask.delete(stage.world(), first)


def on_fargate(stage: Stage, *, public: bool = True) -> dict[str, Any]:
    vpc, subnets = a_public_network(stage)
    network = {"subnets": subnets, "security_groups": [a_group(stage, vpc, 80)], "assign_public_ip": public}
    return {"cluster": a_cluster(stage), "launch_type": "FARGATE", "network_configuration": network}


SCRIPT = "import sys; print('at work'); sys.exit({})"


def test_work_that_is_done_once(stage: Stage, ecs: Any) -> None:
    given = on_fargate(stage)
    command = ["python", "-c", SCRIPT.format(0)]
    definition = a_definition(stage, image="python:3.12-slim", port_mappings=[], command=command)
    work = EcsTask.model_validate({**given, "task_definition": definition, "until": "stopped"})
    done = stage.make(work)
    assert (done["until"], done["exit_code"], done["last_status"]) == ("stopped", 0, "STOPPED")
    assert done["stopped_reason"] == "Essential container in task exited"
    assert EcsTask.find(stage.world("other", token=""))
    # What has run and is forgotten by ECS has run; one whose cluster is gone is gone.
    unknown = done["id"].rpartition("/")[0] + "/0123456789abcdef0123456789abcdef"
    assert EcsTask.read_many(stage.world(), [unknown])[unknown]["until"] == "stopped"
    elsewhere = unknown.replace(str(done["cluster"]), "no-such-cluster")
    assert EcsTask.read_many(stage.world(), [elsewhere]) == {}


def test_work_that_fails_says_with_what(stage: Stage) -> None:
    given = on_fargate(stage)
    overrides = [{"name": "web", "command": ["python", "-c", SCRIPT.format(3)]}]
    definition = a_definition(stage, image="python:3.12-slim", port_mappings=[])
    work = {**given, "task_definition": definition, "until": "stopped", "overrides": overrides}
    with pytest.raises(
        HalfMade, match=r"the task has stopped: Essential container.*container web: exit code 3"
    ) as failure:
        EcsTask.model_validate(work).create(stage.world())
    there = EcsTask.read_many(stage.world(), [failure.value.id])[failure.value.id]
    assert there["until"] == "failed"
    assert EcsTask.model_validate(work).replaces("until", there)
    assert EcsTask.describe_difference("until", "stopped", "failed") == "it has failed"
    EcsTask.delete(stage.world(), failure.value.id)


@pytest.mark.parametrize(
    ("public", "container", "words"),
    [
        (True, {"image": "no/such-image:1"}, "CannotPullContainerError"),
        (
            False,
            {"image": "team/app:1"},
            "ResourceInitializationError: unable to pull secrets or registry auth",
        ),
    ],
)
def test_a_task_that_cannot_start_says_why(
    stage: Stage, public: bool, container: dict[str, Any], words: str
) -> None:
    given = {**on_fargate(stage, public=public), "task_definition": a_definition(stage, **container)}
    with pytest.raises(HalfMade, match=words) as failure:
        EcsTask.model_validate(given).create(stage.world())
    assert EcsTask.delete(stage.world(), failure.value.id) is None


def test_a_service_whose_tasks_end_says_why(stage: Stage, ecs: Any) -> None:
    given = on_fargate(stage)
    command = ["python", "-c", SCRIPT.format(7)]
    definition = a_definition(stage, image="python:3.12-slim", port_mappings=[], command=command)
    service = EcsService.model_validate({**given, "name": "web", "task_definition": definition})
    with pytest.raises(HalfMade, match=r"tasks do not stay up: .*exit code 7") as failure:
        service.create(stage.world())
    try:
        [there] = ecs.describe_services(cluster=given["cluster"], services=["web"])["services"]
        assert any("has stopped: Essential container" in event["message"] for event in there["events"])
    finally:
        EcsService.delete(stage.world(), failure.value.id)


def test_a_service_starts_again_what_ends(stage: Stage, ecs: Any) -> None:
    given = {**on_fargate(stage), "name": "web", "task_definition": a_definition(stage)}
    made = stage.make(EcsService.model_validate(given))
    assert made["running_count"] == 1
    assert made["public_ip"].startswith("198.")
    [task] = ecs.list_tasks(cluster=given["cluster"])["taskArns"]
    ecs.stop_task(cluster=given["cluster"], task=task)

    def another() -> bool:
        there = EcsService.read_many(stage.world(), [made["id"]])[made["id"]]
        return bool(there["running_count"] == 1 and there["public_ip"] not in (None, made["public_ip"]))

    waited(another)


def test_a_service_comes_after_its_load_balancer(stage: Stage) -> None:
    from engine.resources.elb.target_group import ElbTargetGroup

    given = {**on_fargate(stage), "name": "web", "task_definition": a_definition(stage)}
    vpc = given["network_configuration"]["subnets"][0]
    described = stage.aws.call("ec2", "describe_subnets", SubnetIds=[vpc])["Subnets"]
    group = ElbTargetGroup(name=a_name(stage), vpc_id=described[0]["VpcId"], target_type="ip")
    target = {"target_group_arn": stage.make(group)["id"], "container_name": "web", "container_port": 80}
    with pytest.raises(StepFailed, match="no listener forwards to the service's target group yet") as failure:
        EcsService.model_validate({**given, "load_balancers": [target]}).create(stage.world())
    assert "depends_on" in failure.value.remedy


def test_another_service_of_the_name_is_left_alone(stage: Stage) -> None:
    given = {**on_fargate(stage), "name": "web", "task_definition": a_definition(stage)}
    stage.make(EcsService.model_validate(given), "first")
    with pytest.raises(StepFailed, match="a service called web is there already in this cluster"):
        EcsService.model_validate(given).create(stage.world("second"))


def test_a_role_made_a_moment_ago_is_waited_for(scripted: Play) -> None:
    late = AwsError("RegisterTaskDefinition", "ClientException", "Role is not valid")
    request = {
        "family": "app",
        "containerDefinitions": [{"name": "web", "image": "httpd:2.4", "memory": 64, "essential": True}],
        "requiresCompatibilities": ["EC2"],
        "executionRoleArn": "arn:aws:iam::123456789012:role/new",
        "tags": tag_list("key", "value"),
    }
    made = {"taskDefinition": {"taskDefinitionArn": "arn:aws:ecs:us-east-1:1:task-definition/app:1"}}
    aws = scripted([("register_task_definition", request, late), ("register_task_definition", request, made)])
    definition = EcsTaskDefinition.model_validate(
        {
            "family": "app",
            "launch_type": "EC2",
            "containers": [{**CONTAINER, "memory": 64}],
            "execution_role_arn": "arn:aws:iam::123456789012:role/new",
        }
    )
    assert definition.create(aws.world()).endswith("app:1")
    assert aws.said == ["ECS to be able to take on its role"]


def test_a_cluster_with_no_room_says_so(scripted: Play) -> None:
    request = {
        "cluster": "lab",
        "taskDefinition": "app",
        "count": 1,
        "launchType": "EC2",
        "clientToken": "t-1",
        "tags": tag_list("key", "value"),
    }
    full = {"tasks": [], "failures": [{"arn": "arn:…", "reason": "RESOURCE:MEMORY"}]}
    aws = scripted([("run_task", request, full)])
    with pytest.raises(StepFailed, match="ECS has no place for the task: RESOURCE:MEMORY") as failure:
        EcsTask(cluster="lab", task_definition="app", launch_type="EC2").create(aws.world())
    assert "give the cluster more instances" in failure.value.remedy


def test_a_cluster_that_is_still_used_is_waited_for(scripted: Play) -> None:
    arn = "arn:aws:ecs:us-east-1:123456789012:cluster/lab"
    busy = AwsError("DeleteCluster", "ClusterContainsTasksException", "The Cluster cannot be deleted")
    aws = scripted([("delete_cluster", {"cluster": arn}, busy), ("delete_cluster", {"cluster": arn}, {})])
    EcsCluster.delete(aws.world(), arn)
    assert aws.said == ["the cluster's tasks to end"]


def test_a_definition_that_is_still_there_is_not_gone(scripted: Play) -> None:
    arn = "arn:aws:ecs:us-east-1:123456789012:task-definition/app:1"
    gone = AwsError("DescribeTaskDefinition", "ClientException", "Unable to describe task definition.")
    refused = {
        "failures": [{"arn": arn, "reason": "The specified task definition is still in ACTIVE status."}]
    }
    aws = scripted(
        [
            ("describe_task_definition", {"taskDefinition": arn, "include": ["TAGS"]}, gone),
            ("delete_task_definitions", {"taskDefinitions": [arn]}, refused),
        ]
    )
    with pytest.raises(StepFailed, match="still in ACTIVE status"):
        EcsTaskDefinition.delete(aws.world(), arn)


def test_services_are_read_ten_at_a_time(aws: Aws, stage: Stage) -> None:
    cluster = a_cluster(stage)
    arns = [f"{cluster.replace(':cluster/', ':service/')}/none-{number}" for number in range(12)]
    before = len(aws.requests)
    assert EcsService.read_many(stage.world(), arns) == {}
    assert len(aws.requests) - before == 2


def test_what_differs_is_told_by_container() -> None:
    there = [
        {"name": "web", "image": "httpd:2.4", "essential": True, "environment": {"A": "1"}},
        {"name": "old", "image": "busybox", "essential": False},
    ]
    wanted = [
        {"name": "web", "image": "httpd:2.5", "environment": {"A": "1"}},
        {"name": "new", "image": "busybox"},
    ]
    assert EcsTaskDefinition.describe_difference("containers", wanted, there) == (
        "container web: image differs, container new is missing, container old is no longer wanted"
    )
    same = [{**CONTAINER, "port_mappings": [80], "health_check": {"command": ["true"]}}]
    completed = {
        **CONTAINER,
        "essential": True,
        "port_mappings": [{"container_port": 80, "host_port": 80, "protocol": "tcp"}],
        "health_check": {"command": ["true"], "interval": 30, "timeout": 5, "retries": 3},
    }
    assert not EcsTaskDefinition.differs("containers", same, [completed])
    assert EcsTaskDefinition.differs("containers", same, [{**completed, "user": "root"}])


def test_a_task_that_was_told_to_stop_is_gone_though_it_still_runs(scripted: Play) -> None:
    arn = "arn:aws:ecs:us-east-1:123456789012:task/lab/0123"
    interface = {"name": "networkInterfaceId", "value": "eni-1"}
    task = {
        "taskArn": arn,
        "lastStatus": "RUNNING",
        "desiredStatus": "STOPPED",
        "stoppedReason": "Deleted by labctl",
        "attachments": [{"type": "ElasticNetworkInterface", "details": [interface]}],
    }

    asked = {"cluster": "lab", "tasks": [arn], "include": ["TAGS"]}
    aws = scripted([("describe_tasks", asked, {"tasks": [task]})])
    assert EcsTask.read_many(aws.world(), [arn]) == {}


def test_commands_make_and_change_a_service_as_apply_does() -> None:
    balancer = {"target_group_arn": "arn:2", "container_name": "web", "container_port": 80}
    service = EcsService.model_validate(
        {
            "name": "web",
            "cluster": "lab",
            "task_definition": "app:1",
            "scheduling_strategy": "DAEMON",
            "load_balancers": [balancer],
        }
    ).at("web")
    made, *_ = service.as_commands("create", None)
    assert '"schedulingStrategy": "DAEMON"' in made
    assert "desiredCount" not in made
    changed, *_ = service.as_commands("update", "arn:1", frozenset({"load_balancers"}))
    assert json.loads(shlex.split(changed)[-1]) == {
        "cluster": "lab",
        "service": "arn:1",
        "loadBalancers": [{"targetGroupArn": "arn:2", "containerName": "web", "containerPort": 80}],
    }
