"""SageMaker's operations in the sandbox: what moto lacks of them, and what only pretends replaced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.sagemaker.models import SageMakerModelBackend as Backend
from moto.sagemaker.responses import SageMakerResponse as Response

from engine.sandbox.aws.mending import add, replace, take_on
from engine.sandbox.sagemaker.common import InUse, Invalid, Running
from engine.sandbox.sagemaker.endpoints import Endpoints
from engine.sandbox.sagemaker.training import Training
from engine.sandbox.sagemaker.transforms import Transforms
from engine.sandbox.workloads.running import Workloads

_NAMED = {
    "create_model": ("model_name", "_models", "model"),
    "create_endpoint_config": ("endpoint_config_name", "endpoint_configs", "endpoint configuration"),
    "create_endpoint": ("endpoint_name", "endpoints", "endpoint"),
    "create_training_job": ("training_job_name", "training_jobs", "training job"),
    "create_transform_job": ("transform_job_name", "transform_jobs", "transform job"),
    "create_notebook_instance": ("notebook_instance_name", "notebook_instances", "notebook instance"),
}
"""What each create names, where moto keeps these, and what AWS calls them."""


def mend(workloads: Callable[[], Workloads | None]) -> None:
    """Puts moto's SageMaker right; `workloads` runs what jobs and endpoints say."""
    for operation, (name, kept, what) in _NAMED.items():
        _refuse_taken_names(operation, name, kept, what)
    running = Running(workloads)
    training, endpoints = Training(running), Endpoints(running)
    transforms = Transforms(running, endpoints)
    for part in (training, endpoints, transforms):
        part.install()
    add(
        Response,
        update_endpoint=lambda request: endpoints.update(request),
        stop_training_job=lambda request: training.stop(request),
        delete_training_job=lambda request: training.delete(request),
        stop_transform_job=lambda request: transforms.stop(request),
        update_notebook_instance=_update_notebook,
        create_presigned_notebook_instance_url=_presigned,
    )


def _refuse_taken_names(operation: str, parameter: str, kept: str, what: str) -> None:
    create = getattr(Backend, operation)

    def careful(backend: Any, **params: Any) -> Any:
        name = params[parameter]
        if name in getattr(backend, kept):
            words = f"Cannot create already existing {what} {name}."
            if operation.endswith("_job"):
                raise InUse(
                    f"{what.capitalize()} names must be unique within an AWS account and region: {name}"
                )
            raise Invalid(words)
        return create(backend, **params)

    replace(Backend, **{operation: careful})


def _update_notebook(request: Response) -> EmptyResult:
    """UpdateNotebookInstance."""
    notebook = request.sagemaker_backend.get_notebook_instance(request._get_param("NotebookInstanceName"))
    if notebook.status != "Stopped":
        raise Invalid(
            f"Status ({notebook.status}) not in ([Stopped, Failed]). "
            f"Unable to transition to (Updating) for Notebook Instance ({notebook.arn})"
        )
    settings = {
        "InstanceType": "instance_type",
        "RoleArn": "role_arn",
        "VolumeSizeInGB": "volume_size_in_gb",
        "DefaultCodeRepository": "default_code_repository",
        "RootAccess": "root_access",
        "LifecycleConfigName": "lifecycle_config_name",
    }
    take_on(notebook, request._get_param, settings)
    for flag, attribute in (
        ("DisassociateDefaultCodeRepository", "default_code_repository"),
        ("DisassociateLifecycleConfig", "lifecycle_config_name"),
    ):
        if request._get_param(flag):
            setattr(notebook, attribute, None)
    return EmptyResult()


def _presigned(request: Response) -> ActionResult:
    """CreatePresignedNotebookInstanceUrl."""
    notebook = request.sagemaker_backend.get_notebook_instance(request._get_param("NotebookInstanceName"))
    return ActionResult({"AuthorizedUrl": f"https://{notebook.url}?authToken=sandbox"})
