"""What jobs and endpoints share: their refusals, their workloads by ARN, why one has failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moto.core.exceptions import ServiceException
from moto.sagemaker.responses import SageMakerResponse as Response

from engine.sandbox.workloads.running import Workload, Workloads


class Invalid(ServiceException):
    """A request that makes no sense now."""

    code = "ValidationException"


class InUse(ServiceException):
    """A name that is taken, or a thing that is busy."""

    code = "ResourceInUse"


class Running:
    """The workloads of jobs and endpoints, by ARN."""

    def __init__(self, workloads: Callable[[], Workloads | None]) -> None:
        self.workloads = workloads
        """What runs them; None where nothing does."""
        self.by_arn: dict[str, Workload] = {}

    def end(self, arn: str) -> None:
        """Ends what runs for a job or endpoint."""
        workload = self.by_arn.pop(arn, None)
        if workload is not None:
            workload.remove()


def why(workload: Workload) -> str:
    """Why a workload ended: what it wrote as its reason, else the last it printed."""
    failure = workload.path("/opt/ml/output/failure")
    if failure.is_file():
        return failure.read_text(errors="replace")[:1024]
    lines = [line.text for line in workload.lines()][-3:]
    return f"exit code: {workload.exit_code}. {' '.join(lines)}".strip()


def failed(job: Any, noun: str, reason: str) -> None:
    """Notes why a job (`training_job`, `transform_job`) has failed."""
    setattr(job, f"{noun}_status", "Failed")
    job.failure_reason = reason
    if noun == "training_job":
        job.secondary_status = "Failed"


def named(request: Response, parameter: str, kept: str) -> Any:
    """What the request names. Raises Invalid where there is none."""
    name = request._get_param(parameter)
    found = getattr(request.sagemaker_backend, kept).get(name)
    if found is None:
        raise Invalid(f"Could not find {name}.")
    return found
