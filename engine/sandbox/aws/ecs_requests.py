"""Requests to ECS, answered as ECS answers them, with tasks and services that really run.

Clusters and task definitions are moto's, with what it lets pass refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import moto.backends
from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ecs.exceptions import (
    ClusterNotFoundException,
    EcsClientException,
    ECSException,
    InvalidParameterException,
    ServiceNotFoundException,
)
from moto.ecs.models import EC2ContainerServiceBackend
from moto.ecs.responses import EC2ContainerServiceResponse

from engine.sandbox.aws import balancing
from engine.sandbox.aws.ecs_checks import (
    check_balancers,
    check_definition,
    check_network,
    check_place,
    network_error,
)
from engine.sandbox.aws.ecs_runner import Runner
from engine.sandbox.aws.ecs_services import Deployment, Keeper, Service
from engine.sandbox.aws.ecs_tasks import Task
from engine.sandbox.aws.mending import replace, take_on

_SETTINGS: Final = {
    "platformVersion": "platform_version",
    "healthCheckGracePeriodSeconds": "grace_seconds",
    "deploymentConfiguration": "deployment_configuration",
    "propagateTags": "propagate_tags",
    "enableExecuteCommand": "execute_command",
    "capacityProviderStrategy": "strategy",
}
"""The parameters of UpdateService that replace no task, and where a service keeps them."""


class Ecs:
    """ECS in all regions; under the cloud's lock."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def install(self) -> None:
        """Puts these answers in the place of moto's."""
        response = EC2ContainerServiceResponse
        handle = response.call_action
        create_cluster, register = response.create_cluster, response.register_task_definition

        def call_action(request: Any) -> Any:
            self.settle(request.current_account, request.region)
            return handle(request)

        def new_cluster(request: Any) -> ActionResult:
            there = request.ecs_backend.clusters.get(request._get_param("clusterName") or "default")
            if there is not None and there.status == "ACTIVE":
                return ActionResult({"cluster": there})
            return create_cluster(request)

        def register_definition(request: Any) -> ActionResult:
            check_definition(request)
            return register(request)

        replace(
            response,
            call_action=call_action,
            create_cluster=new_cluster,
            register_task_definition=register_definition,
            run_task=lambda request: self._run_task(request),
            stop_task=_stop_task,
            describe_tasks=_describe_tasks,
            list_tasks=_list_tasks,
            create_service=lambda request: self._create_service(request),
            update_service=lambda request: self._update_service(request),
            delete_service=_delete_service,
            describe_services=_describe_services,
            list_services=_list_services,
        )
        replace(
            EC2ContainerServiceBackend,
            _get_cluster=_cluster,
            list_clusters=_list_clusters,
            delete_cluster=_delete_cluster,
        )

    def settle(self, account: str, region: str) -> bool:
        """Brings tasks and services of a region as far as they have come; whether anything has changed."""
        backend: Any = moto.backends.get_backend("ecs")[account][region]
        ec2 = moto.backends.get_backend("ec2")[account][region]
        changed = False
        for tasks in backend.tasks.values():
            for arn, task in list(tasks.items()):
                changed |= self._runner.advance(ec2, task)
                if self._runner.forget(task):
                    del tasks[arn]
        keeper = self._keeper(account, region)
        for service in backend.services.values():
            if service.status != "INACTIVE":
                own = _tasks_of(backend, service)
                changed |= keeper.keep(service, own)
                for task in own:
                    changed |= self._runner.advance(ec2, task)
        return changed

    def tick(self) -> bool:
        """`settle` in all regions in use."""
        changed = False
        for account, regions in list(moto.backends.get_backend("ecs").items()):
            for region in list(regions):
                changed |= self.settle(account, region)
        return changed

    def _keeper(self, account: str, region: str) -> Keeper:
        groups = moto.backends.get_backend("elbv2")[account][region]
        return Keeper(
            lambda service, deployment: self._launch(account, service, deployment),
            lambda *target: balancing.register(groups, *target),
            lambda *target: balancing.deregister(groups, *target),
            lambda *target: balancing.health(groups, *target),
        )

    def _launch(self, account: str, service: Service, deployment: Deployment) -> Task:
        backend: Any = moto.backends.get_backend("ecs")[account][service.region_name]
        tags = service.tags if service.propagate_tags == "SERVICE" else []
        if service.propagate_tags == "TASK_DEFINITION":
            tags = deployment.definition.tags
        task = Task(
            cluster=backend.clusters[service.cluster_name],
            definition=deployment.definition,
            group=f"service:{service.name}",
            launch_type="FARGATE" if service.fargate else str(service.launch_type or "EC2"),
            account=account,
            region=service.region_name,
            started_by=deployment.id,
            tags=list(tags),
            network=deployment.network,
            platform_version=service.platform_version,
            execute_command=service.execute_command,
        )
        try:
            self._runner.place(moto.backends.get_backend("ec2")[account][service.region_name], task)
        except EC2ClientError as error:
            task.is_to_stop(f"{error.code}: {error.message}", "TaskFailedToStart")
            task.has_stopped()
        backend.tasks.setdefault(service.cluster_name, {})[task.task_arn] = task
        return task

    def _run_task(self, request: Any) -> ActionResult:
        backend = request.ecs_backend
        params = request._get_params()
        token = params.get("clientToken")
        tokens = backend.__dict__.setdefault("sandbox_tokens", {})
        if token in tokens:
            given, arns = tokens[token]
            if given != params:
                raise ECSException(
                    "ConflictException", "The client token was used with other parameters before."
                )
            return ActionResult({"tasks": _told(_every_task(backend), arns, tags=True), "failures": []})
        cluster = backend._get_cluster(params.get("cluster") or "default")
        definition = _definition(backend, params.get("taskDefinition") or "")
        launch_type = _launch_type(params, cluster)
        check_network(definition, params.get("networkConfiguration"), launch_type)
        tasks = [
            Task(
                cluster=cluster,
                definition=definition,
                group=params.get("group") or f"family:{definition.family}",
                launch_type=launch_type,
                account=request.current_account,
                region=request.region,
                overrides=params.get("overrides"),
                started_by=params.get("startedBy") or "",
                tags=params.get("tags"),
                network=params.get("networkConfiguration"),
                platform_version=params.get("platformVersion"),
                execute_command=bool(params.get("enableExecuteCommand")),
            )
            for _ in range(int(params.get("count") or 1))
        ]
        for task in tasks:
            self._place(request, task)
            backend.tasks.setdefault(cluster.name, {})[task.task_arn] = task
        if token:
            tokens[token] = (params, [task.task_arn for task in tasks])
        return ActionResult({"tasks": [task.told(tags=True) for task in tasks], "failures": []})

    def _place(self, request: Any, task: Task) -> None:
        ec2 = moto.backends.get_backend("ec2")[request.current_account][request.region]
        try:
            self._runner.place(ec2, task)
        except EC2ClientError as error:
            raise network_error(task.network, error) from None

    def _create_service(self, request: Any) -> ActionResult:
        backend = request.ecs_backend
        params = request._get_params()
        cluster = backend._get_cluster(params.get("cluster") or "default")
        name = params.get("serviceName") or ""
        there = backend.services.get(f"{cluster.name}:{name}")
        if there is not None and there.status == "ACTIVE":
            if there.given == params:
                return ActionResult({"service": there.told(tags=True)})
            raise InvalidParameterException("Creation of service was not idempotent.")
        if there is not None and there.status == "DRAINING":
            raise InvalidParameterException("Unable to Start a service that is still Draining.")
        definition = _definition(backend, params.get("taskDefinition") or "")
        launch_type = _launch_type(params, cluster)
        network = params.get("networkConfiguration")
        check_network(definition, network, launch_type)
        check_place(request, network)
        check_balancers(request, definition, params.get("loadBalancers") or ())
        service = Service(
            cluster=cluster,
            name=name,
            account=request.current_account,
            region=request.region,
            definition=definition,
            given=params,
        )
        if not service.strategy:
            service.launch_type = launch_type
        backend.services[f"{cluster.name}:{name}"] = service
        return ActionResult({"service": service.told(tags=True)})

    def _update_service(self, request: Any) -> ActionResult:
        backend = request.ecs_backend
        params = request._get_params()
        service = _service(backend, params.get("cluster"), params.get("service") or "")
        if service.status != "ACTIVE":
            raise ECSException("ServiceNotActiveException", "Service was not ACTIVE.")
        redeploys = bool(params.get("forceNewDeployment"))
        if params.get("taskDefinition"):
            definition = _definition(backend, params["taskDefinition"])
            redeploys |= definition.arn != service.definition.arn
            service.definition = definition
        if params.get("networkConfiguration"):
            check_place(request, params["networkConfiguration"])
            redeploys |= params["networkConfiguration"] != service.network
            service.network = params["networkConfiguration"]
        if params.get("loadBalancers") is not None:
            check_balancers(request, service.definition, params["loadBalancers"])
            redeploys |= params["loadBalancers"] != service.load_balancers
            service.load_balancers = params["loadBalancers"]
        take_on(service, params.get, _SETTINGS)
        if redeploys:
            service.redeploy()
        if params.get("desiredCount") is not None:
            service.desired_count = int(params["desiredCount"])
            service.steady = False
        return ActionResult({"service": service.told(tags=True)})


