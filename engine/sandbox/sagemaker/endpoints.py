"""Endpoints that really answer: the model's image runs as a workload."""

from __future__ import annotations

from typing import Any

import moto.backends
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult
from moto.sagemaker.models import SageMakerModelBackend as Backend
from moto.sagemaker.responses import SageMakerResponse as Response
from moto.sagemakerruntime.responses import SageMakerRuntimeResponse as RuntimeResponse

from engine.sandbox.aws.mending import replace
from engine.sandbox.sagemaker.common import Invalid, Running, named, why
from engine.sandbox.sagemaker.running import CannotRun, Place, Store, answers, asked, start, unpacked
from engine.sandbox.workloads.running import Workload


class _ModelError(ServiceException):
    code = "ModelError"
    status_code = 424


class Endpoints:
    """What runs for the endpoints of all regions."""

    def __init__(self, running: Running) -> None:
        self._running = running

    def install(self) -> None:
        """Puts itself in moto's place."""
        create, describe, delete = Backend.create_endpoint, Backend.describe_endpoint, Backend.delete_endpoint

        def create_endpoint(backend: Any, **params: Any) -> Any:
            return self._serve(backend, create(backend, **params))

        def describe_endpoint(backend: Any, endpoint_name: str) -> Any:
            if endpoint_name in backend.endpoints:
                self._settle_endpoint(backend, backend.endpoints[endpoint_name])
            return describe(backend, endpoint_name)

        def delete_endpoint(backend: Any, endpoint_name: str) -> None:
            if endpoint_name in backend.endpoints:
                self._running.end(backend.endpoints[endpoint_name].arn)
            delete(backend, endpoint_name)

        replace(
            Backend,
            create_endpoint=create_endpoint,
            describe_endpoint=describe_endpoint,
            delete_endpoint=delete_endpoint,
        )
        replace(RuntimeResponse, invoke_endpoint=lambda request: self._invoke(request))

    def _serve(self, backend: Any, endpoint: Any) -> Any:
        """Starts the first variant of an endpoint; the weights of several are not looked at."""
        endpoint.endpoint_status = "Creating"
        try:
            config = backend.endpoint_configs[endpoint.endpoint_config_name].production_variants[0]
            self._running.end(endpoint.arn)
            self._running.by_arn[endpoint.arn] = self.start_model(backend, config["ModelName"], endpoint.arn)
        except CannotRun as error:
            endpoint.endpoint_status, endpoint.failure_reason = "Failed", str(error)
        return endpoint

    def start_model(self, backend: Any, model_name: str, arn: str) -> Workload:
        """Starts what serves a model. Raises CannotRun."""
        model = backend._models.get(model_name)
        if model is None:
            raise CannotRun(f"Could not find model {model_name}")
        container = model.primary_container or (model.containers or [{}])[0]
        url = container.get("ModelDataUrl")
        files = (
            unpacked(Store(backend.account_id).get(Place.of(url))) if url else {"/opt/ml/model/.keep": b""}
        )
        environment = container.get("Environment") or {}
        return start(
            self._running.workloads(),
            container["Image"],
            "serve",
            name=arn,
            environment=environment,
            files=files,
        )

    def _settle_endpoint(self, backend: Any, endpoint: Any) -> None:
        """What has become of an endpoint; one whose sandbox was stopped is started again."""
        if endpoint.endpoint_status == "Failed":
            return
        if endpoint.arn not in self._running.by_arn:
            self._serve(backend, endpoint)
        workload = self._running.by_arn.get(endpoint.arn)
        if workload is None:
            return
        if workload.exit_code is not None:
            endpoint.endpoint_status = "Failed"
            endpoint.failure_reason = (
                "The primary container for production variant AllTraffic did not pass the ping health check. "
                f"{why(workload)}"
            )
        elif endpoint.endpoint_status != "InService" and answers(workload):
            endpoint.endpoint_status, endpoint.failure_reason = "InService", None

    def update(self, request: Response) -> ActionResult:
        """UpdateEndpoint."""
        backend = request.sagemaker_backend
        endpoint = named(request, "EndpointName", "endpoints")
        name = request._get_param("EndpointConfigName")
        config = backend.describe_endpoint_config(name)
        endpoint.endpoint_config_name = name
        endpoint.production_variants = endpoint._process_production_variants(config["ProductionVariants"])
        self._serve(backend, endpoint)
        if endpoint.endpoint_status == "Creating":
            endpoint.endpoint_status = "Updating"
        return ActionResult({"EndpointArn": endpoint.arn})

    def _invoke(self, request: RuntimeResponse) -> Any:
        """InvokeEndpoint (sagemaker-runtime)."""
        named_backends: Any = moto.backends
        backend = named_backends.get_backend("sagemaker")[request.current_account][request.region]
        name = str(request._get_param("EndpointName") or request.path.split("/")[2])
        endpoint = backend.endpoints.get(name)
        if endpoint is None:
            raise Invalid(f"Endpoint {name} of account {request.current_account} not found.")
        self._settle_endpoint(backend, endpoint)
        if endpoint.endpoint_status != "InService":
            raise Invalid(f"Endpoint {name} of account {request.current_account} is not in service.")
        kinds = {"Content-Type": request.headers.get("Content-Type"), "Accept": request.headers.get("Accept")}
        body = request.body if isinstance(request.body, bytes) else str(request.body or "").encode()
        given = {key: text for key, text in kinds.items() if text}
        try:
            status, kind, told = asked(
                self._running.by_arn[endpoint.arn], "POST", "/invocations", given, body, seconds=60.0
            )
        except OSError as error:
            raise _ModelError(f"Received no answer from the model: {error}") from None
        if status >= 400:
            raise _ModelError(f"Received client error ({status}) from primary with message {told!r}")
        return 200, {"Content-Type": kind, "x-Amzn-Invoked-Production-Variant": "AllTraffic"}, told
