"""The listeners of a load balancer with their rules: fields, ELB's requests, and what ELB tells of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from engine.refs import holds_unknown
from engine.resource import Fields, Id, Values, plain
from engine.resources.aws._aws import set_ones


class RedirectConfig(Fields):
    """Where a client is sent instead; what is left out stays as it is."""

    protocol: Literal["HTTP", "HTTPS", "#{protocol}"] = "#{protocol}"
    """Of the new address."""
    host: str = "#{host}"
    """Of the new address."""
    port: str | int = "#{port}"
    """Of the new address."""
    path: str = "/#{path}"
    """Of the new address; begins with /."""
    query: str = "#{query}"
    """Of the new address, without the question mark."""
    status_code: Literal["HTTP_301", "HTTP_302"] = "HTTP_301"
    """For good, or for now."""


class FixedResponseConfig(Fields):
    """What the load balancer answers by itself."""

    status_code: int = Field(ge=200, le=599)
    """2xx, 4xx or 5xx."""
    content_type: Literal[
        "text/plain", "text/css", "text/html", "application/javascript", "application/json"
    ] = "text/plain"
    """Of the body."""
    message_body: str = Field(default="", max_length=1024)
    """At most 1024 characters."""


class WeightedTargetGroup(Fields):
    """A target group and its share of the requests."""

    target_group_arn: Id
    """The target group."""
    weight: int = Field(default=1, ge=0, le=999)
    """Its share, relative to the others'."""


class Action(Fields):
    """What happens to a request."""

    type: Literal["forward", "redirect", "fixed-response"] = "forward"
    """Forwarded, sent elsewhere, or answered at once."""
    target_group_arn: Id | None = None
    """Where it is forwarded to."""
    target_groups: list[WeightedTargetGroup] | None = Field(default=None, min_length=1, max_length=5)
    """Several target groups, each with a weight."""
    redirect_config: RedirectConfig | None = None
    """Where the client is sent."""
    fixed_response_config: FixedResponseConfig | None = None
    """What is answered."""

    @model_validator(mode="after")
    def _one_sort(self) -> Self:
        given = {
            "forward": self.target_group_arn or self.target_groups,
            "redirect": self.redirect_config,
            "fixed-response": self.fixed_response_config,
        }
        needs = {
            "forward": "target_group_arn or target_groups",
            "redirect": "redirect_config",
            "fixed-response": "fixed_response_config",
        }
        if isinstance(self.type, str) and not given[self.type]:
            raise ValueError(f"an action of type {self.type} needs {needs[self.type]}")
        if self.target_group_arn is not None and self.target_groups is not None:
            raise ValueError("give target_group_arn or target_groups, not both")
        return self


class Condition(Fields):
    """What a request must be like for a rule."""

    field: Literal[
        "path-pattern", "host-header", "http-request-method", "source-ip", "http-header", "query-string"
    ]
    """What is looked at."""
    values: list[str] = Field(min_length=1, max_length=5)
    """One of these; `*` and `?` stand for any. For query-string `key=value` or `value`."""
    http_header_name: str | None = None
    """For http-header: which one."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.field == "http-header") != (self.http_header_name is not None):
            raise ValueError("http_header_name goes with field: http-header, and that needs it")
        return self


class Rule(Fields):
    """What happens to requests that fit all conditions; the first that fits counts."""

    priority: int = Field(ge=1, le=50000)
    """Small numbers come first."""
    conditions: list[Condition] = Field(min_length=1, max_length=5)
    """All of them must fit."""
    actions: list[Action] = Field(min_length=1)
    """What happens."""


class Listener(Fields):
    """A port of the load balancer."""

    protocol: Literal["HTTP", "HTTPS"] = "HTTP"
    """HTTPS needs a certificate."""
    port: int = Field(ge=1, le=65535)
    """At which it answers."""
    certificates: list[Id] = Field(default_factory=list)
    """ARNs in ACM; the first is shown where no other fits."""
    ssl_policy: str | None = None
    """Which ciphers; ELB's default where left out."""
    default_actions: list[Action] = Field(min_length=1)
    """What happens to requests that no rule fits."""
    rules: list[Rule] = Field(default=[], max_length=100)
    """Which requests are treated otherwise."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.protocol == "HTTPS" and not self.certificates:
            raise ValueError("a listener with HTTPS needs certificates")
        if self.protocol == "HTTP" and self.certificates:
            raise ValueError("certificates are for a listener with protocol: HTTPS")
        if not holds_unknown(plain(self.rules)):
            priorities = [plain(rule)["priority"] for rule in self.rules]
            for priority in priorities:
                if priorities.count(priority) > 1:
                    raise ValueError(f"two rules have priority {priority}")
        return self


_REDIRECT: Final = {
    "protocol": ("Protocol", "#{protocol}"),
    "host": ("Host", "#{host}"),
    "port": ("Port", "#{port}"),
    "path": ("Path", "/#{path}"),
    "query": ("Query", "#{query}"),
    "status_code": ("StatusCode", "HTTP_301"),
}


def actions_request(given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Actions for ELB, from plain values in the playbook's words."""
    return [_action_request(one) for one in given]


