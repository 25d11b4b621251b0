"""Money: budgets that tell somebody before it is spent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from pydantic import Field, field_validator, model_validator

from engine.aws.tags import narrow, readable, tag_list, tags_for, told_tags
from engine.by_hand import json_word, word
from engine.refs import Unknown
from engine.resource import Fields, Fixed, Id, Output, Place, Values, plain
from engine.resources.aws._aws import iam_actions, ours, unless_gone
from engine.resources.aws._tagging import TaggedByArn, Tagging

if TYPE_CHECKING:
    from engine.world import World

_MOST_ALERTS: Final = 10
_MOST_EMAILS: Final = 10
_NAME = re.compile(r"[^:\\]{1,100}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_TOPIC = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}")
_KEY: Final = ("type", "comparison", "threshold", "threshold_type")
"""What tells one alert of a budget from another."""
_COST_TYPES: Final = {
    "include_tax": "IncludeTax",
    "include_subscription": "IncludeSubscription",
    "use_blended": "UseBlended",
    "include_refund": "IncludeRefund",
    "include_credit": "IncludeCredit",
    "include_upfront": "IncludeUpfront",
    "include_recurring": "IncludeRecurring",
    "include_other_subscription": "IncludeOtherSubscription",
    "include_support": "IncludeSupport",
    "include_discount": "IncludeDiscount",
    "use_amortized": "UseAmortized",
}
_TOLD_BY_AWS: Final = ("CalculatedSpend", "LastUpdatedTime", "HealthStatus")


class Limit(Fields):
    """How much may be spent."""

    amount: float = Field(gt=0)
    """In `unit`."""
    unit: str = "USD"
    """USD for money; the usage's own unit (GB, Hrs) for `budget_type: usage`."""


class CostTypes(Fields):
    """What counts as cost; AWS's defaults where left out."""

    include_credit: bool | None = None
    """Credits count against the cost. False shows what would be paid without them."""
    include_refund: bool | None = None
    """Refunds count against the cost."""
    include_discount: bool | None = None
    """Discounts count against the cost."""
    include_tax: bool | None = None
    """Taxes count."""
    include_support: bool | None = None
    """Fees for AWS Support count."""
    include_subscription: bool | None = None
    """Reserved instances and the like count."""
    include_other_subscription: bool | None = None
    """Other subscriptions count."""
    include_recurring: bool | None = None
    """Monthly fees count."""
    include_upfront: bool | None = None
    """Fees paid in advance count."""
    use_blended: bool | None = None
    """Averaged over the accounts of an organization."""
    use_amortized: bool | None = None
    """Fees paid in advance are spread over their term."""


class Alert(Fields):
    """When somebody is told, and who."""

    threshold: float = Field(gt=0, le=15_000_000_000_000)
    """Per cent of the limit, or an amount."""
    threshold_type: Literal["percentage", "absolute_value"] = "percentage"
    """What the threshold counts in."""
    type: Literal["actual", "forecasted"] = "actual"
    """What is spent already, or what AWS expects to be spent by the end of the period."""
    comparison: Literal["greater_than", "less_than", "equal_to"] = "greater_than"
    """How it is compared with the threshold."""
    email: list[str] = Field(default_factory=list, max_length=_MOST_EMAILS)
    """Addresses, at most 10."""
    sns: Id | None = None
    """The ARN of a topic, which must let budgets.amazonaws.com publish."""

    @field_validator("email")
    @classmethod
    def _addresses(cls, value: Any) -> Any:
        for address in value if isinstance(value, list) else ():
            if isinstance(address, str) and not _EMAIL.fullmatch(address):
                raise ValueError(f"{address!r} is no address of mail")
        return value

    @field_validator("sns")
    @classmethod
    def _topic(cls, value: Any) -> Any:
        if isinstance(value, str) and not _TOPIC.fullmatch(value):
            raise ValueError('is the ARN of a topic: write "{{ topic.arn }}", or arn:aws:sns:…')
        return value

    @model_validator(mode="after")
    def _somebody(self) -> Any:
        if self.email == [] and self.sns is None:
            raise ValueError("an alert needs somebody to tell: email or sns")
        return self


