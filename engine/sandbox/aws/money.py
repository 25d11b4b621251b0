"""Budgets and service quotas, of which moto knows a few requests only."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import Any, Final

from moto.budgets.exceptions import DuplicateRecordException, NotFoundException
from moto.budgets.models import Budget, Notification
from moto.budgets.responses import BudgetsResponse
from moto.core.exceptions import JsonRESTError
from moto.servicequotas.models import ServiceQuotasBackend
from moto.servicequotas.resources.default_quotas.vpc import VPC_DEFAULT_QUOTAS
from moto.servicequotas.responses import ServiceQuotasResponse

from engine.sandbox.aws.mending import add, replace

DECIDED_SECONDS: Final = 300.0
"""How long the sandbox takes to grant a higher quota; AWS takes minutes or days."""
_GRANTED_AT_MOST: Final = 1000.0
"""More is turned down, so that this can be seen, too."""
_VCPUS: Final = "Running On-Demand {} instances"
_EC2: Final = {
    "L-1216C47A": (_VCPUS.format("Standard (A, C, D, H, I, M, R, T, Z)"), 32.0),
    "L-DB2E81BA": (_VCPUS.format("G and VT"), 0.0),
    "L-417A185B": (_VCPUS.format("P"), 0.0),
    "L-6E869C2A": (_VCPUS.format("DL"), 0.0),
    "L-1945791B": (_VCPUS.format("Inf"), 0.0),
    "L-34B43A08": ("All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", 32.0),
    "L-3819A6DF": ("All G and VT Spot Instance Requests", 0.0),
    "L-7212CCBC": ("All P4, P3 and P2 Spot Instance Requests", 0.0),
    "L-0263D0A3": ("EC2-VPC Elastic IPs", 5.0),
}
_SAGEMAKER: Final = {
    "L-04CE2E67": ("ml.t3.medium for notebook instance usage", 20.0),
    "L-1928E07B": ("ml.g4dn.xlarge for notebook instance usage", 0.0),
    "L-611FA074": ("ml.m4.xlarge for training job usage", 20.0),
    "L-B67CFA0C": ("ml.g4dn.xlarge for endpoint usage", 0.0),
}


def _table(service: str, name: str, quotas: dict[str, tuple[str, float]]) -> list[dict[str, Any]]:
    return [
        {
            "ServiceCode": service,
            "ServiceName": name,
            "QuotaArn": f"arn:aws:servicequotas:us-east-1::{service}/{code}",
            "QuotaCode": code,
            "QuotaName": words,
            "Value": value,
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }
        for code, (words, value) in quotas.items()
    ]


_QUOTAS: Final[dict[str, list[dict[str, Any]]]] = {
    "ec2": _table("ec2", "Amazon Elastic Compute Cloud (Amazon EC2)", _EC2),
    "sagemaker": _table("sagemaker", "Amazon SageMaker", _SAGEMAKER),
    "vpc": VPC_DEFAULT_QUOTAS,
}


class _NoSuchResource(JsonRESTError):
    def __init__(self) -> None:
        super().__init__("NoSuchResourceException", "The request failed because the resource does not exist.")


class _AlreadyOpen(JsonRESTError):
    def __init__(self) -> None:
        message = "Only one open service quota increase request is allowed per quota."
        super().__init__("ResourceAlreadyExistsException", message)


class _Invalid(JsonRESTError):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)


# -- quotas --------------------------------------------------------------------------------------------------


def _requests(backend: ServiceQuotasBackend) -> list[dict[str, Any]]:
    """The requests for more; those whose time has come are decided."""
    kept: list[dict[str, Any]] = backend.__dict__.setdefault("requests", [])
    for request in kept:
        if request["Status"] == "PENDING" and time.time() - request["Created"] > DECIDED_SECONDS:
            granted = request["DesiredValue"] <= _GRANTED_AT_MOST
            request["Status"] = "APPROVED" if granted else "DENIED"
            request["LastUpdated"] = time.time()
    return kept


def _defaults(service: str) -> list[dict[str, Any]]:
    if service not in _QUOTAS:
        raise _NoSuchResource()
    return _QUOTAS[service]


def _applied(backend: ServiceQuotasBackend, service: str) -> list[dict[str, Any]]:
    granted = {
        request["QuotaCode"]: request["DesiredValue"]
        for request in _requests(backend)
        if request["ServiceCode"] == service and request["Status"] == "APPROVED"
    }
    return [
        {**quota, "Value": max(quota["Value"], granted.get(quota["QuotaCode"], 0.0))}
        for quota in _defaults(service)
    ]


def _list_defaults(backend: ServiceQuotasBackend, service_code: str) -> list[dict[str, Any]]:
    return _defaults(service_code)


def _get(backend: ServiceQuotasBackend, service_code: str, quota_code: str) -> dict[str, Any]:
    for quota in _applied(backend, service_code):
        if quota["QuotaCode"] == quota_code:
            return quota
    raise _NoSuchResource()


def _list_quotas(response: ServiceQuotasResponse) -> str:
    params = json.loads(response.body)
    return json.dumps({"Quotas": _applied(response.backend, params["ServiceCode"])})


def _list_services(response: ServiceQuotasResponse) -> str:
    services = [
        {"ServiceCode": code, "ServiceName": quotas[0]["ServiceName"]} for code, quotas in _QUOTAS.items()
    ]
    return json.dumps({"Services": services})


def _ask_for_more(response: ServiceQuotasResponse) -> str:
    params, backend = json.loads(response.body), response.backend
    quota = _get(backend, params["ServiceCode"], params["QuotaCode"])
    requests = _requests(backend)
    if any(one["QuotaCode"] == quota["QuotaCode"] and one["Status"] == "PENDING" for one in requests):
        raise _AlreadyOpen()
    if params["DesiredValue"] <= quota["Value"]:
        message = "The requested quota value must be greater than the current quota value."
        raise _Invalid("IllegalArgumentException", message)
    request = {
        "Id": uuid.uuid4().hex,
        **{key: quota[key] for key in ("ServiceCode", "ServiceName", "QuotaCode", "QuotaName")},
        "DesiredValue": float(params["DesiredValue"]),
        "Status": "PENDING",
        "Created": time.time(),
        "LastUpdated": time.time(),
        "QuotaArn": quota["QuotaArn"],
        "GlobalQuota": quota["GlobalQuota"],
        "Unit": quota["Unit"],
    }
    requests.append(request)
    return json.dumps({"RequestedQuota": request})


def _history(response: ServiceQuotasResponse) -> str:
    params = json.loads(response.body)
    names = ("ServiceCode", "QuotaCode", "Status")
    asked = {name: params[name] for name in names if name in params}
    found = [one for one in _requests(response.backend) if asked.items() <= one.items()]
    return json.dumps({"RequestedQuotas": found})


def _one_request(response: ServiceQuotasResponse) -> str:
    asked = json.loads(response.body)["RequestId"]
    for request in _requests(response.backend):
        if request["Id"] == asked:
            return json.dumps({"RequestedQuota": request})
    raise _NoSuchResource()


# -- budgets -------------------------------------------------------------------------------------------------


def _budget(response: BudgetsResponse) -> Budget:
    name = response._get_param("BudgetName") or response._get_param("NewBudget", {}).get("BudgetName")
    budget: Budget | None = response.backend.budgets[response._get_param("AccountId")].get(name)
    if budget is None:
        raise NotFoundException(f"Unable to get budget: {name} - the budget doesn't exist.")
    return budget


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two notifications are the same, which their state does not tell."""
    return _plain(one) == _plain(other)


