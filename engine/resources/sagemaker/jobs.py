"""SageMaker's jobs: training a model, and transforming a batch with one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from engine.aws.errors import AwsError
from engine.aws.tags import LAB, is_made_by
from engine.by_hand import word
from engine.errors import HalfMade
from engine.resource import Fields, Fixed, Id, Output, Values, plain
from engine.resources.aws._aws import iam_actions, set_ones
from engine.resources.sagemaker._sagemaker import (
    InSagemaker,
    InstanceType,
    RoleArn,
    S3Place,
    Vpc,
    actions,
    algorithm_of,
    ask,
    check_image,
    image,
    image_by_hand,
    tags_by_arn,
    texts,
    vpc_asked,
    vpc_seen,
)

if TYPE_CHECKING:
    from engine.world import World

_TAKES: Final = 86_400.0
"""Seconds that a job may take; what AWS gives it ends it earlier."""
_ENDS: Final = 600.0
_MOVING: Final = ("InProgress", "Stopping")
_SUFFIX: Final = 8
"""Characters that tell one transform job from the next."""


class _Job(InSagemaker):
    """What runs once and is then told of: started by create, which waits for its end."""

    succeeded: Fixed[bool] = True
    """Whether a job that failed or was stopped is run anew; false lets it stand as it is."""

    def price(self) -> float | None:
        """Nothing any more once it has ended; while it runs, its machines cost by the second."""
        return 0.0

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """That it has succeeded is always asked, unless the playbook says otherwise."""
        values = super().wanted(also)
        values.pop("succeeded", None)
        return {**values, "succeeded": True} if self.succeeded else values

    def ended(self, world: World, name: str) -> str:
        """Its name, once it is completed. Raises HalfMade with AWS's reason where it is not."""
        noun = self.noun.replace("_", " ")
        status = self.at_rest(world, name, _MOVING, _TAKES, f"the {noun} to end")
        if status != "Completed":
            raise HalfMade(name, f"the {noun} is {status}: {self.reason(world, name)}")
        return name

    @classmethod
    def _stopped(cls, world: World, name: str) -> str | None:
        """StopNOUN where it still runs, until it has ended; its status then."""
        described = cls.described(world, name)
        status = described[f"{cls.camel()}Status"] if described else None
        if status == "InProgress":
            try:
                ask(world, f"stop_{cls.noun}", **{f"{cls.camel()}Name": name})
            except AwsError as error:
                # It may have ended by itself meanwhile.
                if error.code != "ValidationException":
                    raise
        return cls.at_rest(world, name, _MOVING, _ENDS, "the job to stop") if status in _MOVING else status

    def by_hand_with_wait(self, action: str, id: str | None, asked: Mapping[str, Any]) -> list[str]:
        """`aws sagemaker create-NOUN`, and `wait`."""
        noun = self.noun.replace("_", "-")
        name = f"--{noun}-name {word(id or self.name)}"
        wait = f"aws sagemaker wait {noun}-completed-or-stopped {name}"
        return [*self.by_hand(action, id, lambda: asked), wait]


class Channel(Fields):
    """One input of a training job."""

    name: str = Field(default="train", pattern=r"^[A-Za-z0-9._-]{1,64}$")
    """What the algorithm calls it: train, test, validation."""
    s3_uri: S3Place
    """Where it lies, s3://BUCKET/PREFIX."""
    content_type: str | None = Field(default=None, max_length=256)
    """Its form, `text/csv;label_size=0`."""
    s3_data_type: Literal["S3Prefix", "ManifestFile", "AugmentedManifestFile"] = "S3Prefix"
    """Whether s3_uri is a prefix or a list of objects."""
    distribution: Literal["FullyReplicated", "ShardedByS3Key"] = "FullyReplicated"
    """Whether each machine gets everything or a part of it."""
    compression: Literal["None", "Gzip"] = "None"
    """Whether it is packed."""

    def asked(self) -> dict[str, Any]:
        """Channel of a request."""
        source = {
            "S3DataType": self.s3_data_type,
            "S3Uri": plain(self.s3_uri),
            "S3DataDistributionType": self.distribution,
        }
        kind = {"ContentType": self.content_type} if self.content_type else {}
        return {
            "ChannelName": self.name,
            "DataSource": {"S3DataSource": source},
            "CompressionType": self.compression,
            **kind,
        }


