"""SageMaker's models, and the endpoints that answer with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from engine.by_hand import word
from engine.errors import HalfMade, StepFailed
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
    price,
    texts,
    vpc_asked,
    vpc_seen,
)

if TYPE_CHECKING:
    from engine.world import World

_TAKES: Final = 3600.0
"""Seconds that an endpoint may take to be in service."""
_MOVING: Final = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")


class SagemakerModel(InSagemaker):
    """A model: an image that serves, and the trained artefact it serves."""

    kind: ClassVar[str] = "sagemaker_model"
    noun: ClassVar[str] = "model"
    outputs: ClassVar[Mapping[str, Output]] = {"id": Output("its name"), "arn": Output("its ARN")}
    actions: ClassVar[Sequence[str]] = (
        actions("Model")
        + iam_actions("iam", "PassRole")
        + iam_actions("ecr", "BatchCheckLayerAvailability BatchGetImage GetDownloadUrlForLayer")
    )

    role_arn: Fixed[RoleArn]
    """The role that it reads the artefact and the image with."""
    image: Fixed[str | None] = Field(default=None, max_length=255)
    """The image that serves: answers GET /ping and POST /invocations on port 8080."""
    algorithm: Fixed[str | None] = None
    """One of AWS's own algorithms in place of an image, `kmeans`."""
    model_data_url: Fixed[S3Place | None] = None
    """The trained artefact, s3://…/model.tar.gz, unpacked to /opt/ml/model."""
    environment: Fixed[dict[str, str | int | float | bool] | None] = Field(default=None, max_length=100)
    """Environment variables of the image."""
    mode: Fixed[Literal["SingleModel", "MultiModel"] | None] = None
    """`MultiModel`: model_data_url is a prefix with many artefacts."""
    network_isolation: Fixed[bool] = False
    """Whether it can reach nothing of the network."""
    vpc: Fixed[Vpc | None] = None
    """The network that it runs in."""

    @model_validator(mode="after")
    def _one_image(self) -> Self:
        check_image(self.image, self.algorithm, "image")
        return self

    def create(self, world: World) -> str:
        """CreateModel."""
        return self.made(world, **self._asked(image(world, self.algorithm) if self.algorithm else self.image))

    def _asked(self, chosen: Any) -> dict[str, Any]:
        container = {
            "Image": chosen,
            "ModelDataUrl": self.model_data_url,
            "Environment": texts(self.environment),
            "Mode": self.mode,
        }
        return {
            "ExecutionRoleArn": self.role_arn,
            "PrimaryContainer": set_ones(container),
            "EnableNetworkIsolation": self.network_isolation,
            **vpc_asked(self.vpc),
        }

    @classmethod
    def seen(cls, described: Mapping[str, Any]) -> Values:
        """DescribeModel."""
        container = described.get("PrimaryContainer") or (described.get("Containers") or [{}])[0]
        return {
            "role_arn": described.get("ExecutionRoleArn"),
            "image": container.get("Image"),
            "algorithm": algorithm_of(container.get("Image", "")),
            "model_data_url": container.get("ModelDataUrl"),
            "environment": container.get("Environment") or {},
            "mode": container.get("Mode", "SingleModel"),
            "network_isolation": described.get("EnableNetworkIsolation", False),
            "vpc": vpc_seen(described),
        }

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteModel; its artefact in S3 stays."""
        cls.removed(world, id)

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws sagemaker create-model`, `delete-model`."""
        if action == "delete":
            return self.by_hand(action, id, dict)
        remarks, chosen = image_by_hand(self.image, self.algorithm)
        return [*remarks, *self.by_hand(action, id, lambda: self._asked(chosen)), *self.told_by_hand()]


class Serverless(Fields):
    """A variant that runs only while it is asked."""

    memory_size: Literal[1024, 2048, 3072, 4096, 5120, 6144]
    """MB."""
    max_concurrency: int = Field(ge=1, le=200)
    """Requests at the same time."""


class Variant(Fields):
    """One model behind an endpoint, and the machines that serve it."""

    name: str = Field(default="AllTraffic", min_length=1, max_length=63)
    """Its name within the configuration."""
    model_name: Id
    """The sagemaker_model."""
    instance_type: InstanceType | None = None
    """`ml.t2.medium`; none where it is serverless."""
    initial_instance_count: int = Field(default=1, ge=1)
    """How many machines."""
    initial_weight: float = Field(default=1.0, ge=0)
    """Its share of the requests, against the other variants."""
    serverless: Serverless | None = None
    """Instead of machines of its own."""

    @model_validator(mode="after")
    def _served(self) -> Self:
        if (self.instance_type is None) == (self.serverless is None):
            raise ValueError("write either instance_type or serverless")
        return self

    def asked(self) -> dict[str, Any]:
        """ProductionVariant of a request."""
        common = {
            "VariantName": self.name,
            "ModelName": plain(self.model_name),
            "InitialVariantWeight": self.initial_weight,
        }
        if self.serverless is not None:
            own = {
                "MemorySizeInMB": self.serverless.memory_size,
                "MaxConcurrency": self.serverless.max_concurrency,
            }
            return {**common, "ServerlessConfig": own}
        machines = {"InstanceType": self.instance_type, "InitialInstanceCount": self.initial_instance_count}
        return {**common, **machines}