class Budget(TaggedByArn):
    """A budget: somebody is told when spending nears a limit. It stops nothing by itself."""

    kind: ClassVar[str] = "budget"
    tagging: ClassVar[Tagging] = Tagging(
        "budgets", "tag_resource", "untag_resource", "ResourceARN", "ResourceTags", "ResourceTagKeys"
    )
    actions: ClassVar[Sequence[str]] = iam_actions(
        "budgets", "ListTagsForResource ModifyBudget TagResource UntagResource ViewBudget"
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the budget's name"),
        "arn": Output("its ARN"),
        "actual_spend": Output("what is spent in this period, as far as AWS knows (some hours late)"),
        "forecasted_spend": Output("what AWS expects to be spent by its end"),
    }

    name: Fixed[str]
    """At most 100 characters, without : and \\; one of its kind in the account."""
    limit: Limit
    """How much may be spent in each period."""
    time_unit: Literal["daily", "monthly", "quarterly", "annually"] = "monthly"
    """How long a period is; spending counts anew in each."""
    budget_type: Fixed[Literal["cost", "usage"]] = "cost"
    """`usage` counts hours or gigabytes instead of money, and needs `cost_filters`."""
    cost_filters: dict[str, list[str]] | None = None
    """Only this counts: `Service`, `Region`, `TagKeyValue` (`user:course$w251`) and others."""
    cost_types: CostTypes | None = None
    """What counts as cost."""
    alerts: list[Alert] = Field(default_factory=list, max_length=_MOST_ALERTS)
    """At most 10."""

    @field_validator("name")
    @classmethod
    def _name(cls, value: Any) -> Any:
        if isinstance(value, str) and (not _NAME.fullmatch(value) or "/action/" in value):
            raise ValueError("AWS allows 1 to 100 characters other than : and \\")
        return value

    @model_validator(mode="after")
    def _different(self) -> Any:
        alerts = [plain(alert) for alert in self.alerts] if isinstance(self.alerts, list) else []
        keys = [_key(alert) for alert in alerts if isinstance(alert, Mapping) and not _unknown(alert)]
        if len(keys) != len(set(keys)):
            raise ValueError("two alerts have the same threshold and type: write one, with all who are told")
        return self

    def foreseen(self) -> str | None:
        """Its name."""
        return self.name

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Alerts in any order; of the cost types and the limit only what is asked for."""
        if name == "alerts" and isinstance(wanted, list) and isinstance(there, list):
            return _by_key(wanted) != _by_key(there)
        if name == "cost_types" and isinstance(wanted, Mapping) and isinstance(there, Mapping):
            return any(there.get(key) != value for key, value in wanted.items())
        if name == "cost_filters" and isinstance(wanted, Mapping) and isinstance(there, Mapping):
            return {k: sorted(v) for k, v in wanted.items()} != {k: sorted(v) for k, v in there.items()}
        return super().differs(name, wanted, there)

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """The limits, and which alerts are missing or too many."""
        if name == "limit" and isinstance(wanted, Mapping) and isinstance(there, Mapping):
            return f"the limit is {_money(there)} instead of {_money(wanted)}"
        if name != "alerts" or not isinstance(wanted, list) or not isinstance(there, list):
            return None
        asked, held = _by_key(wanted), _by_key(there)
        words = [f"the alert at {_at(key)} is missing" for key in asked if key not in held]
        words += [f"the alert at {_at(key)} is not in the playbook" for key in held if key not in asked]
        words += [f"the alert at {_at(k)} tells others" for k in asked if k in held and asked[k] != held[k]]
        return ", ".join(words) or None

    def create(self, world: World) -> str:
        """CreateBudget with its alerts and tags."""
        alerts = [plain(alert) for alert in self.alerts]
        _ask(
            world,
            "create_budget",
            retry=False,
            Budget=self._budget({}),
            NotificationsWithSubscribers=[
                {"Notification": _notification(alert), "Subscribers": _subscribers(alert)} for alert in alerts
            ],
            ResourceTags=tag_list(narrow(tags_for(world))),
        )
        return self.name

    def _budget(self, there: Mapping[str, Any]) -> dict[str, Any]:
        """The Budget of a request: what is there, with what is asked for put in its place."""
        budget = {key: value for key, value in there.items() if key not in _TOLD_BY_AWS}
        budget |= {
            "BudgetName": self.name,
            "BudgetType": self.budget_type.upper(),
            "TimeUnit": self.time_unit.upper(),
            "BudgetLimit": {"Amount": _amount(self.limit.amount), "Unit": self.limit.unit},
        }
        if self.cost_filters is not None:
            budget["CostFilters"] = self.cost_filters
        if self.cost_types is not None:
            asked = plain(self.cost_types)
            told = {_COST_TYPES[name]: value for name, value in asked.items()}
            budget["CostTypes"] = {**there.get("CostTypes", {}), **told}
        return budget

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeBudgets for all; alerts, who they tell, and tags are asked for each of `ids`."""
        account = {"AccountId": world.aws.account_id()}
        budgets = world.aws.pages("budgets", "describe_budgets", "Budgets", **account)
        found = {budget["BudgetName"]: budget for budget in budgets if budget["BudgetName"] in ids}
        return {name: cls._values(world, budget) for name, budget in found.items()}

    @classmethod
    def _values(cls, world: World, budget: Mapping[str, Any]) -> Values:
        name = str(budget["BudgetName"])
        limit = budget.get("BudgetLimit") or {"Amount": "0", "Unit": "USD"}
        spend = budget.get("CalculatedSpend", {})
        types = budget.get("CostTypes") or {}
        return {
            "id": name,
            "name": name,
            "arn": _arn(world, name),
            "limit": {"amount": float(limit["Amount"]), "unit": limit["Unit"]},
            "time_unit": budget["TimeUnit"].lower(),
            "budget_type": budget["BudgetType"].lower(),
            "cost_filters": dict(budget.get("CostFilters") or {}),
            "cost_types": {key: types[told] for key, told in _COST_TYPES.items() if told in types},
            "alerts": _alerts(world, name),
            "actual_spend": _spent(spend.get("ActualSpend")),
            "forecasted_spend": _spent(spend.get("ForecastedSpend")),
            "tags": readable(_tags(world, name) or {}),
        }

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """UpdateBudget with all that it has; alerts are made and deleted one by one."""
        if changed - {"alerts"}:
            there = _ask(world, "describe_budget", BudgetName=id)["Budget"]
            _ask(world, "update_budget", NewBudget=self._budget(there))
        if "alerts" in changed:
            self._set_alerts(world, id)

    def _set_alerts(self, world: World, id: str) -> None:
        wanted = {_key(alert): alert for alert in (plain(alert) for alert in self.alerts)}
        there = {_key(alert): alert for alert in _alerts(world, id)}
        for key, alert in there.items():
            if key not in wanted:
                _quietly(world, "delete_notification", BudgetName=id, Notification=_notification(alert))
        for key, alert in wanted.items():
            about: dict[str, Any] = {"BudgetName": id, "Notification": _notification(alert)}
            if key not in there:
                _ask(world, "create_notification", **about, Subscribers=_subscribers(alert))
                continue
            before, after = _subscribers(there[key]), _subscribers(alert)
            # New ones first: AWS keeps no alert that tells nobody.
            for one in after:
                if one not in before:
                    _ask(world, "create_subscriber", **about, Subscriber=one)
            for one in before:
                if one not in after:
                    _quietly(world, "delete_subscriber", **about, Subscriber=one)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteBudget, its alerts with it."""
        _quietly(world, "delete_budget", BudgetName=id)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """The one of the name that the create was for, if its tags say that this create made it."""
        return ours(world, lambda name: _tags(world, name))

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """This budget alone."""
        if isinstance(self.name, Unknown):
            return {}
        own = [place.arn("budgets", f"budget/{self.name}", regional=False)]
        # DescribeBudgets is about all budgets.
        return {action: own for action in self.actions if action != "budgets:ViewBudget"}

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws budgets create-budget`, `update-budget`, and a command for each alert that changes."""
        whose = "--account-id $(aws sts get-caller-identity --query Account --output text)"
        if action == "delete":
            return [f"aws budgets delete-budget {whose} --budget-name {word(id)}"]
        alerts = [plain(alert) for alert in self.alerts]
        if action == "create":
            told = [{"Notification": _notification(a), "Subscribers": _subscribers(a)} for a in alerts]
            budget = f"aws budgets create-budget {whose} --budget {json_word(self._budget({}))}"
            return [f"{budget} --notifications-with-subscribers {json_word(told)}"]
        lines = []
        if changed - {"alerts"}:
            lines.append(f"aws budgets update-budget {whose} --new-budget {json_word(self._budget({}))}")
        if "alerts" in changed:
            held = _by_key(self._beside.there.get("alerts") or [])
            for alert in alerts:
                lines += self._alert_by_hand(whose, alert, held.get(_key(alert)))
        return lines

    def _alert_by_hand(self, whose: str, alert: Mapping[str, Any], held: tuple[Any, ...] | None) -> list[str]:
        """Commands that make an alert, or change who is told by it."""
        about = f"--budget-name {word(self.name)} --notification {json_word(_notification(alert))}"
        wanted = _subscribers(alert)
        if held is None:
            people = json_word(wanted)
            return [f"aws budgets create-notification {whose} {about} --subscribers {people}"]
        there = _subscribers({"email": held[0], "sns": held[1]})
        changes = [("create", one) for one in wanted if one not in there]
        changes += [("delete", one) for one in there if one not in wanted]
        return [
            f"aws budgets {verb}-subscriber {whose} {about} --subscriber {json_word(one)}"
            for verb, one in changes
        ]


