"""What resource types say of themselves: CloudFormation's schemas, as cfn-lint carries them along."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Mapping
from typing import Any

from moto.cloudformation.responses import CloudFormationResponse
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult

from engine.sandbox.aws.mending import add

_loading = threading.Lock()


class UnknownType(LookupError):
    """There is no such type in the region."""


def schema(region: str, type_name: str) -> dict[str, Any]:
    """The schema of a type. Raises UnknownType."""
    # Importing cfn-lint takes half a second, which labs without such resources need not wait for.
    from cfnlint.schema import ResourceNotFoundError

    with _loading:
        try:
            found: dict[str, Any] = _manager().get_resource_schema(region, type_name).schema
        except ResourceNotFoundError:
            raise UnknownType(type_name) from None
    return found


@functools.cache
def _manager() -> Any:
    from cfnlint.schema.manager import ProviderSchemaManager

    return ProviderSchemaManager()


def complaints(described: Mapping[str, Any], properties: Mapping[str, Any]) -> list[str]:
    """What is wrong with properties by their type's schema; patterns are not looked at.

    AWS's patterns are Java's, which Python's `re` does not understand all of.
    """
    from jsonschema import Draft7Validator

    found = Draft7Validator(_without_patterns(described)).iter_errors(properties)
    return [f"#/{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in found]


def _without_patterns(part: Any) -> Any:
    if isinstance(part, list):
        return [_without_patterns(item) for item in part]
    if not isinstance(part, dict):
        return part
    loose = "patternProperties" in part
    left_out = {"pattern", "format", "patternProperties"} | ({"additionalProperties"} if loose else set())
    return {
        key: _without_patterns(item) for key, item in part.items() if key not in left_out or _is_name(item)
    }


def _is_name(item: Any) -> bool:
    """Whether a key that reads like a keyword of JSON Schema is the name of a property."""
    return isinstance(item, dict) and ("type" in item or "$ref" in item)


class _TypeNotFound(ServiceException):
    code = "TypeNotFoundException"


def mend() -> None:
    """Gives moto's CloudFormation the operation DescribeType, which it lacks."""

    def describe_type(request: CloudFormationResponse) -> ActionResult:
        name = str(request._get_param("TypeName"))
        try:
            described = schema(request.region, name)
        except UnknownType:
            raise _TypeNotFound(f"The type '{name}' cannot be found.") from None
        return ActionResult(
            {
                "Type": "RESOURCE",
                "TypeName": name,
                "Schema": json.dumps(described),
                "ProvisioningType": "FULLY_MUTABLE",
                "Visibility": "PUBLIC",
            }
        )

    add(CloudFormationResponse, describe_type=describe_type)
