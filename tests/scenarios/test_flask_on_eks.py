"""The Flask app on Kubernetes: applied, asked through its load balancer, changed, looked at from behind."""

from __future__ import annotations

import json

import pytest

from engine.aws import Aws
from engine.k8s import Cluster, Ref, reach
from tests.scenarios.flask_app import APPLICANT
from tests.scenarios.place import Place

PLAYBOOK = "playbooks/flask_on_eks.yml"
NAME = "flask-on-eks-sandbox"


@pytest.fixture(scope="module")
def place(place: Place) -> Place:
    """A place where the lab was planned and applied."""
    place.stand_up(PLAYBOOK)
    return place


def cluster(place: Place) -> Cluster:
    endpoint = place.sandbox["aws_endpoint"]
    aws = Aws(region="us-east-1", endpoint_url=endpoint, credentials=("labctl", "sandbox"))
    found = reach(aws, NAME)
    assert found is not None
    return found


def test_the_plan_tells_what_it_costs(place: Place) -> None:
    assert "Plan: 12 to add, 0 to change, 0 to destroy." in place.planned.out
    assert "about 0.1208 USD an hour" in place.planned.out


def test_afterwards_there_is_nothing_to_do_and_it_answers(place: Place) -> None:
    assert "No changes." in place.run("plan", "--detailed-exitcode").out
    assert "All 2 checks passed." in place.run("check").out


def test_anybody_can_ask_it(place: Place) -> None:
    site = place.json("output")["site"]
    answer = place.curl(f"{site}predict", "--json", json.dumps(APPLICANT))
    assert 0 < json.loads(answer.stdout)["chance_of_admission"] < 1


def test_the_cluster_has_what_the_manifests_say(place: Place) -> None:
    [group] = place.aws("eks").list_nodegroups(clusterName=NAME)["nodegroups"]
    assert group == "workers"
    deployment = cluster(place).get(Ref("apps/v1", "Deployment", "admission", "admission"))
    assert deployment is not None
    assert deployment["status"]["availableReplicas"] == 2
    assert deployment["metadata"]["annotations"]["labctl.io/owner"] == "flask_on_eks@sandbox app"


def test_more_pods_change_nothing_else(place: Place) -> None:
    [(address, change)] = place.plan(PLAYBOOK, "-e", "pods=3").items()
    assert (address, change["action"]) == ("app", "update")
    assert "spec.replicas" in change["cause"]
    place.run("apply", "--yes", PLAYBOOK, "-e", "pods=3")
    assert len(cluster(place).listed("v1", "Pod", "admission", {"app": "admission"})) == 3


def test_what_somebody_took_away_is_put_back(place: Place) -> None:
    cluster(place).delete(Ref("v1", "Service", "admission", "admission"))
    [(address, change)] = place.plan(PLAYBOOK, "-e", "pods=3").items()
    assert (address, change["cause"]) == ("app", "Service admission is missing")
    place.run("apply", "--yes")
    assert "All 2 checks passed." in place.run("check").out


def test_it_answers_after_a_restart_of_the_sandbox(place: Place) -> None:
    place.restart_sandbox()
    assert "All 2 checks passed." in place.run("check").out


def test_nothing_is_left(place: Place) -> None:
    assert "Nothing of flask_on_eks@sandbox is left" in place.run("destroy", "--yes").out
    assert place.aws("eks").list_clusters()["clusters"] == []
    assert place.aws("ecr").describe_repositories()["repositories"] == []
    assert place.aws("iam").list_roles()["Roles"] == []
    assert place.tagged("flask_on_eks@sandbox") == {}
    groups = place.aws().describe_security_groups()["SecurityGroups"]
    assert [group["GroupName"] for group in groups if group["GroupName"] != "default"] == []
