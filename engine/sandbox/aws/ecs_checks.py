"""What ECS refuses and moto takes: definitions that cannot run, networks and balancers that do not fit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import moto.backends
from moto.ec2.exceptions import EC2ClientError
from moto.ecs.exceptions import EcsClientException, InvalidParameterException

from engine.sandbox.aws import balancing

_FARGATE: Final = {
    256: {512, 1024, 2048},
    512: set(range(1024, 4097, 1024)),
    1024: set(range(2048, 8193, 1024)),
    2048: set(range(4096, 16385, 1024)),
    4096: set(range(8192, 30721, 1024)),
    8192: set(range(16384, 61441, 4096)),
    16384: set(range(32768, 122881, 8192)),
}
_ECR: Final = re.compile(r"\d{12}\.dkr\.ecr\.")


def check_definition(request: Any) -> None:
    """What RegisterTaskDefinition refuses."""
    params = request._get_params()
    family = str(params.get("family") or "")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", family):
        raise EcsClientException("Family contains invalid characters.")
    if "FARGATE" not in (params.get("requiresCompatibilities") or ()):
        return
    if params.get("networkMode") != "awsvpc":
        raise EcsClientException("Fargate only supports network mode ‘awsvpc’.")
    cpu, memory = str(params.get("cpu") or ""), str(params.get("memory") or "")
    if not cpu.isdigit() or not memory.isdigit() or int(memory) not in _FARGATE.get(int(cpu), ()):
        raise EcsClientException("No Fargate configuration exists for given values.")
    for container in params.get("containerDefinitions") or ():
        log = (container.get("logConfiguration") or {}).get("logDriver")
        if not params.get("executionRoleArn"):
            if _ECR.match(str(container.get("image"))):
                raise EcsClientException(
                    "Fargate requires task definition to have execution role ARN to support ECR images."
                )
            if log == "awslogs":
                raise EcsClientException(
                    "Fargate requires task definition to have execution role ARN to support log driver "
                    "awslogs."
                )


def check_place(request: Any, network: Mapping[str, Any] | None) -> None:
    """Whether subnets and groups are there."""
    inner = (network or {}).get("awsvpcConfiguration") or {}
    ec2 = moto.backends.get_backend("ec2")[request.current_account][request.region]
    try:
        for subnet in inner.get("subnets") or ():
            ec2.get_subnet(subnet)
    except EC2ClientError as error:
        raise network_error(network, error) from None
    for group in inner.get("securityGroups") or ():
        if ec2.get_security_group_from_id(group) is None:
            raise InvalidParameterException(
                f"Error retrieving security group information for [{group}]: The security group "
                f"'{group}' does not exist (ErrorCode: InvalidGroup.NotFound)"
            )


def check_network(definition: Any, network: Mapping[str, Any] | None, launch_type: str) -> None:
    """Whether a task can be placed so at all."""
    if launch_type == "FARGATE" and "FARGATE" not in definition.compatibilities:
        raise InvalidParameterException("Task definition does not support launch_type FARGATE.")
    if launch_type != "FARGATE":
        raise InvalidParameterException("No Container Instances were found in your cluster.")
    if definition.network_mode == "awsvpc" and not network:
        raise InvalidParameterException(
            "Network Configuration must be provided when networkMode 'awsvpc' is specified."
        )


def network_error(network: Mapping[str, Any] | None, error: EC2ClientError) -> InvalidParameterException:
    """An error of EC2's about a task's subnets, as ECS tells it."""
    inner = (network or {}).get("awsvpcConfiguration") or {}
    words = f"Error retrieving subnet information for {inner.get('subnets')}: {error.message}"
    return InvalidParameterException(f"{words} (ErrorCode: {error.code})")


def check_balancers(request: Any, definition: Any, balancers: Sequence[Mapping[str, Any]]) -> None:
    """Whether a service's target groups are there, used, and of its tasks' sort."""
    groups = moto.backends.get_backend("elbv2")[request.current_account][request.region]
    for one in balancers:
        arn = one.get("targetGroupArn") or ""
        group = groups.target_groups.get(arn)
        if group is None:
            raise InvalidParameterException(f"Unable to find target group {arn}")
        if not balancing.is_used(groups, arn):
            raise InvalidParameterException(
                f"The target group with targetGroupArn {arn} does not have an associated load balancer."
            )
        if definition.network_mode == "awsvpc" and group.target_type != "ip":
            raise InvalidParameterException(
                f"The provided target group {arn} has target type {group.target_type}, which is incompatible "
                "with the awsvpc network mode specified in the task definition."
            )
        ports = {
            (container["name"], int(port["containerPort"]))
            for container in definition.container_definitions
            for port in container.get("portMappings") or ()
        }
        if (one.get("containerName"), int(one.get("containerPort") or 0)) not in ports:
            raise InvalidParameterException(
                f"The container {one.get('containerName')} did not have a container port "
                f"{one.get('containerPort')} defined."
            )
