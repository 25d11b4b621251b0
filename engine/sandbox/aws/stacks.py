"""CloudFormation stacks: their protection, and updates of nothing but tags, which moto lacks."""

from __future__ import annotations

from typing import Any

from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import CloudFormationBackend, Stack
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.responses import ActionResult

from engine.sandbox.aws.mending import add, replace


def mend() -> None:
    """Puts moto's stacks right."""
    differs, delete = CloudFormationResponse._validate_different_update, CloudFormationBackend.delete_stack

    def validate_different_update(
        request: CloudFormationResponse, parameters: Any, body: Any, stack: Stack
    ) -> None:
        tags = {tag["Key"]: tag["Value"] for tag in request._get_param("Tags", [])}
        if not tags or tags == stack.tags:
            differs(request, parameters, body, stack)

    def delete_stack(backend: CloudFormationBackend, name_or_stack_id: str) -> None:
        for stack in backend.stacks.values():
            if name_or_stack_id in (stack.name, stack.stack_id) and stack.enable_termination_protection:
                raise ValidationError(
                    message=f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled"
                )
        delete(backend, name_or_stack_id)

    replace(CloudFormationResponse, _validate_different_update=validate_different_update)
    replace(CloudFormationBackend, delete_stack=delete_stack)
    add(CloudFormationResponse, update_termination_protection=_protect)


def _protect(request: CloudFormationResponse) -> ActionResult:
    """UpdateTerminationProtection."""
    stack = request.cloudformation_backend.get_stack(request._get_param("StackName"))
    stack.enable_termination_protection = bool(request._get_bool_param("EnableTerminationProtection"))
    return ActionResult({"StackId": stack.stack_id})
