"""The playbooks that run containers on ECS, from the image to the last thing deleted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.scenarios.flask_app import POSTED
from tests.scenarios.place import Place
from tests.waiting import waited


def predicted(place: Place, site: str) -> float:
    answer = place.curl(f"{site}predict", *POSTED)
    assert answer.returncode == 0, answer.stderr
    return float(json.loads(answer.stdout)["chance_of_admission"])


def left_of_ecs(place: Place) -> list[str]:
    """What the API says is left of clusters, load balancers, images, logs, interfaces and so on."""
    ecs, elb = place.aws("ecs"), place.aws("elbv2")
    left = [*ecs.list_clusters()["clusterArns"], *ecs.list_task_definitions()["taskDefinitionArns"]]
    left += [one["LoadBalancerArn"] for one in elb.describe_load_balancers()["LoadBalancers"]]
    left += [one["TargetGroupArn"] for one in elb.describe_target_groups()["TargetGroups"]]
    left += [one["repositoryName"] for one in place.aws("ecr").describe_repositories()["repositories"]]
    left += [one["logGroupName"] for one in place.aws("logs").describe_log_groups()["logGroups"]]
    interfaces = place.aws().describe_network_interfaces()["NetworkInterfaces"]
    left += [one["Description"] for one in interfaces]
    return left + [one["RoleName"] for one in place.aws("iam").list_roles()["Roles"]]


def the_task(place: Place, cluster: str) -> dict[str, Any]:
    ecs = place.aws("ecs")
    [arn] = ecs.list_tasks(cluster=cluster)["taskArns"]
    [task] = ecs.describe_tasks(cluster=cluster, tasks=[arn], include=["TAGS"])["tasks"]
    return dict(task)


def test_the_exercise(place: Place) -> None:
    lab, cluster = "fargate_admission@sandbox", "fargate-admission-sandbox"
    place.run("plan", "playbooks/fargate_admission.yml")
    place.run("apply", "--yes")
    assert place.plan("playbooks/fargate_admission.yml") == {}
    assert all(one["passed"] for one in place.json("check"))

    outputs = place.json("output")
    assert predicted(place, outputs["site"]) == pytest.approx(0.7343)
    task = the_task(place, cluster)
    assert task["lastStatus"] == "RUNNING"
    assert {"key": "labctl:lab", "value": lab} in task["tags"]
    [interface] = place.aws().describe_network_interfaces(
        Filters=[{"Name": "addresses.private-ip-address", "Values": [address_of(task)]}]
    )["NetworkInterfaces"]
    assert interface["Association"]["PublicIp"] == outputs["public_ip"]
    assert "POST /predict" in logged(place, f"/ecs/{cluster}")

    # A sandbox that is stopped and started has the task again, with the address that it had.
    place.run("sandbox", "stop")
    assert place.plan("playbooks/fargate_admission.yml") == {}
    place.forget_sandbox()
    assert all(one["passed"] for one in place.json("check"))

    # Stopped by hand, it is missed, and run again.
    place.aws("ecs").stop_task(cluster=cluster, task=task["taskArn"], reason="by hand")
    waited(lambda: not place.aws("ecs").list_tasks(cluster=cluster)["taskArns"])
    changes = place.plan("playbooks/fargate_admission.yml")
    assert {address: change["action"] for address, change in changes.items()} == {"task": "replace"}
    assert "it has failed" in changes["task"]["cause"]
    place.run("apply", "--yes")
    assert predicted(place, place.json("output")["site"]) == pytest.approx(0.7343)

    place.run("destroy", "--yes")
    assert left_of_ecs(place) == []
    assert place.tagged(lab) == {}


def address_of(task: dict[str, Any]) -> str:
    [interface] = task["containers"][0]["networkInterfaces"]
    return str(interface["privateIpv4Address"])


def logged(place: Place, group: str) -> str:
    logs = place.aws("logs")
    found = logs.filter_log_events(logGroupName=group)["events"]
    return "\n".join(event["message"] for event in found)


def test_a_service_behind_a_load_balancer(place: Place) -> None:
    playbook, cluster = "playbooks/flask_on_ecs.yml", "flask-on-ecs-sandbox"
    place.run("plan", playbook)
    place.run("apply", "--yes")
    assert place.plan(playbook) == {}
    assert all(one["passed"] for one in place.json("check"))

    site = place.json("output")["site"]
    assert predicted(place, site) == pytest.approx(0.7343)
    ecs = place.aws("ecs")
    assert states(place, cluster) == ["healthy", "healthy"]
    # Nobody gets past the load balancer.
    [first, _] = ecs.list_tasks(cluster=cluster)["taskArns"]
    [task] = ecs.describe_tasks(cluster=cluster, tasks=[first])["tasks"]
    [interface] = place.aws().describe_network_interfaces(
        Filters=[{"Name": "addresses.private-ip-address", "Values": [address_of(task)]}]
    )["NetworkInterfaces"]
    direct = place.curl(f"http://{interface['Association']['PublicIp']}:5000/", "--max-time", "2")
    assert direct.returncode != 0

    # A task that goes is started again, with nobody asking for it.
    ecs.stop_task(cluster=cluster, task=first)
    waited(lambda: first not in ecs.list_tasks(cluster=cluster)["taskArns"])
    waited(lambda: states(place, cluster) == ["healthy", "healthy"], 30)
    assert place.plan(playbook) == {}

    # Another version of the app is another image, revision and deployment; the service answers all the while.
    place.edit("templates/flask_app/app.py", "Chance of admission</h1>", "Your chance</h1>")
    changes = place.plan(playbook)
    actions = {address: change["action"] for address, change in changes.items()}
    assert actions == {"image": "update", "definition": "replace", "service": "update"}
    place.run("apply", "--yes")
    assert "Your chance" in place.curl(site).stdout
    assert len(ecs.list_task_definitions()["taskDefinitionArns"]) == 1

    place.run("destroy", "--yes")
    assert left_of_ecs(place) == []
    assert place.tagged("flask_on_ecs@sandbox") == {}


def states(place: Place, name: str) -> list[str]:
    elb = place.aws("elbv2")
    [group] = elb.describe_target_groups(Names=[name])["TargetGroups"]
    told = elb.describe_target_health(TargetGroupArn=group["TargetGroupArn"])["TargetHealthDescriptions"]
    return [one["TargetHealth"]["State"] for one in told]


def test_a_task_that_cannot_fetch_its_image_says_why(place: Place) -> None:
    """Without a public address, and with no NAT gateway, there is no way to ECR."""
    place.edit("playbooks/fargate_admission.yml", "assign_public_ip: true", "assign_public_ip: false")
    said = place.run("apply", "playbooks/fargate_admission.yml", "--yes", code=1)
    assert (
        "the task has stopped: ResourceInitializationError: unable to pull secrets or registry auth"
        in said.all
    )
    assert "subnet without a way out" in said.all
    place.run("destroy", "playbooks/fargate_admission.yml", "--yes")
    assert left_of_ecs(place) == []


def test_the_printed_policy_is_enough(place: Place) -> None:
    """A user who may do what `labctl iam-policy` says makes the service and takes it away."""
    playbook = "playbooks/flask_on_ecs.yml"
    policy = place.json("iam-policy", playbook)
    assert len(json.dumps(policy, separators=(",", ":"))) <= 6144, "it fits into one managed policy"
    endpoint, running = place.sandbox_endpoint(), place.sandbox
    (place.folder / "inventory/user.yml").write_text(
        "target: aws\n"
        f"aws: {{region: us-east-1, endpoint_url: {endpoint}}}\n"
        f"ssh: {{proxy: {running['socks_proxy']}}}\n"
        f"docker: {{host: {running['docker_host']}}}\n"
    )
    iam = place.aws("iam")
    iam.create_user(UserName="alice")
    iam.put_user_policy(UserName="alice", PolicyName="lab", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="alice")["AccessKey"]
    env = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    place.run("apply", playbook, "-i", "user", "--yes", env=env)
    place.run("check", playbook, "-i", "user", env=env)
    place.run("destroy", playbook, "-i", "user", "--yes", env=env)
    assert left_of_ecs(place) == []