def _action_request(given: Mapping[str, Any]) -> dict[str, Any]:
    sort = given.get("type", "forward")
    if sort == "redirect":
        config = given["redirect_config"]
        redirect = {key: str(config.get(name, default)) for name, (key, default) in _REDIRECT.items()}
        return {"Type": sort, "RedirectConfig": redirect}
    if sort == "fixed-response":
        config = given["fixed_response_config"]
        fixed = {
            "StatusCode": str(config["status_code"]),
            "ContentType": config.get("content_type", "text/plain"),
            "MessageBody": config.get("message_body", ""),
        }
        return {"Type": sort, "FixedResponseConfig": fixed}
    if given.get("target_group_arn") is not None:
        return {"Type": "forward", "TargetGroupArn": given["target_group_arn"]}
    groups = [
        {"TargetGroupArn": one["target_group_arn"], "Weight": one.get("weight", 1)}
        for one in given["target_groups"]
    ]
    return {"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}


def actions_words(given: Sequence[Mapping[str, Any]]) -> list[Values]:
    """Actions of ELB in the playbook's words."""
    return [_action_words(one) for one in sorted(given, key=lambda one: one.get("Order", 0))]


def _action_words(given: Mapping[str, Any]) -> Values:
    sort = given["Type"]
    if sort == "redirect":
        config = given["RedirectConfig"]
        words = {name: config.get(key, default) for name, (key, default) in _REDIRECT.items()}
        return {"type": sort, "redirect_config": words}
    if sort == "fixed-response":
        config = given["FixedResponseConfig"]
        fixed = {
            "status_code": int(config["StatusCode"]),
            "content_type": config.get("ContentType", "text/plain"),
            "message_body": config.get("MessageBody") or "",
        }
        return {"type": sort, "fixed_response_config": fixed}
    groups = (given.get("ForwardConfig") or {}).get("TargetGroups") or []
    if len(groups) <= 1:
        arn = given.get("TargetGroupArn") or (groups[0]["TargetGroupArn"] if groups else None)
        return {"type": sort, "target_group_arn": arn}
    return {
        "type": sort,
        "target_groups": [
            {"target_group_arn": one["TargetGroupArn"], "weight": one.get("Weight", 1)} for one in groups
        ],
    }


_CONFIGS: Final = {
    "path-pattern": "PathPatternConfig",
    "host-header": "HostHeaderConfig",
    "http-request-method": "HttpRequestMethodConfig",
    "source-ip": "SourceIpConfig",
    "http-header": "HttpHeaderConfig",
    "query-string": "QueryStringConfig",
}


def conditions_request(given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Conditions for ELB, from plain values in the playbook's words."""
    requests = []
    for one in given:
        config: dict[str, Any] = {"Values": list(one["values"])}
        if one["field"] == "http-header":
            config = {"HttpHeaderName": one["http_header_name"], **config}
        if one["field"] == "query-string":
            config = {"Values": [_pair(value) for value in one["values"]]}
        requests.append({"Field": one["field"], _CONFIGS[one["field"]]: config})
    return requests


def _pair(value: Any) -> dict[str, Any]:
    key, equals, text = str(value).partition("=")
    return {"Key": key, "Value": text} if equals else {"Value": value}


def conditions_words(given: Sequence[Mapping[str, Any]]) -> list[Values]:
    """Conditions of ELB in the playbook's words."""
    words = []
    for one in given:
        config = one.get(_CONFIGS.get(one["Field"], "")) or {}
        values = config.get("Values") or one.get("Values") or []
        if one["Field"] == "query-string":
            values = [
                f"{pair['Key']}={pair['Value']}" if pair.get("Key") else pair["Value"] for pair in values
            ]
        name = {"http_header_name": config["HttpHeaderName"]} if config.get("HttpHeaderName") else {}
        words.append({"field": one["Field"], "values": list(values), **name})
    return words


def rule_request(given: Mapping[str, Any]) -> dict[str, Any]:
    """A rule for ELB, from plain values in the playbook's words."""
    return {
        "Priority": given["priority"],
        "Conditions": conditions_request(given["conditions"]),
        "Actions": actions_request(given["actions"]),
    }


def rules_words(given: Sequence[Mapping[str, Any]]) -> list[Values]:
    """The rules of a listener in the playbook's words, without the default one."""
    return [
        {
            "priority": int(rule["Priority"]),
            "conditions": conditions_words(rule.get("Conditions") or ()),
            "actions": actions_words(rule.get("Actions") or ()),
        }
        for rule in sorted(given, key=lambda rule: str(rule["Priority"]).zfill(5))
        if rule["Priority"] != "default"
    ]


def listener_request(given: Mapping[str, Any]) -> dict[str, Any]:
    """A listener for ELB, from plain values in the playbook's words; without its rules."""
    request = {
        "Protocol": given.get("protocol", "HTTP"),
        "Port": given["port"],
        "SslPolicy": given.get("ssl_policy"),
        "Certificates": [{"CertificateArn": arn} for arn in (given.get("certificates") or ())[:1]] or None,
        "DefaultActions": actions_request(given["default_actions"]),
    }
    return set_ones(request)


def listener_words(given: Mapping[str, Any], rules: Sequence[Mapping[str, Any]]) -> Values:
    """A listener of ELB in the playbook's words."""
    words: Values = {
        "protocol": given["Protocol"],
        "port": given["Port"],
        "certificates": [one["CertificateArn"] for one in given.get("Certificates") or ()],
        "default_actions": actions_words(given.get("DefaultActions") or ()),
        "rules": rules_words(rules),
    }
    return words | ({"ssl_policy": given["SslPolicy"]} if given.get("SslPolicy") else {})


def as_told(wanted: Mapping[str, Any]) -> Values:
    """A listener as wanted, in the form in which ELB tells of it, so that two can be compared."""
    rules = [rule_request(rule) for rule in wanted.get("rules") or ()]
    return listener_words(listener_request(wanted), rules)


def listener_differs(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Whether a listener is not as wanted; a policy that is not asked for is as it may be."""
    one, other = as_told(wanted), {**there, "certificates": (there.get("certificates") or [])[:1]}
    if "ssl_policy" not in one:
        other.pop("ssl_policy", None)
    return one != other