def _variant(seen: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        "name": seen["VariantName"],
        "model_name": seen.get("ModelName"),
        "instance_type": seen.get("InstanceType"),
        "initial_instance_count": seen.get("InitialInstanceCount") or 1,
        "initial_weight": float(seen.get("InitialVariantWeight", 1.0)),
    }
    own = seen.get("ServerlessConfig")
    if own:
        found["serverless"] = {"memory_size": own["MemorySizeInMB"], "max_concurrency": own["MaxConcurrency"]}
    return set_ones(found)


class SagemakerEndpointConfig(InSagemaker):
    """What an endpoint answers with: models, and the machines that serve them."""

    kind: ClassVar[str] = "sagemaker_endpoint_config"
    noun: ClassVar[str] = "endpoint_config"
    outputs: ClassVar[Mapping[str, Output]] = {"id": Output("its name"), "arn": Output("its ARN")}
    actions: ClassVar[Sequence[str]] = actions("EndpointConfig")

    variants: Fixed[list[Variant]] = Field(min_length=1, max_length=10)
    """The models that it answers with, each with its share of the requests."""
    kms_key_id: Fixed[str | None] = Field(default=None, max_length=2048)
    """The key that the machines' disks are encrypted with."""

    def create(self, world: World) -> str:
        """CreateEndpointConfig."""
        return self.made(world, **self._asked())

    def _asked(self) -> dict[str, Any]:
        key = {"KmsKeyId": self.kms_key_id} if self.kms_key_id else {}
        return {"ProductionVariants": [variant.asked() for variant in self.variants], **key}

    @classmethod
    def seen(cls, described: Mapping[str, Any]) -> Values:
        """DescribeEndpointConfig."""
        return {
            "variants": [_variant(variant) for variant in described["ProductionVariants"]],
            "kms_key_id": described.get("KmsKeyId"),
        }

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteEndpointConfig."""
        cls.removed(world, id)

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws sagemaker create-endpoint-config`, `delete-endpoint-config`."""
        more = [] if action == "delete" else self.told_by_hand()
        return [*self.by_hand(action, id, self._asked), *more]

    def price(self) -> float | None:
        """USD per hour of the machines that an endpoint with it has; serverless ones cost by the request."""
        if not isinstance(self.variants, list):
            return None
        each = [
            0.0 if variant.serverless else price(variant.instance_type, variant.initial_instance_count)
            for variant in self.variants
        ]
        known = [cost for cost in each if cost is not None]
        return sum(known) if len(known) == len(each) else None


class SagemakerEndpoint(InSagemaker):
    """An endpoint: a model that answers requests over HTTPS."""

    kind: ClassVar[str] = "sagemaker_endpoint"
    noun: ClassVar[str] = "endpoint"
    runs_code: ClassVar[bool] = True
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("its name"),
        "arn": Output("its ARN"),
        "status": Output("InService, Failed …"),
    }
    actions: ClassVar[Sequence[str]] = actions("Endpoint", "UpdateEndpoint")

    endpoint_config_name: Id
    """The sagemaker_endpoint_config; another one is taken on without a break."""
    in_service: Fixed[Literal[True]] = Field(
        default=True, description="always true: one that failed is made anew"
    )

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """That it is in service is always asked."""
        return {**super().wanted(also), "in_service": True}

    def create(self, world: World) -> str:
        """CreateEndpoint, until it is InService."""
        name = self.made(world, **self._asked())
        status = self.at_rest(world, name, _MOVING, _TAKES, "the endpoint to be in service")
        if status != "InService":
            raise HalfMade(name, f"the endpoint is {status}: {self.reason(world, name)}")
        return name

    def _asked(self) -> dict[str, Any]:
        return {"EndpointConfigName": plain(self.endpoint_config_name)}

    @classmethod
    def seen(cls, described: Mapping[str, Any]) -> Values:
        """DescribeEndpoint."""
        return {
            "endpoint_config_name": described["EndpointConfigName"],
            "status": described["EndpointStatus"],
            "in_service": described["EndpointStatus"] not in {"Failed", "OutOfService", "Deleting"},
        }

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """UpdateEndpoint, until the new machines serve; AWS keeps the old ones where that fails."""
        ask(world, "update_endpoint", EndpointName=id, **self._asked())
        status = self.at_rest(world, id, _MOVING, _TAKES, "the endpoint to take on its new configuration")
        now = (self.described(world, id) or {}).get("EndpointConfigName")
        if status != "InService" or now != self.endpoint_config_name:
            raise StepFailed(f"the endpoint did not take on its configuration: {self.reason(world, id)}")

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteEndpoint, until its machines are gone; not while it is being changed."""
        cls.at_rest(world, id, [status for status in _MOVING if status != "Deleting"], _TAKES, "the endpoint")
        cls.removed(world, id)
        cls.at_rest(world, id, ("Deleting",), _TAKES, "the endpoint to be gone")

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws sagemaker create-endpoint`, `update-endpoint`, `delete-endpoint`, and `wait`."""
        name = f"--endpoint-name {word(id or self.name)}"
        wait = f"aws sagemaker wait endpoint-{'deleted' if action == 'delete' else 'in-service'} {name}"
        if action != "update":
            more = [] if action == "delete" else self.told_by_hand()
            return [*self.by_hand(action, id, self._asked), wait, *more]
        config = f"--endpoint-config-name {word(self.endpoint_config_name)}"
        return [f"aws sagemaker update-endpoint {name} {config}", wait]

    def price(self) -> float | None:
        """Its machines are told with its configuration."""
        return 0.0