def _plain(notification: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in notification.items() if key != "NotificationState"}
    return {"ThresholdType": "PERCENTAGE", **rest, "Threshold": float(rest["Threshold"])}


def _notification(response: BudgetsResponse) -> Notification:
    for one in _budget(response).notifications:
        if _same(one.details, response._get_param("Notification")):
            return one
    raise NotFoundException("Unable to find the notification - it doesn't exist.")


def _create_budget(handle: Callable[[BudgetsResponse], str]) -> Callable[[BudgetsResponse], str]:
    """CreateBudget with tags."""

    def create(response: BudgetsResponse) -> str:
        answer = handle(response)
        name = response._get_param("Budget")["BudgetName"]
        made = response.backend.budgets[response._get_param("AccountId")][name]
        made.__dict__["tags"] = {t["Key"]: t["Value"] for t in response._get_param("ResourceTags", [])}
        return answer

    return create


def _update_budget(response: BudgetsResponse) -> str:
    there = _budget(response)
    fresh = Budget(response._get_param("NewBudget"), [])
    there.budget = {**{"TimePeriod": there.budget["TimePeriod"]}, **fresh.budget}
    return "{}"


def _create_notification(response: BudgetsResponse) -> str:
    budget, asked = _budget(response), response._get_param("Notification")
    if any(_same(one.details, asked) for one in budget.notifications):
        raise DuplicateRecordException(record_type="notification", record_name=budget.budget["BudgetName"])
    budget.add_notification(asked, response._get_param("Subscribers"))
    return "{}"