def _send(world: World, operation: str, *, retry: bool = True, **params: Any) -> dict[str, Any]:
    return world.aws.call("budgets", operation, retry=retry, **params)


def _ask(world: World, operation: str, *, retry: bool = True, **params: Any) -> dict[str, Any]:
    return _send(world, operation, retry=retry, AccountId=world.aws.account_id(), **params)


def _quietly(world: World, operation: str, **params: Any) -> None:
    unless_gone(lambda: _ask(world, operation, **params))


def _arn(world: World, name: str) -> str:
    return f"arn:aws:budgets::{world.aws.account_id()}:budget/{name}"


def _tags(world: World, name: str) -> dict[str, str] | None:
    """All its tags; None where there is no such budget."""
    answer = unless_gone(lambda: _send(world, "list_tags_for_resource", ResourceARN=_arn(world, name)))
    return None if answer is None else told_tags(answer.get("ResourceTags"))


def _alerts(world: World, name: str) -> list[dict[str, Any]]:
    """Its alerts in the playbook's words."""
    whose = {"AccountId": world.aws.account_id(), "BudgetName": name}
    found = []
    for told in world.aws.pages("budgets", "describe_notifications_for_budget", "Notifications", **whose):
        about = {
            key: told[key]
            for key in ("NotificationType", "ComparisonOperator", "Threshold", "ThresholdType")
            if key in told
        }
        people = world.aws.pages(
            "budgets", "describe_subscribers_for_notification", "Subscribers", **whose, Notification=about
        )
        topics = [one["Address"] for one in people if one["SubscriptionType"] == "SNS"]
        found.append(
            {
                "threshold": float(told["Threshold"]),
                "threshold_type": told.get("ThresholdType", "PERCENTAGE").lower(),
                "type": told["NotificationType"].lower(),
                "comparison": told["ComparisonOperator"].lower(),
                "email": sorted(one["Address"] for one in people if one["SubscriptionType"] == "EMAIL"),
                **({"sns": topics[0]} if topics else {}),
            }
        )
    return found


