"""What instances can ask about themselves: the settings of their metadata service, at 169.254.169.254."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field

from engine.resource import Fields, Values, plain


class LaunchMetadataOptions(Fields):
    """The instance metadata service."""

    http_tokens: Literal["required", "optional"] = "required"
    """`required` is IMDSv2 only."""
    http_endpoint: Literal["enabled", "disabled"] = "enabled"
    """`disabled`: nothing answers at all."""
    http_put_response_hop_limit: int | None = Field(default=None, ge=1, le=64)
    """2 lets containers ask it too."""


class MetadataOptions(LaunchMetadataOptions):
    """The instance metadata service."""

    instance_metadata_tags: Literal["enabled", "disabled"] | None = None
    """`enabled`: the instance can read its own tags there."""


_KEYS: Final = {
    "http_tokens": "HttpTokens",
    "http_endpoint": "HttpEndpoint",
    "http_put_response_hop_limit": "HttpPutResponseHopLimit",
    "instance_metadata_tags": "InstanceMetadataTags",
}


def metadata_request(options: LaunchMetadataOptions) -> dict[str, Any]:
    """MetadataOptions of EC2's requests."""
    return {_KEYS[name]: value for name, value in plain(options).items()}


def metadata_words(kind: type[LaunchMetadataOptions], given: Mapping[str, Any]) -> Values:
    """What EC2 tells of the metadata service, in the words of `kind`."""
    return {name: given[_KEYS[name]] for name in kind.model_fields if _KEYS[name] in given}
