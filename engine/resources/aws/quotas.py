"""What AWS allows an account: service quotas, and requests for more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from pydantic import Field, model_validator

from engine.aws.errors import AwsError
from engine.by_hand import aws
from engine.errors import StepFailed
from engine.refs import Unknown
from engine.resource import Fixed, Output, Resource, Values
from engine.resources.aws._aws import iam_actions

if TYPE_CHECKING:
    from engine.world import World

_OPEN: Final = frozenset({"PENDING", "CASE_OPENED", "APPROVED"})
"""States of a request that may still raise the quota; an approved one takes some minutes to show."""
_TURNED_DOWN: Final = frozenset({"DENIED", "NOT_APPROVED", "CASE_CLOSED", "INVALID_REQUEST"})


class ServiceQuota(Resource):
    """A quota that must be high enough: where it is not, AWS is asked for more, once.

    AWS decides in minutes or days. Until then the quota counts as asked for, and `status` says `pending`.
    Destroying the lab leaves it as it is: a quota cannot be deleted.
    """

    kind: ClassVar[str] = "service_quota"
    actions: ClassVar[Sequence[str]] = iam_actions(
        "servicequotas",
        """
        ListAWSDefaultServiceQuotas ListRequestedServiceQuotaChangeHistory ListServiceQuotas
        RequestServiceQuotaIncrease
        """,
    ) + iam_actions("iam", "CreateServiceLinkedRole")
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("service and code, ec2/L-DB2E81BA"),
        "quota_code": Output("its code, L-…"),
        "quota_name": Output("its name, as Service Quotas shows it"),
        "applied_value": Output("what is allowed now"),
        "status": Output("`in force`, `pending` (asked for, not decided), or `turned down`"),
        "request_id": Output("the id of the last request, if there is one"),
        "case_id": Output("the support case that AWS opened for it, if there is one"),
    }

    service_code: Fixed[str] = Field(pattern=r"^[a-zA-Z][a-zA-Z0-9-]{1,62}$")
    """`ec2`, `sagemaker`, `vpc`, …: `aws service-quotas list-services` tells them all."""
    quota_code: Fixed[str | None] = Field(default=None, pattern=r"^[a-zA-Z][a-zA-Z0-9-]{1,128}$")
    """`L-DB2E81BA` is vCPUs of running on-demand G and VT instances."""
    quota_name: Fixed[str | None] = None
    """Instead of the code: the name as Service Quotas shows it."""
    value: float = Field(ge=0, le=10_000_000_000)
    """At least so much is needed; for EC2's instances it is a number of vCPUs."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.quota_code is None) == (self.quota_name is None):
            raise ValueError("write either quota_code (L-…) or quota_name")
        return self

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """A quota may be higher than needed."""
        if name == "value" and not isinstance(wanted, Unknown) and there is not None:
            return bool(there < wanted)
        return super().differs(name, wanted, there)

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """How much is allowed."""
        if name == "value" and isinstance(there, int | float):
            return f"AWS allows {there:g}, {wanted:g} are needed: it will be asked for more"
        return None

    def adopts(self, world: World) -> str | None:
        """The quota, which is always there. Raises StepFailed where AWS has none of the code or name."""
        for quota in _of_service(world, self.service_code):
            if self.quota_code in (None, quota["QuotaCode"]) and self.quota_name in (
                None,
                quota["QuotaName"],
            ):
                return f"{self.service_code}/{quota['QuotaCode']}"
        raise StepFailed(
            f"{self.service_code} has no quota {self.quota_code or self.quota_name} in this region",
            f"`aws service-quotas list-service-quotas --service-code {self.service_code}` tells them",
        )

    def create(self, world: World) -> str:
        """Ask for more where that is needed."""
        id = str(self.adopts(world))
        self.update(world, id, frozenset({"value"}))
        return id

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """ListServiceQuotas and ListRequestedServiceQuotaChangeHistory, once for each service."""
        asked: dict[str, list[str]] = defaultdict(list)
        for id in dict.fromkeys(ids):
            service, _, code = id.partition("/")
            asked[service].append(code)
        found = {}
        for service, codes in asked.items():
            quotas = {quota["QuotaCode"]: quota for quota in _of_service(world, service)}
            requests = _requests(world, service)
            for code in codes:
                if code in quotas:
                    found[f"{service}/{code}"] = _values(service, quotas[code], requests.get(code))
        return found

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """RequestServiceQuotaIncrease, unless a request for as much is open.

        Raises StepFailed where AWS has turned one down, or never raises the quota.
        """
        service, _, code = id.partition("/")
        [quota] = [quota for quota in _of_service(world, service) if quota["QuotaCode"] == code]
        there = _values(service, quota, _requests(world, service).get(code))
        if there["value"] >= self.value:
            return
        if not quota.get("Adjustable", True):
            raise StepFailed(
                f"AWS allows {quota['Value']:g} of {quota['QuotaName']} and never more",
                "get along with fewer, or use another region or account",
            )
        if there["status"] == "turned down" and there["turned_down"] >= self.value:
            case = f"case {there['case_id']}" if there["case_id"] else "a new case"
            raise StepFailed(
                f"AWS has turned down the request for {there['turned_down']:g} of {quota['QuotaName']}",
                f"say in AWS's Support Center ({case}) what it is for, or ask for less",
            )
        world.job.say(f"AWS is asked for {self.value:g}; it decides in minutes or days")
        _ask_for(world, service, code, self.value)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """Nothing: a quota cannot be deleted, nor a request taken back."""

    @classmethod
    def find(cls, world: World) -> list[str]:
        """Nothing: it is always there, and a request that is open is never filed again."""
        return []

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws service-quotas request-service-quota-increase`."""
        code = (id or "").partition("/")[2] or self.quota_code
        if action == "delete":
            return [f"# {id} stays as it is: a quota cannot be deleted"]
        if code is None:
            code = f"$(aws service-quotas list-service-quotas --service-code {self.service_code} …)"
        about = {"service_code": self.service_code, "quota_code": code}
        shown = aws("get-service-quota", service="service-quotas", query="Quota.Value", **about)
        request = "request-service-quota-increase"
        return [shown, aws(request, service="service-quotas", **about, desired_value=f"{self.value:g}")]


def _of_service(world: World, service: str) -> list[dict[str, Any]]:
    """All quotas of a service: as applied to the account, else AWS's defaults."""
    try:
        about = {"ServiceCode": service, "MaxResults": 100}
        found = world.aws.pages(
            "service-quotas", "list_aws_default_service_quotas", "Quotas", **about
        ) + world.aws.pages("service-quotas", "list_service_quotas", "Quotas", **about)
    except AwsError as error:
        if error.code == "NoSuchResourceException":
            raise StepFailed(
                f"Service Quotas knows no service {service}",
                "`aws service-quotas list-services` tells them all (`ec2`, `sagemaker`, …)",
            ) from None
        raise
    return list({quota["QuotaCode"]: quota for quota in found}.values())


def _requests(world: World, service: str) -> dict[str, dict[str, Any]]:
    """The request that counts for each quota: an open one, else the last."""
    history = world.aws.pages(
        "service-quotas",
        "list_requested_service_quota_change_history",
        "RequestedQuotas",
        ServiceCode=service,
        MaxResults=100,
    )
    ordered = sorted(history, key=lambda one: (one["Status"] in _OPEN, one["Created"]))
    return {request["QuotaCode"]: request for request in ordered}


def _values(service: str, quota: Mapping[str, Any], request: Mapping[str, Any] | None) -> Values:
    applied = float(quota["Value"])
    asked = float(request["DesiredValue"]) if request else 0.0
    state = request["Status"] if request else ""
    pending = state in _OPEN and asked > applied
    down = state in _TURNED_DOWN and asked > applied
    return {
        "id": f"{service}/{quota['QuotaCode']}",
        "service_code": service,
        "quota_code": quota["QuotaCode"],
        "quota_name": quota["QuotaName"],
        "value": max(applied, asked) if pending else applied,
        "applied_value": applied,
        "status": "pending" if pending else "turned down" if down else "in force",
        "request_id": request.get("Id") if request else None,
        "case_id": request.get("CaseId") if request else None,
        "turned_down": asked if down else 0.0,
    }


def _ask_for(world: World, service: str, code: str, value: float) -> None:
    about: dict[str, Any] = {"ServiceCode": service, "QuotaCode": code, "DesiredValue": value}
    try:
        world.aws.call("service-quotas", "request_service_quota_increase", **about)
    except AwsError as error:
        if error.code != "ResourceAlreadyExistsException":  # one is open, as of this moment
            raise