def _delete_notification(response: BudgetsResponse) -> str:
    _budget(response).notifications.remove(_notification(response))
    return "{}"


def _subscribers(response: BudgetsResponse) -> str:
    return json.dumps({"Subscribers": _notification(response).subscribers})


def _create_subscriber(response: BudgetsResponse) -> str:
    people: Any = _notification(response).subscribers
    if response._get_param("Subscriber") in people:
        raise DuplicateRecordException(record_type="subscriber", record_name="subscriber")
    people.append(response._get_param("Subscriber"))
    return "{}"


def _delete_subscriber(response: BudgetsResponse) -> str:
    people: Any = _notification(response).subscribers
    if response._get_param("Subscriber") not in people:
        raise NotFoundException("Unable to delete subscriber - the subscriber doesn't exist.")
    people.remove(response._get_param("Subscriber"))
    return "{}"


def _of_arn(response: BudgetsResponse) -> dict[str, str]:
    """The tags of the budget that an ARN names."""
    arn = str(response._get_param("ResourceARN"))
    account, name = arn.split(":")[4], arn.partition(":budget/")[2]
    budget = response.backend.budgets[account].get(name)
    if budget is None:
        raise NotFoundException(f"Unable to get budget: {name} - the budget doesn't exist.")
    tags: dict[str, str] = budget.__dict__.setdefault("tags", {})
    return tags


def _list_tags(response: BudgetsResponse) -> str:
    return json.dumps({"ResourceTags": [{"Key": k, "Value": v} for k, v in _of_arn(response).items()]})


def _tag(response: BudgetsResponse) -> str:
    _of_arn(response).update({tag["Key"]: tag["Value"] for tag in response._get_param("ResourceTags")})
    return "{}"


def _untag(response: BudgetsResponse) -> str:
    for key in response._get_param("ResourceTagKeys"):
        _of_arn(response).pop(key, None)
    return "{}"


def mend() -> None:
    """Gives both services the requests that labs need."""
    replace(ServiceQuotasBackend, list_aws_default_service_quotas=_list_defaults, get_service_quota=_get)
    add(
        ServiceQuotasResponse,
        list_service_quotas=_list_quotas,
        list_services=_list_services,
        request_service_quota_increase=_ask_for_more,
        list_requested_service_quota_change_history=_history,
        list_requested_service_quota_change_history_by_quota=_history,
        get_requested_service_quota_change=_one_request,
    )
    replace(
        BudgetsResponse,
        create_budget=_create_budget(BudgetsResponse.create_budget),
        create_notification=_create_notification,
        delete_notification=_delete_notification,
    )
    add(
        BudgetsResponse,
        update_budget=_update_budget,
        describe_subscribers_for_notification=_subscribers,
        create_subscriber=_create_subscriber,
        delete_subscriber=_delete_subscriber,
        list_tags_for_resource=_list_tags,
        tag_resource=_tag,
        untag_resource=_untag,
    )
