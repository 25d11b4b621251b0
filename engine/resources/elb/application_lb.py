"""Application load balancers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from engine.aws.errors import AwsError
from engine.aws.tags import readable, values_filter
from engine.by_hand import assign, aws, filled, itself, json_word, told, word
from engine.errors import StepFailed
from engine.refs import Unknown, holds_unknown
from engine.resource import Fixed, Id, Output, Place, Unread, Values, plain
from engine.resources.aws import _prices
from engine.resources.aws._aws import finish, seconds, service_linked_role
from engine.resources.elb._elb import (
    Described,
    InElb,
    Name,
    ask,
    attributes_request,
    make,
    new_tags,
    of_ours,
    refuse_another,
)
from engine.resources.elb._listeners import (
    Listener,
    listener_differs,
    listener_request,
    listener_words,
    rule_request,
)

if TYPE_CHECKING:
    from engine.world import World

_STARTS: Final = 600.0
_ENDS: Final = 300.0
_HOURLY: Final = 0.0225
"""USD per hour, besides 0.008 per hour and LCU (25 new connections a second, 1 GB an hour)."""
_ATTRIBUTES: Final = {
    "deletion_protection": "deletion_protection.enabled",
    "idle_timeout": "idle_timeout.timeout_seconds",
    "http2": "routing.http2.enabled",
}


class ElbApplicationLb(InElb):
    """An application load balancer: takes HTTP requests and forwards them to targets, by rules."""

    kind: ClassVar[str] = "elb_application_lb"
    described: ClassVar[Described] = Described(
        "describe_load_balancers", "LoadBalancers", "LoadBalancerArn", "load balancer"
    )
    actions: ClassVar[Sequence[str]] = (
        "elasticloadbalancing:CreateLoadBalancer",
        "elasticloadbalancing:DescribeLoadBalancers",
        "elasticloadbalancing:DescribeListeners",
        "elasticloadbalancing:DescribeRules",
        "elasticloadbalancing:DescribeTags",
        "elasticloadbalancing:CreateListener",
        "elasticloadbalancing:ModifyListener",
        "elasticloadbalancing:DeleteListener",
        "elasticloadbalancing:CreateRule",
        "elasticloadbalancing:ModifyRule",
        "elasticloadbalancing:DeleteRule",
        "elasticloadbalancing:AddListenerCertificates",
        "elasticloadbalancing:SetSubnets",
        "elasticloadbalancing:SetSecurityGroups",
        "elasticloadbalancing:SetIpAddressType",
        "elasticloadbalancing:ModifyLoadBalancerAttributes",
        "elasticloadbalancing:DeleteLoadBalancer",
        "elasticloadbalancing:AddTags",
        "elasticloadbalancing:RemoveTags",
        "ec2:DescribeNetworkInterfaces",
        "iam:CreateServiceLinkedRole",
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the load balancer's ARN"),
        "arn": Output("the same as id"),
        "dns_name": Output("the name at which it answers"),
        "canonical_hosted_zone_id": Output("the zone that an alias record in Route 53 names"),
        "vpc_id": Output("the VPC it stands in"),
        "state": Output("active, provisioning, …"),
    }

    name: Fixed[Name]
    """At most 32 letters, digits and hyphens; not beginning with internal-."""
    subnets: list[Id]
    """Subnets in at least two availability zones; for an internet-facing one with a way to the internet."""
    security_groups: list[Id] | None = None
    """Ids of groups; the VPC's default group where left out."""
    scheme: Fixed[Literal["internet-facing", "internal"]] = "internet-facing"
    """`internal`: only from within the VPC."""
    ip_address_type: Literal["ipv4", "dualstack"] = "ipv4"
    """`dualstack` also answers over IPv6."""
    listeners: list[Listener] = Field(default_factory=list)
    """Its ports, and what happens to requests there."""
    deletion_protection: Unread[bool | None] = None
    """AWS refuses to delete it."""
    idle_timeout: Unread[int | None] = Field(default=None, ge=1, le=4000)
    """Seconds after which an idle connection is closed; 60 where left out."""
    http2: Unread[bool | None] = None
    """On where left out."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if isinstance(self.subnets, list) and len(self.subnets) < 2:
            raise ValueError(
                "subnets: a load balancer stands in at least two subnets, in two availability zones"
            )
        if not holds_unknown(plain(self.listeners)):
            ports = [plain(one)["port"] for one in self.listeners]
            for port in ports:
                if ports.count(port) > 1:
                    raise ValueError(f"two listeners have port {port}")
        return self

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Subnets and groups in any order; listeners by their ports, as ELB completes them."""
        if name in {"subnets", "security_groups"} and isinstance(there, list):
            return {str(one) for one in wanted} != set(there)
        if name == "listeners" and isinstance(there, list):
            held = {one["port"]: one for one in there}
            asked = {one["port"]: one for one in wanted}
            return asked.keys() != held.keys() or any(
                listener_differs(one, held[port]) for port, one in asked.items()
            )
        return super().differs(name, wanted, there)

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """This load balancer alone, with its listeners and rules; what is described is all."""
        if isinstance(self.name, Unknown):
            return {}
        # `loadbalancer/app/…`, `listener/app/…`, `listener-rule/app/…`
        own = [place.arn("elasticloadbalancing", f"*/app/{self.name}/*")]
        changing = [one for one in self.actions if one.startswith("elastic") and ":Describe" not in one]
        linked = service_linked_role(place, "elasticloadbalancing", "ElasticLoadBalancing")
        return {**dict.fromkeys(changing, own), **linked}

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """Which listeners differ."""
        if name != "listeners" or not isinstance(wanted, list) or not isinstance(there, list):
            return None
        held = {one["port"]: one for one in there}
        words = [
            f"listener {one['port']} {'differs' if one['port'] in held else 'is missing'}"
            for one in wanted
            if one["port"] not in held or listener_differs(one, held[one["port"]])
        ]
        extra = held.keys() - {one["port"] for one in wanted}
        return ", ".join([*words, *(f"listener {port} is no longer wanted" for port in sorted(extra))])

    def create(self, world: World) -> str:
        """CreateLoadBalancer with all tags, then its listeners; returns once it is active."""
        refuse_another(world, self.described, self.name)
        answer = make(world, "create_load_balancer", _late, **self._request())
        id = str(answer["LoadBalancers"][0]["LoadBalancerArn"])
        finish(world, id, lambda: self._complete(world, id))
        return id

    def _request(self) -> dict[str, Any]:
        return {
            "Name": self.name,
            "Subnets": self.subnets,
            "SecurityGroups": self.security_groups,
            "Scheme": self.scheme,
            "IpAddressType": self.ip_address_type,
            "Type": "application",
        }

    def _complete(self, world: World, id: str) -> None:
        self._set_attributes(world, id, _ATTRIBUTES.keys())
        self._listen(world, id)
        _until_active(world, id)

    def _listen(self, world: World, id: str) -> None:
        """Makes, changes and deletes listeners until they are as wanted."""
        held = {one["Port"]: one for one in _listeners(world, id)}
        wanted = {one["port"]: one for one in plain(self.listeners)}
        for port, listener in held.items():
            if port not in wanted:
                ask(world, "delete_listener", ListenerArn=listener["ListenerArn"])
        for port, listener in wanted.items():
            request = listener_request(listener)
            if port in held:
                arn = held[port]["ListenerArn"]
                rules = _rules(world, arn)
                if listener_differs(listener, listener_words(held[port], rules)):
                    ask(world, "modify_listener", ListenerArn=arn, **request)
                    _mend_rules(world, arn, listener, rules)
            else:
                tags = new_tags(world)
                answer = ask(world, "create_listener", LoadBalancerArn=id, Tags=tags, **request)
                arn = answer["Listeners"][0]["ListenerArn"]
                _mend_rules(world, arn, listener, [])
            more = [{"CertificateArn": one} for one in (listener.get("certificates") or ())[1:]]
            if more:
                ask(world, "add_listener_certificates", ListenerArn=arn, Certificates=more)

    def _set_attributes(self, world: World, id: str, names: Set[str]) -> None:
        attributes = attributes_request(self, _ATTRIBUTES, names)
        if attributes:
            ask(world, "modify_load_balancer_attributes", LoadBalancerArn=id, Attributes=attributes)

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeLoadBalancers, DescribeTags; DescribeListeners of each, DescribeRules of each of these."""
        result = {}
        for balancer, tags in of_ours(world, cls.described, ids):
            id = str(balancer["LoadBalancerArn"])
            try:
                listeners = [
                    listener_words(one, _rules(world, one["ListenerArn"])) for one in _listeners(world, id)
                ]
            except AwsError as error:
                if not error.not_found:
                    raise
                continue
            result[id] = _values(balancer, tags, listeners)
        return result

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """SetSubnets, SetSecurityGroups, SetIpAddressType, attributes, listeners and rules."""
        if "security_groups" in changed:
            ask(world, "set_security_groups", LoadBalancerArn=id, SecurityGroups=self.security_groups or [])
        if "subnets" in changed:
            ask(world, "set_subnets", LoadBalancerArn=id, Subnets=self.subnets)
        if "ip_address_type" in changed:
            ask(world, "set_ip_address_type", LoadBalancerArn=id, IpAddressType=self.ip_address_type)
        self._set_attributes(world, id, changed)
        if "listeners" in changed:
            self._listen(world, id)
        _until_active(world, id)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteLoadBalancer; waits until its network interfaces no longer hold groups and subnets."""
        try:
            ask(world, "delete_load_balancer", LoadBalancerArn=id)
        except AwsError as error:
            if error.code == "OperationNotPermitted":
                raise StepFailed(
                    f"AWS does not delete the load balancer: {error.said}",
                    "if its deletion protection is on: set deletion_protection: false, apply, then destroy",
                ) from None
            if not error.not_found:
                raise
        # ELB's own interfaces say whose they are: `ELB app/NAME/ID`.
        _, _, name = id.partition(":loadbalancer/")
        mine = values_filter("description", [f"ELB {name}"])

        def gone() -> bool | None:
            left = world.aws.pages("ec2", "describe_network_interfaces", "NetworkInterfaces", Filters=mine)
            return None if left else True

        what = "the load balancer's network interfaces to go"
        world.aws.poll(gone, what=what, timeout=seconds(world, _ENDS), say=world.job.say)

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws elbv2 create-load-balancer`, `create-listener`, `create-rule`, and so on."""
        if action == "delete":
            own = word(id)
            return [
                f"aws elbv2 delete-load-balancer --load-balancer-arn {own}",
                f"aws elbv2 wait load-balancers-deleted --load-balancer-arns {own}",
            ]
        own = word(itself(self, id))
        lines = []
        if action == "create":
            command = aws(
                "create-load-balancer",
                service="elbv2",
                name=self.name,
                type="application",
                scheme=self.scheme,
                ip_address_type=self.ip_address_type,
                subnets=self.subnets,
                security_groups=self.security_groups,
            )
            query = "--query 'LoadBalancers[0].LoadBalancerArn' --output text"
            lines.append(assign(self._address, f"{command} {query}"))
        lines += self._settings_by_hand(own, action, changed)
        if action == "create" or "listeners" in changed:
            lines += self._listeners_by_hand(own, action)
        lines.append(f"aws elbv2 wait load-balancer-available --load-balancer-arns {own}")
        asked = f"aws elbv2 describe-load-balancers --load-balancer-arns {own}"
        queries = {
            "arn": "LoadBalancerArn",
            "dns_name": "DNSName",
            "canonical_hosted_zone_id": "CanonicalHostedZoneId",
            "vpc_id": "VpcId",
            "state": "State.Code",
        }
        at = {name: f"LoadBalancers[0].{query}" for name, query in queries.items()}
        return [*lines, *told(self, asked, at)]

    def _settings_by_hand(self, own: str, action: str, changed: frozenset[str]) -> list[str]:
        at = f"--load-balancer-arn {own}"
        lines = []
        changed = frozenset() if action == "create" else changed
        if "security_groups" in changed:
            groups = " ".join(map(word, self.security_groups or ()))
            lines.append(f"aws elbv2 set-security-groups {at} --security-groups {groups}")
        if "subnets" in changed:
            lines.append(f"aws elbv2 set-subnets {at} --subnets {' '.join(map(word, self.subnets))}")
        if "ip_address_type" in changed:
            lines.append(f"aws elbv2 set-ip-address-type {at} --ip-address-type {self.ip_address_type}")
        attributes = attributes_request(
            self, _ATTRIBUTES, _ATTRIBUTES.keys() if action == "create" else changed
        )
        if attributes:
            given = json_word(attributes)
            lines.append(f"aws elbv2 modify-load-balancer-attributes {at} --attributes {given}")
        return lines

    def _listeners_by_hand(self, own: str, action: str) -> list[str]:
        """Each listener with its rules; when they change, those of a port that differ are made anew."""
        there = {one["port"]: one for one in self._beside.there.get("listeners") or ()}
        wanted = {one["port"]: one for one in plain(self.listeners)}
        lines = []
        for port, held in there.items():
            if port not in wanted or listener_differs(wanted[port], held):
                query = f"Listeners[?Port==`{port}`].ListenerArn"
                asked = (
                    f"aws elbv2 describe-listeners --load-balancer-arn {own} --query '{query}' --output text"
                )
                lines.append(f'aws elbv2 delete-listener --listener-arn "$({asked})"')
        for port, listener in wanted.items():
            if port in there and not listener_differs(listener, there[port]):
                continue
            request = json_word(listener_request(listener))
            command = f"aws elbv2 create-listener --load-balancer-arn {own} --cli-input-json {request}"
            rules = listener.get("rules") or ()
            if not rules:
                lines.append(command)
                continue
            output = f"listener_{port}"
            query = "--query 'Listeners[0].ListenerArn' --output text"
            lines.append(assign(self._address, f"{command} {query}", output))
            arn = word(filled(self, output))
            for rule in rules:
                given = json_word(rule_request(rule))
                lines.append(f"aws elbv2 create-rule --listener-arn {arn} --cli-input-json {given}")
        return lines

    def price(self) -> float | None:
        """By the hour, and its public addresses; besides 0.008 USD per LCU."""
        if isinstance(self.subnets, Unknown) or isinstance(self.scheme, Unknown):
            return None
        public = len(self.subnets) if self.scheme == "internet-facing" else 0
        return _HOURLY + public * _prices.PUBLIC_IPV4


def _late(error: AwsError) -> bool:
    return error.code in {"SubnetNotFound", "InvalidSecurityGroup"}


def _listeners(world: World, id: str) -> list[dict[str, Any]]:
    return world.aws.pages("elbv2", "describe_listeners", "Listeners", LoadBalancerArn=id)


def _rules(world: World, listener: str) -> list[dict[str, Any]]:
    return world.aws.pages("elbv2", "describe_rules", "Rules", ListenerArn=listener)


def _mend_rules(
    world: World, listener: str, wanted: Mapping[str, Any], rules: Sequence[Mapping[str, Any]]
) -> None:
    """Makes, changes and deletes the rules of a listener until they are as wanted."""
    held = {str(rule["Priority"]): rule for rule in rules if rule["Priority"] != "default"}
    asked = {str(rule["priority"]): rule for rule in wanted.get("rules") or ()}
    for priority, rule in held.items():
        if priority not in asked:
            ask(world, "delete_rule", RuleArn=rule["RuleArn"])
    for priority, one in asked.items():
        request = rule_request(one)
        if priority not in held:
            ask(world, "create_rule", ListenerArn=listener, Tags=new_tags(world), **request)
        else:
            del request["Priority"]
            ask(world, "modify_rule", RuleArn=held[priority]["RuleArn"], **request)


def _values(balancer: Mapping[str, Any], tags: Mapping[str, str], listeners: Sequence[Values]) -> Values:
    return {
        "id": balancer["LoadBalancerArn"],
        "arn": balancer["LoadBalancerArn"],
        "name": balancer["LoadBalancerName"],
        "scheme": balancer.get("Scheme"),
        "ip_address_type": balancer.get("IpAddressType"),
        "subnets": sorted(zone["SubnetId"] for zone in balancer.get("AvailabilityZones") or ()),
        "security_groups": sorted(balancer.get("SecurityGroups") or ()),
        "listeners": sorted(listeners, key=lambda one: int(one["port"])),
        "dns_name": balancer.get("DNSName"),
        "canonical_hosted_zone_id": balancer.get("CanonicalHostedZoneId"),
        "vpc_id": balancer.get("VpcId"),
        "state": balancer["State"]["Code"],
        "tags": readable(tags),
    }


def _until_active(world: World, id: str) -> None:
    """Wait until it is `active`. Raises StepFailed with ELB's reason where it fails."""

    def active() -> bool | None:
        for balancer in ask(world, "describe_load_balancers", LoadBalancerArns=[id])["LoadBalancers"]:
            state = balancer["State"]
            if state["Code"] == "active":
                return True
            if state["Code"] == "failed":
                raise StepFailed(
                    f"AWS could not set up the load balancer: {state.get('Reason') or 'no reason given'}",
                    "destroy it and apply again; subnets need eight free addresses each",
                )
        return None

    what = "the load balancer to be active"
    world.aws.poll(active, what=what, timeout=seconds(world, _STARTS), say=world.job.say)