def _notification(alert: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "NotificationType": alert["type"].upper(),
        "ComparisonOperator": alert["comparison"].upper(),
        "Threshold": alert["threshold"],
        "ThresholdType": alert["threshold_type"].upper(),
    }


def _subscribers(alert: Mapping[str, Any]) -> list[dict[str, Any]]:
    people = [{"SubscriptionType": "EMAIL", "Address": address} for address in alert["email"]]
    topic = alert.get("sns")
    return [*people, {"SubscriptionType": "SNS", "Address": topic}] if topic else people


def _unknown(alert: Mapping[str, Any]) -> bool:
    return any(isinstance(alert.get(name), Unknown) for name in _KEY)


def _key(alert: Mapping[str, Any]) -> tuple[Any, ...]:
    return (alert["type"], alert["comparison"], float(alert["threshold"]), alert["threshold_type"])


def _by_key(alerts: Sequence[Mapping[str, Any]]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Who is told, by what each alert is about."""
    return {_key(alert): (sorted(alert.get("email") or []), alert.get("sns")) for alert in alerts}


def _at(key: tuple[Any, ...]) -> str:
    type_, _, threshold, unit = key
    return f"{threshold:g}{' %' if unit == 'percentage' else ''} {type_}"


def _money(limit: Mapping[str, Any]) -> str:
    return f"{limit['amount']:g} {limit['unit']}"


def _amount(amount: float) -> str:
    """As AWS writes it: without zeros at the end, and never 1e+06."""
    return f"{amount:.10f}".rstrip("0").rstrip(".")


def _spent(spend: Mapping[str, Any] | None) -> str | None:
    return f"{float(spend['Amount']):.2f} {spend['Unit']}" if spend else None
