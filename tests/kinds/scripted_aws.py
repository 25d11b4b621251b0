"""An AWS that answers from a script, for what the sandbox cannot be brought to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import boto3
from botocore.validate import validate_parameters

from engine.aws import Aws
from engine.aws.errors import AwsError
from engine.world import Job, World


@dataclass
class Scripted:
    """An AWS whose requests are answered from a script of (operation, parameters, answer).

    Each request must be the one that the script expects, and one that the service's model allows.
    """

    script: list[tuple[str, dict[str, Any], dict[str, Any] | AwsError]]
    region: str = "us-east-1"
    said: list[str] = field(default_factory=list)

    def call(self, service: str, operation: str, /, *, retry: bool | None = None, **params: Any) -> Any:
        expected, wanted, answer = self.script.pop(0)
        assert (operation, params) == (expected, wanted)
        meta = boto3.client(service, region_name=self.region).meta
        model = meta.service_model.operation_model(meta.method_to_api_mapping[operation])
        validate_parameters(params, model.input_shape)
        if isinstance(answer, AwsError):
            raise answer
        return answer

    def remember(self, key: object, ask: Any) -> Any:
        return ask()

    def poll(self, check: Any, **words: Any) -> Any:
        self.said.append(words["what"])
        while (result := check()) is None:
            pass
        return result

    def world(self) -> World:
        return World("lab", cast(Aws, self), cast(Any, None), Job(address="thing", token="t-1"))