def _launch_type(params: Mapping[str, Any], cluster: Any) -> str:
    strategy = params.get("capacityProviderStrategy") or (
        None if params.get("launchType") else cluster.default_capacity_provider_strategy
    )
    if strategy:
        providers = {one.get("capacityProvider") for one in strategy}
        return "FARGATE" if providers & {"FARGATE", "FARGATE_SPOT"} else "EC2"
    return str(params.get("launchType") or "EC2")


def _cluster(backend: Any, name: str) -> Any:
    cluster = backend.clusters.get(name.rpartition("/")[2])
    if cluster is None or cluster.status != "ACTIVE":
        raise ClusterNotFoundException
    return cluster


def _list_clusters(backend: Any) -> list[str]:
    return [cluster.arn for cluster in backend.clusters.values() if cluster.status == "ACTIVE"]


def _delete_cluster(backend: Any, name: str) -> Any:
    cluster = _cluster(backend, name)
    services = [one for one in backend.services.values() if one.cluster_name == cluster.name]
    if any(one.status != "INACTIVE" for one in services):
        words = "The Cluster cannot be deleted while Services are active."
        raise ECSException("ClusterContainsServicesException", words)
    if any(task.live for task in backend.tasks.get(cluster.name, {}).values()):
        words = "The Cluster cannot be deleted while Tasks are active."
        raise ECSException("ClusterContainsTasksException", words)
    cluster.status = "INACTIVE"
    backend.tasks.pop(cluster.name, None)
    for service in services:
        backend.services.pop(f"{cluster.name}:{service.name}", None)
    return cluster


