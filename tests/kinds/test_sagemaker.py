"""SageMaker: jobs that train and fail, endpoints asked from behind, and what is refused."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

import pytest

from engine.aws.errors import AwsError
from engine.errors import HalfMade, StepFailed
from engine.resources.sagemaker.jobs import SagemakerTrainingJob, SagemakerTransformJob
from engine.resources.sagemaker.models import SagemakerEndpoint, SagemakerEndpointConfig, SagemakerModel
from engine.resources.sagemaker.notebooks import SagemakerNotebook
from engine.sandbox import Running
from tests import clients
from tests.kinds.aws_examples.sagemaker import a_config, a_model, a_role, a_training, transform
from tests.kinds.aws_stage import Stage
from tests.kinds.scripted_aws import Play, tag_list

ROLE = "arn:aws:iam::123456789012:role/sagemaker"
INPUT = [{"s3_uri": "s3://data/train", "content_type": "text/csv"}]


def asked(sandbox: Running, endpoint: str, points: str) -> list[dict[str, float]]:
    runtime = clients.at(sandbox.aws_endpoint, "sagemaker-runtime")
    answer = runtime.invoke_endpoint(EndpointName=endpoint, ContentType="text/csv", Body=points)
    predictions: list[dict[str, float]] = json.load(answer["Body"])["predictions"]
    return predictions


def test_a_model_is_trained_and_its_endpoint_answers(stage: Stage, cloud: Running) -> None:
    model = str(stage.make(a_model(stage), "model")["id"])
    config = str(stage.make(a_config(stage, model), "config")["id"])
    endpoint = SagemakerEndpoint(name=f"{stage.lab}-endpoint", endpoint_config_name=config)
    stage.make(endpoint, "endpoint")
    [near, far] = asked(cloud, endpoint.name, "1,1\n9,9")
    assert near["closest_cluster"] != far["closest_cluster"]
    assert near["distance_to_cluster"] == pytest.approx(0.4714, abs=0.001)
    with pytest.raises(Exception, match="could not convert string to float"):
        asked(cloud, endpoint.name, "one,two")


def test_the_artefact_lies_in_s3(stage: Stage) -> None:
    made = stage.make(a_training(stage), "training")
    assert made["model_artifacts"] == f"s3://{stage.lab}-data/models/{stage.lab}-training/output/model.tar.gz"
    key = made["model_artifacts"].removeprefix(f"s3://{stage.lab}-data/")
    body = stage.aws.call("s3", "get_object", Bucket=f"{stage.lab}-data", Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        assert "centroids.json" in archive.getnames()


def test_a_batch_is_answered_object_by_object(stage: Stage) -> None:
    job, _ = transform(stage)
    stage.make(job, "transform")
    key = "answers/points.csv.out"
    body = stage.aws.call("s3", "get_object", Bucket=f"{stage.lab}-data", Key=key)["Body"].read()
    assert len(json.loads(body)["predictions"]) == 6


def test_a_transform_job_can_be_made_again_after_it_was_deleted(stage: Stage) -> None:
    job, _ = transform(stage)
    first, second = job.create(stage.world()), job.create(stage.world())
    assert first != second
    for id in (first, second):
        SagemakerTransformJob.delete(stage.world(), id)
        assert SagemakerTransformJob.read_many(stage.world(), [id]) == {}
    assert stage.aws.call("sagemaker", "describe_transform_job", TransformJobName=first)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"hyperparameters": {"k": 2}}, "hyperparameters `k` and `feature_dim` are required"),
        ({"hyperparameters": {"k": 2, "feature_dim": 3}}, "the data has 2 columns, and feature_dim is 3"),
        ({"hyperparameters": {"k": 7, "feature_dim": 2}}, "6 records cannot be put into 7 clusters"),
        ({"algorithm": "pca"}, "does not exist or cannot be pulled"),
    ],
)
def test_a_job_that_fails_says_why_and_is_made_anew(stage: Stage, fields: dict[str, Any], words: str) -> None:
    job = a_training(stage, **fields)
    world = stage.world()
    with pytest.raises(HalfMade, match=words) as raised:
        job.create(world)
    there = SagemakerTrainingJob.read_many(world, [raised.value.id])[raised.value.id]
    assert there["status"] == "Failed"
    assert job.wanted()["succeeded"] != there["succeeded"]
    assert job.replaces("succeeded", there)
    SagemakerTrainingJob.delete(world, raised.value.id)


def test_no_data_where_it_should_be(stage: Stage) -> None:
    place = {"s3_uri": f"s3://{stage.lab}-data/nowhere/", "content_type": "text/csv"}
    job = a_training(stage, input_data=[place])
    with pytest.raises(HalfMade, match="No S3 objects found under S3 URL"):
        job.create(stage.world())
    SagemakerTrainingJob.delete(stage.world(), job.name)


def test_an_endpoint_whose_model_is_gone_fails_in_words(stage: Stage) -> None:
    model = a_model(stage)
    stage.make(model, "model")
    config = str(stage.make(a_config(stage, model.name), "config")["id"])
    SagemakerModel.delete(stage.world(), model.name)
    endpoint = SagemakerEndpoint(name=f"{stage.lab}-endpoint", endpoint_config_name=config)
    with pytest.raises(HalfMade, match="Could not find model") as raised:
        endpoint.create(stage.world())
    there = SagemakerEndpoint.read_many(stage.world(), [raised.value.id])[raised.value.id]
    assert there["in_service"] is False
    SagemakerEndpoint.delete(stage.world(), raised.value.id)


def test_a_name_that_is_taken(stage: Stage) -> None:
    notebook = SagemakerNotebook(name=f"{stage.lab}-notebook", role_arn=a_role(stage))
    stage.make(notebook, "notebook")
    with pytest.raises(AwsError, match="Cannot create already existing notebook instance"):
        notebook.create(stage.world("other"))


def test_a_notebook_is_stopped_and_started(stage: Stage) -> None:
    notebook = SagemakerNotebook(name=f"{stage.lab}-notebook", role_arn=a_role(stage), running=False)
    world = stage.world()
    name = notebook.create(world)
    assert SagemakerNotebook.read_many(world, [name])[name]["status"] == "Stopped"
    on = notebook.model_copy(update={"running": True})
    on.update(world, name, frozenset({"running"}))
    assert SagemakerNotebook.read_many(world, [name])[name]["status"] == "InService"
    assert on.price() == pytest.approx(0.05)
    assert notebook.price() == 0
    SagemakerNotebook.delete(world, name)


def test_commands_for_a_notebook_change_every_setting() -> None:
    notebook = SagemakerNotebook(name="n", role_arn=ROLE, root_access="Disabled", volume_size=10).at("n")
    changed = frozenset({"root_access", "volume_size", "default_code_repository"})
    assert notebook.as_commands("update", "n", changed)[2] == (
        "aws sagemaker update-notebook-instance --notebook-instance-name n --volume-size-in-gb 10 "
        "--disassociate-default-code-repository --root-access Disabled"
    )


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        (SagemakerNotebook, {"name": "a_b", "role_arn": ROLE}, "cannot be a name in SageMaker"),
        (SagemakerNotebook, {"name": "a" * 64, "role_arn": ROLE}, "cannot be a name in SageMaker"),
        (SagemakerNotebook, {"name": "a", "role_arn": "sagemaker"}, "is not the ARN of a role"),
        (SagemakerNotebook, {"name": "a", "role_arn": ROLE, "instance_type": "t3.medium"}, "begin with ml"),
        (SagemakerNotebook, {"name": "a", "role_arn": ROLE, "volume_size": 4}, "greater than or equal to 5"),
        (SagemakerModel, {"name": "a", "role_arn": ROLE}, "write either image or algorithm"),
        (
            SagemakerModel,
            {"name": "a", "role_arn": ROLE, "algorithm": "kmean"},
            "not an algorithm of AWS's own",
        ),
        (
            SagemakerTrainingJob,
            {"name": "a", "role_arn": ROLE, "algorithm": "kmeans", "input_data": INPUT, "output_path": "x"},
            "is not a place in S3",
        ),
        (
            SagemakerTrainingJob,
            {
                "name": "a",
                "role_arn": ROLE,
                "algorithm": "kmeans",
                "input_data": INPUT,
                "output_path": "s3://data/out",
                "spot": True,
            },
            "max_wait must be at least max_runtime",
        ),
        (
            SagemakerEndpointConfig,
            {"name": "a", "variants": [{"model_name": "m"}]},
            "write either instance_type or serverless",
        ),
    ],
)
def test_what_is_refused(kind: type[Any], fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        kind.model_validate(fields)


def described(status: str, **more: Any) -> tuple[str, dict[str, Any], dict[str, Any]]:
    told = {"EndpointName": "e", "EndpointArn": "arn:e", "EndpointStatus": status, **more}
    return "describe_endpoint", {"EndpointName": "e"}, told


def test_an_update_that_is_rolled_back_says_so(scripted: Play) -> None:
    wish = SagemakerEndpoint(name="e", endpoint_config_name="two")
    failed = {"EndpointConfigName": "one", "FailureReason": "no capacity"}
    aws = scripted(
        [
            ("update_endpoint", {"EndpointName": "e", "EndpointConfigName": "two"}, {}),
            described("Updating"),
            described("RollingBack"),
            described("InService", **failed),
            described("InService", **failed),
            described("InService", **failed),
        ]
    )
    with pytest.raises(StepFailed, match="did not take on its configuration: no capacity"):
        wish.update(aws.world(), "e", frozenset({"endpoint_config_name"}))


def test_deleting_what_is_gone_is_quiet(scripted: Play) -> None:
    gone = AwsError("DescribeEndpoint", "ValidationException", 'Could not find endpoint "arn:e".')
    aws = scripted(
        [
            ("describe_endpoint", {"EndpointName": "e"}, gone),
            ("delete_endpoint", {"EndpointName": "e"}, gone),
            ("describe_endpoint", {"EndpointName": "e"}, gone),
        ]
    )
    SagemakerEndpoint.delete(aws.world(), "e")


def test_a_training_job_is_stopped_before_it_is_deleted(scripted: Play) -> None:
    job = {"TrainingJobName": "j"}
    running = {"TrainingJobStatus": "InProgress"}
    stopped = {"TrainingJobStatus": "Stopped"}
    aws = scripted(
        [
            ("describe_training_job", job, running),
            ("stop_training_job", job, {}),
            ("describe_training_job", job, {"TrainingJobStatus": "Stopping"}),
            ("describe_training_job", job, stopped),
            ("delete_training_job", job, {}),
        ]
    )
    SagemakerTrainingJob.delete(aws.world(), "j")


def test_a_role_of_a_moment_ago_is_waited_for(scripted: Play) -> None:
    late = AwsError("CreateModel", "ValidationException", f"Could not assume role {ROLE}.")
    wish = SagemakerModel(name="m", role_arn=ROLE, image="123456789012.dkr.ecr.us-east-1.amazonaws.com/x:1")
    asked = {
        "ModelName": "m",
        "Tags": tag_list(),
        "ExecutionRoleArn": ROLE,
        "PrimaryContainer": {"Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/x:1"},
        "EnableNetworkIsolation": False,
    }
    aws = scripted([("create_model", asked, late), ("create_model", asked, {"ModelArn": "arn:m"})])
    assert wish.create(aws.world()) == "m"
