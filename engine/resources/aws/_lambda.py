"""What the kinds around Lambda share: requests, waiting, and functions in the playbook's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from engine.aws.tags import readable, told_tags
from engine.errors import StepFailed
from engine.resource import Values
from engine.resources.aws._aws import insist, seconds, unless_gone

if TYPE_CHECKING:
    from engine.world import World

CODE: Final = "labctl:code"
"""The tag that tells what a function's code was made of, and the hash that Lambda has of that code."""
_ACTIVE: Final = 300.0
"""Seconds until a function is Active: one in a VPC, or of a large image, takes a minute or two."""
_LETS_GO: Final = 2700.0
"""Seconds until the interfaces of a function in a VPC are gone: Lambda keeps them for up to 40 minutes."""


def ask(world: World, operation: str, **params: Any) -> dict[str, Any]:
    """A request to Lambda: all but publishing may be sent twice, a function is known by its name."""
    return world.aws.call("lambda", operation, retry=True, **params)


def settled(world: World, act: Any) -> dict[str, Any]:
    """What `act` gives, tried again while an earlier change of the function is still going on."""
    answer: dict[str, Any] = insist(
        world,
        act,
        lambda error: error.code == "ResourceConflictException" and "in progress" in error.said,
        what="the function's last change to end",
        timeout=seconds(world, _ACTIVE),
    )
    return answer


def found(world: World, name: str) -> dict[str, Any] | None:
    """What GetFunction tells; None where there is no such function."""
    return unless_gone(lambda: ask(world, "get_function", FunctionName=name))


def tags_seen(there: Mapping[str, Any]) -> dict[str, str]:
    """The tags of what GetFunction told."""
    return told_tags(there.get("Tags"))


def await_ready(world: World, name: str) -> None:
    """Waits until it is Active, and its last change is done. Raises StepFailed with Lambda's reason."""

    def ready() -> bool | None:
        told = ask(world, "get_function_configuration", FunctionName=name)
        if told.get("State") == "Failed" or told.get("LastUpdateStatus") == "Failed":
            why = told.get("LastUpdateStatusReason") or told.get("StateReason") or "Lambda tells no reason"
            raise StepFailed(f"the function {name} failed to get ready: {why}")
        # One that was idle for weeks is Inactive, and gets ready when it is invoked.
        active = told.get("State", "Active") in ("Active", "Inactive")
        return True if active and told.get("LastUpdateStatus", "Successful") == "Successful" else None

    world.aws.poll(
        ready, what=f"function {name} to be active", timeout=seconds(world, _ACTIVE), say=world.job.say
    )


def await_interfaces(world: World, name: str) -> None:
    """Waits until Lambda has deleted the network interfaces of a function that is gone."""
    by = [{"Name": "description", "Values": [f"AWS Lambda VPC ENI-{name}-*"]}]

    def gone() -> bool | None:
        there = world.aws.pages("ec2", "describe_network_interfaces", "NetworkInterfaces", Filters=by)
        return None if there else True

    world.aws.poll(
        gone,
        what=f"Lambda to let go of the network interfaces of {name}",
        timeout=seconds(world, _LETS_GO),
        say=world.job.say,
    )


def versions(world: World, name: str) -> list[dict[str, Any]]:
    """The published versions, oldest first; without $LATEST."""
    every = world.aws.pages("lambda", "list_versions_by_function", "Versions", FunctionName=name)
    return sorted((one for one in every if one["Version"].isdigit()), key=lambda one: int(one["Version"]))


def values_of(
    there: Mapping[str, Any], published: Sequence[Mapping[str, Any]], groups: Mapping[str, int | None]
) -> Values:
    """A function in the playbook's words."""
    told, group = there["Configuration"], f"/aws/lambda/{there['Configuration']['FunctionName']}"
    tags = readable(tags_seen(there))
    inputs, _, digest = tags.pop(CODE, "").partition(" ")
    code = inputs if digest == told.get("CodeSha256") else None
    vpc = told.get("VpcConfig") or {}
    return {
        "id": told["FunctionName"],
        "name": told["FunctionName"],
        "arn": told["FunctionArn"],
        "version": published[-1]["Version"] if published else "$LATEST",
        "code_sha256": told.get("CodeSha256"),
        "log_group": group,
        "role": told["Role"],
        "runtime": told.get("Runtime"),
        "handler": told.get("Handler"),
        "src": code,
        "zip_file": code,
        "image_uri": (there.get("Code") or {}).get("ImageUri"),
        "description": told.get("Description", ""),
        "memory_size": told.get("MemorySize"),
        "timeout": told.get("Timeout"),
        "environment_variables": (told.get("Environment") or {}).get("Variables") or {},
        "architecture": (told.get("Architectures") or ["x86_64"])[0],
        "layers": [{"layer_version_arn": layer["Arn"]} for layer in told.get("Layers") or ()],
        "vpc_subnet_ids": list(vpc.get("SubnetIds") or ()),
        "vpc_security_group_ids": list(vpc.get("SecurityGroupIds") or ()),
        "tracing_mode": (told.get("TracingConfig") or {}).get("Mode", "PassThrough"),
        "ephemeral_storage": (told.get("EphemeralStorage") or {}).get("Size", 512),
        "publish": bool(published) and published[-1].get("CodeSha256") == told.get("CodeSha256"),
        "log_retention": groups.get(group, 0),
        "tags": tags,
    }