def _definition(backend: Any, name: str) -> Any:
    """The revision that a task or service names; the newest active one where it names a family."""
    short = name.rpartition("/")[2]
    if ":" not in short:
        active = [one for one in backend.task_definitions.get(short, {}).values() if one.status == "ACTIVE"]
        if active:
            return max(active, key=lambda one: int(one.revision))
        raise EcsClientException("TaskDefinition not found.")
    found = backend.describe_task_definition(name)
    if found.status != "ACTIVE":
        raise EcsClientException("TaskDefinition is inactive")
    return found


def _every_task(backend: Any) -> list[Task]:
    return [task for tasks in backend.tasks.values() for task in tasks.values()]


def _tasks_of(backend: Any, service: Service) -> list[Task]:
    group = f"service:{service.name}"
    return [task for task in backend.tasks.get(service.cluster_name, {}).values() if task.group == group]


def _told(tasks: Sequence[Task], names: Sequence[str], *, tags: bool) -> list[dict[str, Any]]:
    return [task.told(tags=tags) for task in tasks if task.task_arn in names or task.id in names]


def _describe_tasks(request: Any) -> ActionResult:
    backend = request.ecs_backend
    cluster = backend._get_cluster(request._get_param("cluster") or "default")
    names = [str(name) for name in request._get_param("tasks", [])]
    if not names:
        raise InvalidParameterException("Tasks cannot be empty.")
    tasks = list(backend.tasks.get(cluster.name, {}).values())
    known = {task.task_arn for task in tasks} | {task.id for task in tasks}
    missing = [{"arn": name, "reason": "MISSING"} for name in names if name not in known]
    tags = "TAGS" in (request._get_param("include") or ())
    return ActionResult({"tasks": _told(tasks, names, tags=tags), "failures": missing})


