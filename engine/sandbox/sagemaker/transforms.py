"""Batch transform jobs that really answer for each object of their input."""

from __future__ import annotations

import threading
import time
from typing import Any

from moto.core.responses import EmptyResult
from moto.sagemaker.models import SageMakerModelBackend as Backend
from moto.sagemaker.responses import SageMakerResponse as Response

from engine.sandbox.aws.mending import replace
from engine.sandbox.sagemaker.common import Running, failed, named, why
from engine.sandbox.sagemaker.endpoints import Endpoints
from engine.sandbox.sagemaker.running import CannotRun, Place, Store, answers, asked
from engine.sandbox.workloads.running import Workload

_STARTS = 60.0


class Transforms:
    """What runs for the transform jobs of all regions."""

    def __init__(self, running: Running, endpoints: Endpoints) -> None:
        self._running = running
        self._endpoints = endpoints
        self._threads: dict[str, threading.Thread] = {}

    def install(self) -> None:
        """Puts itself in moto's place."""
        create, describe = Backend.create_transform_job, Backend.describe_transform_job

        def create_transform_job(backend: Any, **params: Any) -> Any:
            return self._transform(backend, create(backend, **params))

        def describe_transform_job(backend: Any, transform_job_name: str) -> Any:
            job = backend.transform_jobs.get(transform_job_name)
            if job is not None and job.transform_job_status == "InProgress" and job.arn not in self._threads:
                failed(job, "transform_job", "InternalServerError: the sandbox was stopped")
            return describe(backend, transform_job_name)

        replace(
            Backend,
            create_transform_job=create_transform_job,
            describe_transform_job=describe_transform_job,
        )

    def _transform(self, backend: Any, job: Any) -> Any:
        job.transform_job_status = "InProgress"
        thread = threading.Thread(target=self._transformed, args=(backend, job), daemon=True)
        self._threads[job.arn] = thread
        thread.start()
        return job

    def _transformed(self, backend: Any, job: Any) -> None:
        """Every object of the input is sent to the model, and its answer written next to the others."""
        try:
            store = Store(backend.account_id)
            source = Place.of(job.transform_input["DataSource"]["S3DataSource"]["S3Uri"])
            target = Place.of(job.transform_output["S3OutputPath"])
            self._running.by_arn[job.arn] = workload = self._endpoints.start_model(
                backend, job.model_name, job.arn
            )
            if not _is_ready(workload):
                raise CannotRun(f"ClientError: the model does not answer. {why(workload)}")
            for name, content in store.below(source):
                told = _transformed_object(job, workload, content)
                key = f"{target.key.rstrip('/')}/{name.rpartition('/')[2]}.out".lstrip("/")
                store.put(Place(target.bucket, key), told)
        except (CannotRun, OSError) as error:
            if job.transform_job_status == "InProgress":
                failed(job, "transform_job", str(error))
        else:
            if job.transform_job_status == "InProgress":
                job.transform_job_status = "Completed"
        finally:
            self._running.end(job.arn)

    def stop(self, request: Response) -> EmptyResult:
        """StopTransformJob."""
        job = named(request, "TransformJobName", "transform_jobs")
        if job.transform_job_status == "InProgress":
            job.transform_job_status = "Stopped"
            self._running.end(job.arn)
        return EmptyResult()


def _is_ready(workload: Workload) -> bool:
    """Whether it says that it is well, at the latest after a minute; False at once where it has ended."""
    deadline = time.monotonic() + _STARTS
    while not answers(workload):
        if workload.exit_code is not None or time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _transformed_object(job: Any, workload: Workload, content: bytes) -> bytes:
    headers = {"Content-Type": job.transform_input.get("ContentType") or "application/octet-stream"}
    if job.transform_output.get("Accept"):
        headers["Accept"] = job.transform_output["Accept"]
    by_line = job.transform_input.get("SplitType") == "Line" and job.batch_strategy == "SingleRecord"
    records = [line for line in content.splitlines() if line] if by_line else [content]
    told = []
    for record in records:
        status, _, answer = asked(workload, "POST", "/invocations", headers, record, seconds=60.0)
        if status >= 400:
            raise CannotRun(f"ClientError: the model answered {status}: {answer[:200]!r}")
        told.append(answer.rstrip(b"\n"))
    return b"\n".join(told) + b"\n"
