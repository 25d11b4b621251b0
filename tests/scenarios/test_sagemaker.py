"""The two playbooks with SageMaker: trained, asked, changed, taken away, and looked at with boto3."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.scenarios.flask_app import APPLICANT
from tests.scenarios.place import Place

HW02 = "playbooks/hw02_sagemaker.yml"
FLASK = "playbooks/flask_on_sagemaker.yml"
NAME = "hw02-sagemaker-sandbox"


def asked(place: Place, endpoint: str, kind: str, body: str) -> Any:
    runtime = place.aws("sagemaker-runtime")
    answer = runtime.invoke_endpoint(EndpointName=endpoint, ContentType=kind, Body=body)
    return json.load(answer["Body"])


def nothing_left(place: Place) -> None:
    sagemaker = place.aws("sagemaker")
    assert sagemaker.list_endpoints()["Endpoints"] == []
    assert sagemaker.list_endpoint_configs()["EndpointConfigs"] == []
    assert sagemaker.list_models()["Models"] == []
    assert sagemaker.list_notebook_instances()["NotebookInstances"] == []
    assert sagemaker.list_training_jobs()["TrainingJobSummaries"] == []
    assert place.aws("s3").list_buckets()["Buckets"] == []
    assert place.aws("ecr").describe_repositories()["repositories"] == []
    assert place.aws("iam").list_roles(PathPrefix="/")["Roles"] == []


def test_the_second_part_of_hw02(place: Place) -> None:
    planned = place.run("plan", HW02, "-e", "batch=true")
    assert "Plan: 9 to add, 0 to change, 0 to destroy." in planned.out
    assert "about 0.0964 USD an hour" in planned.out
    place.run("apply", "--yes")
    assert "No changes." in place.run("plan", "--detailed-exitcode").out
    assert "All 2 checks passed." in place.run("check").out
    points = "1.4,0.2\n1.5,0.3\n5.6,2.1\n4.3,1.3"
    clusters = [each["closest_cluster"] for each in asked(place, NAME, "text/csv", points)["predictions"]]
    assert clusters[0] == clusters[1]
    assert len(set(clusters)) == 3
    [batch] = place.aws("s3").list_objects_v2(Bucket=f"{NAME}-sagemaker", Prefix="answers/")["Contents"]
    assert batch["Key"] == "answers/points.csv.out"


def test_more_clusters_are_trained_and_taken_on(place: Place) -> None:
    changed = place.run("plan", HW02, "-e", "batch=true", "-e", "k=4")
    assert "hyperparameters" in changed.out
    assert "to add, 0 to change" in changed.out
    place.run("apply", "--yes")
    told = asked(place, NAME, "text/csv", "1.4,0.2")
    assert told["predictions"][0]["distance_to_cluster"] < 1
    job = place.aws("sagemaker").describe_training_job(TrainingJobName=NAME)
    assert job["HyperParameters"]["k"] == "4"


def test_a_notebook_is_stopped_by_one_variable(place: Place) -> None:
    place.run("apply", "--yes", HW02, "-e", "batch=true", "-e", "k=4", "-e", "running=false")
    told = place.aws("sagemaker").describe_notebook_instance(NotebookInstanceName=NAME)
    assert told["NotebookInstanceStatus"] == "Stopped"


def test_the_endpoint_answers_after_a_restart_of_the_sandbox(place: Place) -> None:
    place.restart_sandbox()
    assert "All 2 checks passed." in place.run("check").out


def test_all_gone_afterwards(place: Place) -> None:
    assert "Nothing of hw02_sagemaker@sandbox is left" in place.run("destroy", "--yes").out
    nothing_left(place)


def test_a_flask_model_behind_an_endpoint(place: Place) -> None:
    place.run("apply", "--yes", FLASK)
    assert "No changes." in place.run("plan", "--detailed-exitcode").out
    assert "The check passed." in place.run("check").out
    name = "flask-on-sagemaker-sandbox"
    told = asked(place, name, "application/json", json.dumps(APPLICANT))
    assert 0 < told["chance_of_admission"] < 1
    with pytest.raises(ClientError, match="ModelError"):
        asked(place, name, "application/json", '{"gre_score": "many"}')
    place.run("destroy", "--yes")
    nothing_left(place)