def _list_tasks(request: Any) -> ActionResult:
    backend = request.ecs_backend
    params = request._get_params()
    cluster = backend._get_cluster(params.get("cluster") or "default")
    service = (params.get("serviceName") or "").rpartition("/")[2]
    if service and f"{cluster.name}:{service}" not in backend.services:
        raise ServiceNotFoundException
    wanted = {
        "desired_status": params.get("desiredStatus") or "RUNNING",
        "started_by": params.get("startedBy"),
        "launch_type": params.get("launchType"),
        "group": f"service:{service}" if service else None,
    }
    arns = [
        task.task_arn
        for task in backend.tasks.get(cluster.name, {}).values()
        if all(value is None or getattr(task, name) == value for name, value in wanted.items())
        and params.get("family") in (None, task.definition.family)
    ]
    return ActionResult({"taskArns": arns})


def _stop_task(request: Any) -> ActionResult:
    backend = request.ecs_backend
    cluster = backend._get_cluster(request._get_param("cluster") or "default")
    name = str(request._get_param("task"))
    for task in backend.tasks.get(cluster.name, {}).values():
        if name in (task.task_arn, task.id):
            task.is_to_stop(request._get_param("reason") or "Task stopped by user", "UserInitiated")
            return ActionResult({"task": task.told(tags=True)})
    raise InvalidParameterException("The referenced task was not found.")


def _service(backend: Any, cluster: str | None, name: str) -> Service:
    where = backend._get_cluster(cluster or "default")
    found: Service | None = backend.services.get(f"{where.name}:{name.rpartition('/')[2]}")
    if found is None:
        raise ServiceNotFoundException
    return found


def _delete_service(request: Any) -> ActionResult:
    params = request._get_params()
    service = _service(request.ecs_backend, params.get("cluster"), params.get("service") or "")
    if service.status == "INACTIVE":
        raise ServiceNotFoundException
    if service.desired_count > 0 and not params.get("force"):
        raise InvalidParameterException("The service cannot be stopped while it is scaled above 0.")
    service.status, service.desired_count = "DRAINING", 0
    return ActionResult({"service": service.told(tags=True)})


def _describe_services(request: Any) -> ActionResult:
    backend = request.ecs_backend
    cluster = backend._get_cluster(request._get_param("cluster") or "default")
    tags = "TAGS" in (request._get_param("include") or ())
    found, missing = [], []
    for name in request._get_param("services", []):
        service = backend.services.get(f"{cluster.name}:{str(name).rpartition('/')[2]}")
        if service is None:
            missing.append({"arn": name, "reason": "MISSING"})
        else:
            found.append(service.told(tags=tags))
    return ActionResult({"services": found, "failures": missing})


def _list_services(request: Any) -> ActionResult:
    backend = request.ecs_backend
    cluster = backend._get_cluster(request._get_param("cluster") or "default")
    arns = [
        one.arn
        for one in backend.services.values()
        if one.cluster_name == cluster.name and one.status != "INACTIVE"
    ]
    return ActionResult({"serviceArns": sorted(arns)})
