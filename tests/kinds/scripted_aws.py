"""An AWS that answers from a script, for what the sandbox cannot be brought to do."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, cast

import boto3
from botocore.validate import validate_parameters

from engine.aws import Aws
from engine.aws.errors import AwsError
from engine.world import Job, World

Line = tuple[str, dict[str, Any], dict[str, Any] | AwsError]
"""Of a script: the operation that is expected, its parameters, the answer."""
TAGS: Final = {"Name": "lab thing", "labctl:lab": "lab", "labctl:address": "thing", "labctl:token": "t-1"}
"""The tags of what is made in the world of a script."""


def tag_list(key: str = "Key", value: str = "Value") -> list[dict[str, str]]:
    """The same, as most services take them."""
    return [{key: name, value: text} for name, text in TAGS.items()]


def check_request(service: str, operation: str, params: dict[str, Any]) -> None:
    """Fails the test where the service's model does not allow a request."""
    meta = _described(service)
    model = meta.service_model.operation_model(meta.method_to_api_mapping[operation])
    validate_parameters(params, model.input_shape)


@functools.cache
def _described(service: str) -> Any:
    """What botocore knows of it, the same in all regions."""
    return boto3.client(service, region_name="us-east-1").meta


@dataclass
class Scripted:
    """An AWS whose requests are answered from a script.

    Each request must be the one that the script expects, and one that the service's model allows.
    """

    script: list[Line]
    region: str = "us-east-1"
    said: list[str] = field(default_factory=list)

    def call(self, service: str, operation: str, /, *, retry: bool | None = None, **params: Any) -> Any:
        expected, wanted, answer = self.script.pop(0)
        assert (operation, params) == (expected, wanted)
        check_request(service, operation, params)
        if isinstance(answer, AwsError):
            raise answer
        return answer

    def pages(self, service: str, operation: str, key: str, /, **params: Any) -> list[Any]:
        """Every list fits on one page."""
        return list(self.call(service, operation, **params)[key])

    def remember(self, key: object, ask: Any) -> Any:
        return ask()

    def poll(self, check: Any, **words: Any) -> Any:
        self.said.append(words["what"])
        while (result := check()) is None:
            pass
        return result

    def world(self) -> World:
        return World("lab", cast(Aws, self), cast(Any, None), Job(address="thing", token="t-1"))


Play = Callable[[list[Line]], Scripted]
"""What the fixture `scripted` gives."""