def _channel(seen: Mapping[str, Any]) -> dict[str, Any]:
    source = seen["DataSource"]["S3DataSource"]
    found = {
        "name": seen["ChannelName"],
        "s3_uri": source["S3Uri"],
        "content_type": seen.get("ContentType"),
        "s3_data_type": source.get("S3DataType", "S3Prefix"),
        "distribution": source.get("S3DataDistributionType", "FullyReplicated"),
        "compression": seen.get("CompressionType", "None"),
    }
    return set_ones(found)


class SagemakerTrainingJob(_Job):
    """A training job: an algorithm makes an artefact of data in S3, once."""

    kind: ClassVar[str] = "sagemaker_training_job"
    noun: ClassVar[str] = "training_job"
    runs_code: ClassVar[bool] = True
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("its name"),
        "arn": Output("its ARN"),
        "status": Output("Completed, Failed, Stopped …"),
        "model_artifacts": Output("the artefact it has made, s3://…/model.tar.gz"),
        "billable_seconds": Output("the seconds of machine time that are paid"),
    }
    actions: ClassVar[Sequence[str]] = actions("TrainingJob", "StopTrainingJob") + iam_actions(
        "iam", "PassRole"
    )

    role_arn: Fixed[RoleArn]
    """The role that it reads the data and writes the artefact with."""
    algorithm: Fixed[str | None] = None
    """One of AWS's own algorithms, `kmeans`."""
    training_image: Fixed[str | None] = Field(default=None, max_length=255)
    """An image in place of an algorithm of AWS's own: it is run with the argument `train`."""
    hyperparameters: Fixed[dict[str, str | int | float | bool]] = Field(default_factory=dict, max_length=100)
    """Settings of the algorithm, `k: 10`."""
    input_data: Fixed[list[Channel]] = Field(min_length=1, max_length=20)
    """What it learns from."""
    input_mode: Fixed[Literal["File", "Pipe", "FastFile"]] = "File"
    """How the data comes to the machine."""
    output_path: Fixed[S3Place]
    """Where the artefact goes, s3://BUCKET/PREFIX."""
    kms_key_id: Fixed[str | None] = Field(default=None, max_length=2048)
    """The key that the artefact is encrypted with."""
    instance_type: Fixed[InstanceType] = "ml.m5.large"
    """The machine it runs on."""
    instance_count: Fixed[int] = Field(default=1, ge=1)
    """How many of them."""
    volume_size: Fixed[int] = Field(default=10, ge=1, le=16384)
    """GB of each one's disk."""
    max_runtime: Fixed[int] = Field(default=3600, ge=1, le=2_419_200)
    """Seconds after which AWS stops it."""
    spot: Fixed[bool] = False
    """Whether it runs on spare machines, which cost less and may be taken away."""
    max_wait: Fixed[int | None] = Field(default=None, ge=1)
    """Seconds, with spot: how long it may wait for machines and run together."""
    environment: Fixed[dict[str, str | int | float | bool] | None] = Field(default=None, max_length=100)
    """Environment variables of the image."""
    network_isolation: Fixed[bool] = False
    """Whether it can reach nothing of the network."""
    vpc: Fixed[Vpc | None] = None
    """The network that it runs in."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        check_image(self.training_image, self.algorithm, "training_image")
        if self.spot and (self.max_wait or 0) < self.max_runtime:
            raise ValueError(f"with spot, max_wait must be at least max_runtime ({self.max_runtime} seconds)")
        if not self.spot and self.max_wait is not None:
            raise ValueError("max_wait is for jobs with spot: true")
        return self

    def create(self, world: World) -> str:
        """CreateTrainingJob, until it has ended."""
        chosen = image(world, self.algorithm) if self.algorithm else self.training_image
        return self.ended(world, self.made(world, **self._asked(chosen)))

    def _asked(self, chosen: Any) -> dict[str, Any]:
        stop = {"MaxRuntimeInSeconds": self.max_runtime}
        given = {
            "AlgorithmSpecification": {"TrainingImage": chosen, "TrainingInputMode": self.input_mode},
            "RoleArn": plain(self.role_arn),
            "HyperParameters": texts(self.hyperparameters),
            "InputDataConfig": [channel.asked() for channel in self.input_data],
            "OutputDataConfig": {
                "S3OutputPath": plain(self.output_path),
                **({"KmsKeyId": self.kms_key_id} if self.kms_key_id else {}),
            },
            "ResourceConfig": {
                "InstanceType": self.instance_type,
                "InstanceCount": self.instance_count,
                "VolumeSizeInGB": self.volume_size,
            },
            "StoppingCondition": {**stop, **({"MaxWaitTimeInSeconds": self.max_wait} if self.spot else {})},
            "EnableManagedSpotTraining": self.spot,
            "EnableNetworkIsolation": self.network_isolation,
            "Environment": texts(self.environment),
            **vpc_asked(self.vpc),
        }
        return set_ones(given)

    @classmethod
    def seen(cls, described: Mapping[str, Any]) -> Values:
        """DescribeTrainingJob."""
        algorithm, machines = described["AlgorithmSpecification"], described["ResourceConfig"]
        stop = described.get("StoppingCondition", {})
        return {
            "status": described["TrainingJobStatus"],
            "succeeded": described["TrainingJobStatus"] in {"Completed", "InProgress"},
            "model_artifacts": described.get("ModelArtifacts", {}).get("S3ModelArtifacts"),
            "billable_seconds": described.get("BillableTimeInSeconds"),
            "role_arn": described["RoleArn"],
            "training_image": algorithm.get("TrainingImage"),
            "algorithm": algorithm_of(algorithm.get("TrainingImage", "")),
            "input_mode": algorithm.get("TrainingInputMode"),
            "hyperparameters": described.get("HyperParameters") or {},
            "input_data": [_channel(channel) for channel in described.get("InputDataConfig") or ()],
            "output_path": described["OutputDataConfig"]["S3OutputPath"],
            "kms_key_id": described["OutputDataConfig"].get("KmsKeyId") or None,
            "instance_type": machines.get("InstanceType"),
            "instance_count": machines.get("InstanceCount"),
            "volume_size": machines.get("VolumeSizeInGB"),
            "max_runtime": stop.get("MaxRuntimeInSeconds"),
            "max_wait": stop.get("MaxWaitTimeInSeconds"),
            "spot": described.get("EnableManagedSpotTraining", False),
            "environment": described.get("Environment") or {},
            "network_isolation": described.get("EnableNetworkIsolation", False),
            "vpc": vpc_seen(described),
        }

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Hyperparameters and environments are all texts; AWS may add some of its own."""
        if name not in {"hyperparameters", "environment"}:
            return bool(wanted != there)
        return any((there or {}).get(key) != text for key, text in texts(wanted).items())

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """StopTrainingJob where it runs, DeleteTrainingJob; its artefact in S3 stays."""
        if cls._stopped(world, id) is not None:
            cls.removed(world, id)

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws sagemaker create-training-job`, `delete-training-job`."""
        if action == "delete":
            return self.by_hand(action, id, dict)
        remarks, chosen = image_by_hand(self.training_image, self.algorithm)
        told = self.told_by_hand(model_artifacts="ModelArtifacts.S3ModelArtifacts")
        return [*remarks, *self.by_hand_with_wait(action, id, self._asked(chosen)), *told]


class SagemakerTransformJob(_Job):
    """A batch transform job: a model answers for every line or object of a place in S3, once."""

    kind: ClassVar[str] = "sagemaker_transform_job"
    noun: ClassVar[str] = "transform_job"
    runs_code: ClassVar[bool] = True
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("its name"),
        "arn": Output("its ARN"),
        "status": Output("Completed, Failed, Stopped …"),
    }
    actions: ClassVar[Sequence[str]] = iam_actions(
        "sagemaker",
        "AddTags CreateTransformJob DeleteTags DescribeTransformJob "
        "ListTags ListTransformJobs StopTransformJob",
    )

    name: Fixed[str] = Field(max_length=54)
    """What its name begins with: AWS keeps every job's for ever, so eight characters of its own follow."""
    model_name: Fixed[Id]
    """The sagemaker_model that answers."""
    input_path: Fixed[S3Place]
    """What it answers for, s3://BUCKET/PREFIX."""
    content_type: Fixed[str | None] = Field(default=None, max_length=256)
    """Its form, `text/csv`."""
    split_type: Fixed[Literal["None", "Line", "RecordIO", "TFRecord"]] = "None"
    """`Line`: every line is a record of its own."""
    compression: Fixed[Literal["None", "Gzip"]] = "None"
    """Whether the input is packed."""
    output_path: Fixed[S3Place]
    """Where the answers go, s3://BUCKET/PREFIX, each as NAME.out."""
    accept: Fixed[str | None] = Field(default=None, max_length=256)
    """The form of the answers, `application/json`."""
    assemble_with: Fixed[Literal["None", "Line"]] = "None"
    """`Line`: the answers of one object are joined line by line."""
    batch_strategy: Fixed[Literal["MultiRecord", "SingleRecord"] | None] = None
    """How many records go into one request."""
    max_concurrent_transforms: Fixed[int | None] = Field(default=None, ge=0)
    """Requests at the same time."""
    max_payload: Fixed[int | None] = Field(default=None, ge=0, le=100)
    """MB of one request."""
    environment: Fixed[dict[str, str | int | float | bool] | None] = Field(default=None, max_length=16)
    """Environment variables of the image."""
    instance_type: Fixed[InstanceType] = "ml.m5.large"
    """The machine it runs on."""
    instance_count: Fixed[int] = Field(default=1, ge=1)
    """How many of them."""

    def name_for(self, world: World) -> str:
        """The name with characters that differ from job to job, and are the same for one sent again."""
        return f"{self.name}-{hashlib.sha256(world.job.token.encode()).hexdigest()[:_SUFFIX]}"

    def create(self, world: World) -> str:
        """CreateTransformJob, until it has ended."""
        return self.ended(world, self.made(world, **self._asked()))

    def _asked(self) -> dict[str, Any]:
        place = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": plain(self.input_path)}}
        given = {
            "ModelName": plain(self.model_name),
            "TransformInput": {
                "DataSource": place,
                "SplitType": self.split_type,
                "CompressionType": self.compression,
                **({"ContentType": self.content_type} if self.content_type else {}),
            },
            "TransformOutput": {
                "S3OutputPath": plain(self.output_path),
                "AssembleWith": self.assemble_with,
                **({"Accept": self.accept} if self.accept else {}),
            },
            "TransformResources": {"InstanceType": self.instance_type, "InstanceCount": self.instance_count},
            "BatchStrategy": self.batch_strategy,
            "MaxConcurrentTransforms": self.max_concurrent_transforms,
            "MaxPayloadInMB": self.max_payload,
            "Environment": texts(self.environment),
        }
        return set_ones(given)

    @classmethod
    def seen(cls, described: Mapping[str, Any]) -> Values:
        """DescribeTransformJob."""
        source, result = described["TransformInput"], described["TransformOutput"]
        machines = described["TransformResources"]
        return {
            "status": described["TransformJobStatus"],
            "succeeded": described["TransformJobStatus"] in {"Completed", "InProgress"},
            "model_name": described["ModelName"],
            "input_path": source["DataSource"]["S3DataSource"]["S3Uri"],
            "content_type": source.get("ContentType"),
            "split_type": source.get("SplitType", "None"),
            "compression": source.get("CompressionType", "None"),
            "output_path": result["S3OutputPath"],
            "accept": result.get("Accept"),
            "assemble_with": result.get("AssembleWith", "None"),
            "batch_strategy": described.get("BatchStrategy"),
            "max_concurrent_transforms": described.get("MaxConcurrentTransforms"),
            "max_payload": described.get("MaxPayloadInMB"),
            "environment": described.get("Environment") or {},
            "instance_type": machines.get("InstanceType"),
            "instance_count": machines.get("InstanceCount"),
        }

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeTransformJob and ListTags for each; one without the lab's tags is gone."""
        found = super().read_many(world, ids)
        return {
            id: {**values, "name": id[: -_SUFFIX - 1]}
            for id, values in found.items()
            if LAB in values["tags"]
        }

    @classmethod
    def find(cls, world: World) -> list[str]:
        """ListTransformJobs by the foreseen name, those that bear the job's tags."""
        if not world.job.foreseen:
            return []
        jobs = world.aws.pages(
            "sagemaker", "list_transform_jobs", "TransformJobSummaries", NameContains=world.job.foreseen
        )
        return [
            str(job["TransformJobName"])
            for job in jobs
            if is_made_by(world, tags_by_arn(world, job["TransformJobArn"]))
        ]

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """StopTransformJob where it runs, then its tags are taken off.

        AWS keeps the record of a job and cannot be told to delete it; its answers in S3 stay.
        """
        if cls._stopped(world, id) is None:
            return
        arn = (cls.described(world, id) or {})["TransformJobArn"]
        ours = [key for key in tags_by_arn(world, arn) if key.startswith("labctl:")]
        if ours:
            ask(world, "delete_tags", ResourceArn=arn, TagKeys=ours)

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws sagemaker create-transform-job`, `stop-transform-job`."""
        if action == "delete":
            return [f"aws sagemaker stop-transform-job --transform-job-name {word(id or '')}"]
        return [*self.by_hand_with_wait(action, id, self._asked()), *self.told_by_hand()]
