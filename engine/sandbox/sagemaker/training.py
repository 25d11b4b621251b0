"""Training jobs that really train: the image runs as a workload, its artefact goes to S3."""

from __future__ import annotations

from typing import Any

from moto.core.responses import EmptyResult
from moto.core.utils import utcnow
from moto.sagemaker.models import SageMakerModelBackend as Backend
from moto.sagemaker.responses import SageMakerResponse as Response

from engine.sandbox.aws.mending import replace
from engine.sandbox.sagemaker.common import InUse, Invalid, Running, failed, named, why
from engine.sandbox.sagemaker.running import CannotRun, Place, Store, packed, start, training_files
from engine.sandbox.workloads.running import Workload


class Training:
    """What runs for the training jobs of all regions."""

    def __init__(self, running: Running) -> None:
        self._running = running

    def install(self) -> None:
        """Puts itself in moto's place."""
        create, describe = Backend.create_training_job, Backend.describe_training_job

        def create_training_job(backend: Any, **params: Any) -> Any:
            return self._train(backend, create(backend, **params))

        def describe_training_job(backend: Any, training_job_name: str) -> Any:
            job = backend.training_jobs.get(training_job_name)
            if job is None:
                raise Invalid("Requested resource not found.")
            self._settle_training(backend, job)
            return describe(backend, training_job_name)

        replace(
            Backend,
            create_training_job=create_training_job,
            describe_training_job=describe_training_job,
        )

    def _train(self, backend: Any, job: Any) -> Any:
        job.training_job_status, job.secondary_status = "InProgress", "Training"
        try:
            self._running.by_arn[job.arn] = start(
                self._running.workloads(),
                job.algorithm_specification["TrainingImage"],
                "train",
                name=f"training-job/{job.training_job_name}",
                environment={},
                files=training_files(job, Store(backend.account_id)),
            )
        except CannotRun as error:
            failed(job, "training_job", str(error))
        return job

    def _settle_training(self, backend: Any, job: Any) -> None:
        """What has become of a job that was under way."""
        if job.training_job_status not in ("InProgress", "Stopping"):
            return
        workload = self._running.by_arn.get(job.arn)
        if workload is None:
            failed(job, "training_job", "InternalServerError: the sandbox was stopped")
        elif workload.exit_code == 0:
            self._keep_artefact(backend, job, workload)
        elif workload.exit_code is not None:
            failed(job, "training_job", f"AlgorithmError: {why(workload)}")
        if job.training_job_status not in ("InProgress", "Stopping"):
            job.training_end_time = job.last_modified_time = utcnow()
            self._running.end(job.arn)

    def _keep_artefact(self, backend: Any, job: Any, workload: Workload) -> None:
        try:
            place = Place.of(job.model_artifacts["S3ModelArtifacts"])
            Store(backend.account_id).put(place, packed(workload.path("/opt/ml/model")))
        except CannotRun as error:
            failed(job, "training_job", str(error))
        else:
            job.training_job_status = job.secondary_status = "Completed"

    def stop(self, request: Response) -> EmptyResult:
        """StopTrainingJob."""
        job = named(request, "TrainingJobName", "training_jobs")
        self._settle_training(request.sagemaker_backend, job)
        if job.training_job_status != "InProgress":
            raise Invalid(
                f"The request was rejected because the training job is in status {job.training_job_status}."
            )
        self._running.end(job.arn)
        job.training_job_status = job.secondary_status = "Stopped"
        return EmptyResult()

    def delete(self, request: Response) -> EmptyResult:
        """DeleteTrainingJob."""
        job = named(request, "TrainingJobName", "training_jobs")
        self._settle_training(request.sagemaker_backend, job)
        if job.training_job_status == "InProgress":
            raise InUse(f"Training job {job.arn} is in progress and cannot be deleted.")
        del request.sagemaker_backend.training_jobs[job.training_job_name]
        return EmptyResult()
