"""An example of each kind of SageMaker."""

from __future__ import annotations

from typing import Any

from engine.resource import Resource
from engine.resources.iam.roles import IamRole
from engine.resources.s3.buckets import S3Bucket
from engine.resources.sagemaker.jobs import SagemakerTrainingJob, SagemakerTransformJob
from engine.resources.sagemaker.models import SagemakerEndpoint, SagemakerEndpointConfig, SagemakerModel
from engine.resources.sagemaker.notebooks import SagemakerNotebook
from tests.kinds.aws_examples import Example
from tests.kinds.aws_examples.iam import trusting
from tests.kinds.aws_stage import Stage

POINTS = "1,1\n1,2\n2,1\n9,9\n9,8\n8,9\n"
"""Two clusters that nobody would doubt."""


def a_role(stage: Stage) -> str:
    role = IamRole(name=f"{stage.lab}-sagemaker", assume_role_policy_document=trusting("sagemaker"))
    return str(stage.make(role, "role")["arn"])


def a_bucket(stage: Stage) -> str:
    """With points to learn from below `train/`."""
    bucket = str(stage.make(S3Bucket(name=f"{stage.lab}-data", force=True), "bucket")["id"])
    stage.aws.call("s3", "put_object", Bucket=bucket, Key="train/points.csv", Body=POINTS.encode())
    return bucket


def a_training(stage: Stage, **fields: Any) -> SagemakerTrainingJob:
    bucket = a_bucket(stage)
    given = {
        "name": f"{stage.lab}-training",
        "role_arn": a_role(stage),
        "algorithm": "kmeans",
        "hyperparameters": {"k": 2, "feature_dim": 2},
        "input_data": [
            {"s3_uri": f"s3://{bucket}/train/", "content_type": "text/csv;label_size=0"},
        ],
        "output_path": f"s3://{bucket}/models",
    }
    return SagemakerTrainingJob.model_validate({**given, **fields})


def a_model(stage: Stage) -> SagemakerModel:
    job = a_training(stage)
    made = stage.make(job, "training")
    return SagemakerModel(
        name=f"{stage.lab}-model",
        role_arn=job.role_arn,
        algorithm="kmeans",
        model_data_url=made["model_artifacts"],
        environment={"WORKERS": 1},
    )


def a_config(stage: Stage, model: str, name: str = "config") -> SagemakerEndpointConfig:
    variant = {"model_name": model, "instance_type": "ml.t2.medium"}
    return SagemakerEndpointConfig.model_validate({"name": f"{stage.lab}-{name}", "variants": [variant]})


def notebook(stage: Stage) -> tuple[Resource, Resource | None]:
    fields = {"name": f"{stage.lab}-notebook", "role_arn": a_role(stage), "instance_type": "ml.t3.medium"}
    first = SagemakerNotebook.model_validate({**fields, "volume_size": 5})
    second = {**fields, "instance_type": "ml.t3.large", "volume_size": 10, "running": False}
    return first, SagemakerNotebook.model_validate(second)


def training(stage: Stage) -> tuple[Resource, Resource | None]:
    return a_training(stage), None


def model(stage: Stage) -> tuple[Resource, Resource | None]:
    return a_model(stage), None


def config(stage: Stage) -> tuple[Resource, Resource | None]:
    return a_config(stage, str(stage.make(a_model(stage), "model")["id"])), None


def endpoint(stage: Stage) -> tuple[Resource, Resource | None]:
    model = str(stage.make(a_model(stage), "model")["id"])
    one, two = (
        str(stage.make(a_config(stage, model, name), name)["id"]) for name in ("config-one", "config-two")
    )
    first = SagemakerEndpoint(name=f"{stage.lab}-endpoint", endpoint_config_name=one)
    return first, SagemakerEndpoint(name=f"{stage.lab}-endpoint", endpoint_config_name=two)


def transform(stage: Stage) -> tuple[Resource, Resource | None]:
    wanted = a_model(stage)
    stage.make(wanted, "model")
    bucket = f"{stage.lab}-data"
    job = SagemakerTransformJob(
        name=f"{stage.lab}-transform",
        model_name=wanted.name,
        input_path=f"s3://{bucket}/train/",
        content_type="text/csv",
        split_type="Line",
        output_path=f"s3://{bucket}/answers",
    )
    return job, None


EXAMPLES: dict[str, Example] = {
    "sagemaker_notebook": notebook,
    "sagemaker_training_job": training,
    "sagemaker_model": model,
    "sagemaker_endpoint_config": config,
    "sagemaker_endpoint": endpoint,
    "sagemaker_transform_job": transform,
}
